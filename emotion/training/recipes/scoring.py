"""Scores of a shipped model on validation data: by the face alone, by the voice alone, and by pairs of both.

Faces are those of which more than half of FER+'s raters chose one class: once as the photographs they are, once set in
motion like the head of somebody on camera. Voices are judged by the mean over their sliding windows, as evaluation and
inference do. A pair is a voice with the moving face of another person who shows the same emotion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion.config import RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.inputs.preprocessing import Preprocessor
from emotion.inputs.window_cutter import cut_clip
from emotion.labels import class_index
from emotion.models.calibration import apply_temperature, choose_threshold, fit_temperature
from emotion.scores import bootstrap_intervals, compute_calibration, compute_confusion_matrix, compute_scores
from emotion.training.recipes.animation import animate_still
from emotion.training.recipes.stills import Stills
from emotion.windows import merge_probabilities

MODES = ("photograph", "face", "voice", "both")
N_AT_ONCE = 32
N_DRAWS = 200
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

    def apart(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Deals the groups into parts; returns for each part the indices of all other clips, and of its own."""
        names, members = np.unique(self.groups, return_inverse=True)
        parts = np.random.default_rng(0).permutation(len(names))[members] % min(N_PARTS, len(names))
        if len(names) == 1:
            return [(np.arange(len(members)), np.arange(len(members)))]
        return [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in np.unique(parts)]

    def fit_temperature(self) -> float:
        """Returns the temperature that fits all clips."""
        return fit_temperature(self.clips, self.classes)


def pair_faces(faces: Stills, classes: np.ndarray, *, seed: int) -> np.ndarray:
    """Draws for each class index the index of a clear face of that class."""
    rng = np.random.default_rng(seed)
    by_class = {index: np.flatnonzero(faces.majority == index) for index in np.unique(classes)}
    return np.array([rng.choice(by_class[index]) for index in classes])


def answer_faces(predict: Predict, config: RunConfig, faces: Stills) -> dict[str, Answers]:
    """Asks a model about all faces, as photographs and set in motion.

    Args:
        predict: inputs to uncalibrated probabilities ``(n, n_classes)``.
        config: of the model.
        faces: aligned faces; those without a clear majority are left out.

    Returns:
        ``Answers`` for ``photograph`` and ``face``.
    """
    clear = np.flatnonzero(faces.majority >= 0)
    nothing_heard = np.zeros((1, *config.audio_shape), np.float32)
    none = np.array([""] * len(clear))
    answers = {}
    for mode, show in (("photograph", photograph), ("face", moving_face)):
        seen = []
        for start in range(0, len(clear), N_AT_ONCE):
            video = np.stack([show(faces, int(i), config) for i in clear[start : start + N_AT_ONCE]])
            seen.append(predict({"audio": np.repeat(nothing_heard, len(video), axis=0), "video": video}))
        rows = [row[None] for row in np.concatenate(seen)]
        answers[mode] = Answers(rows, faces.majority[clear], clear.astype(str), none)
    return answers


def answer_voices(
    predict: Predict, config: RunConfig, faces: Stills, voices: list[Clip], cache: ClipCache, *, seed: int
) -> dict[str, Answers]:
    """Asks a model about all voices, alone and each paired with a face.

    Args:
        predict, config, faces: as for ``answer_faces``.
        voices: labelled clips, which ``cache`` holds.
        cache: of decoded clips.
        seed: of the faces that voices are paired with.

    Returns:
        ``Answers`` for ``voice`` and ``both``.
    """
    preprocessor = Preprocessor(config)
    nothing_seen = np.zeros((1, *config.video_shape), np.uint8)
    classes = np.array([class_index(clip.emotion, config.class_names) for clip in voices])
    shown = pair_faces(faces, classes, seed=seed)
    heard: dict[str, list[np.ndarray]] = {"voice": [], "both": []}
    for clip, face in zip(voices, shown, strict=True):
        audio = np.stack([window["audio"] for window in cut_clip(cache.load(clip), preprocessor)])
        heard["voice"].append(predict({"audio": audio, "video": np.repeat(nothing_seen, len(audio), axis=0)}))
        video = np.broadcast_to(moving_face(faces, int(face), config), (len(audio), *config.video_shape))
        heard["both"].append(predict({"audio": audio, "video": video}))
    speakers = np.array([clip.speaker for clip in voices])
    sexes = np.array([clip.sex or "" for clip in voices])
    return {mode: Answers(heard[mode], classes, speakers, sexes) for mode in heard}


