"""Reads any media file in one pass: upright frames with their own timestamps, and mono sound on the same clock.

Second 0 is the container's first presentation time in any stream: sound that starts 0.3 s after the first frame keeps
that offset. Memory use does not grow with the length of the file.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, UnidentifiedImageError

from emotion.errors import MediaError
from emotion.media import streams
from emotion.media.mixing import MonoMixer
from emotion.media.opening import MediaFile, SharedSource, open_media
from emotion.media.orientation import TURNS, find_turn, find_turn_of_image
from emotion.media.pictures import KNOWN_MATRICES, LIMITED_RANGE, ColourSpace, DecodedPicture, VideoFrame, YuvPicture
from emotion.media.stills import Still, read_still
from emotion.media.suffixes import STILL_SUFFIXES
from emotion.media.tracks import ANY_TRACKS, KINDS, TrackChoice

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
        choice: the tracks that are read.
        n_channels: of the sound; 0 without.
        undecodable: by kind, ``video`` or ``audio``, the codec of a kind that is there but cannot be decoded.
        notes: what you need to know of the file: other tracks, a wrong header.
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
    choice: TrackChoice = ANY_TRACKS
    n_channels: int = 0
    undecodable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Waveform:
    """A file's whole sound: mono samples ``(n_samples,)``, float32 in [-1, 1], and the second at which it starts."""

    samples: np.ndarray
    start_seconds: float


def probe_media(path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS) -> MediaInfo:
    """Reads from a file's headers and first frame what it holds.

    Args:
        path: the file.
        choice: tracks to read; by default those that suit best.

    Raises:
        MediaError: as ``open_media``; if the file holds neither video nor sound; or if it has no such track.
    """
    still = read_still(path)
    if still is not None:
        height, width = still.image.shape[:2]
        return MediaInfo(os.fspath(path), True, False, width, height, None, None, still.codec, None, is_still=True)
    with MediaFile(path, choice) as file:
        _require_streams(file)
        video, audio = file.video, file.audio
        is_still = _is_still(file)
        width = height = rate = None
        if video is not None:
            turn = find_turn_of_image(path) if is_still else None
            height, width = _first_picture_size(file, streams.Damage(path, is_silent=True), turn)
            rate = None if is_still else video.average_rate or video.guessed_rate
        duration = None if is_still or file.container.duration is None else file.container.duration / av.time_base
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
            choice=file.choice,
            n_channels=audio.codec_context.channels if audio is not None else 0,
            undecodable=file.undecodable,
            notes=file.notes,
        )


