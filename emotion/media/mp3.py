"""Walks through the frames of MPEG audio (MP3, MP2), to tell whether some are missing.

A frame's header gives its length, so the next frame must begin where it ends (ISO/IEC 11172-3, section 2.4). The first
frame of many files holds no sound, but how many frames follow: a header by Xing or Fraunhofer (VBRI).
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

# Kilobits a second by index, of MPEG-1 (layers I, II, III) and of MPEG-2 and 2.5 (layer I, layers II and III).
RATES_1 = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
RATES_2 = (
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
SAMPLE_RATES = (44100, 48000, 32000)  # of MPEG-1; MPEG-2 has half, MPEG-2.5 a quarter
MPEG_1, MPEG_2, MPEG_2_5 = 3, 2, 0  # as headers write them
HEADER = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
COUNT = re.compile(rb"(?:Xing|Info)(....)(....)", re.DOTALL)  # flags, and the number of frames if the first is set
COUNT_BYTES = 64  # from a frame's beginning, within which its count begins
VBRI_PLACE, VBRI_FRAMES = 36, 14
TAG_WORDS = (b"APETAGEX", b"LYRICS", b"TAG", b"3DI")  # titles and the like that do not begin as tags do end so
MAX_PADDING = 16384  # zeros behind the last frame
MAX_CANDIDATES = 100_000  # places that look like a header, before the search for the next frame is given up


@dataclass(frozen=True)
class _Frame:
    kind: tuple[int, int]  # version and layer with the sample rate: one recording has one kind
    length: int  # bytes
    seconds: float


@dataclass(frozen=True)
class _Part:
    """One recording of a file: how many of its frames were seen, and how many its count states; None without one."""

    n_frames: int = 0
    stated: int | None = None
    frame_seconds: float = 0.0

    @property
    def lacks_frames(self) -> bool:
        return self.stated is not None and self.n_frames < self.stated - 1  # some programs count the count's own frame


def holds_frame(packet: bytes) -> bool:
    """Whether what FFmpeg takes for a frame may be one, rather than a tag between recordings, or padding."""
    return packet.lstrip(b"\0").startswith(b"\xff")


def find_missing_frames(content) -> str:
    """Says what is missing in a file of MPEG audio; empty if nothing is, or if that cannot be told.

    A file that begins within a frame was taken from a running stream, so its end says nothing.

    Args:
        content: the whole file, as ``mmap`` gives it.
    """
    size = len(content)
    place = _skip_tags(content, 0)
    is_stream, has_hole, part, parts, kind = False, False, _Part(), [], None
    while place < size:
        frame = _read_frame(content, place)
        if frame is not None and (frame.kind == kind or _is_followed(content, place, frame)):
            if place + frame.length > size:
                fault = "" if is_stream or part.lacks_frames else "it ends in the middle of a frame"
                return _judge([*parts, part], is_stream, has_hole) or fault
            kind, stated = frame.kind, _read_count(content, place, frame.length)
            if stated is None:
                part = replace(part, n_frames=part.n_frames + 1, frame_seconds=frame.seconds)
            else:
                parts.append(part)
                part = _Part(0, stated or None, frame.seconds)
            place += frame.length
            continue
        after_tags = _skip_tags(content, place)
        if after_tags > place:
            place = after_tags
            continue
        found = _find_frame(content, place + 1)
        if found is None:
            has_hole |= kind is not None and not is_stream and not _is_padding(content, place)
            break
        is_stream |= kind is None
        has_hole |= kind is not None
        place = found
    return _judge([*parts, part], is_stream, has_hole)


def _judge(parts: list[_Part], is_stream: bool, has_hole: bool) -> str:
    cut = next((part for part in parts if part.lacks_frames), None)
    if has_hole:
        return "a part of its sound is missing or cannot be read"
    if cut is None or is_stream:
        return ""
    return f"it ends after {cut.n_frames * cut.frame_seconds:.1f} of {cut.stated * cut.frame_seconds:.1f} seconds"


@functools.cache
def _describe(second: int, third: int) -> _Frame | None:
    """Reads a header's second and third byte; None if they are none, or leave the length open."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    rate_index, sample_index = third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or rate_index in (0, 15) or sample_index == 3:
        return None
    rates = RATES_1[layer - 1] if version == MPEG_1 else RATES_2[min(layer, 2) - 1]
    bits = rates[rate_index - 1] * 1000
    sample_rate = SAMPLE_RATES[sample_index] // {MPEG_1: 1, MPEG_2: 2, MPEG_2_5: 4}[version]
    n_samples = {1: 384, 2: 1152, 3: 1152 if version == MPEG_1 else 576}[layer]
    slot = 4 if layer == 1 else 1  # bytes by which lengths are counted, and padded
    length = (n_samples // 8 // slot * bits // sample_rate + (third >> 1 & 1)) * slot
    return _Frame((second & 0xFE, third & 0x0C), length, n_samples / sample_rate)


def _read_frame(content, place: int) -> _Frame | None:
    head = content[place : place + 3]
    return _describe(head[1], head[2]) if len(head) == 3 and head[0] == 0xFF else None


def _is_followed(content, place: int, frame: _Frame) -> bool:
    """Whether another frame of the same kind, or the end of the file, follows a frame."""
    end = place + frame.length
    after = _read_frame(content, end)
    return end == len(content) or (after is not None and after.kind == frame.kind)


def _read_count(content, place: int, length: int) -> int | None:
    """Returns how many frames a frame says will follow, 0 if it leaves that open; None if it is one of sound."""
    head = content[place : place + min(length, COUNT_BYTES + 12)]
    if head[VBRI_PLACE : VBRI_PLACE + 4] == b"VBRI":
        return int.from_bytes(head[VBRI_PLACE + VBRI_FRAMES : VBRI_PLACE + VBRI_FRAMES + 4], "big")
    found = COUNT.search(head)
    if found is None:
        return None
    return int.from_bytes(found[2], "big") if found[1][3] & 1 else 0


def _skip_tags(content, place: int) -> int:
    """Returns where the tags that begin at a place end: the place itself if there are none."""
    while True:
        head = content[place : place + 32]
        if head.startswith(b"ID3"):
            length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
            place += 10 + length + (10 if head[5:6] and head[5] & 0x10 else 0)
        elif head.startswith(b"APETAGEX"):
            place += 32 + (int.from_bytes(head[12:16], "little") if head[23:24] and head[23] & 0x20 else 0)
        elif head.startswith(b"LYRICSBEGIN"):
            ends = [end for end in (content.find(word, place) for word in (b"LYRICS200", b"LYRICSEND")) if end >= 0]
            if not ends:
                return place
            place = min(ends) + 9
        elif head.startswith(b"TAG"):
            place += 227 if head.startswith(b"TAG+") else 128
        else:
            return place


def _find_frame(content, place: int) -> int | None:
    """Returns where the next two frames of one kind begin; None if there are none."""
    for number, start in enumerate(_candidates(content, place)):
        if number == MAX_CANDIDATES:
            return None
        frame = _read_frame(content, start)
        if frame is not None and start + frame.length < len(content) and _is_followed(content, start, frame):
            return start
    return None


def _candidates(content, place: int) -> Iterator[int]:
    return (found.start() for found in HEADER.finditer(content, place))


def _is_padding(content, place: int) -> bool:
    """Whether what follows the last frame is a tag, or a few zeros."""
    rest = content[place:]
    return any(word in rest for word in TAG_WORDS) or (len(rest) <= MAX_PADDING and not any(rest))
