"""Where the time goes: a stopwatch for the parts of a program."""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
