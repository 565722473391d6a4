"""MFCCs and log-mel pictures by physics: tones, beeps, loudness, silence."""

import dataclasses
from pathlib import Path

import librosa
import numpy as np
import pytest
from refusals import refused
from scipy.fft import idct

from emotion.config import WHISPER_AUDIO, AudioConfig, RunConfig, WindowConfig
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.inputs.voice.features import (
    compute_levels_dbfs,
    compute_log_mel,
    compute_mfcc,
    compute_voiced_seconds,
    has_sound,
)

pytestmark = pytest.mark.usefixtures("compiled_librosa")

CONFIG = RunConfig()
RATE = CONFIG.audio.sample_rate
N = CONFIG.window_samples


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return synthesize_voice("angry", speaker_seed=2, duration_seconds=3.0, sample_rate=RATE)


def make_tone(hertz: float, amplitude: float = 0.5, n_samples: int = N, rate: int = RATE) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(n_samples) / rate)).astype(np.float32)


def make_beep(start_seconds: float, seconds: float = 0.1, amplitude: float = 0.5) -> np.ndarray:
    time = np.arange(N) / RATE
    return make_tone(800.0, amplitude) * ((time >= start_seconds) & (time < start_seconds + seconds)).astype(np.float32)


def make_noise(dbfs: float, n_samples: int = N) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(n_samples)
    return (10 ** (dbfs / 20) * noise).astype(np.float32)


def compute_spectrum(samples: np.ndarray) -> np.ndarray:
    """The mel spectrum in decibels, ``(n_mels, n_steps)``: all coefficients, with the cosine transform undone."""
    config = dataclasses.replace(CONFIG, audio=AudioConfig(n_mfcc=128))
    return idct(compute_mfcc(samples, config), axis=0, norm="ortho")


# ---- MFCC ----


@pytest.mark.parametrize("window_seconds", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("sample_rate", [16000, 22050])
def test_a_window_of_any_length_gives_a_picture_of_one_size(window_seconds, sample_rate):
    config = RunConfig(audio=AudioConfig(sample_rate=sample_rate), window=WindowConfig(window_seconds=window_seconds))
    mfcc = compute_mfcc(make_noise(-20, config.window_samples), config)
    assert mfcc.shape == (40, 44)
    assert mfcc.dtype == np.float32
    assert np.isfinite(mfcc).all()


@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_the_distance_to_the_microphone_does_not_count(voice, gain):
    np.testing.assert_allclose(compute_mfcc(voice * np.float32(gain), CONFIG), compute_mfcc(voice, CONFIG), atol=0.02)


def test_but_for_the_level_it_is_librosas_own_mfcc(voice):
    plain = librosa.feature.mfcc(
        y=voice,
        sr=RATE,
        n_mfcc=40,
        n_fft=2048,
        hop_length=1538,
        n_mels=128,
        fmin=AudioConfig().min_frequency_hz,
        fmax=AudioConfig().max_frequency_hz,
    )
    mfcc = compute_mfcc(voice, CONFIG)
    assert plain.shape == mfcc.shape
    np.testing.assert_allclose(mfcc[1:], plain[1:], atol=0.01)
    # Measuring against the loudest band shifts all decibels alike, which only the first coefficient sees.
    shift = plain[0] - mfcc[0]
    np.testing.assert_allclose(shift, shift[0], atol=0.01)
    assert np.abs(shift[0]) > 1


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1000.0, 3000.0, 7000.0])
def test_a_tone_stands_where_its_pitch_belongs(hertz):
    spectrum = compute_spectrum(make_tone(hertz))
    bands = librosa.mel_frequencies(130, fmin=AudioConfig().min_frequency_hz, fmax=AudioConfig().max_frequency_hz)[1:-1]
    for column in spectrum.T:
        assert bands[column.argmax()] == pytest.approx(hertz, rel=0.03, abs=12)
    assert spectrum.max() == pytest.approx(0, abs=0.1)
    assert spectrum.min() >= -80.1


def test_what_lies_beyond_the_telephones_band_does_not_count():
    low, both = make_tone(1000.0), make_tone(1000.0) + make_tone(9500.0, 0.4)
    # At the window's ends the tone breaks off with a click, which is heard at all frequencies.
    inner = slice(1, -1)
    np.testing.assert_allclose(compute_mfcc(both, CONFIG)[:, inner], compute_mfcc(low, CONFIG)[:, inner], atol=0.1)


@pytest.mark.parametrize("start_seconds", [0.0, 0.7, 1.45, 2.2, 2.9])
def test_a_beep_stands_at_its_time_from_one_end_of_the_window_to_the_other(start_seconds):
    loudness = compute_spectrum(make_beep(start_seconds)).max(axis=0)
    middle = (start_seconds + 0.05) * RATE / CONFIG.hop_length
    assert np.flatnonzero(loudness > -20).mean() == pytest.approx(middle, abs=0.6)


def test_digital_silence_gives_numbers_all_the_same():
    assert np.isfinite(compute_mfcc(np.zeros(N, np.float32), CONFIG)).all()


