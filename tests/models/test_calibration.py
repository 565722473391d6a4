"""Temperatures and the threshold of "unsure": what they leave alone, and that they find what was put in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from emotion.models.calibration import apply_temperature, choose_threshold, fit_temperature, softmax
from emotion.windows import merge_probabilities

properties = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def draw_clips(n_clips, temperature, *, n_windows=1, n_classes=4, seed=0):
    """Clips whose windows say the truth about their classes once they are tempered, and the classes."""
    rng = np.random.default_rng(seed)
    logits = np.repeat(rng.normal(0, 2, (n_clips, 1, n_classes)), n_windows, axis=1)
    true = softmax(logits[:, 0])
    indices = [int(rng.choice(n_classes, p=row)) for row in true]
    return list(softmax(logits * temperature)), indices


# ---- Temperature ----


@properties
@given(temperature=st.floats(0.1, 10), seed=st.integers(0, 1000))
def test_a_temperature_is_what_divides_the_logits(temperature, seed):
    logits = np.random.default_rng(seed).normal(0, 3, (5, 7))
    tempered = apply_temperature(softmax(logits), temperature)
    np.testing.assert_allclose(tempered, softmax(logits / temperature), rtol=1e-9)


def test_at_a_temperature_of_1_not_a_bit_changes():
    probabilities = softmax(np.random.default_rng(0).normal(0, 9, (50, 7))).astype(np.float32)
    probabilities[0] = [0.5, 0.5000001, 0, 0, 0, 0, 0]  # a sum that is not quite 1 stays
    np.testing.assert_array_equal(apply_temperature(probabilities, 1.0), probabilities)
    mixed = apply_temperature(probabilities, np.array([1.0, 2.0] * 25))
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed[::2], probabilities[::2])
    np.testing.assert_array_equal(mixed[1::2], apply_temperature(probabilities[1::2], 2.0))
    before = probabilities.copy()
    for temperature in (1.0, 3.0):  # nor is what is given changed with what comes back
        apply_temperature(probabilities, temperature)[:] = 0
    np.testing.assert_array_equal(probabilities, before)


@properties
@given(temperature=st.floats(1e-3, 1e3), seed=st.integers(0, 1000), spread=st.floats(0, 200))
def test_the_order_of_the_emotions_stays_and_the_sum_is_1(temperature, seed, spread):
    probabilities = softmax(np.random.default_rng(seed).normal(0, spread, (4, 6)))
    tempered = apply_temperature(probabilities, temperature)
    assert np.isfinite(tempered).all()
    np.testing.assert_allclose(tempered.sum(axis=1), 1)
    # Of probabilities that differ in their last digit, rounding may make either the higher.
    best = np.take_along_axis(tempered, probabilities.argmax(axis=1)[:, None], axis=1)
    np.testing.assert_allclose(best[:, 0], tempered.max(axis=1), rtol=1e-9)


def test_a_high_temperature_evens_out_a_low_one_sharpens_and_0_stays_0():
    probabilities = np.array([[0.6, 0.3, 0.1]])
    assert apply_temperature(probabilities, 2.0).max() < 0.6 < apply_temperature(probabilities, 0.5).max()
    np.testing.assert_allclose(apply_temperature(probabilities, 1e6), 1 / 3, atol=1e-5)
    np.testing.assert_array_equal(apply_temperature(np.array([[1.0, 0.0, 0.0]]), 5.0), [[1, 0, 0]])


@pytest.mark.parametrize("temperatures", [0.0, -1.0, np.nan, [1.0, 0.0], [1.0], [1.0] * 3, [[1.0], [1.0]]])
def test_impossible_temperatures_are_refused(temperatures):
    with pytest.raises(ValueError, match="temperatures"):
        apply_temperature(np.full((2, 2), 0.5), temperatures)


# ---- Fitting ----


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("n_windows", [1, 3])
def test_the_temperature_that_was_put_in_is_found(temperature, n_windows):
    clips, indices = draw_clips(3000, temperature, n_windows=n_windows)
    assert fit_temperature(clips, indices) == pytest.approx(temperature, rel=0.08)


def test_the_answer_that_is_fitted_is_the_mean_over_a_clips_windows():
    rng = np.random.default_rng(0)
    clips = [softmax(rng.normal(0, 3, (n, 3))) for n in rng.integers(1, 6, 60)]
    indices = [int(merge_probabilities(clip).argmax()) for clip in clips]
    indices[::3] = [(index + 1) % 3 for index in indices[::3]]

    def loss(temperature):
        answers = [merge_probabilities(apply_temperature(clip, temperature)) for clip in clips]
        return -np.mean([np.log(answer[index]) for answer, index in zip(answers, indices, strict=True)])

    found = fit_temperature(clips, indices)
    grid = np.exp(np.linspace(-3, 3, 121))
    assert loss(found) <= min(loss(temperature) for temperature in grid) + 1e-6


def test_where_the_network_ran_out_of_digits_a_temperature_is_still_found():
    certain = np.array([[1.0, 0.0, 0.0]], np.float32)
    temperature = fit_temperature([certain] * 10, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2])
    assert 1 < temperature < np.exp(3) + 1e-9
    # All right: as sharp as it goes.
    assert fit_temperature([np.array([[0.6, 0.4]])] * 10, [0] * 10) == pytest.approx(np.exp(-3), rel=1e-3)


def test_nothing_to_fit_is_refused():
    for clips in [], [np.ones((1, 2)) / 2]:
        with pytest.raises(ValueError, match="fit_temperature"):
            fit_temperature(clips, [])


# ---- Threshold ----


def draw_answers(n, seed=0):
    """Calibrated confidences between 0.2 and 1, and whether the answers are right."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.2, 1, n)
    return confidences, rng.random(n) < confidences


