"""A result as SubRip subtitles (.srt), which any player shows over any copy of the video."""

import os
from collections.abc import Iterator

import numpy as np

from emotion.outputs.judgements import Judgement, covers
from emotion.outputs.tables import write_text
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


def write_srt(prediction: MediaPrediction, path: str | os.PathLike) -> None:
    """Writes subtitles, so that the file is either whole or not there.

    Raises:
        EmotionError: if nothing can be written there.
    """
    write_text(format_srt(prediction), path)


def _cues(prediction: MediaPrediction) -> Iterator[tuple[float, float, list[str]]]:
    rows = [(track.name, Judgement.of(prediction, track.face_id), track) for track in prediction.tracks]
    rows.append(("voice", Judgement.of(prediction, None), None))
    rows = [row for row in rows if row[1].is_judged]
    first = min((window.start_seconds for window in prediction.windows), default=0.0)
    moments = np.arange(first, first + prediction.duration_seconds, GRID_SECONDS)
    shown = [
        {
            name: judgement.answer_at(time)
            for name, judgement, track in rows
            if (track.box_at(time) is not None if track is not None else covers(judgement.spans, time))
        }
        for time in moments.tolist()
    ]
    begin = 0
    for end in range(1, len(moments) + 1):
        if end < len(moments) and _emotions(shown[end]) == _emotions(shown[begin]):
            continue
        is_long = (end - begin) * GRID_SECONDS >= min(SHORTEST_SECONDS, prediction.duration_seconds) - 1e-6
        if shown[begin] and is_long:
            lines = [_line(name, [answers[name] for answers in shown[begin:end]]) for name in shown[begin]]
            yield moments[begin], min(moments[begin] + (end - begin) * GRID_SECONDS, moments[-1] + GRID_SECONDS), lines
        begin = end


def _emotions(answers: dict[str, EmotionSummary]) -> dict[str, tuple]:
    return {name: (answer.emotion, answer.most_probable) for name, answer in answers.items()}


def _line(name: str, answers: list[EmotionSummary]) -> str:
    confidence = in_percent(float(np.mean([answer.confidence for answer in answers])))
    if answers[0].emotion == UNSURE:
        return f"{name}: {UNSURE} ({answers[0].most_probable}? {confidence})"
    return f"{name}: {answers[0].emotion} ({confidence})"


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:{milliseconds // 1000 % 60:02d},"
        f"{milliseconds % 1000:03d}"
    )
