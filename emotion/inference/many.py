"""Judges many clips for a Python program: in this process, or in several with a model each."""

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from emotion.console import SILENT, Reporter
from emotion.errors import EmotionError
from emotion.files import displayable
from emotion.outputs.prediction import Prediction
from emotion.parallel import CRASHED, run_in_processes

logger = logging.getLogger(__name__)

Predict = Callable[[str | os.PathLike[str]], Prediction]
Numbered = tuple[int, str | os.PathLike[str]]


def predict_clips(
    predict: Predict,
    again: Callable[[], Predict],
    paths: Iterable[str | os.PathLike[str]],
    *,
    progress: bool,
    n_processes: int,
) -> Iterator[Prediction | EmotionError]:
    """Yields an answer, or the error that a clip ended with, for each clip in order.

    Args:
        predict: judges one clip.
        again: makes the same in another process.
        progress: whether to draw a bar.
        n_processes: 1 for this one.
    """
    paths = list(paths)
    bar = (Reporter() if progress else SILENT).bar("Judging", "clips")
    done = _in_processes(again, paths, n_processes) if n_processes > 1 else _here(predict, paths)
    waiting: dict[int, Prediction | EmotionError] = {}
    next_one = 0
    for n_done, (number, answer) in enumerate(done, start=1):
        waiting[number] = answer
        bar(n_done, len(paths))
        while next_one in waiting:
            yield waiting.pop(next_one)
            next_one += 1


def _here(predict: Predict, paths: list) -> Iterator[tuple[int, Prediction | EmotionError]]:
    for number, path in enumerate(paths):
        yield number, _judge(predict, path)


def _in_processes(
    again: Callable[[], Predict], paths: list, n_processes: int
) -> Iterator[tuple[int, Prediction | EmotionError]]:
    begin = functools.partial(_begin, again, max(1, (os.cpu_count() or 1) // n_processes))
    for (number, path), answer in run_in_processes(_judge_numbered, enumerate(paths), n_processes, initializer=begin):
        crashed = EmotionError(f"{path}: ended the process that judged it, twice. Leave it out, and report it.")
        yield number, crashed if answer is CRASHED else answer


def _judge(predict: Predict, path: str | os.PathLike[str]) -> Prediction | EmotionError:
    try:
        return predict(path)
    except EmotionError as error:
        return error
    except Exception as error:  # even a fault of this program must not cost the other clips
        logger.debug("%s", path, exc_info=error)
        name = displayable(path) if isinstance(path, str | os.PathLike) else repr(path)
        return EmotionError(f"{name}: a bug in this program ({type(error).__name__}: {error}). Please report it.")


_predict: Predict | None = None  # of a process


def _begin(again: Callable[[], Predict], n_threads: int) -> None:
    global _predict  # noqa: PLW0603  (a process has one)
    from emotion.models.onnx_runtime import limit_threads

    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(n_threads))
    limit_threads(n_threads)
    _predict = again()


def _judge_numbered(item: Numbered) -> Prediction | EmotionError:
    return _judge(cast(Predict, _predict), item[1])
