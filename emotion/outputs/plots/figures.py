"""What all plots share: figures, colours, titles that fit, numbers as text, and writing the file.

In each module of this folder ``build_*`` returns a figure and ``write_*`` writes it. The plots use matplotlib's objects
instead of pyplot, which keeps state for the whole process and may look for a screen. matplotlib takes half a second to
import, so that waits for the first plot. The same input gives the same bytes: no time and no machine is written into a
file. Scores are shares in [0, 1], None or NaN where there is none: nothing is drawn then, and a dash says so.
"""

import contextlib
import math
import os
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion.console import counted
from emotion.errors import EmotionError
from emotion.files import written_whole

DOTS_PER_INCH = 150
WIDTH_INCHES = 7.2
TITLE_POINTS, LABEL_POINTS, SMALL_POINTS = 11, 10, 9
LINE_INCHES = 0.19  # of a title or legend, from one line to the next
MARGIN_PIXELS = 15
LEGEND_HANDLE_PIXELS = 75  # the symbol before the text, and the gap after it
MAX_NAME_LENGTH = 24  # characters
NO_BREAK_SPACE = "\u00a0"
FORMATS = ("png", "svg", "pdf")

# Okabe & Ito (2008), "Color Universal Design", which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY, PALE = "#555555", "#D9D9D9"
NOTHING = "–"  # in place of a missing number


def build_figure(*, width_inches: float, height_inches: float):
    """Returns an empty figure whose parts make room for one another.

    ``height_inches`` is that of the axes and their labels; a title and a legend add theirs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure, path: str | os.PathLike) -> Path:
    """Writes a figure and returns its path; the ending chooses the format, PNG if there is none.

    Raises:
        EmotionError: if the ending is not one of ``FORMATS``, or the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower().lstrip(".") or "png"
    if ending not in FORMATS:
        raise EmotionError(f"{path}: a plot cannot be written as .{ending}. Choose one of {', '.join(FORMATS)}.")
    with written_whole(path) as partial, _boxes_for_unknown_letters():
        figure.savefig(partial, format=ending)
    return path


@contextlib.contextmanager
def _boxes_for_unknown_letters() -> Iterator[None]:
    """Keeps Matplotlib from warning of letters that the font lacks: they are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def set_title(figure, headline: str, *details: str) -> None:
    """Writes the headline and the details above all axes, each wrapped to the figure's width."""
    room = figure.bbox.width - 2 * MARGIN_PIXELS
    title = "\n".join(wrap(figure, text, TITLE_POINTS, room) for text in (headline, *details) if text)
    _add_lines(figure, title.count("\n") + 1)
    left = MARGIN_PIXELS / figure.bbox.width
    figure.suptitle(title, x=left, ha="left", fontsize=TITLE_POINTS)


def set_legend(figure, entries: Sequence[tuple[object, str]]) -> None:
    """Lists (symbol, text) pairs below all axes, where they hide no data."""
    room = figure.bbox.width - 2 * MARGIN_PIXELS - LEGEND_HANDLE_PIXELS
    handles = [handle for handle, _ in entries]
    labels = [wrap(figure, label, SMALL_POINTS, room) for _, label in entries]
    _add_lines(figure, sum(label.count("\n") + 1 for label in labels))
    figure.legend(handles, labels, loc="outside lower left", fontsize=SMALL_POINTS, frameon=False, borderaxespad=0.3)


def _add_lines(figure, n_lines: int) -> None:
    figure.set_figheight(figure.get_figheight() + n_lines * LINE_INCHES)


def set_percent_axis(axis, label: str) -> None:
    """Makes ``axes.xaxis`` or ``axes.yaxis`` run from 0 to 100 %, whatever is drawn."""
    getattr(axis.axes, f"set_{axis.axis_name}lim")(0, 100)
    axis.set_ticks(range(0, 101, 20), [f"{percent} %" for percent in range(0, 101, 20)], fontsize=SMALL_POINTS)
    axis.set_label_text(label, fontsize=LABEL_POINTS)
    axis.grid(alpha=0.3)
    axis.axes.set_axisbelow(True)


