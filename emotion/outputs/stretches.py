"""Cuts a result into stretches of one answer, for subtitles and annotation tools: nobody can read faster changes."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion.outputs.timeline import TimelineRow, timeline_rows
from emotion.results import EmotionSummary, MediaPrediction

GRID_SECONDS = 0.1
STRETCH_SECONDS = 0.5


@dataclass(frozen=True)
class Stretch:
    """A time with one answer for a face, or for the voice.

    Attributes:
        start_seconds, end_seconds: on the file's own clock.
        emotion, most_probable: as in ``EmotionSummary``.
        confidence: mean of the answers' own.
    """

    start_seconds: float
    end_seconds: float
    emotion: str
    most_probable: str
    confidence: float

    @classmethod
    def of(cls, start: float, end: float, answers: Sequence[EmotionSummary]) -> "Stretch":
        confidence = float(np.mean([answer.confidence for answer in answers]))
        return cls(start, end, answers[0].emotion, answers[0].most_probable, confidence)


def join_stretches(prediction: MediaPrediction) -> list[dict[str, Stretch]]:
    """Returns the times in which no answer changes, with the answer of each face in sight and of the voice.

    Each half second has its most frequent answers; times without any are left out.
    """
    edges, parts = _cut(prediction)
    joined = []
    for begin, end in _runs([{name: _emotion(answers[0]) for name, answers in part.items()} for part in parts]):
        stretch = {
            name: Stretch.of(edges[begin], edges[end], [answer for part in parts[begin:end] for answer in part[name]])
            for name in parts[begin]
        }
        if stretch:
            joined.append(stretch)
    return joined


def stretches_by_row(prediction: MediaPrediction) -> dict[str, list[Stretch]]:
    """Returns the stretches of each face, in order of appearance, and of the voice, by the row's name.

    A stretch lasts until that answer changes, or the face is out of sight. Faces without a stretch have an empty list.
    """
    edges, parts = _cut(prediction)
    rows: dict[str, list[Stretch]] = {}
    for row in timeline_rows(prediction):
        if not row.is_judged:
            continue
        runs = _runs([_emotion(part[row.name][0]) if row.name in part else None for part in parts])
        rows[row.name] = [
            Stretch.of(edges[begin], edges[end], [answer for part in parts[begin:end] for answer in part[row.name]])
            for begin, end in runs
            if row.name in parts[begin]
        ]
    return rows


def _runs(keys: Sequence) -> list[tuple[int, int]]:
    """Returns the first index of each run of equal keys, and the one after its last."""
    starts = [at for at in range(len(keys)) if at == 0 or keys[at] != keys[at - 1]]
    return list(itertools.pairwise([*starts, len(keys)]))


def _cut(prediction: MediaPrediction) -> tuple[list[float], list[dict[str, list[EmotionSummary]]]]:
    """Returns the edges of the half seconds, and the prevailing answers by row in each."""
    rows = [row for row in timeline_rows(prediction) if row.is_judged]
    first = prediction.start_seconds
    edges = _edges(rows, first, first + prediction.duration_seconds)
    return edges, [_prevailing(rows, start, end) for start, end in itertools.pairwise(edges)]


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
