"""How much a voice branch and a face branch count beside each other, by pairs on validation data."""

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.labels import class_index
from emotion.training.recipes.joining import Branch, fit_late_weights
from emotion.training.recipes.scoring import moving_face, pair_faces
from emotion.training.recipes.stills import Stills
from emotion.training.recipes.voices import VoiceBank

N_FACES = 5  # with which each voice is paired
# Of these faces so many show nothing, whatever is heard: people who speak with feeling often look as if they did not,
# at least to raters of photographs. On faces that always agree with the voice the face would come to count twice as
# much, and overrule a voice that is clear.
BLANK_FACES = 0.3
BLANK = "neutral"
N_AT_ONCE = 32


def weigh_branches(
    voice: Branch, face: Branch, faces: Stills, bank: VoiceBank, chosen: np.ndarray, config: RunConfig, *, seed: int
) -> tuple[float, float]:
    """Finds the weights of the branches' logits, on pairs of which some have a face that shows nothing.

    Args:
        voice, face: the branches.
        faces: aligned faces that neither learned from.
        bank: windows as the voice branch takes them.
        chosen: indices of clips it did not learn from.
        config: of the model.
        seed: of the pairs.
    """
    classes = bank.classes(config.class_names)[chosen]
    voices = [voice_logits(voice, bank, clip) for clip in chosen]
    shown = np.concatenate([pair_faces(faces, classes, seed=seed + 1 + repeat) for repeat in range(N_FACES)])
    rng = np.random.default_rng(seed)
    is_blank = rng.random(len(shown)) < BLANK_FACES
    blank = np.full(int(is_blank.sum()), class_index(BLANK, config.class_names))
    shown[is_blank] = pair_faces(faces, blank, seed=seed)
    unique, places = np.unique(shown, return_inverse=True)
    logits = face.logits(face_features(face, faces, unique, config))
    return fit_late_weights(voices * N_FACES, logits[places], np.tile(classes, N_FACES))


def voice_logits(voice: Branch, bank: VoiceBank, clip: int) -> np.ndarray:
    """Returns ``(n_windows, n_classes)`` for the plain windows of a clip of the bank."""
    windows = np.stack([bank.window(row) for row in bank.plain_rows_of(np.array([clip]))])
    return np.asarray(voice.network.predict_on_batch({"audio": windows}))


def face_features(face: Branch, faces: Stills, chosen: np.ndarray, config: RunConfig) -> np.ndarray:
    """Returns features ``(len(chosen), n_features)`` of faces set in motion."""
    network = keras.Model(face.network.input, face.network.get_layer("video_features").output)
    values = []
    for start in range(0, len(chosen), N_AT_ONCE):
        clips = [moving_face(faces, int(index), config) for index in chosen[start : start + N_AT_ONCE]]
        values.append(np.asarray(network.predict_on_batch(np.stack(clips))))
    return np.concatenate(values)
