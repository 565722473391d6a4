"""Varied voices: each change is as large as asked for, and follows from the draw alone."""

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.inputs.voice.augmentation import (
    MAX_RATE,
    MAX_SEMITONES,
    MAX_SNR_DB,
    MIN_RATE,
    MIN_SNR_DB,
    VoiceVariation,
    draw_voice_variation,
    mask_time,
    vary_voice,
)
from emotion.inputs.voice.codecs import CODECS, available_codecs, pass_codec

RATE = 22050
N = 2 * RATE
EVERYTHING = VoiceVariation(
    semitones=1.5, rate=1.1, snr_db=20.0, noise_seed=3, reverberation_seconds=0.3, response_db=(2.0, -1.0) * 4,
    noise_slope=1.0, peak_db=-10.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return synthesize_voice("happy", speaker_seed=1, duration_seconds=2.4, sample_rate=RATE)


def only(*, semitones: float = 0.0, rate: float = 1.0, snr_db: float | None = None) -> VoiceVariation:
    return VoiceVariation(semitones, rate, snr_db, noise_seed=3)


def make_tone(hertz: float, n_samples: int = N) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(n_samples) / RATE)).astype(np.float32)


def make_beep(hertz: float, first: int, last: int, n_samples: int = N) -> np.ndarray:
    """A tone that is heard from one sample to another."""
    times = np.arange(n_samples)
    return make_tone(hertz, n_samples) * ((times >= first) & (times < last)).astype(np.float32)


