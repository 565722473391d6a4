"""Trains a model on clips, from the cache to a finished run folder."""

import csv
import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.config import CalibrationConfig, RunConfig, TrainConfig
from emotion.config_files import load_config, to_dict, write_config
from emotion.console import SILENT, Reporter, counted
from emotion.datasets.clips import SIDES, TEST, TRAIN, VALIDATION, Clip
from emotion.datasets.preparation import TrainingClips, prepare_clips
from emotion.datasets.protocols import split_clips
from emotion.datasets.split_files import check_contents, load_splits, write_earlier_splits, write_splits
from emotion.datasets.splits import SPEAKER_INDEPENDENT, Split, check_split, describe_split, split_of
from emotion.errors import DatasetError, RunError
from emotion.evaluation.judging import (
    JudgedClips,
    build_report,
    describe_unanswered,
    judge_clips,
    write_predictions,
)
from emotion.evaluation.model_report import find_met, load_seen_by
from emotion.files import make_folder
from emotion.labels import class_index
from emotion.models import build_model
from emotion.models.emotion_places import write_places
from emotion.models.layers import dtype_policy
from emotion.models.pretrained import build_optimizer, encoder_layers, freeze_encoders, set_pretrained
from emotion.models.run_folder import (
    CHECKPOINT_DIR,
    CONFIG_FILE,
    EARLIER_SPLITS_FILE,
    HISTORY_FILE,
    PREDICTIONS_FILE,
    SPLITS_FILE,
    check_new_folder,
    check_resumable,
    load_run,
    write_metrics,
    write_run,
)
from emotion.models.trained_model import Run
from emotion.outputs.plots.training import write_confusion_matrix, write_training_curves
from emotion.training.calibrating import fit_calibration
from emotion.training.callbacks import BEST_FILE, load_best, load_state
from emotion.training.devices import ONE_DEVICE, Devices
from emotion.training.evidence import answer_by_evidence
from emotion.training.generators import ClipWindows
from emotion.training.loop import Patience, fit_network, has_stopped
from emotion.training.rated_clips import learn_places, read_affect_ratings, score_places
from emotion.training.starting import compare_with_start, describe_start, start_from


@dataclass(frozen=True)
class TrainingResult:
    """A run folder, what its ``metrics.json`` holds, and the clips that could not be read, with the reason."""

    path: Path
    metrics: dict[str, Any]
    failures: dict[str, str]


def train(
    clips: Sequence[Clip],
    config: RunConfig,
    output: Path,
    *,
    cache_dir: Path,
    resume: bool = False,
    epochs: int | None = None,
    resume_command: str = "train(..., resume=True)",
    sides: Mapping[str, str] | None = None,
    initial: Run | None = None,
    devices: Devices = ONE_DEVICE,
    reporter: Reporter = SILENT,
) -> TrainingResult | None:
    """Trains a model and writes its run folder.

    Args:
        clips: labelled recordings. Those of other emotions than the classes are left out.
        config: all settings. Modalities that no clip has evidence for are dropped.
        cache_dir: where decoded clips are kept.
        resume: go on with the training in ``output``, with its own settings and split.
        epochs: with ``resume``, another limit than that training had.
        resume_command: what to tell the user to do after a stop.
        sides: the side of each clip, by its id; by default a split is drawn.
        initial: the model to start from, with ``config`` as ``starting.inherit_settings`` returns it.
        devices: what to train on. Of several processes, all call this alike, and all read ``output``.

    Returns:
        None in a process other than the first.

    Raises:
        ConfigError: if the devices cannot share a batch equally.
        DatasetError: if too little can be read to train on.
        RunError: if ``output`` already holds a run, or holds none to resume.
    """
    if devices.leads:
        _check_folder(output, resume)
    else:
        reporter = SILENT
    if resume:
        config = load_config(output / CONFIG_FILE)
        if epochs is not None:
            config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=epochs))
    devices.check_batch(config.training.batch_size)
    with devices.leader_first():
        prepared = prepare_clips(clips, config, cache_dir, keeps_modalities=initial is not None, reporter=reporter)
    if resume:
        if prepared.config.modalities != config.modalities:
            raise RunError(
                f"{output}: the run takes {' and '.join(config.modalities)}, the data now holds "
                f"{' and '.join(prepared.config.modalities)}. Bring the data back, or train anew."
            )
        split = load_splits(output / SPLITS_FILE)
        check_split(split, prepared.clips, prepared.contents)
        check_contents(output / SPLITS_FILE, prepared.clips, prepared.contents)
    else:
        split = draw_split(prepared.clips, config) if sides is None else _given_split(prepared.clips, sides, config)
        check_split(split, prepared.clips, prepared.recordings)
        if devices.leads:
            _write_beginning(prepared, split, output, initial)
    contents = [prepared.contents[path] for clip in prepared.clips for path in clip.paths]
    devices.check_same(repr((to_dict(prepared.config), split, contents)))
    if initial is None:
        reporter.say(f"Run folder: {output}. If training is stopped from here on, go on with: {resume_command}")
    return _train_split(prepared, split, output, reporter, devices, initial)


