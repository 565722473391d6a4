"""Every clip is judged once by a model that never met it, and a stop loses nothing."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from recording import Recorder
from small_models import tiny_config

from emotion.datasets.split_files import load_splits
from emotion.errors import DatasetError, RunError
from emotion.evaluation.judging import load_predictions
from emotion.training import crossvalidation
from emotion.training.callbacks import EpochCheckpoint
from emotion.training.crossvalidation import cross_validate

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("eagerly", "tiny_design")]


def config_for(protocol, **changes):
    return tiny_config(training={"protocol": protocol, **changes})


@pytest.fixture(scope="module")
def result(clips, cache_dir, tmp_path_factory, eagerly, tiny_design):
    output = tmp_path_factory.mktemp("folds") / "kfold"
    return cross_validate(clips, config_for("kfold"), output, n_folds=2, cache_dir=cache_dir)


def test_every_clip_is_tested_once_by_a_model_that_met_neither_it_nor_its_speaker(result, clips):
    judged, names = load_predictions(result.path / "predictions.csv")
    assert sorted(j.clip_id for j in judged) == sorted(clip.clip_id for clip in clips)
    assert names == ("happy", "sad")
    speaker_of = {clip.clip_id: clip.speaker for clip in clips}
    for fold in ("fold_01", "fold_02"):
        split = load_splits(result.path / fold / "splits.csv")
        tested, _ = load_predictions(result.path / fold / "predictions.csv")
        assert {j.clip_id for j in tested} == set(split.test)
        met = {speaker_of[clip_id] for clip_id in split.train + split.validation}
        assert not met & {j.speaker for j in tested}


def test_the_report_pools_the_folds_and_keeps_each(result, clips):
    report = json.loads((result.path / "folds.json").read_text())
    assert report == json.loads(json.dumps(result.report))
    assert report["protocol"] == "speaker-independent, k-fold (seed 0), 2 folds pooled"
    assert report["n"] == len(clips) == sum(fold["n"] for fold in report["folds"])
    weighted = sum(fold["n"] * fold["accuracy"] for fold in report["folds"]) / report["n"]
    assert report["accuracy"] == pytest.approx(weighted)
    assert report["intervals"]["unit"] == "speakers"
    assert [len(fold["speakers"]) for fold in report["folds"]] == [2, 2]


def test_a_finished_fold_is_not_trained_again(result, clips, cache_dir, monkeypatch):
    monkeypatch.setattr(crossvalidation, "train_fold", lambda *args, **kwargs: pytest.fail("trained again"))
    again = cross_validate(clips, config_for("kfold"), result.path, n_folds=2, cache_dir=cache_dir)
    assert again.report == result.report


@pytest.mark.thorough  # test_loop stops a training
def test_a_stopped_fold_goes_on_and_ends_like_one_that_was_not(result, clips, cache_dir, tmp_path, monkeypatch):
    save, epochs = EpochCheckpoint.on_epoch_end, []

    def stop_at_the_second(self, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        save(self, epoch, logs)

    monkeypatch.setattr(EpochCheckpoint, "on_epoch_end", stop_at_the_second)
    folder = tmp_path / "cv"
    shutil.copytree(result.path, folder, ignore=shutil.ignore_patterns("fold_02", "folds.json", "predictions.csv"))
    shutil.copy(result.path / "fold_01" / "predictions.csv", folder / "fold_01")
    arguments = {"n_folds": 2, "cache_dir": cache_dir}
    with pytest.raises(KeyboardInterrupt):
        cross_validate(clips, config_for("kfold"), folder, **arguments)
    resumed = cross_validate(clips, config_for("kfold"), folder, **arguments)
    assert epochs == [0, 1, 1]
    assert resumed.report["confusion_matrix"] == result.report["confusion_matrix"]


@pytest.mark.parametrize("change", ["folds", "settings", "clips"])
def test_a_folder_of_another_cross_validation_is_refused(result, clips, cache_dir, change):
    config = config_for("kfold", learning_rate=0.5) if change == "settings" else config_for("kfold")
    clips = clips[:-1] if change == "clips" else clips
    with pytest.raises(RunError, match="other clips, folds or settings"):
        cross_validate(clips, config, result.path, n_folds=4 if change == "folds" else 2, cache_dir=cache_dir)


def test_a_folder_that_holds_something_else_is_refused(clips, cache_dir, tmp_path):
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(RunError, match="holds no cross-validation"):
        cross_validate(clips, config_for("kfold"), tmp_path, n_folds=2, cache_dir=cache_dir)
    assert (tmp_path / "thesis.txt").read_text() == "important"


def test_a_single_split_without_a_test_side_is_refused(clips, cache_dir, tmp_path):
    two = [clip for clip in clips if clip.speaker in sorted({c.speaker for c in clips})[:2]]
    with pytest.raises(DatasetError, match="no test side|too few clips for a test side"):
        cross_validate(two, config_for("speaker"), tmp_path / "cv", n_folds=1, cache_dir=cache_dir)


def test_a_file_that_changed_between_two_sittings_is_noticed(clips, cache_dir, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    mine = []
    for clip in clips:
        path = shutil.copy(clip.audio_path, data / f"{clip.clip_id.partition(':')[2]}.wav")
        mine.append(dataclasses.replace(clip, video_path=None, audio_path=str(path)))
    monkeypatch.setattr(crossvalidation, "train_fold", lambda *args, **kwargs: pytest.fail("training begins"))
    arguments = {"n_folds": 2, "cache_dir": cache_dir}
    with pytest.raises(pytest.fail.Exception):
        cross_validate(mine, config_for("kfold"), tmp_path / "cv", **arguments)
    first, second = mine[0].audio_path, mine[1].audio_path
    content = Path(first).read_bytes()
    shutil.copy(second, first)
    Path(second).write_bytes(content)
    with pytest.raises(RunError, match="other clips, folds or settings"):
        cross_validate(mine, config_for("kfold"), tmp_path / "cv", **arguments)


def test_a_recording_of_two_speakers_is_refused_before_the_first_fold(clips, cache_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(crossvalidation, "train_fold", lambda *args, **kwargs: pytest.fail("training begins"))
    stranger = next(clip for clip in clips if clip.speaker != clips[0].speaker and clip.emotion == clips[0].emotion)
    double = dataclasses.replace(stranger, audio_path=clips[0].audio_path, video_path=clips[0].video_path)
    doubled = [double if clip is stranger else clip for clip in clips]
    with pytest.raises(DatasetError, match="same recording"):
        cross_validate(doubled, config_for("loso"), tmp_path / "cv", n_folds=4, cache_dir=cache_dir)


def test_a_plan_that_a_kill_left_empty_is_named(clips, cache_dir, tmp_path):
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "plan.json").write_text("")
    with pytest.raises(RunError, match=r"plan\.json: cannot be read"):
        cross_validate(clips, config_for("kfold"), tmp_path / "cv", n_folds=2, cache_dir=cache_dir)


@pytest.mark.thorough
def test_a_fold_killed_before_its_training_began_starts_anew(result, clips, cache_dir, tmp_path):
    copy = tmp_path / "cv"
    shutil.copytree(result.path, copy)
    for path in (copy / "fold_02").iterdir():
        if path.name != "splits.csv":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = cross_validate(clips, config_for("kfold"), copy, n_folds=2, cache_dir=cache_dir)
    assert again.report["confusion_matrix"] == result.report["confusion_matrix"]


def test_clips_of_unknown_speakers_are_left_out_where_speakers_are_kept_apart(clips, cache_dir, tmp_path, monkeypatch):
    said = []
    planned = []
    monkeypatch.setattr(
        crossvalidation, "train_fold", lambda prepared, *args, **kwargs: planned.append(prepared) or 1 / 0
    )
    mine = [dataclasses.replace(clips[0], speaker=None), *clips[1:]]
    with pytest.raises(ZeroDivisionError):
        cross_validate(
            mine, config_for("kfold"), tmp_path / "cv", n_folds=2, cache_dir=cache_dir, reporter=Recorder(said=said)
        )
    assert len(planned[0].clips) == len(clips) - 1
    assert "1 of 16 clips" in "\n".join(said)
    nobody = [dataclasses.replace(clip, speaker=None) for clip in clips]
    with pytest.raises(DatasetError, match="--protocol random"):
        cross_validate(nobody, config_for("kfold"), tmp_path / "no", n_folds=2, cache_dir=cache_dir)