def measure_hertz(samples: np.ndarray) -> float:
    """The strongest frequency, away from the ends."""
    inner = samples[len(samples) // 8 : -len(samples) // 8]
    size = 1 << 19
    return float(np.abs(np.fft.rfft(inner * np.hanning(len(inner)), size)).argmax()) * RATE / size


def measure_middle(samples: np.ndarray) -> float:
    """The second around which the energy lies."""
    energy = np.square(samples, dtype=np.float64)
    return float(np.sum(np.arange(len(samples)) * energy) / energy.sum()) / RATE


# ---- What each change does ----


@pytest.mark.parametrize("semitones", [-2.0, -0.5, 1.0, 2.0])
@pytest.mark.parametrize("hertz", [200.0, 1000.0])
def test_the_pitch_moves_by_the_semitones_asked_for_and_the_time_does_not(semitones, hertz):
    varied = vary_voice(make_tone(hertz), RATE, only(semitones=semitones), N)
    assert 12 * np.log2(measure_hertz(varied) / hertz) == pytest.approx(semitones, abs=0.12)
    beep = make_beep(hertz, 20000, 22000)
    assert measure_middle(vary_voice(beep, RATE, only(semitones=semitones), N)) == pytest.approx(21000 / RATE, abs=0.01)


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_the_tempo_moves_all_moments_and_the_pitch_does_not(rate):
    long = round(N * rate)
    assert measure_hertz(vary_voice(make_tone(440.0, long), RATE, only(rate=rate), N)) == pytest.approx(440, rel=0.005)
    middle = round(0.8 * N)
    beep = make_beep(440.0, middle - 999, middle + 1000, long)
    varied = vary_voice(beep, RATE, only(rate=rate), N)
    assert measure_middle(varied) == pytest.approx(middle / rate / RATE, abs=0.02)


def test_a_room_adds_echoes_after_a_sound_and_none_before():
    click = np.zeros(N, np.float32)
    click[20000:20200] = 0.5
    room = dataclasses.replace(only(), reverberation_seconds=0.5, room_db=0.0)
    varied = vary_voice(click, RATE, room, N)
    assert np.abs(varied[:19990]).max() < 1e-6
    early, late = (float(np.square(varied[at : at + 2000]).sum()) for at in (20400, 28000))
    assert early > 100 * late > 0
    assert np.square(varied).mean() == pytest.approx(np.square(click).mean(), rel=1e-3)
    np.testing.assert_array_equal(varied, vary_voice(click, RATE, room, N))


def test_a_microphone_changes_the_balance_of_frequencies_and_not_when_things_are_heard():
    low, high = make_tone(250.0), make_tone(4000.0)
    dull = dataclasses.replace(only(), response_db=(0.0, 0.0, 0.0, 0.0, -3.0, -6.0, -12.0, -12.0))
    varied = vary_voice(low + high, RATE, dull, N)
    spectrum = np.abs(np.fft.rfft(varied * np.hanning(N)))
    ratio = spectrum[round(4000 * N / RATE)] / spectrum[round(250 * N / RATE)]
    assert 20 * np.log10(ratio) == pytest.approx(-12, abs=1)
    beep = make_beep(250.0, 20000, 22000)
    assert measure_middle(vary_voice(beep, RATE, dull, N)) == pytest.approx(21000 / RATE, abs=0.005)


def test_a_faster_voice_is_shorter():
    varied = vary_voice(make_tone(440.0), RATE, only(rate=1.1), N)
    end = round(N / 1.1)
    assert np.abs(varied[: end - 1000]).max() > 0.2
    assert not varied[end + 10 :].any()


@pytest.mark.parametrize("snr_db", [8.0, 20.0, 40.0])
def test_noise_lies_as_far_below_the_voice_as_asked_for(voice, snr_db):
    voice = voice[:N]
    noise = vary_voice(voice, RATE, only(snr_db=snr_db), N) - voice
    ratio = np.mean(voice.astype(np.float64) ** 2) / np.mean(noise.astype(np.float64) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.2)
    # White: no moment is like the one before.
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.02


def test_noise_with_a_slope_is_as_loud_but_duller(voice):
    brown = dataclasses.replace(only(snr_db=10.0), noise_slope=2.0)
    white, dull = (vary_voice(voice[:N], RATE, variation, N) - voice[:N] for variation in (only(snr_db=10.0), brown))
    assert np.std(dull) == pytest.approx(np.std(white), rel=0.03)
    assert np.corrcoef(dull[1:], dull[:-1])[0, 1] > 0.9


@pytest.mark.parametrize("peak_db", [-30.0, 0.0, 6.0])
def test_the_level_is_the_one_asked_for_and_above_full_scale_it_is_clipped(voice, peak_db):
    varied = vary_voice(voice[:N], RATE, dataclasses.replace(only(), peak_db=peak_db), N)
    assert np.abs(varied).max() == pytest.approx(min(1.0, 10 ** (peak_db / 20)), rel=1e-3)
    assert (np.count_nonzero(np.abs(varied) == 1.0) > 5) == (peak_db > 0)


# ---- Codecs ----


@pytest.mark.parametrize("name", available_codecs())
def test_a_codec_keeps_the_sound_in_time_and_loses_some_of_it(voice, name):
    codec = CODECS[name]
    for bit_rate in (codec.bit_rates or (None,))[:: max(1, len(codec.bit_rates) - 1)]:
        passed = pass_codec(voice, RATE, name, bit_rate)
        assert passed.shape == voice.shape and passed.dtype == np.float32
        assert measure_middle(passed) == pytest.approx(measure_middle(voice), abs=0.1)
        assert measure_hertz(pass_codec(make_tone(440.0), RATE, name, bit_rate)) == pytest.approx(440, rel=0.01)
        assert np.abs(passed - voice).max() > 0.01
        np.testing.assert_array_equal(passed, pass_codec(voice, RATE, name, bit_rate))


def test_a_telephone_lets_only_the_middle_pass():
    passed = [np.std(pass_codec(make_tone(hertz), RATE, "telephone", None)) for hertz in (100.0, 1000.0, 3900.0)]
    assert passed[1] == pytest.approx(np.std(make_tone(1000.0)), rel=0.1)
    assert max(passed[0], passed[2]) < 0.2 * passed[1]


def test_codecs_are_drawn_with_a_bit_rate_of_theirs():
    drawn = [draw_voice_variation(np.random.default_rng(seed)) for seed in range(200)]
    assert {variation.codec for variation in drawn} == {None, *available_codecs()}
    for variation in drawn:
        assert variation.codec is None or variation.bit_rate in (CODECS[variation.codec].bit_rates or (None,))


def test_no_change_leaves_the_voice_and_silence_as_they_are(voice):
    np.testing.assert_array_equal(vary_voice(voice, RATE, only(), N), voice[:N])
    assert not vary_voice(np.zeros(N, np.float32), RATE, EVERYTHING, N).any()


@pytest.mark.parametrize("n_given", [0, 1000, N - 1, N, N + 1, 2 * N])
@pytest.mark.parametrize("variation", [only(), EVERYTHING])
def test_the_length_is_the_one_asked_for(n_given, variation):
    varied = vary_voice(make_tone(300.0, n_given), RATE, variation, N)
    assert varied.shape == (N,)
    assert varied.dtype == np.float32
    assert np.isfinite(varied).all()


def test_the_voice_given_is_not_touched(voice):
    before = voice.copy()
    vary_voice(voice, RATE, EVERYTHING, N)
    np.testing.assert_array_equal(voice, before)


# ---- Repeatable ----


def test_the_result_follows_from_the_draw_and_the_global_random_state_is_neither_heeded_nor_touched(voice):
    before = random.getstate(), np.random.get_state()[1].copy()
    first = vary_voice(voice, RATE, EVERYTHING, N)
    draw_voice_variation(np.random.default_rng(0))
    assert random.getstate() == before[0] and np.array_equal(np.random.get_state()[1], before[1])
    random.seed(2)
    np.random.seed(2)
    np.testing.assert_array_equal(vary_voice(voice, RATE, EVERYTHING, N), first)
    other = dataclasses.replace(EVERYTHING, noise_seed=4)
    assert not np.array_equal(vary_voice(voice, RATE, other, N), first)


def test_threads_do_not_disturb_each_other(voice):
    variations = [draw_voice_variation(np.random.default_rng(seed)) for seed in range(12)]
    alone = [vary_voice(voice, RATE, variation, N) for variation in variations]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda variation: vary_voice(voice, RATE, variation, N), variations))
    np.testing.assert_array_equal(together, alone)


