"""Scores as text, for the console and for Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

SCORE_NAMES = {"uar": "UAR (recall averaged over the emotions)", "accuracy": "accuracy", "macro_f1": "macro F1",
               "weighted_f1": "weighted F1"}  # fmt: skip
MISSING = "-"
FEWEST_UNITS = {"speakers": 6, "clips": 20}  # to draw intervals from


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table that also reads as plain text: the first column flush left, the others flush right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            value.ljust(width) if i == 0 else value.rjust(width)
            for i, (value, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = [f"{'-' * width}" if i == 0 else f"{'-' * (width - 1)}:" for i, width in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *[line(row) for row in cells[1:]]])


def warn_of_few(report: Mapping[str, Any]) -> str:
    """Returns a line for intervals drawn from too few speakers or clips; nothing if there are enough."""
    unit = report["intervals"]["unit"]
    n_units = report["n_speakers" if unit == "speakers" else "n"]
    if n_units >= FEWEST_UNITS[unit]:
        return ""
    return f"(only {n_units} {unit if n_units > 1 else unit.removesuffix('s')}: the true interval is wider)"


def format_training(metrics: Mapping[str, Any]) -> str:
    """Returns a finished training's scores on its test side, or without one on its validation side."""
    side = "test" if "test" in metrics else "validation"
    scores = metrics[side]
    low, high = scores["intervals"]["uar"]
    lines = [
        f"{side}: {SCORE_NAMES['uar']} {scores['uar']:.1%}, accuracy {scores['accuracy']:.1%}, "
        f"clips: {scores['n']}, speakers: {scores['n_speakers']}, protocol: {metrics['protocol']}",
        f"95 % interval of the UAR: {low:.1%} to {high:.1%}, over {scores['intervals']['unit']}",
        warn_of_few(scores),
    ]
    return "\n".join(line for line in lines if line)


def format_evaluation(report: Mapping[str, Any]) -> str:
    """Returns a report's protocol, its scores with 95 % intervals, and tables by emotion and sex."""
    lines = [f"protocol: {report['protocol']}", _counts(report)]
    unit = report["intervals"]["unit"]
    for name, what in SCORE_NAMES.items():
        low, high = report["intervals"][name]
        lines.append(f"{what}: {report[name]:.1%}  (95 % interval {low:.1%} to {high:.1%}, over {unit})")
    if warning := warn_of_few(report):
        lines.append(warning)
    lines.append(f"calibration error: {report['ece']:.1%}")
    answered = report.get("answered")
    if answered:
        lines.append(
            f'answered with a confidence of {answered["unsure_below"]:.0%} or more, the others "unsure": '
            f"{answered['coverage']:.1%} of the clips, {_percent(answered['accuracy'])} of them right"
        )
    human = report.get("human_accuracy") or {}
    if human:
        by_modality = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in human.items())
        lines.append(f"accuracy of human raters on this data set's own emotions: {by_modality}")
    rows = [
        [emotion, str(row["n"]), *(_percent(row[name]) for name in ("recall", "precision", "f1"))]
        for emotion, row in report["per_class"].items()
    ]
    lines += ["", format_table(["emotion", "clips", "recall", "precision", "F1"], rows)]
    if report.get("by_sex"):
        rows = [
            [sex, str(row["n"]), _percent(row["uar"]), _percent(row["accuracy"])]
            for sex, row in report["by_sex"].items()
        ]
        lines += ["", format_table(["speakers", "clips", "UAR", "accuracy"], rows)]
    return "\n".join(lines)


def format_folds(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of a cross-validation's folds."""
    header = ["fold", "clips", "speakers", "UAR", "accuracy", "weighted F1", "epochs"]
    return format_table(header, [
        [str(row["fold"]), str(row["n"]), str(len(row["speakers"])),
         *(_percent(row[name]) for name in ("uar", "accuracy", "weighted_f1")), str(row["epochs"])]
        for row in rows
    ])  # fmt: skip


def format_protocols(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of systems under different protocols."""
    header = ["system", "protocol", "UAR", "95 % interval", "accuracy", "weighted F1", "clips"]
    return format_table(header, [
        [row["system"], row["protocol"], _percent(row["score"]),
         f"{row['low']:.1%} to {row['high']:.1%} over {row['unit']}",
         _percent(row["accuracy"]), _percent(row["weighted_f1"]), str(row["n"])]
        for row in rows
    ])  # fmt: skip


def format_corpora_scores(report: Mapping[str, Any]) -> str:
    """Returns a table of what ``corpora.assess_corpora`` found: corpora, all together, languages, sexes."""
    parts = [(name, scores) for name, scores in report["corpora"].items()]
    parts += [("all", report["all"])] if len(parts) > 1 else []
    parts += [(f"language {name}", scores) for name, scores in report["by_language"].items()]
    parts += [(f"{name} speakers", scores) for name, scores in report["by_sex"].items()]
    rows = []
    for name, scores in parts:
        low, high = scores["intervals"]["uar"]
        answered = scores.get("answered") or {"coverage": 1.0, "accuracy": scores["accuracy"]}
        n_emotions = sum(1 for row in scores["per_class"].values() if row["n"])
        rows.append([
            name, str(scores["n"]), str(scores["n_speakers"] or MISSING), str(n_emotions),
            f"{scores['uar']:.1%} ({low:.0%} to {high:.0%})",
            *map(_percent, (scores["accuracy"], scores["ece"], answered["coverage"], answered["accuracy"])),
        ])  # fmt: skip
    head = ["corpus", "clips", "speakers", "emotions", "UAR (95 % interval)", "accuracy", "ECE", "answered",
            "right if answered"]  # fmt: skip
    lines = [format_table(head, rows), ""]
    lines += [f"{name}: {scores['protocol']}" for name, scores in report["corpora"].items()]
    lines += [f"{name}: not scored. {reason}" for name, reason in report["not_scored"].items()]
    return "\n".join(lines)


def _counts(report: Mapping[str, Any]) -> str:
    evidence = report["evidence"]
    said = f"clips: {report['n']} scored"
    if report["n_speakers"]:
        said += f" of {report['n_speakers']} speaker" + "s" * (report["n_speakers"] > 1)
    said += (
        f" ({evidence['both']} by face and voice, {evidence['audio_only']} by voice, {evidence['video_only']} by face)"
    )
    skipped = report.get("skipped")
    if skipped:
        said += f"; {len(skipped['unreadable'])} could not be read, "
        said += f"{len(skipped['without_evidence'])} held no face or voice"
    elif report.get("n_skipped"):
        said += f"; {report['n_skipped']} could not be used"
    return said


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"
