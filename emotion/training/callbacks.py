"""Saving a training after every epoch, so that a killed one goes on where it was."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.errors import RunError

STATE_FILE = "state.json"
LAST_FILE = "last.keras"
BEST_FILE = "best.keras"


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves the network, the optimizer and the state of the other callbacks at the end of each epoch.

    Keras's own ``BackupAndRestore`` brings back the weights but not how patient early stopping and the learning rate's
    schedule have been, so a resumed run would go another way than one that was never killed.

    Args:
        folder: where to save. All files in it always belong to the epoch that ``state.json`` tells.
        candidate: where a better network of the epoch, if there was one, has been written.
        callbacks: those whose ``best``, ``wait`` and similar attributes are to be kept.
    """

    KEPT = ("best", "wait", "cooldown_counter", "best_epoch")

    def __init__(self, folder: Path, candidate: Path, callbacks: dict[str, keras.callbacks.Callback]):
        super().__init__()
        self._folder = folder
        self._candidate = candidate
        self._callbacks = callbacks
        self._state = load_state(folder)

    def on_train_begin(self, logs=None):
        """Gives the other callbacks their state back; they reset it when training begins, so this must come last."""
        if self._state is None:
            return
        for name, values in self._state["callbacks"].items():
            for attribute, value in values.items():
                setattr(self._callbacks[name], attribute, value)

    def on_epoch_end(self, epoch, logs=None):
        state = {
            "epochs_done": epoch + 1,
            "callbacks": {name: self._values(callback) for name, callback in self._callbacks.items()},
        }
        # Written beside the last one and swapped in whole: a kill at any moment leaves a pair that belongs together.
        fresh = self._folder.with_name(f"{self._folder.name}.partial")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        self.model.save(fresh / LAST_FILE)
        if self._candidate.exists():
            os.replace(self._candidate, fresh / BEST_FILE)
        elif (self._folder / BEST_FILE).exists():
            shutil.copy2(self._folder / BEST_FILE, fresh / BEST_FILE)
        (fresh / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        old = self._folder.with_name(f"{self._folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self._folder.exists():
            os.replace(self._folder, old)
        os.replace(fresh, self._folder)
        shutil.rmtree(old, ignore_errors=True)

    def _values(self, callback: keras.callbacks.Callback) -> dict[str, Any]:
        values = {name: getattr(callback, name) for name in self.KEPT if hasattr(callback, name)}
        return {name: float(v) if isinstance(v, np.floating) else v for name, v in values.items() if v is not None}


def load_state(folder: Path) -> dict[str, Any] | None:
    """Returns what ``EpochCheckpoint`` saved last, or None. Mends a swap that a kill interrupted."""
    old = folder.with_name(f"{folder.name}.old")
    if not (folder / STATE_FILE).is_file() and (old / STATE_FILE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(old, folder)
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path) from error


def damaged(path: Path) -> RunError:
    """The error for a checkpoint that cannot be read."""
    return RunError(
        f"{path}: the checkpoint is damaged. Delete {path.parent} to begin this training anew with --resume."
    )


def load_network(path: Path, **options) -> keras.Model:
    """Loads a network that was saved here.

    Raises:
        RunError: if the file is damaged.
    """
    try:
        return keras.saving.load_model(path, **options)
    except Exception as error:
        # As in runs.load_run: Keras raises anything for a damaged file.
        raise damaged(path) from error


# ---- Fresh statistics for batch normalisation ----

MAX_CLIPS = 128  # more make no difference that a validation set of some hundred clips could show
N_WORKERS = 2


def settle_norms(model: keras.Model, batches: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Sets the statistics of each batch normalisation that learns to those of some batches taken together.

    Args:
        model: its weights stay as they are; what is frozen keeps its statistics, too.
        batches: inputs, by name; of any sizes.
    """
    norms = [layer for layer in _layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [layer for layer in norms if layer.trainable]
    if not norms:
        return
    momentums = [layer.momentum for layer in norms]
    n_clips, sums = 0, [(0.0, 0.0)] * len(norms)
    try:
        for layer in norms:
            layer.momentum = 0.0  # a call leaves the statistics of its own batch
        for inputs in batches:
            model(inputs, training=True)
            n = len(next(iter(inputs.values())))
            n_clips += n
            for place, layer in enumerate(norms):
                mean, variance = (_as_numbers(each) for each in (layer.moving_mean, layer.moving_variance))
                first, second = sums[place]
                sums[place] = first + n * mean, second + n * (variance + mean**2)
    finally:
        for layer, momentum in zip(norms, momentums, strict=True):
            layer.momentum = momentum
        for layer, (first, second) in zip(norms, sums, strict=True):
            if n_clips:
                mean = first / n_clips
                layer.moving_mean.assign(mean.astype(np.float32))
                layer.moving_variance.assign(np.maximum(second / n_clips - mean**2, 0).astype(np.float32))


def _as_numbers(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def _layers(model: keras.Model) -> Iterable[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


class NormSettler(keras.callbacks.Callback):
    """Settles the norms before each validation of a training, with the first clips of the epoch's order.

    Args:
        batches: the training's.
    """

    def __init__(self, batches: keras.utils.PyDataset):
        super().__init__()
        self._batches = batches

    def on_test_begin(self, logs=None):
        settle_norms(self.model, self._first_inputs())

    def _first_inputs(self) -> Iterator[Mapping[str, np.ndarray]]:
        with ThreadPoolExecutor(N_WORKERS) as pool:
            n_clips, number = 0, 0
            while n_clips < MAX_CLIPS and number < self._batches.num_batches:
                numbers = range(number, min(number + N_WORKERS, self._batches.num_batches))
                for inputs, *_ in pool.map(self._batches.__getitem__, numbers):
                    n_clips += len(next(iter(inputs.values())))
                    yield inputs
                number = numbers.stop
