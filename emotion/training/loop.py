"""The training loop of every network: those of ``train_model.py``, of each fold and of each stage of a recipe.

Every epoch follows from the seed and its number alone, and is saved when it ends, so a training that is killed goes on
with the epoch it was in.
"""

import contextlib
import functools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from emotion.console import SILENT, Reporter
from emotion.errors import RunError
from emotion.files import make_folder, named_errors, written_whole
from emotion.models.layers import dtype_policy
from emotion.models.pretrained import LayerwiseAdamW
from emotion.models.run_folder import CHECKPOINT_DIR, HISTORY_FILE
from emotion.training.callbacks import (
    BestCheckpoint,
    EpochCheckpoint,
    EpochSetter,
    NormSettler,
    RateLogger,
    SameLogs,
    first_inputs,
    load_state,
    partial_of,
    restore_last,
    settle_norms,
)
from emotion.training.devices import ONE_DEVICE, Devices

WEIGHTS_FILE = "trained.npz"
TENSORBOARD_DIR = "tensorboard"
CANDIDATE_FILE = "candidate.keras"  # the best network so far, until the epoch's checkpoint takes it in
LOWEST_RATE = 1e-6
MANY_CLIPS = 2048  # to settle the norms with, where that is done once, after all epochs

# ---- The loop ----


@dataclass(frozen=True)
class Patience:
    """Epochs without a better validation loss before the learning rate is halved, and before training stops."""

    reduce: int
    stop: int


def fit_network(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    loss,
    optimizer: keras.optimizers.Optimizer,
    *,
    epochs: int,
    seed: int,
    folder: Path,
    first_epoch: int = 0,
    validation: keras.utils.PyDataset | None = None,
    patience: Patience | None = None,
    metrics: Sequence[keras.metrics.Metric] = (),
    devices: Devices = ONE_DEVICE,
    reporter: Reporter = SILENT,
) -> None:
    """Trains a network in place; resumes the training that ``folder`` holds, if any.

    Args:
        model: a new network, or what an earlier part of the training made of it.
        batches: such as ``EpochBatches``.
        loss: of targets and outputs.
        optimizer: a new one.
        epochs: to reach in all, those of earlier parts included.
        seed: of what is random in the layers.
        folder: gets ``checkpoint/``, ``history.csv`` and ``tensorboard/``.
        first_epoch: how many epochs earlier parts of this training had, with another optimizer.
        validation: scored after each epoch; the checkpoint then also holds the best network. Without it, batch
            normalisation gets its statistics once, at the end.
        patience: with ``validation``; None to train for all epochs.
        metrics: computed beside the loss, with the same weights.
        devices: those in whose ``scope`` this is called.

    Raises:
        RunError: if the checkpoint is damaged.
    """
    checkpoint, history = folder / CHECKPOINT_DIR, folder / HISTORY_FILE
    candidate = folder / CANDIDATE_FILE
    with devices.leader_first():
        state = load_state(checkpoint)
        if devices.leads:
            make_folder(folder)
            _cut_history(history, max(first_epoch, state["epochs_done"] if state else 0))
            candidate.unlink(missing_ok=True)  # of an epoch that is run again
    epochs_done = max(first_epoch, state["epochs_done"] if state else 0)
    if state and epochs_done == first_epoch:
        restore_last(checkpoint, model)  # not its optimizer, which was another one
    model.compile(devices.adapt(model, optimizer), loss, weighted_metrics=list(metrics) or None)
    _make_variables(model, batches, devices)
    if epochs_done > first_epoch:
        restore_last(checkpoint, model)
    kept: dict[str, keras.callbacks.Callback] = {}
    if patience is not None:
        kept["early_stopping"] = keras.callbacks.EarlyStopping(patience=patience.stop)
        kept["reduce_lr"] = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=patience.reduce, min_lr=LOWEST_RATE)
    writers: list[keras.callbacks.Callback] = []
    if devices.leads:
        if validation is not None:
            kept["best"] = BestCheckpoint(candidate, devices)
        writers = [
            keras.callbacks.CSVLogger(history, append=epochs_done > 0),
            keras.callbacks.TensorBoard(folder / TENSORBOARD_DIR, write_graph=False),
        ]
    with named_errors(folder, of_many=True), _whole_or_not(folder, devices):
        model.fit(
            batches,
            validation_data=validation,
            epochs=epochs,
            initial_epoch=epochs_done,
            shuffle=False,  # the batches shuffle by their own seed
            verbose=reporter.keras_verbose,
            callbacks=[
                EpochSetter(batches, seed),
                NormSettler(batches, devices),
                RateLogger(),
                *([SameLogs(devices)] if devices.n_processes > 1 else []),
                keras.callbacks.TerminateOnNaN(),
                *kept.values(),
                *writers,
                # Last, so that it saves and restores what the others have become.
                EpochCheckpoint(checkpoint, candidate, kept, devices),
            ],
        )
    if validation is None:
        settle_norms(model, first_inputs(batches, MANY_CLIPS))


@contextlib.contextmanager
def _whole_or_not(folder: Path, devices: Devices) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if devices.leads:
            _take_back(folder)
        raise


