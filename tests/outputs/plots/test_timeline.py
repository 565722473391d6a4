"""The timeline says what the windows say: curves where a face is in sight, and the emotion that prevails."""

import dataclasses

import numpy as np
import pytest
from made_predictions import HAPPY, SAD, TORN, make_prediction

from emotion.outputs.palette import EMOTION_COLOURS
from emotion.outputs.plots import timeline as timeline_plots
from emotion.outputs.plots.timeline import build_timeline


def curves_of(axes):
    return {line.get_label(): line for line in axes.lines if len(line.get_xdata()) > 2}


def strip_of(axes):
    """Start, end and colour of each stretch of the strip."""
    parts = []
    for patch in axes.patches:
        start, colour = patch.get_x(), patch.get_facecolor()[:3]
        end = start + patch.get_width()
        parts.append((round(start, 1), round(end, 1), tuple(round(255 * share) for share in colour)))
    return parts


def test_each_face_and_the_voice_has_a_row_with_its_answer():
    prediction = make_prediction([([HAPPY], 0, 9), ([TORN], 0, 9), ([], 0, 9)], voice=[SAD])
    figure = build_timeline(prediction)
    assert [axes.get_title("left") for axes in figure.axes[::2]] == [
        "Face 1: happy, 90%, by face",
        "Face 2: unsure, most probably happy, 48%, by face",
        "Face 3: no evidence",
        "Voice: by the sound alone",
    ]
    assert figure.axes[-1].get_xlabel() == "time in seconds"
    assert figure.axes[-1].get_xlim() == (0, 9)


def test_a_curve_fades_from_window_to_window_and_is_absent_where_the_face_is_out_of_sight():
    rows = [HAPPY, HAPPY, HAPPY, SAD, SAD, SAD]  # middles at 1.5, 2.5, ... 6.5 s
    axes = build_timeline(make_prediction([(rows, 1.0, 6.0)])).axes[0]
    curves = curves_of(axes)
    assert set(curves) == {"happy", "sad"}
    times, happy = curves["happy"].get_xdata(), curves["happy"].get_ydata()
    assert np.isnan(happy[(times < 0.8) | (times > 6.3)]).all()
    seen = (times > 1.0) & (times < 6.0)
    np.testing.assert_allclose(happy[seen & (times < 3.5)], 90)
    assert happy[np.argmin(abs(times - 4.0))] == pytest.approx(48, abs=2)
    assert any("angry" in text.get_text() for text in axes.texts)


def test_the_strip_names_what_prevails_and_is_grey_where_the_model_is_unsure():
    rows = [HAPPY] * 3 + [TORN] * 3 + [SAD] * 3
    strip = build_timeline(make_prediction([(rows, 0.0, 9.0)], duration=11.0)).axes[1]
    parts = strip_of(strip)
    assert [colour for *_, colour in parts] == [(240, 228, 66), (153, 153, 153), (0, 114, 178)]
    assert parts[0][0] == 0 and parts[2][1] == pytest.approx(9.0, abs=0.2)
    assert parts[0][1] == parts[1][0] and parts[1][1] == parts[2][0]
    assert [text.get_text() for text in strip.texts] == ["happy", "unsure", "sad"]


def test_a_stretch_too_short_for_its_name_has_none():
    rows = [HAPPY] * 30 + [SAD] + [HAPPY] * 30
    strip = build_timeline(make_prediction([(rows, 0.0, 63.0)], duration=63.0)).axes[1]
    assert len(strip_of(strip)) > 2
    assert {text.get_text() for text in strip.texts} == {"happy"}


def test_a_clock_that_does_not_begin_at_0_is_kept():
    prediction = make_prediction(voice=[HAPPY] * 3, duration=5.0)
    later = [dataclasses.replace(w, start_seconds=w.start_seconds + 60, end_seconds=w.end_seconds + 60)
             for w in prediction.windows]  # fmt: skip
    axes = build_timeline(dataclasses.replace(prediction, windows=tuple(later))).axes[0]
    assert axes.get_xlim() == (60, 65)
    np.testing.assert_allclose(curves_of(axes)["happy"].get_ydata(), 90)


def test_without_face_or_voice_it_says_so():
    figure = build_timeline(make_prediction())
    assert [text.get_text() for text in figure.axes[0].texts] == ["no face and no voice: no evidence"]


def test_more_faces_than_can_be_drawn_are_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(timeline_plots, "MAX_ROWS", 2)
    figure = build_timeline(make_prediction([([HAPPY], 0, 9)] * 5))
    assert len(figure.axes) == 4
    assert "3 further faces are not drawn" in figure.get_suptitle()


def test_an_hour_takes_no_more_moments_than_can_be_seen():
    figure = build_timeline(make_prediction(voice=[HAPPY] * 60, duration=3600.0))
    assert len(curves_of(figure.axes[0])["happy"].get_xdata()) == timeline_plots.MAX_MOMENTS


def test_of_equal_curves_each_shows():
    """Two emotions at 50 %: both colours are seen there, in turn."""
    figure = build_timeline(make_prediction([([np.array([0.5, 0.5, 0.0])], 0, 3)], unsure_below=0.0))
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    axes = figure.axes[0]
    (left, row), (right, _) = axes.transData.transform([(0.2, 50), (2.8, 50)])
    line = picture[picture.shape[0] - round(row) - 1, round(left) : round(right)]
    for name in ("happy", "sad"):
        share = (np.abs(line - EMOTION_COLOURS[name]).max(axis=1) < 12).mean()
        assert 0.3 < share < 0.7
