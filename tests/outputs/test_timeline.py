"""What is shown of each face and of the voice at any moment."""

import dataclasses

import numpy as np
from marked_predictions import make_prediction, make_track, make_window

from emotion.outputs.timeline import TimelineRow, timeline_rows
from emotion.results import WindowPrediction


def test_a_change_of_emotion_is_shown_where_it_happens():
    """Windows look as far back as ahead, so an answer neither lags behind a change nor runs ahead of it."""
    windows = tuple(
        WindowPrediction(start, start + 3.0, 1, "face", np.array([share, 1 - share]))
        for start in np.arange(0, 7.1, 0.5)
        for share in [np.clip((start + 3.0 - 5.0) / 3.0, 0, 1)]  # of the window that lies after the change at 5 s
    )
    times = tuple(np.arange(0, 10.1, 0.1))
    tracks = [make_track(1, times=times)]
    (row,) = timeline_rows(make_prediction(tracks, windows, class_names=("happy", "sad"), duration=10.0))
    shown = [row.answer_at(time).emotion for time in times]
    assert abs(0.1 * shown.index("happy") - 5.0) <= 0.2 and shown[0] == "sad" and shown[-1] == "happy"


def test_a_face_has_no_answer_out_of_sight_or_without_evidence():
    prediction = make_prediction([make_track(1), make_track(2)], [make_window(1, "sad")])
    judged, unjudged = timeline_rows(prediction)
    assert judged.answer_at(0.4).emotion == "sad" and judged.answer_at(2.9) is None
    assert unjudged.is_shown(0.4) and unjudged.answer_at(0.4) is None


def test_a_voice_is_shown_where_somebody_speaks_and_no_window_gives_it_to_a_face():
    track = make_track(1, (200, 50, 300, 170), tuple(np.arange(0, 9, 0.08)))
    spoken = dataclasses.replace(make_window(1, "happy", 3.0, 6.0), evidence="face+voice")
    windows = [make_window(None, "sad"), make_window(1, "happy"), spoken, make_window(None, "sad", 6.0, 9.0)]
    prediction = dataclasses.replace(make_prediction([track], windows), speech=((1.0, 1.6), (2.0, 7.0)))
    shown = [TimelineRow.of_voice(prediction).is_shown(time) for time in (0.5, 1.2, 1.8, 2.9, 3.1, 4.5, 5.9, 6.1, 7.5)]
    assert shown == [False, True, True, True, False, False, False, True, False]
    everywhere = TimelineRow.of_voice(dataclasses.replace(prediction, speech=None))
    assert everywhere.is_shown(0.5) and not everywhere.is_shown(4.5)


def test_shares_of_time_are_those_of_the_answers_shown():
    """A face is away in the middle: what windows say of that time counts neither in the plot nor on the console."""
    track = make_track(1, times=(*np.arange(0, 2.01, 0.1), *np.arange(8, 9.01, 0.1)))
    windows = [
        make_window(1, "happy", 0.0, 3.0),
        *(make_window(1, "sad", start, start + 3.0) for start in (2.0, 4.0, 6.0)),
    ]
    prediction = make_prediction([track], [*windows, make_window(None, "angry", 3.0, 6.0)], duration=9.0)
    for face_id, row in zip((1, None), timeline_rows(prediction), strict=True):
        shown = [answer.emotion for time in np.arange(0.02, 9, 0.04) if (answer := row.answer_at(time)) is not None]
        shares = prediction.time_shares(face_id)
        assert all(abs(shown.count(name) / len(shown) - share) < 0.02 for name, share in shares.items())
        assert sum(shares.values()) == 1
    assert 0.55 < prediction.time_shares(1)["happy"] < 0.7