def draw_split(clips: Sequence[Clip], config: RunConfig) -> Split:
    """Draws a split of clips as the settings say; see ``split_clips``."""
    settings = config.training
    return split_clips(
        clips, settings.protocol, validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction, seed=settings.seed,
    )  # fmt: skip


def _given_split(clips: Sequence[Clip], sides: Mapping[str, str], config: RunConfig) -> Split:
    """Returns the part of an earlier split that concerns these clips."""
    settings = config.training
    split = split_of({clip.clip_id: sides[clip.clip_id] for clip in clips}, settings.protocol, settings.seed)
    for side in (TRAIN, VALIDATION):
        if not getattr(split, side):
            raise DatasetError(
                f"No clip of the {side} side holds what {config.architecture} takes "
                f"({' and '.join(config.modalities)}). Choose another --seed, or add clips."
            )
    return split


def train_fold(
    prepared: TrainingClips,
    split: Split,
    output: Path,
    *,
    initial: Run | None = None,
    reporter: Reporter = SILENT,
) -> TrainingResult:
    """Trains on one split of prepared clips, or goes on where a training of it stopped.

    Args:
        initial: as for ``train``.

    Raises:
        RunError: if ``output`` is neither new nor holds that training.
    """
    resume = (output / CONFIG_FILE).is_file()
    _check_folder(output, resume)
    if not resume:
        _write_beginning(prepared, split, output, initial)
    elif load_splits(output / SPLITS_FILE) != split or load_config(output / CONFIG_FILE) != prepared.config:
        raise RunError(f"{output}: holds a training with another split or other settings. Choose another --output.")
    else:
        check_contents(output / SPLITS_FILE, prepared.clips, prepared.contents)
    return _train_split(prepared, split, output, reporter, initial=initial)


def _write_beginning(prepared: TrainingClips, split: Split, output: Path, initial: Run | None) -> None:
    make_folder(output)
    write_splits(split, prepared.clips, output / SPLITS_FILE, prepared.contents)
    if initial is not None:
        write_earlier_splits(initial.path, initial.path.name, output / EARLIER_SPLITS_FILE)
    else:  # what starts from another model is done in a minute, and begins again
        write_config(prepared.config, output / CONFIG_FILE)


def _train_split(
    prepared: TrainingClips, split: Split, output: Path, reporter: Reporter, devices: Devices = ONE_DEVICE,
    initial: Run | None = None,
) -> TrainingResult | None:  # fmt: skip
    keras.utils.set_random_seed(prepared.config.training.seed)
    sides = {side: _on_side(prepared.clips, getattr(split, side)) for side in SIDES}
    apart = (
        "no speaker on two sides"
        if split.protocol in SPEAKER_INDEPENDENT
        else describe_split(split, prepared.clips, prepared.recordings)
    )
    reporter.say(
        f"{counted(len(sides['train']), 'clip')} to train on, {len(sides['validation'])} to validate, "
        f"{len(sides['test'])} to test ({apart})."
    )
    if initial is not None:
        return _start(sides, split, prepared, output, initial, reporter)
    _fit(sides, prepared, output, reporter, devices)
    devices.part()
    return _finish(sides, split, prepared, output, reporter) if devices.leads else None


