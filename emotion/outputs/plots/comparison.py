"""Plots that compare: face against voice, and a random split against one by speaker."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion.console import counted
from emotion.outputs.plots.figures import (
    BLUE,
    GREEN,
    GREY,
    MAX_NAME_LENGTH,
    NOTHING,
    ORANGE,
    SMALL_POINTS,
    VERMILION,
    WIDTH_INCHES,
    build_figure,
    draw_interval,
    is_number,
    percent,
    percent_with_interval,
    sentence,
    set_legend,
    set_percent_axis,
    set_right_labels,
    set_rows,
    set_title,
    short_name,
    write_figure,
)

MODALITY_STYLES = {"both": ("face and voice", BLUE), "audio": ("voice alone", ORANGE), "video": ("face alone", GREEN)}
RANDOM, APART = "random", "speakers apart"
PROTOCOL_STYLES = {
    RANDOM: ("split at random: the model knows the speakers", VERMILION, "o"),
    APART: ("speakers apart: the model meets them for the first time", BLUE, "D"),
}
BAR_INCHES, GROUP_GAP_INCHES = 0.2, 0.16
SYSTEM_INCHES = 0.95
AXIS_INCHES = 0.75  # the axis's own labels
DASH_POINTS = 3
HUMAN_LINE = {"linewidth": 2, "zorder": 2}
BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # keeps lines off a number


def write_recall_by_modality(
    reports: Mapping[str, Mapping[str, Any]], path: str | os.PathLike, human: Mapping[str, float] | None = None
) -> Path:
    """Draws each class's recall from face and voice, from the voice alone, and from the face alone.

    Args:
        reports: of evaluations, keyed by any of ``MODALITY_STYLES``.
        path: the file to write; see ``write_figure``.
        human: what people reach on the same clips, with the same keys; None if unknown.

    Raises:
        ValueError: if there is no report, an unknown modality, or the reports have different classes.
    """
    return write_figure(build_recall_by_modality(reports, human), path)


def write_protocol_comparison(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike,
    title: str,
    human_accuracy: float | None = None,
    chance: float | None = None,
) -> Path:
    """Draws each system's score under a random split beside its score on speakers it has not met.

    Args:
        rows: one for each system and protocol: ``system``; ``protocol``, ``random`` or ``speakers apart``; ``score``,
            the UAR, with its 95 % interval ``low`` to ``high``; ``n``, the clips tested.
        path: the file to write; see ``write_figure``.
        human_accuracy: what people reach; None if unknown.
        chance: what guessing reaches; None to leave it out.

    Raises:
        ValueError: if there is no row, an unknown protocol, or two rows for the same system and protocol.
    """
    return write_figure(build_protocol_comparison(rows, title, human_accuracy, chance), path)


def build_recall_by_modality(reports: Mapping[str, Mapping[str, Any]], human: Mapping[str, float] | None = None):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    unknown = sorted(reports.keys() - MODALITY_STYLES.keys())
    if unknown or not reports:
        raise ValueError(
            f"reports must be keyed by any of {', '.join(MODALITY_STYLES)}, got {', '.join(reports) or 'none'}."
        )
    classes = next(iter(reports.values()))["classes"]
    if any(list(report["classes"]) != list(classes) for report in reports.values()):
        raise ValueError("reports must have the same classes in the same order.")
    shown = [modality for modality in MODALITY_STYLES if modality in reports]
    group_inches = len(shown) * BAR_INCHES + GROUP_GAP_INCHES
    height = len(classes) * group_inches + AXIS_INCHES
    figure = build_figure(width_inches=WIDTH_INCHES, height_inches=height)
    axes = figure.subplots()
    thickness = BAR_INCHES / group_inches
    entries = []
    for place, modality in enumerate(shown):
        words, colour = MODALITY_STYLES[modality]
        report = reports[modality]
        offset = (place - (len(shown) - 1) / 2) * thickness
        for row, name in enumerate(classes):
            _draw_recall(axes, report["per_class"][name], row + offset, thickness, colour)
        uar = percent_with_interval(report["uar"], report.get("intervals"))
        entries.append((Patch(color=colour), f"{words}: UAR {uar}, {counted(report['n'], 'clip')}"))
        people = (human or {}).get(modality)
        if is_number(people):
            # Each line's dashes fall into the gaps of the others, so that all show where they coincide. The white edge
            # separates a line from bars of its own colour.
            dashes = (DASH_POINTS * place, (DASH_POINTS, DASH_POINTS * max(1, len(shown) - 1)))
            edge = [withStroke(linewidth=4, foreground="white")]
            axes.axvline(100 * people, color=colour, linestyle=dashes, path_effects=edge, clip_on=False, **HUMAN_LINE)
            entries.append(
                (
                    Line2D([], [], color=colour, linestyle="--"),
                    f"human raters, {words}: accuracy on the data set's own emotions ({percent(people)})",
                )
            )
    counts = [sorted({reports[modality]["per_class"][name]["n"] for modality in shown}) for name in classes]
    labels = [f"{short_name(name)} ({_range(n)})" for name, n in zip(classes, counts, strict=True)]
    set_rows(axes, labels)
    set_percent_axis(axes.xaxis, "recall: clips of the emotion that are recognised")
    protocols = dict.fromkeys(sentence(reports[name]["protocol"]) for name in shown if "protocol" in reports[name])
    set_title(figure, "Recall of each emotion (its number of clips)", *protocols)
    set_legend(figure, entries)
    return figure


def _draw_recall(axes, scores: Mapping[str, Any], position: float, thickness: float, colour: str) -> None:
    recall = scores["recall"]
    if scores["n"] and is_number(recall):
        axes.barh(position, 100 * recall, height=0.92 * thickness, color=colour, zorder=1.5)
    text = percent(recall) if scores["n"] else "no clips"
    end = 100 * recall if scores["n"] and is_number(recall) else 0
    style = {"va": "center", "fontsize": SMALL_POINTS, "bbox": BOX, "zorder": 3}
    axes.annotate(text, (end, position), (4, 0), textcoords="offset points", ha="left", **style)


def build_protocol_comparison(
    rows: Sequence[Mapping[str, Any]], title: str, human_accuracy: float | None = None, chance: float | None = None
):
    from matplotlib.lines import Line2D

    by_system = {}
    for row in rows:
        if row["protocol"] not in PROTOCOL_STYLES:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOL_STYLES)}, got {row['protocol']!r}.")
        if by_system.setdefault(row["system"], {}).setdefault(row["protocol"], row) is not row:
            raise ValueError(f"{row['system']}: two rows of the protocol {row['protocol']!r}.")
    if not by_system:
        raise ValueError("rows must hold at least one result.")
    height = SYSTEM_INCHES * len(by_system) + AXIS_INCHES
    figure = build_figure(width_inches=WIDTH_INCHES, height_inches=height)
    axes = figure.subplots()
    for position, results in enumerate(by_system.values()):
        _draw_system(axes, results, position)
    entries = [
        (Line2D([], [], color=colour, marker=symbol, linestyle="none"), words)
        for words, colour, symbol in PROTOCOL_STYLES.values()
    ]
    if any(is_number(row.get("low")) and is_number(row.get("high")) for row in rows):
        entries.append((Line2D([], [], color="black", marker="|", linewidth=1.4), "95 % interval"))
    for share, words, style in (
        (chance, "chance", ":"),
        (human_accuracy, "human raters: accuracy on the data set's own emotions", "--"),
    ):
        if is_number(share):
            axes.axvline(100 * share, color=GREY, linestyle=style, linewidth=1.4, zorder=1)
            entries.append((Line2D([], [], color=GREY, linestyle=style), f"{words} ({percent(share, 1)})"))
    set_rows(axes, [_name_system(system, results) for system, results in by_system.items()])
    set_right_labels(
        axes, range(len(by_system)), [_name_difference(r) for r in by_system.values()], "random\nminus apart"
    )
    set_percent_axis(axes.xaxis, "UAR, the mean recall of the emotions")
    set_title(figure, title)
    set_legend(figure, entries)
    return figure


def _draw_system(axes, results: Mapping[str, Mapping[str, Any]], position: float) -> None:
    """Draws a system's scores, the random split's above the other, joined by a line."""
    places = []
    for protocol, height, above in ((RANDOM, position - 0.14, True), (APART, position + 0.14, False)):
        score = results.get(protocol, {}).get("score")
        if is_number(score):
            _, colour, symbol = PROTOCOL_STYLES[protocol]
            draw_interval(
                axes, results[protocol].get("low"), results[protocol].get("high"), height, colour=colour, along="x"
            )
            axes.plot(100 * score, height, color=colour, marker=symbol, markersize=8, clip_on=False, zorder=3)
            # Near either end the number leans inwards, clear of the labels beside the axes.
            side = "right" if score > 0.9 else "left" if score < 0.1 else "center"
            style = {"va": "bottom" if above else "top", "ha": side}
            style |= {"fontsize": SMALL_POINTS, "color": colour, "zorder": 3.5, "bbox": BOX}
            offset = (0, 7 if above else -7)
            axes.annotate(percent(score, 1), (100 * score, height), offset, textcoords="offset points", **style)
            places.append((100 * score, height))
    if len(places) == len(PROTOCOL_STYLES):
        axes.plot(*zip(*places, strict=True), color=GREY, linewidth=1.2, zorder=1.5)


def _name_system(system: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    name = textwrap.wrap(system, MAX_NAME_LENGTH, max_lines=2, placeholder=" …") or [""]
    counts = {protocol: results[protocol]["n"] for protocol in PROTOCOL_STYLES if protocol in results}
    if len(set(counts.values())) == 1:
        sizes = [f"({counted(next(iter(counts.values())), 'clip')})"]
    else:
        sizes = [f"({counts[RANDOM]} clips at random,", f"{counts[APART]} apart)"]
    return "\n".join((*name, *sizes))


def _name_difference(results: Mapping[str, Mapping[str, Any]]) -> str:
    scores = [results.get(protocol, {}).get("score") for protocol in (RANDOM, APART)]
    if not all(map(is_number, scores)):
        return NOTHING
    # From the rounded scores, so that a reader who subtracts the numbers in the plot gets the same.
    tenths = round(1000 * scores[0]) - round(1000 * scores[1])
    sign = "+" if tenths > 0 else "−" if tenths < 0 else ""
    return f"{sign}{abs(tenths) / 10:.1f} points"


def _range(numbers: Sequence[int]) -> str:
    """Returns sorted numbers as ``192``, or ``188 to 192``."""
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
