"""A result as SubRip subtitles (.srt), which any player shows over the video."""

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np

from emotion.outputs.timeline import TimelineRow, timeline_rows
from emotion.results import UNSURE, EmotionSummary, MediaPrediction, in_percent

GRID_SECONDS = 0.1
STRETCH_SECONDS = 0.5  # nobody can read faster changes


def format_srt(prediction: MediaPrediction) -> str:
    """Returns subtitles with a line for each face in sight, and one for the voice where it is judged by itself.

    Each half second shows its most frequent emotions. A subtitle stays until one of them changes; it gives the mean
    confidence over that time.
    """
    blocks = []
    for number, (start, end, lines) in enumerate(_cues(prediction), start=1):
        blocks.append("\n".join([str(number), f"{_clock(start)} --> {_clock(end)}", *lines]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _cues(prediction: MediaPrediction) -> Iterator[tuple[float, float, list[str]]]:
    rows = [row for row in timeline_rows(prediction) if row.is_judged]
    first = prediction.start_seconds
    last = first + prediction.duration_seconds
    edges = _edges(rows, first, last)
    stretches = [_prevailing(rows, start, end) for start, end in itertools.pairwise(edges)]
    begin = 0
    for end in range(1, len(stretches) + 1):
        if end < len(stretches) and _emotions(stretches[end]) == _emotions(stretches[begin]):
            continue
        if stretches[begin]:
            lines = [
                _line(name, answers[0], [answer for at in stretches[begin:end] for answer in at[name]])
                for name, answers in stretches[begin].items()
            ]
            yield edges[begin], edges[end], lines
        begin = end


def _edges(rows: list[TimelineRow], first: float, last: float) -> list[float]:
    """Returns where each stretch ends and the next begins.

    Windows are half a second apart. Their middles lie in the middle of a stretch: on an edge, an answer that only one
    window gives would be split between two stretches and win neither.
    """
    shift = (rows[0].middles_seconds[0] - STRETCH_SECONDS / 2 - first) % STRETCH_SECONDS if rows else 0.0
    edges = np.arange(first + shift, last, STRETCH_SECONDS).tolist()
    # Less than half a stretch at either end joins the one beside it.
    least = STRETCH_SECONDS / 2 - 1e-6
    return [first, *(edge for edge in edges if edge - first >= least and last - edge >= least), last]


def _prevailing(rows: list[TimelineRow], start: float, end: float) -> dict[str, list[EmotionSummary]]:
    """Returns, by row, those answers within a stretch that give its most frequent emotion.

    A row that is shown for less than half of the stretch is left out.
    """
    moments = np.arange(start + GRID_SECONDS / 2, end, GRID_SECONDS).tolist() or [start]
    found = {}
    for row in rows:
        answers = [answer for time in moments if (answer := row.answer_at(time)) is not None]
        if answers and 2 * len(answers) >= len(moments):
            ((most, _),) = Counter(_emotion(answer) for answer in answers).most_common(1)
            found[row.name] = [answer for answer in answers if _emotion(answer) == most]
    return found


def _emotion(answer: EmotionSummary) -> tuple:
    return answer.emotion, answer.most_probable


def _emotions(stretch: dict[str, list[EmotionSummary]]) -> dict[str, tuple]:
    return {name: _emotion(answers[0]) for name, answers in stretch.items()}


def _line(name: str, answer: EmotionSummary, answers: list[EmotionSummary]) -> str:
    confidence = in_percent(float(np.mean([other.confidence for other in answers])))
    if answer.emotion == UNSURE:
        return f"{name}: {UNSURE} ({answer.most_probable}? {confidence})"
    return f"{name}: {answer.emotion} ({confidence})"


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:{milliseconds // 1000 % 60:02d},"
        f"{milliseconds % 1000:03d}"
    )
