"""Computes the audio features of a window: MFCCs, log-mel spectra, Kaldi's filter banks, or the waveform itself.

MFCCs are those of Davis & Mermelstein (1980), log-mel spectra those of Whisper; the Audio Spectrogram Transformer takes
filter banks, wav2vec2 and its like the waveform.

MFCCs and mel spectra equal librosa's to the last but one digit in a fraction of its time: all windows have one length,
so the filters are built once, and there is nothing to compile.
"""

import functools

import numpy as np

from emotion.config import AudioConfig, RunConfig

LEVEL_SECONDS = 0.05
VOICED_RANGE_DB = 35.0
QUIET_PERCENTILE = 10
LOWEST_POWER = 1e-10  # Whisper's floor, for digital silence
# Kaldi's floor, and its filter against low frequencies.
LOWEST_BAND = float(np.finfo(np.float32).eps)
PREEMPHASIS = 0.97
# Mean of AudioSet's filter banks and twice their standard deviation, with which AST normalises.
FBANK_MEAN, FBANK_SCALE = -4.2677393, 2 * 4.5689974
WAVEFORM_FLOOR = 1e-7  # added to the variance by wav2vec2's extractor


def compute_levels_dbfs(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the RMS level in dBFS of each twentieth of a second of mono samples, without digital silence."""
    size = max(1, round(LEVEL_SECONDS * sample_rate))
    n_blocks = len(samples) // size
    blocks = samples[: n_blocks * size].reshape(n_blocks, size) if n_blocks else samples[None]
    if not blocks.size:
        return np.zeros(0)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    return 10 * np.log10(power[power > 0])


def has_sound(samples: np.ndarray, audio: AudioConfig) -> bool:
    """Whether a window holds more than silence or a noise floor."""
    levels = compute_levels_dbfs(samples, audio.sample_rate)
    if not len(levels) or levels.max() <= audio.silence_dbfs:
        return False
    if levels.max() > audio.noise_dbfs:
        return True
    return bool(levels.max() - np.percentile(levels, QUIET_PERCENTILE) >= audio.noise_range_db)


def compute_voiced_seconds(samples: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Returns the seconds of the first and the last loud moment: within 35 dB of the loudest."""
    size = max(1, round(LEVEL_SECONDS * sample_rate))
    n_blocks = len(samples) // size
    if not n_blocks:
        return 0.0, len(samples) / sample_rate
    power = np.mean(np.square(samples[: n_blocks * size].reshape(n_blocks, size), dtype=np.float64), axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-VOICED_RANGE_DB / 10))
    return loud[0] * size / sample_rate, (loud[-1] + 1) * size / sample_rate


