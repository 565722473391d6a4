"""Augmentation of voices, for training only: pitch, tempo, room, microphone, noise, level and codec.

Pitch and tempo are audiomentations', the rest is computed here. Pitch and tempo take most of a batch's time, so one
pass changes both. audiomentations draws from global state, which threads share; so the draws are made here, and its
transforms get frozen parameters.
"""

from dataclasses import dataclass, replace

import numpy as np
import python_stretch
import scipy.signal
from audiomentations import TimeStretch

from emotion.inputs.voice.codecs import CODECS, available_codecs, pass_codec

MAX_SEMITONES = 2.0
MIN_RATE, MAX_RATE = 0.85, 1.18
# Spectra of the time stretch: a quarter fewer than Signalsmith's default, with equally accurate pitch.
STRETCH_FRAME_SECONDS, STRETCH_HOP_SECONDS = 0.12, 0.04
MIN_SNR_DB, MAX_SNR_DB = 8.0, 40.0
# The power of noise falls with frequency to this power: 0 for white, 1 for pink, 2 for brown, like traffic.
MAX_NOISE_SLOPE = 2.0
NOISE_FLOOR_HZ = 50.0  # below it, noise is as loud as there
# Of the loudest sample below full scale; above 0 the loudest ones are clipped.
MIN_PEAK_DB, MAX_PEAK_DB = -36.0, 6.0
# From a furnished room to a hall: the reverberation time (by 60 dB), and the room's level relative to the voice.
MIN_REVERBERATION_SECONDS, MAX_REVERBERATION_SECONDS = 0.1, 0.8
MIN_ROOM_DB, MAX_ROOM_DB = -15.0, 3.0
# A microphone's response is a smooth curve through gains at octaves.
RESPONSE_HZ = (60.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
RESPONSE_DEVIATION_DB = 4.0


@dataclass(frozen=True)
class VoiceVariation:
    """One random draw.

    Attributes:
        semitones: pitch shift; 0 for none.
        rate: tempo, above 1 for faster.
        snr_db: level of the voice above added noise; None for no noise.
        noise_seed: for the noise and the room's echoes.
        reverberation_seconds: time in which echoes fall by 60 dB; None for no room.
        room_db: level of the echoes relative to the voice.
        response_db: the microphone's gain at each of ``RESPONSE_HZ``; None for a flat response.
        noise_slope: 0 for white noise, up to ``MAX_NOISE_SLOPE``.
        peak_db: level of the loudest sample; None to keep the level.
        codec, bit_rate: what the voice is sent through last, as in ``pass_codec``; None for none.
    """

    semitones: float
    rate: float
    snr_db: float | None
    noise_seed: int
    reverberation_seconds: float | None = None
    room_db: float = 0.0
    response_db: tuple[float, ...] | None = None
    noise_slope: float = 0.0
    peak_db: float | None = None
    codec: str | None = None
    bit_rate: int | None = None


def draw_voice_variation(rng: np.random.Generator) -> VoiceVariation:
    """Draws a variation; each kind of change affects about half of the clips."""
    variation = VoiceVariation(
        semitones=float(rng.uniform(-MAX_SEMITONES, MAX_SEMITONES)) if rng.random() < 0.5 else 0.0,
        rate=float(np.exp(rng.uniform(np.log(MIN_RATE), np.log(MAX_RATE)))) if rng.random() < 0.5 else 1.0,
        snr_db=float(rng.uniform(MIN_SNR_DB, MAX_SNR_DB)) if rng.random() < 0.5 else None,
        noise_seed=int(rng.integers(2**32)),
        reverberation_seconds=(
            float(rng.uniform(MIN_REVERBERATION_SECONDS, MAX_REVERBERATION_SECONDS)) if rng.random() < 0.4 else None
        ),
        room_db=float(rng.uniform(MIN_ROOM_DB, MAX_ROOM_DB)),
        response_db=(
            tuple(rng.normal(0, RESPONSE_DEVIATION_DB, len(RESPONSE_HZ)).tolist()) if rng.random() < 0.5 else None
        ),
        noise_slope=float(rng.uniform(0, MAX_NOISE_SLOPE)),
        peak_db=float(rng.uniform(MIN_PEAK_DB, MAX_PEAK_DB)) if rng.random() < 0.5 else None,
    )
    codecs = available_codecs()
    if not codecs or rng.random() >= 0.5:
        return variation
    codec = codecs[int(rng.integers(len(codecs)))]
    rates = CODECS[codec].bit_rates
    return replace(variation, codec=codec, bit_rate=rates[int(rng.integers(len(rates)))] if rates else None)


def vary_voice(samples: np.ndarray, sample_rate: int, variation: VoiceVariation, n_samples: int) -> np.ndarray:
    """Applies a variation to mono float32 samples; the result has ``n_samples``, cut or filled with silence.

    Give about ``n_samples * variation.rate`` samples, because the change of tempo scales their number.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if (variation.rate != 1.0 or variation.semitones) and len(samples):
        samples = _apply(_TempoAndPitch(variation.semitones), samples, sample_rate, rate=variation.rate)
    samples = np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))
    if variation.reverberation_seconds is not None or variation.response_db is not None:
        samples = _place(samples, sample_rate, variation)
    if variation.snr_db is not None:
        samples = samples + _make_noise(samples, sample_rate, variation)
    if variation.peak_db is not None:
        peak = float(np.abs(samples).max(initial=0.0))
        samples = np.clip(samples * (10 ** (variation.peak_db / 20) / max(peak, 1e-9)), -1, 1)
    if variation.codec is not None:
        samples = pass_codec(samples, sample_rate, variation.codec, variation.bit_rate)
    return np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples)))).astype(np.float32)


def mask_time(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns features ``(n_rows, n_steps, 1)`` with up to a fifth of the steps masked by each row's mean.

    SpecAugment's time masking (Park et al. 2019).
    """
    n_steps = features.shape[1]
    length = int(rng.integers(0, n_steps // 5 + 1))
    start = int(rng.integers(0, n_steps - length + 1))
    masked = features.copy()
    masked[:, start : start + length] = features.mean(axis=1, keepdims=True)
    return masked


def _place(samples: np.ndarray, sample_rate: int, variation: VoiceVariation) -> np.ndarray:
    """Adds a room and a microphone's response, and keeps the loudness.

    The room's echoes are white noise that decays exponentially (Polack's model, 1988).
    """
    impulse = np.ones(1)
    if variation.reverberation_seconds is not None:
        times = np.arange(round(variation.reverberation_seconds * sample_rate)) / sample_rate
        echoes = np.random.default_rng(variation.noise_seed).standard_normal(len(times))
        echoes *= 10 ** (-3 * times / variation.reverberation_seconds)
        echoes *= 10 ** (variation.room_db / 20) / max(float(np.linalg.norm(echoes)), 1e-9)
        echoes[0] += 1
        impulse = echoes
    if variation.response_db is not None:
        frequencies = np.fft.rfftfreq(512, 1 / sample_rate)
        octaves = np.log2(np.maximum(frequencies, RESPONSE_HZ[0]))
        gains = 10 ** (np.interp(octaves, np.log2(RESPONSE_HZ), variation.response_db) / 20)
        response = np.fft.fftshift(np.fft.irfft(gains)) * np.hanning(512)
        # A zero-phase filter is centred on its middle, and mode "same" keeps the voice in time.
        placed = scipy.signal.oaconvolve(samples, response, mode="same")
    else:
        placed = samples
    placed = scipy.signal.oaconvolve(placed, impulse)[: len(samples)]
    before, after = (float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for x in (samples, placed))
    return (placed * (before / max(after, 1e-12))).astype(np.float32)


class _TempoAndPitch(TimeStretch):
    """audiomentations' change of tempo; its engine changes the pitch in the same pass."""

    def __init__(self, semitones: float):
        super().__init__(MIN_RATE, MAX_RATE, leave_length_unchanged=False, p=1.0)
        self.semitones = semitones

    def apply(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        stretch = python_stretch.Signalsmith.Stretch()
        stretch.configure(1, round(STRETCH_FRAME_SECONDS * sample_rate), round(STRETCH_HOP_SECONDS * sample_rate))
        stretch.setTransposeSemitones(self.semitones)
        stretch.setTimeFactor(self.parameters["rate"])
        return stretch.process(samples[None])[0]


def _make_noise(samples: np.ndarray, sample_rate: int, variation: VoiceVariation) -> np.ndarray:
    """Returns noise ``(n_samples,)`` of the variation's level and slope."""
    white = np.random.default_rng(variation.noise_seed).standard_normal(len(samples))
    frequencies = np.maximum(np.fft.rfftfreq(len(samples), 1 / sample_rate), NOISE_FLOOR_HZ)
    noise = np.fft.irfft(np.fft.rfft(white) * frequencies ** (-variation.noise_slope / 2), len(samples))
    voice, loudness = (float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for x in (samples, noise))
    return noise * (voice * 10 ** (-variation.snr_db / 20) / max(loudness, 1e-12))


def _apply(transform, samples: np.ndarray, sample_rate: int, **parameters: float) -> np.ndarray:
    transform.parameters = {"should_apply": True, **parameters}
    transform.freeze_parameters()
    return transform(samples, sample_rate)