@pytest.mark.parametrize("shape", [(0,), (N - 1,), (N + 1,), (1, N), (N, 2)])
def test_what_is_no_window_is_refused(shape):
    with refused(ValueError, N, shape):
        compute_mfcc(np.zeros(shape, np.float32), CONFIG)


# ---- Log-mel ----


def whisper_config(window_seconds: float = 3.0) -> RunConfig:
    return RunConfig(audio=WHISPER_AUDIO, window=WindowConfig(window_seconds=window_seconds))


def test_the_log_mel_picture_is_equal_to_that_of_transformers():
    with np.load(Path(__file__).resolve().parents[2] / "data" / "whisper_reference.npz") as reference:
        sound, expected = reference["sound"].astype(np.float32) / 32768, reference["log_mel"]
    picture = compute_log_mel(sound, whisper_config(1.0))
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, expected, atol=1e-4)


@pytest.mark.parametrize("window_seconds", [0.5, 1.0, 3.0, 10.0])
def test_log_mel_steps_are_ten_milliseconds_apart_in_any_window(window_seconds):
    config = whisper_config(window_seconds)
    assert (config.n_fft, config.hop_length) == (400, 160)
    picture = compute_log_mel(make_noise(-20, config.window_samples), config)
    assert (*picture.shape, 1) == config.audio_shape == (80, round(100 * window_seconds), 1)
    assert np.isfinite(picture).all()


def test_a_log_mel_picture_spans_eighty_decibels_and_shifts_with_the_level(voice):
    config = whisper_config()
    samples = librosa.resample(voice, orig_sr=RATE, target_sr=16000)[: config.window_samples]
    loud, soft = compute_log_mel(samples, config), compute_log_mel(samples * np.float32(0.1), config)
    assert loud.max() - loud.min() <= 2.001
    np.testing.assert_allclose(loud - soft, 20 / 40, atol=1e-3)


def test_a_log_mel_picture_of_digital_silence_is_even_and_not_zeros():
    picture = compute_log_mel(np.zeros(48000, np.float32), whisper_config())
    np.testing.assert_allclose(picture, -1.5, rtol=1e-6)
    with refused(ValueError, 48000, 47999):
        compute_log_mel(np.zeros(47999, np.float32), whisper_config())


# ---- Level ----


def test_levels_are_root_mean_squares_of_each_twentieth_of_a_second():
    levels = compute_levels_dbfs(make_tone(1000.0, 1.0), RATE)
    assert len(levels) == N // round(RATE / 20)
    np.testing.assert_allclose(levels, -3.01, atol=0.05)
    assert compute_levels_dbfs(make_beep(1.3, 0.2), RATE).max() == pytest.approx(-9.03, abs=0.2)
    assert compute_levels_dbfs(make_noise(-40), RATE).mean() == pytest.approx(-40, abs=1)


@pytest.mark.parametrize("n_samples", [0, 1, 500, N])
def test_digital_silence_has_no_level_however_short(n_samples):
    assert len(compute_levels_dbfs(np.zeros(n_samples, np.float32), RATE)) == 0
    assert not has_sound(np.zeros(n_samples, np.float32), AudioConfig())


def test_a_noise_floor_is_no_sound_and_a_quiet_voice_is(voice):
    dither = (np.random.default_rng(1).integers(-1, 2, N) / 32768).astype(np.float32)
    assert not has_sound(dither, AudioConfig())
    assert not has_sound(make_noise(-70), AudioConfig())
    assert not has_sound(make_noise(-50), AudioConfig())
    assert has_sound(voice, AudioConfig())
    assert has_sound(voice * np.float32(0.03), AudioConfig())
    assert has_sound(make_beep(2.5), AudioConfig())
    assert has_sound(make_tone(500.0, 0.5, n_samples=300), AudioConfig())


# ---- The voiced part ----


@pytest.mark.parametrize("start_seconds", [0.0, 0.5, 1.23, 2.7])
def test_a_beep_in_silence_is_found_to_a_twentieth_of_a_second(start_seconds):
    start, end = compute_voiced_seconds(make_beep(start_seconds, 0.2), RATE)
    assert start_seconds - 0.05 <= start <= start_seconds + 0.001
    assert start_seconds + 0.2 - 0.001 <= end <= start_seconds + 0.25 + 0.001


def test_the_voiced_part_reaches_from_the_first_word_to_the_last_over_pauses_and_hum():
    samples = make_beep(0.6, 0.2) + make_beep(2.1, 0.3, amplitude=0.1) + make_noise(-60)
    start, end = compute_voiced_seconds(samples, RATE)
    assert (start, end) == (pytest.approx(0.6, abs=0.05), pytest.approx(2.4, abs=0.05))


@pytest.mark.parametrize("n_samples", [0, 100])
def test_less_than_a_moment_of_sound_is_all_of_it(n_samples):
    assert compute_voiced_seconds(np.ones(n_samples, np.float32), RATE) == (0.0, n_samples / RATE)
