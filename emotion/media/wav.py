"""Reads the length that the header of a WAV, RF64 or W64 file states, and corrects a wrong one.

Programs that write into a pipe leave the length open: 0, or all bits set. Others stop before they correct it.
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

OPEN_LENGTH = 0x7FFFF000  # a 32-bit length from here on is a placeholder, unless the file is that long
LONGEST_STATED = 2**32 - 1
MAX_CHUNKS = 10_000
ROUNDING_SECONDS = 0.01  # less is not worth telling
BLOCK_BYTES = 1 << 20
CHUNK_HEAD = 8  # bytes of a chunk's name and length
TAGS = (b"TAG", b"ID3", b"APETAGEX")  # written behind the sound by programs that know no chunks
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of all other identifiers
W64_HEAD = 24  # bytes of a chunk's identifier and length, which the length includes


@dataclass(frozen=True)
class WavLength:
    """How much sound a file's header states, and how much there is.

    Attributes:
        stated_seconds: None if the header leaves it open.
        held_seconds: that follow the header.
        lengths: ``(place, bytes)`` for each length of the header that must be corrected before the file is read.
    """

    stated_seconds: float | None
    held_seconds: float
    lengths: tuple[tuple[int, bytes], ...] = ()

    @property
    def is_cut(self) -> bool:
        """Whether there is less sound than the header states."""
        return self.stated_seconds is not None and self.held_seconds < self.stated_seconds - ROUNDING_SECONDS

    @property
    def is_understated(self) -> bool:
        """Whether there is more sound than the header states."""
        return self.stated_seconds is not None and self.held_seconds > self.stated_seconds + ROUNDING_SECONDS


class MendedFile(io.RawIOBase):
    """A file in which some bytes read differently."""

    def __init__(self, path: str | os.PathLike, changes: tuple[tuple[int, bytes], ...]):
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close
        self._changes = changes
        self.name = os.fspath(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        start = self._file.tell()
        data = bytearray(self._file.read(size))
        for place, changed in self._changes:
            first, last = max(start, place), min(start + len(data), place + len(changed))
            if first < last:
                data[first - start : last - start] = changed[first - place : last - place]
        return bytes(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def read_wav_length(file: BinaryIO) -> WavLength | None:
    """Reads what the header of an open file states; None for another kind, or without a length of sound.

    Raises:
        OSError: if the file cannot be read.
    """
    file.seek(0)
    head = file.read(40)
    size = os.fstat(file.fileno()).st_size
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _read_riff(file, size, head[:4])
    if head[:16] == W64_RIFF and head[24:28] == b"wave":
        return _read_w64(file, size)
    return None


def _read_riff(file: BinaryIO, size: int, kind: bytes) -> WavLength | None:
    order = ">" if kind == b"RIFX" else "<"
    long_place = rate = None
    place = 12
    for _ in range(MAX_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        start = place + 8
        if name == b"ds64":
            long_place = start + 8
        elif name == b"fmt ":
            rate = _read_rate(file.read(16), order)
        elif name == b"data":
            there = size - start
            if long_place is not None and kind in (b"RF64", b"BW64"):
                file.seek(long_place)
                length = struct.unpack("<q", file.read(8).ljust(8, b"\0"))[0]
                is_open, lengths = length <= 0, ((long_place, struct.pack("<q", there)),)
            else:
                is_open = length == 0 or (length >= OPEN_LENGTH and length > there)
                lengths = ((place + 4, struct.pack(f"{order}I", min(there, LONGEST_STATED))),)
            # The sound of a recording that was ended at once has length 0, and other chunks may follow it.
            if not rate or (is_open and _are_chunks(file, start, size, order)):
                return None
            return _compare(file, None if is_open else length, start, size, rate, lengths, order)
        place = start + length + length % 2
    return None


def _read_w64(file: BinaryIO, size: int) -> WavLength | None:
    rate, place = None, 40
    for _ in range(MAX_CHUNKS):
        file.seek(place)
        head = file.read(W64_HEAD)
        if len(head) < W64_HEAD:
            return None
        length, start = struct.unpack("<q", head[16:])[0], place + W64_HEAD
        if head[:16] == b"fmt " + W64_TAIL:
            rate = _read_rate(file.read(16), "<")
        elif head[:16] == b"data" + W64_TAIL:
            is_open = length <= W64_HEAD
            lengths = ((16, struct.pack("<q", size)), (place + 16, struct.pack("<q", size - place)))
            return rate and _compare(file, None if is_open else length - W64_HEAD, start, size, rate, lengths, "<")
        if length < W64_HEAD:
            return None
        place += length + -length % 8
    return None


def _read_rate(body: bytes, order: str) -> int:
    """Returns the bytes a second of a format chunk's first 16."""
    return struct.unpack(f"{order}I", body[8:12])[0] if len(body) >= 12 else 0


def _compare(file: BinaryIO, stated: int | None, start: int, size: int, rate: int, lengths, order: str) -> WavLength:
    there = size - start
    if stated is None:
        return WavLength(None, there / rate, lengths)
    if stated >= there:
        return WavLength(stated / rate, there / rate)
    if _is_outside(file, start + stated, size, order):
        return WavLength(stated / rate, stated / rate)
    return WavLength(stated / rate, there / rate, lengths)


def _is_outside(file: BinaryIO, place: int, size: int, order: str) -> bool:
    """Whether what follows the sound is none: chunks, a tag, or zeros up to the end."""
    if any(_are_chunks(file, start, size, order) for start in {place, place + place % 2}):
        return True
    file.seek(place)
    while block := file.read(BLOCK_BYTES):
        if any(block):
            return False
    return True


def _are_chunks(file: BinaryIO, place: int, size: int, order: str) -> bool:
    """Whether a place, up to the end of the file, holds a tag, too little for sound, or chunks: a name and a length."""
    for _ in range(MAX_CHUNKS):
        file.seek(place)
        head = file.read(CHUNK_HEAD)
        if head.startswith(TAGS) or len(head) < CHUNK_HEAD:
            return True
        if not (head[:4].isascii() and head[:4].replace(b" ", b"").isalnum()):
            return False
        length = struct.unpack(f"{order}I", head[4:])[0]
        place += CHUNK_HEAD + length + length % 2
        if place > size + 1:  # the last one may lack the byte that makes its length even
            return False
    return True