def test_draws_are_repeatable_in_range_and_leave_half_of_the_clips_alone():
    draws = [draw_voice_variation(np.random.default_rng(seed)) for seed in range(400)]
    assert draws == [draw_voice_variation(np.random.default_rng(seed)) for seed in range(400)]
    assert all(abs(draw.semitones) <= MAX_SEMITONES and MIN_RATE <= draw.rate <= MAX_RATE for draw in draws)
    levels = [draw.snr_db for draw in draws if draw.snr_db is not None]
    assert all(MIN_SNR_DB <= level <= MAX_SNR_DB for level in levels)
    changed = np.array([[draw.semitones != 0, draw.rate != 1, draw.snr_db is not None] for draw in draws])
    assert (np.abs(changed.mean(axis=0) - 0.5) < 0.1).all()
    assert len({draw.noise_seed for draw in draws}) == len(draws)


# ---- Hidden stretches ----


def test_a_hidden_stretch_shows_the_mean_of_each_coefficient_and_the_rest_stays():
    mfcc = np.random.default_rng(0).normal(size=(40, 44, 1)).astype(np.float32)
    before, lengths = mfcc.copy(), []
    for seed in range(50):
        masked = mask_time(mfcc, np.random.default_rng(seed))
        np.testing.assert_array_equal(masked, mask_time(mfcc, np.random.default_rng(seed)))
        assert masked.shape == mfcc.shape and masked.dtype == np.float32
        changed = np.flatnonzero((masked != mfcc).any(axis=(0, 2)))
        lengths.append(len(changed))
        assert len(changed) == 0 or changed[-1] - changed[0] + 1 == len(changed)
        for step in changed:
            np.testing.assert_allclose(masked[:, step], mfcc.mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(mfcc, before)
    assert min(lengths) <= 1 and 6 <= max(lengths) <= 44 / 5


def test_hiding_a_stretch_of_silence_leaves_silence():
    assert not mask_time(np.zeros((40, 44, 1), np.float32), np.random.default_rng(0)).any()
