"""Makes a video of an animated WebP, which FFmpeg does not decode: its pictures and times as Pillow reads them."""

import functools
import io
import os
from fractions import Fraction

import av
from PIL import Image

from emotion.errors import MediaError
from emotion.media.stills import flatten, reading_pillow

HEAD_BYTES = 21
ANIMATION = 0x02  # among the flags of the chunk VP8X
MIN_MILLISECONDS, USUAL_MILLISECONDS = 11, 100  # browsers show pictures with shorter times for the usual one
MAX_PIXELS = 40_000_000  # of a picture, as of a video's
MAX_TOTAL_PIXELS = 4_000_000_000  # of all pictures: a minute at 1080p and 30 pictures a second


def is_moving_webp(head: bytes) -> bool:
    """Whether a file that begins so is an animated WebP."""
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) >= HEAD_BYTES and bool(head[20] & ANIMATION)


def open_moving_webp(path: str | os.PathLike) -> io.BytesIO:
    """Returns the same pictures at the same times as a MOV file in memory, without loss.

    Raises:
        MediaError: if the file is damaged, or too large to be held.
    """
    state = os.stat(path)
    return io.BytesIO(_convert(os.fspath(path), state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=1)  # a clip is opened to look at it, to analyse it, and to draw on it
def _convert(path: str, modified: int, size: int) -> bytes:
    video = io.BytesIO()
    with reading_pillow(), Image.open(path, formats=("WEBP",)) as image:
        n_pixels = image.width * image.height
        if n_pixels > MAX_PIXELS or n_pixels * image.n_frames > MAX_TOTAL_PIXELS:
            raise MediaError(f"{path}: is an animation too large to be read. Convert it to MP4.")
        with av.open(video, "w", format="mov") as output:
            stream = output.add_stream("png", rate=25, width=image.width, height=image.height)
            stream.pix_fmt = "rgb24"
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
            time, durations = 0, []
            for index in range(image.n_frames):
                image.seek(index)
                frame = av.VideoFrame.from_image(flatten(image))
                duration = image.info.get("duration", 0)
                duration = duration if duration >= MIN_MILLISECONDS else USUAL_MILLISECONDS
                frame.pts, frame.duration, frame.time_base = time, duration, Fraction(1, 1000)
                time += duration
                durations.append(duration)
                _write(output, stream.encode(frame), durations)
            _write(output, stream.encode(None), durations)
    return video.getvalue()


def _write(output, packets: list, durations: list[int]) -> None:
    for packet in packets:
        packet.duration = durations.pop(0)  # which the encoder does not keep
        output.mux(packet)
