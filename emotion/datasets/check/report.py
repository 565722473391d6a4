"""Writes the report of ``check``: everything that is wrong with a data set, and how to mend it.

Exit codes: 0 nothing found; 3 something found; 2 not a data set.
"""

import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from emotion.console import Reporter, counted
from emotion.datasets.check.survey import Survey, SurveyRequest, survey_dataset
from emotion.datasets.clips import Clip
from emotion.files import write_json
from emotion.labels import EIGHT_EMOTIONS

WIDTH = 100  # columns
N_ITEMS_SHOWN = 5
N_SPEAKERS_SHOWN = 30
N_SPEAKERS_OF_MANY = 10
N_STRANGE_EMOTIONS = 3
UNKNOWN = "(unknown)"


def report_faults(request: SurveyRequest, json_file: Path | None, reporter: Reporter) -> int:
    """Checks a data set, prints the report, and writes it to ``json_file`` if there is one; returns how many findings.

    Raises:
        ConfigError: if there is no layout of the name given.
        DatasetError: if there is no such data set.
    """
    from emotion.datasets.check.faults import find_faults
    from emotion.datasets.check.memory import ExaminationMemory

    began = time.monotonic()
    with ExaminationMemory() as memory:
        survey = survey_dataset(request, memory, reporter)
        findings = find_faults(survey, memory=memory, reporter=reporter)
    seconds = time.monotonic() - began
    for line in write_report(survey, findings, seconds):
        print("".join(letter if letter.isprintable() else "?" for letter in line))
    if json_file:
        write_json(json_file, as_json(survey, findings, seconds))
    return len(findings)


def write_report(survey: Survey, findings: Sequence, seconds: float) -> Iterator[str]:
    """Yields the lines of the report; the last one sums it up."""
    yield f"{survey.root}: laid out as {survey.name}"
    yield ""
    if survey.clips:
        yield from format_speakers(survey.clips)
    evidence = ", ".join(f"{what}: {count}" for what, count in count_evidence(survey).items() if count)
    yield f"As decoded: {evidence}" if evidence else "No clip has its file."
    for number, finding in enumerate(findings, start=1):
        yield ""
        yield from _wrap(f"{number}. {finding.title}: {len(finding.items)}", "", "   ")
        for item in finding.items[:N_ITEMS_SHOWN]:
            yield from _wrap(item, "     ", "       ")
        if len(finding.items) > N_ITEMS_SHOWN:
            yield f"     ... and {len(finding.items) - N_ITEMS_SHOWN} more; --json FILE lists all"
        yield from _wrap(f"To mend: {finding.fix}", "   ", "   ")
    yield ""
    clips, files = counted(len(survey.clips), "clip"), counted(len(survey.examinations), "file")
    what = f"{clips} in {files} checked in {seconds:.1f} s"
    if findings:
        total = sum(len(finding.items) for finding in findings)
        yield f"{what}: {counted(len(findings), 'kind')} of fault, {total} in all."
    else:
        yield f"{what}: nothing found."


def format_speakers(clips: Sequence[Clip]) -> Iterator[str]:
    """Yields a table of clips by speaker and emotion; if there are many speakers, only those with the most clips."""
    counts = defaultdict(Counter)
    for clip in clips:
        counts[clip.speaker or UNKNOWN][clip.emotion] += 1
    emotions = [name for name in EIGHT_EMOTIONS if any(name in row for row in counts.values())]
    others = Counter(clip.emotion for clip in clips if clip.emotion not in EIGHT_EMOTIONS)
    columns = emotions + [name for name, _ in others.most_common(N_STRANGE_EMOTIONS)]
    rest = [name for name in others if name not in columns]
    speakers = sorted(counts)
    if len(speakers) > N_SPEAKERS_SHOWN:
        speakers = sorted(counts, key=lambda name: (-counts[name].total(), name))[:N_SPEAKERS_OF_MANY]
    rows = {name: counts[name] for name in speakers}
    left = [row for name, row in counts.items() if name not in rows]
    if left:
        rows[f"{len(left)} others"] = sum(left, Counter())
    rows["total"] = sum(counts.values(), Counter())

    heads = [*(name[:12] for name in columns), *(["others"] if rest else []), "total"]
    width = min(24, max(len(name) for name in ("speaker", *rows)))
    yield f"{'speaker':<{width}}" + "".join(f"  {head:>5}" for head in heads)
    for name, row in rows.items():
        cells = [*(row[column] for column in columns), *([sum(row[n] for n in rest)] if rest else []), row.total()]
        numbers = "".join(f"  {cell or '-':>{max(5, len(head))}}" for cell, head in zip(cells, heads, strict=True))
        yield f"{name[:width]:<{width}}{numbers}"


def count_evidence(survey: Survey) -> dict[str, int]:
    """Returns how many clips hold a face, a voice or both, by what could be decoded."""
    counts = {"face and voice": 0, "voice only": 0, "face only": 0, "neither": 0}
    for clip in survey.clips:
        video, audio = survey.examine(clip.video_path), survey.examine(clip.audio_path)
        has_voice, has_face = audio and audio.is_audible, video and video.shows_face
        both = "face and voice" if has_voice and has_face else "neither"
        counts["voice only" if has_voice and not has_face else "face only" if has_face and not has_voice else both] += 1
    return counts


def as_json(survey: Survey, findings: Sequence, seconds: float) -> dict:
    """Returns the whole report as plain JSON types."""
    by_speaker = defaultdict(Counter)
    for clip in survey.clips:
        by_speaker[clip.speaker or UNKNOWN][clip.emotion] += 1
    return {
        "root": str(survey.root),
        "dataset": survey.name,
        "n_clips": len(survey.clips),
        "n_files": len(survey.examinations),
        "seconds": round(seconds, 2),
        "by_emotion": dict(Counter(clip.emotion for clip in survey.clips)),
        "by_speaker": {name: dict(row) for name, row in sorted(by_speaker.items())},
        "evidence": count_evidence(survey),
        "findings": [
            {"key": f.key, "title": f.title, "count": len(f.items), "items": list(f.items), "fix": f.fix}
            for f in findings
        ],
    }


def _wrap(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
