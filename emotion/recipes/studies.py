"""How well the voice branches do on speakers they never heard: cross-validation by speaker over all of RAVDESS.

The shipped models keep some speakers for validation once; here every speaker of RAVDESS is tested once, by branches
made in the same way from the other speakers and EmoDB.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emotion.files import write_json
from emotion.folds import folds_by_speaker
from emotion.recipes.choices import WHISPER
from emotion.recipes.fusion import softmax
from emotion.recipes.light_training import Teaching, train_light_network
from emotion.recipes.stages import MFCC, VoiceStages
from emotion.recipes.voices import merge_windows
from emotion.recipes.whisper_training import predict_heard, train_whisper_network
from emotion.scores import bootstrap_intervals, compute_confusion_matrix, compute_scores

N_FOLDS = 5


def study_voices(
    stages: VoiceStages,
    class_names: tuple[str, ...],
    architectures: tuple[str, ...],
    folder: Path,
    *,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Cross-validates voice branches; a fold that is done is kept in a file and not done again.

    Args:
        stages: windows of all voices, and how the branches are trained.
        class_names: seven or eight emotions.
        architectures: which branches; the light one needs Whisper's as its teacher either way.
        folder: for the folds' results.
        seed: of the folds.
        say: takes messages meant for the user.

    Returns:
        By architecture the scores of ``compute_scores``, ``uar_interval`` (95 %, over speakers), ``uar_by_fold`` and
        ``confusion_matrix``.
    """
    bank = stages.bank(WHISPER)
    tested = [clip for clip in bank.clips if clip.clip_id.startswith("ravdess")]
    places = {clip.clip_id: index for index, clip in enumerate(bank.clips)}
    speakers = np.array([clip.speaker for clip in bank.clips])
    classes = bank.classes(class_names)
    answers = {architecture: np.full(len(bank.clips), -1) for architecture in architectures}
    by_fold: dict[str, list[float]] = {architecture: [] for architecture in architectures}
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(folds_by_speaker(tested, N_FOLDS, seed, validation_fraction=0.0), start=1):
        test = np.array([places[clip_id] for clip_id in split.test])
        learned = np.flatnonzero(~np.isin(speakers, speakers[test]))
        path = folder / f"{len(class_names)}-classes-fold{number}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if any(architecture not in kept for architecture in architectures):
            say(f"Fold {number} of {N_FOLDS}, {len(class_names)} classes.")
            kept |= _test_fold(stages, class_names, architectures, learned, test, seed=seed)
            write_json(path, kept)
        for architecture in architectures:
            answers[architecture][test] = kept[architecture]
            matrix = compute_confusion_matrix(classes[test], np.array(kept[architecture]), len(class_names))
            by_fold[architecture].append(compute_scores(matrix)["uar"])
    rows = np.array([places[clip.clip_id] for clip in tested])
    return {
        architecture: _score(classes[rows], answer[rows], speakers[rows], len(class_names), by_fold[architecture])
        for architecture, answer in answers.items()
    }


def _test_fold(stages: VoiceStages, class_names, architectures, learned, test, *, seed: int) -> dict[str, list[int]]:
    bank, heard = stages.bank(WHISPER), stages.heard()
    config = stages.config(WHISPER, class_names)
    labelled = learned[bank.classes(class_names)[learned] >= 0]
    choices = stages.choices
    teacher = train_whisper_network(bank, heard, labelled, config, stages.whisper_arrays(), choices.whisper, seed=seed)
    logits = predict_heard(teacher, heard, np.arange(bank.n_windows))
    results = {WHISPER: _answer(softmax(logits), bank, test)}
    if MFCC in architectures:
        pictures = stages.bank(MFCC)
        teaching = Teaching(softmax(logits), heard.statistics)
        network = train_light_network(
            pictures, learned, stages.config(MFCC, class_names), choices.light, teaching, seed=seed
        )
        rows = pictures.plain_rows_of(test)
        windows = np.stack([pictures.window(row) for row in rows])
        answers = softmax(np.asarray(network.predict({"audio": windows}, batch_size=64, verbose=0)))
        probabilities = np.zeros((pictures.n_windows, len(class_names)))
        probabilities[rows] = answers
        results[MFCC] = _answer(probabilities, pictures, test)
    return results


def _answer(probabilities: np.ndarray, bank, test: np.ndarray) -> list[int]:
    rows = bank.plain_rows_of(test)
    merged = merge_windows(probabilities[rows], bank.clip_of(rows), test)
    return merged.argmax(axis=1).tolist()


def _score(true, predicted, speakers, n_classes: int, by_fold: list[float]) -> dict[str, Any]:
    matrix = compute_confusion_matrix(true, predicted, n_classes)
    return {
        **compute_scores(matrix),
        "uar_interval": bootstrap_intervals(true, predicted, speakers, n_classes)["uar"],
        "uar_by_fold": by_fold,
        "confusion_matrix": matrix.tolist(),
    }
