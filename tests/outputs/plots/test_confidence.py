"""The plots of confidence say what the report says, also where there is little or nothing to say."""

import math

import numpy as np
import pytest
from plot_reports import ALL_SURE, NOTHING_KNOWN, ONE_CLIP, legend_texts, make_report, random_report, spans

from emotion.outputs.plots.confidence import build_coverage_accuracy, build_reliability_diagram

# ---- Reliability ----


def test_each_bin_is_a_dot_at_its_confidence_and_accuracy_with_its_interval_and_count():
    report = make_report([0] * 24, [0] * 10 + [1] * 2 + [0] * 6 + [1] * 6, [0.9] * 12 + [0.55] * 12)
    axes, counts = build_reliability_diagram(report).axes
    (dots,) = axes.collections
    assert np.allclose(dots.get_offsets(), [[55, 50], [90, 100 * 10 / 12]])
    intervals = [list(line.get_ydata()) for line in axes.lines[1:]]
    assert np.allclose(intervals, [[100 * r["low"], 100 * r["high"]] for r in report["calibration"]])
    assert list(axes.lines[0].get_xdata()) == list(axes.lines[0].get_ydata()) == [0, 100]
    assert [text.get_text() for text in counts.texts] == ["12", "12"]
    assert [bar.get_height() for bar in counts.patches] == [12, 12]
    # The bars stand on the bins, which are a fifteenth of the axis wide: the ninth, and the one up to 93.3 %.
    middles = [bar.get_x() + bar.get_width() / 2 for bar in counts.patches]
    assert np.allclose(middles, [100 * 8.5 / 15, 100 * 13.5 / 15])


def test_the_area_of_a_dot_grows_with_its_clips_and_few_leave_it_hollow():
    report = make_report([0] * 43, [0] * 43, [0.95] * 40 + [0.5] * 3)
    figure = build_reliability_diagram(report)
    (dots,) = figure.axes[0].collections
    few, many = dots.get_sizes()
    assert many > 2 * few
    assert [tuple(colour[:3]) == (1, 1, 1) for colour in dots.get_facecolors()] == [True, False]
    assert "fewer than 10 answers of similar confidence" in legend_texts(figure)


def test_the_calibration_error_is_in_the_legend():
    figure = build_reliability_diagram(ALL_SURE)
    assert any("ECE: 25.0 %" in text for text in legend_texts(figure))
    assert any("ECE: –" in text for text in legend_texts(build_reliability_diagram(NOTHING_KNOWN)))


def test_answers_that_are_all_sure_lie_at_the_end_and_none_leave_a_word():
    axes, counts = build_reliability_diagram(ALL_SURE).axes
    assert np.allclose(axes.collections[0].get_offsets(), [[100, 75]])
    (bar,) = counts.patches
    assert bar.get_x() > 93.3 and bar.get_x() + bar.get_width() <= 100
    axes, counts = build_reliability_diagram(NOTHING_KNOWN).axes
    assert [text.get_text() for text in axes.texts] == ["no clips"]
    assert not axes.collections and not counts.patches


@pytest.mark.parametrize("confidence", [k / 15 for k in range(1, 16)])
def test_a_bar_of_confidences_on_an_edge_stands_on_the_bin_below(confidence):
    report = make_report([0] * 7, [0] * 7, [confidence] * 7)
    (bar,) = build_reliability_diagram(report).axes[1].patches
    assert math.isclose(bar.get_x() + bar.get_width() / 2, 100 * confidence - 50 / 15)


# ---- Coverage ----


def test_the_curve_is_accuracy_over_coverage():
    report = random_report(400)
    curve = build_coverage_accuracy(report).axes[0].lines[0]
    assert np.allclose(curve.get_xdata(), [100 * r["coverage"] for r in report["coverage_accuracy"]])
    assert np.allclose(curve.get_ydata(), [100 * r["accuracy"] for r in report["coverage_accuracy"]])


def test_thresholds_are_marked_and_their_shares_written():
    report = make_report([0] * 20, [0] * 12 + [1] * 8, [0.95] * 5 + [0.75] * 5 + [0.4] * 10)
    figure = build_coverage_accuracy(report)
    marks = [tuple(line.get_xydata()[0]) for line in figure.axes[0].lines[1:]]
    assert np.allclose(marks, [(100, 60), (50, 100), (25, 100)])
    assert [text for text in legend_texts(figure) if text.startswith("confidence")] == [
        "confidence of 30 % and more: 100 % answered, 60 % of them right",
        "confidence of 50 % or 70 % and more: 50 % answered, 100 % of them right",
        "confidence of 90 % and more: 25 % answered, 100 % of them right",
    ]


def test_a_threshold_that_no_answer_reaches_is_said_to():
    figure = build_coverage_accuracy(make_report([0] * 20, [0] * 20, [0.6] * 20))
    assert "confidence of 70 % or 90 % and more: no answer" in legend_texts(figure)


def test_the_coverage_of_fewer_than_ten_clips_is_shaded():
    assert np.allclose(spans(build_coverage_accuracy(random_report(40)).axes[0]), [(0, 25)])
    assert np.allclose(spans(build_coverage_accuracy(ONE_CLIP).axes[0]), [(0, 100)])


def test_clips_without_evidence_are_shaded_on_the_right_and_counted_among_the_clips():
    figure = build_coverage_accuracy(random_report(80, n_unanswered=20))
    assert np.allclose(spans(figure.axes[0]), [(0, 10), (80, 100)])
    assert "neither face nor voice found: 20.0 %" in legend_texts(figure)


def test_a_single_point_has_its_interval_too():
    lines = build_coverage_accuracy(ONE_CLIP).axes[0].lines
    assert any(np.allclose(line.get_ydata(), [20.65, 100], atol=0.01) for line in lines)


def test_human_raters_are_a_labelled_line_only_if_they_are_known():
    figure = build_coverage_accuracy(ALL_SURE, 0.62)
    assert "human raters, on the data set's own emotions (62 %)" in legend_texts(figure)
    assert any(np.allclose(line.get_ydata(), 62) for line in figure.axes[0].lines)
    for unknown in (None, float("nan")):
        assert not [text for text in legend_texts(build_coverage_accuracy(ALL_SURE, unknown)) if "human" in text]
