"""A result as SubRip subtitles (.srt), which any player shows over any copy of the video."""

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np

from emotion.outputs.timeline import Judgement, is_shown
from emotion.results import UNSURE, EmotionSummary, MediaPrediction, in_percent

GRID_SECONDS = 0.1
STRETCH_SECONDS = 0.5  # what flits by faster cannot be read


def format_srt(prediction: MediaPrediction) -> str:
    """Returns subtitles: a line for each face in sight, and for a voice judged by itself.

    A subtitle stays as long as all emotions on it do, by what prevails in every half second. Beside each stands the
    mean of its confidence over that time.
    """
    blocks = []
    for number, (start, end, lines) in enumerate(_cues(prediction), start=1):
        blocks.append("\n".join([str(number), f"{_clock(start)} --> {_clock(end)}", *lines]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _cues(prediction: MediaPrediction) -> Iterator[tuple[float, float, list[str]]]:
    rows = [(track.name, Judgement.of(prediction, track.face_id), track) for track in prediction.tracks]
    by_frame = any("frame" in window.evidence for window in prediction.windows)
    rows.append(("clip" if by_frame else "voice", Judgement.of(prediction, None), None))
    rows = [row for row in rows if row[1].is_judged]
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


def _edges(rows: list[tuple], first: float, last: float) -> list[float]:
    """Where one stretch ends and the next begins.

    The middles of windows, half a second apart, lie in the middles of stretches: on their edges an answer that is given
    once would have the half of two, and prevail in neither.
    """
    middles = [float(judgement.middles_seconds[0]) for _, judgement, _ in rows]
    shift = (middles[0] - STRETCH_SECONDS / 2 - first) % STRETCH_SECONDS if middles else 0.0
    edges = np.arange(first + shift, last, STRETCH_SECONDS).tolist()
    # Less than half a stretch at either end is part of the one beside it.
    least = STRETCH_SECONDS / 2 - 1e-6
    return [first, *(edge for edge in edges if edge - first >= least and last - edge >= least), last]


def _prevailing(rows: list[tuple], start: float, end: float) -> dict[str, list[EmotionSummary]]:
    """The answers of each face, or voice, for as long as the emotion that it shows most in a stretch of time lasts.

    Who is not there for half of the stretch is left out.
    """
    moments = np.arange(start + GRID_SECONDS / 2, end, GRID_SECONDS).tolist() or [start]
    found = {}
    for name, judgement, track in rows:
        answers = [judgement.answer_at(time) for time in moments if is_shown(judgement, track, time)]
        if answers and 2 * len(answers) >= len(moments):
            ((most, _),) = Counter(_emotion(answer) for answer in answers).most_common(1)
            found[name] = [answer for answer in answers if _emotion(answer) == most]
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
