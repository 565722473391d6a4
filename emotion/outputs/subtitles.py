"""A result as subtitles, which players show over the video: SubRip (.srt), or WebVTT (.vtt) for web pages.

Each face in sight has a line, and the voice where it is judged by itself. Each half second shows its most frequent
emotions; a subtitle stays until one of them changes, and gives the mean confidence over that time. What was said, if it
was written down, stands below. Of a part of a clip they go with the annotated video, which begins at 0.
"""

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from emotion.outputs.stretches import Stretch, join_stretches
from emotion.results import UNSURE, MediaPrediction, Word, in_percent, join_words

# Of what is said, no more than this is shown at a time, and none that a pause parts.
MAX_LETTERS, MAX_SECONDS, PAUSE_SECONDS = 84, 6.0, 0.7


@dataclass(frozen=True)
class Cue:
    """Lines that are shown for a time."""

    start_seconds: float
    end_seconds: float
    lines: tuple[str, ...]


def format_srt(prediction: MediaPrediction) -> str:
    """Returns the text of a SubRip file; empty if there is nothing to show."""
    blocks = [
        "\n".join([str(number), f"{_clock(cue.start_seconds, ',')} --> {_clock(cue.end_seconds, ',')}", *cue.lines])
        for number, cue in enumerate(build_cues(prediction), start=1)
    ]
    return "\n\n".join(blocks) + "\n" if blocks else ""


def format_vtt(prediction: MediaPrediction) -> str:
    """Returns the text of a WebVTT file."""
    blocks = ["WEBVTT"]
    for cue in build_cues(prediction):
        lines = (html.escape(line, quote=False) for line in cue.lines)
        blocks.append("\n".join([f"{_clock(cue.start_seconds, '.')} --> {_clock(cue.end_seconds, '.')}", *lines]))
    return "\n\n".join(blocks) + "\n"


def build_cues(prediction: MediaPrediction) -> list[Cue]:
    """Returns the subtitles in order of time, on the clock of the annotated video."""
    cues = []
    for stretch in join_stretches(prediction):
        any_row = next(iter(stretch.values()))
        lines = tuple(_line(name, answer) for name, answer in stretch.items())
        cues.append(Cue(any_row.start_seconds, any_row.end_seconds, lines))
    if prediction.words:
        cues = _with_words(cues, _group(prediction.words))
    start = prediction.part[0] if prediction.part else 0.0
    return [Cue(cue.start_seconds - start, cue.end_seconds - start, cue.lines) for cue in cues]


def _line(name: str, answer: Stretch) -> str:
    if answer.emotion == UNSURE:
        return f"{name}: {UNSURE} ({answer.most_probable}? {in_percent(answer.confidence)})"
    return f"{name}: {answer.emotion} ({in_percent(answer.confidence)})"


def _group(words: Sequence[Word]) -> list[Cue]:
    """Puts words together that are shown together."""
    groups: list[list[Word]] = []
    for word in words:
        group = groups[-1] if groups else []
        is_long = sum(len(each.text) + 1 for each in group) + len(word.text) > MAX_LETTERS
        is_late = group and (
            word.end_seconds - group[0].start_seconds > MAX_SECONDS
            or word.start_seconds - group[-1].end_seconds > PAUSE_SECONDS
        )
        if not group or is_long or is_late:
            groups.append([word])
        else:
            group.append(word)
    return [Cue(group[0].start_seconds, group[-1].end_seconds, (join_words(group),)) for group in groups]


def _with_words(cues: list[Cue], said: list[Cue]) -> list[Cue]:
    """Parts the time at every edge of either, and shows both where both are."""
    edges = sorted({edge for cue in (*cues, *said) for edge in (cue.start_seconds, cue.end_seconds)})
    joined: list[Cue] = []
    for start, end in itertools.pairwise(edges):
        lines: tuple[str, ...] = ()
        for each in (cues, said):
            lines += next((cue.lines for cue in each if cue.start_seconds <= start and end <= cue.end_seconds), ())
        if lines and joined and joined[-1].end_seconds == start and joined[-1].lines == lines:
            joined[-1] = Cue(joined[-1].start_seconds, end, lines)
        elif lines:
            joined.append(Cue(start, end, lines))
    return joined


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(max(0.0, seconds) * 1000)
    return (
        f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:{milliseconds // 1000 % 60:02d}{point}"
        f"{milliseconds % 1000:03d}"
    )
