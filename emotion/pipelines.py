"""Stages of a program that work at the same time, each in a thread of its own, with short queues between them.

What takes time here, decoding, detection, networks and encoding, runs outside of Python's lock, so that threads are
enough to keep several cores busy.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

# Pictures waiting between two stages. A few even out that some take longer; those of 4K weigh 25 MB each.
N_WAITING = 4
PATIENCE_SECONDS = 0.05  # between two looks at whether anybody still waits for items


def work_ahead(items: Iterable[Item], n_waiting: int = N_WAITING) -> Iterator[Item]:
    """Yields items that a thread of their own fetches, up to some ahead of what is taken.

    An error of the source is raised where its item would have come. If the taker stops, so does the thread; then the
    source is closed, in that thread, before this returns.

    Args:
        items: the source; nobody else may touch it from then on.
        n_waiting: how many items it may be ahead.
    """
    waiting: queue.Queue = queue.Queue(n_waiting)
    is_over = threading.Event()

    def put(kind: str, value: object) -> bool:
        while not is_over.is_set():
            try:
                waiting.put((kind, value), timeout=PATIENCE_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def fetch() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put("item", item):
                    break
            else:
                put("end", None)
        except BaseException as error:  # whatever it is, it belongs to whoever takes the items
            put("error", error)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        is_over.set()
        thread.join()


def share_cores() -> None:
    """Has OpenCV use one thread for each call: where several stages work at once, more only get in each other's way."""
    import cv2

    cv2.setNumThreads(1)
