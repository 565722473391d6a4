"""Stages of a program that work at the same time, each in a thread of its own, with short queues between them.

What takes time here, decoding, detection, networks and encoding, runs outside of Python's lock, so that threads are
enough to keep several cores busy.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

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
