"""Work on many items in processes of their own, so that one that brings its process down costs only itself."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from emotion.errors import EmotionError

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


def _pool(n_processes: int, initializer: Callable[[], None] | None) -> ProcessPoolExecutor:
    # Spawned, not forked: decoders and TensorFlow keep threads that a fork would leave in pieces.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return ProcessPoolExecutor(n_processes, mp_context=get_context("spawn"), initializer=initializer)


def _check_alive(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise EmotionError(
            "The processes that read files end as soon as they are started. Is the memory full? Close other programs."
        ) from error
