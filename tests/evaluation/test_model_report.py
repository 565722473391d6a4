"""An evaluation that cannot flatter: what the model met is left out, and what is left out is said."""

import dataclasses
import json
import shutil

import media_files
import numpy as np
import pytest
from recording import Recorder
from small_models import tiny_config

from emotion.config import CalibrationConfig, DataSource
from emotion.datasets import Clip
from emotion.datasets.split_files import load_splits
from emotion.errors import ConfigError, DatasetError, RunError
from emotion.evaluation.model_report import assess
from emotion.models.run_folder import load_run


@pytest.fixture(scope="module")
def run(trained):
    return load_run(trained.path, runtime="onnx")


@pytest.fixture(scope="module")
def unrecorded(trained, tmp_path_factory):
    """The same model in a folder that does not say what it was trained on."""
    folder = tmp_path_factory.mktemp("unrecorded")
    for name in ("config.json", "model.keras", *(path.name for path in trained.path.glob("*.onnx*"))):
        shutil.copy(trained.path / name, folder)
    return load_run(folder, runtime="onnx")


@pytest.fixture(scope="module")
def few(clips):
    """Two speakers' clips."""
    return [clip for clip in clips if clip.speaker in {clips[0].speaker, clips[-1].speaker}]


def matrix_of(run):
    return json.loads((run.path / "metrics.json").read_text())["test"]["confusion_matrix"]


def judge(run, clips, **settings):
    said = []
    result = assess(run, clips, reporter=Recorder(said=said), **settings)
    return result.report, "\n".join(said), result


def test_clips_met_in_training_are_left_out(run, clips):
    report, said, _ = judge(run, clips)
    split = load_splits(run.path / "splits.csv")
    assert report["n"] == len(split.test)
    assert report["left_out"]["seen_in_training"] == len(split.train) + len(split.validation)
    assert "met them in training: 12 clips" in said
    assert report["protocol"] == "speaker-independent: the model met none of the 1 speakers in training or validation"
    assert report["confusion_matrix"] == matrix_of(run)


def test_what_a_threshold_leaves_is_said_beside_scores_that_it_does_not_change(run, clips):
    config = dataclasses.replace(run.config, calibration=CalibrationConfig(unsure_below=0.999))
    report, _, _ = judge(dataclasses.replace(run, config=config), clips)
    assert report["answered"]["unsure_below"] == 0.999
    assert report["answered"]["n"] < report["n"]
    assert report["confusion_matrix"] == matrix_of(run)


def test_a_clip_met_under_another_name_is_known_by_its_content(run, clips, tmp_path):
    split = load_splits(run.path / "splits.csv")
    met = next(clip for clip in clips if clip.clip_id == split.train[0])
    copy = shutil.copy(met.audio_path, tmp_path / "my own.wav")
    renamed = Clip("mine:1", met.emotion, "mine:me", audio_path=str(copy))
    with pytest.raises(DatasetError, match="--include_seen"):
        judge(run, [renamed])
    report, _, _ = judge(run, [renamed], include_seen=True)
    assert report["n"] == 1
    assert report["protocol"].endswith("optimistic")


def test_a_speaker_met_in_training_is_counted_in_the_protocol(run, clips):
    split = load_splits(run.path / "splits.csv")
    stranger = next(clip for clip in clips if clip.clip_id in split.test)
    met = next(clip.speaker for clip in clips if clip.clip_id in split.train)
    report, _, _ = judge(run, [dataclasses.replace(stranger, speaker=met)])
    assert report["protocol"].endswith("1 of the 1 speakers: optimistic")
    report, _, _ = judge(run, [dataclasses.replace(stranger, speaker=None)])
    assert report["protocol"].endswith("whether it met their speakers is unknown")


def test_two_clips_of_one_name_are_refused(run, clips):
    with pytest.raises(DatasetError, match=clips[0].clip_id):
        judge(run, [clips[0], clips[0]])


def test_a_model_that_answers_no_numbers_is_refused(unrecorded, few, monkeypatch):
    def answer_nothing(self, encoded):
        return np.full((len(encoded["audio_vector"]), 2), np.nan)

    monkeypatch.setattr(type(unrecorded), "predict_encoded", answer_nothing)
    with pytest.raises(RunError, match=str(unrecorded.path)):
        judge(unrecorded, few)


