"""Joins a trained face branch and a trained voice branch, and finds how much each counts.

There are no recordings of one person's face and voice to learn from. The weights are fitted on pairs instead: a face
and a voice of the same emotion, of different people, and if possible of corpora that the voice branch never heard.
"""

from dataclasses import dataclass, replace

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.labels import class_index
from emotion.models import build_model
from emotion.models.calibration import SMALLEST_PROBABILITY, fit_temperature, softmax
from emotion.models.fusion import copy_branch
from emotion.training.calibrating import Answers
from emotion.training.fusion_weights import fit_weights
from emotion.training.recipes.new_corpora import gather_answers
from emotion.training.recipes.scoring import moving_face, pair_faces
from emotion.training.recipes.stills import Stills
from emotion.training.recipes.voice_bank import VoiceBank

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

    def shifted(self, index: int, offset: float) -> "Branch":
        """Returns the branch with ``offset`` taken off the logit of a class."""
        bias = self.bias.copy()
        bias[index] -= offset
        return replace(self, bias=bias)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns ``(n, n_classes)`` for features ``(n, n_features)`` of moving faces or of voices."""
        return features @ self.kernel + self.bias


def join_late(config: RunConfig, voice: Branch, face: Branch, weights: tuple[float, float]) -> keras.Model:
    """Builds a whole model that adds the branches' logits, each times a weight.

    Adding logits multiplies probabilities, which suits evidence that is independent given the emotion (Kittler et al.
    1998, "On combining classifiers"). A branch without evidence adds nothing.

    Args:
        config: with ``fusion_units`` 0, which joins the branches by one dense layer, and ``fusion_still``.
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


@dataclass(frozen=True)
class Joining:
    """How a voice and a face count together.

    Attributes:
        weights: of the voice's and the face's logits.
        temperature: of their weighted sum.
    """

    weights: tuple[float, float]
    temperature: float


def weigh_branches(
    voices: Answers, face: Branch, faces: Stills, config: RunConfig, *, n_faces: int = N_FACES, seed: int
) -> Joining:
    """Finds how a voice and a face count together, on pairs of which some have a neutral face.

    Args:
        voices: what was answered about clips that the answering branch did not learn from.
        faces: aligned faces that it did not learn from.
        n_faces: with which each voice is paired.
    """
    logits = [np.log(np.maximum(clip, SMALLEST_PROBABILITY)) for clip in voices.clips] * n_faces
    draws = [pair_faces(faces, voices.classes, seed=seed + 1 + repeat) for repeat in range(n_faces)]
    shown, classes = np.concatenate(draws), np.tile(voices.classes, n_faces)
    rng = np.random.default_rng(seed)
    is_blank = rng.random(len(shown)) < BLANK_FACES
    blank = np.full(int(is_blank.sum()), class_index(BLANK, config.class_names))
    shown[is_blank] = pair_faces(faces, blank, seed=seed)
    unique, places = np.unique(shown, return_inverse=True)
    of_faces = face.logits(face_features(face, faces, unique, config))
    # One face is shown with all windows of a voice.
    seen = [np.broadcast_to(of_faces[place], heard.shape) for place, heard in zip(places, logits, strict=True)]
    fitted = fit_weights(logits, seen, classes)
    weights = float(fitted[0, 0]), float(fitted[1, 0])
    joined = [softmax(weights[0] * heard + weights[1] * shown) for heard, shown in zip(logits, seen, strict=True)]
    return Joining(weights, fit_temperature(joined, classes))


def answer_windows(voice: Branch, bank: VoiceBank, chosen: np.ndarray, class_names: tuple[str, ...]) -> Answers:
    """Asks a voice branch about the plain windows of clips of a bank."""

    def ask(clip: int) -> np.ndarray:
        windows = bank.inputs(bank.rows_of(clip, plain=True))
        return softmax(np.asarray(voice.network.predict_on_batch({"audio": windows})))

    return gather_answers(bank, chosen, ask, class_names)


def face_features(face: Branch, faces: Stills, chosen: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns features ``(len(chosen), n_features)`` of faces set in motion."""
    network = keras.Model(face.network.input, face.network.get_layer("video_features").output)
    values = []
    for start in range(0, len(chosen), N_AT_ONCE):
        clips = [moving_face(faces, int(index), config) for index in chosen[start : start + N_AT_ONCE]]
        values.append(np.asarray(network.predict_on_batch(np.stack(clips))))
    return np.concatenate(values)
