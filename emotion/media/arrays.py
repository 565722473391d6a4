"""A recording that lies in memory: pictures as arrays, and sound as samples."""

import heapq
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import av
import numpy as np

from emotion.errors import InputTypeError, MediaError
from emotion.media.decoding import AudioChunk, MonoSound
from emotion.media.pictures import VideoFrame
from emotion.media.reading import STILL_SECONDS, MediaInfo
from emotion.media.recordings import RecordingInfo
from emotion.media.streams import Damage, calling_pyav
from emotion.media.tracks import ANY_TRACKS, TrackChoice

Colours = Literal["rgb", "bgr"]
BLOCK_SECONDS = 1.0  # of sound, that are resampled at a time
# Channels of sound that FFmpeg has a name for; others are averaged.
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31}


@dataclass(frozen=True, eq=False)
class ArrayRecording:
    """Pictures and sound of one recording, in memory or made on the way.

    Attributes:
        path: what results call it.
        frames: pictures ``(height, width, 3)`` uint8, or of Pillow's, all of one size; None without.
        times_seconds: when each is shown, rising; by default they follow each other at ``frames_per_second``.
        is_still: whether it is a single picture, which has no course over time.
        samples: ``(n_samples,)`` or ``(n_samples, n_channels)`` of floats, full scale 1, or int16 or int32; None
            without sound.
        sample_rate: of these, in Hz; 0 without sound.
        colours: the order of the pictures' colours; OpenCV's is ``bgr``.
        start_seconds, end_seconds: the part to read.
    """

    path: str
    frames: Iterable[Any] | None = None
    times_seconds: Iterable[float] | None = None
    frames_per_second: float | None = None
    is_still: bool = False
    samples: np.ndarray | None = None
    sample_rate: int = 0
    colours: Colours = "rgb"
    start_seconds: float = 0.0
    end_seconds: float | None = None
    choice: TrackChoice = ANY_TRACKS

    @property
    def part(self) -> tuple[float, float | None] | None:
        """As of a ``Recording``."""
        whole = self.start_seconds == 0 and self.end_seconds is None
        return None if whole else (self.start_seconds, self.end_seconds)

    def length_of(self, info: MediaInfo) -> float | None:
        """As of a ``Recording``, which alone has such headers."""
        return info.duration_seconds

    def probe(self) -> RecordingInfo:
        """Says what is known before the frames are drawn.

        Raises:
            MediaError: if the numbers of frames and times differ, or there is nothing at all.
        """
        frames, times = self.frames, self.times_seconds
        if frames is None and self.samples is None:
            raise MediaError(f"{self.path}: holds neither pictures nor sound.")
        ends = [] if self.samples is None else [len(self.samples) / self.sample_rate]
        if isinstance(frames, np.ndarray | Sequence):
            if not len(frames):
                raise MediaError(f"{self.path}: holds no picture.")
            if isinstance(times, np.ndarray | Sequence) and len(times) != len(frames):
                raise MediaError(f"{self.path}: {len(frames)} pictures, but {len(times)} times.")
            if self.frames_per_second:
                ends.append(len(frames) / self.frames_per_second)
            elif isinstance(times, np.ndarray | Sequence):
                ends.append(float(times[-1]))
        elif frames is not None:
            ends = []  # nobody knows how many come
        end = max(ends, default=None) if self.end_seconds is None else self.end_seconds
        return RecordingInfo(
            has_video=frames is not None,
            has_audio=self.samples is not None,
            is_still=self.is_still,
            duration_seconds=None if end is None or self.is_still else max(0.0, end - self.start_seconds),
            choice=self.choice,
        )

    def read(self, sample_rate: int, *, damage: Damage | None = None) -> Iterator[VideoFrame | AudioChunk]:
        """Yields pictures and sound in order of time, as ``iterate_media`` does; nothing can be damaged.

        Raises:
            MediaError: if a picture is of another size than the first, or a time does not rise.
            InputTypeError: if something is no picture.
        """
        return heapq.merge(self._pictures(), self._sound(sample_rate), key=lambda item: item.time_seconds)

    def _pictures(self) -> Iterator[VideoFrame]:
        if self.frames is None:
            return
        shape, last = None, -1.0
        for frame, (time, seconds) in zip(self.frames, self._times(), strict=False):
            image = to_picture(frame, self.colours)
            if shape is not None and image.shape != shape:
                raise MediaError(
                    f"{self.path}: the picture at {time:g} s is {image.shape[1]} x {image.shape[0]} pixels, the first "
                    f"{shape[1]} x {shape[0]}. Bring all to one size."
                )
            if not time > last or not np.isfinite(time):
                raise MediaError(f"{self.path}: time {time:g} s does not follow {last:g} s. Give rising times.")
            shape, last = image.shape, time
            if self.end_seconds is not None and time >= self.end_seconds:
                return
            if time >= self.start_seconds:
                yield VideoFrame(time - self.start_seconds, image, seconds)

    def _times(self) -> Iterator[tuple[float, float]]:
        """Yields when each picture is shown, and for how long."""
        if self.is_still:
            yield 0.0, STILL_SECONDS
        elif self.times_seconds is None:
            rate = self.frames_per_second or 1.0
            yield from ((i / rate, 1 / rate) for i in itertools.count())
        else:
            # Each is shown until the next one; the last as long as the one before it.
            seconds, before = STILL_SECONDS, None
            for time in map(float, self.times_seconds):
                if before is not None:
                    seconds = time - before
                    yield before, seconds
                before = time
            if before is not None:
                yield before, seconds

    def _sound(self, sample_rate: int) -> Iterator[AudioChunk]:
        if self.samples is None:
            return
        first = round(self.start_seconds * self.sample_rate)
        stop = None if self.end_seconds is None else round(self.end_seconds * self.sample_rate)
        yield from mono_of(self.samples[first:stop], self.sample_rate, MonoSound(sample_rate, self.choice.channel))


