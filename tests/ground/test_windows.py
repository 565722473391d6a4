"""Windows cover a clip from end to end, and their probabilities merge into one answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from emotion.windows import (
    SHORTEST_TAIL_SECONDS,
    merge_by_clip,
    merge_probabilities,
    probabilities_at,
    sliding_windows,
)

# Derandomised and without a deadline: the suite must give the same answer on a busy machine.
properties = settings(max_examples=100, deadline=None, derandomize=True, database=None)

durations = st.floats(0, 100)
windows = st.floats(0.2, 10)
steps = st.floats(0.05, 10)


@properties
@given(duration=durations, window=windows, step=steps, start=st.floats(-5, 1000))
def test_windows_reach_from_the_start_to_the_end(duration, window, step, start):
    cut = sliding_windows(duration, window, step, start)
    assert cut[0][0] == start
    if duration > window:
        assert start + duration - SHORTEST_TAIL_SECONDS - 1e-5 <= cut[-1][1] <= start + duration + 1e-5
    else:
        assert cut == [(start, start + window)]


@properties
@given(duration=durations, window=windows, step=steps)
def test_windows_are_alike_and_rise_by_no_more_than_the_step(duration, window, step):
    starts, ends = np.array(sliding_windows(duration, window, step)).T
    np.testing.assert_allclose(ends - starts, window, atol=1e-9)
    rises = np.diff(starts)
    assert (rises > 0).all() and (rises <= step + 1e-9).all()
    np.testing.assert_allclose(rises[:-1], step, atol=1e-9)


def test_a_clip_of_whole_steps_gets_no_extra_window():
    assert sliding_windows(4.0, 3.0, 0.5) == [(0.0, 3.0), (0.5, 3.5), (1.0, 4.0)]
    assert len(sliding_windows(0.1 * 3 + 0.7, 0.7, 0.1)) == 4  # 0.1 * 3 is a hair above 0.3


def test_the_last_step_may_be_shorter():
    assert sliding_windows(3.2, 3.0, 0.5) == [(0.0, 3.0), (pytest.approx(0.2), pytest.approx(3.2))]
    assert sliding_windows(3.7, 3.0, 0.5) == [(0.0, 3.0), (0.5, 3.5), (pytest.approx(0.7), pytest.approx(3.7))]


def test_a_moment_behind_the_last_step_gets_no_window_of_its_own():
    assert sliding_windows(3.05, 3.0, 0.5) == [(0.0, 3.0)]
    assert sliding_windows(3.54, 3.0, 0.5) == [(0.0, 3.0), (0.5, 3.5)]
    # Small steps are taken for what they are.
    assert len(sliding_windows(3.04, 3.0, 0.05)) == 2


@pytest.mark.parametrize("duration", [0.0, 1.0, 3.0])
def test_a_clip_no_longer_than_a_window_gives_one(duration):
    assert sliding_windows(duration, 3.0, 0.5) == [(0.0, 3.0)]


# ---- Merging ----


def test_merging_takes_the_mean():
    np.testing.assert_allclose(merge_probabilities([[1.0, 0.0], [0.5, 0.5]]), [0.75, 0.25])


def test_many_clips_are_merged_as_each_is_by_itself():
    rows = np.random.default_rng(0).random((6, 3))
    each = [merge_probabilities(part) for part in (rows[:1], rows[1:4], rows[4:])]
    np.testing.assert_allclose(merge_by_clip(rows, [1, 3, 2]), each)


@properties
@given(rows=st.lists(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), min_size=1, max_size=6))
def test_a_merged_answer_sums_to_one_and_lies_between_the_answers(rows):
    rows = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    merged = merge_probabilities(rows)
    assert merged.sum() == pytest.approx(1.0)
    assert (merged >= rows.min(axis=0) - 1e-9).all() and (merged <= rows.max(axis=0) + 1e-9).all()


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 8)), np.ones(8) / 8])
def test_there_must_be_rows_to_merge(nothing):
    with refused(ValueError, "merge_probabilities"):
        merge_probabilities(nothing)


# ---- Between windows ----

MIDDLES = [1.5, 2.0, 3.0]
ANSWERS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("time", "expected"),
    [(1.5, [1, 0]), (1.75, [0.5, 0.5]), (2.0, [0, 1]), (2.5, [0.25, 0.75]), (0.0, [1, 0]), (9.0, [0.5, 0.5])],
)
def test_probabilities_go_in_a_line_from_middle_to_middle_and_hold_at_the_ends(time, expected):
    np.testing.assert_allclose(probabilities_at(time, MIDDLES, ANSWERS), expected)


def test_one_window_holds_for_the_whole_clip():
    for time in (-1.0, 1.5, 7.0):
        np.testing.assert_array_equal(probabilities_at(time, [1.5], ANSWERS[:1]), [1, 0])


@properties
@given(time=st.floats(-10, 10))
def test_between_windows_probabilities_still_sum_to_one(time):
    assert probabilities_at(time, MIDDLES, ANSWERS).sum() == pytest.approx(1.0)
