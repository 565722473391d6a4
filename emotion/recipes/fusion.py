"""Joining a trained face branch and a trained voice branch by pairs of the same emotion.

The branches stay as they are, so their features are computed once and the dense layers behind them learn in seconds.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from emotion.cache import ClipCache
from emotion.config import RunConfig
from emotion.datasets.clips import Clip
from emotion.faces.augmentation import animate_still
from emotion.generators import ClipWindows, clip_windows
from emotion.labels import class_index
from emotion.models import mfcc_cnn_3d
from emotion.preprocessing import Preprocessor
from emotion.recipes.branches import LABEL_SMOOTHING
from emotion.recipes.stills import Stills
from emotion.scores import bootstrap_intervals, compute_confusion_matrix, compute_scores
from emotion.windows import merge_probabilities

BATCH_SIZE = 128
# Of the examples shown to the joining layers, these shares have a face alone and a voice alone.
FACE_ALONE, VOICE_ALONE = 0.3, 0.3
N_PAIRS_PER_CLASS = 100


@dataclass(frozen=True)
class Features:
    """Features ``(n, n_features)`` of a branch, and the class index of each row ``(n,)``."""

    values: np.ndarray
    classes: np.ndarray


def compute_face_features(network: keras.Model, stills: Stills, n: int, config: RunConfig, *, seed: int) -> Features:
    """Features of animated stills, as many of each class as there are, up to an even share of ``n``.

    A still's class is the most probable one of its target.
    """
    rng = np.random.default_rng(seed)
    classes = stills.targets.argmax(axis=1)
    chosen = [
        rng.permutation(np.flatnonzero(classes == index))[: n // len(config.class_names)]
        for index in range(len(config.class_names))
    ]
    chosen = np.concatenate(chosen)
    branch = _branch(network, "video_features")
    values = []
    for start in range(0, len(chosen), 32):
        clips = np.stack(
            [
                animate_still(stills.images[i], config.video.n_frames, np.random.default_rng((seed, int(i))))
                for i in chosen[start : start + 32]
            ]
        )
        values.append(np.asarray(branch(np.repeat(clips[..., None], 3, axis=-1), training=False)))
    return Features(np.concatenate(values), classes[chosen])


def compute_voice_features(network: keras.Model, windows: ClipWindows, n_passes: int) -> Features:
    """Features of several augmented passes over the training voices."""
    branch = _branch(network, "audio_features")
    values, classes = [], []
    for epoch in range(n_passes):
        # Far from the epochs that the branch was trained on, so that the draws are other ones.
        windows.set_epoch(1_000_000 + epoch)
        for batch in range(windows.num_batches):
            inputs, class_indices, _ = windows[batch]
            values.append(np.asarray(branch(inputs, training=False)))
            classes.append(class_indices)
    return Features(np.concatenate(values), np.concatenate(classes))


def train_fusion(
    model: keras.Model,
    faces: Features,
    voices: Features,
    *,
    clip_network: keras.Model,
    voice_network: keras.Model,
    n_steps: int,
    learning_rate: float,
    swapped: float,
    seed: int,
) -> None:
    """Puts trained branches into a whole model and trains the layers that join them; changes ``model`` in place.

    Args:
        model: from ``build_model``.
        faces, voices: features to draw pairs from.
        clip_network, voice_network: the trained branches.
        n_steps, learning_rate: of the joining layers.
        swapped: share of the pairs whose voice is of any emotion. The branch recognises the voices it learned from far
            better than new ones; without such swaps the joining layers would trust a stranger's voice as much.
        seed: of weights and draws.
    """
    mfcc_cnn_3d.copy_branch(clip_network, model, "video")
    mfcc_cnn_3d.copy_branch(voice_network, model, "audio")
    keras.utils.set_random_seed(seed)
    joined_shape = model.get_layer("fusion").output.shape[1:]
    joined = keras.Input(joined_shape)
    n_classes = model.output_shape[-1]
    head = keras.Model(joined, mfcc_cnn_3d.classifier(joined, n_classes, mfcc_cnn_3d.default_config()))
    steps = keras.optimizers.schedules.CosineDecay(learning_rate, n_steps)
    head.compile(
        keras.optimizers.AdamW(steps, weight_decay=1e-3),
        keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING),
    )
    rng = np.random.default_rng(seed)
    for _ in range(n_steps):
        head.train_on_batch(*_draw_pairs(faces, voices, n_classes, swapped, rng))
    for layer in head.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def score_fused(
    model: keras.Model, faces: Stills, voices: list[Clip], cache: ClipCache, config: RunConfig, *, seed: int
) -> dict[str, Any]:
    """Scores a whole model on faces alone, voices alone, and pairs of both.

    Faces are those of which more than half of the raters chose one class, shown as motionless clips. Voices are judged
    by the mean over their sliding windows. A pair is a voice's windows, each beside the face.

    Returns:
        ``face``, ``voice`` and ``pair``, each with the scores of ``compute_scores`` and a 95 % interval of the UAR,
        over speakers where there are voices.
    """
    preprocessor = Preprocessor(config)
    n_classes = len(config.class_names)
    rng = np.random.default_rng(seed)
    clear = np.flatnonzero(faces.majority >= 0)
    audio_shape, video_shape = (x.shape[1:] for x in (model.input["audio"], model.input["video"]))

    def still_clip(index: int) -> np.ndarray:
        return np.broadcast_to(faces.images[index][None, :, :, None], video_shape)

    predicted = []
    for start in range(0, len(clear), 32):
        video = np.stack([still_clip(i) for i in clear[start : start + 32]])
        audio = np.zeros((len(video), *audio_shape), np.float32)
        predicted.append(np.asarray(model({"audio": audio, "video": video}, training=False)).argmax(axis=1))
    scores = {"face": _score(faces.majority[clear], np.concatenate(predicted), clear.astype(str), n_classes)}

    by_class = [clear[faces.majority[clear] == index] for index in range(n_classes)]
    true, speakers = [], []
    answers: dict[str, list[int]] = {"voice": [], "pair": []}
    for clip in voices:
        index = class_index(clip.emotion, config.class_names)
        audio = np.stack([window["audio"] for window in clip_windows(cache.load(clip), preprocessor)])
        face = still_clip(int(rng.choice(by_class[index])))
        true.append(index)
        speakers.append(clip.speaker)
        for name, frames in (("voice", np.zeros_like(face)), ("pair", face)):
            video = np.broadcast_to(frames, (len(audio), *video_shape))
            probabilities = np.asarray(model({"audio": audio, "video": video}, training=False))
            answers[name].append(int(merge_probabilities(probabilities).argmax()))
    for name, answer in answers.items():
        scores[name] = _score(np.array(true), np.array(answer), speakers, n_classes)
    return scores


def _score(true: np.ndarray, predicted: np.ndarray, groups, n_classes: int) -> dict[str, Any]:
    matrix = compute_confusion_matrix(true, predicted, n_classes)
    return {
        **compute_scores(matrix),
        "uar_interval": bootstrap_intervals(true, predicted, groups, n_classes)["uar"],
        "confusion_matrix": matrix.tolist(),
    }


def _draw_pairs(faces: Features, voices: Features, n_classes: int, swapped: float, rng: np.random.Generator):
    """A batch for the joining layers: features with presences ``(b, n)``, and one-hot targets ``(b, n_classes)``."""
    classes = rng.integers(n_classes, size=BATCH_SIZE)
    face = np.stack([faces.values[rng.choice(np.flatnonzero(faces.classes == c))] for c in classes])
    draw = rng.random((BATCH_SIZE, 1))
    is_pair = (draw[:, 0] >= VOICE_ALONE) & (draw[:, 0] < 1 - FACE_ALONE)
    is_swapped = is_pair & (rng.random(BATCH_SIZE) < swapped)
    heard = np.where(is_swapped, rng.integers(n_classes, size=BATCH_SIZE), classes)
    voice = np.stack([voices.values[rng.choice(np.flatnonzero(voices.classes == c))] for c in heard])
    has_face = (draw >= VOICE_ALONE).astype(np.float32)
    has_voice = (draw < 1 - FACE_ALONE).astype(np.float32)
    # In the order of the whole model: sound first.
    joined = np.concatenate([voice * has_voice, face * has_face, has_voice, has_face], axis=1)
    return joined, np.eye(n_classes, dtype=np.float32)[classes]


def _branch(network: keras.Model, layer: str) -> keras.Model:
    return keras.Model(network.input, network.get_layer(layer).output)
