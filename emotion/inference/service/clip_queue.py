"""The clips that wait, are judged, or are done: in what order, how many, and when their files are deleted."""

import contextlib
import itertools
import logging
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from emotion.files import bytes_below, displayable
from emotion.inference.service.clerk import OURS, ClipDone, ClipOptions, ClipTask, Problem
from emotion.inference.web.guard import Refused
from emotion.media.suffixes import MEDIA_SUFFIXES
from emotion.parallel import CRASHED

logger = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
MAX_NAME = 200  # letters of a clip's name that are kept
FIRST_GUESS_SECONDS = 5.0  # that a clip takes, before one was judged
PATIENCE_SECONDS = 0.2  # between two looks at whether the service ends
STUCK_FACTOR, STUCK_SECONDS = 2.0, 60.0  # beyond the limit of work, after which a worker counts as stuck

Workers = Callable[[Iterator[ClipTask]], Iterator[tuple[ClipTask, ClipDone | Problem | object]]]
"""Judges tasks as they come, one by one."""


class Busy(Refused):
    """A request that may be sent again later.

    Attributes:
        after_seconds: when.
    """

    def __init__(self, code: int, words: str, after_seconds: float):
        super().__init__(code, words)
        self.after_seconds = after_seconds


@dataclass(frozen=True)
class QueueLimits:
    """How much is taken.

    Attributes:
        max_work_seconds: that judging one clip may take.
        max_waiting: clips that wait.
        max_per_address: clips of one address that arrive, wait or are judged.
        max_total_bytes: of all files.
        keep_seconds: how long the answer to a job is kept.
    """

    max_work_seconds: float
    max_waiting: int
    max_per_address: int
    max_total_bytes: float
    keep_seconds: float