def test_below_the_threshold_answers_are_more_often_wrong_than_right():
    # Worked out by hand: withholding the first four gains three wrong ones for one right one.
    confidences = [0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    is_right = [0, 1, 0, 0, 1, 1, 0, 1, 1, 1]
    assert choose_threshold(confidences, is_right, max_unsure=0.5) == 0.4
    # However the clips are ordered.
    assert choose_threshold(confidences[::-1], is_right[::-1], max_unsure=0.5) == 0.4


@pytest.mark.parametrize("n", [200, 400, 800])
def test_a_few_hundred_clips_are_enough_to_find_it(n):
    thresholds = [choose_threshold(*draw_answers(n, seed), max_unsure=0.9) for seed in range(20)]
    assert np.median(thresholds) == pytest.approx(0.5, abs=0.06)
    assert max(thresholds) < 0.75


def test_it_lies_where_isotonic_regression_crosses_the_accuracy_asked_for():
    for seed, accuracy in ((0, 0.5), (1, 0.6), (2, 0.3)):
        confidences, is_right = draw_answers(300, seed)
        threshold = choose_threshold(confidences, is_right, min_accuracy=accuracy, max_unsure=0.99)
        fitted = IsotonicRegression().fit(confidences, is_right).predict(confidences)
        assert fitted[confidences >= threshold].min() >= accuracy - 1e-9
        assert fitted[confidences < threshold].max() <= accuracy + 1e-9


@properties
@given(
    answers=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60),
    max_unsure=st.floats(0, 0.99),
)
def test_no_more_clips_are_left_unanswered_than_allowed(answers, max_unsure):
    confidences, is_right = np.array([c / 8 for c, _ in answers]), np.array([right for _, right in answers])
    threshold = choose_threshold(confidences, is_right, max_unsure=max_unsure)
    withheld = confidences < threshold
    assert withheld.mean() <= max_unsure
    assert threshold == 0 or (~is_right[withheld]).sum() > is_right[withheld].sum()


def test_a_quarter_of_the_clips_at_most_is_left_unanswered_unless_more_is_allowed():
    confidences = np.linspace(0.1, 0.9, 100)
    assert (confidences < choose_threshold(confidences, np.zeros(100))).sum() == 25


def test_nothing_is_withheld_where_the_least_sure_answers_are_right():
    assert choose_threshold([0.3, 0.5, 0.9], [True, True, False]) == 0
    assert choose_threshold([0.5], [False]) == 0


@pytest.mark.parametrize(
    ("confidences", "is_right", "limits", "name"),
    [
        ([], [], {}, "choose_threshold"),
        ([0.5], [True, False], {}, "choose_threshold"),
        ([np.nan], [True], {}, "choose_threshold"),
        ([0.5], [True], {"min_accuracy": 1.5}, "min_accuracy"),
        ([0.5], [True], {"max_unsure": 1.0}, "max_unsure"),
        ([0.5], [True], {"max_unsure": -0.1}, "max_unsure"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(confidences, is_right, limits, name):
    with pytest.raises(ValueError, match=name):
        choose_threshold(confidences, is_right, **limits)
