"""Random variation of voices by audiomentations, for training only: pitch, tempo, noise.

The draws come from a generator of our own, since audiomentations draws from global state, which threads share: its
transforms get frozen parameters.
"""

from dataclasses import dataclass

import numpy as np
from audiomentations import AddGaussianSNR, PitchShift, TimeStretch

MAX_SEMITONES = 2.0
MIN_RATE, MAX_RATE = 0.85, 1.18
MIN_SNR_DB, MAX_SNR_DB = 8.0, 40.0


@dataclass(frozen=True)
class VoiceVariation:
    """One draw of what to do to a voice.

    Attributes:
        semitones: pitch shift; 0 for none.
        rate: tempo, above 1 for faster.
        snr_db: level of the voice above added white noise; None for no noise.
        noise_seed: of that noise.
    """

    semitones: float
    rate: float
    snr_db: float | None
    noise_seed: int


def draw_variation(rng: np.random.Generator) -> VoiceVariation:
    """Draws a variation; each kind of change happens to about half of the clips."""
    return VoiceVariation(
        semitones=float(rng.uniform(-MAX_SEMITONES, MAX_SEMITONES)) if rng.random() < 0.5 else 0.0,
        rate=float(np.exp(rng.uniform(np.log(MIN_RATE), np.log(MAX_RATE)))) if rng.random() < 0.5 else 1.0,
        snr_db=float(rng.uniform(MIN_SNR_DB, MAX_SNR_DB)) if rng.random() < 0.5 else None,
        noise_seed=int(rng.integers(2**32)),
    )


def vary_voice(samples: np.ndarray, sample_rate: int, variation: VoiceVariation, n_samples: int) -> np.ndarray:
    """Applies a variation to a stretch of voice.

    Args:
        samples: mono float32; about ``n_samples * variation.rate`` samples, since the change of tempo scales them.
        sample_rate: in Hz.
        variation: what to do.
        n_samples: length of the result, which is cut or filled with silence at its end.

    Returns:
        ``(n_samples,)`` float32.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if variation.rate != 1.0 and len(samples):
        stretch = TimeStretch(MIN_RATE, MAX_RATE, leave_length_unchanged=False, p=1.0)
        samples = _apply(stretch, samples, sample_rate, rate=variation.rate)
    samples = np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))
    if variation.semitones:
        shift = PitchShift(-MAX_SEMITONES, MAX_SEMITONES, p=1.0)
        samples = _apply(shift, samples, sample_rate, num_semitones=variation.semitones)
    if variation.snr_db is not None:
        voice = float(np.sqrt(np.mean(np.square(samples))))
        noise = _SeededNoise(variation.noise_seed)
        samples = _apply(noise, samples, sample_rate, noise_std=voice * 10 ** (-variation.snr_db / 20))
    return np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples)))).astype(np.float32)


def mask_time(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hides a stretch of a picture of sound behind each row's mean (SpecAugment, Park et al. 2019).

    Args:
        picture: ``(n_mfcc or n_mels, n_steps, 1)``.
        rng: source of the draw of up to a fifth of the steps.

    Returns:
        A new array of the same shape.
    """
    n_steps = picture.shape[1]
    length = int(rng.integers(0, n_steps // 5 + 1))
    start = int(rng.integers(0, n_steps - length + 1))
    masked = picture.copy()
    masked[:, start : start + length] = picture.mean(axis=1, keepdims=True)
    return masked


class _SeededNoise(AddGaussianSNR):
    """audiomentations' white noise, from a generator of its own instead of NumPy's global one."""

    def __init__(self, seed: int):
        super().__init__(MIN_SNR_DB, MAX_SNR_DB, p=1.0)
        self.seed = seed

    def apply(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal(samples.shape, dtype=np.float32)
        return samples + noise * np.float32(self.parameters["noise_std"])


def _apply(transform, samples: np.ndarray, sample_rate: int, **parameters: float) -> np.ndarray:
    transform.parameters = {"should_apply": True, **parameters}
    transform.freeze_parameters()
    return transform(samples, sample_rate)
