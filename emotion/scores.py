"""Scores of a classifier with intervals, and how well its confidence is calibrated. Pure arithmetic."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

N_CALIBRATION_BINS = 15
N_COVERAGE_POINTS = 40
COVERAGE_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
N_DRAWS = 1000
NORMAL_QUANTILE = 1.959963984540054  # 97.5 % of a normal distribution lie below
SCORES = ("accuracy", "uar", "macro_f1", "weighted_f1")


def compute_confusion_matrix(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Returns counts ``(n_classes, n_classes)``; rows are the true classes, columns the predicted ones."""
    matrix = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(matrix, (np.asarray(true), np.asarray(predicted)), 1)
    return matrix


def compute_scores(matrix: np.ndarray) -> dict[str, float]:
    """Computes scores from a confusion matrix.

    Returns:
        ``n``; ``accuracy``; ``uar`` (unweighted average recall) and ``macro_f1``, over the classes that occur;
        ``weighted_f1``, the mean of F1 weighted by the classes' numbers of clips.
    """
    n_true = matrix.sum(axis=1)
    if not n_true.any():
        raise ValueError("compute_scores needs at least one clip.")
    values = _scores_of(matrix[None].astype(np.float64))
    return {"n": int(n_true.sum()), **{name: float(values[name][0]) for name in SCORES}}


def compute_per_class(matrix: np.ndarray) -> list[dict[str, float | int | None]]:
    """Returns ``recall``, ``precision``, ``f1`` and ``n`` of every class.

    Recall and F1 are None for a class without clips, precision is None for a class that was never predicted.
    """
    n_true, n_predicted, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    return [
        {
            "recall": float(right[i] / n_true[i]) if n_true[i] else None,
            "precision": float(right[i] / n_predicted[i]) if n_predicted[i] else None,
            "f1": float(2 * right[i] / (n_true[i] + n_predicted[i])) if n_true[i] else None,
            "n": int(n_true[i]),
        }
        for i in range(len(matrix))
    ]


def bootstrap_intervals(
    true: np.ndarray, predicted: np.ndarray, groups: Sequence[str], n_classes: int, *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns 95 % intervals ``(low, high)`` of ``SCORES`` by percentile bootstrap (Efron 1979) over speakers.

    Clips of one speaker are alike, so whole speakers are drawn with replacement, not clips.

    Args:
        true, predicted: ``(n,)`` class indices.
        groups: ``(n,)`` the speaker of each clip; if there is only one, clips are drawn instead.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) == 1:
        names, members = np.arange(len(true)), np.arange(len(true))
    matrices = np.zeros((len(names), n_classes, n_classes))
    np.add.at(matrices, (members, true, predicted), 1)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_DRAWS)
    values = _scores_of((draws @ matrices.reshape(len(names), -1)).reshape(-1, n_classes, n_classes))
    return {name: tuple(np.percentile(values[name], [2.5, 97.5]).tolist()) for name in SCORES}


