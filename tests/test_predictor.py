"""Inference on all kinds of media: what is judged, by what evidence, and that bad files are named."""

import dataclasses
import tracemalloc

import media_files
import numpy as np
import pytest
import soundfile
from conftest import EMOTIONS, small_config

from emotion.config import CalibrationConfig
from emotion.errors import MediaError
from emotion.media.reading import probe_media
from emotion.models import build_model
from emotion.predictor import EmotionPredictor, MediaScanner
from emotion.runs import Run
from emotion.synthetic import draw_clip, write_clip
from emotion.synthetic_faces import draw_face
from emotion.synthetic_voices import synthesize_voice

RATE = 22050


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    config = small_config()
    return EmotionPredictor(Run(tmp_path_factory.mktemp("run"), config, build_model(config), sha256=""))


def write_talking_face(path, *, seconds=2.0, with_voice=True, frame_rate=10.0, faces=1):
    """A clip of drawn faces side by side, with a voice."""
    times = np.arange(0, seconds, 1 / frame_rate)
    frames = [
        draw_clip("happy", times, np.zeros(len(times)), speaker_seed=seed, size=200) for seed in range(1, faces + 1)
    ]
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=seconds, sample_rate=RATE)
    waveform = voice if with_voice else None
    write_clip(path, np.concatenate(frames, axis=2), frame_rate, waveform=waveform, sample_rate=RATE)
    return path


def evidences(prediction) -> set[str]:
    return {window.evidence for window in prediction.windows}


def test_a_face_with_its_voice_is_judged_by_both(predictor, tmp_path):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4"))
    assert evidences(prediction) == {"face+voice"}
    assert prediction.overall.evidence == "face+voice"
    assert prediction.overall.emotion in EMOTIONS
    assert prediction.overall.confidence == pytest.approx(max(prediction.overall.probabilities))
    assert prediction.overall.probabilities.sum() == pytest.approx(1)
    assert prediction.notes == ()
    assert [track.face_id for track in prediction.tracks] == [1]
    assert prediction.duration_seconds == pytest.approx(2.0, abs=0.1)


def test_windows_slide_and_the_last_one_ends_with_the_clip(predictor, tmp_path):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4", seconds=2.3))
    starts = [window.start_seconds for window in prediction.windows]
    assert starts[:3] == [0.0, 0.5, 1.0]
    assert prediction.windows[-1].end_seconds == pytest.approx(prediction.duration_seconds)


def test_a_clip_shorter_than_a_window_is_judged_once(predictor, tmp_path):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4", seconds=0.6))
    assert len(prediction.windows) == 1
    assert prediction.overall.emotion in EMOTIONS


def test_a_clip_without_sound_is_judged_by_the_face_and_said_so(predictor, tmp_path):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4", with_voice=False))
    assert evidences(prediction) == {"face"}
    assert prediction.notes == ("the file has no sound",)


