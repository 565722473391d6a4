"""A second head for a voice network: it judges a voice against what is usual for that person.

Resting voices differ more between people, rooms and microphones than between emotions. Where a person's usual voice is
known, its features are subtracted (cf. Busso et al. 2011, "Iterative feature normalization for emotional speech
detection"). This head is fitted on such differences alone and then takes the place of the network's own.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from emotion.labels import class_index
from emotion.models.calibration import softmax
from emotion.training.recipes.voice_bank import VoiceBank, balanced_targets
from emotion.training.softmax import minimise_cross_entropy

FEATURES = "audio_vector"  # the layer of a voice network whose output both heads take
NEUTRAL = "neutral"
MOST_NEUTRAL_CLIPS = 5  # of which a baseline is the mean
MIN_CLIPS = 4  # of a speaker, for a baseline of clips of all emotions
MAX_STEPS = 60


@dataclass(frozen=True)
class BaselineChoices:
    """How the head is fitted.

    Attributes:
        n_draws: differences of each clip, each from a window and a baseline drawn anew.
        all_share: how often the baseline is the mean of half or more of the speaker's clips, whatever their emotions.
            Else it is the mean of 1 to ``MOST_NEUTRAL_CLIPS`` other neutral clips.
        ridge: weight of the squared kernel against the mean cross-entropy, for features of deviation 1.
        vote_share: how much listeners' votes count beside the label.
    """

    n_draws: int = 2
    all_share: float = 0.5
    ridge: float = 0.2
    vote_share: float = 0.5


class Baselines:
    """What is usual for the speakers of a bank.

    Args:
        features: ``(n_windows, n_features)`` of all the bank's windows.
        bank: whose plain windows count.
        class_names: among which is neutral.
        chosen: indices of the clips that baselines may be made of.
    """

    def __init__(self, features: np.ndarray, bank: VoiceBank, class_names: tuple[str, ...], chosen: np.ndarray):
        rows = bank.rows_of(chosen, plain=True)
        owners, counts = np.unique(bank.owners[rows], return_counts=True)
        self._means = np.zeros((len(bank.clips), features.shape[1]), np.float32)
        np.add.at(self._means, bank.owners[rows], np.asarray(features[rows], np.float32))
        self._means[owners] /= counts[:, None]
        is_neutral = bank.classes(class_names) == class_index(NEUTRAL, class_names)
        self._speakers = [clip.speaker for clip in bank.clips]
        self._of_all: dict[str, list[int]] = {}
        self._of_neutral: dict[str, list[int]] = {}
        for clip in owners.tolist():
            if self._speakers[clip] is not None:
                self._of_all.setdefault(self._speakers[clip], []).append(clip)
                if is_neutral[clip]:
                    self._of_neutral.setdefault(self._speakers[clip], []).append(clip)

    def neutral(self, clip: int, n_clips: int, rng: np.random.Generator) -> np.ndarray | None:
        """Returns the mean ``(n_features,)`` of up to ``n_clips`` other neutral clips of a clip's speaker, if any."""
        others = [other for other in self._of_neutral.get(self._speakers[clip], []) if other != clip]
        return self._means[rng.permutation(others)[:n_clips]].mean(axis=0) if others else None

    def usual(self, clip: int, share: float, rng: np.random.Generator) -> np.ndarray | None:
        """Returns the mean of a share of the clips of a clip's speaker, if there are ``MIN_CLIPS``."""
        clips = self._of_all.get(self._speakers[clip], [])
        if len(clips) < MIN_CLIPS:
            return None
        return self._means[rng.permutation(clips)[: max(1, round(share * len(clips)))]].mean(axis=0)


def fit_baseline_head(
    features: np.ndarray,
    bank: VoiceBank,
    chosen: np.ndarray,
    class_names: tuple[str, ...],
    choices: BaselineChoices,
    *,
    seed: int,
) -> keras.Model:
    """Fits a head from differences, features minus a baseline, to logits ``(batch, n_classes)``.

    Args:
        features: ``(n_windows, n_features)`` of all the bank's windows.
        chosen: indices of the labelled clips to learn from.
    """
    rng, baselines = np.random.default_rng(seed), Baselines(features, bank, class_names, chosen)
    drawn, differences = [], []
    for clip in chosen:
        rows = bank.rows_of(clip)
        for _ in range(choices.n_draws):
            baseline = None
            if rng.random() < choices.all_share:
                baseline = baselines.usual(clip, rng.uniform(0.5, 1.0), rng)
            if baseline is None:
                baseline = baselines.neutral(clip, int(rng.integers(1, MOST_NEUTRAL_CLIPS + 1)), rng)
            if baseline is not None and len(rows):
                drawn.append(clip)
                differences.append(np.asarray(features[rng.choice(rows)], np.float32) - baseline)
    known, matrix = np.array(drawn, int), np.array(differences, np.float32)
    targets = balanced_targets(bank, np.unique(known), class_names, choices.vote_share)[known]
    kernel, bias = fit_softmax(matrix, targets, choices.ridge)
    head = build_baseline_head(matrix.shape[1], len(class_names))
    head.get_layer("logits").set_weights([kernel, bias])
    return head


def build_baseline_head(n_features: int, n_classes: int) -> keras.Model:
    """Builds the head: ``(batch, n_features)`` to logits ``(batch, n_classes)``."""
    differences = keras.Input((n_features,), name="differences")
    return keras.Model(differences, layers.Dense(n_classes, name="logits")(differences), name="baseline_head")


def fit_softmax(features: np.ndarray, targets: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Fits multinomial logistic regression with a ridge penalty, by L-BFGS.

    No mean is subtracted from the features, so 0 stays the person's usual voice.

    Args:
        features: ``(n, n_features)``.
        targets: ``(n, n_classes)``, each row a distribution times the row's weight.
        ridge: see ``BaselineChoices``.

    Returns:
        Kernel ``(n_features, n_classes)`` and bias ``(n_classes,)``, float32, for the features as given.
    """
    targets = targets / targets.sum()
    deviation = np.sqrt((targets.sum(axis=1, keepdims=True) * np.square(features)).sum(axis=0)) + 1e-3
    columns = np.concatenate([features / deviation, np.ones((len(features), 1), features.dtype)], axis=1)
    penalties = np.append(np.full(features.shape[1], ridge), 0.0)
    weights = minimise_cross_entropy(columns, targets, penalties, max_steps=MAX_STEPS)
    return weights[:-1] / deviation[:, None].astype(np.float32), weights[-1]


def answer_with_baseline(
    head: keras.Model,
    features: np.ndarray,
    bank: VoiceBank,
    chosen: np.ndarray,
    class_names: tuple[str, ...],
    *,
    seed: int,
    n_neutral: int = MOST_NEUTRAL_CLIPS,
) -> dict[int, np.ndarray]:
    """Returns probabilities ``(n_windows, n_classes)`` of the plain windows of each chosen clip, by the clip's index.

    The baseline is the mean of up to ``n_neutral`` other neutral clips of the speaker among the chosen; clips of
    speakers without are left out.
    """
    rng, baselines = np.random.default_rng(seed), Baselines(features, bank, class_names, chosen)
    kernel, bias = head.get_layer("logits").get_weights()
    answers = {}
    for clip in chosen.tolist():
        baseline = baselines.neutral(clip, n_neutral, rng)
        if baseline is not None:
            windows = np.asarray(features[bank.rows_of(clip, plain=True)], np.float32)
            answers[clip] = softmax((windows - baseline) @ kernel + bias)
    return answers
