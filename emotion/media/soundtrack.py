"""Gives the source's sound to a new video: AAC is copied, everything else is encoded as AAC.

AAC is copied only from containers that state its setup once. In others, such as transport streams, rate and channels
may change midway, which MP4 cannot hold, so it is encoded anew.
"""

import collections
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from emotion.media import streams
from emotion.media.opening import SharedSource

AAC_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 5: "5.0", 6: "5.1", 8: "7.1"}  # others are mixed down to stereo
FORMATS_WITH_ONE_SETUP = ("mov", "matroska")
AAC_BITS_PER_CHANNEL = 96_000  # a second
MAX_PRIMING_SECONDS = 0.2  # sound before second 0, which a decoder may need to start


class SourceSound:
    """Muxes a source file's sound into an output, in step with its video."""

    def __init__(self, source: SharedSource, output):
        self._source, self._output, self._stream = source, output, source.audio
        self._ready: collections.deque = collections.deque()  # packets of the output
        if self._stream is None:
            return
        # Damage was reported when the frames were read.
        self._damage = streams.Damage(source.path, is_silent=True)
        self._clock = streams.StreamClock(self._stream, streams.first_presentation_time(source.container))
        context = self._stream.codec_context
        self._is_copied = (
            context.name == "aac"
            and bool(context.extradata)
            and source.container.format.name.startswith(FORMATS_WITH_ONE_SETUP)
        )
        if self._is_copied:
            self._target = output.add_stream_from_template(self._stream)
            self._last = -round(MAX_PRIMING_SECONDS / self._stream.time_base)
            return
        self._decoder = streams.Decoder(self._stream, self._damage)
        self._loudest = 1.0  # sample so far
        self._rate = min(AAC_SAMPLE_RATES, key=lambda choice: abs(choice - context.sample_rate))
        self._layout = AAC_LAYOUTS.get(context.channels, "stereo")
        n_channels = av.AudioLayout(self._layout).nb_channels
        self._target = output.add_stream(
            "aac", rate=self._rate, layout=self._layout, bit_rate=AAC_BITS_PER_CHANNEL * n_channels
        )
        self._sound = streams.ContinuousSound(self._rate, self._layout)

    def mux_until(self, time_seconds: float) -> None:
        """Muxes the packets that begin up to a moment, which keeps sound and video close in the file."""
        while True:
            while self._ready and self._ready[0].pts * self._ready[0].time_base <= time_seconds:
                self._output.mux(self._ready.popleft())
            packet = None if self._ready else self._source.take()
            if packet is None:
                return
            self._ready.extend(self._copy(packet) if self._is_copied else self._encode(packet))

    def finish(self) -> None:
        """Muxes the rest, after the source was read to its end."""
        self.mux_until(float("inf"))
        if self._stream is not None and not self._is_copied:
            self._output.mux([*self._encode(None)])
            with self._damage.noting_faults():
                rest = [*self._encode_samples(self._sound.flush())]
                self._output.mux(rest)
            self._output.mux(self._target.encode(None))

    def _copy(self, packet) -> Iterator[av.Packet]:
        time_base = self._stream.time_base
        seconds = self._place(packet.pts, float((packet.duration or 0) * time_base))
        if seconds is None:
            return
        packet.pts = packet.dts = round(seconds / time_base)
        if packet.pts > self._last:  # MP4 takes rising times only
            self._last = packet.pts
            packet.stream = self._target
            yield packet

    def _encode(self, packet) -> Iterator[av.Packet]:
        for frame in self._decoder.decode(packet):
            with self._damage.noting_faults():
                time = self._place(frame.pts, streams.seconds_of(frame))
                if time is not None:
                    yield from self._encode_samples(self._sound.push(frame, time))

    def _place(self, pts: int | None, duration_seconds: float) -> float | None:
        """Returns when sound begins in the output; None if it lies outside the part that is written."""
        time = self._clock.place(pts, duration_seconds)
        start, end = self._source.start_seconds, self._source.end_seconds
        is_outside = time >= end or (start > 0 and time + duration_seconds <= start)
        return None if is_outside else time - start

    def _encode_samples(self, blocks) -> Iterator[av.Packet]:
        for index, samples in blocks:
            # Files of floats may exceed full scale, where AAC is cut off.
            self._loudest = max(self._loudest, float(np.abs(samples).max()))
            interleaved = np.ascontiguousarray((samples / self._loudest).T).reshape(1, -1)  # PyAV takes few planes
            frame = av.AudioFrame.from_ndarray(interleaved, "flt", self._layout)
            frame.sample_rate = self._rate
            frame.pts = index
            frame.time_base = Fraction(1, self._rate)
            yield from self._target.encode(frame)
