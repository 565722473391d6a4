"""The plots that compare modalities and protocols show the numbers they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from plot_reports import ALL_SURE, PAIR, draw, legend_texts, lines_at, make_report, random_report, row, side_labels

from emotion.outputs.plots.comparison import build_protocol_comparison, build_recall_by_modality

# ---- Recall by modality ----


def test_bars_are_the_recalls_in_one_colour_a_modality():
    both = make_report([0] * 4 + [1] * 4, [0] * 3 + [1] * 5, [1] * 8)
    audio = make_report([0] * 4 + [1] * 4, [0] * 2 + [1] * 6, [1] * 8)
    figure = build_recall_by_modality({"audio": audio, "both": both}, {"audio": 0.41})
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [75, 100, 50, 100]
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert [text.get_text() for text in figure.axes[0].texts] == ["75 %", "100 %", "50 %", "100 %"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["happy (4)", "sad (4)"]
    first, second, third = legend_texts(figure)
    assert first.startswith("face and voice: UAR 87.5 % (95 % interval ") and first.endswith("8 clips")
    assert second.startswith("voice alone: UAR 75.0 %")
    assert third == "human raters, voice alone: accuracy on the data set's own emotions (41 %)"
    (line,) = lines_at(figure.axes[0], 41)
    assert to_rgba(line.get_color()) == colours[2]


def test_a_class_without_clips_is_said_to_have_none_and_counts_that_differ_are_a_range():
    report = make_report([0] * 3, [0] * 3, [1] * 3)
    other = make_report([0] * 2 + [1], [0, 1, 1], [1] * 3)
    axes = build_recall_by_modality({"both": report, "video": other}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["100 %", "no clips", "50 %", "100 %"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy (2 to 3)", "sad (0 to 1)"]


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ({"both": ALL_SURE, "audio": random_report(9)}, "classes"),
        ({"smell": ALL_SURE}, "both, audio, video"),
        ({}, "none"),
    ],
)
def test_reports_that_do_not_belong_together_are_refused(reports, words):
    with pytest.raises(ValueError, match=words):
        build_recall_by_modality(reports)


# ---- Protocols ----


def test_the_two_protocols_stand_with_their_intervals_and_the_difference_in_points():
    figure = build_protocol_comparison(PAIR, "Title", human_accuracy=0.6, chance=0.125)
    axes = draw(figure).axes[0]
    assert [text.get_text() for text in axes.texts[:2]] == ["80.0 %", "62.4 %"]
    assert side_labels(axes) == ["+17.6 points"]
    ends = [list(line.get_xdata()) for line in axes.lines]
    for expected in ([80], [77, 83], [62.4], [57, 67], [80, 62.4]):
        assert any(len(x) == len(expected) and np.allclose(x, expected) for x in ends)
    assert len(lines_at(axes, 12.5)) == len(lines_at(axes, 60)) == 1
    humans = "human raters: accuracy on the data set's own emotions (60.0 %)"
    assert {"chance (12.5 %)", humans, "95 % interval"} <= set(legend_texts(figure))
    (label,) = axes.get_yticklabels()
    assert label.get_text() == "fusion\n(288 clips at random,\n1440 apart)"
    assert figure.get_suptitle() == "Title"


@pytest.mark.parametrize(
    ("random", "apart", "difference"),
    [(0.5, 0.6, "−10.0 points"), (0.7, 0.7, "0.0 points"), (0.5, float("nan"), "–"), (0.5, None, "–")],
)
def test_the_difference_has_its_sign_or_is_a_dash(random, apart, difference):
    figure = build_protocol_comparison([row("a", "random", random), row("a", "speakers apart", apart)], "")
    assert side_labels(draw(figure).axes[0]) == [difference]
    assert "95 % interval" not in legend_texts(figure)


def test_an_interval_that_misses_its_score_is_drawn_as_it_is():
    axes = build_protocol_comparison([row("a", "random", 0.5, 0.55, 0.6)], "").axes[0]
    assert any(np.allclose(line.get_xdata(), [55, 60]) for line in axes.lines if len(line.get_xdata()) == 2)


@pytest.mark.parametrize(
    ("rows", "words"),
    [([row("a", "kfold", 0.5)], "random, speakers apart"), ([*PAIR, PAIR[0].copy()], "fusion: .*random"), ([], "rows")],
)
def test_unknown_protocols_doubled_rows_and_no_rows_are_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        build_protocol_comparison(rows, "")
