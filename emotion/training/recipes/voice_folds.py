"""How well a voice branch does on speakers it never heard: cross-validation by speaker over RAVDESS.

The shipped models keep a few speakers for validation; here every speaker of RAVDESS is tested once, by a branch made in
the same way from all other speakers and corpora. The branches learn RAVDESS's eight emotions; scores for seven are
those of the same answers with calm counted as neutral.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.console import SILENT, Reporter
from emotion.datasets.protocols import folds_by_speaker
from emotion.evaluation.judging import Judgement, build_report
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS, class_index
from emotion.models.calibration import softmax
from emotion.training.recipes.voice_bank import VoiceBank, merge_windows

N_FOLDS = 5
KEPT = ("n", "accuracy", "uar", "macro_f1", "weighted_f1", "intervals", "confusion_matrix")


def cross_validate_voice(
    bank: VoiceBank,
    usable: np.ndarray,
    train: Callable[[np.ndarray, Path], keras.Model],
    folder: Path,
    *,
    seed: int,
    reporter: Reporter = SILENT,
) -> dict[str, dict[str, Any]]:
    """Tests every clip of RAVDESS once.

    Args:
        bank: windows of all clips, as the branch takes them.
        usable: indices of the clips that may be learned from.
        train: makes a network of ``EIGHT_EMOTIONS`` from the clips of these indices, or finds it in the folder given.

    Returns:
        By number of classes, ``8`` and ``7``, the scores with ``intervals`` (95 %, over speakers), ``confusion_matrix``
        and ``uar_by_fold``.
    """
    spoken = bank.spoken()
    tested = [clip for i, clip in enumerate(bank.clips) if clip.clip_id.startswith("ravdess") and spoken[i]]
    places = {clip.clip_id: index for index, clip in enumerate(bank.clips)}
    speakers = np.array([clip.speaker for clip in bank.clips])
    classes = bank.classes(EIGHT_EMOTIONS)
    merge = join_calm(np.bincount(classes[classes >= 0], minlength=len(EIGHT_EMOTIONS)))
    folds: dict[str, list[list[Judgement]]] = {"8": [], "7": []}
    for number, split in enumerate(folds_by_speaker(tested, N_FOLDS, seed, validation_fraction=0.0), start=1):
        reporter.say(f"Fold {number} of {N_FOLDS}.")
        test = np.array([places[clip_id] for clip_id in split.test])
        network = train(usable[~np.isin(speakers[usable], speakers[test])], folder / f"fold{number}")
        of_eight = answer_clips(network, bank, test)
        folds["8"].append(_judge(bank, test, of_eight, EIGHT_EMOTIONS))
        folds["7"].append(_judge(bank, test, of_eight @ merge, SEVEN_EMOTIONS))
    scores = {}
    for key, names in (("8", EIGHT_EMOTIONS), ("7", SEVEN_EMOTIONS)):
        report = build_report([judgement for fold in folds[key] for judgement in fold], names)
        by_fold = [build_report(fold, names)["uar"] for fold in folds[key]]
        scores[key] = {**{name: report[name] for name in KEPT}, "uar_by_fold": by_fold}
    return scores


def join_calm(counts: np.ndarray) -> np.ndarray:
    """Returns the matrix ``(8, 7)`` that turns probabilities of eight emotions into those of seven.

    In training every class counts the same, however many clips it has. So that the joint class does too, calm and
    neutral count in it by their share of its clips.

    Args:
        counts: ``(8,)`` clips of each of ``EIGHT_EMOTIONS``.
    """
    matrix = np.zeros((len(EIGHT_EMOTIONS), len(SEVEN_EMOTIONS)))
    for index, name in enumerate(EIGHT_EMOTIONS):
        target = class_index(name, SEVEN_EMOTIONS)
        alike = [counts[i] for i, other in enumerate(EIGHT_EMOTIONS) if class_index(other, SEVEN_EMOTIONS) == target]
        matrix[index, target] = counts[index] / max(1, sum(alike))
    return matrix


def answer_clips(network: keras.Model, bank: VoiceBank, chosen: np.ndarray) -> np.ndarray:
    """Returns a network's probabilities ``(len(chosen), n_classes)``, the means over each clip's plain windows."""
    rows = bank.rows_of(chosen, plain=True)
    logits = network.predict({"audio": bank.inputs(rows)}, batch_size=64, verbose=0)
    return merge_windows(softmax(np.asarray(logits)), bank.owners[rows], chosen)


def _judge(bank: VoiceBank, chosen: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]) -> list[Judgement]:
    classes = bank.classes(names)
    return [
        Judgement(bank.clips[i].clip_id, int(classes[i]), row, "audio_only", bank.clips[i].speaker, bank.clips[i].sex)
        for i, row in zip(chosen, probabilities, strict=True)
    ]