def test_a_folder_without_a_record_of_its_training_says_so(unrecorded, few):
    report, _, _ = judge(unrecorded, few)
    assert report["n"] == len(few)
    assert "no splits.csv to tell whether these" in report["protocol"]
    of_ravdess = dataclasses.replace(unrecorded.config, data=(DataSource("RAVDESS speech", "", 16),))
    report, _, _ = judge(dataclasses.replace(unrecorded, config=of_ravdess), few)
    assert report["protocol"].endswith("to tell on which clips: optimistic")


def test_emotions_without_a_class_are_counted_and_never_guessed(unrecorded, few):
    odd = [dataclasses.replace(few[0], emotion="boredom"), dataclasses.replace(few[1], emotion="calm"), *few[2:]]
    report, said, _ = judge(unrecorded, odd)
    assert report["n"] == len(few) - 2
    assert report["left_out"]["no_such_class"] == {"boredom": 1, "calm": 1}
    assert report["n_skipped"] == 0
    assert "boredom 1, calm 1" in said
    with pytest.raises(DatasetError, match="boredom 1"):
        judge(unrecorded, odd[:1])


def test_what_cannot_be_read_and_what_holds_nothing_is_skipped_counted_and_named(unrecorded, few, tmp_path):
    text = media_files.make_renamed_text(tmp_path / "text.wav")
    faceless = media_files.make_still(tmp_path / "grey.png")
    bad = [
        Clip("bad:missing", "happy", video_path=str(tmp_path / "missing.mp4")),
        Clip("bad:text", "happy", audio_path=str(text)),
        Clip("bad:faceless", "sad", video_path=str(faceless)),
    ]
    report, _, _ = judge(unrecorded, [*few, *bad])
    assert report["n"] == len(few)
    assert report["n_skipped"] == 3
    assert set(report["skipped"]["unreadable"]) == {"bad:missing", "bad:text"}
    assert "missing.mp4" in report["skipped"]["unreadable"]["bad:missing"]
    assert report["skipped"]["without_evidence"] == ["bad:faceless"]
    # A clip without an answer is one that is not covered.
    assert report["coverage_accuracy"][-1]["coverage"] == pytest.approx(len(few) / (len(few) + 1))


def test_clips_without_the_modality_asked_for_are_skipped(unrecorded, few):
    silent = dataclasses.replace(few[0], clip_id="silent", audio_path=None)
    report, _, _ = judge(unrecorded, [silent, *few], modality="audio")
    assert report["modality"] == "audio"
    assert report["evidence"] == {"both": 0, "audio_only": len(few), "video_only": 0}
    assert report["skipped"]["without_evidence"] == ["silent"]
    with pytest.raises(DatasetError, match=r"\(audio\)"):
        judge(unrecorded, [silent], modality="audio")


def test_each_modality_is_judged_alone_on_the_same_clips(unrecorded, few):
    report, _, result = judge(unrecorded, few, each_modality=True)
    assert set(result.by_modality) == {"audio", "video"}
    for name, alone in result.by_modality.items():
        assert alone["n"] == report["n"]
        assert alone["evidence"][f"{name}_only"] == report["n"]
        again, _, _ = judge(unrecorded, few, modality=name)
        assert again["confusion_matrix"] == alone["confusion_matrix"]


def test_a_model_that_takes_part_of_the_evidence_is_judged_on_that(clips, cache_dir, tmp_path, eagerly, tiny_design):
    from emotion.training.fitting import train

    config = tiny_config(modalities=("audio",))
    result = train(clips, config, tmp_path / "deaf", cache_dir=cache_dir)
    report, _, _ = judge(load_run(result.path), clips)
    assert report["modality"] == "audio"
    assert report["evidence"]["audio_only"] == report["n"] == 4
    with pytest.raises(ConfigError, match="--modality video.*audio"):
        judge(load_run(result.path), clips, modality="video")


def test_calm_is_scored_as_neutral_where_the_model_has_no_calm(unrecorded, few):
    names = {"happy": "neutral", "sad": "sad"}
    config = dataclasses.replace(unrecorded.config, class_names=tuple(names.values()))
    run = dataclasses.replace(unrecorded, config=config)
    calm = [dataclasses.replace(c, emotion="calm" if c.emotion == "happy" else "sad") for c in few]
    report, _, _ = judge(run, calm)
    plain, _, _ = judge(unrecorded, few)
    assert report["per_class"]["neutral"] == plain["per_class"]["happy"]
