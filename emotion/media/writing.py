"""Writes video that plays anywhere: H.264 and AAC in an MP4 file, with the source's sound in step.

Frame times are written as given, in units of 1/90000 s, so a variable frame rate survives. The file gets its name only
when it is complete.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.video.reformatter import VideoReformatter

from emotion.errors import MediaError
from emotion.files import shorten_name
from emotion.media.formats import OPTIONS
from emotion.media.opening import SharedSource
from emotion.media.pictures import LIMITED_RANGE, ColourSpace, YuvPicture
from emotion.media.soundtrack import SourceSound

logger = logging.getLogger(__name__)

TICKS_PER_SECOND = 90_000  # MPEG's own clock: the frames of all common rates fall on a tick, or within 6 us
SINGLE_FRAME_SECONDS = 0.04  # how long the only frame of a video is shown
# The index comes first, so that a browser can start early. The timescale keeps the start time exact; by default it is
# rounded to 1 ms.
MUXER_OPTIONS = {"movflags": "+faststart", "movie_timescale": str(TICKS_PER_SECOND)}
# By default x264 keeps about 20 pictures to look ahead; of 8K that takes 3 GB. Above 4K it takes each as it comes.
LARGE_PIXELS = 4096 * 2304
X264_WITHOUT_WAITING = "bframes=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:sliced-threads=1"
SUFFIXES = (".mp4", ".m4v", ".mov")
# Marks our own results, so that they are not mistaken for clips.
COMMENT = "made by emotion recognition: faces annotated"


def check_output(path: str | os.PathLike, source_path: str | os.PathLike | None = None) -> None:
    """Checks that a video can be written to a path, before any work is done for it.

    Raises:
        MediaError: for a wrong extension, a missing or read-only folder, or the source's own path.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(
            f"{path}: the name must end in one of {', '.join(SUFFIXES)}, because the video is an MP4 file."
        )
    if path.is_dir():
        raise MediaError(f"{path}: is a folder. Give the name of the file to write.")
    if not path.parent.is_dir():
        raise MediaError(f"{path.parent}: no such folder, so {path.name} cannot be written. Create it.")
    if source_path is not None and path.resolve() == Path(source_path).resolve():
        raise MediaError(f"{path}: is the source itself. Give another name for the output.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise MediaError(f"{path.parent}: cannot be written to ({error.strerror}). Choose another folder.") from error


def is_annotated(path: str | os.PathLike) -> bool:
    """Whether a file is a video that this module wrote."""
    try:
        with av.open(f"file:{os.fspath(path)}", options=OPTIONS, metadata_errors="ignore") as container:
            return container.metadata.get("comment") == COMMENT
    except (av.FFmpegError, OSError, ValueError):
        return False


class VideoWriter:
    """Writes frames, and the sound of a source file, to an MP4 file. Use it with ``with``.

    AAC sound is copied; other sound is encoded as AAC at its own rate and channel layout. All of the source's sound is
    written, on the clock of ``iterate_media``. H.264 needs even sizes, so an odd width or height grows by one pixel
    that repeats the edge. After an exception nothing is left behind, and an earlier file stays as it was.

    Args:
        output_path: the file to write, ending in .mp4, .m4v or .mov.
        width, height: of the frames, in pixels.
        source: the file whose sound is kept, which the caller reads as it writes; None for no sound.
        crf: x264's constant quality; lower is better and larger, 18 to 28 is sensible.
        preset: x264's speed, such as ``veryfast`` or ``medium``.
        space: the colour space to write. Decoded pictures of this space are written without conversion.
    """

    def __init__(
        self,
        output_path: str | os.PathLike,
        *,
        width: int,
        height: int,
        source: SharedSource | None = None,
        crf: int = 20,
        preset: str = "veryfast",
        space: ColourSpace | None = None,
    ):
        if width < 1 or height < 1:
            raise ValueError(f"width and height must be at least 1, got {width} x {height}.")
        self._path = Path(output_path)
        # Always the same name, so that what a killed program left is replaced.
        ending = ".partial.mp4"
        self._partial = self._path.with_name(f".{shorten_name(self._path.name, 1 + len(ending))}{ending}")
        self._shape = (height, width, 3)
        self._source = source
        self._space = space or ColourSpace()
        self._options = {"crf": str(crf), "preset": preset}
        if width * height > LARGE_PIXELS:
            self._options["x264-params"] = X264_WITHOUT_WAITING
        self._reformatter = VideoReformatter()
        self._container = None
        self._video = None
        self._sound: SourceSound | None = None
        self._waiting = None  # the last frame: its duration is known only when the next one comes
        self._start = 0  # time of the first frame
        self._first: int | None = None  # decoding time of the first packet
        self._frame_ticks = round(SINGLE_FRAME_SECONDS * TICKS_PER_SECOND)

    def __enter__(self) -> Self:
        """Opens the output; raises ``MediaError`` if it cannot be written."""
        check_output(self._path, self._source and self._source.path)
        try:
            with self._errors_named():
                self._open()
        except BaseException:
            self._abandon()
            raise
        return self

    def write(self, time_seconds: float, image: np.ndarray | YuvPicture) -> None:
        """Adds a frame.

        Args:
            time_seconds: when it is shown; at least 0, and later than the frame before.
            image: ``(height, width, 3)``, RGB uint8; or a ``YuvPicture``, which belongs to the writer from then on.

        Raises:
            ValueError: for a time that does not rise, an image of another shape or type, or the same picture again.
            MediaError: if the output cannot be written, for example because the disk is full.
        """
        dtype = np.uint8 if isinstance(image, YuvPicture) else image.dtype
        if image.shape != self._shape or dtype != np.uint8:
            raise ValueError(f"image must be uint8 of shape {self._shape}, got {dtype} of {image.shape}.")
        if self._waiting is not None and getattr(image, "frame", None) is self._waiting:
            raise ValueError("This picture already belongs to the writer; give a copy of it.")
        ticks = round(time_seconds * TICKS_PER_SECOND)
        after = -1 if self._waiting is None else self._waiting.pts
        if ticks <= after:
            raise ValueError(f"time_seconds must be at least 0 and rise with every picture, got {time_seconds}.")
        frame = self._to_frame(image)
        frame.pts = ticks
        frame.time_base = Fraction(1, TICKS_PER_SECOND)
        if self._waiting is None:
            self._start = ticks
        else:
            self._frame_ticks = ticks - after
        with self._errors_named():
            self._encode_waiting()
            if self._sound is not None:
                self._sound.mux_until(time_seconds)
        self._waiting = frame

    def __exit__(self, exc_type, exc_value, traceback) -> None:
        """Completes the file, or removes it after an exception; ``MediaError`` if that fails or there is no frame."""
        if exc_type is not None:
            self._abandon()
            return
        try:
            if self._waiting is None:
                raise MediaError(f"{self._path}: cannot be written without a frame. Write at least one.")
            with self._errors_named():
                self._end_video()
                if self._sound is not None:
                    self._sound.finish()
                self._container.close()
                os.replace(self._partial, self._path)
        except BaseException:
            self._abandon()
            raise

    def _open(self) -> None:
        self._container = av.open(f"file:{self._partial}", "w", format="mp4", options=MUXER_OPTIONS)
        self._container.metadata["comment"] = COMMENT
        height, width, _ = self._shape
        self._video = self._container.add_stream(
            "libx264",
            width=width + width % 2,
            height=height + height % 2,
            time_base=Fraction(1, TICKS_PER_SECOND),
            options=self._options,
        )
        context = self._video.codec_context
        context.pix_fmt = "yuv420p"
        context.colorspace = self._space.matrix
        context.color_primaries, context.color_trc = self._space.primaries, self._space.transfer
        context.color_range = LIMITED_RANGE
        context.flags |= CodecFlags.frame_duration  # otherwise the last frame lasts 1/24 s
        if self._source is not None:
            self._sound = SourceSound(self._source, self._container)

    def _to_frame(self, image: np.ndarray | YuvPicture) -> av.VideoFrame:
        height, width, _ = self._shape
        if isinstance(image, YuvPicture):
            if image.space == self._space:
                return self._tagged(image.frame)
            with image.region((0, 0, width, height)) as rgb:
                image = rgb.copy()
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"),
            format="yuv420p",
            dst_colorspace=f"itu{self._space.weights(height)}",
            dst_color_range="MPEG",
        )
        return self._tagged(frame)

    def _tagged(self, frame: av.VideoFrame) -> av.VideoFrame:
        frame.colorspace, frame.color_range = self._space.matrix, LIMITED_RANGE
        frame.color_primaries, frame.color_trc = self._space.primaries, self._space.transfer
        return frame

    def _encode_waiting(self) -> None:
        if self._waiting is not None:
            self._mux(self._encode(self._waiting, self._frame_ticks))

    def _encode(self, frame: av.VideoFrame | None, duration: int = 0) -> list[av.Packet]:
        if frame is not None:
            frame.duration = duration
        return self._video.encode(frame)

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if self._first is None:
                self._first = packet.dts
            self._container.mux(packet)

    def _end_video(self) -> None:
        """Writes the last frames, so that the video lasts as long as its source."""
        end = self._source and self._source.video_end_seconds
        if end is not None:  # the gap before the last frame says nothing of how long it is shown
            self._frame_ticks = max(1, round(end * TICKS_PER_SECOND) - self._waiting.pts)
        end = self._waiting.pts + self._frame_ticks
        packets = [*self._encode(self._waiting, self._frame_ticks), *self._encode(None)]
        self._mux(packets[:-1])
        # In MP4 a frame lasts until the next one's decoding time, and the last one to be decoded need not be the last
        # to be shown.
        last = packets[-1]
        begun = last.dts if self._first is None else self._first
        last.duration = end - self._start - (last.dts - begun)
        self._mux([last])

    def _abandon(self) -> None:
        """Closes and deletes the unfinished file; further errors are only logged."""
        try:
            if self._container is not None:
                self._container.close()
        except (av.FFmpegError, OSError) as error:
            logger.debug("%s: %s", self._partial, error)
        self._partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Turns errors of FFmpeg or the system into a ``MediaError`` that names the output."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise MediaError(
                f"{self._path}: could not be written ({error.strerror}). Check the free disk space."
            ) from error
