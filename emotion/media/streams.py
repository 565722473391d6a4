"""What reading and writing share: opening a file, its packets and frames, its clock, and gapless sound."""

import collections
import itertools
import logging
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Self

import av
import numpy as np
from av.stream import Disposition

from emotion.errors import MediaError
from emotion.media.formats import OPTIONS

logger = logging.getLogger(__name__)

MAX_BACKWARD_SECONDS = 1.0  # a timestamp that goes back further than this restarts the clock
MAX_FORWARD_SECONDS = 3600.0  # so does a larger jump ahead: no pause is that long, but damaged clocks jump by days
GAP_SECONDS = 0.05  # smaller differences between timestamps and sample counts come from rounding
MAX_READ_FAILURES = 20  # in a row, before the rest of a damaged file is skipped
WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
HEAD_BYTES = 256
LFS_POINTER = b"version https://git-lfs.github.com/spec"
COVER_ART = Disposition.attached_pic | Disposition.timed_thumbnails


class Damage:
    """Warns once that a file is damaged, and counts what could not be decoded.

    ``is_silent`` leaves the warning to the caller, who finds the first complaint in ``words``.
    """

    def __init__(self, path: str | os.PathLike, *, is_silent: bool = False):
        self.path = path
        self.is_silent = is_silent
        self.count = 0
        self.words = ""  # the first complaint, in brackets, for a message

    def note(self, words: object) -> None:
        self.count += 1
        self.words = self.words or f" ({words})"
        level = logging.WARNING if self.count == 1 and not self.is_silent else logging.DEBUG
        logger.log(level, "%s: damaged (%s); going on with what can be decoded.", self.path, words)


class StreamClock:
    """Turns one stream's timestamps into seconds on the file's clock, and corrects impossible jumps."""

    def __init__(self, stream, origin: Fraction):
        self._time_base = stream.time_base
        self._origin = origin
        self._shift = 0.0
        self._last = 0.0
        self.end_seconds: float | None = None  # of all frames so far

    def place(self, pts: int | None, duration_seconds: float) -> float:
        """Returns the second at which a frame begins; without a timestamp, it follows the frame before it."""
        time = self.end_seconds or 0.0
        if pts is not None:
            time = float(pts * self._time_base - self._origin) + self._shift
            if self.end_seconds is not None and not (
                self._last - MAX_BACKWARD_SECONDS <= time <= self.end_seconds + MAX_FORWARD_SECONDS
            ):
                self._shift += self.end_seconds - time
                time = self.end_seconds
        self._last = time
        self.end_seconds = time + duration_seconds
        return time


def open_media(path: str | os.PathLike):
    """Opens a media file for reading; use it with ``with``.

    Raises:
        MediaError: if the file is missing, a folder, empty, a Git LFS pointer, or not media.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        raise MediaError(f"{name}: is a folder. Give a media file inside it.")
    if os.path.exists(name) and not os.path.isfile(name):
        raise MediaError(f"{name}: is a pipe or a device. Give a file; to use a camera, give its number.")
    try:
        with open(name, "rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise MediaError(f"{name}: no such file. Check the spelling and the folder.") from None
    except OSError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}). Check the file's permissions.") from error
    if not head:
        raise MediaError(f"{name}: is empty (0 bytes). Copy or download it again.")
    if head.startswith(LFS_POINTER):
        raise MediaError(f"{name}: is a Git LFS pointer, not the media itself. Run `git lfs pull` to download it.")
    if WEB_PAGE.match(head):
        raise MediaError(f"{name}: is a web page, not media: the download went wrong. Download the file itself.")
    try:
        # With "file:", a colon in the name does not make a protocol. Some recorders write metadata that is not UTF-8.
        container = av.open(f"file:{name}", options=OPTIONS, metadata_errors="replace")
    except av.ArgumentError as error:
        raise MediaError(
            f"{name}: holds text, a playlist or another kind that is not read, not media. Give a video, sound or image "
            "file."
        ) from error
    except (av.FFmpegError, OSError) as error:
        words = getattr(error, "strerror", None) or error
        raise MediaError(
            f"{name}: not a readable media file ({words}). Download it again, or convert it to MP4."
        ) from error
    return container


def pick_streams(container) -> tuple:
    """Returns the first video stream other than cover art and the first audio stream, None for one that is missing.

    A stream without a decoder, or without a size or sample rate, counts as missing.
    """
    video = audio = None
    for stream in container.streams:
        if stream.codec_context is None:
            continue
        if stream.type == "video" and not stream.disposition & COVER_ART:
            video = video or (stream if stream.codec_context.width else None)
        elif stream.type == "audio":
            audio = audio or (stream if stream.codec_context.sample_rate else None)
    return video, audio


def first_presentation_time(container) -> Fraction:
    """Returns the container's first presentation time in seconds: second 0 of every time in this package."""
    return Fraction(container.start_time or 0, av.time_base)


