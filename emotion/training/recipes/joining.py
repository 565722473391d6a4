"""Joins a trained face branch and a trained voice branch, and finds how much each counts.

There are no recordings of one person's face and voice to learn from. The weights are fitted on pairs instead: a face
and a voice of the same emotion, of different people.
"""

from dataclasses import dataclass

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.labels import class_index
from emotion.models import build_model
from emotion.models.fusion import copy_branch
from emotion.training.fusion_weights import fit_weights
from emotion.training.recipes.scoring import moving_face, pair_faces
from emotion.training.recipes.stills import Stills
from emotion.training.recipes.voices import VoiceBank

N_FACES = 5  # with which each voice is paired
# Share of these faces that are neutral whatever the voice says: people who speak with feeling often look neutral to
# those who rate photographs. If face and voice always agreed, the face would count twice as much and overrule a clear
# voice.
BLANK_FACES = 0.3
BLANK = "neutral"
N_AT_ONCE = 32


@dataclass(frozen=True)
class Branch:
    """A branch trained alone: its network, and the layer that turns its features into logits.

    Attributes:
        network: whose layers are copied by name.
        kernel, bias: ``(n_features, n_classes)`` and ``(n_classes,)``.
        still_kernel, still_bias: the same for photographs; None for a voice.
    """

    network: keras.Model
    kernel: np.ndarray
    bias: np.ndarray
    still_kernel: np.ndarray | None = None
    still_bias: np.ndarray | None = None

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns ``(n, n_classes)`` for features ``(n, n_features)`` of moving faces or of voices."""
        return features @ self.kernel + self.bias


def join_late(config: RunConfig, voice: Branch, face: Branch, weights: tuple[float, float]) -> keras.Model:
    """Builds a whole model that adds the branches' logits, each times a weight.

    Adding logits multiplies probabilities, which suits evidence that is independent given the emotion (Kittler et al.
    1998, "On combining classifiers"). A branch without evidence adds nothing.

    Args:
        config: with ``fusion_units`` 0, which joins the branches by one dense layer, and ``fusion_still``.
        voice, face: the branches.
        weights: of the voice's and the face's logits.
    """
    model = build_model(config)
    copy_branch(voice.network, model, "audio")
    copy_branch(face.network, model, "video")
    # Behind the features stand the presences, 1 or 0, so that a branch's bias comes and goes with its evidence.
    kernel = np.concatenate([
        weights[0] * voice.kernel, weights[1] * face.kernel, weights[1] * face.still_kernel,
        weights[0] * voice.bias[None], weights[1] * face.bias[None], weights[1] * (face.still_bias - face.bias)[None],
    ])  # fmt: skip
    model.get_layer("logits").set_weights([kernel, np.zeros(kernel.shape[1], np.float32)])
    return model


def weigh_branches(
    voice: Branch, face: Branch, faces: Stills, bank: VoiceBank, chosen: np.ndarray, config: RunConfig, *, seed: int
) -> tuple[float, float]:
    """Finds the weights of the voice's and the face's logits, on pairs of which some have a neutral face.

    Args:
        voice, face: the branches.
        faces: aligned faces that neither learned from.
        bank: windows as the voice branch takes them.
        chosen: indices of clips it did not learn from.
        config: of the model.
        seed: of the pairs.
    """
    classes = bank.classes(config.class_names)[chosen]
    voices = [voice_logits(voice, bank, clip) for clip in chosen] * N_FACES
    shown = np.concatenate([pair_faces(faces, classes, seed=seed + 1 + repeat) for repeat in range(N_FACES)])
    rng = np.random.default_rng(seed)
    is_blank = rng.random(len(shown)) < BLANK_FACES
    blank = np.full(int(is_blank.sum()), class_index(BLANK, config.class_names))
    shown[is_blank] = pair_faces(faces, blank, seed=seed)
    unique, places = np.unique(shown, return_inverse=True)
    logits = face.logits(face_features(face, faces, unique, config))
    # One face is shown with all windows of a voice.
    seen = [np.broadcast_to(logits[place], heard.shape) for place, heard in zip(places, voices, strict=True)]
    weights = fit_weights(voices, seen, np.tile(classes, N_FACES))
    return float(weights[0, 0]), float(weights[1, 0])


def voice_logits(voice: Branch, bank: VoiceBank, clip: int) -> np.ndarray:
    """Returns ``(n_windows, n_classes)`` for the plain windows of a clip of the bank."""
    windows = bank.inputs(bank.rows_of(clip, plain=True))
    return np.asarray(voice.network.predict_on_batch({"audio": windows}))


def face_features(face: Branch, faces: Stills, chosen: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns features ``(len(chosen), n_features)`` of faces set in motion."""
    network = keras.Model(face.network.input, face.network.get_layer("video_features").output)
    values = []
    for start in range(0, len(chosen), N_AT_ONCE):
        clips = [moving_face(faces, int(index), config) for index in chosen[start : start + N_AT_ONCE]]
        values.append(np.asarray(network.predict_on_batch(np.stack(clips))))
    return np.concatenate(values)
