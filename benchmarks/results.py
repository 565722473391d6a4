"""Pools a baseline's folds, and makes the table that compares baselines with cross-validations of our models."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.systems import FoldResult, System, judge_fold
from emotion.datasets.clips import Clip
from emotion.datasets.splits import SPEAKER_INDEPENDENT, Split, describe_split
from emotion.errors import RunError
from emotion.evaluation.judging import Judgement, build_report
from emotion.outputs.score_tables import format_table
from emotion.training.crossvalidation import APART, FOLDS_FILE, PLAN_FILE, RANDOM, build_row

COLUMNS = ("system", "protocol", "UAR", "95 % interval", "accuracy", "weighted F1", "n", "speakers")

HOW = (
    "Settings and temperature are chosen on each fold's validation side; then the classifier is fitted on its training "
    "and validation sides together. Scores are of all test clips pooled; intervals are over speakers where all are "
    "known, else over clips."
)


def run_protocol(
    system: System,
    splits: Sequence[Split],
    clips: Mapping[str, Clip],
    rows: Mapping[str, Any],
    class_names: Sequence[str],
    *,
    n_skipped: int = 0,
) -> tuple[dict[str, Any], list[Judgement]]:
    """Judges every clip by the fold that tests it.

    Args:
        clips, rows: clips and their features, by clip id.
        n_skipped: number of unreadable clips, for the report.

    Returns:
        The pooled report, in the form of our models' cross-validations, and the judgements.

    Raises:
        DatasetError: if a fold has too few clips with sound.
    """
    results: list[FoldResult] = [judge_fold(system, split, clips, rows, class_names) for split in splits]
    judgements = [judgement for result in results for judgement in result.judgements]
    n_unanswered = sum(result.n_unanswered for result in results)
    report = {
        "protocol": f"{describe_split(splits[0], list(clips.values()))}, {len(splits)} folds pooled",
        "n_skipped": n_skipped,
        **build_report(judgements, class_names, n_unanswered=n_unanswered),
        "folds": [_fold_row(number, result, class_names) for number, result in enumerate(results, start=1)],
    }
    return report, judgements


def _fold_row(number: int, result: FoldResult, class_names: Sequence[str]) -> dict[str, Any]:
    scores = build_report(result.judgements, class_names)
    return {
        "fold": number,
        **{name: scores[name] for name in ("n", "accuracy", "uar", "macro_f1", "weighted_f1")},
        "speakers": sorted(scores["by_speaker"]),
        "n_unanswered": result.n_unanswered,
        "chosen": result.chosen,
    }


def describe_row(system: str, protocol: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the table row of a pooled report; the protocol keeps speakers apart or is ``random``."""
    name = APART if protocol in SPEAKER_INDEPENDENT else RANDOM
    return {**build_row(system, name, dict(report)), "n_speakers": report["n_speakers"]}


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows as a Markdown table."""
    cells = [
        (row["system"], row["protocol"], f"{row['score']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}",
         f"{row['accuracy']:.1%}", f"{row['weighted_f1']:.1%}", f"{row['n']:,}", str(row["n_speakers"]))
        for row in rows
    ]  # fmt: skip
    return format_table(COLUMNS, cells)


# ---- Our models ----


def find_cross_validations(folder: Path) -> list[Path]:
    """Returns the finished cross-validations among a folder and its direct subfolders.

    Raises:
        RunError: if there is none.
    """
    found = [path for path in (folder, *sorted(folder.glob("*/"))) if (path / FOLDS_FILE).is_file()]
    found = [path for path in found if (path / PLAN_FILE).is_file()]
    if not found:
        raise RunError(
            f"{folder}: holds no finished cross-validation ({FOLDS_FILE} and {PLAN_FILE}). Make one with "
            "python -m emotion.evaluate folds, or leave it out of --compare."
        )
    return found


def load_compared(
    folder: Path, splits: Mapping[str, Sequence[Split]], class_names: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Reads a cross-validation of one of our models; ``splits`` are the baselines' folds by protocol.

    Returns:
        Its table row, and each way in which it differs from the baselines' test, as text.

    Raises:
        RunError: if its files cannot be parsed, or its protocol is neither random nor keeps speakers apart.
    """
    try:
        report = json.loads((folder / FOLDS_FILE).read_text(encoding="utf-8"))
        plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        config = plan["config"]
        protocol = config["training"]["protocol"]
        system = f"{config['architecture']} ({' + '.join(config['modalities'])})"
        tested = [sorted(fold["test"]) for fold in plan["folds"]]
        row = {**describe_row(system, protocol, report), "folder": str(folder)}
        classes = list(report["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: its {FOLDS_FILE} or {PLAN_FILE} cannot be parsed ({error!r}).") from error
    if protocol not in (*SPEAKER_INDEPENDENT, "random"):
        raise RunError(
            f"{folder}: its protocol is {protocol!r}; only random ones and those that keep speakers apart are compared."
        )
    differences = []
    # The order of folds does not matter: pooled, every clip is tested once.
    own = [sorted(split.test) for split in splits.get("random" if protocol == "random" else "kfold", ())]
    row["same_test_clips"] = sorted(tested) == sorted(own)
    if not row["same_test_clips"]:
        differences.append("its folds group the test clips differently from the baselines' folds")
    if classes != list(class_names):
        differences.append(f"its classes are {', '.join(classes)}")
    if report["n_unanswered"]:
        differences.append(f"it left {report['n_unanswered']} clips unanswered")
    return row, differences


def name_apart(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds the folder to the names of our models that share system and protocol with another row."""
    named = [(row["system"], row["protocol"]) for row in rows]
    return [
        {**row, "system": f"{row['system']}, {row['folder']}"}
        if "folder" in row and named.count((row["system"], row["protocol"])) > 1
        else row
        for row in rows
    ]
