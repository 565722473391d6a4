"""How well a voice branch does on corpora it never heard: other people, rooms, microphones and languages.

Corpora are dealt into folds; each fold's clips are judged by a branch that was made in the same way from all other
corpora. What is fitted to its answers, temperature and the threshold for ``unsure``, is fitted to strangers' voices:
to score a corpus, to those of the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion.datasets.clips import SEXES
from emotion.evaluation.judging import Judgement, build_report
from emotion.files import written_whole
from emotion.labels import class_index
from emotion.models.calibration import choose_threshold
from emotion.outputs.score_tables import format_table
from emotion.training.calibrating import Answers
from emotion.training.recipes.own_baseline import MOST_NEUTRAL_CLIPS
from emotion.training.recipes.scoring import uar_of
from emotion.training.recipes.voice_bank import VoiceBank
from emotion.training.recipes.voices import corpus_of, language_of

NEUTRAL = "neutral"
SURE = 0.6  # confidence from which a wrong answer about calm talk is overconfident
KINDS = ("alone", "with_baseline")
NEUTRAL_OFFSETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4)
MAX_CALM_LOST = 0.04
N_FITTED = 100  # clips drawn of each corpus, so that each counts the same in what is fitted


@dataclass(frozen=True)
class CorpusAnswers:
    """What was answered about one corpus by a branch that never heard it.

    Attributes:
        language: as far as known.
        alone: each clip by itself. Clips of emotions that the branch could not learn elsewhere are not among them.
        with_baseline: the clips of speakers with other neutral clips, against these; None without such speakers.
    """

    language: str
    alone: Answers
    with_baseline: Answers | None


def deal_corpora(bank: VoiceBank, folds: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Returns the folds with the corpora that the bank has; corpora of no fold join the smallest."""
    names, counts = np.unique([corpus_of(clip) for clip in bank.clips], return_counts=True)
    sizes = dict(zip(names.tolist(), counts.tolist(), strict=True))
    dealt = [[name for name in fold if name in sizes] for fold in folds]
    for name in sorted(set(sizes) - {name for fold in dealt for name in fold}):
        min(dealt, key=lambda fold: sum(sizes[each] for each in fold)).append(name)
    return [tuple(fold) for fold in dealt if fold]


def gather_answers(
    bank: VoiceBank,
    chosen: np.ndarray,
    windows_of: Callable[[int], np.ndarray | None],
    class_names: tuple[str, ...],
) -> Answers | None:
    """Returns the answers for clips of these indices.

    Args:
        windows_of: index of a clip to ``(n_windows, n_classes)`` probabilities, or None for no answer.
    """
    classes = bank.classes(class_names)
    answered = [(index, windows) for index in chosen.tolist() if (windows := windows_of(index)) is not None]
    if not answered:
        return None
    indices = [index for index, _ in answered]
    clips = [bank.clips[index] for index in indices]
    return Answers(
        [windows for _, windows in answered],
        classes[indices],
        np.array([clip.speaker or clip.clip_id for clip in clips]),
        np.array([clip.sex or "" for clip in clips]),
    )


def write_answers(path: Path, answers: dict[str, CorpusAnswers]) -> None:
    """Writes answers about corpora, so that ``read_answers`` finds them."""
    arrays = {}
    for corpus, of_corpus in answers.items():
        arrays[f"{corpus}/language"] = np.array(of_corpus.language)
        for kind in KINDS:
            part = getattr(of_corpus, kind)
            if part is not None:
                arrays[f"{corpus}/{kind}/windows"] = np.concatenate(part.clips)
                arrays[f"{corpus}/{kind}/counts"] = np.array([len(clip) for clip in part.clips])
                arrays |= {f"{corpus}/{kind}/{name}": getattr(part, name) for name in ("classes", "groups", "sexes")}
    with written_whole(path) as unfinished:
        np.savez(unfinished, **arrays)


