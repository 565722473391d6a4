"""Training a model on clips, from the cache to a finished run folder."""

import csv
import dataclasses
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import emotion.models.layers  # noqa: F401  (registers the layers that a checkpoint names)
from emotion.audio.features import has_sound
from emotion.cache import ClipCache
from emotion.checkpoints import BEST_FILE, LAST_FILE, EpochCheckpoint, load_network, load_state
from emotion.config import RunConfig, load_config, write_config
from emotion.datasets.clips import Clip
from emotion.errors import ConfigError, DatasetError, RunError
from emotion.evaluation import bootstrap_interval, compute_confusion_matrix, compute_scores
from emotion.generators import ClipWindows, EpochSetter, clip_windows
from emotion.labels import class_index
from emotion.models import build_model
from emotion.outputs.training_plots import write_confusion_matrix, write_training_curves
from emotion.preprocessing import Preprocessor
from emotion.runs import (
    CHECKPOINT_DIR,
    CONFIG_FILE,
    HISTORY_FILE,
    MODEL_FILE,
    SPLITS_FILE,
    Run,
    check_new_folder,
    load_run,
    write_metrics,
    write_run,
)
from emotion.splits import SPEAKER_INDEPENDENT, Split, check_split, load_splits, split_clips, write_splits
from emotion.windows import merge_probabilities

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        path: the run folder.
        metrics: what ``metrics.json`` holds.
        failures: clips that could not be read, with the reason.
    """

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
    progress: Progress | None = None,
    verbose: int = 1,
    say: Callable[[str], None] = logger.info,
) -> TrainingResult:
    """Trains a model and writes its run folder.

    Args:
        clips: labelled recordings. Those whose emotion the classes do not cover are left out, and counted.
        config: everything else. Modalities for which no clip has evidence are dropped from it.
        output: the run folder.
        cache_dir: where decoded clips are kept.
        resume: whether to go on with the training that ``output`` holds, by its own configuration and split.
        epochs: with ``resume``, another limit than that training had.
        resume_command: what to tell the user to do after a stop.
        progress: called with the clips decoded and their total.
        verbose: Keras's progress bar: 1 for a bar, 2 for a line an epoch, 0 for none.
        say: takes messages meant for the user.

    Raises:
        DatasetError: if too little can be read to train on.
        RunError: if ``output`` already holds a run, or holds none to resume.
    """
    state = _prepare_folder(output, resume)
    if resume:
        config = load_config(output / CONFIG_FILE)
        if epochs is not None:
            config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=epochs))
    _check_buildable(config)
    clips = _covered(clips, config, say)
    cache = ClipCache(cache_dir, config)
    failures = cache.fill(clips, progress=progress)
    clips = [clip for clip in clips if clip.clip_id not in failures]
    clips, modalities = _with_evidence(clips, cache, config, failures, say)
    keras.utils.set_random_seed(config.training.seed)
    if resume:
        if modalities != config.modalities:
            raise RunError(
                f"{output}: the run takes {' and '.join(config.modalities)}, the data now holds "
                f"{' and '.join(modalities)}. Bring the data back, or train anew."
            )
        split = load_splits(output / SPLITS_FILE)
        check_split(split, clips)
    else:
        config = dataclasses.replace(config, modalities=modalities)
        split = split_clips(
            clips,
            config.training.protocol,
            validation_fraction=config.training.validation_fraction,
            test_fraction=config.training.test_fraction,
            seed=config.training.seed,
        )
        output.mkdir(parents=True, exist_ok=True)
        write_splits(split, clips, output / SPLITS_FILE)
        write_config(config, output / CONFIG_FILE)
    sides = {side: _on_side(clips, getattr(split, side)) for side in ("train", "validation", "test")}
    say(
        f"{len(sides['train'])} clips to train on, {len(sides['validation'])} to validate, {len(sides['test'])} to "
        f"test ({'no speaker on two sides' if split.protocol in SPEAKER_INDEPENDENT else 'speakers on several sides'})."
    )
    say(f"Run folder: {output}. If training is stopped from here on, go on with: {resume_command}")
    _fit(sides, cache, config, output, state, verbose)
    return _finish(sides, split, cache, config, output, failures)


def _prepare_folder(output: Path, resume: bool) -> dict[str, Any] | None:
    """Makes sure that nothing is overwritten, and returns the state to resume from, if any."""
    if resume:
        if not (output / CONFIG_FILE).is_file():
            raise RunError(f"{output}: holds no training to resume. Start one without --resume.")
        if (output / MODEL_FILE).is_file():
            raise RunError(f"{output}: its training is finished; there is nothing to resume.")
        return load_state(output / CHECKPOINT_DIR)
    check_new_folder(output)
    return None


def _check_buildable(config: RunConfig) -> None:
    """Builds the network once for nothing, so that a wrong setting is known before hours of decoding."""
    try:
        build_model(config)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        words = str(error).strip().splitlines()[0]
        raise ConfigError(f"model: {config.architecture} cannot be built with these settings ({words}).") from error


def _covered(clips: Sequence[Clip], config: RunConfig, say) -> list[Clip]:
    covered = [clip for clip in clips if class_index(clip.emotion, config.class_names) is not None]
    if len(covered) < len(clips):
        say(f"{len(clips) - len(covered)} clips are of emotions that the classes do not cover; they are left out.")
    return covered


def _with_evidence(clips, cache: ClipCache, config: RunConfig, failures, say) -> tuple[list[Clip], tuple[str, ...]]:
    """Leaves out clips with neither face nor voice and finds out which modalities there are to train."""
    n_with = {"audio": 0, "video": 0}
    kept = []
    for clip in clips:
        media = cache.load(clip)
        evidence = {
            "audio": has_sound(media.samples, config.audio),
            "video": len(media.crops) > 0,
        }
        evidence = {name: there and name in config.modalities for name, there in evidence.items()}
        if clip.video_path and "video" in config.modalities and not evidence["video"]:
            say(f"{clip.video_path}: no face found.")
        if not any(evidence.values()):
            failures[clip.clip_id] = f"{clip.video_path or clip.audio_path}: neither a face nor a voice was found."
            continue
        kept.append(clip)
        for name, there in evidence.items():
            n_with[name] += there
    if not kept:
        reason = next(iter(failures.values()), "there are no clips")
        raise DatasetError(f"None of the {len(failures)} clips can be used. The first: {reason}")
    modalities = tuple(name for name in config.modalities if n_with[name])
    for name in config.modalities:
        what = {"audio": ("sound", "picture"), "video": ("faces", "sound")}[name]
        if not n_with[name]:
            say(f"No clip holds {what[0]}: the model is trained on the {what[1]} alone, and will judge by it alone.")
        elif n_with[name] < len(kept):
            say(f"{len(kept) - n_with[name]} of {len(kept)} clips hold no {what[0]}; they train the other branch.")
    return kept, modalities


def _on_side(clips: Sequence[Clip], clip_ids: Sequence[str]) -> list[Clip]:
    wanted = set(clip_ids)
    return [clip for clip in clips if clip.clip_id in wanted]


def _fit(sides, cache: ClipCache, config: RunConfig, output: Path, state, verbose: int) -> None:
    settings = config.training
    checkpoint = output / CHECKPOINT_DIR
    training = ClipWindows(sides["train"], cache, config, training=True)
    validation = ClipWindows(sides["validation"], cache, config, training=False)
    epochs_done = 0
    if state:
        epochs_done = state["epochs_done"]
        model = load_network(checkpoint / LAST_FILE)
    else:
        model = build_model(config)
        model.compile(
            keras.optimizers.Adam(settings.learning_rate, clipnorm=settings.clip_norm),
            keras.losses.SparseCategoricalCrossentropy(),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
    _cut_history(output / HISTORY_FILE, epochs_done)
    candidate = output / "candidate.keras"
    candidate.unlink(missing_ok=True)  # of an epoch that will be run again
    stopping = keras.callbacks.EarlyStopping(patience=settings.patience_epochs)
    reducing = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=settings.reduce_patience_epochs, min_lr=1e-6)
    best = keras.callbacks.ModelCheckpoint(candidate, save_best_only=True)
    kept = {"early_stopping": stopping, "reduce_lr": reducing, "best": best}
    if state and _has_stopped(state, settings):
        return
    model.fit(
        training,
        validation_data=validation,
        epochs=settings.epochs,
        initial_epoch=epochs_done,
        shuffle=False,  # the generator shuffles by its own seed
        verbose=verbose,
        callbacks=[
            EpochSetter(training, settings.seed),
            keras.callbacks.TerminateOnNaN(),
            stopping,
            reducing,
            best,
            keras.callbacks.CSVLogger(output / HISTORY_FILE, append=epochs_done > 0),
            keras.callbacks.TensorBoard(output / "tensorboard", write_graph=False),
            # Last, so that it saves and restores what the others have become.
            EpochCheckpoint(checkpoint, candidate, kept),
        ],
    )


def _has_stopped(state: dict[str, Any], settings) -> bool:
    waited = state["callbacks"]["early_stopping"].get("wait", 0)
    return state["epochs_done"] >= settings.epochs or waited >= max(1, settings.patience_epochs)


def _cut_history(path: Path, n_epochs: int) -> None:
    """Drops the rows of epochs that will be run again: a kill can come between the log and the checkpoint."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[: n_epochs + 1]) if n_epochs else "", encoding="utf-8")


