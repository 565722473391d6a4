"""The jobs of ``run_inference.py``: one media file, many, or a camera, each with a model that is given to it."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.batch import Batch, Source, format_summary, run_batch
from emotion.console import ProgressBar
from emotion.errors import ConfigError
from emotion.media.camera import Camera
from emotion.media.reading import MediaInfo, probe_media
from emotion.outputs.annotation import Annotator
from emotion.outputs.live_page import LivePage
from emotion.outputs.plan import STANDARD_OUTPUT, OutputPlan, OutputRequest, check_plan, plan_outputs
from emotion.outputs.report import format_report
from emotion.outputs.subtitles import format_srt
from emotion.outputs.tables import format_csv, format_json, write_text
from emotion.outputs.video import write_annotated_image, write_annotated_video
from emotion.results import MediaPrediction
from emotion.settings import InferenceSettings
from emotion.timing import Stopwatch

if TYPE_CHECKING:
    from emotion.predictor import EmotionPredictor

LIVE_WINDOW_SECONDS, LIVE_STEP_SECONDS = 1.0, 0.25  # of a camera
PARTS = ("decode", "detect", "listen", "features", "model", "draw", "encode", "write")


@dataclass(frozen=True)
class Console:
    """What is said on the console: nothing if ``quiet``, bars if ``progress``, the times if ``timings``."""

    quiet: bool = False
    progress: bool = True
    timings: bool = False

    def say(self, text: str, *, aside: bool = False) -> None:
        """Prints a text; with ``aside`` on the error stream, because a table takes the other."""
        if not self.quiet:
            print(text, file=sys.stderr if aside else sys.stdout, flush=True)

    def warn(self, text: str) -> None:
        """Prints what went wrong on the error stream, however quiet the rest."""
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class FileJob:
    """One clip."""

    source: Path
    info: MediaInfo
    plan: OutputPlan
    drawing: dict[str, Any]
    console: Console
    model: Path

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        stopwatch, start = Stopwatch(), time.perf_counter()
        prediction = process_file(
            predictor, self.source, self.info, self.plan, settings=describe_run(predictor, self.model),
            drawing=self.drawing, shows_progress=self.console.progress, stopwatch=stopwatch,
        )  # fmt: skip
        lines = [format_report(prediction), *_written(self.plan)]
        if self.console.timings:
            seconds = time.perf_counter() - start
            lines.append(format_timings(stopwatch, prediction.duration_seconds, seconds, loading_seconds))
        self.console.say("\n".join(lines), aside=self.plan.prints)
        return 0


@dataclass(frozen=True)
class BatchJob:
    """Several clips."""

    sources: list[Source]
    request: OutputRequest
    drawing: dict[str, Any]
    console: Console
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
        request = dataclasses.replace(self.request, folder=self.folder)
        stopwatch, start, seconds = Stopwatch(), time.perf_counter(), 0.0

        def process(source: Source) -> tuple[MediaPrediction, list[Path]]:
            nonlocal seconds
            make_folder((self.folder / source.name).parent)
            # What a stop left of this very clip may be replaced; nothing else without being asked.
            info, plan = prepare(source.path, request, name=source.name, ours=batch.outputs(source))
            batch.note_begun(source, plan.files().values())
            prediction = process_file(
                predictor, source.path, info, plan, settings=settings, drawing=self.drawing,
                shows_progress=self.console.progress, stopwatch=stopwatch,
            )  # fmt: skip
            seconds += prediction.duration_seconds
            return prediction, [path for path in plan.files().values() if path.exists()]

        try:
            n_failed = run_batch(self.sources, batch, process, say=self.console.say, warn=self.console.warn)
        except KeyboardInterrupt:
            self.console.say(
                f"{format_summary(self.sources, batch)}\nGo on with the rest by the same command and --resume."
            )
            raise
        self.console.say(format_summary(self.sources, batch))
        if self.console.timings:
            self.console.say(format_timings(stopwatch, seconds, time.perf_counter() - start, loading_seconds))
        return n_failed


@dataclass(frozen=True)
class CameraJob:
    """A camera: shown in the browser, and recorded if a name for the video is given."""

    number: int
    request: OutputRequest
    drawing: dict[str, Any]
    console: Console
    max_seconds: float | None
    port: int
    model: Path

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        from emotion.live import run_live

        name, plan = f"camera {self.number}", self.plan()
        predictor = self._prompt(predictor)
        with contextlib.ExitStack() as stack:
            camera = stack.enter_context(Camera(self.number, max_seconds=self.max_seconds))
            page = None
            if self.request.video:
                page = stack.enter_context(LivePage(self.port))
                self.console.say(f"{name}: open {page.address} in a browser. Ctrl-C ends it.", aside=plan.prints)
            prediction = run_live(
                predictor, camera.frames(), name=name, page=page, output=plan.picture, drawing=self.drawing
            )
        _write_tables(prediction, plan, describe_run(predictor, self.model))
        lines = [format_report(prediction), *_written(plan)]
        self.console.say("\n".join(lines), aside=plan.prints)
        return 0

    def check(self) -> None:
        """Makes sure that the camera is there, and that everything can be written and shown.

        Raises:
            MediaError: if the camera cannot be opened.
            ConfigError: if something cannot be written, or the page cannot be served.
        """
        with Camera(self.number, max_seconds=0.0):
            pass
        if self.request.folder != Path():
            make_folder(self.request.folder)
        check_plan(self.plan(), None, overwrite=self.request.overwrite)
        if self.request.video:
            LivePage(self.port).close()

    @staticmethod
    def _prompt(predictor: "EmotionPredictor") -> "EmotionPredictor":
        """The same with short windows, unless others are chosen: while it happens one can only look back."""
        from emotion.predictor import EmotionPredictor

        chosen = predictor.settings
        prompt = dataclasses.replace(
            chosen,
            window_seconds=chosen.window_seconds or LIVE_WINDOW_SECONDS,
            step_seconds=chosen.step_seconds or LIVE_STEP_SECONDS,
        )
        return EmotionPredictor(predictor.run, prompt)

    def plan(self) -> OutputPlan:
        """Where the recording and the tables go; a plot and a recording only where they are asked for."""
        request = dataclasses.replace(
            self.request, video=self.request.output is not None, plot=self.request.save_plot is not None
        )
        return plan_outputs(Path(f"camera_{self.number}"), request, has_video=True, is_still=False)


def make_folder(folder: Path) -> None:
    """Makes a folder, and those it lies in.

    Raises:
        ConfigError: if that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}). Name another folder.") from error


