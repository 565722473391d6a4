"""Where a face is between its sightings, and what the records of a prediction say."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import HAPPY, SAD, TORN, make_prediction

from emotion.results import UNSURE, EmotionSummary, FaceTrack, WindowPrediction

properties = settings(max_examples=100, deadline=None, derandomize=True, database=None)

HERE, THERE = (10, 20, 50, 60), (30, 20, 74, 64)


def track(*sightings):
    times, boxes = zip(*sightings, strict=True)
    return FaceTrack(1, times, boxes)


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        pytest.param([(1.0, HERE), (1.2, THERE)], {1.0: HERE, 1.2: THERE}, id="at a sighting, the one seen"),
        pytest.param([(1.0, HERE), (1.4, THERE)], {1.1: (15, 20, 56, 61), 1.2: (20, 20, 62, 62)}, id="between, a line"),
        pytest.param([(1.0, HERE), (4.0, THERE)], {1.1: HERE, 3.9: THERE, 1.2: None, 2.5: None, 3.8: None},
                     id="none in a long gap but at its edges"),
        pytest.param([(1.0, HERE), (1.2, THERE)], {0.9: HERE, 1.3: THERE, 0.8: None, 1.4: None},
                     id="a moment before the first and after the last"),
        pytest.param([(0.0, HERE)], {0.0: HERE, 0.1: HERE, 3.0: None}, id="seen once, as in a still picture"),
    ],
)  # fmt: skip
def test_where_the_box_of_a_face_is(sightings, expected):
    face = track(*sightings)
    assert {time: face.box_at(time) for time in expected} == expected


def test_the_gap_that_a_face_may_be_out_of_sight_can_be_given():
    assert track((1.0, HERE), (4.0, THERE)).box_at(2.5, max_gap_seconds=3.0) == (20, 20, 62, 62)


boxes = st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(101, 200), st.integers(101, 200))
sightings = st.lists(st.floats(0, 20), min_size=1, max_size=8, unique=True).flatmap(
    lambda times: st.tuples(*(st.tuples(st.just(time), boxes) for time in sorted(times)))
)


@properties
@given(seen=sightings, time=st.floats(-1, 21))
def test_a_box_is_whole_pixels_within_the_boxes_seen_or_none(seen, time):
    box = track(*seen).box_at(time)
    near = min(abs(time - moment) for moment, _ in seen)
    if box is None:
        assert near > 0.125
        return
    assert near <= 0.25
    assert all(isinstance(side, int) for side in box)
    low, high = (extreme([b for _, b in seen], axis=0) for extreme in (np.min, np.max))
    assert (low <= box).all() and (box <= high).all()


def test_a_face_has_a_name_and_a_window_a_middle():
    assert FaceTrack(3, (0.0,), (HERE,)).name == "face 3"
    assert WindowPrediction(1.0, 4.0, None, "voice", None).middle_seconds == 2.5


def test_an_answer_is_unsure_below_the_threshold_and_given_at_it():
    probabilities = np.array([0.25, 0.5, 0.25])
    names = ("happy", "sad", "angry")
    for threshold, emotion in ((0.0, "sad"), (0.5, "sad"), (0.51, UNSURE), (1.0, UNSURE)):
        summary = EmotionSummary.of(probabilities, names, evidence="face", unsure_below=threshold)
        assert (summary.emotion, summary.most_probable, summary.confidence) == (emotion, "sad", 0.5)
        assert summary.probabilities is probabilities
    # A certain answer is given whatever the threshold.
    assert EmotionSummary.of(np.array([0.0, 1.0]), names, evidence="face", unsure_below=1.0).emotion == "sad"


def test_no_evidence_is_not_the_same_as_unsure():
    summary = EmotionSummary.of(None, ("happy", "sad"), evidence="none", unsure_below=0.9)
    assert summary == EmotionSummary(None, None, 0.0, "none", None)


def test_results_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EmotionSummary.of(None, (), evidence="none").emotion = "sad"


def test_results_compare_by_what_they_hold_and_survive_pickling():
    rows = [HAPPY, SAD, None]
    result = make_prediction(faces=[(rows, 0.0, 4.0)], voice=[TORN])
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result and hash(copy) == hash(result) and len({copy, result}) == 1
    assert copy.windows[0] == result.windows[0] and copy.overall == result.overall
    other = make_prediction(faces=[([HAPPY, SAD, SAD], 0.0, 4.0)], voice=[TORN])
    assert other != result and other.windows[2] != result.windows[2] and result != "a result"


def test_a_box_moves_on_with_its_face_and_does_not_fly_from_one_place_to_another():
    times = (1.0, 1.05, 1.1, 1.4, 1.45)
    boxes = tuple((left, 50, left + 40, 100) for left in (100, 110, 120, 400, 410))
    track = FaceTrack(1, times, boxes)
    assert track.box_at(0.95) == (90, 50, 130, 100)  # before it was seen first
    assert track.box_at(1.075) == (115, 50, 155, 100)
    assert track.box_at(1.15) == (130, 50, 170, 100) and track.box_at(1.35) == (390, 50, 430, 100)
    assert track.box_at(1.25)[2] < 200
    still = FaceTrack(1, (1.0, 1.4), (boxes[0], boxes[2]))
    assert still.box_at(1.2) == (110, 50, 150, 100) and still.box_at(0.9) == boxes[0]
    leaving = FaceTrack(1, (1.0, 1.05), ((40, 50, 80, 100), (10, 50, 50, 100)))
    assert leaving.box_at(1.1) == (0, 50, 20, 100) and leaving.box_at(1.2) is None
