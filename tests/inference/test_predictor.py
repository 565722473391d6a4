"""Inference on all kinds of media: what is judged, by what evidence, and that bad files are named."""

import dataclasses
import tracemalloc

import media_files
import numpy as np
import pytest
import soundfile
from small_models import EMOTIONS, small_config

from emotion.config import CalibrationConfig
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import ConfigError, EmotionError, MediaError
from emotion.inference.clip_result import widen_windows
from emotion.inference.predictor import EmotionPredictor
from emotion.inputs.window_cutter import WindowCutter
from emotion.media.reading import iterate_media
from emotion.media.recordings import Recording
from emotion.media.tracks import TrackChoice
from emotion.models import build_model
from emotion.models.trained_model import Run
from emotion.results import WindowPrediction
from emotion.settings import InferenceSettings

RATE = 22050


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    config = small_config()
    return EmotionPredictor(Run(tmp_path_factory.mktemp("run"), config, build_model(config), sha256=""))


def with_settings(predictor, **settings) -> EmotionPredictor:
    return EmotionPredictor(predictor.run, InferenceSettings(**settings))


def loudness_at(voice, times):
    """How loud a voice is at some times, 0 to 1."""
    level = np.convolve(np.abs(voice), np.ones(RATE // 20) / (RATE // 20), mode="same")
    return np.clip(np.interp(times, np.arange(len(level)) / RATE, level / level.max()), 0, 1)


def write_talking_face(path, *, seconds=2.0, with_voice=True, frame_rate=20.0, faces=1, speaker=1):
    """A clip of drawn faces side by side, with a voice that moves the mouth of one of them."""
    times = np.arange(0, seconds, 1 / frame_rate)
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=seconds, sample_rate=RATE)
    still, moving = np.zeros(len(times)), loudness_at(voice, times)
    frames = [
        draw_clip("happy", times, moving if seed == speaker else still, speaker_seed=seed, size=200)
        for seed in range(1, faces + 1)
    ]
    waveform = voice if with_voice else None
    write_clip(path, np.concatenate(frames, axis=2), frame_rate, waveform=waveform, sample_rate=RATE)
    return path


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """Two seconds of a face with its voice."""
    return write_talking_face(tmp_path_factory.mktemp("talking") / "clip.mp4")


def evidences(prediction) -> set[str]:
    return {window.evidence for window in prediction.windows}


def test_a_face_with_its_voice_is_judged_by_both_and_progress_ends_at_the_end(predictor, talking):
    told = []
    prediction = predictor.predict(talking, progress=lambda done, total: told.append((done, total)))
    assert evidences(prediction) == {"face+voice"}
    assert prediction.overall.evidence == "face+voice"
    assert prediction.overall.emotion in EMOTIONS
    assert prediction.overall.confidence == pytest.approx(max(prediction.overall.probabilities))
    assert prediction.overall.probabilities.sum() == pytest.approx(1)
    assert prediction.notes == ()
    assert [track.face_id for track in prediction.tracks] == [1]
    assert prediction.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert told == sorted(told, key=lambda pair: pair[0])
    assert told[-1] == (prediction.duration_seconds, prediction.duration_seconds)


@pytest.mark.parametrize(("seconds", "starts"), [(2.3, [0.0, 0.5, 1.0]), (0.6, [0.0])])
def test_windows_slide_the_last_one_ends_with_the_clip_and_a_short_clip_has_one(predictor, tmp_path, seconds, starts):
    prediction = predictor.predict(write_talking_face(tmp_path / "clip.mp4", seconds=seconds))
    assert [window.start_seconds for window in prediction.windows][:3] == starts
    assert prediction.windows[-1].end_seconds == pytest.approx(prediction.duration_seconds)
    assert prediction.overall.emotion in EMOTIONS


@pytest.mark.parametrize("sound", ["none", "noise", "speech"])
def test_where_nobody_speaks_faces_are_judged_in_windows_as_short_as_the_model_allows(predictor, tmp_path, sound):
    config = predictor.config
    window = dataclasses.replace(config.window, face_share=0.4)
    run = dataclasses.replace(predictor.run, config=dataclasses.replace(config, window=window))
    path = write_talking_face(tmp_path / "clip.mp4", with_voice=sound == "speech")
    if sound == "noise":
        pictures = [item.image for item in iterate_media(path, sample_rate=RATE)]
        noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
        write_clip(path, np.stack(pictures), 10.0, waveform=noise, sample_rate=RATE)
    short, whole = 0.4 * config.window.window_seconds, config.window.window_seconds
    prediction = EmotionPredictor(run).predict(path)
    expected = whole if sound == "speech" else short
    assert prediction.window_seconds == pytest.approx(expected)
    lengths = [w.end_seconds - w.start_seconds for w in prediction.windows]
    assert max(lengths) == pytest.approx(expected)
    assert evidences(prediction) == ({"face+voice"} if sound == "speech" else {"face"})
    assert prediction.has_audio == (sound != "none")
    assert ("the file has no sound" in prediction.notes) == (sound == "none")
    # What is asked for counts for all clips alike.
    chosen = EmotionPredictor(run, InferenceSettings(window_seconds=whole)).predict(path)
    assert chosen.window_seconds == pytest.approx(whole)


@pytest.mark.parametrize(("loudness", "evidence"), [(1, "voice"), (0, "none")])
def test_without_a_face_a_clip_is_judged_by_its_voice_and_without_either_not_at_all(
    predictor, tmp_path, loudness, evidence
):
    path = tmp_path / "clip.mp4"
    voice = synthesize_voice("sad", speaker_seed=2, duration_seconds=2, sample_rate=RATE)
    write_clip(path, np.full((20, 120, 160, 3), 90, np.uint8), 10.0, waveform=loudness * voice, sample_rate=RATE)
    prediction = predictor.predict(path)
    assert evidences(prediction) == {evidence}
    assert prediction.tracks == ()
    assert prediction.notes[-1] == "no face was found" and len(prediction.notes) == 2 - loudness
    assert ("no voice was heard in the sound" in prediction.notes) == (evidence == "none")
    if evidence == "none":
        assert prediction.overall.emotion is prediction.overall.most_probable is None
        assert prediction.overall.confidence == 0


def test_below_a_threshold_of_the_model_or_ones_own_every_answer_is_unsure_and_probabilities_stay(predictor, tmp_path):
    clip = write_talking_face(tmp_path / "clip.mp4", faces=2)
    plain = predictor.predict(clip)
    assert plain.overall.emotion == plain.overall.most_probable
    config = dataclasses.replace(predictor.config, calibration=CalibrationConfig(unsure_below=1.0))
    of_model = EmotionPredictor(dataclasses.replace(predictor.run, config=config))
    for unsure in (of_model.predict(clip), with_settings(predictor, unsure_below=1.0).predict(clip)):
        assert unsure.unsure_below == 1.0
        for face_id in (1, 2):
            assert unsure.by_face[face_id].emotion == "unsure"
            assert unsure.by_face[face_id].most_probable == plain.by_face[face_id].emotion
        assert (unsure.overall.emotion, unsure.overall.most_probable) == ("unsure", plain.overall.emotion)
        np.testing.assert_array_equal(unsure.overall.probabilities, plain.overall.probabilities)


def test_a_temperature_makes_inference_less_sure_of_the_same(predictor, talking):
    config = dataclasses.replace(predictor.config, calibration=CalibrationConfig(both=5.0))
    warm = EmotionPredictor(dataclasses.replace(predictor.run, config=config)).predict(talking)
    plain = predictor.predict(talking)
    assert warm.overall.confidence < plain.overall.confidence
    assert warm.overall.emotion == plain.overall.emotion


@pytest.mark.parametrize("speaker", [1, 2])
def test_of_several_faces_the_one_whose_mouth_moves_is_given_the_voice(predictor, tmp_path, speaker):
    path = write_talking_face(tmp_path / "clip.mp4", faces=2, speaker=speaker, seconds=3, frame_rate=25)
    prediction = predictor.predict(path)
    assert len(prediction.tracks) == 2
    by_place = sorted(prediction.tracks, key=lambda track: track.boxes[0][0])
    speaking, silent = by_place[speaker - 1].face_id, by_place[2 - speaker].face_id
    heard = [window.evidence for window in prediction.windows if window.face_id == speaking]
    # In a window of one second with little speech in it, it may be left open whose it is.
    assert heard.count("face+voice") >= 2 / 3 * len(heard)
    assert {window.evidence for window in prediction.windows if window.face_id == silent} == {"face"}


@pytest.mark.parametrize("faces", [1, 2])
def test_where_no_mouth_moves_the_voice_is_judged_by_itself(predictor, tmp_path, faces):
    path = write_talking_face(tmp_path / "clip.mp4", faces=faces, speaker=None, seconds=3, frame_rate=25)
    prediction = predictor.predict(path)
    assert {window.evidence for window in prediction.windows if window.face_id} == {"face"}
    assert {window.evidence for window in prediction.windows if window.face_id is None} == {"voice"}
    assert prediction.voice.evidence == "voice" and prediction.overall.evidence == "face"
    np.testing.assert_array_equal(prediction.overall.probabilities, prediction.by_face[1].probabilities)
    assert "the voice is judged by itself" in prediction.notes[0]


@pytest.mark.parametrize(("kind", "evidence"), [("voice", "voice"), ("noise", "none"), ("music", "none")])
def test_a_sound_file_is_judged_by_its_voice_and_by_nothing_that_is_no_speech(predictor, tmp_path, kind, evidence):
    times = np.arange(2 * RATE) / RATE
    sound = {
        "voice": synthesize_voice("sad", speaker_seed=2, sample_rate=RATE),
        "noise": np.random.default_rng(0).normal(0, 0.2, len(times)) * (1 + np.sin(7 * times)),
        "music": 0.1 * sum(np.sign(np.sin(2 * np.pi * hertz * times)) for hertz in (220, 277, 330)),
    }[kind]
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.clip(sound, -1, 1).astype(np.float32), RATE)
    prediction = predictor.predict(path)
    assert not prediction.has_video
    assert evidences(prediction) == {evidence}
    assert "the file has no picture" in prediction.notes
    assert ("no voice was heard in the sound" in prediction.notes) == (evidence == "none")


