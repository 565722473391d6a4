"""The voice goes to the face whose mouth moves with it."""

import cv2
import numpy as np
import pytest

from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.faces.speaking import RATE_HZ, Mouth, MouthWatcher, compute_loudness, find_speaker, watch_mouth
from emotion.media.pictures import VideoFrame

RATE = 16000
SPEAKING, SILENT = Mouth(activity=0.1, synchrony=1.2), Mouth(activity=0.05, synchrony=0.3)


def draw_speaker(opening: float, *, shift: float = 0.0, angle: float = 0.0, size: int = 240) -> np.ndarray:
    """A drawn face with its mouth that far open, moved by some pixels and turned by some degrees."""
    face = draw_face("neutral", speaker_seed=1, size=size, mouth=opening)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1.0)
    turn[:, 2] += shift
    return cv2.warpAffine(face, turn, (size, size), borderMode=cv2.BORDER_REPLICATE)


def watch(openings, shifts=None, angles=None, rate=20.0) -> np.ndarray:
    """The speeds found for a face whose mouth opens like that, its landmarks looked for in every second picture."""
    watcher, detector, speeds, landmarks = MouthWatcher(), YuNetDetector(), [], None
    nothing = np.zeros(len(openings))
    for i, (opening, shift, angle) in enumerate(
        zip(openings, nothing if shifts is None else shifts, nothing if angles is None else angles, strict=True)
    ):
        image = draw_speaker(opening, shift=shift, angle=angle)
        if i % 2 == 0:
            landmarks = detector.detect(image)[0].landmarks
        found = watcher.add(VideoFrame(i / rate, image), {1: landmarks})
        speeds.append(found.get(1, np.nan))
    return np.array(speeds[1:])


def test_a_mouth_that_opens_has_a_speed_above_0_and_one_that_closes_below_0():
    speeds = watch([0.0, 0.3, 0.6, 0.9, 0.9, 0.6, 0.3, 0.0])
    assert (speeds[:3] > 0.05).all() and (speeds[4:] < -0.05).all()
    assert abs(speeds[3]) < 0.3 * np.abs(speeds[[0, 1, 2, 4, 5, 6]]).min()


def test_a_head_that_moves_and_turns_with_its_mouth_still_has_no_speed_to_speak_of():
    times = np.arange(12) / 20
    moved = watch(np.full(12, 0.3), shifts=8 * np.sin(6 * times), angles=5 * np.sin(5 * times))
    speaking = watch(0.3 + 0.3 * np.sin(20 * times))
    assert np.abs(moved).mean() < 0.35 * np.abs(speaking).mean()


def test_pictures_too_close_or_too_far_apart_tell_nothing():
    watcher, landmarks = MouthWatcher(), {1: YuNetDetector().detect(draw_speaker(0.0))[0].landmarks}
    seen = [watcher.add(VideoFrame(time, draw_speaker(0.0)), landmarks) for time in (0.0, 0.01, 0.05, 0.5)]
    assert [bool(found) for found in seen] == [False, False, True, False]


def test_a_face_alone_is_watched_less_often_than_several():
    face = draw_speaker(0.0)
    landmarks = YuNetDetector().detect(face)[0].landmarks
    counts = []
    for tracks in ((1,), (1, 2)):
        watcher = MouthWatcher()
        seen = [watcher.add(VideoFrame(i / 30, face), dict.fromkeys(tracks, landmarks)) for i in range(13)]
        counts.append(sum(bool(found) for found in seen))
    assert counts == [6, 12]


def test_a_change_of_size_in_mid_stream_does_no_harm():
    watcher = MouthWatcher()
    landmarks = {1: YuNetDetector().detect(draw_speaker(0.0))[0].landmarks}
    watcher.add(VideoFrame(0.0, draw_speaker(0.0)), landmarks)
    assert watcher.add(VideoFrame(0.04, draw_speaker(0.0, size=300)), landmarks) == {}


# ---- Sound and motion ----


