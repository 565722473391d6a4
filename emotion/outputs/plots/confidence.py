"""Plots of an evaluation's report: how far the confidence can be trusted, and what withholding unsure answers gains."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion.outputs.plots.figures import (
    BLUE,
    GREY,
    LABEL_POINTS,
    PALE,
    SMALL_POINTS,
    VERMILION,
    WIDTH_INCHES,
    build_figure,
    describe_report,
    draw_interval,
    is_number,
    percent,
    set_legend,
    set_percent_axis,
    set_title,
    write_figure,
)
from emotion.scores import COVERAGE_THRESHOLDS, N_CALIBRATION_BINS, wilson_interval

MARKED_THRESHOLDS = dict(zip(COVERAGE_THRESHOLDS, "osD^", strict=True))  # confidence: symbol
FEW_CLIPS = 10  # the accuracy of fewer clips says almost nothing
MIN_DOT, DOT_RANGE = 25, 115  # area of a dot, square points
# The mean of equal confidences on a bin's edge may lie a rounding error above it.
EDGE_TOLERANCE = 1e-9


def write_reliability_diagram(report: Mapping[str, Any], path: str | os.PathLike) -> Path:
    """Draws the accuracy of the answers at each confidence, and how many there are (Guo et al. 2017)."""
    return write_figure(build_reliability_diagram(report), path)


def write_coverage_accuracy(
    report: Mapping[str, Any], path: str | os.PathLike, human_accuracy: float | None = None
) -> Path:
    """Draws the accuracy if only the most confident answers are given (El-Yaniv & Wiener 2010).

    ``human_accuracy`` is what people reach on the same clips, all answered; None if unknown.
    """
    return write_figure(build_coverage_accuracy(report, human_accuracy), path)


def build_reliability_diagram(report: Mapping[str, Any]):
    from matplotlib.lines import Line2D

    rows = [row for row in report["calibration"] if is_number(row["confidence"]) and is_number(row["accuracy"])]
    figure = build_figure(width_inches=WIDTH_INCHES, height_inches=6.4)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1.2, zorder=1)
    most = max((row["n"] for row in rows), default=1)
    for row in rows:
        confidence = 100 * row["confidence"]
        draw_interval(axes, row.get("low"), row.get("high"), confidence, colour=GREY, along="y")
    if rows:
        axes.scatter(
            [100 * row["confidence"] for row in rows],
            [100 * row["accuracy"] for row in rows],
            s=[MIN_DOT + DOT_RANGE * row["n"] / most for row in rows],
            c=["white" if row["n"] < FEW_CLIPS else BLUE for row in rows],
            edgecolors=BLUE,
            linewidths=1.5,
            clip_on=False,
            zorder=3,
        )
    else:
        _write_no_clips(axes, 75)
    set_percent_axis(axes.yaxis, "answers of this confidence that are right")
    _draw_counts(counts, rows, most)
    set_percent_axis(axes.xaxis, "")
    set_percent_axis(counts.xaxis, "confidence of the answer")
    axes.tick_params(labelbottom=False)
    ece = percent(report["ece"], 1)
    set_title(figure, "Can the confidence be trusted?", *describe_report(report))
    dot = {"color": "none", "marker": "o", "markersize": 9, "markeredgecolor": BLUE, "markeredgewidth": 1.5}
    entries = [
        (
            Line2D([], [], color=GREY, linestyle="--"),
            f"as right as it is sure (above: too modest, below: too sure); mean distance from it, ECE: {ece}",
        )
    ]
    if any(row["n"] >= FEW_CLIPS for row in rows):
        words = "answers of similar confidence; the larger the dot, the more"
        entries.append((Line2D([], [], markerfacecolor=BLUE, **dot), words))
    if any(row["n"] < FEW_CLIPS for row in rows):
        words = f"fewer than {FEW_CLIPS} answers of similar confidence"
        entries.append((Line2D([], [], markerfacecolor="white", **dot), words))
    if any(is_number(row.get("low")) for row in rows):
        words = "95 % interval, which takes the clips as independent"
        entries.append((Line2D([], [], color=GREY, linewidth=1.4), words))
    set_legend(figure, entries)
    return figure


def _draw_counts(axes, rows: Sequence[Mapping[str, Any]], most: int) -> None:
    """Draws the number of clips in each bin of confidence."""
    bins = [math.ceil(row["confidence"] * N_CALIBRATION_BINS - EDGE_TOLERANCE) for row in rows]
    centres = [100 * (max(number, 1) - 0.5) / N_CALIBRATION_BINS for number in bins]
    axes.bar(centres, [row["n"] for row in rows], width=90 / N_CALIBRATION_BINS, color=BLUE)
    # Numbers of four or more digits are wider than a bar.
    rotation = 90 if most > 999 else 0
    for centre, row in zip(centres, rows, strict=True):
        axes.annotate(
            str(row["n"]),
            (centre, row["n"]),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL_POINTS,
            rotation=rotation,
        )
    axes.set_ylim(0, most * (1.6 if rotation else 1.25))
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.tick_params(labelsize=SMALL_POINTS)
    axes.set_ylabel("clips", fontsize=LABEL_POINTS)


def build_coverage_accuracy(report: Mapping[str, Any], human_accuracy: float | None = None):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = [row for row in report["coverage_accuracy"] if is_number(row["coverage"]) and is_number(row["accuracy"])]
    rows = sorted((row for row in rows if row["n"] > 0), key=lambda row: row["coverage"])
    figure = build_figure(width_inches=WIDTH_INCHES, height_inches=4.7)
    axes = figure.subplots()
    entries = []
    if rows:
        coverage, accuracy = (np.array([100 * row[name] for row in rows]) for name in ("coverage", "accuracy"))
        low, high = 100 * np.transpose([wilson_interval(row["accuracy"], row["n"]) for row in rows])
        axes.fill_between(coverage, low, high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(coverage, accuracy, color=BLUE, marker=".", markersize=4, linewidth=1.5, clip_on=False, zorder=2.5)
        if len(rows) == 1:  # a band around a single point has no width
            draw_interval(axes, low[0] / 100, high[0] / 100, coverage[0], colour=BLUE, along="y")
        entries += [
            (Line2D([], [], color=BLUE), "accuracy of the answers given"),
            (Patch(color=BLUE, alpha=0.2), "its 95 % interval, which takes the clips as independent"),
            *_mark_thresholds(axes, rows),
            *_shade_unknown(axes, rows[-1]),
        ]
    else:
        _write_no_clips(axes, 50)
    if is_number(human_accuracy):
        axes.axhline(100 * human_accuracy, color=VERMILION, linestyle="--", linewidth=1.5, zorder=2)
        label = f"human raters, on the data set's own emotions ({percent(human_accuracy)})"
        entries.append((Line2D([], [], color=VERMILION, linestyle="--"), label))
    set_percent_axis(axes.xaxis, "clips answered, the most confident first")
    set_percent_axis(axes.yaxis, "answers that are right")
    set_title(figure, "What if the unsure answers are held back?", *describe_report(report))
    set_legend(figure, entries)
    return figure


def _mark_thresholds(axes, rows: Sequence[Mapping[str, Any]]) -> list[tuple[object, str]]:
    """Marks round thresholds of confidence on the curve, and returns legend entries with their numbers."""
    from matplotlib.lines import Line2D

    thresholds_of = {}
    for threshold in MARKED_THRESHOLDS:
        reached = [index for index, row in enumerate(rows) if row["threshold"] >= threshold]
        thresholds_of.setdefault(reached[-1] if reached else None, []).append(threshold)
    entries = []
    for index, thresholds in thresholds_of.items():
        named = f"confidence of {' or '.join(percent(threshold) for threshold in thresholds)} and more: "
        if index is None:
            entries.append((Line2D([], [], color="none"), f"{named}no answer"))
            continue
        place = 100 * rows[index]["coverage"], 100 * rows[index]["accuracy"]
        style = {"color": "none", "marker": MARKED_THRESHOLDS[thresholds[0]], "markersize": 8}
        style |= {"markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 1.4}
        axes.plot(*place, **style, clip_on=False, zorder=3)
        shares = f"{percent(rows[index]['coverage'])} answered, {percent(rows[index]['accuracy'])} of them right"
        entries.append((Line2D([], [], **style), named + shares))
    return entries


def _shade_unknown(axes, last: Mapping[str, Any]) -> list[tuple[object, str]]:
    """Shades the coverage of too few clips and that which no threshold reaches, and returns legend entries."""
    from matplotlib.patches import Patch

    entries = []
    n_clips = last["n"] / last["coverage"]
    few = min(100.0, 100 * FEW_CLIPS / n_clips)
    axes.axvspan(0, few, facecolor=PALE, zorder=0.5)
    entries.append((Patch(facecolor=PALE), f"fewer than {FEW_CLIPS} clips answered: the accuracy is a matter of luck"))
    if last["coverage"] < 1 - EDGE_TOLERANCE:
        hatched = {"facecolor": "none", "edgecolor": GREY, "hatch": "//", "linewidth": 0}
        axes.axvspan(100 * last["coverage"], 100, **hatched, zorder=0.5)
        entries.append((Patch(**hatched), f"neither face nor voice found: {percent(1 - last['coverage'], 1)}"))
    return entries


def _write_no_clips(axes, height: float) -> None:
    axes.text(30, height, "no clips", ha="center", va="center", color=GREY, fontsize=LABEL_POINTS)
