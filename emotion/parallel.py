"""Parallel work: stages in threads, items in processes, and a stopwatch for the parts of a program."""

import contextlib
import itertools
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from typing import Any, Self, TypeVar

from emotion.errors import EmotionError

Item = TypeVar("Item")

# ---- Stages in threads ----
#
# Decoding, detection, networks and encoding release Python's lock, so threads keep several cores busy.

# Pictures waiting between two stages: enough to even out slow ones. A 4K picture takes 12 MB, or 37 MB with its RGB.
N_WAITING = 4
PATIENCE_SECONDS = 0.05  # between two checks whether to stop


class _Over(BaseException):
    """Ends a stage that waits for another when the work stops."""


class Stages:
    """Threads that produce items ahead of their consumers; a context manager that ends them all.

    When the block is left, also by an error or Ctrl-C, each thread stops at its next item and closes its source. From
    entering on, OpenCV and NumPy's matrix products use one thread per call, in the whole program.

    Example:
        with Stages() as stages:
            pictures = stages.ahead(decode(path))
            faces = stages.ahead(find_faces(picture) for picture in pictures)
            for face in faces:
                ...
    """

    def __init__(self):
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        share_cores()
        return self

    def __exit__(self, *exception) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def ahead(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields items that a new thread fetches from now on; nothing else may use the source then.

        An error of the source is raised in place of its item.
        """
        waiting: queue.Queue = queue.Queue(N_WAITING)
        thread = threading.Thread(target=self._fetch, args=(items, waiting), daemon=True)
        self._threads.append(thread)
        thread.start()
        return self._take(waiting)

    def _take(self, waiting: queue.Queue) -> Iterator[Item]:
        while True:
            try:
                kind, value = waiting.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                if self._is_over.is_set():
                    raise _Over from None
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value
            if self._is_over.is_set():
                raise _Over
            yield value

    def _fetch(self, items: Iterable[Item], waiting: queue.Queue) -> None:
        try:
            for item in items:
                self._put(waiting, "item", item)
            self._put(waiting, "end", None)
        except _Over:
            pass
        except BaseException as error:  # raised again where the items are taken
            with contextlib.suppress(_Over):
                self._put(waiting, "error", error)
        finally:
            if hasattr(items, "close"):
                items.close()

    def _put(self, waiting: queue.Queue, kind: str, value: object) -> None:
        while not self._is_over.is_set():
            try:
                waiting.put((kind, value), timeout=PATIENCE_SECONDS)
            except queue.Full:
                continue
            return
        raise _Over


def share_cores() -> None:
    """Limits OpenCV and OpenBLAS to one thread per call; with several stages at once, more threads slow each other."""
    import cv2

    cv2.setNumThreads(1)
    limit_blas()


def limit_blas() -> None:
    """Limits NumPy's BLAS to one thread per call, unless ``OPENBLAS_NUM_THREADS`` is set.

    BLAS threads spin while they wait, which takes a fifth of all processor time where matrices are small. The variable
    alone would be too late: it is read when NumPy is imported.
    """
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # an older environment; only speed suffers
        return
    threadpool_limits(1, user_api="blas")


# ---- Items in processes: an item that crashes its process costs only itself ----

IN_FLIGHT = 2  # items per process: one in work, one waiting
ENDING_SECONDS = 5.0  # that a process has to take back what is half written
CRASHED = object()  # the result of an item that crashed its process


def run_in_processes(
    function: Callable[[Any], Any], items: Iterable, n_processes: int, *, initializer: Callable[[], None] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Calls a function with each item, on several cores.

    If a process dies, the pool fails all items in work. They are tried again one by one, to find the one that crashes.

    Args:
        function: must be importable by name, or a partial of such a function.
        items: must be picklable.
        initializer: called once in every process.

    Yields:
        Each item with the function's result, or ``CRASHED``, in the order they finish. Errors of the function are
        raised here.

    Raises:
        EmotionError: if even an idle process dies.
    """
    waiting = iter(items)
    while True:
        suspects, pending = [], {}
        with _pool(n_processes, initializer) as pool:
            while batch := list(itertools.islice(waiting, n_processes * IN_FLIGHT - len(pending))) or pending:
                if batch is not pending:
                    try:
                        pending |= {pool.submit(_do, function, item): item for item in batch}
                    except BrokenProcessPool:
                        waiting = itertools.chain(batch, waiting)
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    item = pending.pop(future)
                    try:
                        yield item, future.result()
                    except BrokenProcessPool:
                        suspects.append(item)
                if suspects:
                    break
        if not suspects:
            return
        yield from run_one_by_one(function, [*suspects, *pending.values()], initializer=initializer)


def run_one_by_one(
    function: Callable[[Any], Any], items: Iterable, *, initializer: Callable[[], None] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Does as ``run_in_processes`` in one process, which takes an item once the one before is done.

    So the items may come from a queue that others fill meanwhile. The process is begun anew after each item that
    crashes it.
    """
    waiting, is_over = iter(items), False
    while not is_over:
        with _pool(1, initializer) as pool:
            _check_alive(pool)
            for item in waiting:
                try:
                    answer = pool.submit(_do, function, item).result()
                except BrokenProcessPool:
                    yield item, CRASHED
                    break
                yield item, answer
            else:
                is_over = True


def run_on_cores(function: Callable[[Any], Any], items: Iterable, n_processes: int) -> Iterator[tuple[Any, Any]]:
    """Does as ``run_in_processes``, but with fewer than two processes in this one, where a crash ends the program."""
    if n_processes > 1:
        yield from run_in_processes(function, items, n_processes)
    else:
        for item in items:
            yield item, function(item)


@contextlib.contextmanager
def _pool(n_processes: int, initializer: Callable[[], None] | None) -> Iterator[ProcessPoolExecutor]:
    # Spawned, not forked: the threads of decoders and TensorFlow do not survive a fork.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    others = set(active_children())
    pool = ProcessPoolExecutor(
        n_processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(initializer,)
    )
    try:
        yield pool
    except BaseException:
        # Without this, a second Ctrl-C may interrupt the pool's own shutdown, and the program would hang.
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initializer: Callable[[], None] | None) -> None:
    # Ctrl-C reaches all processes of a terminal. One that died of it while it holds a queue would block the others. So
    # workers ignore it, and the main process ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_this)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    if initializer is not None:
        initializer()


class _Ended(BaseException):
    """The main process ends this one in the middle of an item."""


_is_at_work = False  # of a process


def _do(function: Callable[[Any], Any], item):
    """Calls a function; if this process is to end meanwhile, the function first takes back what is half written."""
    global _is_at_work  # noqa: PLW0603  (a process has one)
    _is_at_work = True
    try:
        return function(item)
    except _Ended:
        os._exit(1)
    finally:
        _is_at_work = False


def _end_this(number: int, frame) -> None:
    if not _is_at_work:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    patience = threading.Timer(ENDING_SECONDS, os._exit, (1,))
    patience.daemon = True
    patience.start()
    raise _Ended


def _end_with_parent() -> None:
    """Ends this process with the one that began it, which may have been killed."""
    parent_process().join()
    os._exit(1)


def _check_alive(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise EmotionError(
            "The processes that read files end as soon as they start. Is the memory full? Close other programs. "
            "In a script of your own, put the main code under: if __name__ == '__main__':"
        ) from error


# ---- Stopwatch ----


class Stopwatch:
    """Adds up the wall-clock seconds spent on each named part.

    Time in a nested part counts for that part alone. Several threads may use one stopwatch; their times add up, so the
    sum may be more than has passed.

    Example:
        stopwatch = Stopwatch()
        with stopwatch("decode"):
            ...
        print(stopwatch.seconds["decode"])
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._own = threading.local()

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        inner = self._own.__dict__.setdefault("inner", [0.0])
        start = time.perf_counter()
        inner.append(0.0)
        try:
            yield
        finally:
            total = time.perf_counter() - start
            own = total - inner.pop()
            inner[-1] += total
            with self._lock:
                self.seconds[part] = self.seconds.get(part, 0.0) + own

    def watch(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items; the time to get each counts for ``part``."""
        iterator = iter(items)
        try:
            while True:
                with self(part):
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                yield item
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
