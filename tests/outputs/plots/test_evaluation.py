"""The plots of evaluations say what the reports say, also where there is little or nothing to say."""

import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from emotion.errors import EmotionError
from emotion.labels import EIGHT_EMOTIONS
from emotion.outputs.plots.comparison import _build_protocol_comparison, _build_recall_by_modality
from emotion.outputs.plots.confidence import _build_coverage_accuracy, _build_reliability_diagram
from emotion.outputs.plots.evaluation import (
    write_confusion_matrix,
    write_coverage_accuracy,
    write_fold_scores,
    write_protocol_comparison,
    write_recall_by_modality,
    write_reliability_diagram,
)
from emotion.outputs.plots.training import _build_confusion_matrix, _build_fold_scores
from emotion.scores import (
    bootstrap_intervals,
    compute_calibration,
    compute_confusion_matrix,
    compute_coverage_accuracy,
    compute_per_class,
    compute_scores,
)

PROTOCOL = "no speaker on two sides, five folds by speaker pooled"
LONG_NAMES = ("an emotion with a name that goes on", "$a$ and $b$", "contempt and boredom", "sad")


def make_report(true, predicted, confidences, classes=("happy", "sad"), n_unanswered=0):
    """A report as an evaluation writes it, of clips of five speakers in turn."""
    true, predicted, confidences = np.array(true), np.array(predicted), np.array(confidences, float)
    matrix = compute_confusion_matrix(true, predicted, len(classes))
    speakers = [f"s:{index % 5}" for index in range(len(true))]
    ece, calibration = compute_calibration(confidences, true == predicted)
    return {
        "protocol": PROTOCOL,
        "n_skipped": 0,
        **compute_scores(matrix),
        "classes": list(classes),
        "per_class": dict(zip(classes, compute_per_class(matrix), strict=True)),
        "confusion_matrix": matrix.tolist(),
        "ece": ece,
        "calibration": calibration,
        "intervals": {**bootstrap_intervals(true, predicted, speakers, len(classes)), "unit": "speakers"},
        "coverage_accuracy": compute_coverage_accuracy(confidences, true == predicted, n_unanswered),
    }


def random_report(n, classes=EIGHT_EMOTIONS, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    true = np.arange(n) % len(classes)
    predicted = np.where(rng.random(n) < 0.6, true, rng.integers(len(classes), size=n))
    return make_report(true, predicted, rng.uniform(0.2, 1.0, n), classes, **kwargs)


ONE_CLIP = make_report([0], [0], [0.8])
ALL_SURE = make_report([0, 1] * 20, [0, 1] * 15 + [1, 0] * 5, [1.0] * 40)
NOTHING_KNOWN = {
    **ONE_CLIP,
    **{"uar": float("nan"), "accuracy": None, "ece": float("nan"), "calibration": [], "coverage_accuracy": []},
    **{"intervals": {"uar": [None, float("nan")], "unit": "clips"}},
    "per_class": {name: {"recall": None, "precision": None, "f1": None, "n": 0} for name in ("happy", "sad")},
    "confusion_matrix": [[0, 0], [0, 0]],
}

NO_PROTOCOL = make_report([0, 1, 3], [3, 3, 3], [1, 1, 1], LONG_NAMES)
del NO_PROTOCOL["protocol"]


def row(system, protocol, score, low=None, high=None, n=100):
    return {"system": system, "protocol": protocol, "score": score, "low": low, "high": high, "n": n}


PAIR = [row("fusion", "random", 0.8, 0.77, 0.83, 288), row("fusion", "speakers apart", 0.624, 0.57, 0.67, 1440)]


def fold(number, uar, speakers=("s:1", "s:2"), n=60):
    return {"fold": number, "uar": uar, "n": n, "speakers": list(speakers)}


def draw(figure):
    figure.canvas.draw()
    return figure


def shown_texts(figure):
    """Every text that is really drawn, with its box."""
    renderer = draw(figure).canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text, text.get_window_extent(renderer)) for text in texts]
    # Ticks outside the limits and the unused second labels of ticks have a text but are not drawn.
    drawn = {id(artist) for axes in find_axes(figure) for artist in drawn_tick_labels(axes)}
    ticks = {
        id(label)
        for axes in find_axes(figure)
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
        for label in (tick.label1, tick.label2)
    }
    return [(text, box) for text, box in boxes if id(text) not in ticks or id(text) in drawn]


