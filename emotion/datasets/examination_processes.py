"""Examining many files, in processes of their own.

A file that brings a decoder down, or keeps it busy for ever, costs one process and is named, and the others go on.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import cv2

from emotion.datasets.examination import DEADLINE_SECONDS, Examination, examine_file
from emotion.datasets.examination_memory import ExaminationMemory
from emotion.errors import EmotionError

FILES_IN_FLIGHT = 2  # a process: one being read, one waiting

CRASHED = (
    f"the decoder crashed on it, or was not done with it after {DEADLINE_SECONDS:.0f} seconds. Take it out of the "
    "data set, or download it again"
)


def examine_files(
    paths: Iterable[str],
    *,
    memory: ExaminationMemory | None = None,
    n_jobs: int = 0,
    progress: Callable[[int, int], None] | None = None,
    examine: Callable[[str], Examination] | None = None,
) -> dict[str, Examination]:
    """Examines files on several cores.

    Args:
        paths: the files.
        memory: what earlier runs have found; new findings are added to it as they come.
        n_jobs: processes; 0 for one a core.
        progress: called with the files done and their total.
        examine: what is done with each file, by default ``examine_file``; it must be importable by its name.

    Returns:
        The examination of each file, by path.
    """
    paths = list(dict.fromkeys(paths))
    found = {path: known for path in paths if memory and (known := memory.recall(path)) is not None}
    todo = [path for path in paths if path not in found]
    if progress:
        progress(len(found), len(paths))
    n_workers = min(n_jobs or os.cpu_count() or 1, len(todo))
    for path, examination in _examine_in_processes(todo, n_workers, examine or examine_file):
        found[path] = examination
        if memory and examination.words != CRASHED:  # which may have had another cause, such as a full memory
            memory.keep(path, examination)
        if progress:
            progress(len(found), len(paths))
    return {path: found[path] for path in paths}


def _examine_in_processes(todo: list[str], n_workers: int, examine: Callable) -> Iterator[tuple[str, Examination]]:
    """Yields each file's examination. If a process dies, the files that were in hand are tried again one by one."""
    waiting = iter(todo)
    while n_workers:
        suspects, pending = [], {}
        with _pool(n_workers) as pool:
            while batch := list(itertools.islice(waiting, n_workers * FILES_IN_FLIGHT - len(pending))) or pending:
                if batch is not pending:
                    try:
                        pending |= {pool.submit(examine, path): path for path in batch}
                    except BrokenProcessPool:
                        waiting = itertools.chain(batch, waiting)
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    path = pending.pop(future)
                    try:
                        yield path, future.result()
                    except BrokenProcessPool:
                        suspects.append(path)
                if suspects:
                    break
        if not suspects:
            return
        # A broken pool fails all it holds, so every file still in hand is suspect, not only the guilty one.
        for path in [*suspects, *pending.values()]:
            with _pool(1) as pool:
                _check_alive(pool)
                try:
                    yield path, pool.submit(examine, path).result()
                except BrokenProcessPool:
                    yield path, Examination(fault="broken", words=CRASHED)


def _pool(n_workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: decoders keep threads that a fork would leave in pieces.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"), initializer=_start_worker)


def _check_alive(pool: ProcessPoolExecutor) -> None:
    """Raises an EmotionError if not even an idle process lives: then no file is to blame."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise EmotionError(
            "The processes that examine files end as soon as they are started. Is the memory full? Try --jobs 1."
        ) from error


def _start_worker() -> None:
    cv2.setNumThreads(1)
