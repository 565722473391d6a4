"""Calibrates a network's confidence, and chooses below which confidence to answer "unsure". Pure arithmetic.

A network trained on few speakers is overconfident on new ones. Dividing its logits by one number, the temperature,
corrects that (Guo et al. 2017, "On Calibration of Modern Neural Networks") and keeps the most probable class of every
window. The temperature is fitted on clips that the network did not learn from, to the mean over each clip's windows.
"""

import math
from collections.abc import Sequence

import numpy as np

from emotion.windows import merge_by_clip

LOG_TEMPERATURE_LIMITS = (-3.0, 3.0)
MAX_UNSURE = 0.25
# Stands for probabilities that underflowed to 0, which have no logarithm.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities for logits ``(..., n_classes)``."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def apply_temperature(probabilities: np.ndarray, temperatures: float | np.ndarray) -> np.ndarray:
    """Divides the logits behind probabilities by a temperature.

    The logits themselves are not needed: ``p ** (1 / T)``, scaled to sum 1, is the softmax of the logits over ``T``.

    Args:
        probabilities: ``(n, n_classes)``.
        temperatures: one for all rows, or ``(n,)``; above 0.

    Returns:
        ``(n, n_classes)`` of the same type. Rows with temperature 1 do not change by a bit.

    Raises:
        ValueError: for other shapes, or a temperature that is not above 0.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities must be of shape (n, n_classes), got {probabilities.shape}.")
    temperatures = np.asarray(temperatures, np.float64)
    if temperatures.shape not in ((), (len(probabilities),)):
        raise ValueError(f"temperatures must be one or {len(probabilities)}, got the shape {temperatures.shape}.")
    if not (temperatures > 0).all():
        raise ValueError(f"temperatures must be above 0, got {temperatures.tolist()}.")
    temperatures = np.broadcast_to(temperatures, len(probabilities))
    changed = temperatures != 1
    rows = probabilities[changed].astype(np.float64)
    # Divided by the row's largest, so that a small temperature cannot turn all of them into 0.
    powers = (rows / rows.max(axis=1, keepdims=True)) ** (1 / temperatures[changed, None])
    tempered = probabilities.copy()
    tempered[changed] = powers / powers.sum(axis=1, keepdims=True)
    return tempered


def fit_temperature(
    clips: Sequence[np.ndarray], class_indices: Sequence[int], *, around: float = 1.0, spread: float = math.inf
) -> float:
    """Finds the temperature with the least negative log likelihood of the clips' true classes.

    A clip's answer is the mean over its windows' probabilities, after the temperature.

    Args:
        clips: for each clip the network's own probabilities, ``(n_windows, n_classes)``.
        class_indices: ``(n,)`` true classes.
        around, spread: what is expected before any clip is seen: the middle, and the deviation of the logarithm. A few
            clips of which all are right would otherwise ask for full confidence.

    Returns:
        A temperature between ``exp(-3)`` and ``exp(3)``; one of these limits if, say, every answer is right.

    Raises:
        ValueError: if there is no clip, or not one class for each.
    """
    from scipy.optimize import minimize_scalar

    if not len(clips) or len(class_indices) != len(clips):
        raise ValueError(
            f"fit_temperature needs clips with one class each, got {len(clips)} clips and {len(class_indices)} classes."
        )
    windows = np.maximum(np.concatenate(clips).astype(np.float64), SMALLEST_PROBABILITY)
    lengths, places = [len(clip) for clip in clips], np.arange(len(clips))

    def compute_loss(log_temperature: float) -> float:
        merged = merge_by_clip(apply_temperature(windows, math.exp(log_temperature)), lengths)
        of_truth = merged[places, class_indices]
        unexpected = ((log_temperature - math.log(around)) / spread) ** 2 / (2 * len(clips))
        return float(-np.mean(np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)))) + unexpected

    found = minimize_scalar(compute_loss, bounds=LOG_TEMPERATURE_LIMITS, method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)


def choose_threshold(
    confidences: Sequence[float],
    is_right: Sequence[bool],
    *,
    min_accuracy: float = 0.5,
    max_unsure: float = MAX_UNSURE,
) -> float:
    """Chooses the confidence below which to answer "unsure".

    Withholding a wrong answer gains ``min_accuracy``, withholding a right one costs ``1 - min_accuracy``; the threshold
    with the largest total gain wins (Chow 1970, "On Optimum Recognition Error and Reject Tradeoff"). This is where
    isotonic regression of being right on the confidence crosses ``min_accuracy``, and needs no bins.

    Args:
        confidences: ``(n,)`` the probability of each clip's answer.
        is_right: ``(n,)`` bool.
        min_accuracy: accuracy, 0 to 1, that the least confident given answers should have.
        max_unsure: largest share of the clips to answer "unsure"; below 1.

    Returns:
        The lowest confidence at which answers are given, or 0 to give all. Among equally good thresholds, the lowest.

    Raises:
        ValueError: if there is no clip, a confidence is not finite, or an argument lies outside its limits.
    """
    confidences, is_right = np.asarray(confidences, np.float64), np.asarray(is_right, bool)
    if confidences.ndim != 1 or not len(confidences) or confidences.shape != is_right.shape:
        raise ValueError(
            f"choose_threshold needs confidences and is_right of one length, at least 1, got {confidences.shape} and "
            f"{is_right.shape}."
        )
    if not np.isfinite(confidences).all():
        raise ValueError("choose_threshold needs finite confidences.")
    if not 0 <= min_accuracy <= 1 or not 0 <= max_unsure < 1:
        raise ValueError(
            f"min_accuracy must lie in 0 to 1 and max_unsure in [0, 1), got {min_accuracy} and {max_unsure}."
        )
    order = np.argsort(confidences, kind="stable")
    ranked = confidences[order]
    # gains[n]: what withholding the n least confident answers gains.
    may_be_unsure = is_right[order][: math.floor(max_unsure * len(order))]
    gains = np.concatenate([[0.0], np.cumsum(min_accuracy - may_be_unsure)])
    # A threshold cannot part clips with the same confidence.
    is_possible = np.concatenate([[True], ranked[1 : len(gains)] > ranked[: len(gains) - 1]])
    n_unsure = int(np.argmax(np.where(is_possible, gains, -np.inf)))
    return float(ranked[n_unsure]) if n_unsure else 0.0
