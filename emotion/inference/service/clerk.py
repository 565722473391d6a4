"""Judges one uploaded clip and leaves the answer as a file; runs in the service's process or in one of its own."""

import functools
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from emotion.console import quiet_import
from emotion.errors import ConfigError, EmotionError, FileError, MediaError, RunError
from emotion.inference.output_plan import OutputRequest, plan_clip
from emotion.media.tracks import TrackChoice
from emotion.models.onnx_runtime import OutOfMemory, limit_threads
from emotion.outputs.formats import TABLES, check_packages
from emotion.places import project_dir
from emotion.settings import InferenceSettings

logger = logging.getLogger(__name__)

STOP_FILE, SHARE_FILE = "stop", "share"  # in a clip's folder: tells the clerk to stop; tells how much is done
SHARE_SECONDS = 0.5  # between two notes of how much is done
PICTURE = "video"  # the output that is the annotated video, or picture
OUTPUTS = (*TABLES, PICTURE)
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "srt": "application/x-subrip",
    "vtt": "text/vtt; charset=utf-8",
    "eaf": "application/xml",
    "textgrid": "text/plain; charset=utf-8",
    "label_studio": "application/json",
}
PICTURE_TYPES = {".mp4": "video/mp4", ".png": "image/png"}
OURS = "This is a fault of the service, not of the clip; its log says more."


@dataclass(frozen=True)
class ClipOptions:
    """What a caller chose.

    Attributes:
        model: its name; empty for the service's first.
        output: one of ``OUTPUTS``.
        notice, blur_faces: as for ``Annotator``.
    """

    model: str
    settings: InferenceSettings
    output: str = "json"
    notice: bool = False
    blur_faces: bool = False

    def __post_init__(self):
        if self.output not in OUTPUTS:
            raise ConfigError(f"output must be one of {', '.join(OUTPUTS)}, got {self.output!r}.")
        for name in ("notice", "blur_faces"):
            if getattr(self, name) and self.output != PICTURE:
                raise ConfigError(f"{name} is for the annotated video: add output={PICTURE}, or leave it out.")
        check_packages({self.output} & {*TABLES})


@dataclass(frozen=True)
class ClipTask:
    """A clip to judge.

    Attributes:
        folder: holds the clip and its answer, and is deleted with them.
        clip: the file.
        called: what the caller calls it.
        max_work_seconds: how long it may take.
    """

    folder: Path
    clip: Path
    called: str
    options: ClipOptions
    max_work_seconds: float

    @property
    def stop_file(self) -> Path:
        return self.folder / STOP_FILE

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        try:
            return float((self.folder / SHARE_FILE).read_text())
        except (OSError, ValueError):  # not begun, deleted, or just being written
            return 0.0


@dataclass(frozen=True)
class ClipDone:
    """The answer to a clip: a file in its folder, and how many seconds and windows were judged."""

    path: Path
    media_type: str
    judged_seconds: float
    n_windows: int


@dataclass(frozen=True)
class Problem:
    """Why there is no answer.

    Attributes:
        status: of HTTP.
        kind: the error's class.
        message: one line, without a path of this computer.
    """

    status: int
    kind: str
    message: str


class OverTime(EmotionError):
    """A clip takes longer than the service allows."""


class WorkStopped(EmotionError):
    """The caller has gone, or deleted the job; or the service ends."""