def load_history(path: Path) -> dict[str, list[float]]:
    """Reads a run's ``history.csv``: values by epoch for each of its columns."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def _finish(sides, split: Split, cache: ClipCache, config: RunConfig, output: Path, failures) -> TrainingResult:
    path = output / CHECKPOINT_DIR / BEST_FILE
    history = load_history(output / HISTORY_FILE)
    # Keras takes the first epoch's network for the best one even if its loss is not a number.
    if not path.is_file() or not np.isfinite(history["val_loss"]).any():
        raise RunError(
            f"{output}: no epoch reached a finite validation loss, so there is no model to keep. Train anew with a "
            "lower --lr."
        )
    best = load_network(path, compile=False)
    write_training_curves(history, output / "training_curves.png")
    metrics: dict[str, Any] = {"protocol": _describe(split), "n_skipped": len(failures), "epochs": len(history["loss"])}
    run = Run(output, config, best, sha256="")
    for side in ("validation", "test"):
        if sides[side]:
            metrics[side] = evaluate_clips(sides[side], cache, run)
    # The best epoch was chosen on the validation side, so its scores there flatter; the test side's do not.
    shown = "test" if sides["test"] else "validation"
    matrix = np.array(metrics[shown]["confusion_matrix"])
    write_confusion_matrix(matrix, config.class_names, output / "confusion_matrix.png", f"{shown}, {_describe(split)}")
    write_metrics(output, metrics)
    write_run(output, config, best)
    load_run(output)  # a run that cannot be loaded must fail here, not at its first use
    shutil.rmtree(output / CHECKPOINT_DIR)
    return TrainingResult(output, metrics, failures)


def _describe(split: Split) -> str:
    if split.protocol in SPEAKER_INDEPENDENT:
        return f"speaker-independent (seed {split.seed})"
    return f"random clips, speakers on several sides: optimistic (seed {split.seed})"


def evaluate_clips(clips: Sequence[Clip], cache: ClipCache, run: Run) -> dict[str, Any]:
    """Scores a run on cached clips, each judged by the mean over its sliding windows, as in inference.

    Returns:
        The scores of ``compute_scores``, the UAR's 95 % interval over speakers, the confusion matrix, and the number
        of clips without evidence, which are in no score.
    """
    preprocessor = Preprocessor(run.config)
    true, predicted, speakers = [], [], []
    for clip in clips:
        windows = clip_windows(cache.load(clip), preprocessor)
        if not windows:
            continue
        batch = {name: np.stack([window[name] for window in windows]) for name in windows[0]}
        true.append(class_index(clip.emotion, run.config.class_names))
        predicted.append(int(np.argmax(merge_probabilities(run.predict(batch)))))
        speakers.append(clip.speaker)
    if not true:
        raise DatasetError(f"None of the {len(clips)} clips holds any evidence to judge.")
    n_classes = len(run.config.class_names)
    matrix = compute_confusion_matrix(np.array(true), np.array(predicted), n_classes)
    return {
        **compute_scores(matrix),
        "uar_interval": bootstrap_interval(np.array(true), np.array(predicted), speakers, n_classes),
        "n_speakers": len(set(speakers)),
        "n_without_evidence": len(clips) - len(true),
        "confusion_matrix": matrix.tolist(),
    }
