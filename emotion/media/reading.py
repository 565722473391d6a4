"""Reads any media file in one pass: upright frames with their own timestamps, and mono sound on the same clock.

Second 0 is the container's first presentation time in any stream: sound that starts 0.3 s after the first frame keeps
that offset. Memory use does not grow with the length of the file.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from emotion.errors import MediaError
from emotion.media import streams
from emotion.media.decoding import AudioChunk, SoundReader, VideoReader
from emotion.media.opening import MediaFile, SharedSource, describe_beheaded
from emotion.media.orientation import find_turn_of_image
from emotion.media.pictures import VideoFrame
from emotion.media.stills import describe_broken_still, look_at_still, read_still
from emotion.media.suffixes import STILL_SUFFIXES
from emotion.media.tracks import ANY_TRACKS, KINDS, TrackChoice
from emotion.media.wholeness import check_wholeness

STILL_SECONDS = 1 / 25  # how long a still is shown, as in FFmpeg
MAX_PROBE_PACKETS = 300  # read in search of the first frame
FORMATS_WITH_EXACT_DURATION = ("mov", "matroska")
FORMATS_THAT_COUNT_SAMPLES = ("flac", "aiff", "au", "tta", "wv")
MAX_PIXELS = 40_000_000  # of a video's pictures: 8K has 33 million, which takes 2.5 GB
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
        MediaError: as ``_open_media``; if the file holds neither video nor sound; or if it has no such track.
    """
    still = look_at_still(path, choice)
    if still is not None:
        return MediaInfo(
            os.fspath(path), True, False, still.width, still.height, None, None, still.codec, None, is_still=True,
            choice=choice, notes=still.notes,
        )  # fmt: skip
    with MediaFile(path, choice, is_look=True) as file:
        _require_streams(file)
        video, audio = file.video, file.audio
        is_still = _is_still(file)
        width = height = rate = None
        if video is not None:
            height, width = _first_picture_size(file, find_turn_of_image(path) if is_still else None)
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
    damage = damage or streams.Damage(path)
    still = read_still(path, choice)
    if still is not None and still.fault:
        damage.note(still.fault)
    if still is not None and still.image is not None:
        yield from (VideoFrame(0.0, still.image, STILL_SECONDS),) if with_video else ()
        return
    with MediaFile(path, choice) if shared is None else contextlib.nullcontext(shared) as file:
        _require_streams(file)
        container, video, audio = file.container, file.video, file.audio
        origin = streams.first_presentation_time(container)
        is_still = with_video and video is not None and _is_still(file)
        if start_seconds > SEEK_MARGIN_SECONDS and container.format.name.startswith(FORMATS_WITH_EXACT_DURATION):
            target = float(origin) + start_seconds - SEEK_MARGIN_SECONDS
            try:
                with streams.calling_pyav():
                    container.seek(round(target * av.time_base))
            except streams.DecodingError as error:
                damage.note(f"cannot seek to second {start_seconds:g}: {error}")
        readers = {}
        if with_video and video is not None:
            readers[video] = VideoReader(video, origin, turn=find_turn_of_image(path) if is_still else None)
        if with_audio and audio is not None and shared is None:
            readers[audio] = SoundReader(audio, origin, sample_rate, file.choice.channel)
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
            way_out = "Copy or download it again, or convert it to MP4."
            nothing = f"nothing in it could be decoded{damage.words}. {way_out}"
            raise MediaError(f"{path}: {describe_broken_still(path) or nothing}")
        if ends and reads_all:
            _check_end(file, origin, max(ends), damage)
            _check_marks(file, damage)


def _check_end(file: MediaFile, origin: Fraction, end_seconds: float, damage: streams.Damage) -> None:
    """Notes a file that ends earlier than its header says."""
    name = file.container.format.name
    held = promised = margin = 0.0
    if file.wav is not None:
        held, promised = (file.wav.held_seconds, file.wav.stated_seconds) if file.wav.is_cut else (0.0, 0.0)
    elif file.container.duration and name in FORMATS_THAT_COUNT_SAMPLES:
        held, promised, margin = end_seconds, file.container.duration / av.time_base, streams.GAP_SECONDS
    elif file.container.duration and name.startswith(FORMATS_WITH_EXACT_DURATION):
        # Matroska counts from 0, not from the first frame.
        held, promised = end_seconds, file.container.duration / av.time_base - max(0.0, float(origin))
        margin = min(1.0, max(0.5, promised / 10))
    if held < promised - margin:
        digits = 1 if promised - held >= 0.1 else 2
        damage.note(f"it ends after {held:.{digits}f} of {promised:.{digits}f} seconds", explains=True)


def _check_marks(file: MediaFile, damage: streams.Damage) -> None:
    """Notes what the format's own marks say of missing parts, which FFmpeg skips without a word."""
    try:
        wholeness = check_wholeness(file.path, file.container.format.name)
    except OSError as error:
        damage.note(streams.words_of(error))
        return
    damage.doubt = wholeness.doubt
    if wholeness.fault:
        damage.note(wholeness.fault, explains=not damage.words.startswith(" (it ends after"))


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
        if file.video is not None and file.video.codec_context.width * file.video.codec_context.height > MAX_PIXELS:
            raise MediaError(
                f"{file.path}: has pictures of more than {MAX_PIXELS:,} pixels. Make it smaller, such as with: ffmpeg "
                "-i FILE -vf scale=1920:-2 smaller.mp4"
            )
        return
    beheaded = describe_beheaded(file.path, file.container.format.name)
    if beheaded:
        raise MediaError(f"{file.path}: {beheaded}, which cannot be decoded. Copy or download it again.")
    what, way_out = "neither video nor sound that can be decoded", "Give a video, sound or image file."
    if file.undecodable:
        codecs = (f"{KINDS[kind]} (codec {codec})" for kind, codec in file.undecodable.items())
        what, way_out = f"{' and '.join(codecs)} that cannot be decoded", "Convert it to MP4."
    if Path(file.path).suffix.lower() in STILL_SUFFIXES:
        way_out = "It may be cut off, or of a kind that FFmpeg cannot read: convert it to PNG, JPEG, GIF or MP4."
    raise MediaError(f"{file.path}: {describe_broken_still(file.path) or f'holds {what}. {way_out}'}")


def _is_still(file: MediaFile) -> bool:
    """Whether a file that FFmpeg reads holds a single image rather than a video."""
    name = file.container.format.name
    return name == "image2" or name.endswith("_pipe")


def _first_picture_size(file: MediaFile, turn: int | None) -> tuple[int, int]:
    """Returns height and width of the first upright frame; those in the header if no frame can be decoded."""
    reader = VideoReader(file.video, Fraction(0), turn=turn)
    damage = streams.Damage(file.path, is_silent=True)
    for _, frame in streams.decode_streams(file.container, [file.video], damage, max_packets=MAX_PROBE_PACKETS):
        with contextlib.suppress(streams.DecodingError):  # told when the frames are read
            return reader.picture(frame).shape[:2]
    return file.video.codec_context.height, file.video.codec_context.width
