"""Trainings that start from a trained model: what they keep, what they fit, and what they refuse."""

import json
import math

import keras
import numpy as np
import pytest
from refusals import refused
from small_models import random_inputs, small_design, tiny_config, write_small_run

from emotion.config import CalibrationConfig
from emotion.console import Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.split_files import load_splits
from emotion.errors import ConfigError
from emotion.evaluation.judging import judge_clips
from emotion.evaluation.model_report import load_seen_by
from emotion.models import LATE_FUSION, build_model
from emotion.models.run_folder import load_run
from emotion.models.trained_model import Run
from emotion.training import evidence
from emotion.training.crossvalidation import cross_validate
from emotion.training.fitting import train
from emotion.training.head import RIDGES, HeadRows, LastLayer, deal_groups, find_gates, fit_head
from emotion.training.starting import choose_columns, format_comparison, inherit_settings, start_from

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("eagerly", "tiny_design")]


@pytest.fixture(scope="module")
def initial(tmp_path_factory, tiny_design):
    config = tiny_config(class_names=("neutral", "sad", "happy"))
    return load_run(write_small_run(tmp_path_factory.mktemp("initial") / "old", config))


@pytest.fixture(scope="module")
def started(clips, initial, cache_dir, tmp_path_factory, eagerly):
    config = inherit_settings(initial, tiny_config())
    return train(clips, config, tmp_path_factory.mktemp("started") / "new", cache_dir=cache_dir, initial=initial)


def test_the_encoders_stay_and_the_last_layer_is_new(started, initial):
    run = load_run(started.path)
    for layer in run.model.layers:
        if layer.weights and layer.name != "logits":
            for new, old in zip(layer.get_weights(), initial.model.get_layer(layer.name).get_weights(), strict=True):
                assert np.array_equal(new, old)
    assert run.model.get_layer("logits").get_weights()[0].shape[1] == len(run.config.class_names) == 2


def test_a_training_says_how_its_start_did_on_the_same_clips(started):
    compared = json.loads((started.path / "metrics.json").read_text())["initial"]
    assert compared["model"] == "old"
    assert (compared["held_out"]["n"], compared["test"]["n"]) == (12, 4)
    gained = [compared[part]["right"] - compared[part]["right_before"] for part in ("held_out", "test")]
    assert compared["n_more_right"] == sum(gained)
    assert started.metrics["epochs"] == 0 and started.metrics["test"]["n"] == 4


def test_the_folder_of_a_started_training_is_like_any_other(started, clips):
    run = load_run(started.path)
    assert run.config.calibration != CalibrationConfig()
    assert any(source.name == "started from the model old" for source in run.config.data)
    assert judge_clips(clips[:1], run).judgements[0].probabilities.shape == (2,)


def test_a_model_of_two_experts_is_no_start(initial):
    fused = Run(initial.path, tiny_config(), None, "")
    object.__setattr__(fused.config, "architecture", LATE_FUSION)
    with refused(ConfigError, "--init", "Start from one of them"):
        inherit_settings(fused, tiny_config())


# ---- The last layer ----


