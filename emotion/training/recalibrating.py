"""Calibrates a finished model anew on clips of other people than it learned from."""

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config import RECIPE_NAMES, CalibrationConfig, RunConfig
from emotion.config_files import to_dict, write_config
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError, RunError
from emotion.evaluation.model_report import find_met, load_seen_by
from emotion.files import folder_written_whole
from emotion.labels import class_index
from emotion.models.calibration import SMALLEST_PROBABILITY
from emotion.models.export_onnx import write_onnx
from emotion.models.fusion import HEAD
from emotion.models.run_folder import CONFIG_FILE, METRICS_FILE, check_new_folder, load_run, write_metrics, write_run
from emotion.models.trained_model import Run
from emotion.places import find_model, kept_dir
from emotion.training.calibrating import MIN_CLIPS, Answers, fit_calibration, fit_near, measure_answers
from emotion.training.evidence import EVIDENCE, answer_by_evidence
from emotion.training.softmax import minimise_cross_entropy

PRIOR_RIDGE = 1.0  # on what is added to the classes' logits, against the summed loss of the clips
PRIOR_STEPS = 100
CALIBRATIONS = "calibrations"  # in metrics.json


@dataclass(frozen=True)
class Recalibration:
    """What came of it.

    Attributes:
        before, after: the calibrations.
        offsets: ``(n_classes,)`` to add to the network's logits; zeros without a new prior.
        scores: by kind of evidence ``before`` and ``after``, each as of ``measure_answers``. After: each speaker's
            answers at the temperature that fits the others.
        failures: clips that could not be used, with the reason.
    """

    before: CalibrationConfig
    after: CalibrationConfig
    offsets: np.ndarray
    scores: dict[str, dict[str, dict[str, float]]]
    failures: dict[str, str]


def check_replaceable(folder: Path) -> None:
    """Makes sure that a model may be changed in its place.

    Raises:
        RunError: if it is a shipped model, or one kept from the hub.
    """
    shipped = [find_model(name).resolve() for name in RECIPE_NAMES]
    if folder.resolve() in shipped or folder.resolve().is_relative_to(kept_dir().resolve()):
        raise RunError(f"{folder}: is not changed in its place. Name a new folder with --output.")


def recalibrate(
    run: Run,
    clips: Sequence[Clip],
    cache_dir: Path,
    *,
    fits_prior: bool = False,
    include_seen: bool = False,
    reporter: Reporter = SILENT,
) -> Recalibration:
    """Fits a model's calibration to clips.

    Args:
        fits_prior: whether to fit to each class how much likelier it is among these clips than the model expects.
        include_seen: whether to use clips that the model was trained or validated on.

    Raises:
        DatasetError: if fewer than ``MIN_CLIPS`` clips can be used.
    """
    names = run.config.class_names
    covered = [clip for clip in clips if class_index(clip.emotion, names) is not None]
    seen = load_seen_by(run)
    met = find_met(covered, seen) if seen and not include_seen else set()
    if met:
        reporter.say(f"Left out, the model met them in training: {len(met)} clips. --include_seen uses them too.")
    covered = [clip for clip in covered if clip.clip_id not in met]
    cache = ClipCache(cache_dir, run.config)
    failures = cache.fill(covered, reporter=reporter)
    covered = [clip for clip in covered if clip.clip_id not in failures]
    answers = answer_by_evidence(run, covered, cache, reporter=reporter)
    most = max((len(each.classes) for each in answers.values()), default=0)
    if most < MIN_CLIPS:
        raise DatasetError(
            f"{most} of the {len(clips)} clips can be used; {MIN_CLIPS} are needed. They must be of emotions that the "
            f"model has ({', '.join(names)}), with a face or a voice, and not of its training."
        )
    before = run.config.calibration
    offsets = fit_offsets(answers, before) if fits_prior else np.zeros(len(names), np.float32)
    shifted = {kind: each.with_offsets(offsets) for kind, each in answers.items()} if fits_prior else answers
    after = fit_calibration(shifted, before)
    scores = {
        kind: {
            "before": measure_answers(
                answers[kind], np.full(len(answers[kind].classes), getattr(before, kind)), before.unsure_below
            ),
            "after": measure_answers(
                shifted[kind], _held_out(shifted[kind], getattr(before, kind)), after.unsure_below
            ),
        }
        for kind in answers
        if len(answers[kind].classes) >= MIN_CLIPS
    }
    return Recalibration(before, after, offsets, scores, failures)