def test_an_image_is_judged_by_the_face(predictor, tmp_path):
    import cv2

    path = tmp_path / "still.png"
    cv2.imwrite(str(path), draw_face("happy", speaker_seed=3)[..., ::-1])
    prediction = predictor.predict(path)
    assert evidences(prediction) == {"face"}
    assert len(prediction.windows) == 1
    assert len(prediction.tracks) == 1


def test_permuting_the_class_names_permutes_the_probabilities(talking, tmp_path):
    names = ("happy", "sad", "angry")
    order = [2, 0, 1]
    config = small_config(class_names=names)
    model = build_model(config)
    permuted_config = dataclasses.replace(config, class_names=tuple(names[i] for i in order))
    permuted = build_model(permuted_config)
    permuted.set_weights(model.get_weights())
    kernel, bias = model.get_layer("logits").get_weights()
    permuted.get_layer("logits").set_weights([kernel[:, order], bias[order]])
    plain = EmotionPredictor(Run(tmp_path, config, model, sha256="")).predict(talking)
    other = EmotionPredictor(Run(tmp_path, permuted_config, permuted, sha256="")).predict(talking)
    np.testing.assert_allclose(other.overall.probabilities, plain.overall.probabilities[order], atol=1e-6)
    assert other.overall.emotion == plain.overall.emotion


