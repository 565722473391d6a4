"""Subtitles say who showed what, for as long as it lasts, in the format players read."""

import itertools
import re

import marked_predictions
import numpy as np

from emotion.outputs.subtitles import format_srt
from emotion.results import WindowPrediction

CUE = re.compile(r"(\d+)\n(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})\n(.+?)(?:\n\n|\n$)", re.DOTALL)


def make_prediction(windows, *, tracks=(), seconds=6.0, unsure_below=0.0):
    return marked_predictions.make_prediction(
        tracks, windows, class_names=("happy", "sad"), duration=seconds, unsure_below=unsure_below
    )


def make_track(face_id, first, last):
    return marked_predictions.make_track(face_id, times=np.arange(first, last, 0.1).tolist())


def window(start, face_id, happy, evidence="face"):
    return WindowPrediction(start, start + 1.0, face_id, evidence, np.array([happy, 1 - happy]))


def cues(prediction):
    return [(start, end, lines.split("\n")) for _, start, end, lines in CUE.findall(format_srt(prediction))]


def test_a_cue_lasts_as_long_as_the_emotion_does():
    windows = [window(start, 1, 0.9 if start < 2.6 else 0.2) for start in np.arange(0, 5.1, 0.5)]
    first, second = cues(make_prediction(windows, tracks=[make_track(1, 0, 6)]))
    assert first[0] == "00:00:00,000" and first[2] == ["face 1: happy (89%)"]
    assert first[1] == second[0] and "00:00:03" <= first[1] < "00:00:03,6"
    assert second[1] == "00:00:06,000" and second[2][0].startswith("face 1: sad")


def test_a_face_out_of_sight_has_no_line():
    windows = [window(start, 1, 0.9) for start in np.arange(0, 5.1, 0.5)]
    windows += [window(start, 2, 0.1) for start in np.arange(0, 5.1, 0.5)]
    prediction = make_prediction(windows, tracks=[make_track(1, 0, 6), make_track(2, 2, 4)])
    assert [len(lines) for _, _, lines in cues(prediction)] == [1, 2, 1]
    assert cues(prediction)[1][2] == ["face 1: happy (90%)", "face 2: sad (90%)"]


def test_a_voice_by_itself_has_a_line_and_what_is_unsure_says_so():
    (cue,) = cues(make_prediction([window(0, None, 0.6, "voice")], seconds=1.0, unsure_below=0.7))
    assert cue[2] == ["voice: unsure (happy? 60%)"]


def test_numbers_and_times_are_as_players_want_them():
    windows = [window(start, None, 0.9 if int(start) % 4 < 2 else 0.1, "voice") for start in np.arange(3600, 3612, 0.5)]
    text = format_srt(make_prediction(windows, seconds=12.5))
    found = CUE.findall(text)
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    assert all("01:00:00,000" <= start < end <= "01:00:12,600" for _, start, end, _ in found)
    assert text.endswith("\n") and "\n\n\n" not in text


def test_without_evidence_there_are_no_subtitles():
    assert format_srt(make_prediction([WindowPrediction(0, 3, None, "none", None)])) == ""
    assert format_srt(make_prediction([])) == ""


def test_what_flits_by_does_not_take_the_rest_with_it():
    windows = [window(start, 1, 0.9) for start in np.arange(0, 5.1, 0.5)]
    windows += [window(start, 2, 0.1) for start in np.arange(0, 5.1, 0.5)]
    times = [time for time in np.arange(0, 6, 0.1).tolist() if int(time / 0.3) % 2]
    flickering = marked_predictions.make_track(2, times=times)
    prediction = make_prediction(windows, tracks=[make_track(1, 0, 6), flickering])
    found = cues(prediction)
    assert all(lines[0].startswith("face 1: happy") for _, _, lines in found)
    assert found[0][0] == "00:00:00,000" and found[-1][1] >= "00:00:05,900"
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))


def test_an_answer_that_is_given_once_has_a_line_of_its_own():
    windows = [window(start, 1, 0.55 if start == 2.5 else 0.9) for start in np.arange(0, 5.1, 0.5)]
    found = cues(make_prediction(windows, tracks=[make_track(1, 0, 6)], unsure_below=0.75))
    assert [lines[0].split()[2] for _, _, lines in found] == ["happy", "unsure", "happy"]
    assert found[1][:2] == ("00:00:02,750", "00:00:03,250")  # around the middle of that window


def test_a_face_in_a_picture_a_second_has_a_line_all_the_time():
    track = marked_predictions.make_track(1, times=(0.0, 1.0, 2.0, 3.0, 4.0), max_gap_seconds=1.5)
    (cue,) = cues(make_prediction([window(start, 1, 0.9) for start in range(5)], tracks=[track], seconds=5.0))
    assert cue[0] == "00:00:00,000" and cue[1] >= "00:00:04,000"


def test_what_changes_all_the_time_is_told_by_what_prevails():
    windows = [window(start, 1, 0.2 if index % 3 == 1 else 0.9) for index, start in enumerate(np.arange(0, 5.1, 0.1))]
    found = cues(make_prediction(windows, tracks=[make_track(1, 0, 6)]))
    assert [lines[0].split()[2] for _, _, lines in found] == ["happy"]
    assert (found[0][0], found[-1][1]) == ("00:00:00,000", "00:00:06,000")


def test_a_clip_shorter_than_a_subtitle_has_one_to_its_end():
    (cue,) = cues(make_prediction([window(0, None, 0.9, "voice")], seconds=0.3))
    assert cue[:2] == ("00:00:00,000", "00:00:00,300")