def test_a_clip_without_a_face_is_judged_by_the_voice_and_said_so(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    voice = synthesize_voice("sad", speaker_seed=2, duration_seconds=2, sample_rate=RATE)
    write_clip(path, np.full((20, 120, 160, 3), 90, np.uint8), 10.0, waveform=voice, sample_rate=RATE)
    prediction = predictor.predict(path)
    assert evidences(prediction) == {"voice"}
    assert prediction.tracks == ()
    assert prediction.notes == ("no face was found",)


def test_neither_face_nor_sound_gives_no_answer_instead_of_a_guess(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    silence = np.zeros(2 * RATE, np.float32)
    write_clip(path, np.zeros((20, 120, 160, 3), np.uint8), 10.0, waveform=silence, sample_rate=RATE)
    prediction = predictor.predict(path)
    assert evidences(prediction) == {"none"}
    assert prediction.overall.emotion is prediction.overall.most_probable is None
    assert prediction.overall.confidence == 0
    assert prediction.notes == ("no voice was heard in the sound", "no face was found")


def test_below_the_models_threshold_every_answer_is_unsure_and_the_probabilities_stay(predictor, tmp_path):
    clip = write_talking_face(tmp_path / "clip.mp4", faces=2)
    plain = predictor.predict(clip)
    assert plain.overall.emotion == plain.overall.most_probable
    config = dataclasses.replace(predictor.config, calibration=CalibrationConfig(unsure_below=1.0))
    unsure = EmotionPredictor(dataclasses.replace(predictor.run, config=config)).predict(clip)
    assert unsure.unsure_below == 1.0
    for face_id in (1, 2):
        assert unsure.by_face[face_id].emotion == "unsure"
        assert unsure.by_face[face_id].most_probable == plain.by_face[face_id].emotion
    assert (unsure.overall.emotion, unsure.overall.most_probable) == ("unsure", plain.overall.emotion)
    np.testing.assert_array_equal(unsure.overall.probabilities, plain.overall.probabilities)


def test_a_temperature_makes_inference_less_sure_of_the_same(predictor, tmp_path):
    clip = write_talking_face(tmp_path / "clip.mp4")
    config = dataclasses.replace(predictor.config, calibration=CalibrationConfig(both=5.0))
    warm = EmotionPredictor(dataclasses.replace(predictor.run, config=config)).predict(clip)
    plain = predictor.predict(clip)
    assert warm.overall.confidence < plain.overall.confidence
    assert warm.overall.emotion == plain.overall.emotion


def test_of_several_faces_none_is_given_the_voice(predictor, tmp_path):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4", faces=2))
    assert len(prediction.tracks) == 2
    assert {window.evidence for window in prediction.windows if window.face_id} == {"face"}
    assert {window.evidence for window in prediction.windows if window.face_id is None} == {"voice"}
    assert set(prediction.by_face) == {1, 2}
    assert prediction.notes == ("several faces: where more than one is in sight, the voice is judged apart from them",)


def test_a_sound_file_is_judged_by_the_voice(predictor, tmp_path):
    path = tmp_path / "voice.wav"
    soundfile.write(path, synthesize_voice("sad", speaker_seed=2, sample_rate=RATE), RATE)
    prediction = predictor.predict(path)
    assert not prediction.has_video
    assert evidences(prediction) == {"voice"}
    assert "the file has no picture" in prediction.notes


def test_an_image_is_judged_by_the_face(predictor, tmp_path):
    import cv2

    path = tmp_path / "still.png"
    cv2.imwrite(str(path), draw_face("happy", speaker_seed=3)[..., ::-1])
    prediction = predictor.predict(path)
    assert evidences(prediction) == {"face"}
    assert len(prediction.windows) == 1
    assert len(prediction.tracks) == 1


def test_permuting_the_class_names_permutes_the_probabilities(tmp_path):
    names = ("happy", "sad", "angry")
    order = [2, 0, 1]
    clip = write_talking_face(tmp_path / "clip.mp4")
    config = small_config(class_names=names)
    model = build_model(config)
    permuted_config = dataclasses.replace(config, class_names=tuple(names[i] for i in order))
    permuted = build_model(permuted_config)
    permuted.set_weights(model.get_weights())
    kernel, bias = model.get_layer("logits").get_weights()
    permuted.get_layer("logits").set_weights([kernel[:, order], bias[order]])
    plain = EmotionPredictor(Run(tmp_path, config, model, sha256="")).predict(clip)
    other = EmotionPredictor(Run(tmp_path, permuted_config, permuted, sha256="")).predict(clip)
    np.testing.assert_allclose(other.overall.probabilities, plain.overall.probabilities[order], atol=1e-6)
    assert other.overall.emotion == plain.overall.emotion
    assert other.overall.probabilities[other.class_names.index("sad")] == pytest.approx(
        plain.overall.probabilities[plain.class_names.index("sad")], abs=1e-6
    )


def test_a_model_of_voices_alone_ignores_faces(tmp_path):
    config = small_config(modalities=("audio",))
    predictor = EmotionPredictor(Run(tmp_path, config, build_model(config), sha256=""))
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4"))
    assert evidences(prediction) == {"voice"}
    assert prediction.notes[0] == "the model judges by the voice alone"


def test_a_model_of_whole_frames_needs_no_face(tmp_path):
    config = small_config()
    config = dataclasses.replace(config, video=dataclasses.replace(config.video, crop="frame"))
    predictor = EmotionPredictor(Run(tmp_path, config, build_model(config), sha256=""))
    path = tmp_path / "clip.mp4"
    write_clip(path, np.full((15, 60, 80, 3), 200, np.uint8), 10.0)
    prediction = predictor.predict(path)
    assert prediction.overall.emotion in EMOTIONS
    assert prediction.tracks == ()


def test_a_face_lost_half_way_is_judged_while_it_is_there(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    times = np.arange(0, 2, 0.1)
    frames = draw_clip("happy", times, np.zeros(len(times)), speaker_seed=1, size=200)
    nothing = np.full_like(frames, 128)
    write_clip(path, np.concatenate([frames, nothing, nothing]), 10.0)
    prediction = predictor.predict(path)
    with_face = [window for window in prediction.windows if window.evidence == "face"]
    without = [window for window in prediction.windows if window.evidence == "none"]
    assert max(window.start_seconds for window in with_face) < 2.0
    assert min(window.start_seconds for window in without) >= 1.5
    assert prediction.tracks[0].box_at(1.0) is not None
    assert prediction.tracks[0].box_at(3.0) is None


def test_times_of_a_variable_rate_clip_are_its_own(predictor, tmp_path):
    path = media_files.make_clip(tmp_path / "vfr.mp4", frame_times=[0.0, 0.04, 0.5, 0.52, 1.4, 2.2])
    prediction = predictor.predict(path)
    assert prediction.duration_seconds >= 2.2


def test_progress_is_told_and_ends_at_the_end(predictor, tmp_path):
    told = []
    prediction = predictor.predict(
        write_talking_face(tmp_path / "clip.mp4"), progress=lambda done, total: told.append((done, total))
    )
    assert told == sorted(told, key=lambda pair: pair[0])
    assert told[-1] == (prediction.duration_seconds, prediction.duration_seconds)


def test_a_long_clip_is_held_in_memory_a_window_at_a_time(tmp_path):
    scanner = MediaScanner(small_config())
    path = write_talking_face(tmp_path / "clip.mp4", seconds=12, frame_rate=5)
    most = 0
    for _ in scanner.scan(path, probe_media(path)):
        most = max(most, sum(len(crops) for crops in scanner._crops.values()))
        assert scanner._sound.end - scanner._sound._first < 8 * RATE
    # 4 moments a second; a window and a step, and what the other stream may run ahead
    assert most <= 4 * 8


def test_memory_does_not_grow_with_the_length_of_a_clip(predictor, tmp_path):
    def peak(seconds: int) -> int:
        path = write_talking_face(tmp_path / f"{seconds}.mp4", seconds=seconds, frame_rate=5)
        predictor.predict(path)  # what is loaded once must not be counted
        tracemalloc.start()
        predictor.predict(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    short, long = peak(8), peak(32)
    assert long < short + 4e6  # the sound of 24 s more alone would be 2 MB, their windows 30 MB at the default size


def test_a_slide_show_keeps_its_faces_and_its_voice(predictor, tmp_path):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4", seconds=6, frame_rate=1))
    assert evidences(prediction) == {"face+voice"}
    assert len(prediction.tracks) == 1


def test_the_answer_comes_from_a_face_that_was_judged(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    times = np.arange(0, 4, 0.1)
    small = draw_clip("happy", times, np.zeros(len(times)), speaker_seed=1, size=120)
    frames = np.full((len(times), 600, 760, 3), 120, np.uint8)
    frames[:, 20:140, 20:140] = small
    # So large that its few moments outweigh all of the small one's, and too short to be judged.
    large = draw_clip("sad", times[:2], np.zeros(2), speaker_seed=2, size=600)
    frames[-2:, :, 150:750] = large
    write_clip(path, frames, 10.0)
    prediction = predictor.predict(path)
    assert prediction.by_face[1].emotion is not None
    np.testing.assert_array_equal(prediction.overall.probabilities, prediction.by_face[1].probabilities)


def test_a_long_last_picture_does_not_make_the_clip_longer_than_it_is(predictor, tmp_path):
    path = media_files.make_clip(
        tmp_path / "clip.mp4", seconds=5, frame_times=[*(i / 25 for i in range(25)), 4.5], audio_codec="aac"
    )
    prediction = predictor.predict(path)
    assert prediction.duration_seconds < 6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (media_files.make_empty, "empty"),
        (media_files.make_renamed_text, "not a readable media file"),
        (media_files.make_lfs_pointer, "git lfs pull"),
    ],
)
def test_a_bad_file_is_named_with_the_way_out(make, words, predictor, tmp_path):
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(MediaError, match=r"bad\.mp4") as caught:
        predictor.predict(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(predictor, tmp_path):
    with pytest.raises(MediaError, match=r"absent\.mp4"):
        predictor.predict(tmp_path / "absent.mp4")