def fit_offsets(answers: Mapping[str, Answers], calibration: CalibrationConfig) -> np.ndarray:
    """Returns what to add to the logits, ``(n_classes,)``, so that classes are as frequent as among the clips.

    A moved prior adds a constant to each logit (Saerens, Latinne & Decaestecker 2002, "Adjusting the outputs of a
    classifier to new a priori probabilities"); here the labels say which.
    """
    rows, targets, temperatures = [], [], []
    for kind, each in answers.items():
        for clip, index in zip(each.clips, each.classes.tolist(), strict=True):
            rows.append(np.log(np.maximum(clip, SMALLEST_PROBABILITY)))
            targets.append(np.eye(clip.shape[1])[[index] * len(clip)] / len(clip))
            temperatures.append(np.full((len(clip), 1), getattr(calibration, kind)))
    temperature, target = np.concatenate(temperatures), np.concatenate(targets)
    weights = minimise_cross_entropy(
        1 / temperature, target / target.sum(), np.array([PRIOR_RIDGE / target.sum()]),
        offsets=np.concatenate(rows) / temperature, max_steps=PRIOR_STEPS,
    )[0]  # fmt: skip
    return weights - weights.mean()


def _held_out(answers: Answers, before: float) -> np.ndarray:
    temperatures = np.empty(len(answers.classes))
    for others, these in answers.apart():
        temperatures[these] = fit_near(answers.part(others), before)
    return temperatures


def write_recalibrated(run: Run, found: Recalibration, output: Path | None, source: str, reporter: Reporter) -> None:
    """Writes a model with its new calibration.

    Args:
        output: a new folder; None to change the model in its place, which a new prior does not allow.
        source: what the clips are called.
    """
    config = dataclasses.replace(run.config, calibration=found.after)
    metrics = _read_metrics(run.path)
    record = {
        "data": source, "before": to_dict(found.before), "after": to_dict(found.after),
        "offsets": dict(zip(config.class_names, found.offsets.tolist(), strict=True)), "scores": _finite(found.scores),
    }  # fmt: skip
    metrics[CALIBRATIONS] = [*metrics.get(CALIBRATIONS, []), record]
    if output is None:
        # The old values stand in the record, which is written first.
        write_metrics(run.path, metrics)
        write_config(config, run.path / CONFIG_FILE)
        return
    check_new_folder(output)
    with folder_written_whole(output) as partial:
        shutil.copytree(run.path, partial, dirs_exist_ok=True)
        write_metrics(partial, metrics)
        write_config(config, partial / CONFIG_FILE)
        if found.offsets.any():
            _write_offsets(partial, config, found.offsets, reporter)


def _write_offsets(folder: Path, config: RunConfig, offsets: np.ndarray, reporter: Reporter) -> None:
    model = load_run(folder, runtime="keras").model
    layer = model.get_layer(HEAD)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + offsets])
    for path in folder.glob("*.onnx*"):  # of the network as it was
        path.unlink()
    write_run(folder, config, model)
    write_onnx(folder, reporter)


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / METRICS_FILE
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Copy the model's own again, or remove it.") from error


def _finite(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _finite(value) for name, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values


def format_recalibration(found: Recalibration) -> str:
    """Returns what changed as a table."""
    from emotion.outputs.score_tables import format_table

    rows = []
    for kind in EVIDENCE:
        for when in ("before", "after") if kind in found.scores else ():
            scores, calibration = found.scores[kind][when], getattr(found, when)
            answered = scores["accuracy_answered"]
            rows.append([
                f"{kind}, {when}", str(scores["n"]), f"{getattr(calibration, kind):.2f}", f"{scores['accuracy']:.1%}",
                f"{scores['ece']:.1%}", f"{calibration.unsure_below:.0%}", f"{scores['coverage']:.1%}",
                "-" if math.isnan(answered) else f"{answered:.1%}",
            ])  # fmt: skip
    head = ["evidence", "clips", "temperature", "right", "ECE", "unsure below", "answered", "right if answered"]
    return format_table(head, rows)
