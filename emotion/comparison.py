"""The same model, trained and tested under a random and under a speaker-independent protocol: the leak made visible."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion.config import RunConfig
from emotion.crossvalidation import CrossValidation, cross_validate
from emotion.datasets.clips import Clip
from emotion.errors import RunError
from emotion.files import write_json, write_whole
from emotion.outputs.comparison_plots import APART, RANDOM
from emotion.outputs.evaluation_plots import write_protocol_comparison

COMPARISON_FILE = "protocols.json"
COMPARISON_PLAN = "plan.txt"


def compare_protocols(
    clips: Sequence[Clip],
    config: RunConfig,
    output: Path,
    *,
    n_folds: int,
    human_accuracy: Mapping[str, float] | None = None,
    say: Callable[[str], None] = print,
    **settings,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Cross-validates under both protocols with the same budget, and writes a table and a plot of both.

    Args:
        clips: labelled recordings, all of known speakers.
        config: all settings; its protocol is not looked at.
        output: a folder: new, or of the same comparison, which is gone on with.
        n_folds: folds under each protocol; 1 for a single test side each.
        human_accuracy: of human raters on this data set by modality, where known.
        say: takes messages meant for the user.
        **settings: passed to ``cross_validate``.

    Returns:
        The report: ``rows``, one a protocol, and the full report of each under its name; and the clips that could not
        be used, with the reason.
    """
    path = output / COMPARISON_PLAN
    plan = f"{n_folds} folds"
    if path.is_file():
        if path.read_text(encoding="utf-8") != plan:
            raise RunError(f"{output}: holds a comparison with another number of folds. Choose another --output.")
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output}: is not empty and holds no comparison. Choose another --output.")
    else:
        output.mkdir(parents=True, exist_ok=True)
        write_whole(path, plan)
    results: dict[str, CrossValidation] = {}
    for name, protocol in ((APART, "speaker" if n_folds == 1 else "kfold"), (RANDOM, "random")):
        say(f"--- {name} ---")
        training = dataclasses.replace(config.training, protocol=protocol)
        results[name] = cross_validate(
            clips,
            dataclasses.replace(config, training=training),
            output / protocol,
            n_folds=n_folds,
            say=say,
            **settings,
        )
    system = f"{config.architecture} ({' + '.join(results[APART].modalities)})"
    rows = [build_row(system, name, result.report) for name, result in results.items()]
    modalities = results[APART].modalities
    human = (human_accuracy or {}).get("both" if len(modalities) > 1 else modalities[0])
    report = {"rows": rows, "human_accuracy": human, **{name: r.report for name, r in results.items()}}
    write_json(output / COMPARISON_FILE, report)
    n_classes = len(results[APART].report["classes"])
    title = f"{system}, {rows[0]['n']} clips, {results[APART].report['n_speakers']} speakers"
    write_protocol_comparison(rows, output / "protocols.png", title, human_accuracy=human, chance=1 / n_classes)
    return report, results[APART].failures


def build_row(system: str, protocol: str, report: dict[str, Any]) -> dict[str, Any]:
    """Returns the row that tables and plots of protocols show of a report."""
    low, high = report["intervals"]["uar"]
    return {
        "system": system,
        "protocol": protocol,
        "score": report["uar"],
        "low": low,
        "high": high,
        "accuracy": report["accuracy"],
        "weighted_f1": report["weighted_f1"],
        "n": report["n"],
        "unit": report["intervals"]["unit"],
    }
