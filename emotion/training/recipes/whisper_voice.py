"""Training Whisper's part of the accurate design on few voices.

What the unchanged blocks make of each window is computed once. First the layers behind them learn from that, then they
and the blocks above the first learn together, slowly.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.models import whisper_cnn_3d
from emotion.models.layers import dtype_policy
from emotion.training.recipes.fitting import categorical_loss, fastest_policy, fit, load_weights, save_weights
from emotion.training.recipes.voices import PLAIN_CHANCE, VoiceBank
from emotion.training.recipes.whisper_weights import set_whisper_weights

N_AT_ONCE = 64
STATISTICS_AT_ONCE, WINDOWS_AT_ONCE = 128, 32  # in a step of training
LARGEST_HALF = 65504.0
# The layer behind which pooled statistics come in, and those that hand on what the first block says and where.
POOLED = "audio_scale"
FIRST_BLOCK, VOICED = "audio_whisper_block1_out", "audio_voiced"
# Steps hidden at a time, as in SpecAugment (Park et al. 2019), and the fewest that must stay: 20 ms each.
MAX_HIDDEN_STEPS, MIN_STEPS = 30, 15


@dataclass(frozen=True)
class WhisperChoices:
    """How Whisper's part is trained.

    Attributes:
        head_epochs, head_learning_rate, head_mixup: of the layers behind the unchanged blocks.
        epochs, learning_rate: of these layers and all blocks above the first together; 0 epochs leave the blocks alone.
        weight_decay: of both.
    """

    head_epochs: int = 12
    head_learning_rate: float = 1e-3
    head_mixup: float = 0.0
    epochs: int = 10
    learning_rate: float = 1e-4
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Heard:
    """What Whisper's unchanged blocks make of all windows of a bank, in the order of ``VoiceBank.window``.

    Attributes:
        steps: ``(n, n_steps, width)`` float16, what comes out of the first block.
        voiced: ``(n, n_steps, 1)`` bool.
        statistics: ``(n, n_statistics)`` float16, pooled.
    """

    steps: np.ndarray
    voiced: np.ndarray
    statistics: np.ndarray


def hear(bank: VoiceBank, config: RunConfig, arrays: dict[str, np.ndarray], folder: Path) -> Heard:
    """Runs Whisper's blocks over a bank, or finds what they said in a folder.

    Args:
        bank: log-mel windows.
        config: of a ``whisper_cnn_3d``.
        arrays: Whisper's weights.
        folder: where the results are kept.
    """
    paths = [folder / f"{name}.npy" for name in ("steps", "voiced", "statistics")]
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        with dtype_policy(fastest_policy()):
            network = whisper_cnn_3d.build_voice_network(config)
        set_whisper_weights(network, arrays)
        outputs = [network.get_layer(FIRST_BLOCK).output, network.get_layer(VOICED).output]
        listener = keras.Model(network.input, [*outputs, network.get_layer(POOLED).input])
        partial = [path.with_name(f"partial-{path.name}") for path in paths]
        files = [
            np.lib.format.open_memmap(path, "w+", dtype, (bank.n_windows, *output.shape[1:]))
            for path, dtype, output in zip(partial, (np.float16, bool, np.float16), listener.outputs, strict=True)
        ]
        for start in range(0, bank.n_windows, N_AT_ONCE):
            rows = range(start, min(start + N_AT_ONCE, bank.n_windows))
            windows = np.stack([bank.window(row) for row in rows])
            for file, result in zip(files, listener.predict_on_batch({"audio": windows}), strict=True):
                file[start : rows.stop] = np.clip(np.asarray(result, np.float32), -LARGEST_HALF, LARGEST_HALF)
        for file, path, final in zip(files, partial, paths, strict=True):
            file.flush()
            path.replace(final)
    return Heard(*(np.load(path, mmap_mode="r") for path in paths))


class HeardBatches(keras.utils.PyDataset):
    """Batches of what was heard of chosen clips.

    Args:
        bank: the windows.
        heard: what was made of them.
        chosen: indices of the clips.
        targets: ``(n_clips, n_classes)``, of each clip of the bank.
        steps: whether to give the first block's steps, one window a clip and epoch, some of the steps hidden; else the
            statistics of all windows, mixed two by two.
        mixup: see ``BankBatches``.
        batch_size, seed: as their names say.
    """

    def __init__(
        self, bank: VoiceBank, heard: Heard, chosen: np.ndarray, targets: np.ndarray, *, steps: bool, mixup: float,
        batch_size: int, seed: int,
    ):  # fmt: skip
        super().__init__(workers=2, max_queue_size=8)
        self._bank, self._heard, self._chosen, self._targets = bank, heard, np.asarray(chosen), targets
        self._steps, self._mixup, self._batch_size, self._seed = steps, mixup, batch_size, seed
        self._rows = bank.rows_of(self._chosen)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Moves on to an epoch's order and draws."""
        self._epoch = epoch
        rng = np.random.default_rng((self._seed, epoch))
        if self._steps:
            self._order = [self._bank.draw_row(int(clip), rng, PLAIN_CHANCE) for clip in rng.permutation(self._chosen)]
        else:
            self._order = rng.permutation(self._rows)

    @property
    def num_batches(self) -> int:
        return max(1, (len(self._chosen) if self._steps else len(self._rows)) // self._batch_size)

    def __getitem__(self, batch: int):
        rng = np.random.default_rng((self._seed, self._epoch, batch))
        rows = np.asarray(self._order[batch * self._batch_size : (batch + 1) * self._batch_size])
        targets = self._targets[self._bank.clip_of(rows)]
        if self._steps:
            voiced = np.stack([hide_steps(np.asarray(self._heard.voiced[row]), rng) for row in rows])
            return (np.stack([self._heard.steps[row] for row in rows]).astype(np.float32), voiced), targets
        statistics = np.asarray(self._heard.statistics[rows], np.float32)
        if self._mixup:
            shares = rng.beta(self._mixup, self._mixup, size=(len(rows), 1)).astype(np.float32)
            statistics = statistics * shares + statistics[::-1] * (1 - shares)
            targets = targets * shares + targets[::-1] * (1 - shares)
        return statistics, targets


def hide_steps(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Takes a stretch of steps out of what is pooled, ``(n_steps, 1)`` bool to float32, if enough of them stay."""
    length = int(rng.integers(0, MAX_HIDDEN_STEPS + 1))
    start = int(rng.integers(0, max(1, len(voiced) - length)))
    fewer = voiced.copy()
    fewer[start : start + length] = False
    return (fewer if fewer.sum() >= MIN_STEPS else voiced).astype(np.float32)


def train_whisper_network(
    bank: VoiceBank, heard: Heard, chosen: np.ndarray, config: RunConfig, arrays: dict[str, np.ndarray],
    choices: WhisperChoices, *, seed: int, backup_dir: Path | None = None, verbose: int = 0,
) -> keras.Model:  # fmt: skip
    """Trains Whisper's part with an output of its own.

    Args:
        bank, heard: windows, and what the unchanged blocks make of them.
        chosen: indices of the clips to learn from, all of known classes.
        config: of a ``whisper_cnn_3d``.
        arrays: Whisper's weights.
        choices: how to train.
        seed: of weights and draws.
        backup_dir: where a training that was stopped goes on; see ``fit``.
        verbose: of Keras's progress bars.

    Returns:
        A float32 network from log-mel windows to logits ``(batch, n_classes)``.
    """
    keras.utils.set_random_seed(seed)
    with dtype_policy(fastest_policy()):
        network = whisper_cnn_3d.build_voice_network(config)
    set_whisper_weights(network, arrays)
    targets = balanced_targets(bank.classes(config.class_names), chosen, len(config.class_names))
    options = {"weight_decay": choices.weight_decay, "seed": seed, "verbose": verbose}
    head = keras.Model(network.get_layer(POOLED).input, network.output)
    batches = HeardBatches(
        bank, heard, chosen, targets, steps=False, mixup=choices.head_mixup, batch_size=STATISTICS_AT_ONCE, seed=seed
    )
    kept = backup_dir / "head.weights.npz" if backup_dir else None
    if kept and kept.is_file():
        network.set_weights(load_weights(kept))
    else:
        fit(
            head, batches, categorical_loss, epochs=choices.head_epochs, learning_rate=choices.head_learning_rate,
            backup_dir=backup_dir / "head" if backup_dir else None, **options,
        )  # fmt: skip
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            save_weights(network, kept)
    if choices.epochs:
        # The scale was learned from many more windows than a batch holds.
        network.get_layer(POOLED).trainable = False
        tail = tail_network(network)
        batches = HeardBatches(
            bank, heard, chosen, targets, steps=True, mixup=0.0, batch_size=WINDOWS_AT_ONCE, seed=seed
        )
        fit(
            tail, batches, categorical_loss, epochs=choices.epochs, learning_rate=choices.learning_rate,
            backup_dir=backup_dir / "tail" if backup_dir else None, **options,
        )  # fmt: skip
    final = whisper_cnn_3d.build_voice_network(config)
    final.set_weights(network.get_weights())
    return final


def tail_network(network: keras.Model) -> keras.Model:
    """What comes behind Whisper's first block: steps and which of them are voiced, to the network's output."""
    return keras.Model([network.get_layer(FIRST_BLOCK).output, network.get_layer(VOICED).output], network.output)


def balanced_targets(classes: np.ndarray, chosen: np.ndarray, n_classes: int) -> np.ndarray:
    """One-hot targets ``(n_clips, n_classes)``, scaled so that among the chosen clips every class counts the same.

    Clips of no class, marked by -1, get zeros.
    """
    counts = np.bincount(classes[chosen], minlength=n_classes)
    weights = counts.sum() / (n_classes * np.maximum(counts, 1))
    targets = np.zeros((len(classes), n_classes), np.float32)
    known = np.flatnonzero(classes >= 0)
    targets[known, classes[known]] = weights[classes[known]]
    return targets


def predict_heard(network: keras.Model, heard: Heard, rows: np.ndarray) -> np.ndarray:
    """Returns a network's logits ``(len(rows), n_classes)`` for windows that were heard."""
    tail = tail_network(network)
    logits = [
        np.asarray(tail.predict_on_batch([
            np.asarray(heard.steps[part], np.float32), np.asarray(heard.voiced[part], np.float32)
        ]))
        for part in np.array_split(rows, max(1, len(rows) // N_AT_ONCE))
    ]  # fmt: skip
    return np.concatenate(logits)
