"""Fetches files: over HTTPS with the standard library, from the Hugging Face hub with its own; errors are one line.

A download goes on where it stopped, tries again after a fault that may pass, and trusts nothing but the checksum. What
has arrived of a file lies beside it as ``NAME.CHECKSUM.part``, so that no part is continued with another content.
"""

import contextlib
import errno
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from emotion.console import SILENT, Reporter
from emotion.errors import EmotionError, first_line
from emotion.files import make_folder
from emotion.https import FetchError, PassingFault, open_url, pause, read_chunks

PROGRESS_BYTES = 1 << 20  # an attempt that brought this much does not count as a failure
N_CONNECTIONS = 4

PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416

# Called with a file and how many of its bytes are here; fewer than before if a part was thrown away.
TellBytes = Callable[[Path, int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server, as its owner describes it.

    Attributes:
        size: in bytes.
        checksum: ``md5:`` or ``sha256:`` and the digest in hexadecimal.
        headers: what the server wants to be sent; never passed on to where a redirect leads.
    """

    url: str
    size: int
    checksum: str
    headers: dict[str, str] = field(default_factory=dict, hash=False)


# ---- Checksums ----


def compute_checksum(path: Path, like: str) -> str:
    """Returns a file's checksum, by the algorithm of the checksum ``like``."""
    algorithm = like.partition(":")[0]
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def is_right(path: Path, remote: RemoteFile) -> bool:
    """Whether a file is here, whole, and has its owner's checksum."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    return compute_checksum(path, remote.checksum) == remote.checksum


def bytes_here(path: Path, remote: RemoteFile) -> int:
    """Returns how much of a file is here already, by the sizes of the files alone."""
    if path.is_file() and path.stat().st_size == remote.size:
        return remote.size
    return _size_of_part(part_of(path, remote), remote)


# ---- Files ----


def part_of(path: Path, remote: RemoteFile) -> Path:
    """Where a file lies until it is whole; the name holds the beginning of its checksum."""
    return path.with_name(f"{path.name}.{remote.checksum.partition(':')[2][:8]}.part")


def _size_of_part(part: Path, remote: RemoteFile) -> int:
    size = part.stat().st_size if part.is_file() else 0
    return size if size <= remote.size else 0


def fetch(
    remote: RemoteFile,
    path: Path,
    *,
    tell: TellBytes = lambda path, n_bytes: None,
    stop: threading.Event | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Fetches a file unless it is here already; a part of it from an earlier call is continued.

    Args:
        path: where it goes, once it is whole and right.
        tell: called with the path and how many bytes of it are here.
        stop: if set, the download ends at the next chunk and its part is kept.

    Raises:
        FetchError: if it cannot be had, or comes twice with a wrong checksum.
        OSError: if it cannot be written.
    """
    if is_right(path, remote):
        tell(path, remote.size)
        return
    if path.exists():
        reporter.warn(f"note: {path} is not what its owner lists; fetching it anew")
    make_folder(path.parent)
    part, stop = part_of(path, remote), stop or threading.Event()
    try:
        for is_last in (False, True):
            _complete(remote, part, lambda n_bytes: tell(path, n_bytes), stop, reporter)
            if compute_checksum(part, remote.checksum) == remote.checksum:
                os.replace(part, path)
                return
            part.unlink()
            what = f"{path.name} came with a wrong checksum and was deleted"
            if is_last:
                raise FetchError(f"{what}, twice. {remote.url} does not hold what its owner lists; try again later.")
            reporter.warn(f"note: {what}; fetching it once more")
    except BaseException:
        tell(path, 0)
        raise


def _complete(
    remote: RemoteFile, part: Path, tell: Callable[[int], None], stop: threading.Event, reporter: Reporter
) -> None:
    """Fetches what the part still lacks, in as many attempts as it takes."""
    part.touch()
    have, n_failures = _size_of_part(part, remote), 0
    tell(have)
    while have < remote.size:
        before = have
        try:
            _receive(remote, part, have, tell, stop)
        except PassingFault as error:
            n_failures = 1 if _size_of_part(part, remote) - before >= PROGRESS_BYTES else n_failures + 1
            pause(error, n_failures, reporter, stop)
        have = _size_of_part(part, remote)
        tell(have)
        if stop.is_set():
            raise FetchError("Stopped.")


def _receive(remote: RemoteFile, part: Path, have: int, tell: Callable[[int], None], stop: threading.Event) -> None:
    """Makes one request for what is missing and writes what comes."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        response = open_url(remote.url, headers=headers, private_headers=remote.headers)
    except FetchError as error:
        if error.status != RANGE_NOT_SATISFIABLE or not have:
            raise
        part.unlink()
        raise PassingFault(f"{remote.url} cannot be continued; starting it again") from None
    with response:
        if response.status != PARTIAL_CONTENT:
            have = 0  # this server knows no ranges: the whole file comes
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise PassingFault(f"{remote.url} sends another part than was asked for; starting it again")
        length = response.headers.get("Content-Length")
        if length is not None and have + int(length) != remote.size:
            part.unlink()
            raise FetchError(
                f"{remote.url} now holds {have + int(length)} bytes instead of the {remote.size} that its owner lists. "
                "Another page may stand before it, or the file has changed: try again later."
            )
        # Unbuffered, so that what has arrived is in the file whatever comes next.
        with open(part, "ab" if have else "wb", buffering=0) as file:
            for chunk in read_chunks(response, remote.url):
                write_chunk(file, chunk, part)
                have += len(chunk)
                tell(have)
                if have > remote.size or stop.is_set():
                    break
    if have > remote.size:
        part.unlink()
        raise FetchError(f"{remote.url} sends more than the {remote.size} bytes that its owner lists.")
    if have < remote.size and not stop.is_set():
        raise PassingFault(f"the connection to {remote.url} broke off after {have} of {remote.size} bytes")


def write_chunk(file, chunk: bytes, path: Path) -> None:
    """Writes to an unbuffered file; an OSError names the file."""
    try:
        n_bytes = file.write(chunk)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    if n_bytes != len(chunk):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def fetch_all(files: Sequence[tuple[RemoteFile, Path]], *, tell: TellBytes, reporter: Reporter = SILENT) -> None:
    """Fetches many small files over a few connections at a time; the first failure ends them all."""
    stop = threading.Event()
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        futures = [pool.submit(fetch, remote, path, tell=tell, stop=stop, reporter=reporter) for remote, path in files]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


# ---- The Hugging Face hub ----


@contextlib.contextmanager
def hub_library(
    what: str, way_out: Callable[[Exception], str], kind: type[EmotionError] = FetchError
) -> Iterator[ModuleType]:
    """Lends ``huggingface_hub``; what goes wrong in the block becomes one line.

    Args:
        what: begins the error's message, such as ``hf://USER/NAME: cannot be fetched``.
        way_out: returns the message's last sentence for the library's error.
        kind: of the error to raise.
    """
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        yield huggingface_hub
    except Exception as error:
        # Whatever the library and what it stands on raise means the same to a user.
        words = re.sub(r"^Got: \w+: ", "", first_line(error).rstrip("."))
        raise kind(f"{what} ({words}). {way_out(error)}") from error
