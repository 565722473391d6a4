"""The classical baselines: same folds as our models, settings chosen without the test side; openSMILE is faked."""

import dataclasses
import importlib
import json
import os
import sys

import numpy as np
import pytest
import soundfile
from sklearn.base import BaseEstimator, ClassifierMixin

from benchmarks import baselines, features, results, systems
from emotion.config import DataSource, RunConfig, TrainConfig
from emotion.config_files import to_dict
from emotion.console import run_program
from emotion.datasets import DATASETS
from emotion.datasets.clips import Clip
from emotion.datasets.protocols import split_folds
from emotion.datasets.splits import Split
from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.errors import DatasetError, EmotionError, RunError
from emotion.evaluation.judging import load_predictions
from emotion.training.crossvalidation import APART, RANDOM

pytestmark = pytest.mark.usefixtures("compiled_librosa")

EMOTIONS = ("happy", "sad", "angry")
N_FOLDS = 2
RATE = features.SAMPLE_RATE


def tone(seconds: float = 0.3, hertz: float = 440.0, amplitude: float = 0.3) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def counting_features(compute=lambda samples, rate: np.array([samples.mean(), samples.std()]), source="test 1"):
    """A feature set that notes how often it was asked."""
    calls = []

    def count(samples, rate):
        calls.append(len(samples))
        return compute(samples, rate)

    return features.FeatureSet("counted", source, count), calls


@pytest.fixture(scope="module")
def voices_dir(tmp_path_factory):
    """Six speakers, three emotions, two statements: 36 sound files."""
    options = {"emotions": EMOTIONS, "n_speakers": 6, "n_repetitions": 2, "duration_seconds": 1.0}
    return write_synthetic_dataset(tmp_path_factory.mktemp("voices"), with_video=False, **options)


@pytest.fixture(scope="module")
def voices(voices_dir):
    return DATASETS["ravdess"].load(voices_dir)


def folds_of(voices, protocol, seed=0):
    fraction = TrainConfig().validation_fraction
    return split_folds(voices, protocol, n_folds=N_FOLDS, validation_fraction=fraction, seed=seed)


@pytest.fixture
def program(voices, monkeypatch):
    """Runs the program on ``voices`` with fake ComParE features, and returns its exit code."""

    def fake_compare():
        return features.FeatureSet("compare", "fake 1", features.compute_mfcc_statistics)

    fake = dataclasses.replace(systems.SYSTEMS["compare_logreg"], build_features=fake_compare)
    monkeypatch.setitem(systems.SYSTEMS, "compare_logreg", fake)

    def run(*arguments) -> int:
        given = ["--dataset", "ravdess", "--folds", str(N_FOLDS), "--no_progress", *map(str, arguments)]
        return run_program(lambda: baselines.main(given))

    return run


# ---- The program ----