def make_syllables(seed: int, seconds: float = 3.0) -> np.ndarray:
    """How loud somebody speaks, ``RATE_HZ`` times a second, 0 to 1: syllables of uneven length."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.uniform(0.12, 0.4, 60))
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = np.interp(times, np.concatenate([[0], ends]), np.arange(61))
    return np.sin(np.pi * (phase % 1)) ** 2 * rng.uniform(0.4, 1, 61)[phase.astype(int)]


def compare(voice: np.ndarray, mouth: np.ndarray, *, delay_seconds: float = 0.0, frame_rate: float = 25.0):
    """A mouth that opens as one loudness says, with the sound of another; the motion comes that much earlier."""
    times = np.arange(0, len(mouth) / RATE_HZ, 1 / frame_rate)
    opening = np.interp(times + delay_seconds, np.arange(len(mouth)) / RATE_HZ, mouth)
    speeds = np.gradient(opening, times) * 0.03
    loudness = 20 * np.log10(0.01 + voice)
    return watch_mouth(times.tolist(), speeds.tolist(), 0.0, loudness, voice > 0.05)


@pytest.mark.parametrize("frame_rate", [12.0, 25.0, 30.0])
@pytest.mark.parametrize("delay_seconds", [0.0, 0.05, 0.1])
def test_the_speakers_mouth_is_more_in_step_than_that_of_somebody_who_says_something_else(frame_rate, delay_seconds):
    right = 0
    for seed in range(10):
        voice, other = make_syllables(seed), make_syllables(seed + 100)
        mouths = {
            1: compare(voice, other, frame_rate=frame_rate),
            2: compare(voice, voice, delay_seconds=delay_seconds, frame_rate=frame_rate),
        }
        right += find_speaker(mouths) == 2
    assert right >= 9


def test_a_mouth_out_of_sight_during_most_of_the_speech_is_not_the_speakers():
    voice = make_syllables(0)
    loudness, is_speech = 20 * np.log10(0.01 + voice), voice > 0.05
    times = np.arange(0, 1.0, 0.04)
    assert not watch_mouth(times, np.ones(len(times)), 0.0, loudness, is_speech).moves
    assert watch_mouth([], [], 0.0, loudness, is_speech) is None
    assert watch_mouth(np.arange(0, 3, 0.04), np.ones(75), 0.0, loudness, np.zeros(len(voice), bool)) is None


def test_an_even_sound_or_motion_is_in_step_with_nothing():
    mouth = compare(make_syllables(0), np.full(150, 0.5))
    assert mouth.activity < 1e-9 and mouth.synchrony == 0
    assert compare(np.full(150, 0.5), make_syllables(0)).synchrony == 0


STILL, MUTE, WEAK = Mouth(0.001, 1.5), Mouth(0.001, 0.0), Mouth(0.05, 0.4)
SYLLABLE, HALF = Mouth(0.1, 1.2, seen_seconds=0.4), Mouth(0.1, 1.2, seen_seconds=0.8, seen_share=0.6)


@pytest.mark.parametrize(
    ("mouths", "before", "speaker"),
    [
        # Of several faces the one most in step speaks.
        ({1: SILENT, 2: SPEAKING, 3: None}, None, 2),
        # If it is not clear who speaks, nobody is said to.
        ({1: SPEAKING, 2: Mouth(0.1, 1.1)}, None, None),
        ({1: SILENT, 2: Mouth(0.05, 0.2)}, None, None),
        ({1: None, 2: None}, None, None),
        ({1: STILL, 2: SILENT}, None, None),
        ({}, None, None),
        # The only mouth that moves needs less, and who spoke just before least.
        ({1: STILL, 2: WEAK}, None, 2),
        ({1: SILENT, 2: WEAK}, None, None),
        ({1: SILENT, 2: WEAK}, 2, 2),
        # But for nobody's sake is the one overlooked who is more in step.
        ({1: SILENT, 2: WEAK}, 1, None),
        ({1: SPEAKING, 2: WEAK}, 2, 1),
        ({1: STILL, 2: Mouth(0.05, -0.1)}, 2, None),
        ({1: STILL}, 2, None),
        # A syllable or half of a sentence does not tell who of several speaks.
        ({1: MUTE, 2: SYLLABLE}, None, None),
        ({1: MUTE, 2: HALF}, None, None),
        ({1: MUTE, 2: SYLLABLE}, 2, 2),
        ({2: SYLLABLE}, None, 2),
        ({1: MUTE, 2: Mouth(0.1, 1.2, seen_seconds=1.2, seen_share=0.6)}, None, 2),
        # A face alone speaks unless its mouth keeps still or heeds no sound.
        *(({1: mouth}, None, 1) for mouth in (SPEAKING, SILENT, None)),
        *(({1: mouth}, None, None) for mouth in (Mouth(0.001, 0.9), Mouth(0.1, -0.2))),
    ],
)
def test_who_speaks(mouths, before, speaker):
    assert find_speaker(mouths, before=before) == speaker


def test_how_much_of_the_speech_a_mouth_was_watched_is_told():
    voice = make_syllables(0)
    loudness, is_speech = 20 * np.log10(0.01 + voice), voice > 0.05
    whole = compare(voice, voice)
    assert whole.seen_share > 0.95 and whole.seen_seconds == pytest.approx(is_speech.sum() / RATE_HZ, abs=0.1)
    times = np.arange(0, 2.0, 0.04)
    part = watch_mouth(times, np.sin(30 * times), 0.0, loudness, is_speech)
    assert 0.55 < part.seen_share < 0.8 and part.seen_seconds < whole.seen_seconds


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_loudness_is_in_decibels_fifty_times_a_second(rate):
    samples = np.concatenate([np.zeros(rate), np.full(rate, 0.1)]).astype(np.float32)
    loudness = compute_loudness(samples, rate)
    assert len(loudness) == 100
    np.testing.assert_allclose(loudness[51:], -20, atol=0.1)
    assert loudness[:49].max() < -90
    assert len(compute_loudness(samples[:0], rate)) == 0