def has_stopped(folder: Path, epochs: int, patience: Patience) -> bool:
    """Whether the training in a folder has come to its end, by its epochs or by its patience."""
    state = load_state(folder / CHECKPOINT_DIR)
    if state is None:
        return False
    waited = state["callbacks"].get("early_stopping", {}).get("wait", 0)
    return state["epochs_done"] >= epochs or waited >= max(1, patience.stop)


def _make_variables(model: keras.Model, batches: keras.utils.PyDataset, devices: Devices) -> None:
    """Makes the variables of a compiled model's optimizer, loss and metrics.

    Left to the first step, they would be made while TensorFlow traces that, which it then does once more: seconds for a
    small network, minutes for a large one. On JAX, Keras would make them by a look at the first batch, and then train
    with the second one first.
    """
    model.optimizer.build(model.trainable_variables)
    if devices.one_reader:  # Keras has to make the others itself
        return
    targets = np.asarray(batches[0][1])[:1]
    answers = np.full((1, *model.output_shape[1:]), 1 / model.output_shape[-1], np.float32)
    model.compute_loss(y=targets, y_pred=answers)
    model.compute_metrics(None, targets, answers)
    model.reset_metrics()


def _cut_history(path: Path, n_epochs: int) -> None:
    """Drops the rows of epochs that will be run again: a kill can come between the log and the checkpoint.

    It needs no space, so it works on a full disk.
    """
    if not path.is_file():
        return
    if n_epochs:
        lines = path.read_bytes().splitlines(keepends=True)
        os.truncate(path, sum(map(len, lines[: n_epochs + 1])))
    else:
        path.unlink()


def _take_back(folder: Path) -> None:
    """Deletes what a training that broke off has half written, and its records of epochs that no checkpoint holds."""
    checkpoint = folder / CHECKPOINT_DIR
    with contextlib.suppress(OSError, RunError):
        (folder / CANDIDATE_FILE).unlink(missing_ok=True)
        shutil.rmtree(partial_of(checkpoint), ignore_errors=True)
        state = load_state(checkpoint)
        _cut_history(folder / HISTORY_FILE, state["epochs_done"] if state else 0)
        if state is None:
            shutil.rmtree(folder / TENSORBOARD_DIR, ignore_errors=True)


# ---- A training of fixed length, without validation, as the recipes have it ----

# A running mean of the weights (Polyak & Juditsky 1992) generalises better than the last step's.
AVERAGE_MOMENTUM = 0.998
MAX_WARMUP_STEPS = 300
LAST_RATE = 0.01  # of the learning rate


def fit_annealed(
    network: keras.Model,
    batches: keras.utils.PyDataset,
    loss,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    folder: Path,
    reporter: Reporter = SILENT,
) -> None:
    """Trains a network in place by AdamW with a cosine schedule; it ends with the running mean of its weights.

    A folder that holds a finished training is not trained in again: the network gets the weights kept there.

    Raises:
        RunError: if the training diverges, or what the folder holds is damaged.
    """
    path = folder / WEIGHTS_FILE
    if path.is_file():
        with np.load(path) as data:
            network.set_weights([data[name] for name in data.files])
        return
    optimizer = annealed_optimizer(epochs * batches.num_batches, learning_rate, weight_decay)
    fit_network(network, batches, loss, optimizer, epochs=epochs, seed=seed, folder=folder, reporter=reporter)
    weights = network.get_weights()
    if not all(np.isfinite(array).all() for array in weights):
        raise RunError(f"{folder}: the training diverged. Delete the folder and choose a lower learning rate.")
    with written_whole(path) as partial:
        np.savez(partial, *weights)
    shutil.rmtree(folder / CHECKPOINT_DIR)


def annealed_optimizer(n_steps: int, learning_rate: float, weight_decay: float) -> keras.optimizers.Optimizer:
    """Returns AdamW whose rate rises for some steps and then falls along a cosine.

    At the end of ``fit``, Keras replaces the weights by their running mean.
    """
    warmup = min(MAX_WARMUP_STEPS, n_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, n_steps - warmup, alpha=LAST_RATE, warmup_target=learning_rate, warmup_steps=warmup
    )
    momentum = min(AVERAGE_MOMENTUM, max(0.0, 1 - 20 / n_steps))
    return LayerwiseAdamW(
        learning_rate=schedule, weight_decay=weight_decay, clipnorm=1.0, use_ema=True, ema_momentum=momentum
    )


@functools.cache
def fastest_policy() -> str:
    """Returns the policy under which this machine trains convolutions faster: bfloat16 needs hardware made for it."""
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((32, 28, 28, 64)).astype(np.float32)
    seconds = {}
    for policy in ("float32", "mixed_bfloat16"):
        with dtype_policy(policy):
            frames = keras.Input(pictures.shape[1:])
            x = layers.Conv2D(64, 3, padding="same")(layers.Conv2D(64, 3, padding="same")(frames))
            network = keras.Model(frames, layers.GlobalAveragePooling2D(dtype="float32")(x))
        network.compile("sgd", "mse")
        target = np.zeros((len(pictures), 64), np.float32)
        network.train_on_batch(pictures, target)
        start = time.perf_counter()
        for _ in range(3):
            network.train_on_batch(pictures, target)
        seconds[policy] = time.perf_counter() - start
    return min(seconds, key=seconds.__getitem__)
