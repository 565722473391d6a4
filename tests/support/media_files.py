"""Makes the media files the tests need: a white square that moves over grey, and a beep at a known second.

Every helper writes into the given path and returns it. The square's left edge stands at ``square_left(time)``.
"""

import contextlib
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 48
SQUARE = 16  # pixels
BACKGROUND = 90
BEEP_SECONDS = 0.5  # when it begins
BEEP_LENGTH_SECONDS = 0.1
BEEP_HERTZ = 1000.0
TICKS = 90_000  # a second


def square_left(time_seconds: float, width: int = WIDTH) -> int:
    """Left edge in pixels of the square at a moment: it crosses the picture once a second."""
    return int((width - SQUARE) * (time_seconds % 1.0))


def make_picture(time_seconds: float, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Returns grey with a white square at the top, and a red lower left corner that tells which way is up."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    left = square_left(time_seconds, width)
    image[:SQUARE, left : left + SQUARE] = 255
    image[-SQUARE:, :SQUARE] = (220, 20, 20)
    return image


def make_sound(
    seconds: float, sample_rate: int = 44100, n_channels: int = 1, beep_seconds: float = BEEP_SECONDS
) -> np.ndarray:
    """Returns silence with one beep of amplitude 0.5 in every channel, ``(n_channels, n_samples)`` float32."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    is_beep = (time >= beep_seconds) & (time < beep_seconds + BEEP_LENGTH_SECONDS)
    beep = 0.5 * np.sin(2 * np.pi * BEEP_HERTZ * time) * is_beep
    return np.repeat(beep[None].astype(np.float32), n_channels, axis=0)


def find_beep(samples: np.ndarray, sample_rate: int, start_seconds: float = 0.0) -> float:
    """Returns the second at which a mono signal first exceeds a fifth of its peak."""
    loud = np.abs(samples) > 0.2 * np.abs(samples).max()
    return start_seconds + int(np.argmax(loud)) / sample_rate


def cut_beginning(clip: Path, path: Path, seconds: float) -> Path:
    """Writes the first seconds of a clip, whose packets stay as they are."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and float(packet.dts * packet.time_base) < seconds:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return path


def make_clip(
    path: Path,
    *,
    seconds: float = 1.0,
    frame_rate: Fraction | int = 25,
    frame_times: list[float] | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
    video_codec: str | None = "libx264",
    pixel_format: str = "yuv420p",
    audio_codec: str | None = "aac",
    sample_rate: int = 44100,
    layout: str = "mono",
    audio_start_seconds: float = 0.0,
    shift_seconds: float = 0.0,
    rotation: int = 0,
    mirrored: bool = False,
    sound_gap: tuple[float, float] | None = None,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes a clip with PyAV; the container follows from the path's suffix.

    Args:
        frame_times: seconds of the frames, for a variable rate; ``frame_rate`` is then only nominal.
        video_codec, audio_codec: None leaves the stream out.
        audio_start_seconds: when the sound starts; its beep stays at ``BEEP_SECONDS`` on the picture's clock.
        shift_seconds: added to all timestamps of both streams; may be negative.
        rotation: degrees, counter-clockwise, that a player must turn the stored picture.
        mirrored: whether a player must mirror it from left to right.
        sound_gap: from and to, in seconds: no sound is written for this stretch.
        container: the container's name, where the suffix does not tell it.
    """
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        video = audio = None
        if video_codec:
            options = {"crf": "10", "preset": "ultrafast"} if video_codec == "libx264" else {}
            time_base = Fraction(1, TICKS) if frame_times else 1 / Fraction(frame_rate)
            video = output.add_stream(
                video_codec, rate=frame_rate, width=width, height=height, time_base=time_base, options=options
            )
            video.pix_fmt = pixel_format
            if video_codec != "libx264":
                video.bit_rate = 1_000_000
            if rotation or mirrored:
                video.set_display_rotation(rotation, hflip=mirrored)
        if audio_codec:
            audio = output.add_stream(audio_codec, rate=sample_rate, layout=layout)
        times = frame_times or [float(i / Fraction(frame_rate)) for i in range(round(seconds * frame_rate))]
        for time in times if video else []:
            frame = av.VideoFrame.from_ndarray(make_picture(time, width, height), "rgb24")
            frame.time_base = video.codec_context.time_base
            frame.pts = round(Fraction(time + shift_seconds) / frame.time_base)
            output.mux(video.encode(frame.reformat(format=pixel_format)))
        if audio:
            n_channels = av.AudioLayout(layout).nb_channels
            sound = make_sound(seconds, sample_rate, n_channels)
            gap = tuple(round(second * sample_rate) for second in sound_gap or (0, 0))
            start = round(audio_start_seconds * sample_rate)
            for first in range(start, sound.shape[1], 1000):
                if not gap[0] <= first < gap[1]:
                    block = np.ascontiguousarray(sound[:, first : first + 1000])
                    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), "flt", layout)
                    frame.sample_rate = sample_rate
                    frame.time_base = Fraction(1, sample_rate)
                    frame.pts = first + round(shift_seconds * sample_rate)
                    output.mux(audio.encode(frame))
        for stream in (video, audio):
            if stream:
                output.mux(stream.encode(None))
    return path


def make_still(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """Writes a PNG or JPEG image, by suffix."""
    is_png = path.suffix == ".png"
    codec = av.CodecContext.create("png" if is_png else "mjpeg", "w")
    codec.width, codec.height = width, height
    codec.pix_fmt = "rgb24" if is_png else "yuvj444p"
    codec.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(make_picture(0.0, width, height), "rgb24").reformat(format=codec.pix_fmt)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in codec.encode(frame) + codec.encode(None)))
    return path


def make_mp3_with_cover(path: Path) -> Path:
    """Writes an MP3 file of one second whose ID3 tag holds a PNG as its cover."""
    make_clip(path, video_codec=None, audio_codec="libmp3lame", container_options={"id3v2_version": "0"})
    picture = make_still(path.with_suffix(".png"))
    body = b"\x00image/png\x00\x03\x00" + picture.read_bytes()
    picture.unlink()
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\x00\x00" + synchsafe + frame + path.read_bytes())
    return path


def make_truncated(path: Path, fraction: float = 0.5, **options) -> Path:
    """Writes a clip with its index first and cuts the file's end off."""
    is_mp4 = path.suffix == ".mp4"
    make_clip(path, container_options={"movflags": "faststart"} if is_mp4 else {}, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    return path


def make_corrupt(path: Path, n_bytes: int = 400, **options) -> Path:
    """Writes a clip and overwrites a stretch in the middle of its data with noise."""
    make_clip(path, **options)
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, n_bytes, dtype=np.uint8).tobytes()
    middle = len(content) // 2
    content[middle : middle + n_bytes] = noise
    path.write_bytes(bytes(content))
    return path


def make_two_sounds(path: Path, **options) -> Path:
    """Writes a clip with its sound twice."""
    one = make_clip(path.with_name(f"one_{path.name}"), **options)
    with av.open(str(path), "w") as output, contextlib.ExitStack() as stack:
        sources = [stack.enter_context(av.open(str(one))) for _ in range(3)]
        streams = [sources[0].streams.video[0], sources[1].streams.audio[0], sources[2].streams.audio[0]]
        written = [output.add_stream_from_template(stream) for stream in streams]
        for source, stream, target in zip(sources, streams, written, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = target
                    output.mux(packet)
    one.unlink()
    return path


def make_empty(path: Path) -> Path:
    """Writes a file of zero bytes."""
    path.write_bytes(b"")
    return path


def make_renamed_text(path: Path) -> Path:
    """Writes text under any name."""
    path.write_text("This is no media file, whatever its name says.\n" * 50, encoding="utf-8")
    return path


def make_lfs_pointer(path: Path) -> Path:
    """Writes what a clone without Git LFS has in place of a large file."""
    digest = f"{zlib.crc32(b'clip'):064x}"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 12345\n", encoding="utf-8")
    return path
