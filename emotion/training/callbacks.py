"""What happens around an epoch: random numbers are seeded, batch norms refreshed, and the training saved.

A training that is killed goes on with the epoch it was in, and ends as if nothing had happened.
"""

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
from emotion.models.layers import norms_of
from emotion.training.devices import ONE_DEVICE, Devices

STATE_FILE = "state.json"
LAST_FILE = "last.keras"
BEST_FILE = "best.keras"


class EpochSetter(keras.callbacks.Callback):
    """Makes all that is random in an epoch follow from the seed and the epoch alone.

    It tells the batches which epoch it is before the first of them is asked for (Keras's own calls are one off), and
    sets the random state of layers such as dropout.
    """

    def __init__(self, batches, seed: int):
        super().__init__()
        self._batches = batches
        self._seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        self._batches.set_epoch(epoch)
        for index, layer in enumerate(self.model.layers):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                state = np.random.default_rng((self._seed, epoch, index)).integers(2**31, size=2)
                generator.state.assign(state.astype(generator.state.dtype))


class RateLogger(keras.callbacks.Callback):
    """Logs the learning rate in every epoch, so that all rows of ``history.csv`` have the same columns."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


class SameLogs(keras.callbacks.Callback):
    """Gives all processes the same losses and scores, so that all decide alike. To stand before those that decide."""

    def __init__(self, devices: Devices):
        super().__init__()
        self._devices = devices

    def on_epoch_end(self, epoch, logs=None):
        names = sorted(logs)
        values = self._devices.agree(np.array([logs[name] for name in names], np.float64))
        logs.update(zip(names, map(float, values), strict=True))


# ---- Checkpoints ----


class BestCheckpoint(keras.callbacks.ModelCheckpoint):
    """Saves the network whenever the validation loss is the lowest so far."""

    def __init__(self, path: Path, devices: Devices = ONE_DEVICE):
        super().__init__(path, save_best_only=True)
        self._devices = devices

    def on_epoch_end(self, epoch, logs=None):
        with self._devices.alone():
            super().on_epoch_end(epoch, logs)


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves the network, the optimizer and the state of other callbacks at the end of each epoch.

    Keras's own ``BackupAndRestore`` forgets how long early stopping and the plateau have waited, so that a resumed
    training would take another course.

    Args:
        folder: where to save. All files in it belong to the epoch that ``state.json`` names.
        candidate: where another callback writes the best network so far, if this epoch's is.
        callbacks: those whose ``best``, ``wait`` and similar attributes are saved, by name.
        devices: of several processes, the first one saves.
    """

    KEPT = ("best", "wait", "cooldown_counter", "best_epoch")

    def __init__(
        self,
        folder: Path,
        candidate: Path,
        callbacks: dict[str, keras.callbacks.Callback],
        devices: Devices = ONE_DEVICE,
    ):
        super().__init__()
        self._devices = devices
        self._folder = folder
        self._candidate = candidate
        self._callbacks = callbacks
        self._state = load_state(folder)

    def on_train_begin(self, logs=None):
        """Restores the other callbacks. They reset themselves when training begins, so this one must come last."""
        for name, values in (self._state or {}).get("callbacks", {}).items():
            for attribute, value in values.items():
                if name in self._callbacks:
                    setattr(self._callbacks[name], attribute, value)

    def on_epoch_end(self, epoch, logs=None):
        if not self._devices.leads:
            return
        state = {
            "epochs_done": epoch + 1,
            "callbacks": {name: self._values(callback) for name, callback in self._callbacks.items()},
        }
        # The whole folder is written beside the last one and swapped in, so its files always belong together.
        fresh = partial_of(self._folder)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        with self._devices.alone():
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


def partial_of(folder: Path) -> Path:
    """Returns where a checkpoint is written before it replaces the last one."""
    return folder.with_name(f"{folder.name}.partial")


def load_state(folder: Path) -> dict[str, Any] | None:
    """Returns what ``EpochCheckpoint`` saved last, or None. Completes a swap that a kill interrupted."""
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
        raise _damaged(path) from error


def _damaged(path: Path) -> RunError:
    return RunError(f"{path}: the checkpoint is damaged. Delete {path.parent} to start this training anew.")


def load_best(folder: Path) -> keras.Model:
    """Loads the best network of a checkpoint.

    Raises:
        RunError: if the file is damaged.
    """
    path = folder / BEST_FILE
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises anything for a damaged file
        raise _damaged(path) from error
    for norm in norms_of(model):
        norm.synchronized = False  # as it is where one device computes
    return model


def restore_last(folder: Path, model: keras.Model) -> None:
    """Puts the weights of the last epoch into a network, and its optimizer's state if it is compiled.

    Raises:
        RunError: if the file is damaged.
    """
    path = folder / LAST_FILE
    try:
        model.load_weights(path)
    except Exception as error:  # as above
        raise _damaged(path) from error


# ---- Fresh statistics for batch normalisation ----

MAX_CLIPS = 128  # more make no difference that a validation set of some hundred clips could show
N_WORKERS = 2


def settle_norms(model: keras.Model, batches: Iterable[Any]) -> None:
    """Sets the statistics of each trainable batch normalisation to those of some batches taken together.

    Args:
        model: its weights stay as they are, and so do the statistics of frozen layers.
        batches: inputs, of any sizes.
    """
    norms = [layer for layer in norms_of(model) if layer.trainable]
    if not norms:
        return
    momentums = [layer.momentum for layer in norms]
    n_clips, sums = 0, [(0.0, 0.0)] * len(norms)
    try:
        for layer in norms:
            layer.momentum = 0.0  # a call leaves the statistics of its own batch
        for inputs in batches:
            model(inputs, training=True)
            n = _count(inputs)
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


def first_inputs(batches: keras.utils.PyDataset, max_clips: int = MAX_CLIPS) -> Iterator[Any]:
    """Yields the inputs of the first batches of an epoch, until they hold ``max_clips``."""
    with ThreadPoolExecutor(N_WORKERS) as pool:
        n_clips, number = 0, 0
        while n_clips < max_clips and number < batches.num_batches:
            numbers = range(number, min(number + N_WORKERS, batches.num_batches))
            for inputs, *_ in pool.map(batches.__getitem__, numbers):
                n_clips += _count(inputs)
                yield inputs
            number = numbers.stop


class NormSettler(keras.callbacks.Callback):
    """Settles the norms before each validation, with the first clips of the epoch's order."""

    def __init__(self, batches: keras.utils.PyDataset, devices: Devices = ONE_DEVICE):
        super().__init__()
        self._batches = batches
        self._devices = devices

    def on_test_begin(self, logs=None):
        own = first_inputs(self._batches, -(-MAX_CLIPS // self._devices.n_processes))
        settle_norms(self.model, map(self._devices.spread, own))


def _count(inputs: Mapping[str, np.ndarray] | np.ndarray | tuple) -> int:
    return len(keras.tree.flatten(inputs)[0])


def _as_numbers(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
