"""The plot of a clip: each emotion's probability over time, for every face and the voice."""

import os
import textwrap
from pathlib import Path

import numpy as np

from emotion.files import displayable
from emotion.outputs.palette import DARK, emotion_colour, text_colour
from emotion.outputs.plots.figures import (
    GREY,
    LABEL_POINTS,
    SMALL_POINTS,
    build_figure,
    plain,
    sentence,
    set_percent_axis,
    set_title,
    write_figure,
)
from emotion.outputs.timeline import (
    MIN_SHOWN,
    TimelineRow,
    choose_moments,
    choose_rows,
    find_hidden,
    find_stretches,
    stack_probabilities,
    timeline_rows,
)
from emotion.results import MediaPrediction

TIMELINE_INCHES = 9.6
WIDEN_SECONDS, MAX_INCHES = 60.0, 32.0  # a clip longer than this gets a wider plot, up to this width
ROW_INCHES, STRIP_SHARE = 2.2, 0.14
MAX_ROWS = 40  # the title says how many further faces are left out
MAX_MOMENTS = 1500
LETTER_POINTS = 6.0  # the strip's letters, on average
NOTE_LETTERS = 22  # per line beside the curves
LINE_POINTS, RIM_POINTS = 1.8, 3.2
DASH_POINTS = 4.0  # of curves that lie on each other, in turn


def write_timeline(prediction: MediaPrediction, path: str | os.PathLike) -> Path:
    """Draws the probabilities over time, a row for each face and one for the voice, and returns ``path``.

    The curves show the same as the annotated video at each moment, and nothing while a face is out of sight or the
    voice is not heard. A strip below them names the most probable emotion, grey where the model is unsure. The path's
    ending chooses the format: .png, .svg or .pdf.

    Raises:
        EmotionError: if the ending is another, or the file cannot be written.
    """
    return write_figure(build_timeline(prediction), path)


def build_timeline(prediction: MediaPrediction):
    rows = timeline_rows(prediction)
    shown, n_missing = choose_rows(rows, MAX_ROWS)
    width = float(np.clip(TIMELINE_INCHES * prediction.duration_seconds / WIDEN_SECONDS, TIMELINE_INCHES, MAX_INCHES))
    figure = build_figure(width_inches=width, height_inches=ROW_INCHES * max(1, len(shown)) + 0.5)
    missing = f"{n_missing} further faces are not drawn" if n_missing else ""
    set_title(figure, f"Emotions over time: {displayable(Path(prediction.path).name)}", missing)
    moments = choose_moments(prediction, MAX_MOMENTS)
    start, end = moments[0], moments[-1]
    if not shown:
        axes = figure.subplots()
        _set_time_axis(axes, start, end)
        set_percent_axis(axes.yaxis, "probability")
        axes.text(0.5, 0.5, "no face and no voice: no evidence", ha="center", transform=axes.transAxes, color=GREY)
        return figure
    ratios = [part for _ in shown for part in (1 - STRIP_SHARE, STRIP_SHARE)]
    grid = figure.subplots(2 * len(shown), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for row, curves, strip in zip(shown, grid[::2], grid[1::2], strict=True):
        answers = [row.answer_at(moment) for moment in moments]
        _draw_curves(curves, row, moments, answers)
        _draw_strip(strip, moments, answers, row.class_names)
        curves.tick_params(labelbottom=False, bottom=False)
        strip.tick_params(labelbottom=strip is grid[-1], bottom=strip is grid[-1])
    _set_time_axis(grid[-1], start, end)
    return figure


def _set_time_axis(axes, start: float, end: float) -> None:
    axes.set_xlim(start, end)
    axes.set_xlabel("time in seconds", fontsize=LABEL_POINTS)
    axes.tick_params(axis="x", labelsize=SMALL_POINTS)


def _draw_curves(axes, row: TimelineRow, moments: np.ndarray, answers: list) -> None:
    from matplotlib.patheffects import Normal, withStroke

    names = row.class_names
    probabilities = stack_probabilities(answers, len(names))
    peaks = np.max(np.nan_to_num(probabilities), axis=0)
    quiet = [name for name, peak in zip(names, peaks, strict=True) if peak < MIN_SHOWN]
    drawn = [index for index in np.argsort(peaks, kind="stable") if peaks[index] >= MIN_SHOWN]
    for index in drawn:
        # A dark rim sets pale colours off from the white background.
        axes.plot(
            moments, 100 * probabilities[:, index], color=_share(emotion_colour(names[index], names)),
            linewidth=LINE_POINTS, label=plain(names[index]), solid_capstyle="round", clip_on=False,
            path_effects=[withStroke(linewidth=RIM_POINTS, foreground=_share(DARK)), Normal()],
        )  # fmt: skip
    for place, index in enumerate(drawn):
        values, colour = 100 * probabilities[:, index], _share(emotion_colour(names[index], names))
        for depth, size, hidden in find_hidden(probabilities[:, drawn], place):
            # Where a curve lies below others, its dashes show through them.
            axes.plot(
                moments, np.where(hidden, values, np.nan), color=colour, linewidth=LINE_POINTS, clip_on=False,
                linestyle=(depth * DASH_POINTS, (DASH_POINTS, (size - 1) * DASH_POINTS)), dash_capstyle="butt",
                zorder=2.5,
            )  # fmt: skip
    set_percent_axis(axes.yaxis, "probability")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(sentence(f"{row.name}: {row.words}"), loc="left", fontsize=LABEL_POINTS)
    handles, labels = (part[::-1] for part in axes.get_legend_handles_labels())
    if 0 < row.unsure_below < 1:
        handles.append(axes.axhline(100 * row.unsure_below, color=GREY, linewidth=0.8, linestyle=":"))
        labels.append("unsure below")
    axes.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False, fontsize=SMALL_POINTS,
        labelspacing=0.25, handlelength=1.4, borderaxespad=0.0,
    )  # fmt: skip
    if quiet:
        words = textwrap.fill(f"below {100 * MIN_SHOWN:.0f} %: {', '.join(quiet)}", NOTE_LETTERS)
        note = axes.annotate(
            plain(words), (1.01, 0), (0, -STRIP_SHARE * 72 * ROW_INCHES), xycoords="axes fraction",
            textcoords="offset points", va="bottom", fontsize=SMALL_POINTS - 2, color=GREY,
        )  # fmt: skip
        # The legend above it already makes room on the right.
        note.set_in_layout(False)


def _draw_strip(axes, moments: np.ndarray, answers: list, names: tuple[str, ...]) -> None:
    """Draws a stretch for each time with the same answer, with the emotion's name where there is room."""
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    step = moments[1] - moments[0]
    points_per_second = 72 * axes.figure.get_figwidth() * 0.75 / (moments[-1] - moments[0])
    for start, end, emotion in find_stretches(answers):
        left, width = moments[start] - step / 2, (end - start) * step
        colour = emotion_colour(emotion, names)
        axes.axvspan(left, left + width, facecolor=_share(colour), edgecolor=_share(DARK), linewidth=0.6)
        if width * points_per_second > LETTER_POINTS * len(emotion):
            axes.text(
                left + width / 2, 0.46, plain(emotion), ha="center", va="center", fontsize=SMALL_POINTS,
                color=_share(text_colour(colour)), clip_on=True,
            )  # fmt: skip


def _share(colour: tuple[int, int, int]) -> tuple[float, ...]:
    return tuple(part / 255 for part in colour)
