"""Where the time goes: a stopwatch for the parts of a program."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the wall-clock seconds spent on each named part.

    Parts may be nested; the time of the inner one counts for it alone.

    Example:
        stopwatch = Stopwatch()
        with stopwatch("decode"):
            ...
        print(stopwatch.seconds["decode"])
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            total = time.perf_counter() - start
            self.seconds[part] = self.seconds.get(part, 0.0) + total - self._inner.pop()
            self._inner[-1] += total

    def watch(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items, counting the time that each takes to come for a part."""
        iterator = iter(items)
        while True:
            with self(part):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