def photograph(faces: Stills, index: int, config: RunConfig) -> np.ndarray:
    """Returns a face as inference shows a photograph, ``video_shape``."""
    return np.broadcast_to(faces.images[index][None, :, :, None], config.video_shape)


def moving_face(faces: Stills, index: int, config: RunConfig) -> np.ndarray:
    """Returns a face set in motion, ``video_shape``; each face moves in its own way, always the same."""
    clip = animate_still(faces.images[index], config.video.n_frames, np.random.default_rng(index))
    return np.broadcast_to(clip[..., None], config.video_shape)


def fit_temperatures(answers: dict[str, Answers]) -> dict[str, float]:
    """Returns the temperature of each mode; photographs and moving faces share theirs."""
    faces = [answers["photograph"], answers["face"]]
    joined = (np.concatenate([getattr(part, name) for part in faces]) for name in ("classes", "groups", "sexes"))
    both_kinds = Answers([clip for part in faces for clip in part.clips], *joined)
    temperatures = {mode: answers[mode].fit_temperature() for mode in ("voice", "both")}
    of_faces = both_kinds.fit_temperature()
    return {"photograph": of_faces, "face": of_faces, **temperatures}


def choose_unsure(answers: dict[str, Answers], temperatures: dict[str, float]) -> float:
    """Chooses the confidence under which answers are better withheld, each mode counting the same."""
    n = min(len(mode.clips) for mode in answers.values())
    confidences, is_right = [], []
    for name, mode in answers.items():
        chosen = np.random.default_rng(0).choice(len(mode.clips), n, replace=False)
        merged = mode.part(chosen).merged(temperatures[name])
        confidences.append(merged.max(axis=1))
        is_right.append(merged.argmax(axis=1) == mode.classes[chosen])
    return choose_threshold(np.concatenate(confidences), np.concatenate(is_right))


def score_answers(answers: Answers, temperature: float, n_classes: int) -> dict[str, Any]:
    """Scores answers at a temperature.

    Returns:
        The scores of ``compute_scores``; ``uar_interval`` and ``accuracy_interval`` (95 %); ``confusion_matrix``;
        ``ece``, the expected calibration error, where speakers are known of those that the temperature was not fitted
        on; ``ece_if_perfect``, see ``measure_calibration``; and where they are known ``by_sex`` and ``by_speaker``,
        each with ``n``, ``accuracy`` and ``uar``.
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
    }
    if not answers.sexes.any():
        scores["ece"], scores["ece_if_perfect"] = measure_calibration(merged, answers.classes)
    else:
        apart = np.zeros_like(merged)
        for others, these in answers.apart():
            apart[these] = answers.part(these).merged(answers.part(others).fit_temperature())
        scores["ece"], scores["ece_if_perfect"] = measure_calibration(apart, answers.classes)
        for name, groups in (("by_sex", answers.sexes), ("by_speaker", answers.groups)):
            scores[name] = {
                str(group): _short_scores(answers.classes[groups == group], predicted[groups == group], n_classes)
                for group in np.unique(groups)
            }
    return scores


def measure_calibration(merged: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
    """Measures how far confidence lies from accuracy.

    Args:
        merged: ``(n, n_classes)`` answers.
        classes: ``(n,)`` true class indices.

    Returns:
        The expected calibration error, and what it would be on average if every answer were right with just its
        confidence as the chance: on a few hundred clips chance alone makes several hundredths.
    """
    confidences = merged.max(axis=1)
    rng = np.random.default_rng(0)
    drawn = [compute_calibration(confidences, rng.random(len(merged)) < confidences)[0] for _ in range(N_DRAWS)]
    return compute_calibration(confidences, merged.argmax(axis=1) == classes)[0], float(np.mean(drawn))


def _short_scores(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> dict[str, float]:
    scores = compute_scores(compute_confusion_matrix(true, predicted, n_classes))
    return {name: scores[name] for name in ("n", "accuracy", "uar")}
