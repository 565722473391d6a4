"""Reports, folds and rows as evaluations write them, for the plots that draw them; and what a figure shows."""

import numpy as np
from matplotlib.text import Text

from emotion.labels import EIGHT_EMOTIONS
from emotion.scores import (
    bootstrap_intervals,
    compute_calibration,
    compute_confusion_matrix,
    compute_coverage_accuracy,
    compute_per_class,
    compute_scores,
)

PROTOCOL = "no speaker on two sides, five folds by speaker pooled"


def make_report(true, predicted, confidences, classes=("happy", "sad"), n_unanswered=0):
    """A report of clips of five speakers in turn."""
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


def row(system, protocol, score, low=None, high=None, n=100):
    return {"system": system, "protocol": protocol, "score": score, "low": low, "high": high, "n": n}


PAIR = [row("fusion", "random", 0.8, 0.77, 0.83, 288), row("fusion", "speakers apart", 0.624, 0.57, 0.67, 1440)]


def fold(number, uar, speakers=("s:1", "s:2"), n=60):
    return {"fold": number, "uar": uar, "n": n, "speakers": list(speakers)}


# ---- What a figure shows ----


def draw(figure):
    figure.canvas.draw()
    return figure


def shown_texts(figure):
    """Every text that is really drawn, with its box."""
    renderer = draw(figure).canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    # Ticks outside the limits and the unused second labels of ticks have a text but are not drawn.
    axes = [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]
    drawn, ticks = set(), set()
    for axis in (axis for part in axes for axis in (part.xaxis, part.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.majorTicks, *axis.minorTicks):
            ticks |= {id(tick.label1), id(tick.label2)}
        for tick in axis.get_major_ticks():
            if axis.get_visible() and low <= tick.get_loc() <= high:
                drawn |= {id(label) for label in (tick.label1, tick.label2) if label.get_visible()}
    return [(text, text.get_window_extent(renderer)) for text in texts if id(text) not in ticks or id(text) in drawn]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines_at(axes, x):
    """Vertical reference lines at a place."""
    return [line for line in axes.lines if len(line.get_xdata()) == 2 and np.allclose(line.get_xdata(), x)]


def spans(axes):
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]


def side_labels(axes, place="right"):
    """The texts beside or above the axes, which a secondary axis holds."""
    axis = {"right": "yaxis", "top": "xaxis"}[place]
    (labels,) = [
        [tick.label2.get_text() for tick in getattr(part, axis).get_major_ticks()]
        for part in axes.child_axes
        if getattr(part, axis).get_label_position() == place
    ]
    return labels
