"""Multinomial logistic regression: the last layer of a network, fitted exactly. Pure arithmetic."""

import numpy as np

from emotion.models.calibration import softmax


def minimise_cross_entropy(
    columns: np.ndarray,
    targets: np.ndarray,
    penalties: np.ndarray,
    *,
    offsets: np.ndarray | float = 0.0,
    start: np.ndarray | None = None,
    max_steps: int,
) -> np.ndarray:
    """Finds the weights with the least cross-entropy and ridge penalty, by L-BFGS.

    Args:
        columns: ``(n, n_columns)``.
        targets: ``(n, n_classes)``, each row a distribution times the row's weight; the weights sum to 1.
        penalties: ``(n_columns,)``: half of the squared weights of a column, times this, is added to the loss.
        offsets: ``(n, n_classes)`` logits that are there without any weight.
        start: ``(n_columns, n_classes)`` weights to begin with; zeros by default.

    Returns:
        ``(n_columns, n_classes)`` float32.
    """
    import scipy.optimize

    columns, targets = np.asarray(columns, np.float32), np.asarray(targets, np.float32)
    shape, row_weights = (columns.shape[1], targets.shape[1]), targets.sum(axis=1, keepdims=True)
    penalties = np.asarray(penalties, np.float32)[:, None]
    offsets = np.asarray(offsets, np.float32)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights = parameters.reshape(shape).astype(np.float32)
        probabilities = softmax(offsets + columns @ weights)
        cross_entropy = -float((targets * np.log(np.maximum(probabilities, 1e-30))).sum())
        gradient = columns.T @ (row_weights * probabilities - targets) + penalties * weights
        return cross_entropy + 0.5 * float((penalties * np.square(weights)).sum()), gradient.ravel().astype(np.float64)

    first = np.zeros(shape) if start is None else np.asarray(start, np.float64)
    found = scipy.optimize.minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": max_steps})
    return found.x.reshape(shape).astype(np.float32)
