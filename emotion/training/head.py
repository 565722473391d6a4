"""Fits a new last layer for a trained network: on few clips it stays near the old one, as far as the clips ask for.

The last layer's weights are the old ones plus a change. A ridge penalty on the change keeps it small; how strong it is,
cross-validation over speakers decides, and "no change at all" is one of the choices. (Learning that starts from and is
drawn to another task's weights: Li, Grandvalet & Davoine 2018, "Explicit inductive bias for transfer learning".)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from emotion.config import CalibrationConfig, RunConfig
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.labels import class_index
from emotion.models.calibration import SMALLEST_PROBABILITY, softmax
from emotion.models.fusion import HEAD
from emotion.training.evidence import EVIDENCE, group_clips, takes_any_length, windows_by_evidence
from emotion.training.softmax import minimise_cross_entropy

# Of the change, against the summed loss of the clips, for features of deviation 1 divided by the root of their number;
# infinite for no change.
RIDGES = (math.inf, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
MAX_FOLDS = 6
MAX_STEPS = 100
SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class HeadRows:
    """What a network's last layer gets for clips: one row for each window and kind of evidence.

    Attributes:
        features: ``(n_rows, n_features)`` float32.
        owners: ``(n_rows,)`` the index of the row's clip.
        kinds: ``(n_rows,)`` indices into ``EVIDENCE``.
        is_main: ``(n_rows,)`` bool: whether the row is by all evidence that its clip holds.
        classes: ``(n_clips,)`` true class indices.
        groups: ``(n_clips,)``; see ``group_clips``.
    """

    features: np.ndarray
    owners: np.ndarray
    kinds: np.ndarray
    is_main: np.ndarray
    classes: np.ndarray
    groups: np.ndarray

    def of_clips(self, chosen: np.ndarray) -> np.ndarray:
        """Returns ``(n_rows,)`` bool: the rows of the clips that are chosen, ``(n_clips,)`` bool."""
        return chosen[self.owners]

    def merged(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns ``(n_clips, n_classes)``: the mean over each clip's main rows."""
        sums = np.zeros((len(self.classes), probabilities.shape[1]))
        np.add.at(sums, self.owners[self.is_main], probabilities[self.is_main])
        return sums / sums.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class LastLayer:
    """A last layer: ``kernel (n_features, n_classes)`` and ``bias (n_classes,)``."""

    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.kernel + self.bias


@dataclass(frozen=True)
class FittedHead:
    """A fitted last layer and how it was chosen.

    Attributes:
        ridge: one of ``RIDGES``; infinite if the old one stayed.
        losses: by ridge, the mean negative log likelihood of clips in folds that the head did not learn from.
        held_out: ``(n_rows, n_classes)`` uncalibrated probabilities of every row, by such heads, with this ridge.
        n_folds: how many folds there were.
    """

    head: LastLayer
    ridge: float
    losses: dict[float, float]
    held_out: np.ndarray
    n_folds: int


def compute_head_rows(
    model: keras.Model, config: RunConfig, clips: Sequence[Clip], cache: ClipCache, *, reporter: Reporter = SILENT
) -> tuple[HeadRows, list[Clip]]:
    """Asks a network what its last layer gets for clips.

    Args:
        clips: of emotions that the classes cover; ``cache`` holds them.

    Returns:
        The rows, and the clips that have any: a voice may be too short to count in any window.

    Raises:
        DatasetError: if none has.
    """
    network = keras.Model(model.inputs, model.get_layer(HEAD).input)
    features, owners, kinds = [], [], []
    asked = windows_by_evidence(clips, cache, config, any_length=takes_any_length(model), reporter=reporter)
    for index, kind, inputs in asked:
        features.append(np.asarray(network.predict_on_batch(inputs), np.float32))
        owners += [index] * len(features[-1])
        kinds += [EVIDENCE.index(kind)] * len(features[-1])
    if not features:
        raise DatasetError(f"None of the {len(clips)} clips shows a face or a voice for long enough.")
    there, owners, kinds = np.unique(owners), np.array(owners), np.array(kinds)
    owners, clips = np.searchsorted(there, owners), [clips[index] for index in there]
    # ``both`` comes first of the kinds, and a clip that has it is judged by it.
    best = np.full(len(clips), len(EVIDENCE))
    np.minimum.at(best, owners, kinds)
    classes = np.array([class_index(clip.emotion, config.class_names) for clip in clips])
    rows = HeadRows(np.concatenate(features), owners, kinds, kinds == best[owners], classes, group_clips(clips))
    return rows, clips


