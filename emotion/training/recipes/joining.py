"""Joining a trained face branch and a trained voice branch.

No face and voice of one person together are at hand, so both ways of joining learn from pairs: a face and a voice of
the same emotion, of different people. Such pairs are independent given the emotion, which is just what late fusion
assumes; the joint layers are free to find more, or to believe too much.
"""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import minimize

from emotion.config import RunConfig
from emotion.models import build_model
from emotion.models.calibration import softmax
from emotion.models.fusion import classifier, copy_branch
from emotion.training.recipes.fitting import categorical_loss
from emotion.windows import merge_probabilities

BATCH_SIZE = 128
# Of the examples shown to the joint layers, these shares have a face alone and a voice alone.
FACE_ALONE, VOICE_ALONE = 0.3, 0.3


@dataclass(frozen=True)
class Features:
    """Features ``(n, n_features)`` of a branch, and the class index of each row ``(n,)``."""

    values: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Branch:
    """What is taken over from a branch trained alone: the network, and the layer that turns its features into logits.

    Attributes:
        network: whose layers are copied by name.
        kernel, bias: ``(n_features, n_classes)`` and ``(n_classes,)``.
        still_bias: ``(n_classes,)`` added for photographs; None for none.
    """

    network: keras.Model
    kernel: np.ndarray
    bias: np.ndarray
    still_bias: np.ndarray | None = None

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns ``(n, n_classes)`` for features ``(n, n_features)`` of what is no photograph."""
        return features @ self.kernel + self.bias


def join_late(config: RunConfig, voice: Branch, face: Branch, weights: tuple[float, float]) -> keras.Model:
    """Builds a whole model that adds the branches' logits, each times a weight.

    A logit is, but for a constant, the logarithm of a probability: so probabilities are multiplied, as for evidence
    that is independent given the emotion (Kittler et al. 1998, "On combining classifiers"). A branch without evidence
    adds nothing.

    Args:
        config: with ``fusion_units`` 0, which joins the branches by one dense layer, and ``fusion_still`` where the
            face has a ``still_bias``.
        voice, face: the branches.
        weights: of the voice's and the face's logits.
    """
    model = build_model(config)
    copy_branch(voice.network, model, "audio")
    copy_branch(face.network, model, "video")
    # The features are followed by the two presences, 1 or 0; a branch's bias must come and go with its evidence.
    rows = [weights[0] * voice.kernel, weights[1] * face.kernel, weights[0] * voice.bias[None]]
    rows.append(weights[1] * face.bias[None])
    if face.still_bias is not None:
        rows.append(weights[1] * face.still_bias[None])
    kernel = np.concatenate(rows)
    model.get_layer("logits").set_weights([kernel, np.zeros(kernel.shape[1], np.float32)])
    return model


def fit_late_weights(
    voice_clips: list[np.ndarray], face_logits: np.ndarray, classes: np.ndarray
) -> tuple[float, float]:
    """Finds how much the logits of voice and face count in a pair.

    Args:
        voice_clips: for each pair the voice's logits, ``(n_windows, n_classes)``.
        face_logits: ``(n, n_classes)``, of the face that is shown with all of the windows.
        classes: ``(n,)`` true class indices.

    Returns:
        The weights under which the pairs' answers, the means over their windows, are least surprised by the truth.
    """

    def loss(weights: np.ndarray) -> float:
        answers = answer_pairs(voice_clips, face_logits, (weights[0], weights[1]))
        return float(-np.mean(np.log(np.maximum(answers[np.arange(len(classes)), classes], 1e-12))))

    found = minimize(loss, [0.5, 0.5], method="Nelder-Mead", bounds=[(0.01, 5.0)] * 2, options={"xatol": 1e-3})
    return float(found.x[0]), float(found.x[1])


def answer_pairs(voice_clips: list[np.ndarray], face_logits: np.ndarray, weights: tuple[float, float]) -> np.ndarray:
    """Returns the late fusion's answers ``(n, n_classes)``; arguments as for ``fit_late_weights``."""
    return np.stack([
        merge_probabilities(softmax(weights[0] * voice + weights[1] * face))
        for voice, face in zip(voice_clips, face_logits, strict=True)
    ])  # fmt: skip


def join_jointly(
    config: RunConfig, voice: Branch, face: Branch, voices: Features, faces: Features, *, n_steps: int,
    learning_rate: float, swapped: float, seed: int,
) -> keras.Model:  # fmt: skip
    """Builds a whole model whose joining layers learn from pairs; the branches stay as they are.

    Args:
        config: with the ``fusion_units`` of the joining layers.
        voice, face: the branches.
        voices, faces: features to draw pairs from.
        n_steps, learning_rate: of the joining layers.
        swapped: share of the pairs whose voice is of any emotion. A branch recognises the voices it learned from far
            better than new ones; without such swaps the joining layers would trust a stranger's voice as much.
        seed: of weights and draws.
    """
    model = build_model(config)
    copy_branch(voice.network, model, "audio")
    copy_branch(face.network, model, "video")
    keras.utils.set_random_seed(seed)
    n_classes = len(config.class_names)
    joined = keras.Input(model.get_layer("fusion").output.shape[1:])
    settings = {name: config.model[name] for name in ("fusion_units", "fusion_dropout")}
    head = keras.Model(joined, classifier(joined, n_classes, settings))
    trained = keras.Model(joined, head.get_layer("logits").output)
    steps = keras.optimizers.schedules.CosineDecay(learning_rate, n_steps)
    trained.compile(keras.optimizers.AdamW(steps, weight_decay=1e-3), categorical_loss)
    rng = np.random.default_rng(seed)
    for _ in range(n_steps):
        trained.train_on_batch(*_draw_pairs(voices, faces, n_classes, swapped, rng))
    for layer in head.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _draw_pairs(voices: Features, faces: Features, n_classes: int, swapped: float, rng: np.random.Generator):
    """A batch for the joining layers: features with presences ``(b, n)``, and one-hot targets ``(b, n_classes)``."""
    classes = rng.integers(n_classes, size=BATCH_SIZE)
    draw = rng.random((BATCH_SIZE, 1))
    is_pair = (draw[:, 0] >= VOICE_ALONE) & (draw[:, 0] < 1 - FACE_ALONE)
    is_swapped = is_pair & (rng.random(BATCH_SIZE) < swapped)
    heard = np.where(is_swapped, rng.integers(n_classes, size=BATCH_SIZE), classes)
    face = _draw_of_classes(faces, classes, rng)
    voice = _draw_of_classes(voices, heard, rng)
    has_face = (draw >= VOICE_ALONE).astype(np.float32)
    has_voice = (draw < 1 - FACE_ALONE).astype(np.float32)
    # In the order of the whole model: sound first.
    joined = np.concatenate([voice * has_voice, face * has_face, has_voice, has_face], axis=1)
    return joined, np.eye(n_classes, dtype=np.float32)[classes]


def _draw_of_classes(features: Features, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([features.values[rng.choice(np.flatnonzero(features.classes == c))] for c in classes])
