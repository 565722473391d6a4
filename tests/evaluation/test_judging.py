"""Judging clips and the report of it."""

import dataclasses

import numpy as np
import pytest
from small_models import small_config

from emotion.config import CalibrationConfig
from emotion.datasets import Clip
from emotion.datasets.clips import restrict_clip
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.voices import compute_mouth_opening, synthesize_voice
from emotion.errors import ConfigError, DatasetError
from emotion.evaluation.judging import (
    JudgedClips,
    Judgement,
    build_report,
    describe_unanswered,
    judge_clips,
    load_predictions,
    used_modalities,
    write_predictions,
)
from emotion.inference.predictor import EmotionPredictor
from emotion.models.run_folder import load_run
from emotion.outputs.score_tables import format_evaluation

NAMES = ("happy", "sad")
RATE = 22050


@pytest.fixture(scope="module")
def run(trained):
    return load_run(trained.path)


def judgement(clip_id="a", index=0, confidence=0.9, right=True, **details):
    probabilities = np.full(2, 1 - confidence)
    probabilities[index if right else 1 - index] = confidence
    details = {"evidence": "both", "speaker": None, "sex": None, **details}
    return Judgement(clip_id, index, probabilities, **details)


def test_a_clip_is_judged_by_the_mean_over_its_windows_whatever_is_judged_beside_it(run, clips):
    judged_clips = judge_clips(clips, run)
    assert judged_clips.n_unanswered == 0
    assert [j.clip_id for j in judged_clips.judgements] == [clip.clip_id for clip in clips]
    for clip, judged in zip(clips[:3], judged_clips.judgements, strict=False):
        (alone,) = judge_clips([clip], run).judgements
        np.testing.assert_allclose(alone.probabilities, judged.probabilities, atol=1e-5)
        assert alone.evidence == judged.evidence == "both"
        assert judged.class_index == NAMES.index(clip.emotion)


@pytest.mark.parametrize("sound", ["speech", "noise", "none"])
@pytest.mark.parametrize("face_share", [1.0, 0.4])
def test_evaluation_scores_what_inference_answers(run, tmp_path, sound, face_share):
    """The same file through ``judge_clips`` and through ``EmotionPredictor``, with and without speech."""
    config = run.config
    run = dataclasses.replace(
        run, config=dataclasses.replace(config, window=dataclasses.replace(config.window, face_share=face_share))
    )
    path = tmp_path / "clip.mp4"
    times = np.arange(0, 2.4, 0.1)
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=2.4, sample_rate=RATE)
    noise = np.random.default_rng(0).normal(0, 0.1, len(voice)).astype(np.float32)
    mouth = compute_mouth_opening(voice, RATE, times) if sound == "speech" else np.zeros(len(times))
    frames = draw_clip("happy", times, mouth, speaker_seed=1, size=200)
    write_clip(path, frames, 10.0, waveform={"speech": voice, "noise": noise, "none": None}[sound], sample_rate=RATE)
    (judged,) = judge_clips([Clip("a", "happy", video_path=str(path), audio_path=str(path))], run).judgements
    answer = EmotionPredictor(run).predict(path).overall
    np.testing.assert_allclose(judged.probabilities, answer.probabilities, atol=1e-6)
    assert (judged.evidence == "both") == ("voice" in answer.evidence) == (sound == "speech")


