"""Benchmark results: a table with targets and the previous run, a history file, and a plot of value over target."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emotion.outputs.score_tables import MISSING, format_table

HISTORY_FILE = "history.jsonl"
MET, MISSED = "#0072b2", "#d55e00"  # of the palette of Okabe & Ito, told apart by everybody


@dataclass(frozen=True)
class Measure:
    """One measured number.

    Attributes:
        unit: ``x`` for a ratio of two times from the same run, which is comparable between machines.
        target: None if there is no target.
        is_limit: True if the value must stay below the target, False if it must reach it.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    is_limit: bool = True

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        is_met = self.value <= self.target if self.is_limit else self.value >= self.target
        return "met" if is_met else "missed"


def format_measures(measures: Sequence[Measure], before: dict[str, float]) -> str:
    """Returns a Markdown table; ``before`` holds an earlier run's values on the same machine, by name."""
    rows = []
    for each in measures:
        target = MISSING
        if each.target is not None:
            target = f"{'at most' if each.is_limit else 'at least'} {_number(each.target)} {each.unit}"
        earlier = _number(before[each.name]) if each.name in before else MISSING
        rows.append((each.name, f"{_number(each.value)} {each.unit}", target, each.verdict or MISSING, earlier))
    return format_table(("measure", "value", "target", "", "last time"), rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def read_history(folder: Path, about: dict[str, Any]) -> dict[str, float]:
    """Returns the latest value of each measure, by name, from runs whose ``about`` had all of these values.

    Unreadable lines are skipped: nothing depends on the history.
    """
    found: dict[str, float] = {}
    path = folder / HISTORY_FILE
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            if all(entry[name] == value for name, value in about.items()):
                found |= {each["name"]: float(each["value"]) for each in entry["measures"]}
        except (ValueError, KeyError, TypeError):
            continue
    return found


def append_history(folder: Path, measures: Sequence[Measure], about: dict[str, Any]) -> None:
    """Adds a line to the history; ``about`` holds what tells runs apart: machine, clip, commit and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / HISTORY_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps({**about, "measures": [asdict(each) for each in measures]}) + "\n")


def write_ratio_plot(measures: Sequence[Measure], path: Path) -> None:
    """Draws each measure as a share of its target; bars that end before the line at 1 have met it."""
    from emotion.outputs.plots.figures import build_figure, set_title, write_figure

    shown = [each for each in measures if each.target]
    if not shown:
        return
    shares = [each.value / each.target if each.is_limit else each.target / max(each.value, 1e-12) for each in shown]
    figure = build_figure(width_inches=9, height_inches=0.4 * len(shown) + 0.6)
    axes = figure.subplots()
    colours = [MET if share <= 1 else MISSED for share in shares]
    axes.barh([each.name for each in shown], shares, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("share of the target; met up to the line")
    axes.invert_yaxis()
    for place, (each, share) in enumerate(zip(shown, shares, strict=True)):
        axes.text(share, place, f" {_number(each.value)} {each.unit}", va="center", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.2)
    set_title(figure, "Measured values and their targets")
    write_figure(figure, path)