@pytest.mark.thorough
def test_both_systems_are_scored_under_both_protocols_and_everything_is_written(program, voices_dir, tmp_path, capsys):
    assert program("--dataset_dir", voices_dir, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    found = [(row["protocol"], row["n"], row["n_speakers"]) for row in report["rows"]]
    assert found == [(APART, 36, 6), (RANDOM, 36, 6)] * 2
    table = (tmp_path / "table.md").read_text()
    assert table in printed
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 2 + 4
    for row in report["rows"]:
        assert row["low"] <= row["score"] <= row["high"]
        assert f"{row['score']:.1%}" in table
    assert report["settings"]["validation_fraction"] == TrainConfig().validation_fraction
    assert report["versions"]["scikit-learn"]
    assert (tmp_path / "protocols.png").stat().st_size > 1000


def test_one_baseline_tells_emotions_apart_without_opensmile(program, voices_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    options = ("--systems", "mfcc_svm", "--protocols", "random")
    assert program("--dataset_dir", voices_dir, "--output", tmp_path, *options) == 0
    (row,) = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert row["protocol"] == RANDOM and row["score"] > 0.6  # of three emotions, a guess reaches a third


def test_fold_for_fold_the_test_clips_are_those_of_our_models(program, voices, voices_dir, tmp_path):
    assert program("--dataset_dir", voices_dir, "--output", tmp_path, "--systems", "mfcc_svm", "--seed", 3) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    for protocol in ("kfold", "random"):
        splits = folds_of(voices, protocol, seed=3)
        judgements, class_names = load_predictions(tmp_path / f"predictions_mfcc_svm_{protocol}.csv")
        assert [j.clip_id for j in judgements] == [clip_id for split in splits for clip_id in split.test]
        assert class_names == tuple(report["data"]["classes"])
        folds = report["reports"]["mfcc_svm"][protocol]["folds"]
        assert [row["n"] for row in folds] == [len(split.test) for split in splits]


def test_a_missing_opensmile_gives_one_line_with_the_way_out(voices_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    arguments = ["--dataset_dir", str(voices_dir), "--output", str(tmp_path / "new")]
    assert run_program(lambda: baselines.main(arguments)) == EmotionError.exit_code
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "pip install -r benchmarks/requirements.txt" in said.err
    # It is noticed before any clip is read.
    assert not (tmp_path / "new").exists()


def test_a_broken_file_is_named_and_the_exit_code_says_so(program, tmp_path, capsys):
    root = write_synthetic_dataset(
        tmp_path / "data", emotions=EMOTIONS, n_speakers=4, n_repetitions=2, duration_seconds=0.6, with_video=False
    )
    first, second = sorted(root.rglob("*.wav"))[:2]
    first.write_bytes(b"no sound")
    soundfile.write(second, np.zeros(RATE, np.float32), RATE)
    assert program("--dataset_dir", root, "--output", tmp_path / "out", "--systems", "mfcc_svm") == 3
    said = capsys.readouterr().err
    assert first.name in said
    assert second.name in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {row["n"] for row in report["rows"]} == {22}
    assert report["reports"]["mfcc_svm"]["kfold"]["n_skipped"] == 2


def test_an_output_that_is_a_file_is_refused(program, voices_dir, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert program("--dataset_dir", voices_dir, "--output", tmp_path / "out") == 2
    assert "is a file" in capsys.readouterr().err


# ---- Features ----


def test_mfcc_statistics_are_forty_means_and_forty_deviations():
    changing = np.concatenate([tone(0.5, hertz) for hertz in (200, 400, 800, 1600)])
    sounds = {"steady": tone(1.0), "longer": tone(2.0), "higher": tone(1.0, 900.0), "changing": changing}
    rows = {name: features.compute_mfcc_statistics(sound, RATE) for name, sound in sounds.items()}
    assert {row.shape for row in rows.values()} == {(80,)}
    assert rows["changing"][40:].mean() > 2 * rows["steady"][40:].mean()
    means = {name: row[:40] for name, row in rows.items()}
    same, other = (np.abs(means["steady"] - means[name]).max() for name in ("longer", "higher"))
    assert same < other / 5


def test_a_second_run_computes_nothing_and_another_release_everything(voices, tmp_path):
    counted, calls = counting_features()
    first = features.extract_features(voices, counted, tmp_path)
    assert len(calls) == len(first.rows) == len(voices)
    again = features.extract_features(voices, counted, tmp_path)
    assert len(calls) == len(voices)
    assert all(np.array_equal(again.rows[clip_id], row) for clip_id, row in first.rows.items())
    other, calls = counting_features(source="test 2")
    features.extract_features(voices, other, tmp_path)
    assert len(calls) == len(voices)


def test_rows_are_known_by_the_content_of_the_file_and_the_stretch(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.concatenate([tone(1.0), tone(1.0, amplitude=0.6)]), RATE)
    whole = Clip("a", "happy", audio_path=str(path))
    half = Clip("b", "happy", audio_path=str(path), start_seconds=1.0, end_seconds=1.5)
    counted, calls = counting_features()
    rows = features.extract_features([whole, half], counted, tmp_path).rows
    assert calls == [2 * RATE, round(0.5 * RATE)]
    assert rows["b"][1] == pytest.approx(0.6 / np.sqrt(2), rel=0.01)
    path = path.rename(tmp_path / "b.wav")
    features.extract_features([Clip("c", "sad", audio_path=str(path))], counted, tmp_path)
    assert len(calls) == 2
    soundfile.write(path, tone(0.7), RATE)
    features.extract_features([Clip("c", "sad", audio_path=str(path))], counted, tmp_path)
    assert len(calls) == 3


def test_a_file_of_rows_that_was_cut_short_is_made_anew(voices, tmp_path):
    counted, calls = counting_features()
    features.extract_features(voices[:2], counted, tmp_path)
    path = tmp_path / "features_counted.npz"
    for rest in (path.read_bytes()[:200], b"", b"no rows"):
        path.write_bytes(rest)
        calls.clear()
        features.extract_features(voices[:2], counted, tmp_path)
        assert len(calls) == 2


def test_silence_a_missing_sound_and_a_clip_too_short_are_counted_and_remembered(tmp_path):
    for name, samples in {"silent": np.zeros(RATE), "short": tone(0.2), "long": tone(0.5)}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    clips = [Clip(name, "happy", audio_path=str(tmp_path / f"{name}.wav")) for name in ("silent", "short", "long")]
    clips.append(Clip("unheard", "happy", video_path=str(tmp_path / "long.wav")))
    too_short = round(0.3 * RATE)
    counted, calls = counting_features(lambda samples, rate: np.full(2, np.nan if len(samples) < too_short else 1.0))
    for _ in range(2):
        found = features.extract_features(clips, counted, tmp_path)
        assert list(found.rows) == ["long"]
        assert found.without_sound == ["silent", "short", "unheard"]
        assert found.failures == {}
    assert len(calls) == 2


def test_what_needs_a_process_of_its_own_gets_one_and_its_death_gives_one_clear_error(tmp_path, monkeypatch):
    # In a small module of its own, since the other process imports it.
    (tmp_path / "apart_from_us.py").write_text(
        "import os\n\ndef tell(samples, rate):\n    return [os.getpid()]\n\ndef die(samples, rate):\n    os._exit(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    apart_from_us = importlib.import_module("apart_from_us")
    soundfile.write(tmp_path / "a.wav", tone(0.5), RATE)
    clips = [Clip("a", "happy", audio_path=str(tmp_path / "a.wav"))]
    apart = features.FeatureSet("pid", "here", apart_from_us.tell, is_isolated=True)
    assert features.extract_features(clips, apart, tmp_path).rows["a"][0] != np.float32(os.getpid())
    deadly = features.FeatureSet("deadly", "library 1", apart_from_us.die, is_isolated=True)
    with pytest.raises(EmotionError, match="library 1 cannot be used here"):
        features.extract_features(clips, deadly, tmp_path)


# ---- Choice and judgement ----


class Noted(ClassifierMixin, BaseEstimator):
    """A classifier that notes what it is fitted on, and answers by the nearest class mean."""

    fits: list

    def __init__(self, wrong=False):
        self.wrong = wrong

    def fit(self, rows, true):
        type(self).fits.append((self.wrong, len(rows)))
        self.classes_ = np.unique(true)
        self._means = np.stack([rows[true == index].mean(axis=0) for index in self.classes_])
        return self

    def decision_function(self, rows):
        # The setting "wrong" turns every answer round.
        sign = 1 if self.wrong else -1
        return sign * np.linalg.norm(rows[:, None] - self._means, axis=2)


def make_fold(n_each: int = 4):
    """Three classes on a line, and a split in which the test side is labelled the other way round."""
    clips, rows, sides = {}, {}, {"train": [], "validation": [], "test": []}
    rng = np.random.default_rng(0)
    for side, ids in sides.items():
        for place, emotion in enumerate(EMOTIONS):
            for number in range(n_each):
                clip_id = f"{side} {emotion} {number}"
                clips[clip_id] = Clip(clip_id, emotion, side, audio_path="a.wav", sex="female")
                where = 2 - place if side == "test" else place
                rows[clip_id] = 10.0 * where + rng.normal(size=2)
                ids.append(clip_id)
    return clips, rows, Split(*(tuple(sorted(ids)) for ids in sides.values()), "kfold", 0)


def test_settings_are_chosen_on_the_validation_side_and_the_fit_is_on_training_and_validation():
    clips, rows, split = make_fold()
    Noted.fits = []
    grid = ({"wrong": True}, {"wrong": False})
    system = systems.System("noted", features.build_mfcc_features, Noted, grid)
    result = systems.judge_fold(system, split, clips, rows, EMOTIONS)
    # On the test side the other setting would have been the better one.
    assert result.chosen["wrong"] is False
    assert result.chosen["validation_uar"] == 1.0
    assert Noted.fits == [(True, 12), (False, 12), (False, 24)]
    answers = [judgement.probabilities.argmax() for judgement in result.judgements]
    assert answers == [2 - judgement.class_index for judgement in result.judgements]
    assert {judgement.evidence for judgement in result.judgements} == {"audio_only"}


@pytest.mark.parametrize("name", list(systems.SYSTEMS))
def test_the_real_classifiers_give_probabilities_and_leave_clips_without_a_row_unanswered(name):
    clips, rows, split = make_fold()
    del rows[split.test[0]], rows[split.train[0]]
    result = systems.judge_fold(systems.SYSTEMS[name], split, clips, rows, EMOTIONS)
    assert result.n_unanswered == 1
    assert [judgement.clip_id for judgement in result.judgements] == list(split.test[1:])
    for judgement in result.judgements:
        assert judgement.probabilities.sum() == pytest.approx(1)
        assert judgement.probabilities.min() >= 0


def test_a_class_that_was_never_trained_gets_no_probability():
    clips, rows, split = make_fold()
    train = tuple(clip_id for clip_id in split.train if EMOTIONS[0] not in clip_id)
    validation = tuple(clip_id for clip_id in split.validation if EMOTIONS[0] not in clip_id)
    split = dataclasses.replace(split, train=train, validation=validation)
    result = systems.judge_fold(systems.SYSTEMS["compare_logreg"], split, clips, rows, EMOTIONS)
    assert len(result.judgements) == 12
    assert all(judgement.probabilities[0] == 0 for judgement in result.judgements)


@pytest.mark.parametrize("side", ["train", "validation", "test"])
def test_a_fold_with_an_empty_side_says_so(side):
    clips, rows, split = make_fold()
    for clip_id in getattr(split, side):
        del rows[clip_id]
    with pytest.raises(DatasetError, match="too few clips with sound"):
        systems.judge_fold(systems.SYSTEMS["mfcc_svm"], split, clips, rows, EMOTIONS)


def test_at_temperature_one_logistic_regression_gives_its_own_probabilities():
    rng = np.random.default_rng(0)
    for n_classes in (2, 3):
        rows, true = rng.normal(size=(60, 4)), np.arange(60) % n_classes
        classifier = systems.SYSTEMS["compare_logreg"].build_classifier(C=1.0).fit(rows, true)
        scores = systems.compute_class_scores(classifier, rows, n_classes)
        assert np.allclose(systems.compute_probabilities(scores, 1.0), classifier.predict_proba(rows))


def test_the_temperature_is_low_where_the_scores_are_right_and_high_where_they_are_not():
    scores = np.eye(3)[np.arange(30) % 3]
    right, wrong = np.arange(30) % 3, np.arange(30) % 7 % 3
    assert systems.choose_temperature(scores, right) == pytest.approx(systems.TEMPERATURES[0])
    assert systems.choose_temperature(scores, wrong) > 1


# ---- Our models beside them ----


def write_cross_validation(folder, splits, *, protocol="kfold", classes=EMOTIONS, uar=0.5):
    """The two files of a cross-validation that are read."""
    folder.mkdir(parents=True)
    config = RunConfig(
        class_names=tuple(classes), modalities=("audio",), training=TrainConfig(protocol=protocol),
        data=(DataSource("test", "none", 1),),
    )  # fmt: skip
    plan = {"config": to_dict(config), "folds": [dataclasses.asdict(split) for split in splits]}
    report = {
        **{"uar": uar, "accuracy": 0.6, "weighted_f1": 0.55, "n": 36, "n_speakers": 6, "n_unanswered": 0},
        **{"classes": list(classes), "intervals": {"uar": [0.4, 0.6], "unit": "speakers"}},
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "folds.json").write_text(json.dumps(report))
    return folder


def test_cross_validations_of_our_models_stand_in_the_same_table(program, voices, voices_dir, tmp_path, capsys):
    for protocol in ("kfold", "random"):
        write_cross_validation(tmp_path / "ours" / protocol, folds_of(voices, protocol), protocol=protocol)
    other = write_cross_validation(tmp_path / "other", folds_of(voices, "kfold", seed=5), uar=0.123)
    arguments = ("--dataset_dir", voices_dir, "--output", tmp_path / "out", "--systems", "mfcc_svm")
    assert program(*arguments, "--compare", tmp_path / "ours", other) == 0
    table = capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    ours = [row for row in rows if "folder" in row]
    found = [(row["protocol"], row["same_test_clips"]) for row in ours]
    assert found == [(APART, True), (RANDOM, True), (APART, False)]
    assert ours[0]["system"] == "mfcc_cnn_3d (audio)"
    # Two of one name under one protocol are told apart by their folders.
    assert f"mfcc_cnn_3d (audio), {other} " in table
    assert "12.3%" in table
    assert f"({other}): its folds group the test clips differently" in table
    assert table.count("test clips differently") == 1


def test_other_classes_and_unanswered_clips_are_said(voices, tmp_path):
    folder = write_cross_validation(tmp_path / "a", folds_of(voices, "kfold"), classes=EMOTIONS[:2])
    report = json.loads((folder / "folds.json").read_text())
    (folder / "folds.json").write_text(json.dumps({**report, "n_unanswered": 4}))
    row, differences = results.load_compared(folder, {"kfold": folds_of(voices, "kfold")}, EMOTIONS)
    assert row["same_test_clips"]
    assert len(differences) == 2
    assert "happy, sad" in differences[0]
    assert "4 clips" in differences[1]


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_folder_that_holds_no_finished_cross_validation_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "folds.json").write_text(content)
        (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RunError, match=str(tmp_path)):
        for folder in results.find_cross_validations(tmp_path):
            results.load_compared(folder, {}, EMOTIONS)


def test_the_official_split_is_not_compared(voices, tmp_path):
    folder = write_cross_validation(tmp_path / "a", folds_of(voices, "kfold"), protocol="official")
    with pytest.raises(RunError, match="official"):
        results.load_compared(folder, {}, EMOTIONS)
