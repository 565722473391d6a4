"""What reading and writing share: a file's packets and frames, its clock, and gapless sound."""

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from emotion.errors import MediaError
from emotion.media.mp3 import holds_frame

logger = logging.getLogger(__name__)

MAX_BACKWARD_SECONDS = 1.0  # a timestamp that goes back further than this restarts the clock
MAX_FORWARD_SECONDS = 3600.0  # so does a larger jump ahead: no pause is that long, but damaged clocks jump by days
GAP_SECONDS = 0.05  # smaller differences between timestamps and sample counts come from rounding
LOUDEST_SAMPLE = 1e6  # of full scale, 1; some files of floats hold integers
MAX_READ_FAILURES = 20  # in a row, before the rest of a damaged file is skipped
# On files that it misreads PyAV raises not only FFmpeg's errors: a stream that begins midway is an IndexError. Our own
# errors are of these kinds, too, so they are caught around calls into PyAV only.
FAULTS = (
    av.FFmpegError, OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError,
    AssertionError, MemoryError,
)  # fmt: skip
# Decoders that are used instead of FFmpeg's own, which cannot decode silence in AMR.
BETTER_DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
# Formats whose header is checked by itself: FFmpeg calls the last packet corrupt wherever it reads to the end.
CHECKED_FORMATS = ("wav", "w64")
JOINT_PACKETS = 2  # from one that FFmpeg calls corrupt to the first picture of the next recording


class DecodingError(MediaError):
    """PyAV could not read, decode or convert part of a file."""


@contextlib.contextmanager
def calling_pyav() -> Iterator[None]:
    """Turns whatever PyAV raises inside the block into ``DecodingError``; let the block hold its calls alone."""
    try:
        yield
    except FAULTS as error:
        raise DecodingError(words_of(error)) from error


class Damage:
    """Warns once that a file is damaged, and counts what could not be decoded.

    ``is_silent`` leaves the warning to the caller, who finds the first complaint in ``words``.
    """

    def __init__(self, path: str | os.PathLike, *, is_silent: bool = False):
        self.path = path
        self.is_silent = is_silent
        self.count = 0
        self.words = ""  # the first complaint, in brackets, for a message
        self.doubt = ""  # why something may be missing, though nothing shows it

    def note(self, words: object, *, explains: bool = False) -> None:
        """Counts a complaint; ``explains`` says that its words are better than a decoder's."""
        self.count += 1
        self.words = f" ({words})" if explains else self.words or f" ({words})"
        level = logging.WARNING if self.count == 1 and not self.is_silent else logging.DEBUG
        logger.log(level, "%s: damaged (%s); going on with what can be decoded.", self.path, words)

    @contextlib.contextmanager
    def noting_faults(self) -> Iterator[None]:
        """Notes a ``DecodingError`` raised inside the block, and goes on after it."""
        try:
            yield
        except DecodingError as error:
            self.note(error)


def words_of(error: BaseException) -> str:
    """Returns what an error of PyAV or the system says, without its number and file."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class StreamClock:
    """Turns one stream's timestamps into seconds on the file's clock, and corrects impossible jumps."""

    def __init__(self, stream, origin: Fraction):
        self._time_base = stream.time_base
        self._origin = origin
        self._shift = 0.0
        self._last = 0.0
        self.end_seconds: float | None = None  # of all frames so far

    def place(self, pts: int | None, duration_seconds: float) -> float:
        """Returns the second at which a frame begins; without a timestamp, it follows the frame before it."""
        time = self.end_seconds or 0.0
        if pts is not None:
            time = float(pts * self._time_base - self._origin) + self._shift
            if self.end_seconds is not None and not (
                self._last - MAX_BACKWARD_SECONDS <= time <= self.end_seconds + MAX_FORWARD_SECONDS
            ):
                self._shift += self.end_seconds - time
                time = self.end_seconds
        self._last = time
        self.end_seconds = time + duration_seconds
        return time


def first_presentation_time(container) -> Fraction:
    """Returns the container's first presentation time in seconds: second 0 of every time in this package."""
    return Fraction(container.start_time or 0, av.time_base)


