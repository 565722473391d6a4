"""How well a model answers for labelled clips: each is judged as inference judges a file, and the answers are scored.

A clip's answer is ``overall`` of its ``MediaPrediction``: what ``run_inference.py`` prints for the same file.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion.config import MODALITIES, RunConfig
from emotion.console import SILENT, Reporter, counted
from emotion.csv_rows import restore, write_rows
from emotion.datasets.clips import SEXES, Clip, restrict_clip
from emotion.errors import ConfigError, DatasetError, MediaError, RunError
from emotion.evaluation.adaptation import BY_CLIPS, BY_REFERENCE, References
from emotion.files import written_whole
from emotion.inference.analysed_clip import AnalysedClip
from emotion.inference.person_baseline import PersonBaseline, PersonEvidence, of_own_mean
from emotion.inference.predictor import EmotionPredictor
from emotion.labels import class_index
from emotion.models.trained_model import Run
from emotion.results import OWN_CLIPS, EmotionSummary
from emotion.scores import (
    bootstrap_intervals,
    compute_answered,
    compute_calibration,
    compute_confusion_matrix,
    compute_coverage_accuracy,
    compute_per_class,
    compute_scores,
)

EVIDENCE = ("both", "audio_only", "video_only")
PREDICTION_COLUMNS = ("clip_id", "emotion", "speaker", "sex", "evidence", "predicted", "confidence")


@dataclass(frozen=True)
class Judgement:
    """A model's answer for one labelled clip.

    Attributes:
        clip_id: the clip.
        class_index: its true emotion among the classes.
        probabilities: ``(n_classes,)``.
        evidence: ``both``, ``audio_only`` or ``video_only``.
        speaker, sex: as far as known.
    """

    clip_id: str
    class_index: int
    probabilities: np.ndarray
    evidence: str
    speaker: str | None
    sex: str | None


def used_modalities(config: RunConfig, modality: str) -> tuple[str, ...]:
    """Returns the evidence that a model is to be judged by.

    Args:
        modality: ``audio``, ``video``, or ``both`` for all that the model takes.

    Raises:
        ConfigError: if the model does not take it.
    """
    if modality == "both":
        return config.modalities
    if modality not in MODALITIES:
        raise ConfigError(f"--modality must be one of both, {', '.join(MODALITIES)}, got {modality!r}.")
    if modality not in config.modalities:
        raise ConfigError(f"--modality {modality}: the model takes {' and '.join(config.modalities)} only.")
    return (modality,)


@dataclass(frozen=True)
class JudgedClips:
    """What came of judging clips.

    Attributes:
        judgements: one for each clip with evidence.
        without_evidence: ids of the clips in which the model found neither a face nor a voice.
        failures: ids of the clips that could not be decoded, with the reason.
        n_compared: clips with an answer relative to the person's baseline, by ``BaselineUse.kind``.
    """

    judgements: list[Judgement]
    without_evidence: list[str]
    failures: dict[str, str]
    n_compared: dict[str, int]

    @property
    def n_unanswered(self) -> int:
        return len(self.without_evidence) + len(self.failures)


def describe_unanswered(judged: JudgedClips, clips: Sequence[Clip], side: str) -> list[str]:
    """Returns lines that name the clips which no score counts, and say why; none if there are no such clips."""
    if not judged.n_unanswered:
        return []
    reasons = dict.fromkeys(judged.without_evidence, "the model found neither a face nor a voice to judge for long")
    lines = [f"{judged.n_unanswered} of the {counted(len(clips), 'clip')} of the {side} side are in no score:"]
    for clip in clips:
        reason = judged.failures.get(clip.clip_id) or reasons.get(clip.clip_id)
        if reason:
            lines.append(f"  {clip.clip_id}: {reason}")
    return lines


def judge_clips(
    clips: Sequence[Clip],
    run: Run,
    *,
    modalities: Sequence[str] = MODALITIES,
    adapt: str | None = None,
    references: References | None = None,
    reporter: Reporter = SILENT,
) -> JudgedClips:
    """Judges clips of emotions that the classes cover, as ``EmotionPredictor`` judges any file.

    Args:
        modalities: what to judge by; the rest of each clip is not read.
        adapt: ``clips`` compares each known speaker with their mean over all their clips, ``reference`` with what
            ``references`` name; None compares only people who are in a long clip for long.
        references: for ``reference``.

    Raises:
        RunError: if the model's answers are not finite.
    """
    modalities = [name for name in modalities if name in run.config.modalities]
    predictor, bar = EmotionPredictor(run), reporter.bar("Judging", "clips")
    failures, answers, compared = {}, {}, Counter()
    known: dict[tuple, PersonBaseline | None] = {}

    def conclude(clip: Clip, analysed: AnalysedClip, person: PersonBaseline | None) -> None:
        prediction = predictor.conclude(analysed, person)
        answers[clip.clip_id] = prediction.overall
        compared.update({use.kind for use in prediction.baselines})

    def find_reference(clip: Clip) -> PersonBaseline | None:
        named = references.by_clip.get(clip.clip_id) if adapt == BY_REFERENCE else None
        if named and named not in known:
            try:
                known[named] = predictor.read_reference(named)
            except MediaError:
                if clip.reference is not None:
                    raise
                known[named] = None  # its neutral clips show nothing to compare with
        return known.get(named)

    n_done = 0
    for group in _by_speaker(clips) if adapt == BY_CLIPS else [[clip] for clip in clips]:
        analysed = {}
        for clip in group:
            kept = restrict_clip(clip, modalities)
            try:
                if kept is not None:
                    analysed[clip] = predictor.analyse(kept.recording), find_reference(clip)
            except MediaError as error:
                failures[clip.clip_id] = str(error)
            n_done += 1
            bar(n_done, len(clips))
        person = None
        if adapt == BY_CLIPS and group[0].speaker:
            evidence = PersonEvidence.pooled([each.main_evidence() for each, _ in analysed.values()])
            person = of_own_mean(evidence, run.baseline, OWN_CLIPS)
        for clip, (each, reference) in analysed.items():
            conclude(clip, each, reference or person)

    judged = JudgedClips([], [], failures, dict(compared))
    for clip in clips:
        answer = answers.get(clip.clip_id)
        if clip.clip_id in failures:
            continue
        if answer is None or answer.probabilities is None:
            judged.without_evidence.append(clip.clip_id)
        elif not np.isfinite(answer.probabilities).all():
            raise RunError(f"{run.path}: the model's answers are not finite numbers. Train it again.")
        else:
            judged.judgements.append(_judgement(clip, answer, run.config))
    return judged


def _by_speaker(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Groups clips by speaker; those of unknown speakers stand alone."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.speaker or f" {clip.clip_id}", []).append(clip)
    return list(groups.values())


def _judgement(clip: Clip, answer: EmotionSummary, config: RunConfig) -> Judgement:
    parts = set(answer.evidence.split("+"))
    evidence = "audio_only" if parts == {"voice"} else "both" if "voice" in parts else "video_only"
    index = class_index(clip.emotion, config.class_names)
    return Judgement(clip.clip_id, index, answer.probabilities, evidence, clip.speaker, clip.sex)


def build_report(
    judgements: Sequence[Judgement], class_names: Sequence[str], *, n_unanswered: int = 0, unsure_below: float = 0.0
) -> dict:
    """Scores judgements. The most probable class counts as the answer, however unsure it is.

    Args:
        judgements: at least one.
        class_names: the model's classes, in order.
        n_unanswered: clips without evidence, which are in no score but count as not covered.
        unsure_below: the confidence under which inference would say "unsure".

    Returns:
        JSON types: ``n``, ``n_unanswered``, ``n_speakers``, ``classes``, the scores, ``per_class``,
        ``confusion_matrix``, ``ece``, ``calibration``, ``intervals`` (95 %, over speakers where all are known and there
        are several, else over clips), ``by_speaker``, ``by_sex``, ``coverage_accuracy``, ``evidence`` and, where
        ``unsure_below`` is above 0, ``answered``: coverage and accuracy with the unsure answers withheld.

    Raises:
        DatasetError: if there is no judgement.
    """
    if not judgements:
        raise DatasetError("None of the clips could be judged, so there is nothing to score.")
    true = np.array([judgement.class_index for judgement in judgements])
    probabilities = np.stack([judgement.probabilities for judgement in judgements])
    predicted, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    matrix = compute_confusion_matrix(true, predicted, len(class_names))
    speakers = [judgement.speaker for judgement in judgements]
    over_speakers = None not in speakers and len(set(speakers)) > 1
    groups = speakers if over_speakers else [judgement.clip_id for judgement in judgements]
    intervals = bootstrap_intervals(true, predicted, groups, len(class_names))
    is_right = predicted == true
    ece, calibration = compute_calibration(confidences, is_right)
    answered = {"answered": compute_answered(confidences, is_right, unsure_below, n_unanswered)} if unsure_below else {}

    def scores_of(members: list[bool]) -> dict[str, Any]:
        inside = np.array(members)
        scores = compute_scores(compute_confusion_matrix(true[inside], predicted[inside], len(class_names)))
        return {name: scores[name] for name in ("n", "accuracy", "uar")}

    known = sorted(set(speakers) - {None})
    sexes = [judgement.sex for judgement in judgements]
    evidence = Counter(judgement.evidence for judgement in judgements)
    return {
        **compute_scores(matrix),
        "n_unanswered": n_unanswered,
        "n_speakers": len(known),
        "classes": list(class_names),
        "per_class": dict(zip(class_names, compute_per_class(matrix), strict=True)),
        "confusion_matrix": matrix.tolist(),
        "ece": ece,
        "calibration": calibration,
        "intervals": {
            **{name: list(interval) for name, interval in intervals.items()},
            "unit": "speakers" if over_speakers else "clips",
        },
        "by_speaker": {speaker: scores_of([s == speaker for s in speakers]) for speaker in known},
        "by_sex": {sex: scores_of([s == sex for s in sexes]) for sex in SEXES if sex in sexes},
        "coverage_accuracy": compute_coverage_accuracy(confidences, is_right, n_unanswered),
        **answered,
        "evidence": {name: evidence[name] for name in EVIDENCE},
    }


def write_predictions(judgements: Sequence[Judgement], class_names: Sequence[str], path: str | os.PathLike) -> None:
    """Writes one row a clip as CSV: ``PREDICTION_COLUMNS``, then the probability of every class, to the last digit.

    ``predicted`` is the most probable class, however unsure.
    """
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        rows = [(*PREDICTION_COLUMNS, *class_names)]
        for judgement in judgements:
            best = int(np.argmax(judgement.probabilities))
            named = (judgement.clip_id, class_names[judgement.class_index], judgement.speaker, judgement.sex)
            answer = (judgement.evidence, class_names[best], repr(float(judgement.probabilities[best])))
            rows.append((*(x or "" for x in named), *answer, *(repr(float(p)) for p in judgement.probabilities)))
        write_rows(file, rows)


def load_predictions(path: str | os.PathLike) -> tuple[list[Judgement], tuple[str, ...]]:
    """Reads what ``write_predictions`` wrote, and the classes.

    Raises:
        DatasetError: if the file is missing or no such table.
    """
    n_named = len(PREDICTION_COLUMNS)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = ([restore(field) for field in row] for row in csv.reader(file, strict=True))
        class_names = tuple(header[n_named:])
        judgements = [
            Judgement(
                row[0],
                class_names.index(row[1]),
                np.array([float(value) for value in row[n_named:]]),
                row[4],
                row[2] or None,
                row[3] or None,
            )
            for row in rows
        ]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DatasetError(f"{path}: not a readable table of predictions ({error}).") from error
    if tuple(header[:n_named]) != PREDICTION_COLUMNS or any(
        len(j.probabilities) != len(class_names) for j in judgements
    ):
        raise DatasetError(f"{path}: the columns must be {','.join(PREDICTION_COLUMNS)} and one for every class.")
    return judgements, class_names