def iterate_media(
    path: str | os.PathLike,
    *,
    sample_rate: int,
    with_video: bool = True,
    with_audio: bool = True,
    start_seconds: float = 0.0,
    choice: TrackChoice = ANY_TRACKS,
    damage: streams.Damage | None = None,
    shared: SharedSource | None = None,
) -> Iterator[VideoFrame | AudioChunk]:
    """Reads a media file once and yields frames and sound in the order in which the file stores them.

    Args:
        path: the file.
        sample_rate: of the sound, in Hz.
        with_video, with_audio: the streams to decode.
        start_seconds: earlier frames and sound are skipped where the file's index allows it. Times do not shift.
        choice: tracks to read; by default those that suit best.
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
    with MediaFile(path, choice) if shared is None else contextlib.nullcontext(shared) as file:
        _require_streams(file)
        container, video, audio = file.container, file.video, file.audio
        origin = streams.first_presentation_time(container)
        damage = damage or streams.Damage(path)
        is_still = with_video and video is not None and _is_still(file)
        if is_still:
            _note_damaged_still(path, damage)
        if start_seconds > SEEK_MARGIN_SECONDS and container.format.name.startswith(FORMATS_WITH_EXACT_DURATION):
            target = float(origin) + start_seconds - SEEK_MARGIN_SECONDS
            try:
                container.seek(round(target * av.time_base))
            except streams.FAULTS as error:
                damage.note(f"cannot seek to second {start_seconds:g}: {streams.words_of(error)}")
        readers = {}
        if with_video and video is not None:
            readers[video] = _VideoReader(video, origin, turn=find_turn_of_image(path) if is_still else None)
        if with_audio and audio is not None and shared is None:
            readers[audio] = _SoundReader(audio, origin, sample_rate, file.choice.channel)
        for stream, frame in streams.decode_streams(container, list(readers), damage, shared=shared):
            with damage.noting_faults():
                yield from readers[stream].read(frame)
        if shared is not None and video in readers:
            shared.video_end_seconds = readers[video].find_end()
        for reader in readers.values():
            with damage.noting_faults():
                yield from reader.finish()

        ends = [reader.clock.end_seconds for reader in readers.values() if reader.clock.end_seconds is not None]
        reads_all = len(readers) == (video is not None) + (audio is not None)
        if readers and not ends and (damage.count or reads_all):
            raise MediaError(
                f"{path}: nothing in it could be decoded{damage.words}. Copy or download it again, or convert it to "
                "MP4."
            )
        promised = _promised_seconds(file, origin)
        if file.wav is not None and file.wav.is_cut:
            held, stated = file.wav.held_seconds, file.wav.stated_seconds
            digits = 1 if stated - held >= 0.1 else 2
            damage.note(f"it ends after {held:.{digits}f} of {stated:.{digits}f} seconds")
        elif ends and reads_all and promised and max(ends) < promised - 1:
            damage.note(f"it ends after {max(ends):.1f} of {promised:.1f} seconds")


def _promised_seconds(file: MediaFile, origin: Fraction) -> float | None:
    """Returns how long the file should last by its header, on its own clock; None if that is not said exactly."""
    if file.container.duration and file.container.format.name.startswith(FORMATS_WITH_EXACT_DURATION):
        # Matroska counts from 0, not from the first frame.
        return file.container.duration / av.time_base - max(0.0, float(origin))
    return None


def _show(still: Still, damage: streams.Damage) -> Iterator[VideoFrame]:
    if still.fault:
        damage.note(still.fault)
    yield VideoFrame(0.0, still.image, STILL_SECONDS)


def load_waveform(path: str | os.PathLike, sample_rate: int) -> Waveform | None:
    """Reads a file's whole sound, scaled down if it exceeds full scale; None if there is none.

    Raises as ``iterate_media``.
    """
    chunks = list(iterate_media(path, sample_rate=sample_rate, with_video=False))
    if not chunks:
        return None
    samples = np.concatenate([chunk.samples for chunk in chunks])
    peak = np.abs(samples).max(initial=0.0)
    return Waveform(samples / peak if peak > 1 else samples, chunks[0].time_seconds)


def _require_streams(file: MediaFile) -> None:
    if file.video is not None or file.audio is not None:
        channel, n_channels = file.choice.channel, file.audio and file.audio.codec_context.channels
        if channel is not None and not (n_channels and 1 <= channel <= n_channels):
            raise MediaError(f"{file.path}: has no channel {channel}; its sound has {n_channels or 'none'}.")
        return
    what, way_out = "neither video nor sound that can be decoded", "Give a video, sound or image file."
    if file.undecodable:
        codecs = (f"{KINDS[kind]} (codec {codec})" for kind, codec in file.undecodable.items())
        what, way_out = f"{' and '.join(codecs)} that cannot be decoded", "Convert it to MP4."
    if Path(file.path).suffix.lower() in STILL_SUFFIXES:  # such as an animated WebP
        way_out = "It may be cut off, or of a kind that FFmpeg cannot read: convert it to PNG, JPEG, GIF or MP4."
    raise MediaError(f"{file.path}: holds {what}. {way_out}")


def _is_still(file: MediaFile) -> bool:
    """Whether a file holds a single image rather than a video."""
    name = file.container.format.name
    if name == "gif":
        with open_media(file.path) as again:
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


def _first_picture_size(file: MediaFile, damage: streams.Damage, turn: int | None) -> tuple[int, int]:
    """Returns height and width of the first upright frame; those in the header if no frame can be decoded."""
    reader = _VideoReader(file.video, Fraction(0), turn=turn)
    for _, frame in streams.decode_streams(file.container, [file.video], damage, max_packets=MAX_PROBE_PACKETS):
        with contextlib.suppress(*streams.FAULTS):  # told when the frames are read
            return reader.picture(frame).shape[:2]
    return file.video.codec_context.height, file.video.codec_context.width


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


def _stated_end(stream, origin: Fraction) -> float | None:
    if not stream.duration or stream.start_time is None:
        return None
    return float((stream.start_time + stream.duration) * stream.time_base - origin)


def _is_drawable(frame) -> bool:
    """Whether a frame has the layout that ``YuvPicture`` and the writer take."""
    is_whole = frame.width % 2 == 0 and frame.height % 2 == 0
    has_known_colours = frame.color_range in (0, LIMITED_RANGE) and frame.colorspace in KNOWN_MATRICES
    return is_whole and has_known_colours and frame.format.name == "yuv420p"


class _SoundReader:
    """Turns the decoded frames of one stream into a mono signal without gaps."""

    def __init__(self, stream, origin: Fraction, sample_rate: int, channel: int | None):
        self.clock = streams.StreamClock(stream, origin)
        self._sound = streams.ContinuousSound(sample_rate, None)
        self._mixer = MonoMixer(sample_rate, channel)
        self._names: tuple[str, ...] = ()
        self._next: int | None = None  # index of the next mono sample

    def read(self, frame) -> Iterator[AudioChunk]:
        time = self.clock.place(frame.pts, frame.samples / frame.sample_rate)
        names = tuple(channel.name for channel in frame.layout.channels)
        if names != self._names:
            yield from self._mix(self._sound.flush())
            self._names = names
        yield from self._mix(self._sound.push(frame, time))

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
