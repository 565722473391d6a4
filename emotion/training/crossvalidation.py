"""Cross-validation: one model for each fold, and every clip is judged by the one model that was not trained on it.

The folder gets a run folder for each fold, ``folds.json`` with the scores of each fold and of all of them pooled, and
the pooled ``predictions.csv``. Finished folds are not trained again; a fold that was stopped is resumed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.config import RunConfig
from emotion.config_files import to_dict
from emotion.console import SILENT, Reporter
from emotion.datasets.clips import Clip
from emotion.datasets.preparation import TrainingClips, prepare_clips
from emotion.datasets.protocols import split_clips, split_folds
from emotion.datasets.split_files import describe_contents, load_splits
from emotion.datasets.splits import Split, check_split, describe_split
from emotion.errors import DatasetError, RunError
from emotion.evaluation.judging import Judgement, build_report, load_predictions, write_predictions
from emotion.files import make_folder, write_json, write_whole
from emotion.models.run_folder import METRICS_FILE, MODEL_FILE, PREDICTIONS_FILE, SPLITS_FILE
from emotion.models.trained_model import Run
from emotion.outputs.plots.comparison import APART, RANDOM, write_protocol_comparison
from emotion.training.fitting import train_fold
from emotion.training.starting import pool_comparisons

FOLDS_FILE = "folds.json"
PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class CrossValidation:
    """A finished cross-validation.

    Attributes:
        path: its folder.
        report: of all test clips pooled, from ``build_report``, with ``protocol``, ``n_skipped`` and ``folds``.
        modalities: what the models judge by.
        failures: clips that could not be used, with the reason.
    """

    path: Path
    report: dict[str, Any]
    modalities: tuple[str, ...]
    failures: dict[str, str]


def cross_validate(
    clips: Sequence[Clip],
    config: RunConfig,
    output: Path,
    *,
    n_folds: int,
    cache_dir: Path,
    initial: Run | None = None,
    reporter: Reporter = SILENT,
    command: str = "",
) -> CrossValidation:
    """Trains and tests one model for each fold, by the protocol that ``config.training`` names.

    Args:
        config: all settings; the protocol is ``kfold``, ``loso``, ``random``, or, for a single split, ``speaker`` or
            ``official``.
        output: the folder: new, or of the same cross-validation, which is then resumed.
        n_folds: how many; with ``random``, 1 means a single split.
        cache_dir: where decoded clips are kept.
        initial: the model that each fold starts from; see ``fitting.train``.
        command: what was typed; ``folds.json`` quotes it.

    Raises:
        ConfigError, DatasetError: if the clips cannot be split this way.
        RunError: if ``output`` holds something else.
    """
    prepared = prepare_clips(clips, config, cache_dir, keeps_modalities=initial is not None, reporter=reporter)
    splits = plan_folds(prepared, output, n_folds=n_folds)
    rows, judgements = [], []
    for number, split in enumerate(splits, start=1):
        folder = output / f"fold_{number:02d}"
        reporter.say(f"Fold {number} of {len(splits)}: {folder}")
        if (folder / MODEL_FILE).is_file() and (folder / PREDICTIONS_FILE).is_file():
            if load_splits(folder / SPLITS_FILE) != split:
                raise RunError(f"{folder}: holds a model of another split. Choose another --output.")
            reporter.say("It is finished already.")
        else:
            train_fold(prepared, split, folder, initial=initial, reporter=reporter)
        tested, _ = load_predictions(folder / PREDICTIONS_FILE)
        rows.append(_fold_row(number, folder, tested, prepared.config.class_names))
        judgements += tested
        reporter.say(f"UAR {rows[-1]['uar']:.1%}, accuracy {rows[-1]['accuracy']:.1%}, n {rows[-1]['n']}")
    n_unanswered = sum(row["n_unanswered"] for row in rows)
    report = {
        "protocol": describe_split(splits[0], prepared.clips, prepared.recordings)
        + (f", {len(splits)} folds pooled" if splits[1:] else ""),
        "n_skipped": len(prepared.failures),
        "skipped": {"unreadable": prepared.failures, "without_evidence": []},
        "left_out": {"no_such_class": prepared.left_out},
        "command": command,
        **build_report(judgements, prepared.config.class_names, n_unanswered=n_unanswered),
        "folds": rows,
    }
    if initial is not None:
        report["initial"] = pool_comparisons(
            [_read_metrics(output / f"fold_{row['fold']:02d}")["initial"] for row in rows]
        )
    write_predictions(judgements, prepared.config.class_names, output / PREDICTIONS_FILE)
    write_json(output / FOLDS_FILE, report)
    return CrossValidation(output, report, prepared.config.modalities, prepared.failures)


def plan_folds(prepared: TrainingClips, output: Path, *, n_folds: int) -> list[Split]:
    """Splits clips and notes the plan in a folder that is new or belongs to the same clips, folds and settings.

    Raises:
        ConfigError, DatasetError: if the clips cannot be split this way, or a recording stands on two sides.
        RunError: if the folder holds something else.
    """
    splits = _split(prepared, n_folds)
    if not all(split.test for split in splits):
        raise DatasetError("There are too few clips for a test side, so there is nothing to score. Add speakers.")
    for split in splits:
        # All of them before the first training: the last may be the one that leaks.
        check_split(split, prepared.clips, prepared.recordings)
    contents = [f"{clip.clip_id} {describe_contents(clip, prepared.contents)}" for clip in prepared.clips]
    plan = {
        "config": to_dict(prepared.config),
        "contents": hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest(),
        "folds": [dataclasses.asdict(split) for split in splits],
    }
    path = output / PLAN_FILE
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read ({error}). Choose another --output.") from error
        if known != json.loads(json.dumps(plan)):
            raise RunError(
                f"{output}: holds a cross-validation of other clips, folds or settings. Choose another --output, or "
                "give the same ones to resume it."
            )
        return splits
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output}: is not empty and holds no cross-validation. Choose another --output.")
    make_folder(output)
    write_json(path, plan)
    return splits


def _split(prepared: TrainingClips, n_folds: int) -> list[Split]:
    settings = prepared.config.training
    fractions = {"validation_fraction": settings.validation_fraction, "seed": settings.seed}
    is_single = settings.protocol in ("speaker", "official") or (settings.protocol == "random" and n_folds == 1)
    if is_single:
        return [split_clips(prepared.clips, settings.protocol, test_fraction=settings.test_fraction, **fractions)]
    return split_folds(prepared.clips, settings.protocol, n_folds=n_folds, **fractions)


def _fold_row(number: int, folder: Path, tested: Sequence[Judgement], class_names: Sequence[str]) -> dict[str, Any]:
    scores = build_report(tested, class_names)
    metrics = _read_metrics(folder)
    return {
        "fold": number,
        **{name: scores[name] for name in ("n", "accuracy", "uar", "macro_f1", "weighted_f1")},
        "speakers": sorted(scores["by_speaker"]),
        "epochs": metrics["epochs"],
        "n_unanswered": metrics["test"]["n_unanswered"],
    }


def _read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))


# ---- One model under two protocols ----

COMPARISON_FILE = "protocols.json"
COMPARISON_PLAN = "plan.txt"


def compare_protocols(
    clips: Sequence[Clip],
    config: RunConfig,
    output: Path,
    *,
    n_folds: int,
    human_accuracy: Mapping[str, float] | None = None,
    reporter: Reporter = SILENT,
    **settings,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Cross-validates with speakers kept apart and with clips split at random, and plots both beside each other.

    Args:
        clips: labelled recordings, all of known speakers.
        config: all settings except the protocol.
        output: the folder: new, or of the same comparison, which is then resumed.
        n_folds: folds under each protocol; 1 for a single split.
        human_accuracy: of human raters on this data set, by modality, where known.
        **settings: passed to ``cross_validate``.

    Returns:
        The report, with ``rows`` (one for each protocol) and the full report of each protocol under its name; and the
        clips that could not be used, with the reason.
    """
    path = output / COMPARISON_PLAN
    plan = f"{n_folds} folds"
    if path.is_file():
        if path.read_text(encoding="utf-8") != plan:
            raise RunError(f"{output}: holds a comparison with another number of folds. Choose another --output.")
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output}: is not empty and holds no comparison. Choose another --output.")
    else:
        make_folder(output)
        write_whole(path, plan)
    results: dict[str, CrossValidation] = {}
    for name, protocol in ((APART, "speaker" if n_folds == 1 else "kfold"), (RANDOM, "random")):
        reporter.say(f"--- {name} ---")
        training = dataclasses.replace(config.training, protocol=protocol)
        results[name] = cross_validate(
            clips,
            dataclasses.replace(config, training=training),
            output / protocol,
            n_folds=n_folds,
            reporter=reporter,
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
