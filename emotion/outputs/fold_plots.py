"""The plot of a cross-validation: the score of every fold, and of all of them pooled."""

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion.outputs.figures import (
    BLUE,
    ORANGE,
    WIDTH_INCHES,
    build_figure,
    is_interval,
    is_number,
    percent,
    percent_with_interval,
    set_legend,
    set_percent_axis,
    set_right_labels,
    set_rows,
    set_title,
    short_name,
    write_figure,
)

FOLD_INCHES = 0.28
AXIS_INCHES = 0.75  # what is written along the axis
MIN_LABEL_INCHES = 0.18  # from one line to the next
MAX_HEIGHT_INCHES = 120.0  # matplotlib draws pictures of at most 65536 pixels
MAX_SPEAKERS_LENGTH = 34  # characters


def write_fold_scores(
    fold_rows: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any], path: str | os.PathLike, title: str
) -> Path:
    """Draws the UAR of every fold of a cross-validation, and that of all their clips pooled.

    Args:
        fold_rows: ``fold`` (a number), ``uar``, ``n`` and ``speakers`` of each.
        pooled: ``uar`` of all clips and its 95 % ``interval``; or a whole report, with ``intervals``.
        path: the picture to write (.png).
        title: what stands above it.

    Returns:
        ``path``.

    Raises:
        ValueError: if there is no fold.
        EmotionError: if nothing can be written there.
    """
    return write_figure(_build_fold_scores(fold_rows, pooled, title), path)


def _build_fold_scores(fold_rows: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any], title: str):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not fold_rows:
        raise ValueError("fold_rows must hold at least one fold.")
    height = min(FOLD_INCHES * len(fold_rows) + AXIS_INCHES, MAX_HEIGHT_INCHES)
    figure = build_figure(width_inches=WIDTH_INCHES, height_inches=height)
    axes = figure.subplots()
    scores = [row["uar"] for row in fold_rows if is_number(row["uar"])]
    for position, row in enumerate(fold_rows):
        if is_number(row["uar"]):
            axes.plot([0, 100 * row["uar"]], [position, position], color=BLUE, linewidth=1.5, alpha=0.5, zorder=1.5)
            axes.plot(100 * row["uar"], position, color=BLUE, marker="o", markersize=7, clip_on=False, zorder=3)
    mean = f"mean of the folds {percent(statistics.mean(scores), 1)}" if scores else "no fold has a score"
    if len(scores) > 1:
        mean += f", standard deviation {100 * statistics.stdev(scores):.1f} points"
    entries = [(Line2D([], [], color=BLUE, marker="o"), f"one fold: its speakers (its clips); {mean}")]
    if is_number(pooled["uar"]):
        intervals = pooled.get("intervals") or {"uar": pooled.get("interval")}
        label = f"all clips pooled: UAR {percent_with_interval(pooled['uar'], intervals)}"
        axes.axvline(100 * pooled["uar"], color="black", linewidth=1.6, zorder=2)
        entries.append((Line2D([], [], color="black"), label))
        if is_interval(intervals.get("uar")):
            low, high = intervals["uar"]
            axes.axvspan(100 * low, 100 * high, color=ORANGE, alpha=0.35, linewidth=0, zorder=1)
            entries.append((Patch(color=ORANGE, alpha=0.35), "its 95 % interval"))
    n_per_label = math.ceil(len(fold_rows) * MIN_LABEL_INCHES / (height - AXIS_INCHES))
    set_rows(axes, [_name_fold(row) for row in fold_rows], every=n_per_label)
    shown = range(0, len(fold_rows), n_per_label)
    set_right_labels(axes, shown, [percent(fold_rows[index]["uar"], 1) for index in shown])
    set_percent_axis(axes.xaxis, "UAR, the mean recall of the emotions")
    set_title(figure, title)
    set_legend(figure, entries)
    return figure


def _name_fold(row: Mapping[str, Any]) -> str:
    return f"{row['fold']}: {_name_speakers(row['speakers'])} ({row['n']})"


def _name_speakers(speakers: Sequence[str]) -> str:
    """Returns as many names as there is room for, and how many more; the data set they share is named once."""
    if not speakers:
        return "speakers not known"
    datasets = {speaker.partition(":")[0] if ":" in speaker else "" for speaker in speakers}
    shared = f"{datasets.pop()}:" if len(datasets) == 1 and "" not in datasets else ""
    names = [" ".join(speaker.removeprefix(shared).split()) for speaker in speakers]
    prefix = f"{shared} " if shared else ""
    for n_named in range(len(names), 0, -1):
        more = f" and {len(names) - n_named} more" if n_named < len(names) else ""
        text = f"{prefix}{', '.join(names[:n_named])}{more}"
        if len(text) <= MAX_SPEAKERS_LENGTH:
            return text
    return short_name(f"{prefix}{names[0]}") if len(names) == 1 else f"{len(names)} speakers"