def read_packets(container, streams, damage: Damage) -> Iterator:
    """Yields the streams' packets in file order, without those that cannot be read."""
    failures = 0 if streams else MAX_READ_FAILURES  # to PyAV an empty list means every stream
    gaps = _Gaps(container, damage)
    packets = None
    while failures < MAX_READ_FAILURES:
        try:
            packets = packets or container.demux(streams)
            packet = next(packets, None)
        except IndexError:  # PyAV's, at the end of a file in which a further stream began midway
            failures, packets = failures + 1, None
            continue
        except FAULTS as error:
            failures, packets = failures + 1, None
            damage.note(words_of(error))
            continue
        if packet is None:
            break
        failures = 0
        gaps.watch(packet)
        # An empty packet ends the decoder, and some files have one midway.
        if packet.size and not (container.format.name == "mp3" and not holds_frame(bytes(packet))):
            yield packet
    gaps.finish()


class _Gaps:
    """Notes packets that FFmpeg calls corrupt, because part of them is missing; and frames missing from FLAC.

    In a transport stream FFmpeg sees that from each track's count of packets. Where recordings were joined, the count
    begins anew though nothing is missing: one of the last packets before that place is called corrupt, and a picture
    follows that needs none before it.
    """

    def __init__(self, container, damage: Damage):
        name = container.format.name
        is_open = name == "caf" and not any(stream.frames for stream in container.streams)  # written into a pipe
        self._is_told = name not in CHECKED_FORMATS and not is_open
        self._may_be_joined = name == "mpegts"
        self._is_gapless = name == "flac"
        self._end: int | None = None  # of the last packet
        self._damage = damage
        self._doubtful: dict[int, int] = {}  # by track, in how many packets such a picture may still come

    def watch(self, packet) -> None:
        if self._is_gapless and packet.size:
            if self._end is not None and packet.pts != self._end:
                self._damage.note("a part of its sound is missing or cannot be read", explains=True)
            self._end = None if packet.pts is None else packet.pts + (packet.duration or 0)
        if self._doubtful and packet.stream_index in self._doubtful:
            self._doubtful[packet.stream_index] -= 1
            if packet.is_keyframe:
                del self._doubtful[packet.stream_index]
            elif not self._doubtful[packet.stream_index]:
                self._note(packet.stream_index)
        if packet.is_corrupt and self._is_told:
            self._doubtful[packet.stream_index] = JOINT_PACKETS
            if not (self._may_be_joined and packet.stream.type == "video"):
                self._note(packet.stream_index)

    def finish(self) -> None:
        for index in list(self._doubtful):
            self._note(index)

    def _note(self, index: int) -> None:
        del self._doubtful[index]
        self._damage.note("a packet is incomplete")


class Decoder:
    """Decodes one stream; ``damage`` collects what cannot be decoded."""

    def __init__(self, stream, damage: Damage):
        self.stream, self._damage = stream, damage
        self._context = _better_context(stream.codec_context) or stream.codec_context
        # Threads would lose what is wrong with the last packet of a sound.
        self._context.thread_type = "AUTO" if stream.type == "video" else "NONE"

    def decode(self, packet) -> list:
        """Returns the frames that a packet completes, or for None those still in the decoder; none if it is damaged."""
        try:
            return self._context.decode(packet)
        except FAULTS as error:
            self._damage.note(words_of(error))
            return []


def _better_context(context) -> av.CodecContext | None:
    name = BETTER_DECODERS.get(context.name)
    if name is None:
        return None
    try:
        better = av.CodecContext.create(name, "r")
    except FAULTS:  # FFmpeg was built without it
        return None
    better.sample_rate, better.layout = context.sample_rate, context.layout
    return better


