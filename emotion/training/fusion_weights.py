"""Finds the weights that join an expert for voices and one for faces, on clips that neither learned from.

Late fusion of two runs and the recipes of the shipped models both fit their weights here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from emotion.config import FUSION_METHODS
from emotion.models.calibration import apply_temperature, fit_temperature, softmax
from emotion.models.late_fusion import SMALLEST
from emotion.windows import merge_by_clip

MIN_CLIPS_PER_CLASS = 2  # to fit weights by class
WEIGHT_DECAY = 1e-2  # pulls weights by class towards their mean


@dataclass(frozen=True)
class JoinedClips:
    """What two experts say of clips with a voice and a face.

    Attributes:
        audio, video: per clip the probabilities of its windows, ``(n_windows, n_classes)``, classes in one order.
        class_indices: ``(n_clips,)`` the true classes.
    """

    audio: Sequence[np.ndarray]
    video: Sequence[np.ndarray]
    class_indices: np.ndarray


@dataclass(frozen=True)
class FusionWeights:
    """What the layer ``JoinedAnswers`` holds.

    Attributes:
        method: one of ``FUSION_METHODS``.
        temperatures: of the voice's and the face's expert.
        weights: ``(2, n_classes)``, with ``stacking`` ``(2, n_classes, n_classes)``.
        bias: ``(n_classes,)``; zeros except for ``stacking``.
    """

    method: str
    temperatures: tuple[float, float]
    weights: np.ndarray
    bias: np.ndarray

    def join(self, audio: np.ndarray, video: np.ndarray) -> np.ndarray:
        """Returns the joint probabilities ``(n, n_classes)`` of windows with both, as the network computes them."""
        logs = (_calibrate(side, t) for side, t in zip((audio, video), self.temperatures, strict=True))
        return _join(self.method, *logs, self.weights, self.bias)


def fit_fusion(clips: JoinedClips, method: str, *, by_class: bool = False) -> FusionWeights:
    """Fits a temperature for each expert, then the weights that join them.

    Args:
        clips: none that an expert learned from.
        method: one of ``FUSION_METHODS``.
        by_class: one weight for each class instead of one for all; ``stacking`` always has them.

    Raises:
        ValueError: for an unknown method, no clips, or with ``by_class`` too few clips of a class.
    """
    if method not in FUSION_METHODS:
        raise ValueError(f"method must be one of {', '.join(FUSION_METHODS)}, got {method!r}.")
    if not len(clips.class_indices):
        raise ValueError("fit_fusion needs clips with a voice and a face, got none.")
    n_classes = clips.audio[0].shape[1]
    fewest = np.bincount(clips.class_indices, minlength=n_classes).min()
    if (by_class or method == "stacking") and fewest < MIN_CLIPS_PER_CLASS:
        raise ValueError(f"weights by class need {MIN_CLIPS_PER_CLASS} clips of each class; one class has {fewest}.")
    temperatures = tuple(fit_temperature(side, clips.class_indices) for side in (clips.audio, clips.video))
    audio, video = (
        [_calibrate(windows, temperature) for windows in side]
        for side, temperature in zip((clips.audio, clips.video), temperatures, strict=True)
    )
    if method == "stacking":
        return FusionWeights(method, temperatures, *_fit_stacking(audio, video, clips.class_indices))
    weights = fit_weights(audio, video, clips.class_indices, method=method, by_class=by_class)
    return FusionWeights(method, temperatures, weights, np.zeros(n_classes))


def fit_weights(
    audio: Sequence[np.ndarray],
    video: Sequence[np.ndarray],
    class_indices: np.ndarray,
    *,
    method: str = "product",
    by_class: bool = False,
) -> np.ndarray:
    """Finds the weights of two experts that minimise the negative log likelihood of the clips' true classes.

    Args:
        audio, video: per clip the log probabilities of its windows, ``(n_windows, n_classes)``. For ``product``, logits
            do as well.
        class_indices: ``(n_clips,)`` the true classes.
        method: ``average`` or ``product``.
        by_class: as for ``fit_fusion``.

    Returns:
        ``(2, n_classes)`` float32.
    """
    n_classes = audio[0].shape[1]
    n_weights = n_classes if by_class else 1
    lengths = [len(windows) for windows in audio]
    first, second = np.concatenate(audio), np.concatenate(video)

    def build(parameters: np.ndarray) -> np.ndarray:
        weights = np.exp(parameters.reshape(2, n_weights))
        if method == "average":
            weights = weights / weights.sum(axis=0)
        return np.broadcast_to(weights, (2, n_classes)).astype(np.float32)

    def loss(parameters: np.ndarray) -> float:
        spread = parameters.reshape(2, n_weights)
        spread = spread - spread.mean(axis=1, keepdims=True)
        answers = merge_by_clip(_join(method, first, second, build(parameters)), lengths)
        of_truth = np.maximum(answers[np.arange(len(answers)), class_indices], SMALLEST)
        return float(-np.mean(np.log(of_truth))) + WEIGHT_DECAY * float(np.square(spread).sum())

    found = minimize(loss, np.zeros(2 * n_weights), method="Powell", bounds=[(-4.0, 2.0)] * (2 * n_weights))
    return build(found.x)


def _fit_stacking(
    audio: Sequence[np.ndarray], video: Sequence[np.ndarray], class_indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights and the bias of a linear classifier on both experts' log probabilities."""
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([np.hstack(pair) for pair in zip(audio, video, strict=True)])
    lengths = [len(windows) for windows in audio]
    # Every clip counts the same, however many windows it has.
    shares = np.repeat(1 / np.array(lengths), lengths)
    classifier = LogisticRegression(C=1.0, max_iter=2000)
    classifier.fit(rows, np.repeat(class_indices, lengths), sample_weight=shares)
    coefficients, bias, n_classes = classifier.coef_, classifier.intercept_, audio[0].shape[1]
    if n_classes == 2:  # scikit-learn keeps only the difference of the two
        coefficients, bias = np.vstack([-coefficients, coefficients]) / 2, np.concatenate([-bias, bias]) / 2
    return coefficients.T.reshape(2, n_classes, n_classes).astype(np.float32), bias.astype(np.float32)


def _join(method: str, audio: np.ndarray, video: np.ndarray, weights: np.ndarray, bias: np.ndarray | float = 0.0):
    """Joins log probabilities ``(n, n_classes)`` to probabilities."""
    if method == "average":
        return _normalize(weights[0] * np.exp(audio) + weights[1] * np.exp(video))
    if method == "product":
        return softmax(weights[0] * audio + weights[1] * video)
    return softmax(audio @ weights[0] + video @ weights[1] + bias)


def _calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the logarithms of calibrated probabilities."""
    tempered = apply_temperature(np.maximum(np.asarray(probabilities, np.float64), SMALLEST), temperature)
    return np.log(np.maximum(_normalize(tempered), math.exp(-80)))


def _normalize(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=-1, keepdims=True)
