"""Scores of a shipped model on validation data: by the face alone, by the voice alone, and by pairs of both.

Faces are those of which more than half of FER+'s raters chose one class, shown as motionless clips. Voices are judged
by the mean over their sliding windows, as evaluation and inference do. A pair is a voice with the face of another
person who shows the same emotion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion.cache import ClipCache
from emotion.calibration import apply_temperature, fit_temperature
from emotion.config import RunConfig
from emotion.datasets.clips import Clip
from emotion.generators import clip_windows
from emotion.labels import class_index
from emotion.preprocessing import Preprocessor
from emotion.recipes.stills import Stills
from emotion.scores import bootstrap_intervals, compute_calibration, compute_confusion_matrix, compute_scores
from emotion.windows import merge_probabilities

MODES = ("face", "voice", "both")
N_AT_ONCE = 32
N_PARTS = 5  # into which groups are dealt to measure calibration on those it was not fitted on

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Answers:
    """A model's uncalibrated answers in one evidence mode.

    Attributes:
        clips: for each clip ``(n_windows, n_classes)`` probabilities.
        classes: ``(n,)`` true class indices.
        groups: ``(n,)`` what clips are alike: the speaker, or the face itself.
        sexes: ``(n,)`` of the speaker; empty where not known.
    """

    clips: list[np.ndarray]
    classes: np.ndarray
    groups: np.ndarray
    sexes: np.ndarray

    def merged(self, temperature: float = 1.0) -> np.ndarray:
        """Returns ``(n, n_classes)``: the mean over each clip's windows, at a temperature."""
        return np.stack([merge_probabilities(apply_temperature(clip, temperature)) for clip in self.clips])

    def part(self, chosen: np.ndarray) -> "Answers":
        """Returns the answers for some clips."""
        return Answers([self.clips[i] for i in chosen], self.classes[chosen], self.groups[chosen], self.sexes[chosen])

    def fit_temperature(self) -> float:
        """Returns the temperature that fits all clips."""
        return fit_temperature(self.clips, self.classes)


def pair_faces(faces: Stills, classes: np.ndarray, *, seed: int) -> np.ndarray:
    """Draws for each class index the index of a clear face of that class."""
    rng = np.random.default_rng(seed)
    by_class = {index: np.flatnonzero(faces.majority == index) for index in np.unique(classes)}
    return np.array([rng.choice(by_class[index]) for index in classes])


def answer_all(
    predict: Predict, config: RunConfig, faces: Stills, voices: list[Clip], cache: ClipCache, *, seed: int
) -> dict[str, Answers]:
    """Asks a model about all faces, voices and pairs.

    Args:
        predict: inputs to uncalibrated probabilities ``(n, n_classes)``.
        config: of the model.
        faces: aligned faces; those without a clear majority are left out.
        voices: labelled clips, which ``cache`` holds.
        cache: of decoded clips.
        seed: of the faces that voices are paired with.

    Returns:
        ``Answers`` for each of ``MODES``.
    """
    preprocessor = Preprocessor(config)
    clear = np.flatnonzero(faces.majority >= 0)
    nothing_heard = np.zeros((1, *config.audio_shape), np.float32)
    nothing_seen = np.zeros((1, *config.video_shape), np.uint8)
    seen = []
    for start in range(0, len(clear), N_AT_ONCE):
        video = np.stack([still_clip(faces, i, config) for i in clear[start : start + N_AT_ONCE]])
        seen.append(predict({"audio": np.repeat(nothing_heard, len(video), axis=0), "video": video}))
    seen = np.concatenate(seen)
    none = np.array([""] * len(clear))
    answers = {"face": Answers([row[None] for row in seen], faces.majority[clear], clear.astype(str), none)}
    classes = np.array([class_index(clip.emotion, config.class_names) for clip in voices])
    shown = pair_faces(faces, classes, seed=seed)
    heard: dict[str, list[np.ndarray]] = {"voice": [], "both": []}
    for clip, face in zip(voices, shown, strict=True):
        audio = np.stack([window["audio"] for window in clip_windows(cache.load(clip), preprocessor)])
        heard["voice"].append(predict({"audio": audio, "video": np.repeat(nothing_seen, len(audio), axis=0)}))
        video = np.broadcast_to(still_clip(faces, face, config), (len(audio), *config.video_shape))
        heard["both"].append(predict({"audio": audio, "video": video}))
    speakers = np.array([clip.speaker for clip in voices])
    sexes = np.array([clip.sex or "" for clip in voices])
    return {**answers, **{mode: Answers(heard[mode], classes, speakers, sexes) for mode in heard}}


def still_clip(faces: Stills, index: int, config: RunConfig) -> np.ndarray:
    """Returns a motionless clip of a face, ``video_shape``."""
    return np.broadcast_to(faces.images[index][None, :, :, None], config.video_shape)


def score_answers(answers: Answers, temperature: float, n_classes: int) -> dict[str, Any]:
    """Scores answers at a temperature.

    Returns:
        The scores of ``compute_scores``; ``uar_interval`` and ``accuracy_interval`` (95 %); ``confusion_matrix``;
        ``ece``, the expected calibration error of groups that the temperature was not fitted on; and where they are
        known ``by_sex`` and ``by_speaker``, each with ``n``, ``accuracy`` and ``uar``.
    """
    merged = answers.merged(temperature)
    predicted = merged.argmax(axis=1)
    matrix = compute_confusion_matrix(answers.classes, predicted, n_classes)
    intervals = bootstrap_intervals(answers.classes, predicted, answers.groups, n_classes)
    scores = {
        **compute_scores(matrix),
        "uar_interval": intervals["uar"],
        "accuracy_interval": intervals["accuracy"],
        "confusion_matrix": matrix.tolist(),
        "temperature": temperature,
        "ece": measure_calibration(answers),
    }
    if answers.sexes.any():
        for name, groups in (("by_sex", answers.sexes), ("by_speaker", answers.groups)):
            scores[name] = {
                str(group): _short_scores(answers.classes[groups == group], predicted[groups == group], n_classes)
                for group in np.unique(groups)
            }
    return scores


def measure_calibration(answers: Answers) -> float:
    """Returns the expected calibration error when each group is judged at the temperature that fits the others."""
    names, members = np.unique(answers.groups, return_inverse=True)
    parts = np.random.default_rng(0).permutation(len(names))[members] % min(N_PARTS, len(names))
    confidences, is_right = [], []
    for part in np.unique(parts):
        others = answers.part(np.flatnonzero(parts != part)) if len(names) > 1 else answers
        these = answers.part(np.flatnonzero(parts == part))
        merged = these.merged(others.fit_temperature())
        confidences.append(merged.max(axis=1))
        is_right.append(merged.argmax(axis=1) == these.classes)
    return compute_calibration(np.concatenate(confidences), np.concatenate(is_right))[0]


def _short_scores(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> dict[str, float]:
    scores = compute_scores(compute_confusion_matrix(true, predicted, n_classes))
    return {name: scores[name] for name in ("n", "accuracy", "uar")}