class Clerk:
    """Judges clips, one at a time.

    Args:
        models: folders by the names that callers use; the first is loaded at once.
        max_seconds: longer clips are refused.
        runtime: see ``load_run``.

    Raises:
        RunError: if the first model cannot be loaded.
    """

    def __init__(self, models: dict[str, Path], *, max_seconds: float, runtime: str):
        with quiet_import():
            from emotion.inference.web.analysis import Analyst
        self.analyst = Analyst(models, max_seconds=max_seconds, runtime=runtime, place="this service")

    def judge(self, task: ClipTask) -> ClipDone | Problem:
        """Judges a clip; whatever goes wrong is returned, not raised."""
        try:
            return self._judge(task)
        except Exception as error:
            return self.explain(error, task)

    def _judge(self, task: ClipTask) -> ClipDone:
        options, settings = task.options, task.options.settings
        draws = options.output == PICTURE
        wanted = OutputRequest(
            video=draws, plot=False, tables={} if draws else {options.output: ""}, folder=task.folder, overwrite=True
        )
        info, plan = plan_clip(task.clip, wanted, choice=TrackChoice(settings.video_track, settings.audio_track))
        if draws and plan.picture is None:
            raise ConfigError(f"{task.called}: has no picture, so no annotated video can be made from it.")
        watch = _Watch(task)
        prediction, _ = self.analyst.process(
            task.clip, info, plan, model=options.model, settings=settings, called=task.called, tell=watch.tell,
            drawing={"notice": options.notice, "blur_faces": options.blur_faces}, is_stopped=watch.check,
        )  # fmt: skip
        path = plan.picture if draws else plan.tables[options.output]
        if not path.is_file():
            raise MediaError(f"{task.called}: no picture could be decoded, so no annotated video can be made from it.")
        kind = PICTURE_TYPES[path.suffix] if draws else MEDIA_TYPES[options.output]
        return ClipDone(path, kind, prediction.duration_seconds or 0.0, len(prediction.windows))

    def explain(self, error: Exception, task: ClipTask | None = None) -> Problem:
        """Returns an error as callers see it: the command line's line, without a path of this computer."""
        kind, text = type(error).__name__, str(error)
        if isinstance(error, OutOfMemory | MemoryError):
            return Problem(503, "OutOfMemory", "The service is out of memory. Try again later, or send a shorter part.")
        if isinstance(error, OverTime | WorkStopped):
            return Problem(503, kind, text)
        if isinstance(error, RunError | FileError | OSError) or not isinstance(error, EmotionError):
            logger.error("a clip could not be judged", exc_info=error)
            return Problem(500, "InternalError", OURS)
        if task is not None:
            text = text.replace(str(task.clip), task.called).replace(f"{task.folder}{os.sep}", "")
        for name, folder in self.analyst.models.items():
            text = text.replace(str(folder), name)
        for place in (project_dir(), Path.home()):
            text = text.replace(f"{place}{os.sep}", "")
        return Problem(422, kind, " ".join(text.split()))


class _Watch:
    """Tells how much of a clip is done, and stops the work when nobody wants it any more, or when it takes too long."""

    def __init__(self, task: ClipTask):
        self._task, self._begun, self._told = task, time.monotonic(), 0.0

    def check(self) -> bool:
        task = self._task
        if task.stop_file.exists() or not task.folder.exists():
            raise WorkStopped(f"{task.called}: was stopped.")
        if time.monotonic() - self._begun > task.max_work_seconds:
            raise OverTime(
                f"{task.called}: took longer than {task.max_work_seconds:g} s. Send a shorter part (start, end), or a "
                "video of fewer pixels."
            )
        return False

    def tell(self, what: str, share: float) -> None:
        now = time.monotonic()
        if now - self._told > SHARE_SECONDS:
            self._told = now
            (self._task.folder / SHARE_FILE).write_text(f"{share:.3f}")


# ---- In a process of its own ----

_clerk: Clerk | None = None  # of a process


def begin_clerk(models: dict[str, Path], max_seconds: float, runtime: str, n_threads: int) -> None:
    """Loads the model that ``judge_task`` uses in this process."""
    global _clerk  # noqa: PLW0603  (a process has one)
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(n_threads))
    limit_threads(n_threads)
    _clerk = Clerk(models, max_seconds=max_seconds, runtime=runtime)


def judge_task(task: ClipTask) -> ClipDone | Problem:
    """As ``Clerk.judge``, with the model of this process."""
    return _clerk.judge(task)


def clerk_maker(models: dict[str, Path], *, max_seconds: float, runtime: str, n_processes: int):
    """Returns what begins each of some processes that share this computer's cores."""
    n_threads = max(1, (os.cpu_count() or 1) // n_processes)
    return functools.partial(begin_clerk, models, max_seconds, runtime, n_threads)
