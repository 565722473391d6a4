"""Media as people have them and programs stumble over: broken, odd, or not media at all. Each makes its own file."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import media_files
import numpy as np
from PIL import Image

from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import synthesize_voice

RATE = 44100
SECONDS = 1.6


@dataclass(frozen=True)
class Case:
    """A file, and what inference makes of it.

    Attributes:
        what: in words, for the table.
        make: writes the file into a folder and returns its path.
        exit_code: of ``run_inference.py``.
        words: that stand in the answer, or in the one line of the error.
        has_video: whether an annotated video comes of it.
    """

    what: str
    make: Callable[[Path], Path]
    exit_code: int = 0
    words: tuple[str, ...] = ("evidence: face",)
    has_video: bool = True


@functools.cache
def _draw_face(phase: float) -> np.ndarray:
    return draw_face("happy", speaker_seed=1, size=240, phase=phase)


def draw_picture(width: int, height: int, time: float) -> np.ndarray:
    """A face in the middle of a picture that moves a little."""
    side = min(width, height)
    face = cv2.resize(_draw_face(3 * time), (side, side), interpolation=cv2.INTER_AREA)
    picture = np.full((height, width, 3), 110, np.uint8)
    left, top = (width - side) // 2, (height - side) // 2
    picture[top : top + side, left : left + side] = face
    return picture


def write_media(
    path: Path,
    *,
    width: int = 320,
    height: int = 240,
    times: list[float] | None = None,
    seconds: float = SECONDS,
    frame_rate: int = 12,
    voice_seconds: float | None = SECONDS,
    video_codec: str | None = "libx264",
    pixel_format: str = "yuv420p",
    audio_codec: str = "aac",
    sample_rate: int = RATE,
    layout: str = "mono",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    shift_seconds: float = 0.0,
    n_videos: int = 1,
    colours: dict[str, int] | None = None,
) -> Path:
    """Writes a face that shows an emotion, and a voice, in nearly any way that FFmpeg can."""
    with av.open(str(path), "w", options=container_options or {}) as output:
        videos, audio = [], None
        for _ in range(n_videos if video_codec else 0):
            video = output.add_stream(video_codec, rate=frame_rate, width=width, height=height, options=options or {})
            video.pix_fmt = pixel_format
            video.codec_context.time_base = Fraction(1, 1000 if times else frame_rate)
            for name, value in (colours or {}).items():
                setattr(video.codec_context, name, value)
            videos.append(video)
        if voice_seconds:
            audio = output.add_stream(audio_codec, rate=sample_rate, layout=layout)
        if times is None:
            times = [i / frame_rate for i in range(max(1, round(seconds * frame_rate)))]
        for video in videos:
            for time in times:
                frame = av.VideoFrame.from_ndarray(draw_picture(width, height, time), "rgb24")
                frame = frame.reformat(format=pixel_format)
                frame.time_base = video.codec_context.time_base
                frame.pts = round((time + shift_seconds) / float(frame.time_base))
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        if audio:
            write_voice(output, audio, voice_seconds, sample_rate, layout, shift_seconds)
    return path


def write_voice(output, stream, seconds: float, sample_rate: int, layout: str, shift_seconds: float = 0.0) -> None:
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=seconds, sample_rate=sample_rate)
    n_channels = av.AudioLayout(layout).nb_channels
    sound = np.ascontiguousarray(np.tile(voice.astype(np.float32), (n_channels, 1)))
    for first in range(0, sound.shape[1], 1000):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, first : first + 1000]), "fltp", layout)
        frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
        frame.pts = first + round(shift_seconds * sample_rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    return path


def make_subtitles_only(folder: Path) -> Path:
    path = folder / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n", encoding="utf-8")
    return path


def make_cut_jpeg(folder: Path) -> Path:
    content = cv2.imencode(".jpg", draw_picture(480, 480, 0.0)[..., ::-1])[1].tobytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) * 4 // 5])
    return folder / "cut.jpg"


def make_moving_webp(folder: Path) -> Path:
    pictures = [Image.fromarray(draw_picture(240, 240, time)) for time in (0.0, 0.5)]
    pictures[0].save(folder / "moving.webp", save_all=True, append_images=pictures[1:], duration=500)
    return folder / "moving.webp"


def make_change_of_resolution(folder: Path) -> Path:
    """An MPEG transport stream of two parts, of different sizes."""
    parts = [
        write_media(folder / f"{width}.ts", width=width, height=height, seconds=0.8, voice_seconds=None)
        for width, height in ((320, 240), (640, 360))
    ]
    path = folder / "change.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def make_without_timestamps(folder: Path) -> Path:
    """A raw H.264 stream, which has no clock at all."""
    return write_media(folder / "raw.h264", voice_seconds=None)


def make_browser_recording(folder: Path) -> Path:
    """WebM as a browser's MediaRecorder writes it: no length, no index, an uneven rate, Opus."""
    times = [round(i / 12 + 0.02 * (i % 3), 3) for i in range(18)]
    options = {"live": "1"}
    return write_media(folder / "recording.webm", times=times, video_codec="libvpx", audio_codec="libopus",
                       sample_rate=48000, container_options=options)  # fmt: skip


def make_folder_without_rights(folder: Path) -> Path:
    closed = folder / "closed"
    closed.mkdir()
    path = write_media(closed / "clip.mp4")
    closed.chmod(0)
    return path


def make_unreadable(folder: Path) -> Path:
    path = write_media(folder / "closed.mp4")
    path.chmod(0)
    return path


IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0  # whom no rights hold back


def _make_pipe(folder: Path) -> Path:
    path = folder / "pipe.mp4"
    os.mkfifo(path)
    return path


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


