"""Scores of a classifier, and their uncertainty. Pure arithmetic on class indices and probabilities."""

from collections.abc import Sequence

import numpy as np


def compute_confusion_matrix(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Returns counts ``(n_classes, n_classes)``; rows are the true classes, columns the predicted ones."""
    matrix = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(matrix, (np.asarray(true), np.asarray(predicted)), 1)
    return matrix


def compute_scores(matrix: np.ndarray) -> dict[str, float]:
    """Computes scores from a confusion matrix.

    Returns:
        ``n``; ``accuracy``; ``uar``, the unweighted average recall, and ``macro_f1``, both over the classes that occur.
    """
    n_true, n_predicted, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    occurs = n_true > 0
    if not occurs.any():
        raise ValueError("compute_scores needs at least one clip.")
    recall = right[occurs] / n_true[occurs]
    f1 = 2 * right[occurs] / (n_true[occurs] + n_predicted[occurs])
    return {
        "n": int(n_true.sum()),
        "accuracy": float(right.sum() / n_true.sum()),
        "uar": float(recall.mean()),
        "macro_f1": float(f1.mean()),
    }


def bootstrap_interval(
    true: np.ndarray,
    predicted: np.ndarray,
    groups: Sequence[str],
    n_classes: int,
    *,
    score: str = "uar",
    n_draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % interval of a score by drawing groups with replacement (Efron 1979).

    Clips of one speaker are alike, so it is speakers that must be drawn, not clips.

    Args:
        true, predicted: ``(n,)`` class indices.
        groups: ``(n,)`` the speaker of each clip. Where there is but one, clips are drawn.
        n_classes: number of classes.
        score: a key of ``compute_scores``.
        n_draws: draws.
        seed: of the draws.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) == 1:
        # One speaker cannot tell how much speakers differ; clips at least tell how much clips do.
        names, members = np.arange(len(true)), np.arange(len(true))
    matrices = np.stack(
        [compute_confusion_matrix(true[members == i], predicted[members == i], n_classes) for i in range(len(names))]
    )
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(names), size=(n_draws, len(names)))
    scores = [compute_scores(matrices[draw].sum(axis=0))[score] for draw in draws]
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)