def mono_of(
    samples: np.ndarray, rate: int, sound: MonoSound, *, time_seconds: float = 0.0, is_end: bool = True
) -> Iterator[AudioChunk]:
    """Yields samples ``(n_samples,)`` or ``(n_samples, n_channels)`` as the chunks of a mono signal.

    Args:
        rate: of the samples, in Hz.
        sound: that makes the chunks, at its own rate; keep it for the next samples.
        time_seconds: when they begin.
        is_end: whether no more will follow.
    """
    block = max(1, round(BLOCK_SECONDS * rate))
    for first in range(0, len(samples), block):
        part = np.asarray(samples[first : first + block])
        part = (part / FULL_SCALE.get(part.dtype.name, 1.0)).astype(np.float32).reshape(len(part), -1)
        if part.shape[1] not in LAYOUTS:
            part = part.mean(axis=1, keepdims=True)
        with calling_pyav():
            frame = av.AudioFrame.from_ndarray(part.reshape(1, -1), "flt", LAYOUTS[part.shape[1]])
        frame.sample_rate = rate
        yield from sound.push(frame, time_seconds + first / rate)
    if is_end:
        yield from sound.finish()


def to_picture(frame: Any, colours: Colours = "rgb") -> np.ndarray:
    """Returns a picture as RGB ``(height, width, 3)`` uint8: an array, or one of Pillow's, turned upright.

    Raises:
        InputTypeError: if it is something else.
    """
    if is_pillow(frame):
        from PIL import ImageOps

        return np.asarray(ImageOps.exif_transpose(frame).convert("RGB"))
    if not isinstance(frame, np.ndarray):
        raise InputTypeError(
            f"A picture is an array (height, width, 3) of uint8, or one of Pillow's, not {name_of_type(frame)}."
        )
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise InputTypeError(
            f"A picture is an array (height, width, 3) of uint8, not {frame.shape} of {frame.dtype}. Values of 0 to 1 "
            "become it by (255 * x).astype('uint8'), grey ones by np.repeat(x[..., None], 3, axis=2)."
        )
    return np.ascontiguousarray(frame[..., ::-1] if colours == "bgr" else frame)


def is_pillow(value: Any) -> bool:
    """Whether a value is a picture of Pillow's, which is not imported for it."""
    return any(kind.__module__.startswith("PIL.") and kind.__name__ == "Image" for kind in type(value).__mro__)


def name_of_type(value: Any) -> str:
    """Returns what a value is, for a message."""
    return f"an array {value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def as_name(value: Any) -> str | None:
    """Returns the name of a file object, if it has one."""
    name = getattr(value, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else None
