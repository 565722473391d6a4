"""Speech through a lossy codec and back, in memory. For training only: voices reach you by telephone and messenger.

Of a codec nothing but its packets is used; there is no file. What comes out is late by the codec's delay, at most
0.1 s.
"""

from dataclasses import dataclass
from math import gcd

import av
import numpy as np
import scipy.signal


@dataclass(frozen=True)
class Codec:
    """How one codec is used.

    Attributes:
        encoder, decoder: FFmpeg's names.
        sample_rate: that it is given.
        sample_format: that its encoder takes: ``s16``, ``s16p``.
        bit_rates: that are drawn from, in bits a second; empty for a codec that has but one.
        band_hz: what passes a telephone's filter before it; None for all.
    """

    encoder: str
    decoder: str
    sample_rate: int
    sample_format: str = "s16"
    bit_rates: tuple[int, ...] = ()
    band_hz: tuple[float, float] | None = None


TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712
CODECS = {
    "opus": Codec("libopus", "libopus", 16000, bit_rates=(8000, 12000, 16000, 24000, 32000)),
    "mp3": Codec("libmp3lame", "mp3float", 16000, "s16p", bit_rates=(16000, 24000, 32000, 48000, 64000)),
    "amr": Codec("libopencore_amrnb", "amrnb", 8000, bit_rates=(4750, 5900, 7400, 10200, 12200)),
    "telephone": Codec("pcm_mulaw", "pcm_mulaw", 8000, band_hz=TELEPHONE_HZ),
}
PCM_FRAME = 160  # samples, for codecs that take any number


def available_codecs() -> tuple[str, ...]:
    """Returns the names in ``CODECS`` whose encoder and decoder this build of FFmpeg has."""
    return tuple(
        name
        for name, codec in CODECS.items()
        if codec.encoder in av.codecs_available and codec.decoder in av.codecs_available
    )


def pass_codec(samples: np.ndarray, sample_rate: int, name: str, bit_rate: int | None) -> np.ndarray:
    """Encodes and decodes mono float32 samples; the result has as many.

    Args:
        samples: ``(n_samples,)`` in [-1, 1]; louder ones are clipped, as a converter does.
        name: one of ``CODECS``.
        bit_rate: one of the codec's; None if it has none.
    """
    codec, n_samples = CODECS[name], len(samples)
    if not n_samples:
        return samples
    coded = _resample(samples, sample_rate, codec.sample_rate)
    if codec.band_hz is not None:
        filters = scipy.signal.butter(4, codec.band_hz, "bandpass", fs=codec.sample_rate, output="sos")
        coded = scipy.signal.sosfilt(filters, coded)
    decoded = _decode(codec, _encode(codec, coded, bit_rate))
    back = _resample(decoded, codec.sample_rate, sample_rate)[:n_samples]
    return np.pad(back, (0, n_samples - len(back))).astype(np.float32)


def _encode(codec: Codec, samples: np.ndarray, bit_rate: int | None) -> tuple[list[av.Packet], bytes | None]:
    encoder = av.CodecContext.create(codec.encoder, "w")
    encoder.sample_rate, encoder.format, encoder.layout = codec.sample_rate, codec.sample_format, "mono"
    if bit_rate is not None:
        encoder.bit_rate = bit_rate
    encoder.open()
    size = encoder.frame_size or PCM_FRAME
    whole = np.pad(samples, (0, -len(samples) % size))
    integers = np.round(np.clip(whole, -1, 1) * 32767).astype(np.int16)
    packets = []
    for start in range(0, len(integers), size):
        frame = av.AudioFrame.from_ndarray(integers[None, start : start + size], codec.sample_format, "mono")
        frame.sample_rate, frame.pts = codec.sample_rate, start
        packets += encoder.encode(frame)
    return packets + encoder.encode(None), encoder.extradata


def _decode(codec: Codec, coded: tuple[list[av.Packet], bytes | None]) -> np.ndarray:
    packets, extradata = coded
    decoder = av.CodecContext.create(codec.decoder, "r")
    decoder.sample_rate, decoder.layout = codec.sample_rate, "mono"
    if extradata:
        decoder.extradata = extradata
    resampler = av.AudioResampler("flt", "mono", codec.sample_rate)
    parts = []
    for packet in [*packets, None]:
        for frame in decoder.decode(packet):
            parts += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    common = gcd(from_rate, to_rate)
    return scipy.signal.resample_poly(samples, to_rate // common, from_rate // common)