def find_axes(figure):
    return [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]


def drawn_tick_labels(axes):
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if axis.get_visible() and low <= tick.get_loc() <= high:
                yield from (label for label in (tick.label1, tick.label2) if label.get_visible())


def words(figure):
    return "\n".join(text.get_text() for text, _ in shown_texts(figure))


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines_at(axes, x):
    """Vertical reference lines at a place."""
    return [line for line in axes.lines if len(line.get_xdata()) == 2 and np.allclose(line.get_xdata(), x)]


def right_labels(axes):
    return [tick.label2.get_text() for tick in axes.child_axes[0].yaxis.get_major_ticks()]


# ---- All plots ----

ALL_PLOTS = {
    "confusion matrix": (write_confusion_matrix, (ALL_SURE,), ()),
    "reliability": (write_reliability_diagram, (ALL_SURE,), ()),
    "coverage": (write_coverage_accuracy, (ALL_SURE,), (0.6,)),
    "recall": (write_recall_by_modality, ({"both": ALL_SURE},), ({"both": 0.6},)),
    "protocols": (write_protocol_comparison, (PAIR,), ("Title", 0.6, 0.125)),
    "folds": (write_fold_scores, ([fold(1, 0.5)], ALL_SURE), ("Title",)),
}


@pytest.mark.parametrize(("write", "before", "after"), ALL_PLOTS.values(), ids=ALL_PLOTS)
def test_the_same_input_gives_the_same_bytes_and_the_path_comes_back(tmp_path, write, before, after):
    first, second = write(*before, tmp_path / "a.png", *after), write(*before, tmp_path / "b.png", *after)
    assert (first, second) == (tmp_path / "a.png", tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    picture = Image.open(first)
    assert picture.format == "PNG"
    assert 800 <= picture.width <= 1400
    assert np.asarray(picture.convert("L")).std() > 10  # something is drawn


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(EmotionError, match="nowhere"):
        write_fold_scores([fold(1, 0.5)], ALL_SURE, tmp_path / "nowhere" / "folds.png", "")


LONG_TITLE = "A protocol that takes many words to say what was tested on whom, and why it was done in that way. " * 3
FIGURES = {
    "matrix of 2": lambda: _build_confusion_matrix(np.eye(2) * 99999, ("happy", "sad"), LONG_TITLE),
    "matrix of 8": lambda: _build_confusion_matrix(np.eye(8) * 99999, (*LONG_NAMES, *"abcd"), LONG_TITLE),
    "reliability of many": lambda: _build_reliability_diagram(random_report(30000)),
    "reliability of few": lambda: _build_reliability_diagram(random_report(20)),
    "reliability of one": lambda: _build_reliability_diagram(ONE_CLIP),
    "reliability of none": lambda: _build_reliability_diagram(NOTHING_KNOWN),
    "coverage of many": lambda: _build_coverage_accuracy(random_report(600, n_unanswered=60), 0.6),
    "coverage of one": lambda: _build_coverage_accuracy(ONE_CLIP, 1.0),
    "coverage of none": lambda: _build_coverage_accuracy({**NOTHING_KNOWN, "protocol": LONG_TITLE}),
    "recall of 8": lambda: _build_recall_by_modality(
        {name: random_report(900, seed=seed) for seed, name in enumerate(("both", "audio", "video"))},
        {"both": 0.6, "audio": 0.6, "video": 0.6},
    ),
    "recall of long names": lambda: _build_recall_by_modality(
        {"both": make_report([0, 1, 3], [0, 1, 3], [1, 1, 1], LONG_NAMES), "video": NO_PROTOCOL}, {"both": 1.0}
    ),
    "recall of none": lambda: _build_recall_by_modality({"audio": NOTHING_KNOWN}),
    "protocols at the ends": lambda: _build_protocol_comparison(
        [
            *(row(LONG_NAMES[0], "random", 1.0, 1.0, 1.0, 5), row(LONG_NAMES[0], "speakers apart", 0.0, 0.0, 0.4, 9)),
            *(row("same", "random", 0.97, 0.9, 1.0), row("same", "speakers apart", 0.97, 0.9, 1.0), *PAIR),
        ],
        LONG_TITLE,
        0.126,
        0.125,
    ),
    "one protocol": lambda: _build_protocol_comparison(PAIR[:1], LONG_TITLE),
    "one fold": lambda: _build_fold_scores([fold(1, 1.0, ["s"])], ONE_CLIP, LONG_TITLE),
    "many folds": lambda: _build_fold_scores(
        [fold(i, i / 40, [f"cremad:{i}{j}" for j in range(30)], 10**6) for i in range(40)], ALL_SURE, "Title"
    ),
}


@pytest.fixture(scope="module", params=FIGURES.values(), ids=FIGURES)
def figure(request):
    return request.param()


def test_texts_are_large_enough_and_neither_overlap_nor_leave_the_picture(figure):
    texts = shown_texts(figure)
    assert min(text.get_fontsize() for text, _ in texts) >= 9
    for text, box in texts:
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, text
    flat = [(text, box) for text, box in texts if text.get_rotation() in (0, 90)]
    assert [(a, b) for i, (a, first) in enumerate(flat) for b, second in flat[:i] if first.overlaps(second)] == []


def test_what_is_not_a_number_is_never_written_or_drawn(figure):
    said = " ".join(text.get_text() for text in figure.findobj(Text)).lower().split()
    assert not {"nan", "none", "inf"} & {word.strip("(),:%") for word in said}
    for axes in figure.axes:
        drawn = [np.ma.getdata(part.get_offsets()) for part in axes.collections]
        drawn += [np.transpose(line.get_data()) for line in axes.lines]
        assert all(np.isfinite(np.asarray(points, float)).all() for points in drawn)


@pytest.mark.parametrize(
    "build", [_build_reliability_diagram, _build_coverage_accuracy, lambda r: _build_recall_by_modality({"both": r})]
)
def test_the_title_says_the_protocol(build):
    assert PROTOCOL[1:] in build(ALL_SURE).get_suptitle().replace("\n", " ")


def test_dollar_signs_in_a_name_do_not_make_a_formula():
    report = make_report([0, 1], [0, 1], [1, 1], ("$a$", "b"))
    label = draw(_build_recall_by_modality({"both": report})).axes[0].get_yticklabels()[0]
    assert label._preprocess_math(label.get_text()) == ("$a$ (1)", False)


# ---- Confusion matrix ----


def test_the_confusion_matrix_says_protocol_size_and_uar_with_its_interval(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    titles = []
    save = Figure.savefig

    def remember(figure, *arguments, **options):
        titles.append(figure.get_suptitle())
        return save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    low, high = (f"{100 * end:.1f}" for end in ALL_SURE["intervals"]["uar"])
    write_confusion_matrix(ALL_SURE, tmp_path / "m.png")
    title = titles[0].replace("\n", " ")
    assert title.startswith("No speaker on two sides")
    assert f"40 clips, UAR 75.0 % (95 % interval {low} to {high} %, over speakers), accuracy 75.0 %" in title


# ---- Reliability ----


def test_each_bin_is_a_dot_at_its_confidence_and_accuracy_with_its_interval_and_count():
    report = make_report([0] * 24, [0] * 10 + [1] * 2 + [0] * 6 + [1] * 6, [0.9] * 12 + [0.55] * 12)
    axes, counts = _build_reliability_diagram(report).axes
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
    figure = _build_reliability_diagram(report)
    (dots,) = figure.axes[0].collections
    few, many = dots.get_sizes()
    assert many > 2 * few
    assert [tuple(colour[:3]) == (1, 1, 1) for colour in dots.get_facecolors()] == [True, False]
    assert "fewer than 10 answers of similar confidence" in legend_texts(figure)


def test_the_calibration_error_is_in_the_legend():
    figure = _build_reliability_diagram(ALL_SURE)
    assert any("ECE: 25.0 %" in text for text in legend_texts(figure))
    assert any("ECE: –" in text for text in legend_texts(_build_reliability_diagram(NOTHING_KNOWN)))


def test_answers_that_are_all_sure_lie_at_the_end_and_none_leave_a_word():
    axes, counts = _build_reliability_diagram(ALL_SURE).axes
    assert np.allclose(axes.collections[0].get_offsets(), [[100, 75]])
    (bar,) = counts.patches
    assert bar.get_x() > 93.3 and bar.get_x() + bar.get_width() <= 100
    axes, counts = _build_reliability_diagram(NOTHING_KNOWN).axes
    assert [text.get_text() for text in axes.texts] == ["no clips"]
    assert not axes.collections and not counts.patches


@pytest.mark.parametrize("confidence", [k / 15 for k in range(1, 16)])
def test_a_bar_of_confidences_on_an_edge_stands_on_the_bin_below(confidence):
    report = make_report([0] * 7, [0] * 7, [confidence] * 7)
    (bar,) = _build_reliability_diagram(report).axes[1].patches
    assert math.isclose(bar.get_x() + bar.get_width() / 2, 100 * confidence - 50 / 15)


# ---- Coverage ----


def test_the_curve_is_accuracy_over_coverage():
    report = random_report(400)
    curve = _build_coverage_accuracy(report).axes[0].lines[0]
    assert np.allclose(curve.get_xdata(), [100 * r["coverage"] for r in report["coverage_accuracy"]])
    assert np.allclose(curve.get_ydata(), [100 * r["accuracy"] for r in report["coverage_accuracy"]])


def test_thresholds_are_marked_and_their_shares_written():
    report = make_report([0] * 20, [0] * 12 + [1] * 8, [0.95] * 5 + [0.75] * 5 + [0.4] * 10)
    figure = _build_coverage_accuracy(report)
    marks = [tuple(line.get_xydata()[0]) for line in figure.axes[0].lines[1:]]
    assert np.allclose(marks, [(100, 60), (50, 100), (25, 100)])
    assert [text for text in legend_texts(figure) if text.startswith("confidence")] == [
        "confidence of 30 % and more: 100 % answered, 60 % of them right",
        "confidence of 50 % or 70 % and more: 50 % answered, 100 % of them right",
        "confidence of 90 % and more: 25 % answered, 100 % of them right",
    ]


def test_a_threshold_that_no_answer_reaches_is_said_to():
    figure = _build_coverage_accuracy(make_report([0] * 20, [0] * 20, [0.6] * 20))
    assert "confidence of 70 % or 90 % and more: no answer" in legend_texts(figure)


def spans(axes):
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]


def test_the_coverage_of_fewer_than_ten_clips_is_shaded():
    assert np.allclose(spans(_build_coverage_accuracy(random_report(40)).axes[0]), [(0, 25)])
    assert np.allclose(spans(_build_coverage_accuracy(ONE_CLIP).axes[0]), [(0, 100)])


def test_clips_without_evidence_are_shaded_on_the_right_and_counted_among_the_clips():
    figure = _build_coverage_accuracy(random_report(80, n_unanswered=20))
    assert np.allclose(spans(figure.axes[0]), [(0, 10), (80, 100)])
    assert "neither face nor voice found: 20.0 %" in legend_texts(figure)


def test_a_single_point_has_its_interval_too():
    lines = _build_coverage_accuracy(ONE_CLIP).axes[0].lines
    assert any(np.allclose(line.get_ydata(), [20.65, 100], atol=0.01) for line in lines)


def test_human_raters_are_a_labelled_line_only_if_they_are_known():
    figure = _build_coverage_accuracy(ALL_SURE, 0.62)
    assert "human raters, on the data set's own emotions (62 %)" in legend_texts(figure)
    assert any(np.allclose(line.get_ydata(), 62) for line in figure.axes[0].lines)
    for unknown in (None, float("nan")):
        assert "human" not in words(_build_coverage_accuracy(ALL_SURE, unknown))


# ---- Recall by modality ----


def test_bars_are_the_recalls_in_one_colour_a_modality():
    both = make_report([0] * 4 + [1] * 4, [0] * 3 + [1] * 5, [1] * 8)
    audio = make_report([0] * 4 + [1] * 4, [0] * 2 + [1] * 6, [1] * 8)
    figure = _build_recall_by_modality({"audio": audio, "both": both}, {"audio": 0.41})
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
    from matplotlib.colors import to_rgba

    assert to_rgba(line.get_color()) == colours[2]


def test_a_class_without_clips_is_said_to_have_none_and_counts_that_differ_are_a_range():
    report = make_report([0] * 3, [0] * 3, [1] * 3)
    other = make_report([0] * 2 + [1], [0, 1, 1], [1] * 3)
    axes = _build_recall_by_modality({"both": report, "video": other}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["100 %", "no clips", "50 %", "100 %"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy (2 to 3)", "sad (0 to 1)"]


def test_reports_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="same classes"):
        _build_recall_by_modality({"both": ALL_SURE, "audio": random_report(9)})
    with pytest.raises(ValueError, match="both, audio, video"):
        _build_recall_by_modality({"smell": ALL_SURE})
    with pytest.raises(ValueError, match="none"):
        _build_recall_by_modality({})


# ---- Protocols ----


def test_the_two_protocols_stand_with_their_intervals_and_the_difference_in_points():
    figure = _build_protocol_comparison(PAIR, "Title", human_accuracy=0.6, chance=0.125)
    axes = draw(figure).axes[0]
    assert [text.get_text() for text in axes.texts[:2]] == ["80.0 %", "62.4 %"]
    assert right_labels(axes) == ["+17.6 points"]
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
    figure = _build_protocol_comparison([row("a", "random", random), row("a", "speakers apart", apart)], "")
    assert right_labels(draw(figure).axes[0]) == [difference]
    assert "95 % interval" not in legend_texts(figure)


def test_an_interval_that_misses_its_score_is_drawn_as_it_is():
    axes = _build_protocol_comparison([row("a", "random", 0.5, 0.55, 0.6)], "").axes[0]
    assert any(np.allclose(line.get_xdata(), [55, 60]) for line in axes.lines if len(line.get_xdata()) == 2)


def test_unknown_protocols_doubled_rows_and_no_rows_are_refused():
    with pytest.raises(ValueError, match="random, speakers apart"):
        _build_protocol_comparison([row("a", "kfold", 0.5)], "")
    with pytest.raises(ValueError, match="fusion: two rows"):
        _build_protocol_comparison([*PAIR, PAIR[0].copy()], "")
    with pytest.raises(ValueError, match="at least one"):
        _build_protocol_comparison([], "")


# ---- Folds ----


def test_folds_stand_in_order_with_their_score_speakers_and_size():
    figure = _build_fold_scores([fold(1, 0.5), fold(2, 0.7, ["a:1", "b:2"], 30), fold(3, None, [])], ALL_SURE, "Title")
    axes = draw(figure).axes[0]
    assert right_labels(axes) == ["50.0 %", "70.0 %", "–"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["1: s: 1, 2 (60)", "2: a:1, b:2 (30)", "3: speakers not known (60)"]
    dots = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert np.allclose(dots, [50, 70])
    assert any("mean of the folds 60.0 %, standard deviation 14.1 points" in text for text in legend_texts(figure))


def test_the_pooled_score_is_a_line_with_its_interval_in_either_form():
    for pooled in ({"uar": 0.6, "interval": [0.5, 0.65]}, {"uar": 0.6, "intervals": {"uar": [0.5, 0.65]}}):
        figure = _build_fold_scores([fold(1, 0.5)], pooled, "")
        assert len(lines_at(figure.axes[0], 60)) == 1
        assert np.allclose(spans(figure.axes[0]), [(50, 65)])
        assert "all clips pooled: UAR 60.0 % (95 % interval 50.0 to 65.0 %)" in legend_texts(figure)
    figure = _build_fold_scores([fold(1, 0.5)], {"uar": 0.6}, "")
    assert "all clips pooled: UAR 60.0 %" in legend_texts(figure)


def test_many_speakers_are_named_as_far_as_there_is_room():
    axes = _build_fold_scores([fold(1, 0.5, [f"ravdess:{i:02d}" for i in range(1, 25)])], ALL_SURE, "").axes[0]
    assert axes.get_yticklabels()[0].get_text() == "1: ravdess: 01, 02, 03 and 21 more (60)"


def test_very_many_folds_are_not_all_named_and_keep_the_picture_drawable(monkeypatch):
    monkeypatch.setattr("emotion.outputs.plots.training.MAX_HEIGHT_INCHES", 6.0)
    figure = _build_fold_scores([fold(i, 0.5) for i in range(60)], ALL_SURE, "")
    assert figure.get_figheight() < 7
    assert list(figure.axes[0].get_yticks()) == list(range(0, 60, 3))
    assert len(right_labels(draw(figure).axes[0])) == 20
    assert sum(len(line.get_xdata()) == 1 for line in figure.axes[0].lines) == 60


def test_no_fold_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        _build_fold_scores([], ALL_SURE, "")


# ---- What is imported ----


def test_importing_the_plots_imports_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys\n"
        "from emotion.outputs.plots import evaluation as plots\n"
        "assert not {'matplotlib', 'scipy'} & set(sys.modules)\n"
        f"plots.write_fold_scores([{fold(1, 0.5)}], {{'uar': 0.5}}, {str(tmp_path / 'folds.png')!r}, 'Title')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
