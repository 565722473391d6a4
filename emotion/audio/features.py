"""Pictures of a window's sound: MFCCs (Davis & Mermelstein 1980) and Whisper's log-mel spectra, computed by librosa,
and Kaldi's filter banks as the Audio Spectrogram Transformer takes them.
"""

import functools

import librosa
import numpy as np

from emotion.config import AudioConfig, RunConfig

LEVEL_SECONDS = 0.05
VOICED_RANGE_DB = 35.0
QUIET_PERCENTILE = 10
LOWEST_POWER = 1e-10  # Whisper's, below which digital silence lies
# Kaldi's: the smallest step of a float, and how much of the sample before is taken from each.
LOWEST_BAND = float(np.finfo(np.float32).eps)
PREEMPHASIS = 0.97
# Mean of AudioSet's filter banks and twice their deviation, by which AST's are normalised.
FBANK_MEAN, FBANK_SCALE = -4.2677393, 2 * 4.5689974


def compute_levels_dbfs(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the level of each twentieth of a second that is not digital silence, in decibels below full scale.

    Args:
        samples: mono ``(n_samples,)`` in [-1, 1].
        sample_rate: in Hz.

    Returns:
        ``(n,)`` root mean squares in dBFS.
    """
    size = max(1, round(LEVEL_SECONDS * sample_rate))
    n_blocks = len(samples) // size
    blocks = samples[: n_blocks * size].reshape(n_blocks, size) if n_blocks else samples[None]
    if not blocks.size:
        return np.zeros(0)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    return 10 * np.log10(power[power > 0])


def has_sound(samples: np.ndarray, audio: AudioConfig) -> bool:
    """Whether a window holds any sound to judge: neither silence nor a mere noise floor."""
    levels = compute_levels_dbfs(samples, audio.sample_rate)
    if not len(levels) or levels.max() <= audio.silence_dbfs:
        return False
    if levels.max() > audio.noise_dbfs:
        return True
    return bool(levels.max() - np.percentile(levels, QUIET_PERCENTILE) >= audio.noise_range_db)


def compute_voiced_seconds(samples: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Returns the start and end, in seconds, of the stretch from the first to the last loud moment.

    Loud is what lies within 35 dB of the loudest: speech, without the quiet before and after it.
    """
    size = max(1, round(LEVEL_SECONDS * sample_rate))
    n_blocks = len(samples) // size
    if not n_blocks:
        return 0.0, len(samples) / sample_rate
    power = np.mean(np.square(samples[: n_blocks * size].reshape(n_blocks, size), dtype=np.float64), axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-VOICED_RANGE_DB / 10))
    return loud[0] * size / sample_rate, (loud[-1] + 1) * size / sample_rate


def compute_mfcc(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Computes the MFCC picture of one window.

    The mel spectrum is measured against the window's loudest band, so that the distance to the microphone does not
    count, and floored ``top_db`` below it.

    Args:
        samples: mono ``(window_samples,)`` float32.
        config: sizes and rates.

    Returns:
        ``(n_mfcc, n_steps)`` float32.

    Raises:
        ValueError: if the number of samples is not a window's.
    """
    audio = config.audio
    mel = _compute_mel(samples, config)
    decibels = librosa.power_to_db(mel, ref=np.max, top_db=audio.top_db)
    mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=audio.n_mfcc)
    return mfcc[:, : audio.n_steps].astype(np.float32)


def compute_log_mel(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Computes the log-mel picture of one window as Whisper's encoder takes it (Radford et al. 2022).

    Steps of 25 ms every 10 ms, power in bands on Slaney's mel scale, its decimal logarithm floored ``top_db`` below the
    window's highest, plus 4, over 4. Whisper fills every clip up to 30 s; here the window is taken as it is.

    Args:
        samples: mono ``(window_samples,)`` float32.
        config: sizes and rates.

    Returns:
        ``(n_mels, n_steps)`` float32, where ``n_steps`` follows from the window.

    Raises:
        ValueError: if the number of samples is not a window's.
    """
    n_steps = config.audio_shape[1]
    power = _compute_mel(samples, config, pad_mode="reflect")[:, :n_steps]
    decades = np.log10(np.maximum(power, LOWEST_POWER))
    decades = np.maximum(decades, decades.max() - config.audio.top_db / 10)
    return ((decades + 4) / 4).astype(np.float32)


def compute_fbank(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Computes Kaldi's log-mel filter banks of one window, normalised as AST takes them (Gong et al. 2021).

    Steps of 25 ms every 10 ms that lie within the window, each freed of its mean, with its low frequencies damped and
    its ends faded out (Hann); power in triangles that are even on the mel scale; its natural logarithm. Unlike
    librosa's, these triangles are drawn over mel, not over Hertz, and have the same height (Povey et al. 2011).

    Args:
        samples: mono ``(window_samples,)`` float32.
        config: sizes and rates.

    Returns:
        ``(n_mels, n_steps)`` float32, of mean 0 and deviation 0.5 over AudioSet.

    Raises:
        ValueError: if the number of samples is not a window's.
    """
    _check_length(samples, config)
    audio = config.audio
    steps = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), config.win_length)
    steps = steps[:: config.hop_length]
    steps = steps - steps.mean(axis=1, keepdims=True)
    before = np.concatenate([steps[:, :1], steps[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft((steps - PREEMPHASIS * before) * np.hanning(config.win_length), config.n_fft)) ** 2
    highest = min(audio.max_frequency_hz, audio.sample_rate / 2)
    bands = _build_kaldi_bands(audio.sample_rate, config.n_fft, audio.n_mels, audio.min_frequency_hz, highest)
    logarithms = np.log(np.maximum(power @ bands, LOWEST_BAND))
    return ((logarithms - FBANK_MEAN) / FBANK_SCALE).T.astype(np.float32)


@functools.lru_cache(maxsize=8)
def _build_kaldi_bands(sample_rate: int, n_fft: int, n_mels: int, lowest_hz: float, highest_hz: float) -> np.ndarray:
    """Returns ``(1 + n_fft // 2, n_mels)``: how much of each frequency each band holds."""

    def to_mel(hertz):
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(to_mel(lowest_hz), to_mel(highest_hz), n_mels + 2)
    mels = to_mel(np.fft.rfftfreq(n_fft, 1 / sample_rate))[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0.0, np.minimum((mels - left) / (middle - left), (right - mels) / (right - middle)))


FEATURES = {"mfcc": compute_mfcc, "log_mel": compute_log_mel, "fbank": compute_fbank}


def _check_length(samples: np.ndarray, config: RunConfig) -> None:
    if samples.shape != (config.window_samples,):
        raise ValueError(f"A window has {config.window_samples} samples, got {samples.shape}.")


def _compute_mel(samples: np.ndarray, config: RunConfig, *, pad_mode: str = "constant") -> np.ndarray:
    """Power in each mel band at each centred step, ``(n_mels, 1 + window_samples // hop_length)``."""
    _check_length(samples, config)
    audio = config.audio
    return librosa.feature.melspectrogram(
        y=samples,
        sr=audio.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        pad_mode=pad_mode,
        n_mels=audio.n_mels,
        fmin=audio.min_frequency_hz,
        fmax=min(audio.max_frequency_hz, audio.sample_rate / 2),
    )