def _scores_of(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns each of ``SCORES`` as ``(n,)`` for confusion matrices ``(n, n_classes, n_classes)``."""
    n_true, n_predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    right = np.diagonal(matrices, axis1=1, axis2=2)
    occurs = n_true > 0
    n_occurring = occurs.sum(axis=1)
    recall = np.divide(right, n_true, out=np.zeros_like(right), where=occurs)
    f1 = np.divide(2 * right, n_true + n_predicted, out=np.zeros_like(right), where=occurs)
    total = n_true.sum(axis=1)
    return {
        "accuracy": right.sum(axis=1) / total,
        "uar": recall.sum(axis=1) / n_occurring,
        "macro_f1": f1.sum(axis=1) / n_occurring,
        "weighted_f1": (f1 * n_true).sum(axis=1) / total,
    }


def compute_calibration(confidences: np.ndarray, is_right: np.ndarray) -> tuple[float, list[dict[str, Any]]]:
    """Compares confidence with accuracy in bins of equal width (Guo et al. 2017).

    Args:
        confidences: ``(n,)`` the probability of each answer.
        is_right: ``(n,)`` bool.

    Returns:
        The expected calibration error, which is the mean distance between confidence and accuracy, weighted by clips;
        and for every bin with clips ``confidence`` (mean), ``accuracy``, ``n``, and ``low`` and ``high``, the 95 %
        interval of the accuracy.
    """
    confidences, is_right = np.asarray(confidences, np.float64), np.asarray(is_right, bool)
    # A confidence on an edge belongs to the bin below.
    bins = np.clip(np.ceil(confidences * N_CALIBRATION_BINS).astype(int) - 1, 0, N_CALIBRATION_BINS - 1)
    rows, error = [], 0.0
    for index in range(N_CALIBRATION_BINS):
        inside = bins == index
        n = int(inside.sum())
        if n:
            confidence, accuracy = float(confidences[inside].mean()), float(is_right[inside].mean())
            error += n / len(confidences) * abs(confidence - accuracy)
            low, high = wilson_interval(accuracy, n)
            rows.append({"confidence": confidence, "accuracy": accuracy, "n": n, "low": low, "high": high})
    return float(error), rows


def compute_coverage_accuracy(
    confidences: np.ndarray, is_right: np.ndarray, n_unanswered: int = 0
) -> list[dict[str, float | int]]:
    """Returns coverage and accuracy if only answers above a threshold are given (El-Yaniv & Wiener 2010).

    Args:
        confidences: ``(n,)`` the probability of each answer.
        is_right: ``(n,)`` bool.
        n_unanswered: further clips without any answer; they keep the coverage below 1.

    Returns:
        ``threshold``, ``coverage`` (share of all clips answered), ``accuracy`` and number ``n`` of the answers, from
        the highest threshold to the lowest.
    """
    order = np.argsort(-np.asarray(confidences, np.float64), kind="stable")
    ranked = np.asarray(confidences, np.float64)[order]
    right = np.cumsum(np.asarray(is_right, bool)[order])
    n = len(ranked)
    steps = range(1, N_COVERAGE_POINTS + 1)
    thresholds = [ranked[max(1, round(n * step / N_COVERAGE_POINTS)) - 1] for step in steps]
    # Plots mark these thresholds, so each needs a row.
    for limit in COVERAGE_THRESHOLDS:
        thresholds += ranked[ranked >= limit][-1:].tolist()
    points = {}
    for threshold in thresholds:
        # Clips with the same confidence are answered together.
        answered = int(np.searchsorted(-ranked, -threshold, side="right"))
        points[answered] = {
            "threshold": float(threshold),
            "coverage": answered / (n + n_unanswered),
            "accuracy": float(right[answered - 1] / answered),
            "n": answered,
        }
    return [points[answered] for answered in sorted(points)]


def compute_answered(
    confidences: np.ndarray, is_right: np.ndarray, unsure_below: float, n_unanswered: int = 0
) -> dict[str, float | int | None]:
    """Returns coverage and accuracy if answers below a confidence are "unsure"; see ``compute_coverage_accuracy``.

    Returns:
        ``unsure_below``, ``n`` answers, their ``coverage`` and ``accuracy``, which is None without answers.
    """
    answered = np.asarray(confidences, np.float64) >= unsure_below
    n = int(answered.sum())
    return {
        "unsure_below": float(unsure_below),
        "n": n,
        "coverage": n / (len(answered) + n_unanswered),
        "accuracy": float(np.asarray(is_right, bool)[answered].mean()) if n else None,
    }


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share of ``n`` independent trials (Wilson 1927)."""
    n_right = round(share * n)
    share, square = n_right / n, NORMAL_QUANTILE**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = NORMAL_QUANTILE / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    # None and all are at the ends, which rounding would miss.
    return 0.0 if n_right == 0 else middle - half, 1.0 if n_right == n else middle + half
