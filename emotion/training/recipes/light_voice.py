"""Training the light voice branch of the default model, with Whisper's branch as its teacher.

On the same windows as the teacher it learns three things at once: the labels, the teacher's answers (Hinton et al.
2015, "Distilling the knowledge in a neural network"), and what Whisper's unchanged blocks hear (hints, Romero et al.
2015). The last two need no labels.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.models import load_design
from emotion.models.fusion import branch_layers
from emotion.models.layers import dtype_policy
from emotion.training.loop import fastest_policy, fit_annealed
from emotion.training.recipes.voice_bank import BankBatches, VoiceBank, balanced_targets, categorical_loss


@dataclass(frozen=True)
class Tower:
    """One of the networks that stand beside each other in the light branch.

    Attributes:
        share: what its logits count.
        fold_epochs: instead of ``epochs`` for a network that is only tested, on speakers or corpora left out of it.
        corpora: it learns from these alone; from all if there are none.
    """

    share: float
    epochs: int
    fold_epochs: int
    corpora: tuple[str, ...] = ()


@dataclass(frozen=True)
class LightChoices:
    """How the light branch is trained.

    Attributes:
        towers: the second knows the voices of two corpora of acted speech better. Its share is the largest of those
            tried that costs less than a point of mean UAR on validation voices: see docs/lab_notebook.md.
        teacher_share: weight of the teacher's answer beside the label. Clips of no class have the teacher's alone.
        hint_weight: weight of the hints' squared error beside the cross-entropy.
        n_hints: principal components of Whisper's statistics to be guessed.
        vote_share: how much listeners' votes count beside the label.
    """

    towers: tuple[Tower, ...] = (Tower(0.7, 30, 10), Tower(0.3, 100, 50, ("ravdess", "emodb")))
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    batch_size: int = 32
    teacher_share: float = 0.3
    hint_weight: float = 1.0
    n_hints: int = 64
    vote_share: float = 0.5


@dataclass(frozen=True)
class Teaching:
    """What the teacher says of all windows of a bank.

    Attributes:
        probabilities: ``(n_windows, n_classes)``.
        statistics: ``(n_windows, n_statistics)``, what Whisper's unchanged blocks heard.
    """

    probabilities: np.ndarray
    statistics: np.ndarray


def train_light_network(
    bank: VoiceBank, chosen: np.ndarray, labelled: np.ndarray, config: RunConfig, choices: LightChoices,
    teaching: Teaching, *, epochs: int, seed: int, folder: Path, reporter: Reporter = SILENT,
) -> keras.Model:  # fmt: skip
    """Trains one tower of the audio branch of an architecture with an output of its own.

    Args:
        bank: windows as the architecture takes them.
        chosen: indices of the clips to learn from.
        labelled: indices of those whose labels count; of the others the teacher's answers do alone.
        teaching: of the same windows.

    Returns:
        A float32 network from windows to logits ``(batch, n_classes)``.
    """
    keras.utils.set_random_seed(seed)
    build_network = load_design(config.architecture).build_voice_network
    with dtype_policy(fastest_policy()):
        network = build_network(config)
    n_classes = len(config.class_names)
    targets = balanced_targets(bank, labelled, config.class_names, choices.vote_share)[bank.owners]
    weight = np.where(targets.any(axis=1), targets.sum(axis=1), 1.0)[:, None]
    share = np.where(targets.any(axis=1), choices.teacher_share, 1.0)[:, None]
    soft = targets * (1 - share) + teaching.probabilities * weight * share
    hints = compute_hints(teaching.statistics, bank.rows_of(chosen), choices.n_hints)
    features = network.get_layer("audio_features").output
    guesses = layers.Dense(choices.n_hints, dtype="float32", name="hints")(features)
    taught = keras.Model(network.input, layers.Concatenate(dtype="float32")([network.output, guesses]))
    batches = BankBatches(
        bank, chosen, np.concatenate([soft, hints], axis=1).astype(np.float32), batch_size=choices.batch_size, seed=seed
    )
    fit_annealed(
        taught, batches, _build_taught_loss(n_classes, choices.hint_weight), epochs=epochs,
        learning_rate=choices.learning_rate, weight_decay=choices.weight_decay, seed=seed, folder=folder,
        reporter=reporter,
    )  # fmt: skip
    final = build_network(config)
    for layer in [*branch_layers(network, "audio"), network.get_layer("logits")]:
        final.get_layer(layer.name).set_weights(layer.get_weights())
    return final


def compute_hints(statistics: np.ndarray, rows: np.ndarray, n_hints: int) -> np.ndarray:
    """Returns the first principal components of standardised statistics, each scaled to deviation 1.

    Args:
        statistics: ``(n_windows, n_statistics)``.
        rows: what mean, deviation and components are fitted on.

    Returns:
        ``(n_windows, n_hints)`` float32.
    """
    from sklearn.decomposition import PCA

    known = np.asarray(statistics[rows], np.float32)
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-3
    model = PCA(n_hints, whiten=True, svd_solver="randomized", random_state=0).fit((known - mean) / deviation)
    return model.transform((np.asarray(statistics, np.float32) - mean) / deviation).astype(np.float32)


def _build_taught_loss(n_classes: int, hint_weight: float):
    def loss(targets, outputs):
        outputs = ops.cast(outputs, "float32")
        squares = ops.mean(ops.square(targets[:, n_classes:] - outputs[:, n_classes:]), axis=-1)
        return categorical_loss(targets[:, :n_classes], outputs[:, :n_classes]) + hint_weight * squares

    return loss
