"""Tells by the marks of a format whether part of a file is missing, where the decoder skips that without a word.

Pages of Ogg are numbered and have check sums (RFC 3533). GIF and PNG end with a mark. Elements of Matroska state their
lengths (RFC 8794), as frames of MP3 do.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from emotion.media.mp3 import find_missing_frames

CUT = "the file is cut off"
HOLE = "a part in the middle is missing or cannot be read"

OGG_PAGE = struct.Struct("<4sBBqIIIB")  # mark, version, flags, granule, serial, number, check sum, number of segments
OGG_MARK, OGG_SUM = b"OggS", slice(22, 26)
OGG_BEGINS, OGG_ENDS = 2, 4
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

GIF_END, GIF_PICTURE, GIF_EXTENSION = 0x3B, 0x2C, 0x21
PNG_HEAD, PNG_END = 8, b"IEND"
JPEG_END = b"\xff\xd9"
TIFF_CLASSIC = 42  # BigTIFF has 43
TIFF_PLACES, TIFF_LENGTHS = (273, 324), (279, 325)  # tags of strips, and of tiles

EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# Elements of a segment: whatever has an unknown length ends before the next of these.
SEGMENT_PARTS = {0x114D9B74, 0x1549A966, 0x1654AE6B, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}


@dataclass(frozen=True)
class Wholeness:
    """What a file's marks say.

    Attributes:
        fault: what is missing; empty if nothing is.
        doubt: why something may be missing, though nothing shows it; empty if there is none.
    """

    fault: str = ""
    doubt: str = ""


def check_wholeness(path: str | os.PathLike, format_name: str) -> Wholeness:
    """Reads the marks of a whole file.

    Args:
        format_name: as FFmpeg calls it, or Pillow in lower case. Formats without marks that help are taken to be whole.

    Raises:
        OSError: if the file cannot be read.
    """
    check = _CHECKS.get(format_name.split(",", maxsplit=1)[0])
    if check is None:
        return Wholeness()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return check(content)


def _check_mp3(content) -> Wholeness:
    return Wholeness(find_missing_frames(content))


# ---- Ogg ----


@dataclass
class _OggStream:
    number: int
    is_header: bool  # nothing but headers came so far, after which streams that were taken midway leave pages out
    has_ended: bool = False
    is_open: bool = False  # whether its last packet goes on


def _check_ogg(content) -> Wholeness:
    place, size, has_hole = 0, len(content), False
    streams: dict[int, _OggStream] = {}
    while place < size:
        head = content[place : place + OGG_PAGE.size]
        end = place + OGG_PAGE.size
        if head[:4] == OGG_MARK and len(head) == OGG_PAGE.size:
            _, _, flags, granule, serial, number, stated, n_segments = OGG_PAGE.unpack(head)
            segments = content[end : end + n_segments]
            end += n_segments + sum(segments)
            if end <= size and _sum_ogg(content[place:end]) == stated:
                has_hole |= _lacks_page(streams.get(serial), flags, number)
                ended = bool(flags & OGG_ENDS)
                is_open = bool(segments) and segments[-1] == 255
                streams[serial] = _OggStream(number, granule == 0, ended, is_open)
                place = end
                continue
        following = content.find(OGG_MARK, place + 1)
        if following < 0:
            all_ended = streams and all(stream.has_ended for stream in streams.values())
            return Wholeness(HOLE if has_hole else "" if all_ended else CUT)
        has_hole, place = True, following
    if has_hole:
        return Wholeness(HOLE)
    if any(stream.is_open and not stream.has_ended for stream in streams.values()):
        return Wholeness(CUT)
    if all(stream.has_ended for stream in streams.values()):
        return Wholeness()
    return Wholeness(doubt="nothing marks the end of the file, so it may be cut off")


def _lacks_page(stream: _OggStream | None, flags: int, number: int) -> bool:
    """Whether pages are missing before one."""
    if stream is None or flags & OGG_BEGINS or stream.is_header:
        return False
    return number > stream.number + 1


def _sum_ogg(page: bytes) -> int:
    """Returns a page's check sum, which is CRC-32 with each byte's bits the other way round."""
    page = bytearray(page)
    page[OGG_SUM] = bytes(4)
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(REVERSED), "big")


# ---- Pictures ----


def _check_gif(content) -> Wholeness:
    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    try:
        place = 13 + table(content[10])
        while (mark := content[place]) != GIF_END:
            if mark == GIF_PICTURE:
                place += 11 + table(content[place + 9])
            elif mark == GIF_EXTENSION:
                place += 2
            elif mark == 0:  # some programs write an empty block too many
                place += 1
                continue
            else:
                return Wholeness(HOLE)
            while length := content[place]:
                place += 1 + length
            place += 1
    except IndexError:
        return Wholeness(CUT)
    return Wholeness()


def _check_png(content) -> Wholeness:
    place = PNG_HEAD
    while place + 12 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        end = place + 12 + length
        if kind == PNG_END:
            return Wholeness()
        if end <= len(content) and zlib.crc32(content[place + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            return Wholeness(HOLE)
        place = end
    return Wholeness(CUT)


def _check_webp(content) -> Wholeness:
    return Wholeness(CUT if int.from_bytes(content[4:8], "little") + 8 > len(content) else "")


def _check_bmp(content) -> Wholeness:
    return Wholeness(CUT if int.from_bytes(content[2:6], "little") > len(content) else "")


def _check_jpeg(content) -> Wholeness:
    return Wholeness("" if content.rfind(JPEG_END) > 0 else CUT)


def _check_tiff(content) -> Wholeness:
    """Whether the first directory, and the strips or tiles that it names, lie in the file."""
    order = "little" if content[:2] == b"II" else "big"
    size = len(content)

    def read(place: int, width: int) -> int:
        return int.from_bytes(content[place : place + width], order)

    if read(2, 2) != TIFF_CLASSIC:
        return Wholeness()
    start = read(4, 4)
    lists = {}
    for entry in range(start + 2, start + 2 + 12 * read(start, 2), 12):
        tag, width, count = read(entry, 2), {3: 2, 4: 4}.get(read(entry + 2, 2)), read(entry + 4, 4)
        if width is not None and tag in TIFF_PLACES + TIFF_LENGTHS:
            first = entry + 8 if width * count <= 4 else read(entry + 8, 4)
            lists[tag] = [read(first + width * i, width) for i in range(min(count, size // width))]
    ends = [
        place + length
        for tag, tag_of_length in zip(TIFF_PLACES, TIFF_LENGTHS, strict=True)
        for place, length in zip(lists.get(tag, ()), lists.get(tag_of_length, ()), strict=False)
    ]
    return Wholeness(CUT if start + 2 > size or max(ends, default=0) > size else "")


# ---- Matroska ----


def _check_matroska(content) -> Wholeness:
    """Steps from element to element; those of a segment and of a cluster are looked into."""
    place, size = 0, len(content)
    ends = [size]  # of the elements that a place lies in; the file's is the first
    while place < size:
        while len(ends) > 1 and place >= ends[-1]:
            ends.pop()
        name, place = _read_number(content, place, keeps_mark=True)
        if len(ends) == 1 and name not in (EBML, SEGMENT):
            break  # what follows the segment is none of it
        length, place = _read_number(content, place) if name is not None else (None, place)
        if length is None:
            return Wholeness(CUT if place >= size else HOLE)
        is_looked_into = name in (SEGMENT, CLUSTER)
        if name in SEGMENT_PARTS:
            ends = ends[:2]
        end = ends[-1] if length == -1 else place + length
        if end > ends[-1] or (length == -1 and not is_looked_into):
            return Wholeness(CUT if end > size else HOLE)
        if is_looked_into:
            ends.append(end)
        else:
            place = end
    return Wholeness(CUT if place > size else "")


def _read_number(content, place: int, *, keeps_mark: bool = False) -> tuple[int | None, int]:
    """Returns a number of variable length and the place behind it; -1 for an unknown length, None if it is none."""
    first = content[place] if place < len(content) else None
    if first is None:
        return None, place
    width = 9 - first.bit_length()
    number = content[place : place + width]
    if width > (4 if keeps_mark else 8) or len(number) < width:
        return None, place + width
    value = int.from_bytes(number, "big")
    if keeps_mark:
        return value, place + width
    value &= (1 << 7 * width) - 1
    return (-1 if value == (1 << 7 * width) - 1 else value), place + width


_CHECKS: dict[str, Callable] = {
    "mp3": _check_mp3, "ogg": _check_ogg, "matroska": _check_matroska, "gif": _check_gif, "png": _check_png,
    "apng": _check_png, "webp": _check_webp, "bmp": _check_bmp, "jpeg": _check_jpeg, "mpo": _check_jpeg,
    "tiff": _check_tiff,
}  # fmt: skip