def fit_head(
    rows: HeadRows, old: LastLayer, calibration: CalibrationConfig, gates: np.ndarray | None, *, balance: bool
) -> FittedHead:
    """Fits a last layer, and chooses by cross-validation how near it stays to the old one.

    Args:
        old: the layer to start from, for the classes wanted.
        calibration: the old network's, for whose calibrated answers the change is fitted.
        gates: see ``find_gates``.
        balance: whether rare emotions count as much as others.
    """
    kinds = np.array([getattr(calibration, kind) for kind in EVIDENCE])
    problem = _Problem(rows, old, kinds[rows.kinds], gates, balance)
    answers = {ridge: np.zeros((len(rows.owners), old.kernel.shape[1])) for ridge in RIDGES}
    folds = list(deal_groups(rows.groups, rows.classes))
    for learned in folds:
        others = ~rows.of_clips(learned)
        for ridge, head in problem.fit_path(learned):
            answers[ridge][others] = softmax(head.logits(rows.features[others]) / problem.temperatures[others])
    losses = {ridge: problem.loss(answers[ridge]) for ridge in RIDGES}
    ridge = min(losses, key=losses.__getitem__) if folds else math.inf
    everything = np.ones(len(rows.classes), bool)
    head = next(head for each, head in problem.fit_path(everything) if each == ridge)
    logs = np.log(np.maximum(answers[ridge], SMALLEST_PROBABILITY)) * problem.temperatures
    return FittedHead(head, ridge, losses, softmax(logs), len(folds))


def deal_groups(groups: np.ndarray, classes: np.ndarray) -> Iterator[np.ndarray]:
    """Yields for each fold which clips are learned from, ``(n_clips,)`` bool; no group is on both sides.

    Groups that are single clips are dealt so that every fold has a like share of each class.
    """
    names, members = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return
    order = np.random.default_rng(0).permutation(len(names))
    if len(names) == len(groups):
        order = order[np.argsort(classes[np.argsort(members)][order], kind="stable")]
    n_folds = min(MAX_FOLDS, len(names))
    fold_of = np.empty(len(names), int)
    fold_of[order] = np.arange(len(names)) % n_folds
    for fold in range(n_folds):
        yield fold_of[members] != fold


def find_gates(model: keras.Model) -> np.ndarray | None:
    """Tells which features of the last layer come and go with which evidence.

    Where the last layer follows the branches at once, its last inputs are signs of the evidence, 1 or 0, and a branch
    without evidence gives zeros. So a branch's bias has to stand with these signs.

    Returns:
        ``(n_features, n_signs)``: times the signs, 1 where a feature is there; None if there are no signs.
    """
    names = {layer.name for layer in model.layers}
    if model.get_layer(HEAD).input.shape != (None, *_width(model, "fusion")) or "branches" not in names:
        return None
    n_audio, n_video = (model.get_layer(f"{name}_evidence").output.shape[-1] for name in ("audio", "video"))
    n_signs = _width(model, "fusion")[0] - n_audio - n_video
    gates = np.zeros((n_audio + n_video + n_signs, n_signs), np.float32)
    gates[:n_audio, 0] = 1
    gates[n_audio : n_audio + n_video, 1] = 1
    if n_signs == 3:  # the second half of the video's features is for photographs, and so is the third sign
        half = n_audio + n_video // 2
        gates[n_audio:half, 2] = -1
        gates[half : n_audio + n_video] = (0, 0, 1)
    return gates