def read_answers(path: Path) -> dict[str, CorpusAnswers]:
    """Reads what ``write_answers`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)

    def read_part(name: str) -> Answers | None:
        if f"{name}/windows" not in arrays:
            return None
        clips = np.split(arrays[f"{name}/windows"], np.cumsum(arrays[f"{name}/counts"])[:-1])
        return Answers(clips, *(arrays[f"{name}/{part}"] for part in ("classes", "groups", "sexes")))

    names = [key.removesuffix("/language") for key in arrays if key.endswith("/language")]
    return {
        name: CorpusAnswers(str(arrays[f"{name}/language"]), *(read_part(f"{name}/{kind}") for kind in KINDS))
        for name in names
    }


def language_of_corpus(bank: VoiceBank, name: str) -> str:
    """Returns the languages of a corpus's clips, such as ``en``."""
    return "+".join(sorted({language_of(clip) for clip in bank.clips if corpus_of(clip) == name} - {""}))


# ---- What is fitted across corpora ----


def join_equal(answers: Sequence[Answers], *, seed: int = 0) -> Answers:
    """Returns ``N_FITTED`` clips of each corpus, drawn anew where there are fewer."""
    rng = np.random.default_rng(seed)
    parts = [each.part(rng.choice(len(each.clips), N_FITTED, replace=len(each.clips) < N_FITTED)) for each in answers]
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("classes", "groups", "sexes"))
    return Answers([clip for part in parts for clip in part.clips], *arrays)


@dataclass(frozen=True)
class Confidence:
    """How answers about strangers' voices are corrected.

    Attributes:
        neutral_offset: what is taken off the logit of neutral.
        temperature: of the answers after that.
        unsure_below: the confidence below which an answer is ``unsure``.
    """

    neutral_offset: float = 0.0
    temperature: float = 1.0
    unsure_below: float = 0.0


def fit_confidence(answers: Sequence[Answers], neutral: int | None = None) -> Confidence:
    """Fits all of it to answers about corpora, each of which counts the same; without any, answers stay as they are.

    Args:
        neutral: index of the class whose offset is fitted; None for no offset.
    """
    if not answers:
        return Confidence()
    offset = 0.0 if neutral is None else fit_neutral_offset(answers, neutral)
    joined = join_equal(answers) if neutral is None else join_equal(answers).shifted(neutral, offset)
    temperature = joined.fit_temperature()
    merged = joined.merged(temperature)
    is_right = merged.argmax(axis=1) == joined.classes
    return Confidence(offset, temperature, choose_threshold(merged.max(axis=1), is_right))


def fit_neutral_offset(answers: Sequence[Answers], neutral: int) -> float:
    """Finds what to take off the logit of neutral, so that actors of new corpora are not all called neutral.

    Much calm talk among the training data makes neutral the answer to every unknown voice. The offset with the highest
    mean UAR over corpora of several emotions wins, of those that cost at most ``MAX_CALM_LOST`` of the clips of
    neutral corpora, which are then called something else.
    """
    acted = [each for each in answers if len(np.unique(each.classes)) > 1]
    calm = [each for each in answers if set(each.classes.tolist()) == {neutral}]

    def share_called_neutral(offset: float) -> float:
        called = np.concatenate([each.shifted(neutral, offset).merged().argmax(axis=1) for each in calm])
        return float((called == neutral).mean())

    def recall(offset: float) -> float:
        return float(np.mean([uar_of(each.classes, each.shifted(neutral, offset).merged())["uar"] for each in acted]))

    if not acted or not calm:
        return 0.0
    least = share_called_neutral(0.0) - MAX_CALM_LOST
    return max((offset for offset in NEUTRAL_OFFSETS if share_called_neutral(offset) >= least), key=recall)


def fit_everywhere(answers: dict[str, CorpusAnswers], class_names: tuple[str, ...]) -> Confidence:
    """Fits the correction of a model that learned from all corpora to the answers about each without it."""
    return fit_confidence([each.alone for each in answers.values()], class_index(NEUTRAL, class_names))


# ---- Scores ----


