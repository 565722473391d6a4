"""What the console says of a clip: the answer, or that there is none, and by what it was judged."""

import dataclasses

import marked_predictions
import numpy as np
from made_predictions import CLASS_NAMES, summarize
from marked_predictions import make_track

from emotion.outputs.summary import format_report
from emotion.results import WindowPrediction, in_percent

HAPPY, SAD = np.array([0.7, 0.2, 0.1]), np.array([0.33, 0.34, 0.33])


def make_prediction(*by_face, unsure_below=0.0, voice=None):
    """One face for each of the probabilities given, of which the first is the clip's answer, and perhaps a voice."""
    summaries = {face_id: summarize(row, unsure_below) for face_id, row in enumerate(by_face, start=1)}
    windows = [
        WindowPrediction(start, start + 3.0, face_id, "face", row)
        for face_id, row in enumerate(by_face, start=1)
        if row is not None
        for start in (0.0, 0.5)
    ]
    details = {"overall": summaries[1], "by_face": summaries, "notes": ("the file has no sound",)}
    if voice is not None:
        windows.append(WindowPrediction(0.0, 3.0, None, "voice", voice))
        details["voice"] = summarize(voice, unsure_below, "voice")
    tracks = [make_track(face_id, times=(0.0, 0.4, 0.8, 1.2, 1.6, 2.0)) for face_id in summaries]
    return marked_predictions.make_prediction(
        tracks, windows, class_names=CLASS_NAMES, unsure_below=unsure_below, **details
    )


def test_a_sure_answer_is_given_with_its_confidence_and_evidence():
    lines = format_report(make_prediction(HAPPY, unsure_below=0.5)).splitlines()
    assert lines == [
        "emotion: happy",
        "mean probability: 70%",
        "evidence: face",
        "face 1: happy (70%, face), from 0.0 s to 2.0 s; of the time happy 100%",
        "note: the file has no sound",
    ]


def test_the_probability_of_a_single_window_is_a_confidence():
    prediction = make_prediction(HAPPY)
    single = dataclasses.replace(prediction, windows=prediction.windows[:1])
    assert format_report(single).splitlines()[1] == "confidence: 70%"


def test_where_the_emotion_changes_the_story_comes_first():
    rows = (SAD, SAD, SAD, SAD, HAPPY, HAPPY, HAPPY, HAPPY)
    windows = tuple(WindowPrediction(float(i), i + 1.0, 1, "face", row) for i, row in enumerate(rows))
    track = make_track(1, times=np.arange(0, 8.1, 0.25))
    prediction = dataclasses.replace(make_prediction(HAPPY), windows=windows, tracks=(track,), duration_seconds=8.0)
    assert format_report(prediction).splitlines()[:4] == [
        "emotion: sad, then happy (0:00 to 0:04, 0:04 to 0:08)", "on the whole: happy", "mean probability: 70%",
        "evidence: face",
    ]  # fmt: skip


def test_an_unsure_answer_names_what_is_most_probable():
    lines = format_report(make_prediction(SAD, unsure_below=0.5)).splitlines()
    assert lines[:3] == ["emotion: unsure (most probable: sad)", "mean probability: 34%", "evidence: face"]


def test_without_evidence_there_is_no_answer_however_unsure_one_may_be():
    assert format_report(make_prediction(None, unsure_below=0.5)).splitlines()[0] == "emotion: no evidence"


def test_each_of_several_faces_and_the_voice_may_be_unsure_by_itself():
    lines = format_report(make_prediction(HAPPY, SAD, None, unsure_below=0.5, voice=SAD)).splitlines()
    assert lines[3:7] == [
        "face 1: happy (70%, face), from 0.0 s to 2.0 s; of the time happy 100%",
        "face 2: unsure (most probable: sad, 34%, face), from 0.0 s to 2.0 s; of the time unsure 100%",
        "face 3: no evidence, from 0.0 s to 2.0 s",
        "voice by itself: unsure (most probable: sad, 34%, voice); of the time unsure 100%",
    ]
    assert "voice by itself: sad (34%, voice)" in format_report(make_prediction(HAPPY, SAD, voice=SAD))
    assert "voice" not in format_report(make_prediction(HAPPY, SAD))


def test_of_several_faces_the_one_most_in_sight_answers_for_the_clip():
    said = "the emotion above is that of the face that fills most of the picture for most of the time"
    assert said in format_report(make_prediction(HAPPY, SAD))
    assert said not in format_report(make_prediction(HAPPY))


def test_the_share_of_time_of_each_emotion_is_told_the_largest_first():
    prediction = make_prediction(HAPPY)
    windows = [
        WindowPrediction(i / 2, i / 2 + 3, 1, "face", probabilities)
        for i, probabilities in enumerate((SAD, HAPPY, HAPPY, HAPPY))
    ]
    # The face is in sight for 2.2 s. Until 1.5 s the first window, with its middle at 1.5 s, outweighs the second.
    report = format_report(dataclasses.replace(prediction, windows=tuple(windows)))
    assert "; of the time sad 70%, happy 30%" in report


def test_of_a_crowd_the_first_are_listed_and_the_others_counted():
    lines = format_report(make_prediction(*[HAPPY] * 25)).splitlines()
    assert sum(line.startswith("face ") for line in lines) == 20
    assert "and 5 further faces" in lines


def test_no_confidence_is_shown_as_certainty():
    sure = np.array([0.9996, 0.0003, 0.0001])
    assert format_report(make_prediction(sure)).splitlines()[1] == "mean probability: >99%"
    assert [in_percent(value) for value in (0.0, 0.874, 0.99, 0.991, 1.0)] == ["0%", "87%", "99%", ">99%", ">99%"]


def test_of_a_face_that_was_away_it_is_said_for_how_long_it_was_in_sight():
    prediction = make_prediction(HAPPY)
    track = make_track(1, times=(0.0, 0.4, 0.8, 3.0, 3.4))
    report = format_report(dataclasses.replace(prediction, tracks=(track,)))
    assert "face 1: happy (70%, face), for 1.2 s between 0.0 s and 3.4 s;" in report


def test_of_a_still_picture_no_times_are_told():
    prediction = dataclasses.replace(make_prediction(HAPPY), duration_seconds=0.04)
    report = format_report(dataclasses.replace(prediction, tracks=(make_track(1, times=(0.0,)),)))
    assert "face 1: happy (70%, face)\n" in report
