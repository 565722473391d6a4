"""Reads any media file in one pass: upright frames with their own timestamps, and mono sound on the same clock.

Second 0 is the container's first presentation time in any stream: sound that starts 0.3 s after the first frame keeps
that offset. Memory use does not grow with the length of the file.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, UnidentifiedImageError

from emotion.errors import MediaError
from emotion.media import streams
from emotion.media.orientation import TURNS, find_turn, find_turn_of_image
from emotion.media.pictures import KNOWN_MATRICES, LIMITED_RANGE, ColourSpace, DecodedPicture, VideoFrame, YuvPicture
from emotion.media.stills import Still, read_still
from emotion.media.suffixes import STILL_SUFFIXES

STILL_SECONDS = 1 / 25  # how long a still is shown, as in FFmpeg
NUDGE_SECONDS = 0.001  # added to the time of the frame before if a timestamp does not rise
MAX_PROBE_PACKETS = 300  # read in search of the first frame
FORMATS_WITH_EXACT_DURATION = ("mov", "matroska")
SEEK_MARGIN_SECONDS = 2.0  # sound and video have separate indexes, and a decoder needs some packets to start


@dataclass(frozen=True)
class MediaInfo:
    """What a media file holds.

    Attributes:
        has_video: also True for an image, which is a video of one frame; cover art does not count.
        width, height: pixels of the upright frame; None without video.
        frame_rate: average frames a second; None for an image, or if unknown.
        duration_seconds: length of the longest stream; None for an image, or if unknown.
        video_codec, audio_codec: names such as ``h264`` and ``aac``; None without such a stream.
        is_still: whether it is a single image.
    """

    path: str
    has_video: bool
    has_audio: bool
    width: int | None
    height: int | None
    frame_rate: float | None
    duration_seconds: float | None
    video_codec: str | None
    audio_codec: str | None
    is_still: bool = False


@dataclass(frozen=True)
class AudioChunk:
    """Mono samples ``(n_samples,)``, float32 in [-1, 1], and the second at which they start."""

    time_seconds: float
    samples: np.ndarray


@dataclass(frozen=True)
class Waveform:
    """A file's whole sound: mono samples ``(n_samples,)``, float32 in [-1, 1], and the second at which it starts."""

    samples: np.ndarray
    start_seconds: float


def probe_media(path: str | os.PathLike) -> MediaInfo:
    """Reads from a file's headers and first frame what it holds.

    Raises:
        MediaError: as ``open_media``; or if the file holds neither video nor sound.
    """
    still = read_still(path)
    if still is not None:
        height, width = still.image.shape[:2]
        return MediaInfo(os.fspath(path), True, False, width, height, None, None, still.codec, None, is_still=True)
    with streams.open_media(path) as container:
        video, audio = _require_streams(container, path)
        is_still = _is_still(container, path)
        width = height = rate = None
        if video is not None:
            turn = find_turn_of_image(path) if is_still else None
            height, width = _first_picture_size(container, video, streams.Damage(path, is_silent=True), turn)
            rate = None if is_still else video.average_rate or video.guessed_rate
        duration = None if is_still or container.duration is None else container.duration / av.time_base
        return MediaInfo(
            path=os.fspath(path),
            has_video=video is not None,
            has_audio=audio is not None,
            width=width,
            height=height,
            frame_rate=float(rate) if rate else None,
            duration_seconds=duration,
            video_codec=video.codec_context.codec.canonical_name if video is not None else None,
            audio_codec=audio.codec_context.codec.canonical_name if audio is not None else None,
            is_still=is_still,
        )