def _check_folder(output: Path, resume: bool) -> None:
    """Makes sure that nothing is overwritten."""
    if resume:
        check_resumable(output)
    else:
        check_new_folder(output)


def _on_side(clips: Sequence[Clip], clip_ids: Sequence[str]) -> list[Clip]:
    wanted = set(clip_ids)
    return [clip for clip in clips if clip.clip_id in wanted]


def _fit(sides, prepared: TrainingClips, output: Path, reporter: Reporter, devices: Devices) -> None:
    cache, config = prepared.cache, prepared.config
    settings = config.training
    batches = ClipWindows(sides[TRAIN], cache, config, training=True, devices=devices)
    validation = ClipWindows(sides[VALIDATION], cache, config, training=False, devices=devices)
    patience = Patience(settings.reduce_patience_epochs, settings.patience_epochs)
    with devices.leader_first():
        if has_stopped(output, settings.epochs, patience):
            return
        state = load_state(output / CHECKPOINT_DIR)
    epochs_done = state["epochs_done"] if state else 0
    with devices.scope():
        with dtype_policy(settings.precision):
            model = build_model(config)
        if not epochs_done:
            set_pretrained(model, config)
        for first, last, is_frozen in _phases(settings, has_encoders=bool(encoder_layers(model, config))):
            if epochs_done >= last:
                continue
            freeze_encoders(model, config, frozen=is_frozen)
            fit_network(
                model, batches, keras.losses.SparseCategoricalCrossentropy(), build_optimizer(model, config),
                epochs=last, first_epoch=first, seed=settings.seed, folder=output, validation=validation,
                # Patience begins with the whole network: the frozen stretch only prepares it.
                patience=None if is_frozen else patience,
                metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")], devices=devices, reporter=reporter,
            )  # fmt: skip
            if model.stop_training:  # at a loss that is not a number, or by patience
                return


def _in_float32(model: keras.Model, config: RunConfig) -> keras.Model:
    """Returns a trained model that computes in float32, as every model that is kept does."""
    if config.training.precision == "float32":
        return model
    rebuilt = build_model(config)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _phases(settings: TrainConfig, *, has_encoders: bool) -> list[tuple[int, int, bool]]:
    """Returns the first and the last epoch of each stretch of a training, and whether its encoders are frozen."""
    n_frozen = min(settings.frozen_epochs, settings.epochs) if has_encoders else 0
    phases = [(0, n_frozen, True), (n_frozen, settings.epochs, False)]
    return [phase for phase in phases if phase[0] < phase[1]]


