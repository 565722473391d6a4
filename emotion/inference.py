"""What ``run_inference.py`` does: with one media file, with many, or with a camera."""

import argparse
import contextlib
import dataclasses
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from emotion.batch import Batch, Source, check_folder, find_sources, format_summary, run_batch
from emotion.console import ProgressBar
from emotion.errors import ConfigError
from emotion.faces.detectors import build_detector
from emotion.media.camera import Camera
from emotion.media.reading import MediaInfo, probe_media
from emotion.outputs.annotation import Annotator
from emotion.outputs.live_page import LivePage
from emotion.outputs.plan import DEFAULT_NAME, STANDARD_OUTPUT, OutputPlan, OutputRequest, check_plan, plan_outputs
from emotion.outputs.report import format_report
from emotion.outputs.subtitles import format_srt
from emotion.outputs.tables import format_csv, format_json, write_text
from emotion.outputs.video import write_annotated_image, write_annotated_video
from emotion.results import MediaPrediction
from emotion.settings import InferenceSettings
from emotion.timing import Stopwatch

if TYPE_CHECKING:
    from emotion.predictor import EmotionPredictor

PARTS = ("decode", "detect", "listen", "features", "model", "draw", "encode", "write")
DEFAULT_FOLDER = Path("emotion_results")  # of several files' results


class Job(Protocol):
    """Something to be done with a model, all of whose settings have been checked."""

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        """Does it and returns how many files failed."""


def plan_job(args: argparse.Namespace, settings: InferenceSettings) -> Job:
    """Works out what the arguments of ``run_inference.py`` ask for, and whether it can be done, without a model.

    Args:
        args: as its parser gives them; ``media`` is a list.
        settings: made of them.

    Raises:
        MediaError: if the clip cannot be read.
        ConfigError: if arguments contradict each other, or something cannot be written.
        EmotionError: if the face detector is not here.
    """
    build_detector(settings.face_detector)
    _check_contradictions(args)
    request = OutputRequest(
        output=args.output, video=not args.no_video, save_plot=args.save_plot, plot=not args.no_plot, json=args.json,
        csv=args.csv, srt=args.srt, folder=args.output_dir or Path(), overwrite=args.overwrite,
    )  # fmt: skip
    voice = Voice(quiet=args.quiet, progress=not (args.no_progress or args.quiet), timings=args.timings)
    drawing = {"notice": args.notice, "blur_faces": args.blur_faces}
    number = _camera_number(args.media)
    if number is not None:
        with Camera(number, max_seconds=0.0):
            pass  # is it there?
        return CameraJob(number, request, drawing, voice, args.max_seconds, args.port, args.model)
    if args.max_seconds is not None:
        raise ConfigError("--max_seconds is for cameras; a file is judged to its end.")
    sources = find_sources(args.media)
    if sources is not None:
        _check_names(args, len(sources))
        folder = args.output_dir or DEFAULT_FOLDER
        check_folder(folder, resume=args.resume, overwrite=args.overwrite)
        return BatchJob(sources, request, drawing, voice, folder, args.resume, args.model)
    if args.resume:
        raise ConfigError("--resume is for several files. Leave it out, or name a folder.")
    source = Path(args.media[0])
    if args.output_dir:
        _make_folder(args.output_dir)
    return FileJob(source, *prepare(source, request), drawing, voice, args.model)


def _check_contradictions(args: argparse.Namespace) -> None:
    for one, other in (("no_video", "output"), ("no_plot", "save_plot"), ("resume", "overwrite")):
        if getattr(args, one) and getattr(args, other):
            raise ConfigError(f"--{one} and --{other} contradict each other. Leave one of them out.")
    if args.max_seconds is not None and not args.max_seconds > 0:
        raise ConfigError(f"--max_seconds must be above 0, got {args.max_seconds:g}.")


def _check_names(args: argparse.Namespace, n_clips: int) -> None:
    """Refuses names of single files where there are several clips."""
    for name in ("output", "save_plot"):
        if getattr(args, name):
            raise ConfigError(f"--{name} names one file, but there are {n_clips} clips. Use --output_dir FOLDER.")
    for name in ("json", "csv", "srt"):
        if getattr(args, name) not in (None, DEFAULT_NAME):
            raise ConfigError(
                f"--{name} {getattr(args, name)} names one file, but there are {n_clips} clips. Give --{name} by "
                "itself: each clip gets its own."
            )