def set_rows(axes, labels: Sequence[str], *, every: int = 1) -> None:
    """Turns the y axis into rows, the first on top, and labels every ``every``th of them."""
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(0, len(labels), every), [plain(label) for label in labels[::every]], fontsize=SMALL_POINTS)
    axes.tick_params(axis="y", length=0, pad=9)
    axes.spines[["top", "right"]].set_visible(False)


def set_right_labels(axes, positions: Sequence[float], labels: Sequence[str], title: str = "") -> None:
    """Writes labels to the right of the axes, and a title above them, where they hide no data."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(positions, [plain(label) for label in labels], fontsize=SMALL_POINTS)
    right.tick_params(length=0, pad=9)
    right.spines[:].set_visible(False)
    style = {"textcoords": "offset points", "ha": "left", "va": "bottom", "fontsize": SMALL_POINTS}
    axes.annotate(title, (1, 1), (9, 4), xycoords="axes fraction", **style)


def draw_interval(axes, low: float | None, high: float | None, position: float, *, colour: str, along: str) -> None:
    """Draws an interval, given as shares, along the ``x`` or ``y`` axis; nothing if an end is missing.

    ``position`` is its place on the other axis.
    """
    if is_number(low) and is_number(high):
        ends, beside = [100 * low, 100 * high], [position, position]
        places, symbol = ((ends, beside), "|") if along == "x" else ((beside, ends), "_")
        axes.plot(*places, color=colour, linewidth=1.4, marker=symbol, markersize=7, clip_on=False, zorder=2.5)


def wrap(figure, text: str, points: float, room_pixels: float) -> str:
    """Returns the text with line breaks, so that no line is wider than the room."""
    from matplotlib.font_manager import FontProperties

    renderer, font = figure.canvas.get_renderer(), FontProperties(size=points)
    # textwrap does not break at this kind of space, so a number keeps its percent sign.
    words = " ".join(text.split()).replace(" %", f"{NO_BREAK_SPACE}%")

    def width(line: str) -> float:
        with _boxes_for_unknown_letters():
            return renderer.get_text_width_height_descent(line, font, False)[0]

    # No line holds more than twice as many characters as one of average width; trying more would take long.
    n_most = min(len(words), int(2 * room_pixels * len(words) / max(width(words), 1)))
    for n_characters in range(max(n_most, 1), 0, -1):
        lines = textwrap.wrap(words, n_characters)
        if all(width(line) <= room_pixels for line in lines):
            break
    return plain("\n".join(lines).replace(NO_BREAK_SPACE, " "))


def plain(text: str) -> str:
    """Returns a text with escaped dollar signs, between which matplotlib would read a formula."""
    return text.replace("$", r"\$")


def short_name(name: str) -> str:
    """Returns a name on one line, its middle cut out if it is too long."""
    name = " ".join(str(name).split())
    if len(name) <= MAX_NAME_LENGTH:
        return name
    half = (MAX_NAME_LENGTH - 1) // 2
    return f"{name[:half].rstrip()}…{name[-half:].lstrip()}"


def is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def percent(share: float | None, decimals: int = 0) -> str:
    """Returns a share as text in percent, or a dash where there is none."""
    return f"{100 * share:.{decimals}f} %" if is_number(share) else NOTHING


def percent_with_interval(share: float | None, intervals: Mapping[str, Any] | None) -> str:
    """Returns a UAR as ``62.3 % (95 % interval 58.1 to 66.0 %, over speakers)``, or the part of it that is known.

    ``intervals`` are a report's: a pair for each score, and ``unit``.
    """
    interval = (intervals or {}).get("uar")
    if not is_number(share) or not is_interval(interval):
        return percent(share, 1)
    unit = f", over {intervals['unit']}" if intervals.get("unit") else ""
    return f"{percent(share, 1)} (95 % interval {100 * interval[0]:.1f} to {percent(interval[1], 1)}{unit})"


def is_interval(interval: Sequence[float | None] | None) -> bool:
    return interval is not None and all(map(is_number, interval))


def describe_report(report: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the title lines of every plot of a report: its protocol, and its size and main scores."""
    uar, accuracy = percent_with_interval(report["uar"], report.get("intervals")), percent(report["accuracy"], 1)
    return sentence(report["protocol"]), f"{counted(report['n'], 'clip')}, UAR {uar}, accuracy {accuracy}"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