def load_history(path: Path) -> dict[str, list[float]]:
    """Reads a run's ``history.csv``: values by epoch for each of its columns."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def _finish(sides, split: Split, prepared: TrainingClips, output: Path, reporter: Reporter) -> TrainingResult:
    config, checkpoint = prepared.config, output / CHECKPOINT_DIR
    history = load_history(output / HISTORY_FILE)
    # Keras takes the first epoch's network for the best one even if its loss is not a number.
    if not (checkpoint / BEST_FILE).is_file() or not np.isfinite(history["val_loss"]).any():
        raise RunError(
            f"{output}: no epoch reached a finite validation loss, so there is no model to keep. Train anew with a "
            "lower --lr."
        )
    best = _in_float32(load_best(checkpoint), config)
    write_training_curves(history, output / "training_curves.png")
    answers = answer_by_evidence(Run(output, config, best, sha256=""), sides[VALIDATION], prepared.cache)
    config = dataclasses.replace(config, calibration=fit_calibration(answers, CalibrationConfig()))
    run = Run(output, config, best, sha256="")
    judged = {side: judge_clips(sides[side], run) for side in (VALIDATION, TEST) if sides[side]}
    for side, of_side in judged.items():
        for line in describe_unanswered(of_side, sides[side], side):
            reporter.say(line)
    metrics = _write_result(run, judged, split, prepared, {"epochs": len(history["loss"])})
    shutil.rmtree(checkpoint)
    return TrainingResult(output, metrics, prepared.failures)


def _start(
    sides, split: Split, prepared: TrainingClips, output: Path, initial: Run, reporter: Reporter
) -> TrainingResult:
    """Trains from another model on the training and the validation side, by cross-validation over both."""
    learned = [*sides[TRAIN], *sides[VALIDATION]]
    name, seen = initial.path.name, load_seen_by(initial)
    if met := find_met(prepared.clips, seen) if seen else set():
        reporter.warn(f"{name} learned from {len(met)} of these clips, so how it does on them as it is is no measure.")
    started = start_from(initial, prepared.config, learned, prepared.cache, reporter=reporter)
    reporter.say(describe_start(started, name))
    calibration = fit_calibration(started.answers(prepared.config), initial.config.calibration)
    config = dataclasses.replace(prepared.config, calibration=calibration)
    run = Run(output, config, started.model, sha256="")
    own = JudgedClips(started.judge(sides[VALIDATION], calibration), [], {}, {})
    judged = {VALIDATION: own} if own.judgements else {}
    before = []
    if sides[TEST]:
        judged[TEST] = judge_clips(sides[TEST], run)
        covered = [clip for clip in sides[TEST] if class_index(clip.emotion, initial.config.class_names) is not None]
        before = judge_clips(covered, initial).judgements
    compared = compare_with_start(started, judged[TEST].judgements if sides[TEST] else [], before)
    metrics = _write_result(
        run, judged, split, prepared, {"epochs": 0, "initial": {"model": name, "n_met": len(met), **compared}}
    )
    return TrainingResult(output, metrics, prepared.failures)


def _learn_places(judged: Mapping[str, JudgedClips], clips: Sequence[Clip], run: Run, metrics: dict[str, Any]) -> None:
    """Learns where the classes lie in valence and arousal, if enough clips of the validation side are rated."""
    ratings, names = read_affect_ratings(clips), run.config.class_names
    learned = learn_places(judged[VALIDATION].judgements, ratings, names) if VALIDATION in judged else None
    if learned is None:
        return
    places, ridge = learned
    scores = score_places(places, judged[TEST].judgements, ratings, names) if TEST in judged else None
    metrics["valence_arousal"] = {"ridge": None if math.isinf(ridge) else ridge, "test": scores}
    write_places(run.path, places, metrics["valence_arousal"])


def _write_result(
    run: Run, judged: Mapping[str, JudgedClips], split: Split, prepared: TrainingClips, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the folder of a trained model; returns its metrics.

    Args:
        judged: answers about the validation and the test side, as far as they have clips.
        known: further metrics.
    """
    names, output = run.config.class_names, run.path
    protocol = describe_split(split, prepared.clips, prepared.recordings)
    metrics: dict[str, Any] = {"protocol": protocol, "n_skipped": len(prepared.failures), **known}
    # The best epoch was chosen on the validation side, so its scores there flatter; the test side's do not.
    for side, answers in judged.items():
        metrics[side] = build_report(
            answers.judgements, names, n_unanswered=answers.n_unanswered,
            unsure_below=run.config.calibration.unsure_below,
        )  # fmt: skip
    _learn_places(judged, prepared.clips, run, metrics)
    shown = list(judged)[-1]
    write_predictions(judged[shown].judgements, names, output / PREDICTIONS_FILE)
    matrix = np.array(metrics[shown]["confusion_matrix"])
    write_confusion_matrix(matrix, names, output / "confusion_matrix.png", f"{shown}, {protocol}")
    write_metrics(output, metrics)
    write_run(output, run.config, run.model)
    load_run(output)  # a run that cannot be loaded must fail here, not at its first use
    return metrics
