"""Evaluates a finished model on several corpora: a row for each, and for each language and sex where known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emotion.console import SILENT, Reporter
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.evaluation.judging import Judgement, build_report
from emotion.evaluation.model_report import assess
from emotion.models.trained_model import Run

CORPUS, LANGUAGE = "corpus", "language"  # columns of a manifest


@dataclass(frozen=True)
class CorporaAssessment:
    """What an evaluation on several corpora found.

    Attributes:
        report: JSON types: ``corpora``, reports as of ``assess`` by name; ``not_scored``, reasons by name; ``all``,
            ``by_language`` and ``by_sex``, reports as of ``build_report`` on the clips of all corpora; ``unsure_below``
            and ``model``.
        judgements: one for each clip scored.
        n_skipped: clips that could not be used.
    """

    report: dict[str, Any]
    judgements: list[Judgement]
    n_skipped: int


def name_corpora(loaded: Sequence[tuple[str, list[Clip]]]) -> dict[str, list[Clip]]:
    """Returns the clips of data sets by corpus: the data set's name, and the column ``corpus`` if there is one.

    Args:
        loaded: the names of data sets and their clips. A name that occurs twice gets a number.
    """
    corpora: dict[str, list[Clip]] = {}
    names = [name for name, _ in loaded]
    for place, (name, clips) in enumerate(loaded):
        told = f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for clip in clips:
            corpus = clip.details.get(CORPUS)
            corpora.setdefault(f"{told}, {corpus}" if corpus else told, []).append(clip)
    return corpora


def assess_corpora(
    run: Run, corpora: Mapping[str, list[Clip]], *, reporter: Reporter = SILENT, **how
) -> CorporaAssessment:
    """Evaluates a model on each corpus.

    Args:
        **how: passed to ``assess``.

    Raises:
        DatasetError: if no corpus can be scored.
    """
    reports, reasons, judgements, known, n_skipped = {}, {}, [], [], 0
    for name, clips in corpora.items():
        reporter.say(f"{name}: {len(clips)} clips")
        try:
            result = assess(run, clips, reporter=reporter, **how)
        except DatasetError as error:
            reasons[name] = str(error)
            reporter.warn(f"{name}: {error}")
            continue
        reports[name] = result.report
        n_skipped += result.report["n_skipped"]
        by_id = {clip.clip_id: clip for clip in clips}
        judgements += result.judgements
        known += [by_id[judgement.clip_id] for judgement in result.judgements]
        for clip_id, reason in result.report["skipped"]["unreadable"].items():
            reporter.warn(f"skipped {clip_id}: {reason}")
    if not reports:
        raise DatasetError(
            f"None of the {len(corpora)} corpora can be scored. The first: {next(iter(reasons.values()))}"
        )
    unsure_below = run.config.calibration.unsure_below

    def report_on(chosen: Sequence[Judgement]) -> dict[str, Any]:
        return build_report(chosen, run.config.class_names, unsure_below=unsure_below)

    def report_by(values: Sequence[str | None]) -> dict[str, Any]:
        return {
            value: report_on([judgement for judgement, of in zip(judgements, values, strict=True) if of == value])
            for value in sorted({value for value in values if value})
        }

    report = {
        "corpora": reports,
        "not_scored": reasons,
        "all": report_on(judgements),
        "by_language": report_by([clip.details.get(LANGUAGE) for clip in known]),
        "by_sex": report_by([clip.sex for clip in known]),
        "unsure_below": unsure_below,
        "model": next(iter(reports.values()))["model"],
    }
    return CorporaAssessment(report, judgements, n_skipped)
