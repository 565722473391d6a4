"""Work on many items in processes of their own, so that one that brings its process down costs only itself."""

import itertools
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
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
