"""Reads any media file in one pass: upright frames with their own timestamps, and mono sound on the same clock.

Second 0 is the container's first presentation time, whichever stream it belongs to; a sound that starts 0.3 s after
the picture keeps that offset. Nothing is held back: memory does not grow with the length of the file.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
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
from emotion.media.pictures import KNOWN_MATRICES, LIMITED_RANGE, ColourSpace, DecodedPicture, VideoFrame, YuvPicture

NUDGE_SECONDS = 0.001  # how far a frame is set after its predecessor when its timestamp does not rise
MAX_PROBE_PACKETS = 300  # read at most that far in search of a first frame
FORMATS_WITH_EXACT_DURATION = ("mov", "matroska")
EXIF_ORIENTATION = 0x0112
# What makes a picture upright, by the number of its orientation in EXIF 2.3.
TURNS = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
SEEK_MARGIN_SECONDS = 2.0  # sound and picture are indexed apart, and a decoder needs some packets to get going


@dataclass(frozen=True)
class MediaInfo:
    """What a media file holds.

    Attributes:
        path: the file.
        has_video: whether there are pictures; a still image is a video of one frame, cover art is none.
        has_audio: whether there is sound.
        width, height: pixels of the upright picture; None without video.
        frame_rate: frames a second on average; None for a still image or where unknown.
        duration_seconds: length of the longest stream; None for a still image or where unknown.
        video_codec, audio_codec: the codecs' names, such as ``h264`` and ``aac``; None where there is no such stream.
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
    """Mono samples ``(n_samples,)``, float32 in [-1, 1], and the second of the first of them."""

    time_seconds: float
    samples: np.ndarray


@dataclass(frozen=True)
class Waveform:
    """A file's whole sound: mono samples ``(n_samples,)``, float32 in [-1, 1], and the second it starts at."""

    samples: np.ndarray
    start_seconds: float


def probe_media(path: str | os.PathLike) -> MediaInfo:
    """Tells what a media file holds, from its headers and its first frame.

    Raises:
        MediaError: if the file is missing, a folder, empty, a Git LFS pointer, not media, or holds neither picture nor
            sound.
    """
    with streams.open_media(path) as container:
        video, audio = _require_streams(container, path)
        is_still = _is_still(container, path)
        width = height = rate = None
        if video is not None:
            turn = _turn_of_still(path) if is_still else None
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
    """Reads a media file once, giving pictures and sound as they come in the file.

    Args:
        path: the file.
        sample_rate: samples a second of the sound given.
        with_video, with_audio: the streams to decode.
        start_seconds: what lies before may be left out, where the file's index allows to. Times stay the file's own.
        damage: told what could not be used; without it, a warning goes into the log.
        shared: the file opened already; gets the packets of its sound, which is then not decoded here.

    Yields:
        ``VideoFrame`` at strictly rising times, all of the first frame's size, and ``AudioChunk`` that join without gap
        or overlap. Pauses in the sound are filled with zeros. Picture and sound are in order each, but not in order
        with each other.

    Raises:
        MediaError: if the file cannot be opened, holds neither picture nor sound, or nothing of it can be decoded. A
            file damaged half-way gives what can be decoded, and a warning in the log.
    """
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
                damage.note(f"no index to find second {start_seconds:g} by: {error.strerror}")
        readers = {}
        if with_video and video is not None:
            readers[video] = _VideoReader(video, origin, turn=_turn_of_still(path) if is_still else None)
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


def load_waveform(path: str | os.PathLike, sample_rate: int) -> Waveform | None:
    """Reads a file's whole sound, at ``sample_rate`` samples a second; None where the file has no sound.

    Raises:
        MediaError: as ``iterate_media``.
    """
    chunks = list(iterate_media(path, sample_rate=sample_rate, with_video=False))
    if not chunks:
        return None
    return Waveform(np.concatenate([chunk.samples for chunk in chunks]), chunks[0].time_seconds)


def _require_streams(container, path) -> tuple:
    video, audio = streams.pick_streams(container)
    if video is None and audio is None:
        way_out = "Give a video, sound or image file."
        if Path(path).suffix.lower() in STILL_SUFFIXES:  # an animated WebP, say
            way_out = "It may be cut off, or of a kind that FFmpeg cannot read: convert it to PNG, JPEG, GIF or MP4."
        raise MediaError(f"{path}: holds neither picture nor sound that can be decoded. {way_out}")
    return video, audio


def _is_still(container, path) -> bool:
    """Whether a file holds a single picture that is not a moment of a video."""
    name = container.format.name
    if name == "gif":
        with streams.open_media(path) as again:
            packets = (packet for packet in again.demux(video=0) if packet.size)
            return len(list(itertools.islice(packets, 2))) < 2
    return name == "image2" or name.endswith("_pipe")


