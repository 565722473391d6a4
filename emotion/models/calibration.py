"""Making a network's confidence mean what it says, and choosing when to answer "unsure". Pure arithmetic.

A network trained on few voices is far surer of a new one than it is right. One number mends that: the temperature, by
which the logits are divided before the softmax (Guo et al. 2017, "On Calibration of Modern Neural Networks"). It leaves
the most probable class of a window as it is. It is fitted on clips that the network did not learn from, to the answer
that is given for a clip: the mean over its windows.
"""

import math
from collections.abc import Sequence

import numpy as np

from emotion.windows import merge_probabilities

LOG_TEMPERATURE_LIMITS = (-3.0, 3.0)
MAX_UNSURE = 0.25
# Where the network's softmax ran out of digits, this stands for the 0, whose logarithm cannot be divided.
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
        temperatures: one for all rows, or ``(n,)``, one for each; above 0.

    Returns:
        ``(n, n_classes)`` of the same type. Rows of temperature 1 are the same to the last bit.

    Raises:
        ValueError: if there is no row or temperature to go with the other, or a temperature is not above 0.
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
    # Over the largest of the row, so that a small temperature cannot turn all of them into 0.
    powers = (rows / rows.max(axis=1, keepdims=True)) ** (1 / temperatures[changed, None])
    tempered = probabilities.copy()
    tempered[changed] = powers / powers.sum(axis=1, keepdims=True)
    return tempered


def fit_temperature(clips: Sequence[np.ndarray], class_indices: Sequence[int]) -> float:
    """Finds the temperature under which the answers for clips are least surprised by the truth.

    What is minimised is the negative log likelihood of the true class in the mean of a clip's tempered windows.

    Args:
        clips: for each clip the probabilities of its windows, ``(n_windows, n_classes)``, as the network gives them.
        class_indices: ``(n,)`` the true class of each clip.

    Returns:
        The temperature, between ``exp(-3)`` and ``exp(3)``; near one of them if the clips cannot tell, such as where
        every answer is right.

    Raises:
        ValueError: if there is no clip, or not one class for each.
    """
    from scipy.optimize import minimize_scalar

    if not len(clips) or len(class_indices) != len(clips):
        raise ValueError(
            f"fit_temperature needs clips with one class each, got {len(clips)} clips and {len(class_indices)} classes."
        )
    windows = np.maximum(np.concatenate(clips).astype(np.float64), SMALLEST_PROBABILITY)
    ends = np.cumsum([len(clip) for clip in clips])

    def compute_loss(log_temperature: float) -> float:
        tempered = np.split(apply_temperature(windows, math.exp(log_temperature)), ends[:-1])
        of_truth = [merge_probabilities(rows)[index] for rows, index in zip(tempered, class_indices, strict=True)]
        return float(-np.mean(np.log(np.maximum(of_truth, SMALLEST_PROBABILITY))))

    found = minimize_scalar(compute_loss, bounds=LOG_TEMPERATURE_LIMITS, method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)


def choose_threshold(
    confidences: Sequence[float],
    is_right: Sequence[bool],
    *,
    min_accuracy: float = 0.5,
    max_unsure: float = MAX_UNSURE,
) -> float:
    """Chooses the confidence under which an answer is better withheld.

    Answers of some confidence are worth giving if more than ``min_accuracy`` of them are right; by default, if they are
    more often right than wrong. The clips tell, not the confidence: withholding a wrong answer gains ``min_accuracy``,
    withholding a right one loses ``1 - min_accuracy``, and the threshold is that of the largest gain (the rule of Chow
    1970, "On Optimum Recognition Error and Reject Tradeoff"). It lies where isotonic regression of being right on the
    confidence crosses ``min_accuracy``; there are no bins whose edges could be chosen otherwise.

    Args:
        confidences: ``(n,)`` the probability of each clip's answer.
        is_right: ``(n,)`` whether it is the true one.
        min_accuracy: accuracy, 0 to 1, that the least sure answers given should have.
        max_unsure: share of the clips, at most, that may be left without an answer; below 1.

    Returns:
        The threshold, at which answers are still given: the confidence of the least sure of them; 0 if none is to be
        withheld. Of thresholds that are equally good, the lowest.

    Raises:
        ValueError: if there is no clip, a confidence is no number, or an argument lies outside its limits.
    """
    confidences, is_right = np.asarray(confidences, np.float64), np.asarray(is_right, bool)
    if confidences.ndim != 1 or not len(confidences) or confidences.shape != is_right.shape:
        raise ValueError(
            f"choose_threshold needs a confidence and a verdict for each clip, got {confidences.shape} and "
            f"{is_right.shape}."
        )
    if not np.isfinite(confidences).all():
        raise ValueError("choose_threshold needs confidences that are numbers.")
    if not 0 <= min_accuracy <= 1 or not 0 <= max_unsure < 1:
        raise ValueError(
            f"min_accuracy must lie in 0 to 1 and max_unsure in [0, 1), got {min_accuracy} and {max_unsure}."
        )
    order = np.argsort(confidences, kind="stable")
    ranked = confidences[order]
    # What withholding the least sure clips gains, by their number.
    may_be_unsure = is_right[order][: math.floor(max_unsure * len(order))]
    gains = np.concatenate([[0.0], np.cumsum(min_accuracy - may_be_unsure)])
    # Clips of one confidence are withheld together or not at all.
    is_possible = np.concatenate([[True], ranked[1 : len(gains)] > ranked[: len(gains) - 1]])
    n_unsure = int(np.argmax(np.where(is_possible, gains, -np.inf)))
    return float(ranked[n_unsure]) if n_unsure else 0.0
