"""Layers behind Whisper's unchanged blocks that learn emotions from few voices, for the accurate model.

What the blocks make of each window is computed once; the layers learn from that. Blocks that learn, too, are no better
on voices of other corpora: see docs/lab_notebook.md.
"""

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
BATCH_SIZE = 128
POOLED = "audio_scale"  # the layer behind which pooled statistics come in


@dataclass(frozen=True)
class WhisperChoices:
    """How the layers behind Whisper's blocks are trained.

    Attributes:
        vote_share: how much listeners' votes count beside the label.
    """

    head_epochs: int = 12
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.05
    vote_share: float = 0.5


def hear(bank: VoiceBank, config: RunConfig, arrays: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """Runs Whisper's blocks over a bank of log-mel windows, or finds the results in ``folder``.

    Returns:
        ``(n_windows, n_statistics)`` float16: mean and deviation of the blocks over voiced moments.
    """
    path = folder / "statistics.npy"
    if not path.is_file():
        make_folder(folder)
        with dtype_policy(fastest_policy()):
            network = whisper_cnn_3d.build_voice_network(config)
        set_whisper_weights(network, arrays)
        listener = keras.Model(network.input, network.get_layer(POOLED).input)
        with written_whole(path) as partial:
            file = np.lib.format.open_memmap(partial, "w+", np.float16, (len(bank), *listener.output.shape[1:]))
            for start in range(0, len(bank), N_AT_ONCE):
                rows = slice(start, start + N_AT_ONCE)
                result = listener.predict_on_batch({"audio": bank.inputs(rows)})
                file[rows] = np.clip(np.asarray(result, np.float32), -LARGEST_HALF, LARGEST_HALF)
            file.flush()
    return np.load(path, mmap_mode="r")


class HeardBatches(EpochBatches):
    """Batches of what was heard of chosen clips, one window of each an epoch: long clips count no more than short ones.

    Args:
        bank, heard: the windows, and what ``hear`` returned for them.
        chosen: indices of the clips.
        targets: ``(n_clips, n_classes)``, of each clip of the bank.
    """

    def __init__(self, bank: VoiceBank, heard: np.ndarray, chosen: np.ndarray, targets: np.ndarray, *, seed: int):
        super().__init__(chosen, batch_size=BATCH_SIZE, seed=seed)
        self._bank, self._heard, self._targets = bank, heard, targets

    def __getitem__(self, batch: int):
        rng = np.random.default_rng((self.seed, self.epoch, batch))
        rows = np.array([self._bank.draw_row(int(clip), rng) for clip in self.chosen(batch)])
        return np.asarray(self._heard[rows], np.float32), self._targets[self._bank.owners[rows]]


def train_whisper_network(
    bank: VoiceBank, heard: np.ndarray, chosen: np.ndarray, config: RunConfig, arrays: dict[str, np.ndarray],
    choices: WhisperChoices, *, seed: int, folder: Path, reporter: Reporter = SILENT,
) -> keras.Model:  # fmt: skip
    """Trains Whisper's part with an output of its own.

    Args:
        bank, heard: windows, and what ``hear`` returned for them.
        chosen: indices of the clips to learn from, all of known classes.
        config: of a ``whisper_cnn_3d``.
        arrays: Whisper's weights.
        folder: for the training.

    Returns:
        A float32 network from log-mel windows to logits ``(batch, n_classes)``.
    """
    keras.utils.set_random_seed(seed)
    with dtype_policy(fastest_policy()):
        network = whisper_cnn_3d.build_voice_network(config)
    set_whisper_weights(network, arrays)
    targets = balanced_targets(bank, chosen, config.class_names, choices.vote_share)
    head = keras.Model(network.get_layer(POOLED).input, network.output)
    fit_annealed(
        head, HeardBatches(bank, heard, chosen, targets, seed=seed), categorical_loss, epochs=choices.head_epochs,
        learning_rate=choices.head_learning_rate, weight_decay=choices.weight_decay, seed=seed, reporter=reporter,
        folder=folder / "head",
    )  # fmt: skip
    final = whisper_cnn_3d.build_voice_network(config)
    final.set_weights(network.get_weights())
    return final


def judge_heard(network: keras.Model, heard: np.ndarray) -> np.ndarray:
    """Returns a network's logits ``(n_windows, n_classes)`` for all windows that were heard."""
    head = keras.Model(network.get_layer(POOLED).input, network.output)
    parts = [
        np.asarray(head.predict_on_batch(np.asarray(heard[start : start + BATCH_SIZE], np.float32)))
        for start in range(0, len(heard), BATCH_SIZE)
    ]
    return np.concatenate(parts)
