"""How two experts, trained apart, are best joined: temperatures and weights, found on clips neither learned from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from emotion.config import FUSION_METHODS
from emotion.models.calibration import apply_temperature, fit_temperature, softmax
from emotion.models.late_fusion import SMALLEST
from emotion.windows import merge_probabilities

MIN_CLIPS_PER_CLASS = 2  # fewer do not tell a class's own weights
WEIGHT_DECAY = 1e-2  # holds weights by class, of which there are many, near those for all


@dataclass(frozen=True)
class JoinedClips:
    """What two experts say of clips that hold a voice and a face.

    Attributes:
        audio, video: for each clip the probabilities of its windows, ``(n_windows, n_classes)``, in one order of
            classes.
        class_indices: ``(n_clips,)`` the true classes.
    """

    audio: Sequence[np.ndarray]
    video: Sequence[np.ndarray]
    class_indices: np.ndarray


@dataclass(frozen=True)
class FusionWeights:
    """How two experts are joined: what ``JoinedAnswers`` holds.

    Attributes:
        method: one of ``FUSION_METHODS``.
        temperatures: of sound and of pictures.
        weights: ``(2, n_classes)``, with ``stacking`` ``(2, n_classes, n_classes)``.
        bias: ``(n_classes,)``; zeros but for ``stacking``.
    """

    method: str
    temperatures: tuple[float, float]
    weights: np.ndarray
    bias: np.ndarray

    def join(self, audio: np.ndarray, video: np.ndarray) -> np.ndarray:
        """Returns the answers ``(n, n_classes)`` for windows with both, as the network gives them."""
        first, second = _calibrated(audio, self.temperatures[0]), _calibrated(video, self.temperatures[1])
        if self.method == "average":
            return _normalized(self.weights[0] * np.exp(first) + self.weights[1] * np.exp(second))
        if self.method == "product":
            return softmax(self.weights[0] * first + self.weights[1] * second)
        return softmax(first @ self.weights[0] + second @ self.weights[1] + self.bias)


def fit_fusion(clips: JoinedClips, method: str, *, by_class: bool = False) -> FusionWeights:
    """Finds temperatures for both experts, then the weights under which the clips' answers are least surprised.

    Args:
        clips: that neither expert learned from.
        method: one of ``FUSION_METHODS``.
        by_class: whether each class has weights of its own; ``stacking`` always has.

    Raises:
        ValueError: for an unknown method, no clips, or with ``by_class`` too few of a class.
    """
    if method not in FUSION_METHODS:
        raise ValueError(f"method must be one of {', '.join(FUSION_METHODS)}, got {method!r}.")
    if not len(clips.class_indices):
        raise ValueError("fit_fusion needs clips with a voice and a face, got none.")
    n_classes = clips.audio[0].shape[1]
    counts = np.bincount(clips.class_indices, minlength=n_classes)
    if (by_class or method == "stacking") and counts.min() < MIN_CLIPS_PER_CLASS:
        raise ValueError(
            f"weights for each class need {MIN_CLIPS_PER_CLASS} clips of each, and of one there are {counts.min()}."
        )
    temperatures = tuple(fit_temperature(side, clips.class_indices) for side in (clips.audio, clips.video))
    if method == "stacking":
        return _fit_stacking(clips, temperatures)
    return _fit_weights(clips, method, temperatures, n_classes if by_class else 1)


def _fit_weights(clips: JoinedClips, method: str, temperatures, n_weights: int) -> FusionWeights:
    n_classes = clips.audio[0].shape[1]

    def build(parameters: np.ndarray) -> FusionWeights:
        weights = np.exp(parameters.reshape(2, n_weights))
        if method == "average":
            weights = weights / weights.sum(axis=0)
        return FusionWeights(
            method, temperatures, np.broadcast_to(weights, (2, n_classes)).astype(np.float32), np.zeros(n_classes)
        )

    def loss(parameters: np.ndarray) -> float:
        spread = parameters.reshape(2, n_weights)
        spread = spread - spread.mean(axis=1, keepdims=True)
        return compute_loss(clips, build(parameters)) + WEIGHT_DECAY * float(np.square(spread).sum())

    found = minimize(loss, np.zeros(2 * n_weights), method="Powell", bounds=[(-4.0, 2.0)] * (2 * n_weights))
    return build(found.x)


def _fit_stacking(clips: JoinedClips, temperatures) -> FusionWeights:
    from sklearn.linear_model import LogisticRegression

    first, second = (
        [_calibrated(windows, temperature) for windows in side]
        for side, temperature in zip((clips.audio, clips.video), temperatures, strict=True)
    )
    rows = np.concatenate([np.hstack(pair) for pair in zip(first, second, strict=True)])
    lengths = [len(windows) for windows in first]
    # Each clip counts the same, however many windows it has.
    shares = np.repeat(1 / np.array(lengths), lengths)
    classifier = LogisticRegression(C=1.0, max_iter=2000)
    classifier.fit(rows, np.repeat(clips.class_indices, lengths), sample_weight=shares)
    coefficients, bias, n_classes = classifier.coef_, classifier.intercept_, first[0].shape[1]
    if n_classes == 2:  # scikit-learn keeps but the difference of two
        coefficients, bias = np.vstack([-coefficients, coefficients]) / 2, np.concatenate([-bias, bias]) / 2
    weights = coefficients.T.reshape(2, n_classes, n_classes).astype(np.float32)
    return FusionWeights("stacking", temperatures, weights, bias.astype(np.float32))


def compute_loss(clips: JoinedClips, weights: FusionWeights) -> float:
    """Returns the mean negative log likelihood of the truth in the clips' answers, the means over their windows."""
    answers = answer_clips(clips, weights)
    of_truth = answers[np.arange(len(answers)), clips.class_indices]
    return float(-np.mean(np.log(np.maximum(of_truth, SMALLEST))))


def answer_clips(clips: JoinedClips, weights: FusionWeights) -> np.ndarray:
    """Returns an answer for each clip, ``(n_clips, n_classes)``."""
    lengths = [len(windows) for windows in clips.audio]
    joined = weights.join(np.concatenate(clips.audio), np.concatenate(clips.video))
    return np.stack([merge_probabilities(part) for part in np.split(joined, np.cumsum(lengths)[:-1])])


def _calibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns logarithms of calibrated probabilities."""
    tempered = apply_temperature(np.maximum(np.asarray(probabilities, np.float64), SMALLEST), temperature)
    return np.log(np.maximum(_normalized(tempered), math.exp(-80)))


def _normalized(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=-1, keepdims=True)
