"""Learns where each class lies in valence and arousal, from clips that people rated.

A clip's valence is the mean of its classes' places, weighted by the model's probabilities, so the places are found by
least squares. A ridge penalty draws them to the published ones; how strongly, cross-validation over speakers decides.
Clips are rated in the columns ``valence`` and ``arousal`` of a manifest, from -1 to 1.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.evaluation.judging import Judgement
from emotion.models.emotion_places import Places
from emotion.outputs.valence_arousal import PLACES

DIMENSIONS = ("valence", "arousal")
LEAST_CLIPS = 5  # to learn from
# Against the squared errors of the clips; infinite keeps the published places.
RIDGES = (math.inf, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
MAX_FOLDS = 6


def read_affect_ratings(clips: Sequence[Clip]) -> dict[str, tuple[float, float]]:
    """Returns valence and arousal of the clips that were rated, by clip.

    Raises:
        DatasetError: if a rating is no number from -1 to 1.
    """
    ratings = {}
    for clip in clips:
        words = [clip.details.get(name, "").strip() for name in DIMENSIONS]
        if not all(words):
            continue
        try:
            valence, arousal = (float(word.replace(",", ".")) for word in words)
        except ValueError:
            valence = arousal = math.nan
        if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
            raise DatasetError(
                f"{clip.clip_id}: valence and arousal are {' and '.join(words)}; they must be numbers from -1 to 1. "
                "Ratings from 1 to 9 become that by (x - 5) / 4."
            )
        ratings[clip.clip_id] = valence, arousal
    return ratings


def learn_places(
    judgements: Sequence[Judgement], ratings: dict[str, tuple[float, float]], class_names: Sequence[str]
) -> tuple[Places, float] | None:
    """Returns the classes' places, and the ridge that was chosen; None if too few clips are rated.

    Args:
        judgements: of clips that the model was not trained on.
    """
    rated = [judgement for judgement in judgements if judgement.clip_id in ratings]
    if len(rated) < LEAST_CLIPS:
        return None
    answers = np.array([judgement.probabilities for judgement in rated], float)
    wanted = np.array([ratings[judgement.clip_id] for judgement in rated])
    speakers = {judgement.speaker for judgement in rated}
    groups = [
        judgement.speaker if len(speakers) > 1 and judgement.speaker else judgement.clip_id for judgement in rated
    ]
    folds = np.unique(groups, return_inverse=True)[1] % MAX_FOLDS
    # A class that nobody placed begins in the middle of what was rated.
    middle = tuple(wanted.mean(axis=0))
    known = np.array([PLACES.get(name, middle) for name in class_names])
    errors = [_cross_validate(answers, wanted, known, folds, ridge) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin(errors))]
    found = np.clip(_solve(answers, wanted, known, ridge), -1, 1)
    return {name: (float(a), float(b)) for name, (a, b) in zip(class_names, found.tolist(), strict=True)}, ridge


def score_places(
    places: Places, judgements: Sequence[Judgement], ratings: dict[str, tuple[float, float]], class_names: Sequence[str]
) -> dict[str, Any] | None:
    """Returns the concordance (Lin 1989) of ratings and answers in each dimension, and ``n_clips``; None below two."""
    rated = [judgement for judgement in judgements if judgement.clip_id in ratings]
    if len(rated) < 2:
        return None
    answers = np.array([judgement.probabilities for judgement in rated], float)
    found = answers @ np.array([places[name] for name in class_names])
    wanted = np.array([ratings[judgement.clip_id] for judgement in rated])
    scores = {name: concordance(found[:, i], wanted[:, i]) for i, name in enumerate(DIMENSIONS)}
    return {"n_clips": len(rated), "ccc": scores}


def concordance(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Lin's concordance correlation coefficient (Biometrics 45, 1989), -1 to 1; 0 where nothing varies."""
    covariance = float(np.mean((first - first.mean()) * (second - second.mean())))
    spread = float(first.var() + second.var() + (first.mean() - second.mean()) ** 2)
    return 2 * covariance / spread if spread > 0 else 0.0


def _cross_validate(
    answers: np.ndarray, wanted: np.ndarray, known: np.ndarray, folds: np.ndarray, ridge: float
) -> float:
    errors = []
    for fold in np.unique(folds):
        is_test = folds == fold
        places = known if is_test.all() else _solve(answers[~is_test], wanted[~is_test], known, ridge)
        errors.append(np.square(answers[is_test] @ places - wanted[is_test]).sum())
    return float(np.sum(errors))


def _solve(answers: np.ndarray, wanted: np.ndarray, known: np.ndarray, ridge: float) -> np.ndarray:
    if math.isinf(ridge):
        return known
    gram = answers.T @ answers + ridge * np.eye(answers.shape[1])
    return known + np.linalg.solve(gram, answers.T @ (wanted - answers @ known))
