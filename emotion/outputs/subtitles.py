"""A result as SubRip subtitles (.srt), which any player shows over any copy of the video."""

from collections.abc import Iterator

import numpy as np

from emotion.outputs.judgements import Judgement, covers
from emotion.results import UNSURE, EmotionSummary, MediaPrediction, in_percent

GRID_SECONDS = 0.1
SHORTEST_SECONDS = 0.5  # what flits by faster cannot be read


def format_srt(prediction: MediaPrediction) -> str:
    """Returns subtitles: a line for each face in sight, and for a voice judged by itself.

    A subtitle stays as long as all emotions on it do. Beside each stands the mean of its confidence over that time.
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
    first = min((window.start_seconds for window in prediction.windows), default=0.0)
    last = first + prediction.duration_seconds
    moments = np.arange(first, last, GRID_SECONDS)
    shown = [
        {
            name: judgement.answer_at(time)
            for name, judgement, track in rows
            if (track.box_at(time) is not None if track is not None else covers(judgement.spans, time))
        }
        for time in moments.tolist()
    ]
    for begin, end, state in _runs([_emotions(answers) for answers in shown]):
        if shown[state]:
            lines = [
                _line(name, answer, [at[name] for at in shown[begin:end] if name in at])
                for name, answer in shown[state].items()
            ]
            yield moments[begin], min(moments[begin] + (end - begin) * GRID_SECONDS, last), lines


def _runs(states: list) -> list[tuple[int, int, int]]:
    """Stretches of one state: from, to, and a place that has the state.

    One too short to be read is folded into the one before it; if it is the first, the one after it begins earlier.
    """
    shortest = round(SHORTEST_SECONDS / GRID_SECONDS)
    runs: list[tuple[int, int, int]] = []
    begin = 0
    for end in range(1, len(states) + 1):
        if end < len(states) and states[end] == states[begin]:
            continue
        first, last, state = runs[-1] if runs else (begin, begin, begin)
        if runs and last - first < shortest:
            runs[-1] = first, end, begin
        elif runs and (end - begin < shortest or states[state] == states[begin]):
            runs[-1] = first, end, state
        else:
            runs.append((begin, end, begin))
        begin = end
    return runs


def _emotions(answers: dict[str, EmotionSummary]) -> dict[str, tuple]:
    return {name: (answer.emotion, answer.most_probable) for name, answer in answers.items()}


def _line(name: str, answer: EmotionSummary, answers: list[EmotionSummary]) -> str:
    alike = [other.confidence for other in answers if other.most_probable == answer.most_probable]
    confidence = in_percent(float(np.mean(alike)))
    if answer.emotion == UNSURE:
        return f"{name}: {UNSURE} ({answer.most_probable}? {confidence})"
    return f"{name}: {answer.emotion} ({confidence})"


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:{milliseconds // 1000 % 60:02d},"
        f"{milliseconds % 1000:03d}"
    )
