"""Examining many files, in processes of their own.

A file that brings a decoder down, or keeps it busy for ever, costs one process and is named, and the others go on.
"""

import os
from collections.abc import Callable, Iterable

import cv2

from emotion.datasets.examination import DEADLINE_SECONDS, Examination, examine_file
from emotion.datasets.examination_memory import ExaminationMemory
from emotion.processes import CRASHED, run_in_processes

CRASHED_WORDS = (
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
    if n_workers:
        for path, result in run_in_processes(examine or examine_file, todo, n_workers, initializer=_start_worker):
            examination = Examination(fault="broken", words=CRASHED_WORDS) if result is CRASHED else result
            found[path] = examination
            if memory and result is not CRASHED:  # which may have had another cause, such as a full memory
                memory.keep(path, examination)
            if progress:
                progress(len(found), len(paths))
    return {path: found[path] for path in paths}


def _start_worker() -> None:
    cv2.setNumThreads(1)
