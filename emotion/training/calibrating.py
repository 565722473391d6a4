"""Calibrates trained models: of recipes, of ``train_model.py``, and anew on clips of one's own."""

import math
from dataclasses import dataclass, replace

import numpy as np

from emotion.config import CalibrationConfig
from emotion.models.calibration import (
    SMALLEST_PROBABILITY,
    apply_temperature,
    choose_threshold,
    fit_temperature,
    softmax,
)
from emotion.scores import compute_calibration
from emotion.windows import merge_by_clip

N_DRAWS = 200
N_PARTS = 5  # into which groups are dealt to measure calibration on those it was not fitted on


@dataclass(frozen=True)
class Answers:
    """A model's uncalibrated answers for one kind of evidence.

    Attributes:
        clips: for each clip ``(n_windows, n_classes)`` probabilities.
        classes: ``(n,)`` true class indices.
        groups: ``(n,)`` the speaker, or where it is not known the face itself.
        sexes: ``(n,)`` of the speakers; empty where not known.
    """

    clips: list[np.ndarray]
    classes: np.ndarray
    groups: np.ndarray
    sexes: np.ndarray

    def merged(self, temperature: float = 1.0) -> np.ndarray:
        """Returns ``(n, n_classes)``: the mean over each clip's windows, at a temperature."""
        windows = apply_temperature(np.concatenate(self.clips), temperature)
        return merge_by_clip(windows, [len(clip) for clip in self.clips])

    def shifted(self, index: int, offset: float) -> "Answers":
        """Returns the answers with ``offset`` taken off the logit of a class."""
        return self.with_offsets(-offset * (np.arange(self.clips[0].shape[1]) == index))

    def with_offsets(self, offsets: np.ndarray) -> "Answers":
        """Returns the answers with ``(n_classes,)`` added to the logits."""
        logs = [np.log(np.maximum(clip, SMALLEST_PROBABILITY)) for clip in self.clips]
        return replace(self, clips=[softmax(rows + offsets.astype(rows.dtype)) for rows in logs])

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

    def fit_temperature(self, **prior: float) -> float:
        """Returns the temperature that fits all clips; ``prior`` as for ``calibration.fit_temperature``."""
        return fit_temperature(self.clips, self.classes, **prior)


def choose_unsure(answers: dict[str, Answers], temperatures: dict[str, float]) -> float:
    """Chooses the confidence below which the answer is ``unsure``; all kinds of evidence count the same."""
    n = min(len(mode.clips) for mode in answers.values())
    confidences, is_right = [], []
    for name, mode in answers.items():
        chosen = np.random.default_rng(0).choice(len(mode.clips), n, replace=False)
        merged = mode.part(chosen).merged(temperatures[name])
        confidences.append(merged.max(axis=1))
        is_right.append(merged.argmax(axis=1) == mode.classes[chosen])
    return choose_threshold(np.concatenate(confidences), np.concatenate(is_right))


def measure_calibration(merged: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
    """Returns the expected calibration error of answers ``(n, n_classes)``, and what chance alone would make of it.

    The second is the mean error if every answer were right just as often as its confidence says: on a few hundred clips
    that is several hundredths.
    """
    confidences = merged.max(axis=1)
    rng = np.random.default_rng(0)
    drawn = [compute_calibration(confidences, rng.random(len(merged)) < confidences)[0] for _ in range(N_DRAWS)]
    return compute_calibration(confidences, merged.argmax(axis=1) == classes)[0], float(np.mean(drawn))


def measure_answers(answers: Answers, temperatures: np.ndarray, unsure_below: float) -> dict[str, float]:
    """Scores the confidence of answers.

    Args:
        temperatures: ``(n,)`` of each clip.

    Returns:
        ``n``, ``accuracy``, ``ece``, ``coverage`` (the share of answers that are not "unsure") and
        ``accuracy_answered`` (NaN if none is given).
    """
    lengths = [len(clip) for clip in answers.clips]
    tempered = apply_temperature(np.concatenate(answers.clips), np.repeat(temperatures, lengths))
    merged = merge_by_clip(tempered, lengths)
    is_right, confidences = merged.argmax(axis=1) == answers.classes, merged.max(axis=1)
    given = confidences >= unsure_below
    return {
        "n": len(is_right),
        "accuracy": float(is_right.mean()),
        "ece": compute_calibration(confidences, is_right)[0],
        "coverage": float(given.mean()),
        "accuracy_answered": float(is_right[given].mean()) if given.any() else math.nan,
    }


# ---- Calibrations of models of one's own ----

MIN_CLIPS = 10  # of a kind of evidence, to fit anything to it
# Of the way from chance to certainty: an answer nearer to chance is "unsure", however few clips there are to ask.
LEAST_ABOVE_CHANCE = 0.1
EXPECTED_SPREAD = 0.5  # of the logarithm of the temperature, before any clip is seen


def fit_near(answers: Answers, before: float) -> float:
    """Returns the temperature that fits clips, so far from the one before as their number allows."""
    return answers.fit_temperature(around=before, spread=EXPECTED_SPREAD)


def fit_calibration(answers: dict[str, Answers], before: CalibrationConfig) -> CalibrationConfig:
    """Fits temperatures, and the confidence below which the answer is ``unsure``.

    Args:
        answers: uncalibrated, about clips that the model did not learn from, by the kind of evidence.
        before: what stays for kinds of evidence with fewer than ``MIN_CLIPS`` clips, and what few clips do not move
            far from.
    """
    if not answers:
        return before
    chance = 1 / next(iter(answers.values())).clips[0].shape[1]
    lowest = chance + LEAST_ABOVE_CHANCE * (1 - chance)
    enough = {kind: each for kind, each in answers.items() if len(each.classes) >= MIN_CLIPS}
    if not enough:
        return replace(before, unsure_below=max(before.unsure_below, lowest))
    temperatures = {kind: fit_near(each, getattr(before, kind)) for kind, each in enough.items()}
    return replace(before, **temperatures, unsure_below=max(choose_unsure(enough, temperatures), lowest))
