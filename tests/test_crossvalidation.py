"""Every clip is judged once by a model that never met it, and a stop loses nothing."""

import dataclasses
import json

import pytest
from conftest import small_config

from emotion import crossvalidation
from emotion.crossvalidation import cross_validate
from emotion.errors import DatasetError, RunError
from emotion.evaluation import load_predictions
from emotion.split_files import load_splits

QUIET = {"verbose": 0, "say": lambda message: None}


def config_for(protocol, **changes):
    return small_config(training={"protocol": protocol, **changes})


@pytest.fixture(scope="module")
def result(clips, cache_dir, tmp_path_factory):
    output = tmp_path_factory.mktemp("folds") / "kfold"
    return cross_validate(clips, config_for("kfold"), output, n_folds=2, cache_dir=cache_dir, **QUIET)


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
    again = cross_validate(clips, config_for("kfold"), result.path, n_folds=2, cache_dir=cache_dir, **QUIET)
    assert again.report == result.report


def test_a_stopped_fold_goes_on_and_ends_like_one_that_was_not(result, clips, cache_dir, tmp_path, monkeypatch):
    from emotion import training

    original, calls = training._fit, []

    def stop_in_the_second(sides, prepared, output, state, verbose):
        calls.append(state)
        if len(calls) == 2:
            short = dataclasses.replace(prepared.config.training, epochs=1)
            shortened = dataclasses.replace(prepared, config=dataclasses.replace(prepared.config, training=short))
            original(sides, shortened, output, state, verbose)
            raise KeyboardInterrupt
        original(sides, prepared, output, state, verbose)

    monkeypatch.setattr(training, "_fit", stop_in_the_second)
    arguments = {"n_folds": 2, "cache_dir": cache_dir, **QUIET}
    with pytest.raises(KeyboardInterrupt):
        cross_validate(clips, config_for("kfold"), tmp_path / "cv", **arguments)
    resumed = cross_validate(clips, config_for("kfold"), tmp_path / "cv", **arguments)
    assert [state and state["epochs_done"] for state in calls] == [None, None, 1]
    assert resumed.report["confusion_matrix"] == result.report["confusion_matrix"]


@pytest.mark.parametrize("change", ["folds", "settings", "clips"])
def test_a_folder_of_another_cross_validation_is_refused(result, clips, cache_dir, change):
    config = config_for("kfold", learning_rate=0.5) if change == "settings" else config_for("kfold")
    clips = clips[:-1] if change == "clips" else clips
    with pytest.raises(RunError, match="other clips, folds or settings"):
        cross_validate(clips, config, result.path, n_folds=4 if change == "folds" else 2, cache_dir=cache_dir, **QUIET)


def test_a_folder_that_holds_something_else_is_refused(clips, cache_dir, tmp_path):
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(RunError, match="holds no cross-validation"):
        cross_validate(clips, config_for("kfold"), tmp_path, n_folds=2, cache_dir=cache_dir, **QUIET)
    assert (tmp_path / "thesis.txt").read_text() == "important"


def test_a_single_split_without_a_test_side_is_refused(clips, cache_dir, tmp_path):
    two = [clip for clip in clips if clip.speaker in sorted({c.speaker for c in clips})[:2]]
    with pytest.raises(DatasetError, match="no test side|too few clips for a test side"):
        cross_validate(two, config_for("speaker"), tmp_path / "cv", n_folds=1, cache_dir=cache_dir, **QUIET)