def read_packets(container, streams, damage: Damage) -> Iterator:
    """Yields the streams' packets in file order, without those that cannot be read."""
    failures = 0 if streams else MAX_READ_FAILURES  # to PyAV an empty list means every stream
    while failures < MAX_READ_FAILURES:
        try:
            for packet in container.demux(streams):
                failures = 0
                if packet.is_corrupt:
                    damage.note("a corrupt packet")
                if packet.size:  # an empty packet ends the decoder, and some files have one midway
                    yield packet
            return
        except (av.FFmpegError, OSError) as error:
            failures += 1
            damage.note(error.strerror)


def decode_packet(stream, packet, damage: Damage) -> list:
    """Returns the frames that a packet completes, or for None those still in the decoder; none if it is damaged."""
    try:
        return stream.codec_context.decode(packet)
    except (av.FFmpegError, OSError) as error:
        damage.note(error.strerror)
        return []


def decode_streams(
    container, streams, damage: Damage, *, max_packets: int | None = None, shared: "SharedSource | None" = None
) -> Iterator[tuple]:
    """Yields ``(stream, frame)`` in file order, without packets that cannot be decoded.

    ``shared`` gets the packets of its sound.
    """
    sound = shared.sound if shared is not None else None
    for stream in streams:
        stream.thread_type = "AUTO"
    wanted = streams if sound is None else [*streams, sound]
    for packet in itertools.islice(read_packets(container, wanted, damage), max_packets):
        if packet.stream is sound:
            shared.put(packet)
        else:
            yield from ((packet.stream, frame) for frame in decode_packet(packet.stream, packet, damage))
    for stream in streams:
        yield from ((stream, frame) for frame in decode_packet(stream, None, damage))


class SharedSource:
    """A file opened once for its frames and its sound; raises as ``open_media``. Use it with ``with``.

    ``iterate_media(shared=...)`` decodes the frames and puts the sound's packets here, from which
    ``VideoWriter(source=...)`` takes them, in another thread if need be.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        self.container = open_media(path)
        _, self.sound = pick_streams(self.container)
        self._packets: collections.deque = collections.deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.container.close()

    def put(self, packet) -> None:
        self._packets.append(packet)

    def take(self):
        """Returns the sound's next packet; None if it has not been read yet."""
        return self._packets.popleft() if self._packets else None


class ContinuousSound:
    """Joins decoded audio frames into one signal of one sample rate and channel layout, without gaps.

    Gaps between frames become silence and overlaps are cut, so that sample ``index`` sounds at ``index / sample_rate``
    seconds.
    """

    def __init__(self, sample_rate: int, layout: str):
        self.sample_rate = sample_rate
        self.layout = layout
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple | None = None  # format, layout and rate that the resampler takes
        self._input_end = 0.0  # seconds, counted in samples pushed
        self._position = 0  # index of the next sample out of the resampler
        self._given: int | None = None  # index of the next sample to yield

    def push(self, frame, time_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
        """Takes a decoded frame and the second at which it begins.

        Yields ``(index, samples)``: float32 samples ``(n_channels, n_samples)`` and the index of the first. Sound
        before second 0 is cut.
        """
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind or abs(time_seconds - self._input_end) > GAP_SECONDS:
            yield from self.flush()
            self._kind = kind
            # Without this option, mixing down a loud stereo or 5.1 recording would exceed 1.
            self._resampler = av.AudioResampler(
                "fltp", self.layout, self.sample_rate, options={"rematrix_maxval": "1.0"}
            )
            self._input_end = time_seconds
            self._position = round(time_seconds * self.sample_rate)
            if self._given is None:
                self._given = max(0, self._position)
        self._input_end += frame.samples / frame.sample_rate
        frame.pts = None  # samples are counted here; timestamp jitter upsets the resampler
        yield from self._give(self._resampler.resample(frame))

    def flush(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the rest in the resampler, as ``push`` does."""
        if self._resampler is not None:
            yield from self._give(self._resampler.resample(None))
            self._resampler = self._kind = None

    def _give(self, frames) -> Iterator[tuple[int, np.ndarray]]:
        for frame in frames:
            samples = frame.to_ndarray()
            start, self._position = self._position, self._position + samples.shape[1]
            samples = samples[:, max(0, self._given - start) :]
            while self._given < start:
                silence = np.zeros((samples.shape[0], min(self.sample_rate, start - self._given)), np.float32)
                yield self._given, silence
                self._given += silence.shape[1]
            if samples.shape[1]:
                yield self._given, samples
                self._given += samples.shape[1]
