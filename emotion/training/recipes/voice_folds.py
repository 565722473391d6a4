"""How well the voice branches do on speakers they never heard: cross-validation by speaker over RAVDESS.

The shipped models keep some speakers for validation once; here every speaker of RAVDESS that the data folder holds is
tested once, by branches made in the same way from the other speakers and EmoDB.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emotion.datasets.protocols import folds_by_speaker
from emotion.files import write_json
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS, class_index
from emotion.models.calibration import softmax
from emotion.scores import bootstrap_intervals, compute_confusion_matrix, compute_scores
from emotion.training.recipes.light_voice import Teaching, train_light_network
from emotion.training.recipes.settings import WHISPER
from emotion.training.recipes.stages import MFCC, VoiceStages
from emotion.training.recipes.voices import check_same_windows, merge_windows
from emotion.training.recipes.whisper_voice import predict_heard, train_whisper_network

N_FOLDS = 5


def study_voices(
    stages: VoiceStages,
    architectures: tuple[str, ...],
    folder: Path,
    *,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Cross-validates voice branches; a fold that is done is kept in a file and not done again.

    They learn RAVDESS's eight emotions. Scores for seven are those of the same answers, calm being joined with neutral.

    Args:
        stages: windows of all voices, and how the branches are trained.
        architectures: which branches; the light one needs Whisper's as its teacher either way.
        folder: for the folds' results.
        seed: of the folds.
        say: takes messages meant for the user.

    Returns:
        By architecture, then by number of classes, the scores of ``compute_scores``, ``uar_interval`` (95 %, over
        speakers), ``uar_by_fold`` and ``confusion_matrix``.
    """
    bank = stages.bank(WHISPER)
    tested = [clip for clip in bank.clips if clip.clip_id.startswith("ravdess")]
    places = {clip.clip_id: index for index, clip in enumerate(bank.clips)}
    speakers = np.array([clip.speaker for clip in bank.clips])
    answers = {architecture: np.zeros((len(bank.clips), len(EIGHT_EMOTIONS))) for architecture in architectures}
    folds = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(folds_by_speaker(tested, N_FOLDS, seed, validation_fraction=0.0), start=1):
        test = np.array([places[clip_id] for clip_id in split.test])
        learned = np.flatnonzero(~np.isin(speakers, speakers[test]))
        path = folder / f"fold{number}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if any(architecture not in kept for architecture in architectures):
            say(f"Fold {number} of {N_FOLDS}.")
            kept |= _test_fold(stages, architectures, learned, test, seed=seed)
            write_json(path, kept)
        for architecture in architectures:
            answers[architecture][test] = kept[architecture]
        folds.append(test)
    classes = bank.classes(EIGHT_EMOTIONS)
    merge = join_calm(np.bincount(classes[classes >= 0], minlength=len(EIGHT_EMOTIONS)))
    return {
        architecture: {
            "8": _score(classes, of_eight.argmax(axis=1), speakers, folds, EIGHT_EMOTIONS),
            "7": _score(
                bank.classes(SEVEN_EMOTIONS), (of_eight @ merge).argmax(axis=1), speakers, folds, SEVEN_EMOTIONS
            ),
        }
        for architecture, of_eight in answers.items()
    }


def join_calm(counts: np.ndarray) -> np.ndarray:
    """Returns the matrix ``(8, 7)`` that turns probabilities of eight emotions into those of seven.

    In training every class counts the same, however many clips it has. A joint class would, too: so calm and neutral
    each count in it by their share of its clips.

    Args:
        counts: ``(8,)`` clips of each of ``EIGHT_EMOTIONS``.
    """
    matrix = np.zeros((len(EIGHT_EMOTIONS), len(SEVEN_EMOTIONS)))
    for index, name in enumerate(EIGHT_EMOTIONS):
        target = class_index(name, SEVEN_EMOTIONS)
        alike = [counts[i] for i, other in enumerate(EIGHT_EMOTIONS) if class_index(other, SEVEN_EMOTIONS) == target]
        matrix[index, target] = counts[index] / max(1, sum(alike))
    return matrix


def _test_fold(stages: VoiceStages, architectures, learned, test, *, seed: int) -> dict[str, list[list[float]]]:
    bank, heard = stages.bank(WHISPER), stages.heard()
    config = stages.config(WHISPER, EIGHT_EMOTIONS)
    labelled = learned[bank.classes(EIGHT_EMOTIONS)[learned] >= 0]
    choices = stages.choices
    teacher = train_whisper_network(bank, heard, labelled, config, stages.whisper_arrays(), choices.whisper, seed=seed)
    logits = predict_heard(teacher, heard, np.arange(bank.n_windows))
    results = {WHISPER: _answer(softmax(logits), bank, test)}
    if MFCC in architectures:
        pictures = stages.bank(MFCC)
        check_same_windows(bank, pictures)
        network = train_light_network(
            pictures, learned, stages.config(MFCC, EIGHT_EMOTIONS), choices.light,
            Teaching(softmax(logits), heard.statistics), seed=seed,
        )  # fmt: skip
        rows = pictures.plain_rows_of(test)
        windows = np.stack([pictures.window(row) for row in rows])
        probabilities = np.zeros((pictures.n_windows, len(EIGHT_EMOTIONS)))
        probabilities[rows] = softmax(np.asarray(network.predict({"audio": windows}, batch_size=64, verbose=0)))
        results[MFCC] = _answer(probabilities, pictures, test)
    return results


def _answer(probabilities: np.ndarray, bank, test: np.ndarray) -> list[list[float]]:
    rows = bank.plain_rows_of(test)
    return merge_windows(probabilities[rows], bank.clip_of(rows), test).round(4).tolist()


def _score(classes, predicted, speakers, folds: list[np.ndarray], class_names: tuple[str, ...]) -> dict[str, Any]:
    rows, n_classes = np.concatenate(folds), len(class_names)
    matrices = [compute_confusion_matrix(classes[fold], predicted[fold], n_classes) for fold in folds]
    matrix = np.sum(matrices, axis=0)
    return {
        **compute_scores(matrix),
        "uar_interval": bootstrap_intervals(classes[rows], predicted[rows], speakers[rows], n_classes)["uar"],
        "uar_by_fold": [compute_scores(of_fold)["uar"] for of_fold in matrices],
        "confusion_matrix": matrix.tolist(),
    }