CASES = {
    "truncated": Case(
        "cut off half-way, index first",
        lambda folder: cut(write_media(folder / "cut.mp4", seconds=4, voice_seconds=4,
                                       container_options={"movflags": "faststart"}), 0.6),
        words=("evidence: face", "note: the file is damaged"),
    ),
    "no index": Case(
        "cut off half-way, index last", lambda folder: cut(write_media(folder / "cut.mp4"), 0.6), 1,
        ("cut.mp4: not a readable media file",), False,
    ),
    "zero bytes": Case("zero bytes", lambda folder: media_files.make_empty(folder / "empty.mp4"), 1,
                       ("empty.mp4: is empty (0 bytes)",), False),
    "text": Case("text renamed to mp4", lambda folder: media_files.make_renamed_text(folder / "text.mp4"), 1,
                 ("text.mp4: not a readable media file",), False),
    "LFS pointer": Case("Git LFS pointer", lambda folder: media_files.make_lfs_pointer(folder / "pointer.mp4"), 1,
                        ("pointer.mp4", "git lfs pull"), False),
    "no picture": Case("no video stream", lambda folder: write_media(folder / "sound.mp4", video_codec=None),
                       words=("evidence: voice", "note: the file has no picture"), has_video=False),
    "no sound": Case("no sound", lambda folder: write_media(folder / "mute.mp4", voice_seconds=None),
                     words=("evidence: face\n", "note: the file has no sound")),
    "one frame": Case("one frame", lambda folder: write_media(folder / "one.mp4", times=[0.0], voice_seconds=None),
                      words=("evidence: face\n",)),
    "odd size": Case("odd width and height", lambda folder: write_media(
        folder / "odd.mkv", width=321, height=243, video_codec="ffv1", pixel_format="yuv444p", audio_codec="flac")),
    "cut picture": Case("a JPEG cut off half-way", make_cut_jpeg,
                        words=("note: the file is damaged (image file is truncated",)),
    "moving WebP": Case("an animated WebP", make_moving_webp),
    "8K": Case("8K", lambda folder: write_media(
        folder / "8k.mp4", width=7680, height=4320, times=[0.0, 0.2], voice_seconds=0.6,
        options={"preset": "ultrafast"})),
    "1x1": Case("one pixel", lambda folder: write_media(
        folder / "pixel.mkv", width=1, height=1, video_codec="ffv1", pixel_format="yuv444p", voice_seconds=None),
        words=("emotion: no evidence", "note: no face was found")),
    "negative times": Case("negative timestamps", lambda folder: write_media(
        folder / "negative.mkv", shift_seconds=-0.5, container_options={"avoid_negative_ts": "disabled"})),
    "no times": Case("missing timestamps", make_without_timestamps),
    "longer sound": Case("sound longer than the picture", lambda folder: write_media(
        folder / "longer.mp4", voice_seconds=3.2)),
    "shorter sound": Case("sound shorter than the picture", lambda folder: write_media(
        folder / "shorter.mp4", seconds=3.2, voice_seconds=1.0)),
    "5.1": Case("5.1 sound", lambda folder: write_media(folder / "surround.mp4", layout="5.1")),
    "8 kHz": Case("8 kHz sound", lambda folder: write_media(
        folder / "phone.mov", sample_rate=8000, audio_codec="pcm_mulaw")),
    "HDR": Case("HDR, 10 bits, HEVC", lambda folder: write_media(
        folder / "hdr.mp4", video_codec="libx265", pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": "log-level=none"},
        colours={"color_primaries": 9, "color_trc": 16, "colorspace": 9})),
    "interlaced": Case("interlaced MPEG-2", lambda folder: write_media(
        folder / "interlaced.mpg", frame_rate=25, video_codec="mpeg2video", audio_codec="mp2",
        options={"flags": "+ildct+ilme", "b": "2000000"})),
    "two pictures": Case("two video streams", lambda folder: write_media(folder / "two.mkv", n_videos=2)),
    "subtitles": Case("subtitles only", make_subtitles_only, 1, ("words.srt",), False),
    "cover art": Case("sound with cover art", lambda folder: media_files.make_mp3_with_cover(folder / "song.mp3"),
                      words=("note: the file has no picture",), has_video=False),
    "resolution": Case("resolution changes in mid-stream", make_change_of_resolution),
    "FLV": Case("FLV", lambda folder: write_media(folder / "flash.flv", video_codec="flv")),
    "browser": Case("WebM from a browser's recorder", make_browser_recording),
    "name": Case("spaces, Unicode and quotes in the path", lambda folder: write_media(
        folder / "mein 'Clip' – ünï 😀 100%.mp4")),
    "folder without rights": Case("a folder without rights", make_folder_without_rights, 0 if IS_ROOT else 1,
                                  ("evidence: face",) if IS_ROOT else ("clip.mp4",), IS_ROOT),
    "file without rights": Case("a file without rights", make_unreadable, 0 if IS_ROOT else 1,
                                ("evidence: face",) if IS_ROOT else ("closed.mp4: cannot be read",), IS_ROOT),
    "corrupt": Case("noise in the middle", lambda folder: media_files.make_corrupt(
        folder / "corrupt.mp4", seconds=2, n_bytes=400), words=("emotion:",)),
    "pipe": Case("a named pipe, which would be waited for for ever", _make_pipe, 1, ("pipe.mp4: is a pipe",), False),
    "web page": Case("a web page under the name of a video", lambda folder: _write(
        folder / "page.mp4", "<!DOCTYPE html>\n<html>404</html>\n"), 1, ("page.mp4: is a web page",), False),
    "playlist": Case("a playlist of other files", lambda folder: _write(
        folder / "list.m3u8", "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n"), 1, ("list.m3u8",), False),
}  # fmt: skip
