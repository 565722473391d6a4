"""Runs a batch: each clip is begun, labelled somewhere, and noted; a bad one costs only itself."""

import contextlib
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from emotion.console import SILENT, Reporter
from emotion.errors import EmotionError
from emotion.files import locked_names
from emotion.inference.batch import DONE, FAILED, Batch, ClipAnswer, Task
from emotion.inference.clip_search import ClipFile
from emotion.inference.result_store import PAUSES_SECONDS
from emotion.results import in_percent

logger = logging.getLogger(__name__)

MAX_FAILURES_SHOWN = 20


class _StopSignal:
    """Remembers Ctrl-C: Python may drop the interrupt inside the code of a decoder or a network."""

    def __init__(self):
        self._came = False
        self._before = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raises ``KeyboardInterrupt`` if Ctrl-C was pressed and nothing stopped."""
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number, frame) -> None:
        self._came = True
        raise KeyboardInterrupt


def run_batch(
    clips: list[ClipFile],
    batch: Batch,
    plan: Callable[[ClipFile], Task],
    label: Callable[[Iterable[Task]], Iterator[tuple[Task, ClipAnswer | str]]],
    *,
    reporter: Reporter = SILENT,
) -> int:
    """Labels clips; a bad one is reported, and the rest go on.

    Args:
        plan: looks at a clip and plans its files.
        label: labels clips as they come, and yields each, in any order, with its answer or with what went wrong.

    Returns:
        How many clips failed.
    """
    numbers = {clip.key: f"[{number}/{len(clips)}]" for number, clip in enumerate(clips, start=1)}
    counts: Counter[str] = Counter()
    locks: dict[str, contextlib.ExitStack] = {}

    def fail(clip: ClipFile, words: str) -> None:
        batch.note_failed(clip, words)
        counts[FAILED] += 1
        reporter.warn(f"{numbers[clip.key]} failed: {words}")

    def begin_one(clip: ClipFile) -> Task | None:
        stop.check()
        if batch.is_done(clip):
            counts[DONE] += 1
            return None
        named = batch.claim(clip)
        lock = contextlib.ExitStack()
        try:
            task = plan(named)
            is_put = task.staging is not None and task.staging.results is not None  # to a folder that is locked whole
            lock.enter_context(locked_names(() if is_put else task.files()))
        except Exception as error:
            fail(named, describe_failure(named, error))
            return None
        locks[named.key] = lock
        batch.note_begun(named, task.files())
        return task

    def begin() -> Iterator[Task]:
        for first in range(0, len(clips), batch.block):
            tasks = [task for clip in clips[first : first + batch.block] if (task := begin_one(clip)) is not None]
            if tasks:  # a later run must know which results are ours, also if this one is killed
                batch.put(pauses=PAUSES_SECONDS)
            for task in tasks:
                stop.check()
                yield task

    with _StopSignal() as stop, contextlib.ExitStack() as everything:
        everything.callback(batch.close)
        everything.callback(lambda: [lock.close() for lock in locks.values()])
        for task, answer in label(begin()):
            clip = task.clip
            if isinstance(answer, str):
                fail(clip, answer)
            else:
                batch.note_done(clip, answer, batch.written(task, answer))
                words = "no evidence" if answer.emotion is None else f"{answer.emotion} {in_percent(answer.confidence)}"
                reporter.say(f"{numbers[clip.key]} {clip.label}: {words}, {answer.evidence}")
            locks.pop(clip.key).close()
            batch.put_in_time()
    if counts[DONE]:
        reporter.say(f"done before, skipped: {counts[DONE]}")
    return counts[FAILED]


def describe_failure(clip: ClipFile, error: Exception) -> str:
    """Returns what went wrong with a clip, in a line. Even a fault of this program must not cost the other clips."""
    if isinstance(error, EmotionError):
        return str(error)
    if isinstance(error, OSError):
        return f"{clip.file}: its results cannot be written ({error.strerror}). Give it a shorter name."
    logger.debug("%s", clip.file, exc_info=error)
    return f"{clip.file}: a bug in this program ({type(error).__name__}: {error}). Please report it."


def format_summary(clips: list[ClipFile], batch: Batch) -> str:
    """Returns how many clips got which answer, and which failed and why."""
    rows = [batch.rows[clip.key] for clip in clips if clip.key in batch.rows]
    done = [row for row in rows if row["status"] == DONE]
    failed = [row for row in rows if row["status"] == FAILED]
    lines = [f"{len(done)} of {len(clips)} clips analysed, {len(failed)} failed"]
    counts = Counter(row["emotion"] or "no evidence" for row in done)
    width = max((len(name) for name in counts), default=0)
    lines += [f"  {name:<{width}}  {n:>5}  {n / len(done):>4.0%}" for name, n in counts.most_common()]
    lines += [f"failed: {row['message']}" for row in failed[:MAX_FAILURES_SHOWN]]
    if len(failed) > MAX_FAILURES_SHOWN:
        lines.append(f"and {len(failed) - MAX_FAILURES_SHOWN} more")
    lines.append(f"summary: {batch.shown_summary}")
    return "\n".join(lines)
