"""Fetches files: goes on where it stopped, tries again after a break, and trusts nothing but the checksum.

What has arrived of a file lies beside it as ``NAME.part``, with a note of which content it is a part of.
"""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.download.web import (
    DownloadError,
    PassingFault,
    RefusedError,
    open_url,
    read_chunks,
    rest_before_retry,
)

PROGRESS_BYTES = 1 << 20  # an attempt that brought this much was no failure
N_CONNECTIONS = 4
RANGE_NOT_SATISFIABLE = 416
PARTIAL_CONTENT = 206


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server, as its owner describes it.

    Attributes:
        url: where the content is.
        size: its length in bytes.
        checksum: ``md5:`` or ``sha256:`` and the digest in hexadecimal.
        headers: what the server wants to be sent; never passed on to where a redirect leads.
    """

    url: str
    size: int
    checksum: str
    headers: dict[str, str] = field(default_factory=dict, hash=False)


def compute_checksum(path: Path, like: str) -> str:
    """Returns a file's checksum, by the algorithm of the checksum ``like``."""
    algorithm = like.partition(":")[0]
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def is_right(path: Path, remote: RemoteFile) -> bool:
    """Whether a file is there, whole, and has its owner's checksum."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    return compute_checksum(path, remote.checksum) == remote.checksum


def bytes_here(path: Path, remote: RemoteFile) -> int:
    """Returns how much of a file need not be fetched any more, by the sizes of what is there."""
    if path.is_file() and path.stat().st_size == remote.size:
        return remote.size
    return _Part(path, remote).size()


class _Part:
    """What has arrived of a file so far, and the note beside it: of which content, with which ETag."""

    def __init__(self, path: Path, remote: RemoteFile):
        self.path, self._note = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
        self._remote = remote

    def _read_note(self) -> dict:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return note if note.get("checksum") == self._remote.checksum else {}
        except (OSError, ValueError, AttributeError):
            return {}

    def size(self) -> int:
        """The bytes that can be kept: none if they belong to another content, or are too many."""
        if not self._read_note() or not self.path.is_file():
            return 0
        size = self.path.stat().st_size
        return size if size <= self._remote.size else 0

    def etag(self) -> str | None:
        return self._read_note().get("etag")

    def write_note(self, etag: str | None) -> None:
        self._note.write_text(json.dumps({"checksum": self._remote.checksum, "etag": etag}), encoding="utf-8")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def become(self, path: Path) -> None:
        os.replace(self.path, path)
        self._note.unlink(missing_ok=True)


def fetch(
    remote: RemoteFile,
    path: Path,
    *,
    say: Callable[[str], None],
    advance: Callable[[int], None] = lambda n_bytes: None,
    stop: threading.Event | None = None,
) -> None:
    """Fetches a file unless it is there already; a part of it from an earlier call is continued.

    Args:
        remote: the file, with its size and checksum.
        path: where it goes, once it is whole and right.
        say: told of every failed attempt.
        advance: told how many more bytes are there; fewer than none when a part had to be thrown away.
        stop: when set, the download ends at the next chunk, its part kept.

    Raises:
        DownloadError: if it cannot be had, or comes twice with a wrong checksum.
        OSError: if it cannot be written.
    """
    if is_right(path, remote):
        advance(remote.size)
        return
    if path.exists():
        say(f"{path} is not what its owner lists; fetching it anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, stop = _Part(path, remote), stop or threading.Event()
    counted = 0

    def count(n_bytes: int) -> None:
        nonlocal counted
        counted += n_bytes
        advance(n_bytes)

    for last in (False, True):
        try:
            _complete(remote, part, say, count, stop)
        except BaseException:
            count(-counted)
            raise
        if compute_checksum(part.path, remote.checksum) == remote.checksum:
            part.become(path)
            return
        part.delete()
        count(-counted)
        what = f"{path.name} came with a wrong checksum and was deleted"
        if last:
            raise DownloadError(f"{what}, twice. {remote.url} does not hold what its owner lists; try again later.")
        say(f"{what}; fetching it once more")


def _complete(
    remote: RemoteFile, part: _Part, say: Callable[[str], None], advance: Callable[[int], None], stop: threading.Event
) -> None:
    """Fetches what the part still lacks, in as many attempts as it takes."""
    have = part.size()
    if not have:
        part.delete()
        part.path.touch()
    advance(have)
    n_failures = 0
    while have < remote.size:
        before = have
        try:
            _receive(remote, part, have, advance, stop)
        except PassingFault as error:
            have = part.size()
            n_failures = 1 if have - before >= PROGRESS_BYTES else n_failures + 1
            rest_before_retry(error, n_failures, say, stop)
        have = part.size()
        if stop.is_set():
            raise DownloadError("Stopped.")


def _receive(remote: RemoteFile, part: _Part, have: int, advance: Callable[[int], None], stop: threading.Event) -> None:
    """Makes one request for what is missing and writes what comes; the caller looks at how far it got."""
    headers, etag = {}, part.etag()
    if have:
        headers["Range"] = f"bytes={have}-"
        if etag and not etag.startswith("W/"):
            # A file that has changed is then sent whole.
            headers["If-Range"] = etag
    try:
        response = open_url(remote.url, headers=headers, private_headers=remote.headers)
    except RefusedError as error:
        if error.status != RANGE_NOT_SATISFIABLE or not have:
            raise
        part.delete()
        advance(-have)
        raise PassingFault(f"{remote.url} cannot be continued; starting it again") from None
    with response:
        got_etag = response.headers.get("ETag")
        if response.status == PARTIAL_CONTENT:
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if not begins or (etag and got_etag and etag != got_etag):
                part.delete()
                advance(-have)
                raise PassingFault(f"{remote.url} has changed; starting it again")
        elif have:
            # The whole file comes: this server knows no ranges, or has another file now.
            advance(-have)
            have = 0
        length = response.headers.get("Content-Length")
        if length is not None and have + int(length) != remote.size:
            part.delete()
            raise DownloadError(
                f"{remote.url} now holds {have + int(length)} bytes instead of the {remote.size} that its owner lists. "
                "Another page may stand before it, or the file has changed: try again later."
            )
        part.write_note(got_etag)
        # Unbuffered, so that what has arrived is in the file whatever comes next.
        with open(part.path, "ab" if have else "wb", buffering=0) as file:
            for chunk in read_chunks(response, remote.url):
                _write(file, chunk, part.path)
                have += len(chunk)
                advance(len(chunk))
                if have > remote.size or stop.is_set():
                    break
    if have > remote.size:
        part.delete()
        raise DownloadError(f"{remote.url} sends more than the {remote.size} bytes that its owner lists.")
    if have < remote.size and not stop.is_set():
        raise PassingFault(f"the connection to {remote.url} broke off after {have} of {remote.size} bytes")


def _write(file, chunk: bytes, path: Path) -> None:
    try:
        n_bytes = file.write(chunk)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    if n_bytes != len(chunk):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def fetch_all(
    files: Sequence[tuple[RemoteFile, Path]], *, say: Callable[[str], None], advance: Callable[[int], None]
) -> None:
    """Fetches many small files over a few connections at a time; the first failure ends them all."""
    stop = threading.Event()
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        futures = [pool.submit(fetch, remote, path, say=say, advance=advance, stop=stop) for remote, path in files]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
