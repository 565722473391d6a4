"""Stages of a program that work at the same time, each in a thread of its own, with short queues between them.

What takes time here, decoding, detection, networks and encoding, runs outside of Python's lock, so that threads are
enough to keep several cores busy.
"""

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
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any, Self, TypeVar

from emotion.errors import EmotionError

Item = TypeVar("Item")

# Pictures waiting between two stages. A few even out that some take longer; those of 4K weigh 12 MB each as they were
# decoded, and 25 more where RGB was asked for.
N_WAITING = 4
PATIENCE_SECONDS = 0.05  # between two looks at whether the work is to go on


class _Over(BaseException):
    """Ends a stage that waits for another when the work is to stop."""


class Stages:
    """Threads that fetch items ahead of whoever takes them, all of which end when the block is left.

    OpenCV and NumPy's matrix products use one thread for each call from then on, in the whole program.

    However it is left, at the end, by an error or by Ctrl-C, each thread stops at its next item and closes what it
    fetched from, before the block is over.

    Example:
        with Stages() as stages:
            pictures = stages.ahead(decode(path))
            faces = stages.ahead(find_faces(picture) for picture in pictures)
            for face in faces:
                ...
    """

    def __init__(self, n_waiting: int = N_WAITING):
        """Takes how many items a stage may be ahead."""
        self._n_waiting = n_waiting
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
        """Yields items that a thread of their own fetches, from now on.

        An error of the source is raised where its item would have come.

        Args:
            items: the source; nobody else may touch it from then on.
        """
        waiting: queue.Queue = queue.Queue(self._n_waiting)
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
        except BaseException as error:  # whatever it is, it belongs to whoever takes the items
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
    """Has OpenCV and OpenBLAS use one thread for each call: where several stages work at once, more get in the way."""
    import cv2

    cv2.setNumThreads(1)
    limit_blas()


def limit_blas() -> None:
    """Has OpenBLAS, or what else multiplies NumPy's matrices, use one thread for each call from now on.

    Its threads wait for work by spinning, which takes a fifth of all processor time where matrices are small. Its own
    variable is read once, when NumPy is imported; whoever has set that has chosen, and nothing is changed.
    """
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # in an environment that is older than this need, which is of speed alone
        return
    threadpool_limits(1, user_api="blas")


# ---- Work on many items in processes of their own, so that one that brings its process down costs only itself ----

IN_FLIGHT = 2  # items a process: one being worked on, one waiting

# The result of an item whose process ended under it.
CRASHED = object()


def run_in_processes(
    function: Callable[[Any], Any], items: Iterable, n_processes: int, *, initializer: Callable[[], None] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Calls a function with each item, on several cores.

    If a process dies, what was in hand is tried again one by one: a broken pool fails all it holds, so every such item
    is suspect, not only the guilty one.

    Args:
        function: importable by its name, or a partial of such a one.
        items: whatever can be sent to a process.
        n_processes: at least one.
        initializer: called once in every process.

    Yields:
        Each item with the function's result, or with ``CRASHED``, as they are done. What the function raises is raised
        here.

    Raises:
        EmotionError: if not even an idle process lives.
    """
    waiting = iter(items)
    while True:
        suspects, pending = [], {}
        with _pool(n_processes, initializer) as pool:
            while batch := list(itertools.islice(waiting, n_processes * IN_FLIGHT - len(pending))) or pending:
                if batch is not pending:
                    try:
                        pending |= {pool.submit(function, item): item for item in batch}
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
        for item in [*suspects, *pending.values()]:
            with _pool(1, initializer) as pool:
                _check_alive(pool)
                try:
                    yield item, pool.submit(function, item).result()
                except BrokenProcessPool:
                    yield item, CRASHED


@contextmanager
def _pool(n_processes: int, initializer: Callable[[], None] | None) -> Iterator[ProcessPoolExecutor]:
    # Spawned, not forked: decoders and TensorFlow keep threads that a fork would leave in pieces.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    others = set(active_children())
    pool = ProcessPoolExecutor(
        n_processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(initializer,)
    )
    try:
        yield pool
    except BaseException:
        # Nobody waits for what is in hand. A second Ctrl-C may interrupt the pool's own way of ending its processes, so
        # that the program waits for them for good.
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initializer: Callable[[], None] | None) -> None:
    # Ctrl-C reaches all processes of a terminal. One that dies of it with a queue in hand leaves the others waiting for
    # good; so they finish what they are at, and are told to end by the one that the user stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer()


def _check_alive(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise EmotionError(
            "The processes that read files end as soon as they are started. Is the memory full? Close other programs. "
            "A script of your own must begin its work under: if __name__ == '__main__':"
        ) from error


# ---- Where the time goes: a stopwatch for the parts of a program ----

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the wall-clock seconds spent on each named part.

    Parts may be nested; the time of the inner one counts for it alone. Several threads may use one stopwatch: what each
    of them spends adds up, so that parts which overlap sum to more than has passed.

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
        """Yields the items, counting the time that each takes to come for a part."""
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