@dataclass(eq=False)
class ClipJob:
    """One clip on its way.

    Attributes:
        number: rises with every clip.
        is_kept: whether the answer is kept for a while after it is there, or goes to who waits for it.
        answered: gets the answer.
        state: one of the five.
    """

    id: str
    number: int
    address: str
    task: ClipTask
    is_kept: bool
    created_at: float = field(default_factory=time.time)
    answered: Future = field(default_factory=Future)
    state: str = WAITING
    began_at: float | None = None
    ended_at: float | None = None
    is_dropped: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it waits or is judged."""
        return self.state in (WAITING, RUNNING)

    @property
    def answer(self) -> ClipDone | Problem | None:
        return self.answered.result() if self.answered.done() else None


class ClipQueue:
    """Gives clips to workers in the order in which they came.

    Args:
        folder: for the clips and the answers.
        workers: one for each clip that is judged at a time.
        tell: called with every clip that ended.
    """

    def __init__(
        self, folder: Path, workers: list[Workers], limits: QueueLimits, *,
        tell: Callable[[ClipJob], None] = lambda job: None,
    ):  # fmt: skip
        self.limits, self._folder, self._tell = limits, folder, tell
        self._jobs: dict[str, ClipJob] = {}
        self._by_folder: dict[Path, ClipJob] = {}
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[ClipJob] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._seconds_each = FIRST_GUESS_SECONDS
        self._n_broken = 0
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"clips {number}", daemon=True)
            for number, worker in enumerate(workers, start=1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    # ---- What is there ----

    def count(self, state: str) -> int:
        with self._lock:
            return sum(job.state == state for job in self._jobs.values())

    @property
    def is_idle(self) -> bool:
        """Whether no clip waits or is judged."""
        with self._lock:
            return not any(job.is_open for job in self._jobs.values())

    @property
    def is_over(self) -> bool:
        """Whether all workers have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the workers; None if nothing is."""
        if self._n_broken:
            return f"{self._n_broken} of {len(self._threads)} workers ended."
        longest = STUCK_FACTOR * self.limits.max_work_seconds + STUCK_SECONDS
        with self._lock:
            began = [job.began_at for job in self._jobs.values() if job.state == RUNNING]
        is_stuck = any(time.time() - at > longest for at in began)
        return "A clip is being judged for far longer than is allowed." if is_stuck else None

    def find(self, number: str) -> ClipJob | None:
        """Returns a kept job by its id."""
        with self._lock:
            job = self._jobs.get(number)
        return job if job is not None and job.is_kept and not job.is_dropped else None

    def places_before(self, job: ClipJob) -> int:
        """Returns how many clips will be judged before a waiting one."""
        with self._lock:
            return sum(other.is_open and other.number < job.number for other in self._jobs.values())

    # ---- In ----

    def check_room(self, address: str, n_bytes: int, *, n_arriving: int = 0) -> None:
        """Makes sure that a clip may come.

        Args:
            n_bytes: its size.
            n_arriving: clips of the address that are being uploaded.

        Raises:
            Busy: if too much is there already.
        """
        with self._lock:
            open_jobs = [job for job in self._jobs.values() if job.is_open]
        n_waiting = sum(job.state == WAITING for job in open_jobs)
        after = self._seconds_each * (n_waiting + 1) / len(self._threads)
        if sum(job.address == address for job in open_jobs) + n_arriving >= self.limits.max_per_address:
            raise Busy(
                429,
                f"{self.limits.max_per_address} clips from your address are on their way. Try again when one is done.",
                after,
            )
        if n_waiting >= self.limits.max_waiting:
            raise Busy(503, f"{n_waiting} clips wait already. Try again later.", after)
        if bytes_below(self._folder) + n_bytes > self.limits.max_total_bytes:
            raise Busy(503, "The service has no room for more clips. Try again later.", max(after, 60.0))

    def add(
        self, source: IO[bytes], called: str | None, options: ClipOptions, *, address: str, is_kept: bool
    ) -> ClipJob:
        """Keeps a clip, and puts it at the end of the queue.

        Args:
            source: holds the file.
            called: what the caller calls it.
            address: the caller's.
            is_kept: as for ``ClipJob``.

        Raises:
            Busy: if too much is there already.
            OSError: if the clip cannot be written.
        """
        self.check_room(address, 0)
        name = secrets.token_urlsafe(16)
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        called = _safe_name(called)
        suffix = Path(called).suffix.lower()
        clip = folder / f"clip{suffix if suffix in MEDIA_SUFFIXES else ''}"
        try:
            with clip.open("wb") as target:
                shutil.copyfileobj(source, target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        task = ClipTask(folder, clip, called, options, self.limits.max_work_seconds)
        job = ClipJob(name, next(self._numbers), address, task, is_kept)
        with self._lock:
            self._jobs[name] = self._by_folder[folder] = job
        self._waiting.put(job)
        return job

    # ---- At work ----

    def _work(self, worker: Workers) -> None:
        at_hand: list[ClipJob] = []
        try:
            for task, answer in worker(self._take(at_hand)):
                at_hand.clear()
                self._finish(self._by_folder[task.folder], answer)
        except Exception:
            logger.exception("a worker ended")
            self._n_broken += 1
            for job in at_hand:
                self._finish(job, Problem(500, "InternalError", OURS))
            if self._n_broken == len(self._threads):
                self.stop_all("The service cannot judge clips any more.")

    def _take(self, at_hand: list[ClipJob]) -> Iterator[ClipTask]:
        while not self._is_closed:
            try:
                job = self._waiting.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                continue
            with self._lock:
                if job.state != WAITING:
                    continue
                job.state, job.began_at = RUNNING, time.time()
            at_hand[:] = [job]
            yield job.task

    def _finish(self, job: ClipJob, answer: ClipDone | Problem | object) -> None:
        if answer is CRASHED:
            logger.error("a clip ended the process that judged it")
            answer = Problem(
                422,
                "Crash",
                f"{job.task.called}: ended the process that judged it. Leave it out, and please report it.",
            )
        is_done = isinstance(answer, ClipDone)
        with self._lock:
            if not job.is_open:
                return
            job.ended_at = time.time()
            if is_done:
                self._seconds_each = 0.8 * self._seconds_each + 0.2 * (job.ended_at - job.began_at)
            job.state = DONE if is_done else STOPPED if answer.kind == "WorkStopped" else FAILED
            with contextlib.suppress(FileNotFoundError):
                job.task.clip.unlink()
            is_dropped = job.is_dropped
        job.answered.set_result(answer)
        self._tell(job)
        if is_dropped:
            self._forget(job)

    # ---- Out ----

    def stop(self, job: ClipJob, words: str = "was stopped.") -> None:
        """Ends a job: at once if it waits, soon if it is being judged."""
        with self._lock:
            is_waiting = job.state == WAITING
            if job.state == RUNNING:
                with contextlib.suppress(OSError):
                    job.task.stop_file.touch()
        if is_waiting:
            self._finish(job, Problem(503, "WorkStopped", f"{job.task.called}: {words}"))

    def drop(self, job: ClipJob) -> None:
        """Deletes a job with its files, now or as soon as its work has stopped."""
        with self._lock:
            job.is_dropped = True
        self.stop(job)
        if not job.is_open:
            self._forget(job)

    def stop_all(self, words: str = "was stopped, as the service ends.") -> None:
        """Ends all jobs."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.is_open]
        for job in jobs:
            self.stop(job, words)

    def sweep(self) -> None:
        """Deletes answers that were kept for long enough."""
        oldest = time.time() - self.limits.keep_seconds
        with self._lock:
            old = [job for job in self._jobs.values() if job.is_kept and job.ended_at and job.ended_at < oldest]
        for job in old:
            self.drop(job)

    def close(self, seconds: float) -> None:
        """Ends all jobs and workers; waits for them for some seconds at most, and deletes all files."""
        self.stop_all()
        self._is_closed = True
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self._forget(job)

    def _forget(self, job: ClipJob) -> None:
        shutil.rmtree(job.task.folder, ignore_errors=True)
        with self._lock:
            self._jobs.pop(job.id, None)
            self._by_folder.pop(job.task.folder, None)


def _safe_name(called: str | None) -> str:
    """Returns a caller's name of a clip: its last part, on one line."""
    last = displayable((called or "").replace("\\", "/").rpartition("/")[2])
    return " ".join(last.split())[-MAX_NAME:] or "clip"
