"""Scores worked out by hand, and the interval around them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused
from sklearn import metrics

from emotion.scores import (
    SCORES,
    bootstrap_intervals,
    compute_answered,
    compute_calibration,
    compute_confusion_matrix,
    compute_coverage_accuracy,
    compute_per_class,
    compute_scores,
)

properties = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def test_rows_of_the_confusion_matrix_are_the_true_classes():
    matrix = compute_confusion_matrix([0, 0, 1], [0, 1, 1], 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_scores_are_those_worked_out_by_hand():
    # Ten of class 0, eight right; two of class 1, one right; class 2 does not occur but is answered once.
    matrix = np.array([[8, 1, 1], [1, 1, 0], [0, 0, 0]])
    scores = compute_scores(matrix)
    assert scores["n"] == 12
    assert scores["accuracy"] == pytest.approx(9 / 12)
    assert scores["uar"] == pytest.approx((0.8 + 0.5) / 2)
    assert scores["macro_f1"] == pytest.approx((16 / 19 + 2 / 4) / 2)


def test_scores_of_nothing_are_refused():
    with refused(ValueError, "compute_scores"):
        compute_scores(np.zeros((2, 2), int))


def test_the_interval_is_wide_where_speakers_differ_and_not_where_clips_do():
    rng = np.random.default_rng(0)
    true = np.tile([0, 1], 500)
    speakers = np.repeat([f"s{i}" for i in range(10)], 100)
    easy_or_hard = np.repeat(rng.permutation([True, False] * 5), 100)
    predicted = np.where(easy_or_hard, true, 1 - true)
    low, high = bootstrap_intervals(true, predicted, speakers, 2)["uar"]
    by_clip = bootstrap_intervals(true, predicted, [str(i) for i in range(1000)], 2)["uar"]
    assert low < 0.5 < high
    assert high - low > 3 * (by_clip[1] - by_clip[0])


def test_the_interval_follows_from_its_seed():
    true, predicted = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1])
    first, second = (bootstrap_intervals(true, predicted, list("abcd"), 2) for _ in range(2))
    assert first == second
    assert set(first) == set(SCORES)


def test_a_single_speaker_gives_an_interval_over_clips():
    low, high = bootstrap_intervals(np.array([0, 1] * 10), np.array([0, 1, 1, 0] * 5), ["a"] * 20, 2)["uar"]
    assert low < high


answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@properties
@given(answers)
def test_scores_agree_with_scikit_learn(pairs):
    true, predicted = np.array(pairs).T
    occurring = sorted(set(true.tolist()))
    scores = compute_scores(compute_confusion_matrix(true, predicted, 4))
    options = {"labels": occurring, "zero_division": 0}
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    assert scores["uar"] == pytest.approx(metrics.recall_score(true, predicted, average="macro", **options))
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(true, predicted, average="macro", **options))
    assert scores["weighted_f1"] == pytest.approx(metrics.f1_score(true, predicted, average="weighted", **options))


@properties
@given(answers)
def test_per_class_scores_agree_with_scikit_learn(pairs):
    true, predicted = np.array(pairs).T
    rows = compute_per_class(compute_confusion_matrix(true, predicted, 4))
    precision, recall, f1, n = metrics.precision_recall_fscore_support(
        true, predicted, labels=range(4), zero_division=0
    )
    assert [row["n"] for row in rows] == n.tolist()
    assert [row["recall"] or 0.0 for row in rows] == pytest.approx(recall)
    assert [row["precision"] or 0.0 for row in rows] == pytest.approx(precision)
    assert [row["f1"] or 0.0 for row in rows] == pytest.approx(f1)


def test_what_cannot_be_said_of_a_class_is_not_said():
    rows = compute_per_class(np.array([[3, 0, 0], [2, 0, 0], [0, 0, 0]]))
    assert rows[0]["precision"] == pytest.approx(3 / 5)
    assert rows[1] == {"recall": 0.0, "precision": None, "f1": 0.0, "n": 2}
    assert rows[2] == {"recall": None, "precision": None, "f1": None, "n": 0}


def test_the_calibration_error_is_the_weighted_distance_from_the_diagonal():
    confidences = [0.95] * 8 + [0.55] * 2
    error, bins = compute_calibration(confidences, [True] * 4 + [False] * 4 + [True] * 2)
    assert error == pytest.approx(0.8 * (0.95 - 0.5) + 0.2 * (1 - 0.55))
    assert [(row["confidence"], row["accuracy"], row["n"]) for row in bins] == [
        (pytest.approx(0.55), 1.0, 2),
        (pytest.approx(0.95), 0.5, 8),
    ]
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in bins)


def test_confidences_of_0_and_1_have_their_bins():
    error, bins = compute_calibration([0.0, 1.0], [False, True])
    assert error == 0
    assert [row["n"] for row in bins] == [1, 1]


def test_coverage_falls_and_the_surest_answers_come_first():
    confidences = np.linspace(0.2, 1.0, 100)
    points = compute_coverage_accuracy(confidences, confidences > 0.6)
    assert [point["n"] for point in points] == sorted(point["n"] for point in points)
    assert points[0]["accuracy"] == 1.0
    assert points[-1] == {"threshold": pytest.approx(0.2), "coverage": 1.0, "accuracy": 0.5, "n": 100}


def test_unanswered_clips_keep_the_coverage_below_1():
    points = compute_coverage_accuracy([0.5, 0.5, 0.5], [True, True, False], n_unanswered=1)
    assert points == [{"threshold": 0.5, "coverage": 0.75, "accuracy": pytest.approx(2 / 3), "n": 3}]


def test_withholding_unsure_answers_leaves_the_others_accuracy_and_their_share_of_all_clips():
    answered = compute_answered([0.9, 0.5, 0.4, 0.2], [True, False, True, False], 0.5, n_unanswered=1)
    assert answered == {"unsure_below": 0.5, "n": 2, "coverage": 0.4, "accuracy": 0.5}
    assert compute_answered([0.4], [True], 0.5) == {"unsure_below": 0.5, "n": 0, "coverage": 0.0, "accuracy": None}
