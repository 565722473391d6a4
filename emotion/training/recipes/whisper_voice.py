"""Fine-tuning Whisper's encoder on few voices, for the accurate model.

What the unchanged blocks make of each window is computed once. First the layers behind them learn from that, then these
layers and all blocks above the first learn together, slowly.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.files import make_folder, written_whole
from emotion.models import whisper_cnn_3d
from emotion.models.half_precision import LARGEST_HALF
from emotion.models.layers import dtype_policy
from emotion.training.generators import EpochBatches
from emotion.training.loop import fastest_policy, fit_annealed
from emotion.training.recipes.voice_bank import VoiceBank, balanced_targets, categorical_loss
from emotion.training.recipes.whisper_weights import set_whisper_weights

N_AT_ONCE = 64
STATISTICS_AT_ONCE, WINDOWS_AT_ONCE = 128, 32  # in a step of training
# The layer behind which pooled statistics come in, and those that hand on what the first block says and where.
POOLED = "audio_scale"
FIRST_BLOCK, VOICED = "audio_whisper_block1_out", "audio_voiced"
# Steps hidden at a time, as in SpecAugment (Park et al. 2019), and the fewest that must stay: 20 ms each.
MAX_HIDDEN_STEPS, MIN_STEPS = 30, 15


@dataclass(frozen=True)
class WhisperChoices:
    """How Whisper's part is trained.

    Attributes:
        head_epochs, head_learning_rate: of the layers behind the unchanged blocks.
        epochs, learning_rate: of these layers and all blocks above the first together; no epochs leave the blocks as
            they are.
        weight_decay: of both.
        vote_share: how much listeners' votes count beside the label.
    """

    head_epochs: int = 12
    head_learning_rate: float = 1e-3
    epochs: int = 0
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    vote_share: float = 0.5


@dataclass(frozen=True)
class Heard:
    """What Whisper's unchanged blocks make of all windows of a bank, row by row.

    Attributes:
        steps: ``(n, n_steps, width)`` float16, what comes out of the first block.
        voiced: ``(n, n_steps, 1)`` bool.
        statistics: ``(n, n_statistics)`` float16, pooled.
    """

    steps: np.ndarray
    voiced: np.ndarray
    statistics: np.ndarray


def hear(bank: VoiceBank, config: RunConfig, arrays: dict[str, np.ndarray], folder: Path) -> Heard:
    """Runs Whisper's blocks over a bank of log-mel windows, or finds the results in ``folder``."""
    paths = [folder / f"{name}.npy" for name in ("steps", "voiced", "statistics")]
    if not all(path.is_file() for path in paths):
        make_folder(folder)
        with dtype_policy(fastest_policy()):
            network = whisper_cnn_3d.build_voice_network(config)
        set_whisper_weights(network, arrays)
        outputs = [network.get_layer(FIRST_BLOCK).output, network.get_layer(VOICED).output]
        listener = keras.Model(network.input, [*outputs, network.get_layer(POOLED).input])
        with contextlib.ExitStack() as stack:
            partial = [stack.enter_context(written_whole(path)) for path in paths]
            files = [
                np.lib.format.open_memmap(path, "w+", dtype, (len(bank), *output.shape[1:]))
                for path, dtype, output in zip(partial, (np.float16, bool, np.float16), listener.outputs, strict=True)
            ]
            for start in range(0, len(bank), N_AT_ONCE):
                rows = slice(start, start + N_AT_ONCE)
                results = listener.predict_on_batch({"audio": bank.inputs(rows)})
                for file, result in zip(files, results, strict=True):
                    file[rows] = np.clip(np.asarray(result, np.float32), -LARGEST_HALF, LARGEST_HALF)
            for file in files:
                file.flush()
    return Heard(*(np.load(path, mmap_mode="r") for path in paths))


class HeardBatches(EpochBatches):
    """Batches of what was heard of chosen clips, one window of each an epoch: long clips count no more than short ones.

    Args:
        bank, heard: the windows, and what was made of them.
        chosen: indices of the clips.
        targets: ``(n_clips, n_classes)``, of each clip of the bank.
        steps: whether to give the first block's steps, some of them hidden; else the statistics.
    """

    def __init__(
        self, bank: VoiceBank, heard: Heard, chosen: np.ndarray, targets: np.ndarray, *, steps: bool, batch_size: int,
        seed: int,
    ):  # fmt: skip
        super().__init__(chosen, batch_size=batch_size, seed=seed)
        self._bank, self._heard, self._targets, self._steps = bank, heard, targets, steps

    def __getitem__(self, batch: int):
        rng = np.random.default_rng((self.seed, self.epoch, batch))
        rows = np.array([self._bank.draw_row(int(clip), rng) for clip in self.chosen(batch)])
        targets = self._targets[self._bank.owners[rows]]
        if self._steps:
            voiced = np.stack([hide_steps(np.asarray(self._heard.voiced[row]), rng) for row in rows])
            return (np.stack([self._heard.steps[row] for row in rows]).astype(np.float32), voiced), targets
        return np.asarray(self._heard.statistics[rows], np.float32), targets


