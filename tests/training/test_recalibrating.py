"""Calibrating a finished model on clips of other people: what changes, what is kept, and what is refused."""

import json

import numpy as np
import pytest
from refusals import refused
from small_models import tiny_config, write_small_run

from emotion import calibrate
from emotion.config import CalibrationConfig
from emotion.config_files import load_config
from emotion.errors import DatasetError, RunError
from emotion.models.run_folder import load_run
from emotion.places import find_model
from emotion.training.calibrating import Answers, fit_calibration, measure_answers
from emotion.training.recalibrating import check_replaceable, fit_offsets, recalibrate

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("eagerly", "tiny_design")]


@pytest.fixture
def run(tmp_path):
    return load_run(write_small_run(tmp_path / "run", tiny_config()))


def test_a_model_is_calibrated_in_its_place_and_keeps_the_old_values(run, call, dataset_dir, cache_dir):
    ended = call(calibrate, "--model", run.path, "--dataset_dir", dataset_dir, "--cache_dir", cache_dir)
    assert ended.code == 0 and "both, after" in ended.out, ended
    config = load_config(run.path / "config.json")
    record = json.loads((run.path / "metrics.json").read_text())["calibrations"][0]
    assert record["before"]["both"] == 1.0 and record["after"]["both"] == config.calibration.both != 1.0
    assert record["scores"]["both"]["before"]["n"] == 16
    assert load_run(run.path).config.calibration == config.calibration


def test_a_new_prior_goes_into_a_new_folder(run, call, dataset_dir, cache_dir, tmp_path):
    data = ["--dataset_dir", dataset_dir, "--cache_dir", cache_dir]
    assert call(calibrate, "--model", run.path, "--prior", *data).code == 2
    ended = call(calibrate, "--model", run.path, "--prior", "--output", tmp_path / "new", *data)
    assert ended.code == 0, ended
    record = json.loads((tmp_path / "new" / "metrics.json").read_text())["calibrations"][0]
    old, new = (load_run(path, runtime="keras").model.get_layer("logits") for path in (run.path, tmp_path / "new"))
    moved = new.get_weights()[1] - old.get_weights()[1]
    assert np.allclose(moved, list(record["offsets"].values()), atol=1e-6) and np.abs(moved).max() > 0
    assert np.array_equal(old.get_weights()[0], new.get_weights()[0])
    assert load_run(tmp_path / "new", runtime="onnx").runtime == "onnx"
    assert load_config(run.path / "config.json").calibration == CalibrationConfig()


def test_shipped_models_stay_as_they_are(tmp_path):
    for name in ("default", "accurate"):
        with refused(RunError, name, "--output"):
            check_replaceable(find_model(name))
    check_replaceable(tmp_path)


def test_too_few_clips_are_refused(run, clips, cache_dir):
    with refused(DatasetError, "3 of the 3", "10 are needed"):
        recalibrate(run, clips[:3], cache_dir)


# ---- The arithmetic ----


def make_answers(n, n_right, confidence):
    """Answers about ``n`` clips of two classes, all as confident, of which the first are right."""
    classes = np.arange(n) % 2
    said = np.where(np.arange(n) < n_right, classes, 1 - classes)
    rows = [np.where(np.arange(2) == index, confidence, 1 - confidence)[None] for index in said]
    return Answers(rows, classes, np.array([f"p{i}" for i in range(n)]), np.array([""] * n))


def test_overconfidence_is_lowered_and_few_clips_lower_it_less():
    before = CalibrationConfig()
    many = fit_calibration({"voice": make_answers(200, 140, 0.99)}, before)
    few = fit_calibration({"voice": make_answers(10, 7, 0.99)}, before)
    assert 1 < few.voice < many.voice
    assert (many.both, many.face) == (1, 1)
    too_few = fit_calibration({"voice": make_answers(9, 1, 0.99)}, before)
    assert (too_few.voice, too_few.unsure_below) == (1, pytest.approx(0.55))


def test_answers_that_are_all_right_do_not_become_certain():
    assert fit_calibration({"face": make_answers(10, 10, 0.8)}, CalibrationConfig()).face > 0.3


def test_coverage_and_calibration_error_are_those_of_the_answers():
    scores = measure_answers(make_answers(10, 7, 0.9), np.ones(10), 0.5)
    assert scores["accuracy"] == scores["accuracy_answered"] == 0.7 and scores["coverage"] == 1
    assert scores["ece"] == pytest.approx(0.2)
    assert measure_answers(make_answers(10, 7, 0.9), np.ones(10), 0.95)["coverage"] == 0


def test_a_prior_is_found_where_one_class_is_rare():
    rng = np.random.default_rng(0)
    classes = (rng.random(400) < 0.1).astype(int)
    logits = rng.normal(size=400) + 2.0 * classes - 1.0  # of the second class; right for equal shares
    probabilities = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=1)
    answers = Answers(list(probabilities[:, None]), classes, np.arange(400).astype(str), np.array([""] * 400))
    offsets = fit_offsets({"face": answers}, CalibrationConfig())
    assert offsets[0] - offsets[1] == pytest.approx(np.log(9), abs=0.7)
