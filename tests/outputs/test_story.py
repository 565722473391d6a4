"""The headline tells which emotions follow each other, and leaves out what is too short to be one."""

import pytest
from made_predictions import HAPPY, SAD, TORN, make_prediction

from emotion.outputs.story import Chapter, clock, tell_story, write_headline


def test_a_change_is_told_with_its_times():
    prediction = make_prediction([([SAD] * 6 + [HAPPY] * 6, 0, 14)], duration=14.0)
    story = tell_story(prediction)
    assert [chapter.emotion for chapter in story] == ["sad", "happy"]
    assert story[0].end_seconds == pytest.approx(story[1].start_seconds) and story[1].end_seconds == pytest.approx(14)
    assert write_headline(prediction, story) == "sad, then happy (0:00 to 0:07, 0:07 to 0:14)"


def test_one_answer_needs_no_headline_and_no_evidence_has_no_story():
    still = make_prediction([([SAD] * 6, 0, 8)])
    assert [chapter.emotion for chapter in tell_story(still)] == ["sad"] and write_headline(
        still, tell_story(still)
    ) == ""
    assert tell_story(make_prediction()) == () == tell_story(make_prediction([([SAD], 0, 3)], duration=float("nan")))


def test_a_short_change_is_no_chapter_and_being_unsure_is_one():
    rows = [SAD] * 20 + [HAPPY] + [SAD] * 20
    assert len(tell_story(make_prediction([(rows, 0, 43)], duration=43.0))) == 1
    unsure = tell_story(make_prediction([([SAD] * 8 + [TORN] * 8, 0, 18)], duration=18.0))
    assert [chapter.emotion for chapter in unsure] == ["sad", "unsure"]


def test_many_changes_are_told_by_their_shares():
    rows = ([SAD] * 8 + [HAPPY] * 8) * 4
    prediction = make_prediction([(rows, 0, 66)], duration=66.0)
    story = [Chapter(i * 8.0, i * 8.0 + 8, ("sad", "happy")[i % 2]) for i in range(8)]
    assert write_headline(prediction, story) == "changes often: sad 50%, happy 50% of the time"


def test_the_story_is_that_of_the_face_most_in_sight_or_of_the_one_you_name():
    prediction = make_prediction([([SAD] * 3, 0, 1), ([HAPPY] * 7, 0, 9)], voice=[TORN] * 7)
    assert [chapter.emotion for chapter in tell_story(prediction)] == ["happy"]
    assert [chapter.emotion for chapter in tell_story(prediction, face_id=1)] == ["sad"]
    assert [chapter.emotion for chapter in tell_story(make_prediction(voice=[HAPPY] * 7))] == ["happy"]


def test_times_are_told_as_people_tell_them():
    assert [clock(seconds) for seconds in (0, 6.4, 59.6, 754, 3725)] == ["0:00", "0:06", "1:00", "12:34", "1:02:05"]
