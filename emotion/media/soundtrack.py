"""The sound of a source file, as packets ready to be muxed beside a new picture: AAC is copied, all else encoded."""

import os
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from emotion.media import streams

AAC_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 5: "5.0", 6: "5.1", 8: "7.1"}  # others are mixed down to stereo
AAC_BITS_PER_CHANNEL = 96_000  # a second
MAX_PRIMING_SECONDS = 0.2  # of sound before second 0 that a decoder may need to warm up


class SourceSound:
    """The sound of a source file, muxed into an output in step with its picture."""

    def __init__(self, source_path: str | os.PathLike, output):
        self._output = output
        self._source = streams.open_media(source_path)
        # Who reads the pictures has told of any damage.
        self._damage = streams.Damage(source_path, is_silent=True)
        self._origin = streams.first_presentation_time(self._source)
        _, self._stream = streams.pick_streams(self._source)
        self._packets = iter(())
        if self._stream is not None:
            is_aac = self._stream.codec_context.name == "aac"
            self._packets = self._copied() if is_aac else self._encoded()
        self._next = next(self._packets, None)

    def mux_until(self, time_seconds: float) -> None:
        """Muxes the packets that begin up to a moment, so that neither stream runs far ahead of the other."""
        while self._next is not None and self._next.pts * self._next.time_base <= time_seconds:
            self._output.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._source.close()

    def _copied(self) -> Iterator[av.Packet]:
        target = None
        time_base = self._stream.time_base
        clock = streams.StreamClock(self._stream, self._origin)
        last = -round(MAX_PRIMING_SECONDS / time_base)
        for packet in streams.read_packets(self._source, [self._stream], self._damage):
            seconds = clock.place(packet.pts, float((packet.duration or 0) * time_base))
            packet.pts = packet.dts = round(seconds / time_base)
            if packet.pts > last:  # MP4 takes rising times only
                last = packet.pts
                target = target or self._output.add_stream_from_template(self._stream)
                packet.stream = target
                yield packet

    def _encoded(self) -> Iterator[av.Packet]:
        context = self._stream.codec_context
        rate = min(AAC_SAMPLE_RATES, key=lambda choice: abs(choice - context.sample_rate))
        layout = AAC_LAYOUTS.get(context.channels, "stereo")
        n_channels = av.AudioLayout(layout).nb_channels
        target = self._output.add_stream("aac", rate=rate, layout=layout, bit_rate=AAC_BITS_PER_CHANNEL * n_channels)
        clock = streams.StreamClock(self._stream, self._origin)
        sound = streams.ContinuousSound(rate, layout)

        def encode(blocks):
            for index, samples in blocks:
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
                frame.sample_rate = rate
                frame.pts = index
                frame.time_base = Fraction(1, rate)
                yield from target.encode(frame)

        for _, frame in streams.decode_streams(self._source, [self._stream], self._damage):
            time = clock.place(frame.pts, frame.samples / frame.sample_rate)
            yield from encode(sound.push(frame, time))
        yield from encode(sound.flush())
        yield from target.encode(None)