def prepare(
    source: Path, request: OutputRequest, *, name: str | None = None, ours: Collection[Path] = ()
) -> tuple[MediaInfo, OutputPlan]:
    """Looks at a clip and at the places of what is to be written, which takes no model.

    Args:
        source: the clip.
        request: what is to be written.
        name: what default names begin with, by default the clip's.
        ours: files that may be replaced in any case.

    Raises:
        MediaError: if the clip cannot be read.
        ConfigError: if something cannot be written, or is there already.
    """
    info = probe_media(source)
    plan = plan_outputs(source, request, has_video=info.has_video, is_still=info.is_still, name=name)
    check_plan(plan, source, overwrite=request.overwrite, ours=ours)
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
    # The picture may turn out to be undecodable, though its header is whole.
    if plan.picture is not None and prediction.has_video:
        annotator = Annotator(prediction, **drawing)
        if info.is_still:
            write_annotated_image(prediction, plan.picture, annotator=annotator)
        else:
            bar = ProgressBar("Drawing", "s", shown=shows_progress)
            write_annotated_video(prediction, plan.picture, annotator=annotator, progress=bar, stopwatch=stopwatch)
    # Last, so that a stop while the video is drawn leaves nothing that would be in the way of another try.
    with stopwatch("write"):
        _write_tables(prediction, plan, settings)
    return prediction


def _write_tables(prediction: MediaPrediction, plan: OutputPlan, settings: dict[str, Any]) -> None:
    makers = (
        (plan.json, lambda: format_json(prediction, settings)),
        (plan.csv, lambda: format_csv(prediction, settings)),
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


def _written(plan: OutputPlan) -> list[str]:
    return [f"{what}: {path}" for what, path in plan.files().items() if path.exists()]
