"""A result as SubRip subtitles (.srt), which any player shows over the video."""

from emotion.outputs.stretches import Stretch, join_stretches
from emotion.results import UNSURE, MediaPrediction, in_percent


def format_srt(prediction: MediaPrediction) -> str:
    """Returns subtitles with a line for each face in sight, and one for the voice where it is judged by itself.

    Each half second shows its most frequent emotions. A subtitle stays until one of them changes; it gives the mean
    confidence over that time.
    """
    blocks = []
    for number, stretch in enumerate(join_stretches(prediction), start=1):
        any_row = next(iter(stretch.values()))
        time = f"{_clock(any_row.start_seconds)} --> {_clock(any_row.end_seconds)}"
        blocks.append("\n".join([str(number), time, *(_line(name, answer) for name, answer in stretch.items())]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _line(name: str, answer: Stretch) -> str:
    if answer.emotion == UNSURE:
        return f"{name}: {UNSURE} ({answer.most_probable}? {in_percent(answer.confidence)})"
    return f"{name}: {answer.emotion} ({in_percent(answer.confidence)})"


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:{milliseconds // 1000 % 60:02d},"
        f"{milliseconds % 1000:03d}"
    )
