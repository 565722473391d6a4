"""The shipped models on the sample clip, whole and with parts of its evidence taken away: what each answers by."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import soundfile

from emotion.config import RECIPE_NAMES
from emotion.datasets.synthetic.clips import write_clip
from emotion.evaluation.training_record import load_seen
from emotion.inference.predictor import EmotionPredictor
from emotion.inputs.faces.detection import YuNetDetector
from emotion.labels import SEVEN_EMOTIONS
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media
from emotion.places import saved_models

SAMPLE = saved_models().parent / "samples" / "astronaut.mp4"
RATE = 22050
LARGEST_FILE_MEGABYTES = {"default": 10, "accurate": 20}
# The portrait smiles broadly; the voice is synthetic and promises nothing.
SMILE = "happy"


both_models = pytest.mark.parametrize("predictor", RECIPE_NAMES, indirect=True)
default_first = pytest.mark.parametrize(
    "predictor", ["default", pytest.param("accurate", marks=pytest.mark.thorough)], indirect=True
)


@pytest.fixture(scope="module")
def predictor(request):
    return EmotionPredictor(saved_models() / request.param)


@pytest.fixture(scope="module")
def sample():
    """Pictures and sound of the sample clip: ``(n, height, width, 3)``, pictures a second, ``(n_samples,)``."""
    frames, sound = [], []
    for item in iterate_media(SAMPLE, sample_rate=RATE):
        (frames if isinstance(item, VideoFrame) else sound).append(item)
    pictures = np.stack([frame.image for frame in frames])
    return pictures, 1 / frames[0].duration_seconds, np.concatenate([chunk.samples for chunk in sound])


def ask(predictor, path, pictures, frame_rate, sound):
    write_clip(path, pictures, frame_rate, waveform=sound, sample_rate=RATE)
    return predictor.predict(path)


def speak(pictures, frame_rate, sound):
    """Opens and closes the portrait's mouth with the loudness of the voice: what lies below the lips moves down."""
    detector, spoken = YuNetDetector(), pictures.copy()
    level = np.convolve(np.abs(sound), np.ones(RATE // 20) / (RATE // 20), mode="same")
    for index, picture in enumerate(pictures):
        (face, *_) = detector.detect(picture)
        (left, lips), (right, _) = face.landmarks[3:].round().astype(int)
        width = right - left
        opening = round(0.35 * width * level[min(len(level) - 1, round(index / frame_rate * RATE))] / level.max())
        chin = np.s_[lips : lips + width, left - width // 4 : right + width // 4]
        spoken[index][chin] = np.roll(picture[chin], opening, axis=0)
        spoken[index][lips : lips + opening, left - width // 4 : right + width // 4] = 30
    return spoken


def evidences(prediction) -> set[str]:
    return {window.evidence for window in prediction.windows}


@both_models
def test_a_folder_says_what_it_is_and_stays_small(predictor):
    run = predictor.run
    assert run.config.class_names == SEVEN_EMOTIONS
    assert (run.path / "model.keras").stat().st_size < 1e6 * LARGEST_FILE_MEGABYTES[run.path.name]
    card = (run.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    for word in ("CC BY-NC-SA 4.0", "non-commercial", "Article 5", "Article 50", "EmoDB", "FER+", "muxspace"):
        assert word in card
    assert any(path.name.startswith("LICENCE") for path in run.path.iterdir()) == (run.path.name == "accurate")
    assert load_seen(run.path / "splits.csv") is not None
    calibration = run.config.calibration
    assert 0 < calibration.unsure_below < 1
    assert calibration != replace(calibration, both=1.0, face=1.0, voice=1.0)


@both_models
def test_the_sample_clip_smiles_and_its_voice_is_judged_by_itself(predictor):
    prediction = predictor.predict(SAMPLE)
    # It is a photograph: the mouth does not move with the voice.
    assert evidences(prediction) == {"face", "voice"}
    assert prediction.overall.emotion == SMILE and prediction.overall.evidence == "face"


@both_models
def test_a_face_and_its_voice_are_judged_together(predictor, sample, tmp_path):
    pictures, frame_rate, sound = sample
    prediction = ask(predictor, tmp_path / "clip.mp4", speak(pictures, frame_rate, sound), frame_rate, sound)
    assert evidences(prediction) == {"face+voice"}
    assert prediction.overall.evidence == "face+voice"


@default_first
def test_without_its_sound_or_with_silence_a_clip_is_judged_by_the_face_alone(predictor, sample, tmp_path):
    pictures, frame_rate, sound = sample
    mute = ask(predictor, tmp_path / "mute.mp4", pictures, frame_rate, None)
    silent = ask(predictor, tmp_path / "silent.mp4", pictures, frame_rate, np.zeros_like(sound))
    assert evidences(mute) == evidences(silent) == {"face"}
    assert mute.overall.emotion == SMILE
    assert "the file has no sound" in mute.notes
    np.testing.assert_allclose(silent.overall.probabilities, mute.overall.probabilities, atol=0.02)


@both_models
def test_without_its_picture_a_clip_is_judged_by_the_voice_alone(predictor, sample, tmp_path):
    _, _, sound = sample
    path = tmp_path / "voice.wav"
    soundfile.write(path, sound, RATE)
    prediction = predictor.predict(path)
    assert evidences(prediction) == {"voice"}
    assert prediction.tracks == ()


@default_first
@pytest.mark.parametrize(("loudness", "evidence"), [(1, "voice"), (0, "none")])
def test_a_black_picture_is_no_face_and_leaves_the_voice_if_there_is_one(
    predictor, sample, tmp_path, loudness, evidence
):
    pictures, frame_rate, sound = sample
    prediction = ask(predictor, tmp_path / "clip.mp4", np.zeros_like(pictures), frame_rate, loudness * sound)
    assert evidences(prediction) == {evidence}
    assert "no face was found" in prediction.notes
    if evidence == "none":
        assert prediction.overall.emotion is None and prediction.overall.confidence == 0


@default_first
def test_noise_does_not_outweigh_a_clear_face(predictor, sample, tmp_path):
    pictures, frame_rate, sound = sample
    noise = np.random.default_rng(0).normal(0, 0.1, len(sound)).astype(np.float32)
    prediction = ask(predictor, tmp_path / "clip.mp4", pictures, frame_rate, noise)
    assert np.isfinite(prediction.overall.probabilities).all()
    assert prediction.overall.most_probable == SMILE


@default_first
def test_a_face_lost_half_way_counts_while_it_is_there_and_the_voice_after_it(predictor, sample, tmp_path):
    pictures, frame_rate, sound = sample
    half = speak(pictures, frame_rate, sound)
    half[len(half) // 2 :] = 0
    # As long again, so that there are windows without any of the face.
    half = np.concatenate([half, np.zeros_like(pictures)])
    prediction = ask(predictor, tmp_path / "clip.mp4", half, frame_rate, np.tile(sound, 2))
    assert {"face+voice", "voice"} <= evidences(prediction)
    together = [window for window in prediction.windows if window.evidence == "face+voice"]
    apart = [window for window in prediction.windows if window.evidence == "voice"]
    assert max(w.start_seconds for w in together) < min(w.start_seconds for w in apart)
    assert max(w.start_seconds for w in together) < len(pictures) / frame_rate / 2 < max(w.start_seconds for w in apart)


@default_first
def test_grey_small_and_soft_pictures_of_a_face_are_judged_as_the_sharp_one_in_colour(predictor, sample, tmp_path):
    pictures, frame_rate, _ = sample
    sharp = ask(predictor, tmp_path / "sharp.mp4", pictures, frame_rate, None)
    poor = []
    for picture in pictures:
        small = cv2.resize(
            cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA
        )
        poor.append(cv2.cvtColor(small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2], cv2.COLOR_GRAY2RGB))
    soft = ask(predictor, tmp_path / "soft.mp4", np.stack(poor), frame_rate, None)
    assert soft.overall.most_probable == sharp.overall.most_probable
    assert np.abs(soft.overall.probabilities - sharp.overall.probabilities).max() < 0.15


@default_first
def test_how_loud_a_recording_is_hardly_counts(predictor, sample, tmp_path):
    pictures, frame_rate, sound = sample
    black = np.zeros_like(pictures)
    loud = ask(predictor, tmp_path / "loud.mp4", black, frame_rate, sound)
    quiet = ask(predictor, tmp_path / "quiet.mp4", black, frame_rate, sound * 0.1)
    heard = [{w.start_seconds: w.probabilities for w in p.windows if w.evidence == "voice"} for p in (loud, quiet)]
    # A whisper of a voice may be taken for none at all; where both are heard they say the same.
    both = sorted(set(heard[0]) & set(heard[1]))
    assert len(both) >= len(heard[0]) / 2
    means = [np.mean([windows[start] for start in both], axis=0) for windows in heard]
    assert np.abs(means[0] - means[1]).max() < 0.15