def iterate_media(
    path: str | os.PathLike,
    *,
    sample_rate: int,
    with_video: bool = True,
    with_audio: bool = True,
    start_seconds: float = 0.0,
    damage: streams.Damage | None = None,
    shared: streams.SharedSource | None = None,
) -> Iterator[VideoFrame | AudioChunk]:
    """Reads a media file once and yields frames and sound in the order in which the file stores them.

    Args:
        path: the file.
        sample_rate: of the sound, in Hz.
        with_video, with_audio: the streams to decode.
        start_seconds: earlier frames and sound are skipped where the file's index allows it. Times do not shift.
        damage: collects what could not be decoded; by default it only logs a warning.
        shared: the open file; it collects its sound's packets, which are not decoded here.

    Yields:
        ``VideoFrame`` at strictly rising times, all of the first frame's size, and ``AudioChunk`` without gaps or
        overlaps; pauses in the sound become zeros. Frames are in order and so are chunks, but the two are not aligned.

    Raises:
        MediaError: if the file cannot be opened, holds neither video nor sound, or nothing in it can be decoded. A
            file damaged half-way yields what can be decoded.
    """
    still = read_still(path)
    if still is not None:
        yield from _show(still, damage or streams.Damage(path)) if with_video else ()
        return
    with streams.open_media(path) if shared is None else contextlib.nullcontext(shared.container) as container:
        video, audio = _require_streams(container, path)
        origin = streams.first_presentation_time(container)
        damage = damage or streams.Damage(path)
        is_still = with_video and video is not None and _is_still(container, path)
        if is_still:
            _note_damaged_still(path, damage)
        if start_seconds > SEEK_MARGIN_SECONDS and container.format.name.startswith(FORMATS_WITH_EXACT_DURATION):
            target = float(origin) + start_seconds - SEEK_MARGIN_SECONDS
            try:
                container.seek(round(target * av.time_base))
            except av.FFmpegError as error:
                damage.note(f"cannot seek to second {start_seconds:g}: {error.strerror}")
        readers = {}
        if with_video and video is not None:
            readers[video] = _VideoReader(video, origin, turn=find_turn_of_image(path) if is_still else None)
        if with_audio and audio is not None and shared is None:
            readers[audio] = _SoundReader(audio, origin, sample_rate)
        for stream, frame in streams.decode_streams(container, list(readers), damage, shared=shared):
            try:
                yield from readers[stream].read(frame)
            except av.FFmpegError as error:
                damage.note(error.strerror)
        for reader in readers.values():
            yield from reader.finish()

        ends = [reader.clock.end_seconds for reader in readers.values() if reader.clock.end_seconds is not None]
        reads_all = len(readers) == (video is not None) + (audio is not None)
        if readers and not ends and (damage.count or reads_all):
            raise MediaError(
                f"{path}: nothing in it could be decoded{damage.words}. Copy or download it again, or convert it to "
                "MP4."
            )
        if reads_all and container.duration and container.format.name.startswith(FORMATS_WITH_EXACT_DURATION):
            promised = container.duration / av.time_base
            if max(ends) + max(0.0, float(origin)) < promised - 1:  # Matroska counts from 0, not from the first frame
                damage.note(f"it ends after {max(ends):.1f} of {promised:.1f} seconds")


def _show(still: Still, damage: streams.Damage) -> Iterator[VideoFrame]:
    if still.fault:
        damage.note(still.fault)
    yield VideoFrame(0.0, still.image, STILL_SECONDS)


def load_waveform(path: str | os.PathLike, sample_rate: int) -> Waveform | None:
    """Reads a file's whole sound; None if it has none. Raises as ``iterate_media``."""
    chunks = list(iterate_media(path, sample_rate=sample_rate, with_video=False))
    if not chunks:
        return None
    return Waveform(np.concatenate([chunk.samples for chunk in chunks]), chunks[0].time_seconds)


def _require_streams(container, path) -> tuple:
    video, audio = streams.pick_streams(container)
    if video is None and audio is None:
        way_out = "Give a video, sound or image file."
        if Path(path).suffix.lower() in STILL_SUFFIXES:  # such as an animated WebP
            way_out = "It may be cut off, or of a kind that FFmpeg cannot read: convert it to PNG, JPEG, GIF or MP4."
        raise MediaError(f"{path}: holds neither video nor sound that can be decoded. {way_out}")
    return video, audio