def test_a_model_of_voices_alone_ignores_faces(talking, tmp_path):
    config = small_config(modalities=("audio",))
    predictor = EmotionPredictor(Run(tmp_path, config, build_model(config), sha256=""))
    prediction = predictor.predict(talking)
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


@pytest.mark.parametrize(
    ("frame_times", "options", "shortest", "longest"),
    [
        ([0.0, 0.04, 0.5, 0.52, 1.4, 2.2], {}, 2.2, 6),
        ([*(i / 25 for i in range(25)), 4.5], {"seconds": 5, "audio_codec": "aac"}, 4.5, 6),  # one long last picture
    ],
)
def test_times_of_a_variable_rate_clip_are_its_own(predictor, tmp_path, frame_times, options, shortest, longest):
    path = media_files.make_clip(tmp_path / "vfr.mp4", frame_times=frame_times, **options)
    assert shortest <= predictor.predict(path).duration_seconds < longest


def test_a_long_clip_is_held_in_memory_a_window_at_a_time(tmp_path):
    scanner = WindowCutter(small_config())
    path = write_talking_face(tmp_path / "clip.mp4", seconds=12, frame_rate=5)
    most = 0
    for _ in scanner.cut(iterate_media(path, sample_rate=RATE)):
        most = max(most, sum(len(crops) for crops in scanner._crops.values()))
        assert scanner._sound.end - scanner._sound._first < 8 * RATE
        assert sum(len(measured) for measured in scanner.sampler.mouths.values()) < 8 * 5
    # 4 moments a second; a window and a step, and what the other stream may run ahead
    assert most <= 4 * 8