def _turn_of_still(path) -> int | None:
    """How a photograph is to be turned, by its EXIF orientation; None where it has none that is known.

    PyAV tells of a rotation alone, and photographs may be mirrored, too.
    """
    try:
        with Image.open(path) as image:
            turn = image.getexif().get(EXIF_ORIENTATION)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return turn if turn in TURNS else None


def _note_damaged_still(path, damage: streams.Damage) -> None:
    """FFmpeg paints over what is missing of a picture, and says nothing; Pillow knows."""
    try:
        with Image.open(path) as image:
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError):
        return  # not of the kinds that it knows
    except OSError as error:
        damage.note(str(error))


def _first_picture_size(container, video, damage: streams.Damage, turn: int | None) -> tuple[int, int]:
    """Returns height and width of the first frame, upright; of the header where no frame can be decoded."""
    reader = _VideoReader(video, Fraction(0), turn=turn)
    for _, frame in streams.decode_streams(container, [video], damage, max_packets=MAX_PROBE_PACKETS):
        return reader.picture(frame).shape[:2]
    return video.codec_context.height, video.codec_context.width


class _VideoReader:
    """Turns the decoded frames of one stream into upright pictures of one size at rising times."""

    def __init__(self, stream, origin: Fraction, *, turn: int | None = None):
        self.clock = streams.StreamClock(stream, origin)
        self._turn = turn
        self._time_base = stream.time_base
        self._frame_seconds = float(1 / (stream.average_rate or 25))
        aspect = stream.sample_aspect_ratio or 1
        self._pixel_aspect = aspect if Fraction(1, 4) <= aspect <= 4 else 1
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()  # one thread decodes, another asks for RGB
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
        """Returns the frame as an upright picture with square pixels, in the size of the first.

        It is RGB at once, unless it needs no more than its colours turned.
        """
        if self._size is None:
            self._size = (max(1, round(frame.width * self._pixel_aspect)), frame.height)
        width, height = self._size
        turn = _find_turn(frame) if self._turn is None else TURNS[self._turn]

        def to_rgb(matrix: str | None = None) -> np.ndarray:
            with self._lock:
                rgb = self._reformatter.reformat(
                    frame, width=width, height=height, format="rgb24", src_colorspace=matrix
                ).to_ndarray()
            return rgb if turn is None else np.ascontiguousarray(turn(rgb))

        if turn is not None or (frame.width, frame.height) != self._size or not _is_drawable(frame):
            return to_rgb()
        space = ColourSpace(frame.colorspace, frame.color_primaries, frame.color_trc)
        # FFmpeg takes what a file does not say for BT.601, whatever the height.
        to_rgb = partial(to_rgb, f"itu{space.weights(height)}")
        return DecodedPicture((height, width, 3), to_rgb, lambda: YuvPicture(frame, space, is_decoders=True))


def _is_drawable(frame) -> bool:
    """Whether a frame is of the layout that ``YuvPicture`` takes, and that is written."""
    is_whole = frame.width % 2 == 0 and frame.height % 2 == 0
    has_known_colours = frame.color_range in (0, LIMITED_RANGE) and frame.colorspace in KNOWN_MATRICES
    return is_whole and has_known_colours and frame.format.name == "yuv420p"


def _find_turn(frame) -> Callable[[np.ndarray], np.ndarray] | None:
    """How a frame is turned and mirrored to be as its display matrix asks; None where it stands upright.

    The matrix maps x to a x + c y and y to b x + d y. ``frame.rotation``, which is made from it, takes a mirrored
    picture for one that stands on its head, so it serves only where PyAV cannot hand out the matrix.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 stumbles over kinds of side data it has no name for, such as EXIF in still images
        quarters = round(frame.rotation / 90)
        return partial(np.rot90, k=quarters) if quarters % 4 else None
    if matrix is None:
        return None
    a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32, count=5))
    is_lying = abs(b) > abs(a)
    x, y = (c, b) if is_lying else (a, d)
    if not is_lying and x > 0 and y > 0:
        return None
    return lambda image: (image.swapaxes(0, 1) if is_lying else image)[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1]


class _SoundReader:
    """Turns the decoded frames of one stream into an unbroken mono signal."""

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
            # Resampling overshoots, and float files may hold anything.
            mono = np.clip(np.nan_to_num(samples[0]), -1.0, 1.0)
            yield AudioChunk(index / self._sound.sample_rate, mono)


# ---- By what ending the names of media files are known ----

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp",
    ".ogv", ".vob", ".mxf",
)  # fmt: skip
SOUND_SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".amr")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
MEDIA_SUFFIXES = frozenset(VIDEO_SUFFIXES + SOUND_SUFFIXES + STILL_SUFFIXES)
