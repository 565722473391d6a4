"""The accurate face branch: the teacher's own network, with a second head for photographs.

What the teacher learned from AffectNet decides for faces in motion. Photographs are judged as FER+'s raters did, by a
small network on the teacher's features: they call a face neutral far more often than AffectNet's.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.models import conversion, whisper_mobilenet
from emotion.training.generators import EpochBatches
from emotion.training.loop import fit_annealed
from emotion.training.recipes.face_branch import FERPLUS, build_label_loss, smooth, with_prior
from emotion.training.recipes.joining import Branch
from emotion.training.recipes.stills import LABEL_SETS, Stills
from emotion.training.recipes.teacher import Teacher


@dataclass(frozen=True)
class StillHeadChoices:
    """How the head for photographs is trained on the teacher's features.

    Attributes:
        prior_share: as ``FaceChoices.still_prior_share``.
    """

    epochs: int = 30
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.3
    batch_size: int = 128
    prior_share: float = 0.8


class FeatureBatches(EpochBatches):
    """Batches of the teacher's features, and all labels: ``(b, n_features)``, ``(b, n_label_sets * n_classes)``."""

    def __init__(self, stills: Stills, *, batch_size: int, seed: int):
        labelled = np.flatnonzero(stills.targets.any(axis=(1, 2)))
        super().__init__(labelled, batch_size=batch_size, seed=seed)
        self._features = stills.features
        self._targets = smooth(stills.targets).reshape(len(stills), -1)

    def __getitem__(self, batch: int):
        chosen = self.chosen(batch)
        return np.asarray(self._features[chosen], np.float32), self._targets[chosen]


def train_still_head(
    stills: Stills, n_units: int, choices: StillHeadChoices, folder: Path, *, seed: int, reporter: Reporter = SILENT
) -> keras.Model:
    """Trains a small network from the teacher's features to logits ``(batch, n_label_sets * n_classes)``."""
    keras.utils.set_random_seed(seed)
    features = keras.Input(stills.features.shape[1:])
    x = layers.Dropout(choices.dropout)(features)
    x = layers.Dense(n_units, activation="relu", name="still_features")(x)
    x = layers.Dropout(choices.dropout)(x)
    network = keras.Model(features, layers.Dense(stills.targets[0].size, name="heads")(x))
    fit_annealed(
        network, FeatureBatches(stills, batch_size=choices.batch_size, seed=seed), build_label_loss(stills.prior()),
        epochs=choices.epochs, learning_rate=choices.learning_rate, weight_decay=choices.weight_decay, seed=seed,
        folder=folder, reporter=reporter,
    )  # fmt: skip
    return network


def train_affectnet_branch(
    stills: Stills, config: RunConfig, teacher: Teacher, choices: StillHeadChoices, folder: Path, *, seed: int,
    reporter: Reporter = SILENT,
) -> Branch:  # fmt: skip
    """Makes the branch of a ``whisper_mobilenet`` whose ``still_units`` are not 0.

    Args:
        stills: with features and labels; their images are not needed.
    """
    network = whisper_mobilenet.build_face_network(config)
    conversion.set_mobilenet_weights(network, teacher.arrays, name=whisper_mobilenet.ENCODER)
    n_units = network.get_layer(whisper_mobilenet.STILL).units
    head = train_still_head(stills, n_units, choices, folder / "still_head", seed=seed, reporter=reporter)
    network.get_layer(whisper_mobilenet.STILL).set_weights(head.get_layer("still_features").get_weights())
    kernel, bias = teacher.decision()
    heads, biases = (
        each.reshape(*each.shape[:-1], len(LABEL_SETS), -1) for each in head.get_layer("heads").get_weights()
    )
    n_classes = len(config.class_names)
    # The features of both heads lie side by side; neither looks at those of the other.
    moving = np.concatenate([kernel, np.zeros((n_units, n_classes), np.float32)])
    still = np.concatenate([np.zeros_like(kernel), heads[:, FERPLUS]])
    still_bias = with_prior(biases[FERPLUS], stills.prior(), choices.prior_share)
    return Branch(network, moving, bias, still, still_bias)
