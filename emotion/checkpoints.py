"""Saving a training after every epoch, so that a killed one goes on where it was."""

import json
import os
import shutil
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
