"""Labels the clips of a batch in several processes of this computer, each with a model of its own."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.console import SILENT, quiet_import
from emotion.inference.batch import ClipAnswer, Task
from emotion.inference.batch_run import describe_failure
from emotion.inference.clip_search import ClipFile
from emotion.inference.output_plan import OutputPlan
from emotion.inference.request import InferenceRequest, read_references
from emotion.inference.result_files import describe_run, process_file
from emotion.inference.staging import staged
from emotion.media.reading import MediaInfo
from emotion.parallel import CRASHED, run_in_processes
from emotion.results import MediaPrediction

if TYPE_CHECKING:
    from emotion.inference.predictor import EmotionPredictor


@dataclass
class Worker:
    """What labels clips: a model, and what results say of it."""

    predictor: "EmotionPredictor"
    request: InferenceRequest

    def __post_init__(self):
        self.settings: dict[str, Any] = describe_run(self.predictor, self.request.model)

    def label(self, task: Task, **options) -> ClipAnswer | str:
        """Labels a clip and writes its files; returns the answer, or what went wrong.

        Args:
            options: as for ``process_file``.
        """
        try:
            if task.staging is None:
                return ClipAnswer.of(self._process(task.clip.path, task.info, task.plan, **options))
            with staged(task.clip, task.staging) as clip:
                prediction = self._process(clip.path, clip.info, clip.plan, called=clip.called, **options)
                names = clip.names()
            return ClipAnswer.of(prediction, names)
        except Exception as error:
            return describe_failure(task.clip, error)

    def _process(self, path: Path, info: MediaInfo, plan: OutputPlan, **options) -> MediaPrediction:
        return process_file(
            self.predictor, path, info, plan, settings=self.settings, drawing=self.request.drawing, **options
        )


def make_predictor(request: InferenceRequest) -> "EmotionPredictor":
    """Loads the model that a request names, its face detector, Whisper if asked for, and the references of people.

    Raises:
        EmotionError: if something of it cannot be loaded.
    """
    with quiet_import():
        from emotion.inference.predictor import EmotionPredictor
        from emotion.models.onnx_runtime import choose_runtime
    runtime = choose_runtime(request.runtime, request.device)
    predictor = EmotionPredictor(request.model, request.settings_in_force, runtime=runtime)
    _ = predictor.detector, predictor.transcriber  # loads them now, not with the first clip
    if request.references:
        predictor = predictor.with_reference(read_references(request.references))
    return predictor


def label_in_processes(request: InferenceRequest, tasks: Iterable[Task]) -> Iterator[tuple[Task, ClipAnswer | str]]:
    """Labels clips as they come in ``request.n_workers`` processes, and yields them as they are done.

    A clip that ends its process is tried once more by itself.
    """
    apart = dataclasses.replace(request, reporter=SILENT)
    n_threads = max(1, (os.cpu_count() or 1) // request.n_workers)
    begin = functools.partial(begin_worker, apart, n_threads)
    for task, answer in run_in_processes(label_task, tasks, request.n_workers, initializer=begin):
        yield task, describe_crash(task.clip) if answer is CRASHED else answer


def describe_crash(clip: ClipFile) -> str:
    """Returns what is said of a clip that ended its process."""
    return (
        f"{clip.file}: ended the process that labelled it, twice. Leave it out, and please report it; or "
        "was the memory full? Then give fewer --workers."
    )


_worker: Worker | None = None  # of a process


def begin_worker(request: InferenceRequest, n_threads: int) -> None:
    """Loads the model that ``label_task`` uses in this process."""
    global _worker  # noqa: PLW0603  (a process has one)
    from emotion.models.onnx_runtime import limit_threads

    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(n_threads))
    limit_threads(n_threads)
    _worker = Worker(make_predictor(request), request)


def label_task(task: Task) -> ClipAnswer | str:
    """As ``Worker.label``, with the model of this process."""
    return _worker.label(task)