def test_what_is_not_to_be_judged_by_is_kept_from_the_model(run, clips):
    both = judge_clips(clips, run).judgements
    heard = judge_clips(clips, run, modalities=("audio",)).judgements
    seen = judge_clips(clips, run, modalities=("video",)).judgements
    assert {j.evidence for j in heard} == {"audio_only"}
    assert {j.evidence for j in seen} == {"video_only"}
    # The same as decoding the clip without that file.
    bare = [restrict_clip(clip, ("audio",)) for clip in clips]
    assert all(clip.video_path is None for clip in bare)
    bare_heard = judge_clips(bare, run).judgements
    for one, other, whole in zip(heard, bare_heard, both, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        assert not np.allclose(one.probabilities, whole.probabilities, atol=1e-5)


def test_a_clip_of_files_that_are_not_to_be_used_is_none():
    assert restrict_clip(Clip("a", "happy", audio_path="a.wav"), ("video",)) is None
    clip = Clip("a", "happy", video_path="a.mp4", audio_path="a.mp4")
    assert restrict_clip(clip, ("audio", "video")) == clip
    assert restrict_clip(clip, ("video",)).paths == ("a.mp4",)


def test_a_model_is_judged_only_by_what_it_takes():
    assert used_modalities(small_config(), "both") == ("audio", "video")
    assert used_modalities(small_config(), "video") == ("video",)
    deaf = dataclasses.replace(small_config(), modalities=("video",))
    assert used_modalities(deaf, "both") == ("video",)
    with pytest.raises(ConfigError, match="--modality audio.*video"):
        used_modalities(deaf, "audio")
    with pytest.raises(ConfigError, match="both, audio, video, got 'smell'"):
        used_modalities(deaf, "smell")


def test_the_report_counts_by_speaker_by_sex_and_by_evidence():
    judged = [
        judgement("a", 0, speaker="x", sex="female"),
        judgement("b", 1, speaker="x", sex="female", right=False),
        judgement("c", 1, speaker="y", sex="male", evidence="audio_only"),
        judgement("d", 1, speaker="y", sex="male", evidence="video_only"),
    ]
    report = build_report(judged, NAMES, n_unanswered=1)
    assert (report["n"], report["n_unanswered"], report["n_speakers"]) == (4, 1, 2)
    assert report["accuracy"] == 0.75
    assert report["uar"] == pytest.approx((1 + 2 / 3) / 2)
    assert report["confusion_matrix"] == [[1, 0], [1, 2]]
    assert report["by_speaker"]["x"] == {"n": 2, "accuracy": 0.5, "uar": 0.5}
    assert report["by_sex"]["male"] == {"n": 2, "accuracy": 1.0, "uar": 1.0}
    assert report["evidence"] == {"both": 2, "audio_only": 1, "video_only": 1}
    assert report["intervals"]["unit"] == "speakers"
    assert report["coverage_accuracy"][-1]["coverage"] == 0.8
    assert report["per_class"]["sad"]["recall"] == pytest.approx(2 / 3)


def test_clips_that_no_score_counts_are_named_with_the_reason():
    clips = [Clip(clip_id=name, emotion="happy", video_path=f"{name}.mp4") for name in "ab"]
    assert describe_unanswered(JudgedClips([], [], {}, {}), clips, "test") == []
    lines = describe_unanswered(JudgedClips([], ["a"], {"b": "b.mp4: no such file."}, {}), clips, "test")
    assert lines[0] == "2 of the 2 clips of the test side are in no score:"
    assert lines[1].startswith("  a: the model found neither a face nor a voice")
    assert lines[2] == "  b: b.mp4: no such file."


def test_a_threshold_changes_no_score_and_adds_what_is_left_above_it():
    judged = [judgement("a", 0, 0.9), judgement("b", 1, 0.6, right=False), judgement("c", 1, 0.55)]
    plain = build_report(judged, NAMES, n_unanswered=1)
    assert "answered" not in plain
    report = build_report(judged, NAMES, n_unanswered=1, unsure_below=0.58)
    assert report["answered"] == {"unsure_below": 0.58, "n": 2, "coverage": 0.5, "accuracy": 0.5}
    assert {name: value for name, value in report.items() if name != "answered"} == plain
    words = 'answered with a confidence of 58% or more, the others "unsure": 50.0% of the clips, 50.0% of them right'
    assert words in format_evaluation({**report, "protocol": "none"})
    assert '"unsure"' not in format_evaluation({**plain, "protocol": "none"})
    nobody = build_report(judged, NAMES, unsure_below=0.99)
    assert "0.0% of the clips, - of them right" in format_evaluation({**nobody, "protocol": "none"})


def test_a_clips_judgement_is_calibrated_by_its_evidence(run, clips):
    settings = CalibrationConfig(both=2.0, face=4.0, voice=8.0)
    warm = dataclasses.replace(run, config=dataclasses.replace(run.config, calibration=settings))
    for modalities in (("audio", "video"), ("audio",), ("video",)):
        (said,) = judge_clips(clips[:1], run, modalities=modalities).judgements
        (calibrated,) = judge_clips(clips[:1], warm, modalities=modalities).judgements
        (bare,) = judge_clips(clips[:1], warm.without_calibration(), modalities=modalities).judgements
        np.testing.assert_array_equal(bare.probabilities, said.probabilities)
        assert calibrated.probabilities.max() < said.probabilities.max()


def test_intervals_are_over_clips_where_a_speaker_is_unknown_or_there_is_but_one():
    unknown = [judgement("a", speaker="x"), judgement("b", 1, speaker=None)]
    assert build_report(unknown, NAMES)["intervals"]["unit"] == "clips"
    assert build_report(unknown, NAMES)["n_speakers"] == 1
    single = [judgement("a", speaker="x"), judgement("b", 1, speaker="x")]
    assert build_report(single, NAMES)["intervals"]["unit"] == "clips"


def test_intervals_of_few_are_said_to_tell_little():
    few = build_report([judgement(str(i), speaker=f"s{i % 5}") for i in range(50)], NAMES)
    assert "only 5 speakers" in format_evaluation({**few, "protocol": "none"})
    enough = build_report([judgement(str(i), speaker=f"s{i % 6}") for i in range(50)], NAMES)
    assert "true interval is wider" not in format_evaluation({**enough, "protocol": "none"})
    alone = build_report([judgement("a", speaker="x")], NAMES)
    assert "only 1 clip:" in format_evaluation({**alone, "protocol": "none"})
    with pytest.raises(DatasetError):
        build_report([], NAMES)


def test_predictions_come_back_as_they_were_written(tmp_path):
    judged = [judgement("a, with a comma", 0, 0.75, speaker="x", sex="female"), judgement("b", 1, right=False)]
    write_predictions(judged, NAMES, tmp_path / "predictions.csv")
    back, names = load_predictions(tmp_path / "predictions.csv")
    assert names == NAMES
    for one, other in zip(judged, back, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
        assert dataclasses.replace(one, probabilities=None) == dataclasses.replace(other, probabilities=None)


@pytest.mark.parametrize(
    "text", ["", "clip_id,emotion\na,happy\n", "a,b,c,d,e,f,g,happy,sad\nx,happy,,,both,sad,1,0\n"]
)
def test_a_damaged_table_of_predictions_is_refused_with_its_name(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"predictions\.csv"):
        load_predictions(path)