def score_corpora(answers: dict[str, CorpusAnswers], class_names: tuple[str, ...]) -> dict[str, Any]:
    """Scores the answers about each corpus, calibrated on the other corpora, if there are any.

    Returns:
        JSON types: ``corpora``, by name the scores of ``_score_corpus``; ``mean_uar`` and ``mean_uar_with_baseline``
        over corpora of several emotions; ``neutral_offset``, ``temperature``,
        ``unsure_below`` and ``temperature_with_baseline`` as fitted to all corpora.
    """
    corpora, neutral = {}, class_index(NEUTRAL, class_names)
    for name, of_corpus in answers.items():
        others = [each.alone for other, each in answers.items() if other != name]
        against = [each.with_baseline for other, each in answers.items() if other != name and each.with_baseline]
        scores = _score_corpus(of_corpus.alone, fit_confidence(others, neutral), class_names)
        if of_corpus.with_baseline is not None:
            scores["with_baseline"] = _score_corpus(of_corpus.with_baseline, fit_confidence(against), class_names)
        corpora[name] = {"language": of_corpus.language, **scores}
    acted = [scores for scores in corpora.values() if scores["n_emotions"] > 1]
    everywhere = fit_everywhere(answers, class_names)

    def mean_of(parts: list[dict[str, Any]]) -> float | None:
        return float(np.mean([part["uar"] for part in parts])) if parts else None

    return {
        "corpora": corpora,
        "mean_uar": mean_of(acted),
        "mean_uar_with_baseline": mean_of([scores["with_baseline"] for scores in acted if "with_baseline" in scores]),
        "neutral_offset": everywhere.neutral_offset,
        "temperature": everywhere.temperature,
        "unsure_below": everywhere.unsure_below,
        "temperature_with_baseline": fit_confidence(
            [each.with_baseline for each in answers.values() if each.with_baseline]
        ).temperature,
    }


def _score_corpus(answers: Answers, confidence: Confidence, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Scores one corpus.

    Returns:
        ``n``, ``n_speakers``, ``n_emotions``, ``uar``, ``accuracy``, ``ece``, ``uar_by_sex``, ``confusion_matrix``,
        and of the neutral clips ``neutral_or_unsure``, the share called so, and ``sure_of_another``, the share called
        something else with a confidence above ``SURE``; None without neutral clips.
    """
    neutral = class_index(NEUTRAL, class_names)
    if confidence.neutral_offset:
        answers = answers.shifted(neutral, confidence.neutral_offset)
    merged = answers.merged(confidence.temperature)
    rows = zip(answers.classes, merged, answers.groups.tolist(), answers.sexes.tolist(), strict=True)
    judgements = [
        Judgement(str(i), int(index), row, "audio_only", speaker, sex or None)
        for i, (index, row, speaker, sex) in enumerate(rows)
    ]
    report = build_report(judgements, class_names)
    calm = merged[answers.classes == neutral]
    is_other, sureness = calm.argmax(axis=1) != neutral, calm.max(axis=1)
    return {
        "n": report["n"],
        "n_speakers": report["n_speakers"],
        "n_emotions": len(np.unique(answers.classes)),
        "uar": report["uar"],
        "accuracy": report["accuracy"],
        "ece": report["ece"],
        "neutral_offset": confidence.neutral_offset,
        "temperature": confidence.temperature,
        "uar_by_sex": {sex: report["by_sex"][sex]["uar"] for sex in SEXES if sex in report["by_sex"]},
        "confusion_matrix": report["confusion_matrix"],
        "neutral_or_unsure": float((~is_other | (sureness < confidence.unsure_below)).mean()) if len(calm) else None,
        "sure_of_another": float((is_other & (sureness > SURE)).mean()) if len(calm) else None,
    }


def format_corpora(scores: dict[str, Any]) -> str:
    """Returns the scores as a table for the console."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f}"

    header = (
        "corpus", "language", "clips", "speakers", "UAR", "women", "men", "ECE", "neutral", "overconfident",
        "own neutral",
    )  # fmt: skip
    rows = []
    for name, row in scores["corpora"].items():
        is_acted, own = row["n_emotions"] > 1, row.get("with_baseline")
        recalls = [row["uar"], *(row["uar_by_sex"].get(sex) for sex in SEXES)]
        rows.append([
            name, row["language"], str(row["n"]), str(row["n_speakers"]),
            *(percent(recall) if is_acted else "" for recall in recalls),
            f"{row['ece']:.2f}", percent(row["neutral_or_unsure"]), percent(row["sure_of_another"]),
            percent(own["uar"]) if own and is_acted else "",
        ])  # fmt: skip
    means = [percent(scores["mean_uar"]), *[""] * 5, percent(scores["mean_uar_with_baseline"])]
    return "\n".join([
        format_table(header, [*rows, ["mean of acted", "", "", "", *means]]),
        "neutral: neutral clips called neutral or unsure. overconfident: those called something else with over "
        f"{SURE:.0%}.",
        f"own neutral: UAR where up to {MOST_NEUTRAL_CLIPS} other neutral clips of the person are known.",
    ])  # fmt: skip