@dataclass(frozen=True)
class Voice:
    """What is said on the console: nothing if ``quiet``, bars if ``progress``, the times if ``timings``."""

    quiet: bool = False
    progress: bool = True
    timings: bool = False

    def say(self, text: str, *, aside: bool = False) -> None:
        """Prints a text; with ``aside`` on the error stream, because a table takes the other."""
        if not self.quiet:
            print(text, file=sys.stderr if aside else sys.stdout, flush=True)


@dataclass(frozen=True)
class FileJob:
    """One clip."""

    source: Path
    info: MediaInfo
    plan: OutputPlan
    drawing: dict[str, Any]
    voice: Voice
    model: Path

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        stopwatch, start = Stopwatch(), time.perf_counter()
        prediction = process_file(
            predictor, self.source, self.info, self.plan, settings=describe_run(predictor, self.model),
            drawing=self.drawing, shows_progress=self.voice.progress, stopwatch=stopwatch,
        )  # fmt: skip
        lines = [format_report(prediction), *(f"{what}: {path}" for what, path in self.plan.files().items())]
        if self.voice.timings:
            seconds = time.perf_counter() - start
            lines.append(format_timings(stopwatch, prediction.duration_seconds, seconds, loading_seconds))
        self.voice.say("\n".join(lines), aside=self.plan.prints)
        return 0


@dataclass(frozen=True)
class BatchJob:
    """Several clips."""

    sources: list[Source]
    request: OutputRequest
    drawing: dict[str, Any]
    voice: Voice
    folder: Path
    resume: bool
    model: Path

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        settings = describe_run(predictor, self.model)
        depends = {
            **settings,
            **self.drawing,
            "outputs": {name: getattr(self.request, name) for name in ("video", "plot", "json", "csv", "srt")},
        }
        batch = Batch(self.folder, depends, resume=self.resume, overwrite=self.request.overwrite)
        # What is there of a clip that is not done is half of a result, or was to be replaced.
        request = dataclasses.replace(self.request, folder=self.folder, overwrite=True)
        stopwatch, start, seconds = Stopwatch(), time.perf_counter(), 0.0

        def process(source: Source) -> tuple[MediaPrediction, list[Path]]:
            nonlocal seconds
            _make_folder((self.folder / source.name).parent)
            info, plan = prepare(source.path, request, name=source.name)
            prediction = process_file(
                predictor, source.path, info, plan, settings=settings, drawing=self.drawing,
                shows_progress=self.voice.progress, stopwatch=stopwatch,
            )  # fmt: skip
            seconds += prediction.duration_seconds
            return prediction, list(plan.files().values())

        try:
            n_failed = run_batch(self.sources, batch, process, say=self.voice.say)
        except KeyboardInterrupt:
            self.voice.say(
                f"{format_summary(self.sources, batch)}\nGo on with the rest by the same command and --resume."
            )
            raise
        self.voice.say(format_summary(self.sources, batch))
        if self.voice.timings:
            self.voice.say(format_timings(stopwatch, seconds, time.perf_counter() - start, loading_seconds))
        return n_failed


@dataclass(frozen=True)
class CameraJob:
    """A camera: shown in the browser, and recorded if a name for the video is given."""

    number: int
    request: OutputRequest
    drawing: dict[str, Any]
    voice: Voice
    max_seconds: float | None
    port: int
    model: Path

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        from emotion.live import run_live

        name = f"camera {self.number}"
        if DEFAULT_NAME in (self.request.json, self.request.csv, self.request.srt):
            _make_folder(self.request.folder)
        plan = self.plan()
        check_plan(plan, None, overwrite=self.request.overwrite)
        with contextlib.ExitStack() as stack:
            camera = stack.enter_context(Camera(self.number, max_seconds=self.max_seconds))
            page = None
            if self.request.video:
                page = stack.enter_context(LivePage(self.port))
                self.voice.say(f"{name}: open {page.address} in a browser. Ctrl-C ends it.", aside=plan.prints)
            prediction = run_live(
                predictor, camera.frames(), name=name, page=page, output=plan.picture, drawing=self.drawing
            )
        _write_tables(prediction, plan, describe_run(predictor, self.model))
        lines = [format_report(prediction), *(f"{what}: {path}" for what, path in plan.files().items())]
        self.voice.say("\n".join(lines), aside=plan.prints)
        return 0

    def plan(self) -> OutputPlan:
        """Where the recording and the tables go; a plot and a recording only where they are asked for."""
        request = dataclasses.replace(
            self.request, video=self.request.output is not None, plot=self.request.save_plot is not None
        )
        return plan_outputs(Path(f"camera_{self.number}"), request, has_video=True, is_still=False)


