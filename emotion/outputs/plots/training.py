"""Plots of training and testing: curves over the epochs, the confusion matrix, and a cross-validation's folds."""

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion.outputs.plots.figures import (
    BLUE,
    GREY,
    NOTHING,
    ORANGE,
    SMALL_POINTS,
    VERMILION,
    WIDTH_INCHES,
    build_figure,
    describe_report,
    is_interval,
    is_number,
    percent,
    percent_with_interval,
    plain,
    set_legend,
    set_percent_axis,
    set_right_labels,
    set_rows,
    set_title,
    short_name,
    write_figure,
)
from emotion.scores import compute_per_class

TRAINING_COLOUR, VALIDATION_COLOUR, BEST_COLOUR = BLUE, VERMILION, GREY
MAX_MARKED_EPOCHS = 30
QUANTITIES = ("loss", "accuracy")
CELL_INCHES = 0.75
MARGIN_INCHES = (2.9, 2.1)  # for the names, in width and in height
MIN_WIDTH_INCHES = 6.0  # room for the title above few classes
WHITE_TEXT_ABOVE_PERCENT = 65  # in darker cells white is easier to read than black
FOLD_INCHES = 0.28
AXIS_INCHES = 0.75  # the axis's own labels
MIN_LABEL_INCHES = 0.18  # from one line to the next
MAX_HEIGHT_INCHES = 120.0  # matplotlib draws at most 65536 pixels
MAX_SPEAKERS_LENGTH = 34  # characters


def write_training_curves(history: Mapping[str, Sequence[float]], path: str | os.PathLike) -> Path:
    """Draws loss and accuracy over the epochs, and marks the best epoch: the one early stopping goes back to.

    Args:
        history: values of each epoch under Keras's keys ``loss``, ``accuracy``, ``val_loss`` and ``val_accuracy``, or
            some of them. Other keys are not drawn.
        path: the file to write; see ``write_figure``.

    Raises:
        ValueError: if there is no epoch to draw.
    """
    return write_figure(build_training_curves(history), path)


def build_training_curves(history: Mapping[str, Sequence[float]]):
    quantities = [name for name in QUANTITIES if len(history.get(name, ())) or len(history.get(f"val_{name}", ()))]
    if not quantities:
        raise ValueError(f"history needs values under 'loss' or 'accuracy', got the keys {sorted(history)}.")
    figure = build_figure(width_inches=5.0 * len(quantities), height_inches=3.8)
    best_epoch = _best_epoch(history.get("val_loss", ()))
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        _draw_curves(axes, quantity, history.get(quantity, ()), history.get(f"val_{quantity}", ()), best_epoch)
    return figure


def write_confusion_matrix(
    matrix: np.ndarray, class_names: Sequence[str], path: str | os.PathLike, title: str, *details: str
) -> Path:
    """Draws each count with its share of the row, the recall beside the rows and the precision above the columns.

    Args:
        matrix: ``(n_classes, n_classes)`` counts; a row for each true emotion, a column for each answer.
        class_names: the emotions, in the matrix's order.
        path: the file to write; see ``write_figure``.
        details: further lines of the title.

    Raises:
        ValueError: if the matrix does not have a row and a column for each class.
    """
    return write_figure(build_confusion_matrix(matrix, class_names, title, *details), path)


def write_report_matrix(report: Mapping[str, Any], path: str | os.PathLike) -> Path:
    """Draws the confusion matrix of an evaluation's report under its protocol and scores."""
    return write_confusion_matrix(report["confusion_matrix"], report["classes"], path, *describe_report(report))