def hide_steps(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Takes a stretch of steps out of what is pooled, ``(n_steps, 1)`` bool to float32, if enough of them stay."""
    length = int(rng.integers(0, MAX_HIDDEN_STEPS + 1))
    start = int(rng.integers(0, max(1, len(voiced) - length)))
    fewer = voiced.copy()
    fewer[start : start + length] = False
    return (fewer if fewer.sum() >= MIN_STEPS else voiced).astype(np.float32)


def train_whisper_network(
    bank: VoiceBank, heard: Heard, chosen: np.ndarray, config: RunConfig, arrays: dict[str, np.ndarray],
    choices: WhisperChoices, *, seed: int, folder: Path, reporter: Reporter = SILENT,
) -> keras.Model:  # fmt: skip
    """Trains Whisper's part with an output of its own.

    Args:
        bank, heard: windows, and what the unchanged blocks make of them.
        chosen: indices of the clips to learn from, all of known classes.
        config: of a ``whisper_cnn_3d``.
        arrays: Whisper's weights.
        folder: for the two trainings.

    Returns:
        A float32 network from log-mel windows to logits ``(batch, n_classes)``.
    """
    keras.utils.set_random_seed(seed)
    with dtype_policy(fastest_policy()):
        network = whisper_cnn_3d.build_voice_network(config)
    set_whisper_weights(network, arrays)
    targets = balanced_targets(bank, chosen, config.class_names, choices.vote_share)
    options = {"weight_decay": choices.weight_decay, "seed": seed, "reporter": reporter}
    head = keras.Model(network.get_layer(POOLED).input, network.output)
    batches = HeardBatches(bank, heard, chosen, targets, steps=False, batch_size=STATISTICS_AT_ONCE, seed=seed)
    fit_annealed(
        head, batches, categorical_loss, epochs=choices.head_epochs, learning_rate=choices.head_learning_rate,
        folder=folder / "head", **options,
    )  # fmt: skip
    if choices.epochs:
        # Its statistics come from many more windows than a batch of the next training holds.
        network.get_layer(POOLED).trainable = False
        batches = HeardBatches(bank, heard, chosen, targets, steps=True, batch_size=WINDOWS_AT_ONCE, seed=seed)
        fit_annealed(
            tail_network(network), batches, categorical_loss, epochs=choices.epochs,
            learning_rate=choices.learning_rate, folder=folder / "blocks", **options,
        )  # fmt: skip
    final = whisper_cnn_3d.build_voice_network(config)
    final.set_weights(network.get_weights())
    return final


def tail_network(network: keras.Model, *layer_names: str) -> keras.Model:
    """What comes behind Whisper's first block: from steps, and which of them are voiced, to the output of layers."""
    inputs = [network.get_layer(FIRST_BLOCK).output, network.get_layer(VOICED).output]
    outputs = [network.get_layer(name).output for name in layer_names]
    return keras.Model(inputs, outputs or network.output)


def predict_heard(network: keras.Model, heard: Heard, *layer_names: str) -> list[np.ndarray]:
    """Returns the outputs ``(n_windows, n)`` of a network's layers for all windows that were heard."""
    tail, parts = tail_network(network, *layer_names), []
    for start in range(0, len(heard.statistics), N_AT_ONCE):
        rows = slice(start, start + N_AT_ONCE)
        inputs = [np.asarray(array[rows], np.float32) for array in (heard.steps, heard.voiced)]
        parts.append([np.asarray(output) for output in tail.predict_on_batch(inputs)])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def describe_heard(network: keras.Model, heard: Heard, *, unchanged: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns a network's pooled statistics and logits, ``(n_windows, n)`` each, for all windows that were heard.

    Args:
        unchanged: whether its blocks are Whisper's own, whose statistics are known.
    """
    if not unchanged:
        statistics, logits = predict_heard(network, heard, "audio_vector", "logits")
        return statistics, logits
    head = keras.Model(network.get_layer(POOLED).input, network.output)
    logits = [
        np.asarray(head.predict_on_batch(np.asarray(heard.statistics[start : start + STATISTICS_AT_ONCE], np.float32)))
        for start in range(0, len(heard.statistics), STATISTICS_AT_ONCE)
    ]
    return heard.statistics, np.concatenate(logits)