def decode_streams(
    container, streams, damage: Damage, *, max_packets: int | None = None, shared=None
) -> Iterator[tuple]:
    """Yields ``(stream, frame)`` in file order, without packets that cannot be decoded.

    ``shared``, a ``SharedSource``, gets the packets of its sound.
    """
    sound = shared.audio if shared is not None else None
    decoders = {stream: Decoder(stream, damage) for stream in streams}
    wanted = streams if sound is None else [*streams, sound]
    for packet in itertools.islice(read_packets(container, wanted, damage), max_packets):
        if packet.stream is sound:
            shared.put(packet)
        else:
            yield from ((packet.stream, frame) for frame in decoders[packet.stream].decode(packet))
    for stream, decoder in decoders.items():
        yield from ((stream, frame) for frame in decoder.decode(None))


def seconds_of(frame) -> float:
    """Returns how long a frame of sound lasts; damaged ones may state no rate."""
    return frame.samples / frame.sample_rate if frame.sample_rate else 0.0


def interleave(frame):
    """Returns a frame of sound whose channels take turns, which PyAV turns into an array without a crash.

    It crashes on eight planes or more.
    """
    if not frame.format.is_planar:
        return frame
    frame.pts = None
    with calling_pyav():
        (interleaved,) = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate).resample(frame)
    return interleaved


class ContinuousSound:
    """Joins decoded audio frames into one signal of one sample rate and channel layout, without gaps.

    Gaps between frames become silence and overlaps are cut, so that sample ``index`` sounds at ``index / sample_rate``
    seconds.

    Args:
        sample_rate: in Hz.
        layout: of the channels; None keeps each frame's own.
    """

    def __init__(self, sample_rate: int, layout: str | None):
        self.sample_rate = sample_rate
        self.layout = layout
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple | None = None  # format, layout and rate that the resampler takes
        self._input_end = 0.0  # seconds, counted in samples pushed
        self._position = 0  # index of the next sample out of the resampler
        self._given: int | None = None  # index of the next sample to yield

    def push(self, frame, time_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
        """Takes a decoded frame and the second at which it begins.

        Yields ``(index, samples)``: float32 samples ``(n_channels, n_samples)`` and the index of the first. Sound
        before second 0 is cut.
        """
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind or abs(time_seconds - self._input_end) > GAP_SECONDS:
            yield from self.flush()
            self._kind = kind
            # Without this option, mixing down a loud stereo or 5.1 recording would exceed 1.
            with calling_pyav():
                self._resampler = av.AudioResampler(
                    "flt", self.layout or frame.layout, self.sample_rate, options={"rematrix_maxval": "1.0"}
                )
            self._input_end = time_seconds
            self._position = round(time_seconds * self.sample_rate)
            if self._given is None:
                self._given = max(0, self._position)
        self._input_end += seconds_of(frame)
        frame.pts = None  # samples are counted here; timestamp jitter upsets the resampler
        yield from self._give(_resample(self._resampler, frame))

    def flush(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the rest in the resampler, as ``push`` does."""
        if self._resampler is not None:
            resampler, self._resampler, self._kind = self._resampler, None, None
            yield from self._give(_resample(resampler, None))

    def _give(self, blocks: list[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        for block in blocks:
            # Files of floats may hold any value.
            samples = np.nan_to_num(block, posinf=0.0, neginf=0.0).clip(-LOUDEST_SAMPLE, LOUDEST_SAMPLE)
            start, self._position = self._position, self._position + samples.shape[1]
            samples = samples[:, max(0, self._given - start) :]
            while self._given < start:
                silence = np.zeros((samples.shape[0], min(self.sample_rate, start - self._given)), np.float32)
                yield self._given, silence
                self._given += silence.shape[1]
            if samples.shape[1]:
                yield self._given, samples
                self._given += samples.shape[1]


def _resample(resampler: av.AudioResampler, frame) -> list[np.ndarray]:
    """Returns blocks ``(n_channels, n_samples)``; they come interleaved, as PyAV crashes on eight planes or more."""
    with calling_pyav():
        return [
            each.to_ndarray().reshape(each.samples, each.layout.nb_channels).T for each in resampler.resample(frame)
        ]
