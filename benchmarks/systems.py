"""The two baselines: a support vector machine on MFCC statistics, and logistic regression on ComParE features.

On each fold, the validation side chooses the settings. Then the classifier is refitted on the training and validation
sides together and judges the test side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.features import FeatureSet, build_compare_features, build_mfcc_features
from emotion.datasets.clips import Clip
from emotion.datasets.splits import Split
from emotion.errors import DatasetError
from emotion.evaluation.judging import Judgement
from emotion.labels import class_index
from emotion.scores import compute_confusion_matrix, compute_scores

TEMPERATURES = np.geomspace(0.01, 10, 61)
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class System:
    """A classical baseline.

    Attributes:
        title: its name in tables.
        build_features: raises an error if the library it needs is missing.
        build_classifier: takes settings as in ``grid``, returns an unfitted classifier with a ``decision_function``.
        grid: settings to choose from, the most regularised first: the first wins a tie.
    """

    title: str
    build_features: Callable[[], FeatureSet]
    build_classifier: Callable[..., Any]
    grid: tuple[dict[str, float], ...]


def _build_svm(**settings) -> SVC:
    # scikit-learn deprecates its probabilities; see compute_probabilities.
    return SVC(kernel="rbf", class_weight="balanced", **settings)


def _build_logistic_regression(**settings) -> LogisticRegression:
    return LogisticRegression(class_weight="balanced", max_iter=5000, **settings)


SYSTEMS = {
    "mfcc_svm": System(
        title="MFCC + SVM (audio)",
        build_features=build_mfcc_features,
        build_classifier=_build_svm,
        # scikit-learn's own gamma for 80 standardised features is 1 / 80 = 0.0125.
        grid=tuple({"C": c, "gamma": gamma} for c in (1.0, 10.0, 100.0) for gamma in (0.003, 0.0125, 0.05)),
    ),
    "compare_logreg": System(
        title="ComParE + logistic regression (audio)",
        build_features=build_compare_features,
        build_classifier=_build_logistic_regression,
        grid=tuple({"C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
    ),
}


@dataclass(frozen=True)
class FoldResult:
    """A fold's result.

    Attributes:
        judgements: one for every test clip that has features.
        n_unanswered: number of test clips without features.
        chosen: the settings, ``temperature`` and ``validation_uar``.
    """

    judgements: list[Judgement]
    n_unanswered: int
    chosen: dict[str, float]


def judge_fold(
    system: System,
    split: Split,
    clips: Mapping[str, Clip],
    rows: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> FoldResult:
    """Chooses settings on the validation side, refits on training and validation, and judges the test side.

    Clips without a row of features are left out.

    Raises:
        DatasetError: if a side has too few clips with sound.
    """

    def gather(clip_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        heard = [clip_id for clip_id in clip_ids if clip_id in rows]
        true = np.array([class_index(clips[clip_id].emotion, class_names) for clip_id in heard], int)
        return np.array([rows[clip_id] for clip_id in heard]), true, heard

    features, true, _ = gather(split.train)
    shown, shown_true, validating = gather(split.validation)
    tested, tested_true, heard = gather(split.test)
    if len(set(true.tolist())) < 2 or not validating or not heard:
        raise DatasetError(
            "A fold has too few clips with sound: it needs two emotions to train on, one clip to validate and one to "
            "test. Add clips or speakers, or make fewer --folds."
        )
    best = None
    for settings in system.grid:
        classifier = _fit(system, settings, features, true)
        scores = compute_class_scores(classifier, shown, len(class_names))
        matrix = compute_confusion_matrix(shown_true, scores.argmax(axis=1), len(class_names))
        uar = compute_scores(matrix)["uar"]
        if best is None or uar > best["validation_uar"]:
            best = {**settings, "temperature": choose_temperature(scores, shown_true), "validation_uar": uar}
    settings = {name: best[name] for name in system.grid[0]}
    classifier = _fit(system, settings, np.concatenate([features, shown]), np.concatenate([true, shown_true]))
    scores = compute_class_scores(classifier, tested, len(class_names))
    probabilities = compute_probabilities(scores, best["temperature"])
    judgements = [
        Judgement(clip_id, int(index), answer, "audio_only", clips[clip_id].speaker, clips[clip_id].sex)
        for clip_id, index, answer in zip(heard, tested_true, probabilities, strict=True)
    ]
    return FoldResult(judgements, len(split.test) - len(heard), best)


def _fit(system: System, settings: Mapping[str, float], features: np.ndarray, true: np.ndarray) -> Pipeline:
    # The scaler is fitted too: means over all clips would leak the test side.
    return make_pipeline(StandardScaler(), system.build_classifier(**settings)).fit(features, true)


def compute_class_scores(classifier, features: np.ndarray, n_classes: int) -> np.ndarray:
    """Returns decision values ``(n, n_classes)``; minus infinity for a class without training clips."""
    values = np.asarray(classifier.decision_function(features), np.float64)
    if values.ndim == 1:  # of two classes, scikit-learn gives the second one's lead over the first
        values = np.stack([-values / 2, values / 2], axis=1)
    scores = np.full((len(features), n_classes), -np.inf)
    scores[:, classifier.classes_] = values
    return scores


def compute_probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the softmax of ``scores / temperature``, ``(n, n_classes)`` (temperature scaling, Guo et al. 2017).

    At temperature 1 these are logistic regression's own probabilities. An SVM has none; how sharp they are is set by
    the temperature, chosen on the validation side.
    """
    exponents = (scores - scores.max(axis=1, keepdims=True)) / temperature
    powers = np.exp(exponents)
    return powers / powers.sum(axis=1, keepdims=True)


def choose_temperature(scores: np.ndarray, true: np.ndarray) -> float:
    """Returns the one of ``TEMPERATURES`` with the lowest cross-entropy."""

    def cross_entropy(temperature: float) -> float:
        chances = compute_probabilities(scores, temperature)[np.arange(len(true)), true]
        return -np.log(np.maximum(chances, SMALLEST_PROBABILITY)).mean()

    return float(min(TEMPERATURES, key=cross_entropy))
