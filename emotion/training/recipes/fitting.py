"""What all trainings of a recipe share: optimizer, schedule, running mean of the weights, resuming, fast arithmetic."""

import time
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotion.errors import RunError
from emotion.models.layers import dtype_policy
from emotion.training.generators import EpochSetter

# A running mean of the weights (Polyak & Juditsky 1992) generalises better than the last step's.
AVERAGE_MOMENTUM = 0.998
MAX_WARMUP_STEPS = 300
LAST_RATE = 0.01  # of the learning rate
LABEL_SMOOTHING = 0.1
NOT_DECAYED = ["bias", "gamma", "beta"]


def fit(
    network: keras.Model,
    batches: keras.utils.PyDataset,
    loss,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    backup_dir: Path | None = None,
    verbose: int = 0,
) -> None:
    """Trains a network, in place, by AdamW with a cosine schedule; ends with the running mean of its weights.

    Args:
        network: to be trained.
        batches: with ``num_batches`` and ``set_epoch``.
        loss: of targets and outputs.
        epochs, learning_rate, weight_decay: of the optimizer.
        seed: of the draws that layers make.
        backup_dir: where the state is kept after each epoch, so that a killed training goes on; emptied at the end.
            None keeps nothing.
        verbose: of Keras's progress bar.

    Raises:
        RunError: if what is kept in ``backup_dir`` cannot be read.
    """
    n_steps = epochs * batches.num_batches
    warmup = min(MAX_WARMUP_STEPS, n_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, n_steps - warmup, alpha=LAST_RATE, warmup_target=learning_rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=weight_decay,
        clipnorm=1.0,
        use_ema=True,
        ema_momentum=min(AVERAGE_MOMENTUM, max(0.0, 1 - 20 / n_steps)),
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    # Left to the first step, the optimizer's variables are made while that is traced, which takes a minute.
    optimizer.build(network.trainable_variables)
    network.compile(optimizer, loss)
    callbacks: list[keras.callbacks.Callback] = [EpochSetter(batches, seed)]
    if backup_dir is not None:
        callbacks.append(_Backup(backup_dir, double_checkpoint=True))
    # One call of fit: at the end of each, Keras replaces the weights by their running mean.
    network.fit(batches, epochs=epochs, shuffle=False, verbose=verbose, callbacks=callbacks)


class _Backup(keras.callbacks.BackupAndRestore):
    """Keras's own, which falls back to the epoch before if the last one was written by half."""

    def on_train_begin(self, logs=None):
        try:
            super().on_train_begin(logs)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{self.backup_dir}: what was kept of this training cannot be read ({error}). Delete the folder to "
                "begin it anew."
            ) from error


def categorical_loss(targets, logits):
    """Cross-entropy of targets ``(batch, n_classes)``, which need not sum to 1, with label smoothing."""
    smoothed = targets * (1 - LABEL_SMOOTHING) + ops.mean(targets, axis=-1, keepdims=True) * LABEL_SMOOTHING
    return -ops.sum(smoothed * ops.log_softmax(ops.cast(logits, "float32"), axis=-1), axis=-1)


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


def save_network(network: keras.Model, path: Path) -> None:
    """Saves a network without its optimizer and loss, under a temporary name first."""
    temporary = path.with_name(f"partial-{path.name}")
    network.save(temporary, include_optimizer=False)
    temporary.replace(path)


def save_weights(network: keras.Model, path: Path) -> list[np.ndarray]:
    """Saves and returns a network's weights, under a temporary name first."""
    weights = network.get_weights()
    temporary = path.with_name(f"partial-{path.name}")
    np.savez(temporary, *weights)
    temporary.replace(path)
    return weights


def load_weights(path: Path) -> list[np.ndarray]:
    """Returns what ``save_weights`` saved."""
    with np.load(path) as data:
        return [data[name] for name in data.files]
