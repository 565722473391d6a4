"""What a download says while it runs: sizes, room on the disk, a bar of megabytes, and the way out when it fails."""

import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from emotion.console import ProgressBar
from emotion.datasets.web import DownloadError

SPARE_BYTES = 100_000_000  # left free on the disk


def say(message: str) -> None:
    """Prints to the output stream."""
    print(message, flush=True)


def warn(message: str) -> None:
    """Prints a note to the error stream, above a bar if one stands there."""
    from tqdm import tqdm

    tqdm.write(f"note: {message}", file=sys.stderr)


class Meter:
    """A progress bar in megabytes that several threads may move."""

    def __init__(self, what: str, total_bytes: int, *, shown: bool):
        self._bar, self._total, self._done = ProgressBar(what, "MB", shown=shown), total_bytes, 0
        self._lock = threading.Lock()

    def __call__(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            # Never quite full: a file that must be fetched again would move a bar that has closed.
            self._bar(min(self._done, self._total - 1) / 1e6, self._total / 1e6)

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_) -> None:
        self._bar(self._total / 1e6, self._total / 1e6)


def announce(output: Path, *, n_files: int, fetched: int, needed: int, refuse: bool) -> None:
    """Says what the download takes and what the disk has; refuses, if it is to, what does not fit."""
    folder = output.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    say(
        f"To fetch: {n_files} files, {show(fetched)}. Disk: up to {show(needed)} needed, {show(free)} free at {folder}."
    )
    if refuse and needed + SPARE_BYTES > free:
        raise DownloadError(
            f"It needs {show(needed)} of disk, and {folder} has {show(free)} free. Make room, or choose another "
            "--output, fewer --actors or one --modality."
        )


def show(n_bytes: float) -> str:
    """Returns a number of bytes in words: ``0.52 GB``, ``3.1 MB``."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


@contextlib.contextmanager
def advice(way_out: str) -> Iterator[None]:
    """Adds the way out to whatever goes wrong on the line."""
    try:
        yield
    except DownloadError as error:
        raise DownloadError(f"{error} {way_out}") from None
