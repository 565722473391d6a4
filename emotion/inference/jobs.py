"""The jobs of ``run_inference.py``: one media file, many, or a camera, each with a model that is given to it."""

import contextlib
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.console import ProgressBar
from emotion.files import locked_folder, locked_names
from emotion.inference.batch import Batch, format_summary, run_batch
from emotion.inference.clip_search import Source
from emotion.inference.live_page import LivePage
from emotion.inference.output_plan import OutputPlan, OutputRequest, check_plan, plan_outputs
from emotion.inference.processing import (
    describe_run,
    format_timings,
    list_written,
    make_folder,
    prepare,
    process_file,
    write_tables,
)
from emotion.media.camera import Camera
from emotion.media.reading import MediaInfo
from emotion.outputs.summary import format_report
from emotion.parallel import Stopwatch
from emotion.results import MediaPrediction

if TYPE_CHECKING:
    from emotion.inference.predictor import EmotionPredictor


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

    def bar(self, what: str) -> ProgressBar:
        """Returns a bar of seconds, to be told what is done and the total; it draws nothing where none are wanted."""
        return ProgressBar(what, "s", shown=self.progress)

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
    overwrite: bool = False

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        stopwatch, start = Stopwatch(), time.perf_counter()
        with locked_names(self.plan.files().values()):
            # Another program may have written there while this one loaded its model.
            check_plan(self.plan, self.source, overwrite=self.overwrite)
            prediction = process_file(
                predictor, self.source, self.info, self.plan, settings=describe_run(predictor, self.model),
                drawing=self.drawing, progress=self.console.bar, stopwatch=stopwatch,
            )  # fmt: skip
        lines = [format_report(prediction), *list_written(self.plan)]
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
        with locked_folder(self.folder):
            return self._run(predictor, loading_seconds)

    def _run(self, predictor: "EmotionPredictor", loading_seconds: float) -> int:
        settings = describe_run(predictor, self.model)
        depends = {
            **settings,
            **self.drawing,
            "outputs": {name: getattr(self.request, name) for name in ("video", "plot", "json", "csv", "srt")},
        }
        batch = Batch(self.folder, depends, resume=self.resume, overwrite=self.request.overwrite)
        request = dataclasses.replace(self.request, folder=self.folder)
        stopwatch, start, seconds = Stopwatch(), time.perf_counter(), 0.0
        clips = {source.path.resolve() for source in self.sources}

        def process(source: Source) -> tuple[MediaPrediction, list[Path]]:
            nonlocal seconds
            make_folder((self.folder / source.name).parent)
            # What a stop left of this very clip may be replaced; nothing else without being asked.
            info, plan = prepare(source.path, request, name=source.name, ours=batch.outputs(source), clips=clips)
            with locked_names(plan.files().values()):
                batch.note_begun(source, plan.files().values())
                prediction = process_file(
                    predictor, source.path, info, plan, settings=settings, drawing=self.drawing,
                    progress=self.console.bar, stopwatch=stopwatch,
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
        from emotion.inference.live import run_live

        name, plan = f"camera {self.number}", self.plan()
        with contextlib.ExitStack() as stack:
            camera = stack.enter_context(Camera(self.number, max_seconds=self.max_seconds))
            page = None
            if self.request.video:
                page = stack.enter_context(LivePage(self.port))
                self.console.say(f"{name}: open {page.address} in a browser. Ctrl-C ends it.", aside=plan.prints)
            prediction = run_live(
                predictor, camera.frames(), name=name, page=page, output=plan.picture, drawing=self.drawing
            )
        write_tables(prediction, plan, describe_run(predictor, self.model))
        lines = [format_report(prediction), *list_written(plan)]
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

    def plan(self) -> OutputPlan:
        """Where the recording and the tables go; a plot and a recording only where they are asked for."""
        request = dataclasses.replace(
            self.request, video=self.request.output is not None, plot=self.request.save_plot is not None
        )
        return plan_outputs(Path(f"camera_{self.number}"), request, has_video=True, is_still=False)
