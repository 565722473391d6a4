"""Turns what a decoder gives into upright frames at rising times, and into mono sound without gaps."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
from av.video.reformatter import VideoReformatter

from emotion.media import streams
from emotion.media.mixing import MonoMixer
from emotion.media.orientation import TURNS, find_turn
from emotion.media.pictures import KNOWN_MATRICES, LIMITED_RANGE, ColourSpace, DecodedPicture, VideoFrame, YuvPicture

SMALL_SIDE = 16  # pixels
NUDGE_SECONDS = 0.001  # added to the time of the frame before if a timestamp does not rise


@dataclass(frozen=True)
class AudioChunk:
    """Mono sound.

    Attributes:
        time_seconds: when it starts.
        samples: ``(n_samples,)`` float32. Full scale is 1; files of floats may exceed it.
        levels: the root mean square of each channel of the source, ``(n_channels,)``; None if unknown.
    """

    time_seconds: float
    samples: np.ndarray
    levels: np.ndarray | None = None


class VideoReader:
    """Turns the decoded frames of one stream into upright frames of one size at rising times."""

    def __init__(self, stream, origin: Fraction, *, turn: int | None = None):
        self.clock = streams.StreamClock(stream, origin)
        self._turn = None if turn is None else TURNS[turn]  # an image's
        self._rotation: float | None = None  # a video's, in degrees, and what undoes it
        self._upright: Callable[[np.ndarray], np.ndarray] | None = None
        self._time_base = stream.time_base
        self._frame_seconds = float(1 / (stream.average_rate or 25))
        aspect = stream.sample_aspect_ratio or 1
        self._pixel_aspect = aspect if Fraction(1, 4) <= aspect <= 4 else 1
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()  # one thread decodes while another converts to RGB
        self._size: tuple[int, int] | None = None
        self._last: float | None = None
        self._longest = 0.0  # seconds from one frame to the next, as stated or seen
        self._stated_end = _stated_end(stream, origin)

    def read(self, frame) -> Iterator[VideoFrame]:
        duration = float(frame.duration * self._time_base) if frame.duration else self._frame_seconds
        time = max(0.0, self.clock.place(frame.pts, duration))
        if self._last is not None and time <= self._last:
            time = self._last + NUDGE_SECONDS
        self._longest = max(self._longest, duration, time - (self._last or 0.0))
        self._last = time
        yield VideoFrame(time, self.picture(frame), duration)

    def finish(self) -> Iterator[VideoFrame]:
        return iter(())

    def find_end(self) -> float | None:
        """Returns when the last frame ends; None without frames.

        A frame's own duration may be another's where the rate varies and frames are stored out of order, so the
        stream's end comes first. In a file that was cut off, that end is too far away to be true.
        """
        if self._last is None or self._stated_end is None:
            return self.clock.end_seconds
        is_likely = self._last < self._stated_end <= self._last + max(1.0, self._longest)
        return self._stated_end if is_likely else self.clock.end_seconds

    def picture(self, frame) -> np.ndarray | DecodedPicture:
        """Returns an upright picture with square pixels, in the size of the first one.

        It stays as decoded, until somebody asks for RGB, if nothing but its colours needs conversion.
        """
        if self._size is None:
            self._size = (max(1, round(frame.width * self._pixel_aspect)), frame.height)
        width, height = self._size
        turn = self._find_turn(frame)

        def to_rgb(matrix: str | None = None) -> np.ndarray:
            with self._lock, streams.calling_pyav():
                rgb = self._reformatter.reformat(
                    frame, width=width, height=height, format="rgb24", src_colorspace=matrix
                ).to_ndarray()
            return rgb if turn is None else np.ascontiguousarray(turn(rgb))

        if turn is not None or (frame.width, frame.height) != self._size or not _is_drawable(frame):
            return to_rgb()
        space = ColourSpace(frame.colorspace, frame.color_primaries, frame.color_trc)
        # If a file does not state its colours, FFmpeg assumes BT.601, whatever the height.
        to_rgb = partial(to_rgb, f"itu{space.weights(height)}")
        return DecodedPicture((height, width, 3), to_rgb, lambda: YuvPicture(frame, space, is_decoders=True))

    def _find_turn(self, frame) -> Callable[[np.ndarray], np.ndarray] | None:
        if self._turn is not None:
            return self._turn
        if frame.rotation != self._rotation:
            # PyAV ties a frame whose side data are read into a cycle, so it stays until Python collects garbage, and
            # with it all of the decoder's pictures: hence a small copy.
            with streams.calling_pyav():
                copy = frame.reformat(width=SMALL_SIDE, height=SMALL_SIDE)
            self._rotation, self._upright = frame.rotation, find_turn(copy)
        return self._upright


def _stated_end(stream, origin: Fraction) -> float | None:
    if not stream.duration or stream.start_time is None:
        return None
    return float((stream.start_time + stream.duration) * stream.time_base - origin)


def _is_drawable(frame) -> bool:
    """Whether a frame has the layout that ``YuvPicture`` and the writer take."""
    is_whole = frame.width % 2 == 0 and frame.height % 2 == 0
    has_known_colours = frame.color_range in (0, LIMITED_RANGE) and frame.colorspace in KNOWN_MATRICES
    return is_whole and has_known_colours and frame.format.name == "yuv420p"


class MonoSound:
    """Turns frames of sound, in whatever form, into a mono signal without gaps.

    Args:
        sample_rate: of the signal, in Hz.
        channel: as for ``MonoMixer``.
    """

    def __init__(self, sample_rate: int, channel: int | None = None):
        self._sound = streams.ContinuousSound(sample_rate, None)
        self._mixer = MonoMixer(sample_rate, channel)
        self._names: tuple[str, ...] = ()
        self._next: int | None = None  # index of the next mono sample

    def push(self, frame, time_seconds: float) -> Iterator[AudioChunk]:
        """Takes PyAV's frame and the second at which it begins."""
        names = tuple(channel.name for channel in frame.layout.channels)
        if names != self._names:
            yield from self._mix(self._sound.flush())
            self._names = names
        yield from self._mix(self._sound.push(frame, time_seconds))

    def finish(self) -> Iterator[AudioChunk]:
        yield from self._mix(self._sound.flush())
        yield from self._chunks(self._mixer.flush())

    def _mix(self, blocks) -> Iterator[AudioChunk]:
        for index, samples in blocks:
            if self._next is None:
                self._next = index
            yield from self._chunks(self._mixer.push(samples, self._names))

    def _chunks(self, mixed) -> Iterator[AudioChunk]:
        for mono, levels in mixed:
            yield AudioChunk(self._next / self._sound.sample_rate, mono, levels)
            self._next += len(mono)


class SoundReader:
    """Turns the decoded frames of one stream into a mono signal without gaps."""

    def __init__(self, stream, origin: Fraction, sample_rate: int, channel: int | None):
        self.clock = streams.StreamClock(stream, origin)
        self._sound = MonoSound(sample_rate, channel)

    def read(self, frame) -> Iterator[AudioChunk]:
        yield from self._sound.push(frame, self.clock.place(frame.pts, streams.seconds_of(frame)))

    def finish(self) -> Iterator[AudioChunk]:
        yield from self._sound.finish()