def build_confusion_matrix(matrix: np.ndarray, class_names: Sequence[str], title: str, *details: str):
    matrix = np.asarray(matrix, dtype=np.int64)
    n_classes = len(class_names)
    if matrix.shape != (n_classes, n_classes):
        raise ValueError(
            f"matrix must have the shape {(n_classes, n_classes)} for {n_classes} class_names, got {matrix.shape}."
        )
    row_totals = matrix.sum(axis=1)
    percents = 100 * matrix / np.maximum(row_totals, 1)[:, None]

    side = CELL_INCHES * n_classes
    width_inches = max(side + MARGIN_INCHES[0], MIN_WIDTH_INCHES)
    figure = build_figure(width_inches=width_inches, height_inches=side + MARGIN_INCHES[1])
    axes = figure.subplots()
    axes.imshow(percents, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(n_classes, n_classes):
        dark = percents[row, column] > WHITE_TEXT_ABOVE_PERCENT
        share = f"{percents[row, column]:.0f} %" if row_totals[row] else NOTHING
        weight = "bold" if row == column else "normal"
        style = {"ha": "center", "color": "white" if dark else "black"}
        axes.text(column, row - 0.03, share, va="bottom", fontsize=11, fontweight=weight, **style)
        axes.text(column, row + 0.08, f"{matrix[row, column]:d}", va="top", fontsize=SMALL_POINTS, **style)
    _label_cells(axes, matrix, [plain(short_name(name)) for name in class_names])
    set_title(figure, title, *details)
    return figure


def _label_cells(axes, matrix: np.ndarray, names: Sequence[str]) -> None:
    """Writes the names below and to the left of the cells, the precision above and the recall to the right."""
    places, between = range(len(names)), np.arange(len(names) - 1) + 0.5
    counted = [f"{name} ({total:d})" for name, total in zip(names, matrix.sum(axis=1), strict=True)]
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, counted)
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.set_xlabel("emotion the model said\n(share of the row, count below)")
    axes.set_ylabel("true emotion (count)")
    above, beside = axes.secondary_xaxis("top"), axes.secondary_yaxis("right")
    scores = compute_per_class(matrix)
    above.set_xticks(places, [percent(row["precision"]) for row in scores], fontsize=SMALL_POINTS)
    beside.set_yticks(places, [percent(row["recall"]) for row in scores], fontsize=SMALL_POINTS)
    above.set_xlabel("precision", fontsize=SMALL_POINTS)
    beside.set_ylabel("recall", fontsize=SMALL_POINTS)
    for part in (axes, above, beside):
        part.tick_params(which="both", length=0)
        part.spines[:].set_visible(False)


def _draw_curves(axes, quantity: str, training: Sequence[float], validation: Sequence[float], best_epoch: int | None):
    n_epochs = max(len(training), len(validation))
    marked = n_epochs <= MAX_MARKED_EPOCHS  # with more, the markers run together
    curves = ("training", training, TRAINING_COLOUR, "o"), ("validation", validation, VALIDATION_COLOUR, "s")
    for name, values, colour, symbol in curves:
        if len(values):
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, marker=symbol if marked else None, markersize=3.5, label=name)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=BEST_COLOUR, linestyle="--", linewidth=1, zorder=0)
    best = validation[best_epoch - 1] if best_epoch is not None and len(validation) >= best_epoch else None
    if is_number(best):
        axes.plot(
            [best_epoch],
            [best],
            color=VALIDATION_COLOUR,
            marker="*",
            markersize=12,
            markeredgecolor="black",
            linestyle="none",
            label=f"best epoch {best_epoch}: {best:.3f}",
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    axes.set_title(quantity.capitalize())
    if quantity == "accuracy":
        axes.set_ylim(0, 1.03)
    axes.set_xlim(0.5, n_epochs + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(edgecolor="none", framealpha=0.9)


def _best_epoch(validation_losses: Sequence[float]) -> int | None:
    """Returns the number, from 1, of the epoch with the lowest validation loss; None if there is none."""
    losses = np.asarray(validation_losses, dtype=np.float64)
    return int(np.nanargmin(losses)) + 1 if np.isfinite(losses).any() else None


# ---- Cross-validation ----


def write_fold_scores(
    fold_rows: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any], path: str | os.PathLike, title: str
) -> Path:
    """Draws the UAR of each fold of a cross-validation, and that of all clips pooled.

    Args:
        fold_rows: ``fold`` (a number), ``uar``, ``n`` and ``speakers`` of each.
        pooled: ``uar`` of all clips and its 95 % ``interval``; or a whole report, with ``intervals``.
        path: the file to write; see ``write_figure``.

    Raises:
        ValueError: if there is no fold.
    """
    return write_figure(build_fold_scores(fold_rows, pooled, title), path)


def build_fold_scores(fold_rows: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any], title: str):
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
    """Returns the names that fit and the number of the others; a data set shared by all is named once."""
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