def _is_still(container, path) -> bool:
    """Whether a file holds a single image rather than a video."""
    name = container.format.name
    if name == "gif":
        with streams.open_media(path) as again:
            packets = (packet for packet in again.demux(video=0) if packet.size)
            return len(list(itertools.islice(packets, 2))) < 2
    return name == "image2" or name.endswith("_pipe")


def _note_damaged_still(path, damage: streams.Damage) -> None:
    """Finds out through Pillow whether part of an image is missing: FFmpeg fills such parts silently."""
    try:
        with Image.open(path) as image:
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError):
        return  # a format that Pillow does not know
    except OSError as error:
        damage.note(str(error))


def _first_picture_size(container, video, damage: streams.Damage, turn: int | None) -> tuple[int, int]:
    """Returns height and width of the first upright frame; those in the header if no frame can be decoded."""
    reader = _VideoReader(video, Fraction(0), turn=turn)
    for _, frame in streams.decode_streams(container, [video], damage, max_packets=MAX_PROBE_PACKETS):
        return reader.picture(frame).shape[:2]
    return video.codec_context.height, video.codec_context.width


class _VideoReader:
    """Turns the decoded frames of one stream into upright frames of one size at rising times."""

    def __init__(self, stream, origin: Fraction, *, turn: int | None = None):
        self.clock = streams.StreamClock(stream, origin)
        self._turn = turn
        self._time_base = stream.time_base
        self._frame_seconds = float(1 / (stream.average_rate or 25))
        aspect = stream.sample_aspect_ratio or 1
        self._pixel_aspect = aspect if Fraction(1, 4) <= aspect <= 4 else 1
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()  # one thread decodes while another converts to RGB
        self._size: tuple[int, int] | None = None
        self._last: float | None = None

    def read(self, frame) -> Iterator[VideoFrame]:
        duration = float(frame.duration * self._time_base) if frame.duration else self._frame_seconds
        time = max(0.0, self.clock.place(frame.pts, duration))
        if self._last is not None and time <= self._last:
            time = self._last + NUDGE_SECONDS
        self._last = time
        yield VideoFrame(time, self.picture(frame), duration)

    def finish(self) -> Iterator[VideoFrame]:
        return iter(())

    def picture(self, frame) -> np.ndarray | DecodedPicture:
        """Returns an upright picture with square pixels, in the size of the first one.

        It stays as decoded, until somebody asks for RGB, if nothing but its colours needs conversion.
        """
        if self._size is None:
            self._size = (max(1, round(frame.width * self._pixel_aspect)), frame.height)
        width, height = self._size
        turn = find_turn(frame) if self._turn is None else TURNS[self._turn]

        def to_rgb(matrix: str | None = None) -> np.ndarray:
            with self._lock:
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


def _is_drawable(frame) -> bool:
    """Whether a frame has the layout that ``YuvPicture`` and the writer take."""
    is_whole = frame.width % 2 == 0 and frame.height % 2 == 0
    has_known_colours = frame.color_range in (0, LIMITED_RANGE) and frame.colorspace in KNOWN_MATRICES
    return is_whole and has_known_colours and frame.format.name == "yuv420p"


class _SoundReader:
    """Turns the decoded frames of one stream into a mono signal without gaps."""

    def __init__(self, stream, origin: Fraction, sample_rate: int):
        self.clock = streams.StreamClock(stream, origin)
        self._sound = streams.ContinuousSound(sample_rate, "mono")

    def read(self, frame) -> Iterator[AudioChunk]:
        time = self.clock.place(frame.pts, frame.samples / frame.sample_rate)
        return self._chunks(self._sound.push(frame, time))

    def finish(self) -> Iterator[AudioChunk]:
        return self._chunks(self._sound.flush())

    def _chunks(self, blocks) -> Iterator[AudioChunk]:
        for index, samples in blocks:
            # Resampling overshoots, and files of floats may hold any value.
            mono = np.clip(np.nan_to_num(samples[0]), -1.0, 1.0)
            yield AudioChunk(index / self._sound.sample_rate, mono)