def compute_mfcc(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns a window's MFCCs, ``(n_mfcc, n_steps)`` float32.

    The mel spectrum is relative to the window's loudest band, so that the distance to the microphone does not matter,
    and floored ``top_db`` below it.

    Raises:
        ValueError: if ``samples`` is not of shape ``(window_samples,)``; as for the other features.
    """
    audio = config.audio
    decibels = 10 * np.log10(np.maximum(_compute_mel(samples, config, audio.n_steps), LOWEST_POWER))
    decibels -= decibels.max()
    np.maximum(decibels, -audio.top_db, out=decibels)
    return (_build_cosines(audio.n_mfcc, audio.n_mels) @ decibels).astype(np.float32)


def compute_log_mel(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns a window's log-mel spectra as Whisper's encoder takes them (Radford et al. 2022).

    Steps of 25 ms every 10 ms, power in bands on Slaney's mel scale, log10, floored ``top_db`` below the highest, plus
    4, divided by 4. Whisper pads every clip to 30 s; here the window keeps its length.

    Returns:
        ``(n_mels, n_steps)`` float32; ``n_steps`` depends on the window.
    """
    power = _compute_mel(samples, config, config.audio_shape[1], pad_mode="reflect")
    decades = np.log10(np.maximum(power, LOWEST_POWER))
    decades = np.maximum(decades, decades.max() - config.audio.top_db / 10)
    return ((decades + 4) / 4).astype(np.float32)


def compute_fbank(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns a window's log-mel filter banks as Kaldi computes them (Povey et al. 2011) and AST takes them.

    Steps of 25 ms every 10 ms inside the window, minus their mean, pre-emphasised, under a Hann window; power in
    triangles, natural logarithm. Unlike librosa's, the triangles are even on the mel scale, not in hertz, and of one
    height. Normalised to mean 0 and standard deviation 0.5 over AudioSet (Gong et al. 2021).

    Returns:
        ``(n_mels, n_steps)`` float32.
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
    """Returns the weight of each frequency in each band, ``(1 + n_fft // 2, n_mels)``."""

    def to_mel(hertz):
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(to_mel(lowest_hz), to_mel(highest_hz), n_mels + 2)
    mels = to_mel(np.fft.rfftfreq(n_fft, 1 / sample_rate))[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0.0, np.minimum((mels - left) / (middle - left), (right - mels) / (right - middle)))


def compute_waveform(samples: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns a window's samples with mean 0 and deviation 1, as wav2vec2 takes them (Baevski et al. 2020).

    All samples of the window count, also those after the end of a clip, which are zeros.

    Returns:
        ``(window_samples,)`` float32.
    """
    _check_length(samples, config)
    exact = samples.astype(np.float64)
    return ((exact - exact.mean()) / np.sqrt(exact.var() + WAVEFORM_FLOOR)).astype(np.float32)


FEATURES = {"mfcc": compute_mfcc, "log_mel": compute_log_mel, "fbank": compute_fbank, "waveform": compute_waveform}


def _check_length(samples: np.ndarray, config: RunConfig) -> None:
    if samples.shape != (config.window_samples,):
        raise ValueError(f"A window has {config.window_samples} samples, got {samples.shape}.")


def _compute_mel(samples: np.ndarray, config: RunConfig, n_steps: int, *, pad_mode: str = "constant") -> np.ndarray:
    """Returns the power in each mel band at a window's first centred steps, ``(n_mels, n_steps)``."""
    _check_length(samples, config)
    audio, hop_length = config.audio, config.hop_length
    highest = min(audio.max_frequency_hz, audio.sample_rate / 2)
    bands = build_slaney_bands(audio.sample_rate, config.n_fft, audio.n_mels, audio.min_frequency_hz, highest)
    return compute_mel(samples, bands, n_fft=config.n_fft, hop_length=hop_length, n_steps=n_steps, pad_mode=pad_mode)


def compute_mel(
    samples: np.ndarray,
    bands: np.ndarray,
    *,
    n_fft: int,
    hop_length: int,
    n_steps: int | None = None,
    pad_mode: str = "constant",
) -> np.ndarray:
    """Returns the power in bands over time, ``(n_bands, n_steps)`` float32, as ``librosa.feature.melspectrogram``.

    Args:
        samples: mono ``(n_samples,)``.
        bands: from ``build_slaney_bands`` for this ``n_fft``.
        n_fft: samples in a step.
        hop_length: samples between the middles of two steps; the first lies on the first sample.
        n_steps: how many to compute; None for all.
        pad_mode: ``numpy.pad``'s mode for both ends.
    """
    padded = np.pad(samples.astype(np.float32, copy=False), n_fft // 2, mode=pad_mode)
    steps = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length][:n_steps]
    # Frequencies above the highest band have weight 0.
    n_heard = 1 + int(np.flatnonzero(bands[-1])[-1]) if bands[-1].any() else bands.shape[1]
    spectrum = np.fft.rfft(steps * _build_hann(n_fft))[:, :n_heard]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return bands[:, :n_heard] @ power.T


@functools.lru_cache(maxsize=8)
def _build_hann(n_fft: int) -> np.ndarray:
    """Returns the periodic Hann window, ``(n_fft,)``."""
    return np.hanning(n_fft + 1)[:-1].astype(np.float32)


@functools.lru_cache(maxsize=8)
def _build_cosines(n_mfcc: int, n_mels: int) -> np.ndarray:
    """Returns the first rows of the orthonormal cosine transform (DCT-II), ``(n_mfcc, n_mels)``."""
    angles = np.pi / n_mels * np.outer(np.arange(n_mfcc), np.arange(n_mels) + 0.5)
    scale = np.full((n_mfcc, 1), np.sqrt(2 / n_mels))
    scale[0] = np.sqrt(1 / n_mels)
    return (scale * np.cos(angles)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def build_slaney_bands(sample_rate: int, n_fft: int, n_mels: int, lowest_hz: float, highest_hz: float) -> np.ndarray:
    """Returns the weight of each frequency in each band, ``(n_mels, 1 + n_fft // 2)``, bands of equal area.

    Slaney's mel scale (Auditory Toolbox, 1998) is linear up to 1000 Hz and logarithmic above.
    """
    per_hertz, corner_hz, per_octave = 3 / 200, 1000.0, 27 / np.log(6.4)
    corner = corner_hz * per_hertz

    def to_mel(hertz: float) -> float:
        return hertz * per_hertz if hertz < corner_hz else corner + np.log(hertz / corner_hz) * per_octave

    mels = np.linspace(to_mel(lowest_hz), to_mel(highest_hz), n_mels + 2)
    above = np.exp(np.maximum(mels - corner, 0) / per_octave) * corner_hz
    edges = np.where(mels < corner, mels / per_hertz, above)[:, None]
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    return (np.maximum(0.0, np.minimum(rising, falling)) * 2 / (right - left)).astype(np.float32)