def _width(model: keras.Model, name: str) -> tuple[int, ...]:
    layers = {layer.name: layer for layer in model.layers}
    return layers[name].output.shape[1:] if name in layers else ()


class _Problem:
    """The change of a last layer as a problem that is solved for many sets of clips."""

    def __init__(
        self, rows: HeadRows, old: LastLayer, temperatures: np.ndarray, gates: np.ndarray | None, balance: bool
    ):
        self.rows, self.old, self.gates, self.balance = rows, old, gates, balance
        self.temperatures = temperatures[:, None]
        self.offsets = old.logits(rows.features) / self.temperatures

    def _weights(self, learned: np.ndarray) -> np.ndarray:
        """Returns ``(n_rows,)`` weights of sum 1: clips alike, or classes."""
        rows = self.rows
        n_rows = np.bincount(rows.owners, minlength=len(rows.classes))
        weights = rows.of_clips(learned) / n_rows[rows.owners]
        if self.balance:
            weights = (
                weights
                / np.maximum(np.bincount(rows.classes[learned], minlength=1 + rows.classes.max()), 1)[
                    rows.classes[rows.owners]
                ]
            )
        return weights / weights.sum()

    def loss(self, answers: np.ndarray) -> float:
        """Returns the mean negative log likelihood of all clips' classes, by their main rows."""
        classes, merged = self.rows.classes, self.rows.merged(answers)
        of_truth = merged[np.arange(len(classes)), classes]
        counts = np.bincount(classes)[classes] if self.balance else np.ones(len(classes))
        return float(np.average(-np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)), weights=1 / counts))

    def fit_path(self, learned: np.ndarray) -> Iterator[tuple[float, LastLayer]]:
        """Yields the head for each of ``RIDGES``, by the clips that are learned from."""
        yield math.inf, self.old
        weights = self._weights(learned)
        chosen = weights > 0
        rows, weights = self.rows, weights[chosen]
        features = rows.features[chosen].astype(np.float64)
        n_signs = 0 if self.gates is None else self.gates.shape[1]
        # The mean over the rows in which a feature is there is taken off in these rows alone.
        signs = features[:, features.shape[1] - n_signs :] if n_signs else np.ones((len(features), 1))
        gates = self.gates if n_signs else np.ones((features.shape[1], 1), np.float32)
        there = signs @ gates.T
        means = (weights @ features) / np.maximum(weights @ there, 1e-12)
        means[features.shape[1] - n_signs :] = 0
        centred = features - there * means
        deviations = np.sqrt(weights @ np.square(centred))
        is_sign = np.arange(len(deviations)) >= len(deviations) - n_signs
        n_moving = max(1, int((deviations[~is_sign] > SMALLEST_DEVIATION).sum()))
        scale = 1 / ((deviations + SMALLEST_DEVIATION) * math.sqrt(n_moving))
        scale[is_sign] = 1
        columns = centred * scale
        if not n_signs:
            columns = np.concatenate([columns, signs], axis=1)
        turn = None
        if len(columns) < columns.shape[1]:  # the ridge is the same in any directions at right angles
            left, sizes, turn = np.linalg.svd(columns, full_matrices=False)
            columns = left * sizes
        targets = np.eye(self.old.kernel.shape[1])[rows.classes[rows.owners[chosen]]] * weights[:, None]
        found = None
        for ridge in RIDGES[1:]:
            found = minimise_cross_entropy(
                columns / self.temperatures[chosen], targets, np.full(columns.shape[1], ridge / learned.sum()),
                offsets=self.offsets[chosen], start=found, max_steps=MAX_STEPS,
            )  # fmt: skip
            change = found if turn is None else turn.T @ found
            kernel, bias = change[: len(scale)] * scale[:, None], np.zeros(change.shape[1])
            moved = gates.T @ (means[:, None] * kernel)
            if n_signs:
                kernel[-n_signs:] -= moved
            else:
                bias = change[-1] - moved[0]
            yield (
                ridge,
                LastLayer((self.old.kernel + kernel).astype(np.float32), (self.old.bias + bias).astype(np.float32)),
            )