def _camera_number(media: list[str]) -> int | None:
    is_number = len(media) == 1 and media[0].isdecimal() and not Path(media[0]).exists()
    return int(media[0]) if is_number else None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}). Name another folder.") from error


def prepare(source: Path, request: OutputRequest, *, name: str | None = None) -> tuple[MediaInfo, OutputPlan]:
    """Looks at a clip and at the places of what is to be written, which takes no model.

    Args:
        source: the clip.
        request: what is to be written.
        name: what default names begin with, by default the clip's.

    Raises:
        MediaError: if the clip cannot be read.
        ConfigError: if something cannot be written, or is there already.
    """
    info = probe_media(source)
    plan = plan_outputs(source, request, has_video=info.has_video, is_still=info.is_still, name=name)
    check_plan(plan, source, overwrite=request.overwrite)
    return info, plan


def describe_run(predictor: "EmotionPredictor", model: Path) -> dict[str, Any]:
    """What a table keeps of how a result came about: the model, its hash, and the settings in force."""
    settings: InferenceSettings = predictor.settings
    in_force = {
        "window_seconds": predictor.window_seconds,
        "step_seconds": predictor.step_seconds,
        "unsure_below": predictor.unsure_below,
    }
    return {"model": str(model), "model_sha256": predictor.run.sha256, **asdict(settings), **in_force}


def process_file(
    predictor: "EmotionPredictor",
    source: Path,
    info: MediaInfo,
    plan: OutputPlan,
    *,
    settings: dict[str, Any],
    drawing: dict[str, Any],
    shows_progress: bool = True,
    stopwatch: Stopwatch | None = None,
) -> MediaPrediction:
    """Judges one clip and writes what was planned.

    Args:
        predictor: the model.
        source: the clip.
        info: what it holds.
        plan: where everything goes.
        settings: kept in the JSON.
        drawing: what ``Annotator`` takes besides the result.
        shows_progress: whether to draw bars on the error stream.
        stopwatch: told how long each part takes.

    Raises:
        MediaError: if the clip cannot be decoded.
        EmotionError: if something cannot be written.
    """
    stopwatch = stopwatch or Stopwatch()
    prediction = predictor.predict(
        source, progress=ProgressBar("Watching", "s", shown=shows_progress), stopwatch=stopwatch
    )
    with stopwatch("write"):
        _write_tables(prediction, plan, settings)
    if plan.picture is not None:
        annotator = Annotator(prediction, **drawing)
        if info.is_still:
            write_annotated_image(prediction, plan.picture, annotator=annotator)
        else:
            bar = ProgressBar("Drawing", "s", shown=shows_progress)
            write_annotated_video(prediction, plan.picture, annotator=annotator, progress=bar, stopwatch=stopwatch)
    return prediction


def _write_tables(prediction: MediaPrediction, plan: OutputPlan, settings: dict[str, Any]) -> None:
    makers = (
        (plan.json, lambda: format_json(prediction, settings)),
        (plan.csv, lambda: format_csv(prediction)),
        (plan.srt, lambda: format_srt(prediction)),
    )
    for path, make in makers:
        if path == STANDARD_OUTPUT:
            print(make(), end="", flush=True)
        elif path is not None:
            write_text(make(), path)
    if plan.plot is not None:
        from emotion.outputs.timeline_plots import write_timeline  # matplotlib takes half a second

        write_timeline(prediction, plan.plot)


def format_timings(stopwatch: Stopwatch, duration_seconds: float, total_seconds: float, loading_seconds: float) -> str:
    """Returns a line on where the time went, part by part."""
    parts = [(name, stopwatch.seconds[name]) for name in PARTS if name in stopwatch.seconds]
    words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts)
    speed = f", {duration_seconds / total_seconds:.1f} times as fast as it plays" if duration_seconds else ""
    return f"time: {total_seconds:.1f} s{speed} ({words}), after {loading_seconds:.1f} s of loading"
