"""Scores worked out by hand, and the interval around them."""

import numpy as np
import pytest

from emotion.evaluation import bootstrap_interval, compute_confusion_matrix, compute_scores


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


def test_always_answering_the_commonest_class_does_not_raise_the_uar():
    scores = compute_scores(np.array([[90, 0], [10, 0]]))
    assert scores["accuracy"] == pytest.approx(0.9)
    assert scores["uar"] == pytest.approx(0.5)


def test_scores_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        compute_scores(np.zeros((2, 2), int))


def test_the_interval_is_wide_where_speakers_differ_and_not_where_clips_do():
    rng = np.random.default_rng(0)
    true = np.tile([0, 1], 500)
    speakers = np.repeat([f"s{i}" for i in range(10)], 100)
    easy_or_hard = np.repeat(rng.permutation([True, False] * 5), 100)
    predicted = np.where(easy_or_hard, true, 1 - true)
    low, high = bootstrap_interval(true, predicted, speakers, 2)
    by_clip = bootstrap_interval(true, predicted, [str(i) for i in range(1000)], 2)
    assert low < 0.5 < high
    assert high - low > 3 * (by_clip[1] - by_clip[0])


def test_the_interval_follows_from_its_seed():
    true, predicted = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1])
    assert bootstrap_interval(true, predicted, list("abcd"), 2) == bootstrap_interval(true, predicted, list("abcd"), 2)


def test_a_single_speaker_gives_an_interval_over_clips():
    low, high = bootstrap_interval(np.array([0, 1] * 10), np.array([0, 1, 1, 0] * 5), ["a"] * 20, 2)
    assert low < high