def test_memory_does_not_grow_with_the_length_of_a_clip(predictor, tmp_path):
    def peak(seconds: int) -> int:
        path = write_talking_face(tmp_path / f"{seconds}.mp4", seconds=seconds, frame_rate=5)
        tracemalloc.start()
        predictor.predict(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(8)  # what is loaded once must not be counted
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


def test_a_missing_file_is_named(predictor, tmp_path):
    with pytest.raises(MediaError, match=r"absent\.mp4"):
        predictor.predict(tmp_path / "absent.mp4")


# ---- What is chosen at inference ----


def test_windows_may_be_shorter_than_the_models_and_then_hold_no_more(predictor, tmp_path):
    path = write_talking_face(tmp_path / "clip.mp4", seconds=3, with_voice=False)
    prediction = with_settings(predictor, window_seconds=0.5, step_seconds=0.25).predict(path)
    assert {round(w.end_seconds - w.start_seconds, 3) for w in prediction.windows} == {0.5}
    assert [w.start_seconds for w in prediction.windows][:3] == [0.0, 0.25, 0.5]
    scanner = WindowCutter(predictor.config, InferenceSettings(window_seconds=0.5))
    (window,) = next(scanner.cut(iterate_media(path, sample_rate=RATE)))
    (whole,) = next(WindowCutter(predictor.config).cut(iterate_media(path, sample_rate=RATE)))
    moments = round(0.5 / predictor.config.frame_interval_seconds)
    video, first = window.inputs["video"], whole.inputs["video"][:moments]
    np.testing.assert_array_equal(video, first[np.arange(len(video)) * moments // len(video)])
    assert any((frame != video[0]).any() for frame in video)


def test_windows_may_be_longer_and_then_average_the_models(predictor, tmp_path):
    path = write_talking_face(tmp_path / "clip.mp4", seconds=4, with_voice=False)
    plain = predictor.predict(path)
    wide = with_settings(predictor, window_seconds=2.0).predict(path)
    assert {round(w.end_seconds - w.start_seconds, 3) for w in wide.windows} == {2.0}
    inside = [w.probabilities for w in plain.windows if w.end_seconds <= 2.0]
    np.testing.assert_allclose(wide.windows[0].probabilities, np.mean(inside, axis=0), atol=1e-6)


def test_a_window_wider_than_the_clip_is_as_long_as_the_clip(predictor, talking):
    prediction = with_settings(predictor, window_seconds=30.0).predict(talking)
    (window,) = prediction.windows
    assert window.end_seconds <= prediction.duration_seconds + 1e-6
    assert window.evidence == "face+voice"


def test_widening_keeps_faces_apart_and_joins_their_evidence():
    def window(start, face_id, evidence, happy):
        probabilities = None if evidence == "none" else np.array([happy, 1 - happy])
        return WindowPrediction(start, start + 1, face_id, evidence, probabilities)

    windows = [window(0, 1, "face", 0.2), window(0, 2, "face", 0.9), window(1, 1, "face+voice", 0.4),
               window(1, None, "none", 0)]  # fmt: skip
    first, second = widen_windows(windows, 2.0, 0.5)
    (nobody,) = widen_windows(windows[-1:], 2.0, 0.5)
    assert (first.face_id, first.evidence) == (1, "face+voice")
    np.testing.assert_allclose(first.probabilities, [0.3, 0.7])
    assert (second.face_id, second.evidence) == (2, "face")
    assert (nobody.evidence, nobody.probabilities) == ("none", None)


def test_the_largest_faces_are_judged_and_the_others_passed_over(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    times = np.arange(0, 1.5, 0.1)
    frames = np.full((len(times), 300, 620, 3), 120, np.uint8)
    frames[:, 20:140, 20:140] = draw_clip("happy", times, np.zeros(len(times)), speaker_seed=1, size=120)
    frames[:, 20:280, 300:560] = draw_clip("sad", times, np.zeros(len(times)), speaker_seed=2, size=260)
    write_clip(path, frames, 10.0)
    assert len(predictor.predict(path).tracks) == 2
    prediction = with_settings(predictor, max_faces=1).predict(path)
    assert "1 face was passed over: --max_faces is 1" in prediction.notes
    (track,) = prediction.tracks
    assert track.face_id == 1 and track.boxes[0][0] > 250
    assert {window.face_id for window in prediction.windows} == {1}
    assert [passed.boxes[0][0] < 250 for passed in prediction.passed_over] == [True]
    small = min(min(x2 - x1, y2 - y1) for t in predictor.predict(path).tracks for x1, y1, x2, y2 in t.boxes)
    prediction = with_settings(predictor, min_face=small + 20).predict(path)
    assert f"1 face was passed over as smaller than --min_face, {small + 20} pixels" in prediction.notes
    assert [track.boxes[0][0] > 250 for track in prediction.tracks] == [True]
    assert [passed.boxes[0][0] < 250 for passed in prediction.passed_over] == [True]


def test_a_voice_that_belongs_to_a_face_not_judged_is_not_said_to_be_missing(predictor, tmp_path):
    judged = []
    for speaker in (1, 2):
        path = write_talking_face(tmp_path / f"{speaker}.mp4", faces=2, speaker=speaker)
        assert "face+voice" in evidences(predictor.predict(path))
        prediction = with_settings(predictor, max_faces=1).predict(path)
        assert len(prediction.tracks) == 1 and not [note for note in prediction.notes if "no voice was heard" in note]
        of_others = [note for note in prediction.notes if "the voice of a face that is not judged" in note]
        judged.append("face+voice" in evidences(prediction))
        assert bool(of_others) != judged[-1]
    assert sorted(judged) == [False, True]  # the larger face is the same in both


def test_a_face_in_sight_for_a_moment_is_listed_without_evidence(predictor, tmp_path):
    times = np.arange(0, 4, 0.1)
    one, other = (draw_clip("happy", times, 0 * times, speaker_seed=seed, size=160) for seed in (1, 2))
    other[5:] = 90
    write_clip(tmp_path / "clip.mp4", np.concatenate([one, other], axis=2), 10.0)
    prediction = with_settings(predictor, window_seconds=predictor.config.window.window_seconds).predict(
        tmp_path / "clip.mp4"
    )
    glimpsed = [w for w in prediction.windows if w.evidence == "none"]
    assert {w.face_id for w in prediction.windows if w.evidence == "face"} >= {1}
    assert all(w.face_id is not None and w.probabilities is None for w in glimpsed)


def test_without_a_detector_the_whole_picture_is_one_face(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, np.random.default_rng(0).integers(0, 256, (15, 64, 64, 3), dtype=np.uint8), 10.0)
    assert predictor.predict(path).tracks == ()
    prediction = with_settings(predictor, face_detector="none").predict(path)
    (track,) = prediction.tracks
    assert set(track.boxes) == {(0, 0, 64, 64)} and evidences(prediction) == {"face"}


@pytest.mark.parametrize(
    "settings",
    [
        {"window_seconds": 0.0}, {"window_seconds": float("nan")}, {"step_seconds": -1.0}, {"step_seconds": 1e9},
        {"max_faces": 0}, {"min_face": -1}, {"unsure_below": 1.5}, {"face_detector": "eyes"},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_by_name(settings):
    name = next(iter(settings)).replace("seconds", "sec")
    with pytest.raises(ConfigError, match=name):
        InferenceSettings(**settings)


def test_of_a_clip_no_longer_than_a_window_it_is_said_how_to_see_its_course(predictor, tmp_path):
    path = write_talking_face(tmp_path / "clip.mp4", seconds=1.6, with_voice=False)
    assert not [note for note in predictor.predict(path).notes if "shorter windows" in note]
    (note,) = [note for note in with_settings(predictor, window_seconds=5.0).predict(path).notes if "window" in note]
    assert "one answer for all of it; shorter windows show its course" in note


def test_damage_is_noted_once_and_not_logged(predictor, tmp_path, caplog):
    path = media_files.make_truncated(tmp_path / "cut.mp4", 0.6, seconds=4)
    prediction = predictor.predict(path)
    assert prediction.notes[0].startswith("the file is damaged (") and "what could be decoded" in prediction.notes[0]
    assert caplog.text == ""


@pytest.mark.parametrize("gain_db", [-20, 20])
def test_the_level_of_a_recording_does_not_change_the_answer(predictor, tmp_path, gain_db):
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=2.0, sample_rate=RATE)
    voice = 0.5 * voice / np.abs(voice).max()
    answers = []
    for gain in (1.0, 10 ** (gain_db / 20)):
        soundfile.write(tmp_path / "clip.wav", gain * voice, RATE, subtype="FLOAT")
        answers.append(predictor.predict(tmp_path / "clip.wav"))
    assert evidences(answers[0]) == evidences(answers[1]) == {"voice"}
    np.testing.assert_allclose(answers[1].overall.probabilities, answers[0].overall.probabilities, atol=1e-3)


def test_a_call_is_told_and_each_channel_can_be_judged_by_itself(predictor, tmp_path):
    voices = [synthesize_voice(e, speaker_seed=s, duration_seconds=2.0, sample_rate=RATE) for e, s in
              (("happy", 1), ("sad", 2))]  # fmt: skip
    left, right = np.append(voices[0], 0 * voices[1]), np.append(0 * voices[0], voices[1])
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), RATE)
    soundfile.write(tmp_path / "left.wav", left, RATE)
    both = predictor.predict(tmp_path / "call.wav")
    assert any("--split_channels" in note for note in both.notes)
    recording = Recording.of_file(tmp_path / "call.wav", TrackChoice(channel=1))
    first, alone = predictor.predict(recording), predictor.predict(tmp_path / "left.wav")
    np.testing.assert_allclose(first.overall.probabilities, alone.overall.probabilities, atol=1e-4)
    assert "of the sound, channel 1 alone was judged" in first.notes


def test_sound_without_a_decoder_is_told_by_its_codec(predictor, tmp_path):
    path = media_files.make_clip(tmp_path / "clip.mkv")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_QQQ"))
    prediction = predictor.predict(path)
    assert "the sound cannot be decoded (codec A_QQQ)" in prediction.notes
    assert "the file has no sound" not in prediction.notes
    assert (prediction.video_track, prediction.audio_track) == (1, None)


def test_a_lying_picture_is_judged_as_the_upright_one_and_said_to_lie(predictor, tmp_path):
    from PIL import Image
    from skimage import data

    photograph = Image.fromarray(data.astronaut())
    photograph.save(tmp_path / "upright.png")
    photograph.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png")
    upright, lying = (predictor.predict(tmp_path / f"{name}.png") for name in ("upright", "lying"))
    np.testing.assert_allclose(upright.overall.probabilities, lying.overall.probabilities, atol=0.1)
    assert "face 1 lies on its side in the picture; it was judged upright" in lying.notes
    assert not upright.notes
    x1, y1, x2, y2 = upright.tracks[0].boxes[0]
    np.testing.assert_allclose(lying.tracks[0].boxes[0], (y1, 512 - x2, y2, 512 - x1), atol=12)


@pytest.mark.parametrize("given", ["", 3, None, np.zeros(3), "a\0b.mp4"])
def test_what_is_no_path_is_told_with_what_is_taken(predictor, given):
    with pytest.raises(EmotionError, match=r"path|NUL"):
        predictor.predict(given)