def make_rows(n_clips=24, n_speakers=4, shift=0.0, seed=0):
    """Clips of two classes whose features differ in the first of five numbers; ``shift`` moves both classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n_clips) % 2
    features = rng.normal(size=(n_clips, 5)).astype(np.float32)
    features[:, 0] += 4.0 * classes - 2.0 + shift
    groups = np.array([f"p{i // 2 % n_speakers}" for i in range(n_clips)])
    return HeadRows(features, np.arange(n_clips), np.ones(n_clips, int), np.ones(n_clips, bool), classes, groups)


RIGHT = LastLayer(np.array([[-2.0, 2.0], *[[0.0, 0.0]] * 4], np.float32), np.zeros(2, np.float32))


def fit(rows, old):
    return fit_head(rows, old, CalibrationConfig(), None, balance=True)


def test_a_last_layer_that_is_right_hardly_changes():
    fitted = fit(make_rows(), RIGHT)
    assert np.abs(fitted.head.kernel - RIGHT.kernel).max() < 1.0
    assert fitted.losses[fitted.ridge] <= fitted.losses[math.inf]


def test_a_last_layer_that_is_wrong_is_corrected():
    rows = make_rows(shift=6.0)
    fitted = fit(rows, RIGHT)
    assert (RIGHT.logits(rows.features).argmax(axis=1) == rows.classes).mean() == 0.5
    assert (fitted.head.logits(rows.features).argmax(axis=1) == rows.classes).mean() > 0.95
    assert (fitted.held_out.argmax(axis=1) == rows.classes).mean() > 0.9
    assert fitted.ridge < RIDGES[1]


def test_noise_teaches_nothing():
    rows = make_rows()
    rng = np.random.default_rng(1)
    noise = HeadRows(*(getattr(rows, name) for name in ("features", "owners", "kinds", "is_main")),
                     rng.permutation(rows.classes), rows.groups)  # fmt: skip
    blank = LastLayer(np.zeros((5, 2), np.float32), np.zeros(2, np.float32))
    assert fit(noise, blank).ridge >= RIDGES[1]


def test_speakers_stay_together_in_folds_and_clips_alone_are_dealt_evenly():
    rows = make_rows()
    for learned in deal_groups(rows.groups, rows.classes):
        assert not set(rows.groups[learned]) & set(rows.groups[~learned])
    alone = np.array([f"clip{i}" for i in range(24)])
    for learned in deal_groups(alone, rows.classes):
        assert abs(np.mean(rows.classes[~learned]) - 0.5) <= 0.25
    assert list(deal_groups(np.array(["a", "a"]), np.array([0, 1]))) == []


def test_new_classes_start_in_the_middle_of_the_others():
    chosen = choose_columns(RIGHT, [1, None])
    assert np.array_equal(chosen.kernel[:, 0], RIGHT.kernel[:, 1]) and np.allclose(chosen.kernel[:, 1], 0)


def test_what_faces_teach_leaves_voices_alone():
    config = small_design("mfcc_cnn_3d", model={"fusion_units": 0, "fusion_still": True})
    model = build_model(config)
    gates = find_gates(model)
    kernel, bias = model.get_layer("logits").get_weights()
    assert gates.shape == (len(kernel), 3)
    features = keras.Model(model.inputs, model.get_layer("logits").input)
    inputs = random_inputs(config, 12)
    silent = {**inputs, "audio": np.zeros_like(inputs["audio"])}
    unseen = {**inputs, "video": np.zeros_like(inputs["video"])}
    seen, heard = (np.array(features(values)) for values in (silent, unseen))
    classes = np.arange(12) % 2
    seen[:, np.flatnonzero(gates[:, 1])[:3]] += 3.0 * classes[:, None]
    groups = np.array([f"p{i // 4}" for i in range(12)])
    rows = HeadRows(seen, np.arange(12), np.ones(12, int), np.ones(12, bool), classes, groups)
    old = LastLayer(kernel, bias)
    new = fit_head(rows, old, CalibrationConfig(), gates, balance=True).head
    assert np.abs(new.logits(seen) - old.logits(seen)).max() > 0.1
    assert np.allclose(new.logits(heard), old.logits(heard), atol=1e-5)


def test_a_design_with_layers_after_the_branches_has_no_gates():
    assert find_gates(build_model(small_design("mfcc_cnn_3d"))) is None


def test_a_clip_in_which_nobody_speaks_long_enough_is_left_out(initial, clips, cache_dir, monkeypatch):
    cut, empty = evidence.cut_clip, []

    def cut_all_but_the_third(media, preprocessor):
        empty.append(media)
        return [] if len(empty) == 3 else cut(media, preprocessor)

    monkeypatch.setattr(evidence, "cut_clip", cut_all_but_the_third)
    config = inherit_settings(initial, tiny_config())
    cache = ClipCache(cache_dir, config)
    cache.fill(clips)
    started = start_from(initial, config, clips, cache)
    assert started.clips == [clip for i, clip in enumerate(clips) if i != 2]
    judged = started.judge(clips, config.calibration)
    assert len(judged) == len(clips) - 1 and all(np.isfinite(j.probabilities).all() for j in judged)


@pytest.mark.parametrize(
    ("more", "n_new", "words"),
    [
        (2, 0, "Better than old: use --model new"),
        (0, 0, "use --model old"),
        (0, 3, "has others: use --model new"),
    ],
)
def test_which_model_to_use_is_said(more, n_new, words):
    counts = {"n": 10, "right": 5 + more, "right_before": 5, "n_new": n_new, "right_new": n_new}
    nothing = dict.fromkeys(counts, 0)
    compared = {"model": "old", "held_out": counts, "test": nothing, "n_more_right": more}
    assert words in format_comparison(compared, "new")


def test_every_fold_starts_from_the_model_and_the_folds_are_compared_together(initial, clips, cache_dir, tmp_path):
    config = inherit_settings(initial, tiny_config(training={"protocol": "loso"}))
    result = cross_validate(clips, config, tmp_path / "folds", n_folds=5, cache_dir=cache_dir, initial=initial)
    compared = result.report["initial"]
    assert (compared["test"]["n"], compared["held_out"]["n"]) == (16, 0)
    right = sum(fold["n"] * fold["accuracy"] for fold in result.report["folds"])
    assert compared["test"]["right"] == pytest.approx(right)


def test_clips_that_the_first_model_learned_from_are_known_to_the_second(started, clips, cache_dir, tmp_path, capsys):
    first = load_run(started.path)
    config = inherit_settings(first, tiny_config())
    second = train(clips[:8], config, tmp_path / "second", cache_dir=cache_dir, initial=first, reporter=Reporter())
    assert second.metrics["initial"]["n_met"] > 0
    seen = load_seen_by(load_run(second.path))
    split = load_splits(started.path / "splits.csv")
    assert {*split.train, *split.validation} <= seen.clip_ids
    assert any("old" in name for name in seen.unlisted)
    assert "learned from" in capsys.readouterr().err
