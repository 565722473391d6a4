"""Evaluates a finished model on labelled clips, and leaves out or names whatever would flatter it.

Clips that the model met in training are left out, even under another name. The protocol counts speakers that it met.
Emotions that it has no class for are counted, never guessed. Files that cannot be read are named.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import hash_files
from emotion.datasets.clips import Clip, restrict_clip
from emotion.datasets.splits import in_order
from emotion.errors import DatasetError, MediaError
from emotion.evaluation.adaptation import BY_REFERENCE, References, choose_references, describe_adaptation
from emotion.evaluation.judging import Judgement, build_report, judge_clips, used_modalities
from emotion.evaluation.training_record import SeenClips, load_seen
from emotion.labels import class_index
from emotion.models.run_folder import EARLIER_SPLITS_FILE, SPLITS_FILE
from emotion.models.trained_model import Run


@dataclass(frozen=True)
class Assessment:
    """What an evaluation found.

    Attributes:
        report: JSON types: those of ``build_report`` and ``protocol``, ``modality``, ``n_clips``, ``n_skipped``,
            ``adaptation`` (``by``, ``n_compared`` clips by kind, ``n_references``), ``skipped`` (``unreadable``:
            reasons by clip; ``without_evidence``: clips), ``left_out`` (``no_such_class``: clips by emotion;
            ``seen_in_training``: their number, None if the model's folder has no record of them) and ``model``.
        judgements: one for each clip scored.
        by_modality: reports on the clips with both, by one modality alone.
    """

    report: dict[str, Any]
    judgements: list[Judgement]
    by_modality: dict[str, dict[str, Any]]


def assess(
    run: Run,
    clips: Sequence[Clip],
    *,
    modality: str = "both",
    include_seen: bool = False,
    adapt: str | None = None,
    each_modality: bool = False,
    reporter: Reporter = SILENT,
) -> Assessment:
    """Evaluates a model on labelled clips.

    Args:
        modality: ``audio``, ``video``, or ``both`` for all that the model takes.
        include_seen: whether to score clips that the model met in training, too.
        adapt: one of ``ADAPTATIONS``, as for ``judge_clips``; the references are chosen among the clips.
        each_modality: whether to judge clips with face and voice also by each alone.

    Raises:
        ConfigError: if the model does not take the modality.
        DatasetError: if no clip is left to score.
    """
    modalities = used_modalities(run.config, modality)
    in_order(clips)
    unmapped = Counter(clip.emotion for clip in clips if class_index(clip.emotion, run.config.class_names) is None)
    covered = [clip for clip in clips if clip.emotion not in unmapped]
    if unmapped:
        reporter.say(f"Left out, the model has no such class: {_count_words(unmapped)}.")
    # Files of the other modality are not even opened.
    restricted = {clip.clip_id: restrict_clip(clip, modalities) for clip in covered}
    without_evidence = [clip_id for clip_id, clip in restricted.items() if clip is None]
    usable = [clip for clip in restricted.values() if clip is not None]

    seen = load_seen_by(run)
    met = find_met(usable, seen) if seen and not include_seen else set()
    if met:
        reporter.say(f"Left out, the model met them in training: {len(met)} clips. --include_seen scores them too.")
    usable = [clip for clip in usable if clip.clip_id not in met]
    if not usable:
        raise DatasetError(
            f"None of the {len(clips)} clips can be scored: {_why_none(clips, unmapped, met, modalities)}"
        )
    references = choose_references(usable, modalities) if adapt == BY_REFERENCE else References()
    reserved = [clip for clip in usable if clip.clip_id in references.not_scored]
    usable = [clip for clip in usable if clip.clip_id not in references.not_scored]
    if not usable:
        raise DatasetError("All clips that could be scored are neutral and serve as references. Give others, too.")
    judged = judge_clips(usable, run, modalities=modalities, adapt=adapt, references=references, reporter=reporter)
    judgements, failures = judged.judgements, judged.failures
    without_evidence += judged.without_evidence
    if not judgements:
        reason = next((f"The first: {words}" for words in failures.values()), "No face and no voice was found in any.")
        raise DatasetError(f"None of the {len(usable)} clips could be judged. {reason}")
    unsure_below = run.config.calibration.unsure_below
    protocol = _describe(judgements, seen, run.config, include_seen)
    relative = describe_adaptation(judged.n_compared, len(judgements), len(references.not_scored))
    if adapt and not judged.n_compared:
        reporter.warn("No speaker could be compared with themselves: none is known, or there is too little of each.")
    report = {
        "protocol": f"{protocol}; {relative}" if relative else protocol,
        "adaptation": {"by": adapt, "n_compared": judged.n_compared, "n_references": len(references.not_scored)},
        "modality": "+".join(modalities),
        "n_clips": len(clips),
        "n_skipped": len(failures) + len(without_evidence),
        **build_report(
            judgements, run.config.class_names, n_unanswered=len(without_evidence), unsure_below=unsure_below
        ),
        "skipped": {"unreadable": failures, "without_evidence": without_evidence},
        "left_out": {
            "no_such_class": dict(sorted(unmapped.items())),
            "seen_in_training": len(met) if seen else None,
        },
        "model": {"path": str(run.path), "sha256": run.sha256, "architecture": run.config.architecture},
    }
    both = {judgement.clip_id for judgement in judgements if judgement.evidence == "both"}
    by_modality = {}
    if each_modality and both:
        clips_with_both = [clip for clip in usable if clip.clip_id in both]
        for name in modalities:
            what = "voice" if name == "audio" else "face"
            reporter.say(f"For the plot by modality: judging the {len(both)} clips with both by their {what} alone.")
            kept = choose_references([*usable, *reserved], (name,)) if adapt == BY_REFERENCE else References()
            alone = judge_clips(
                clips_with_both, run, modalities=(name,), adapt=adapt, references=kept, reporter=reporter
            )
            by_modality[name] = build_report(alone.judgements, run.config.class_names, unsure_below=unsure_below)
    return Assessment(report, judgements, by_modality)


def write_plots(
    report: Mapping[str, Any], by_modality: Mapping[str, Any], folder: Path, human_accuracy: Mapping[str, float]
) -> None:
    """Draws the plots of ``assess``'s reports into a folder, with the accuracy of human raters by modality."""
    from emotion.outputs.plots.comparison import write_recall_by_modality
    from emotion.outputs.plots.confidence import write_coverage_accuracy, write_reliability_diagram
    from emotion.outputs.plots.training import write_report_matrix

    modes = [name.removesuffix("_only") for name, n in report["evidence"].items() if n]
    judged_by = modes[0] if len(modes) == 1 else ""  # not all clips by the same
    write_report_matrix(report, folder / "confusion_matrix.png")
    write_reliability_diagram(report, folder / "reliability.png")
    write_coverage_accuracy(report, folder / "coverage_accuracy.png", human_accuracy.get(judged_by))
    reports = {judged_by or "both": report, **by_modality}
    write_recall_by_modality(reports, folder / "recall_by_modality.png", human_accuracy)


def load_seen_by(run: Run) -> SeenClips | None:
    """Reads what a model was trained and validated on; None if its folder has no record of it."""
    paths = [run.path / name for name in (SPLITS_FILE, EARLIER_SPLITS_FILE)]
    return load_seen(*(path for path in paths if path.is_file())) if paths[0].is_file() else None


def find_met(clips: Sequence[Clip], seen: SeenClips) -> set[str]:
    """Returns the ids of the clips that the model was trained or validated on."""
    met, known = set(), {}  # many clips may be parts of one long file, which is hashed once
    for clip in clips:
        try:
            contents = hash_files([clip], known)
        except MediaError:
            contents = {}  # decoding will report it
        if seen.has_met(clip, contents):
            met.add(clip.clip_id)
    return met


def _describe(judgements: Sequence[Judgement], seen: SeenClips | None, config: RunConfig, include_seen: bool) -> str:
    """Returns the protocol: what the model may have met of these clips and speakers."""
    if seen is None:
        return _describe_unrecorded(judgements, config)
    if include_seen:
        return "all clips given, with those the model met in training (--include_seen): optimistic"
    return seen.describe(judgement.speaker for judgement in judgements)


def _describe_unrecorded(judgements: Sequence[Judgement], config: RunConfig) -> str:
    """Returns the protocol if the model's folder has no record of the clips it met."""
    given = {judgement.clip_id.partition(":")[0] for judgement in judgements}
    trained_on = [source.name for source in config.data]
    shared = [name for name in trained_on if any(name.lower().replace("-", "").startswith(prefix) for prefix in given)]
    if shared:
        return (
            f"all clips given; the model was trained on {', '.join(shared)}, and its folder has no {SPLITS_FILE} to "
            "tell on which clips: optimistic"
        )
    names = ", ".join(trained_on) or "data that its configuration does not name"
    return (
        f"all clips given; the model was trained on {names}, and its folder has no {SPLITS_FILE} to tell whether these "
        "clips or speakers were among them"
    )


def _why_none(clips, unmapped: Mapping[str, int], met: set[str], modalities: Sequence[str]) -> str:
    if not clips:
        return "there are none."
    if met:
        return f"the model met {len(met)} of them in training. --include_seen scores them anyway."
    if sum(unmapped.values()) == len(clips):
        return f"the model has no class for {_count_words(unmapped)}."
    return f"none holds what is judged ({' and '.join(modalities)})."


def _count_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
