"""The headline of a result: which emotions follow each other, and when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from emotion.outputs.timeline import TimelineRow, choose_moments, find_stretches, timeline_rows
from emotion.results import MediaPrediction

MOST_MOMENTS = 1500
# A change that is over sooner, or takes less of the clip, is no part of the story.
SHORTEST_SECONDS, SHORTEST_SHARE = 0.75, 0.08
MOST_CHAPTERS = 5  # of a headline; a longer course is told by shares


@dataclass(frozen=True)
class Chapter:
    """A stretch of time with one answer."""

    start_seconds: float
    end_seconds: float
    emotion: str


def tell_story(prediction: MediaPrediction, face_id: int | None = None) -> tuple[Chapter, ...]:
    """Returns what a face, or the voice, shows one after the other; short changes are left out.

    Args:
        face_id: by default of the face most in sight, or of the voice where no face was judged.
    """
    row = _choose_row(prediction, face_id)
    if row is None or not 0 < prediction.duration_seconds < math.inf:
        return ()
    moments = choose_moments(prediction, MOST_MOMENTS)
    step = moments[1] - moments[0]
    answers = [row.answer_at(moment) for moment in moments]
    stretches = [
        Chapter(float(moments[first]), float(min(moments[last - 1] + step, moments[-1])), emotion)
        for first, last, emotion in find_stretches(answers)
    ]
    shortest = max(SHORTEST_SECONDS, SHORTEST_SHARE * prediction.duration_seconds)
    return _without_short(stretches, shortest)


def write_headline(prediction: MediaPrediction, chapters: Sequence[Chapter]) -> str:
    """Returns the story as one line, such as ``sad, then happy (0:00 to 0:06, 0:06 to 0:12)``.

    Many changes are told by their shares of the time. Empty for a single answer.
    """
    if len(chapters) < 2:
        return ""
    if len(chapters) > MOST_CHAPTERS:
        shown: dict[str, float] = {}
        for chapter in chapters:
            shown[chapter.emotion] = shown.get(chapter.emotion, 0.0) + chapter.end_seconds - chapter.start_seconds
        total = sum(shown.values())
        shares = sorted(shown.items(), key=lambda pair: -pair[1])[:3]
        words = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in shares)
        return f"changes often: {words} of the time"
    times = ", ".join(f"{clock(chapter.start_seconds)} to {clock(chapter.end_seconds)}" for chapter in chapters)
    return f"{', then '.join(chapter.emotion for chapter in chapters)} ({times})"


def clock(seconds: float) -> str:
    """Returns a time as people say it: ``0:06``, ``12:30``, ``1:02:05``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _choose_row(prediction: MediaPrediction, face_id: int | None) -> TimelineRow | None:
    rows = [row for row in timeline_rows(prediction) if row.is_judged]
    faces = [(row.track, row) for row in rows if row.track is not None]
    if face_id is not None:
        return next((row for track, row in faces if track.face_id == face_id), None)
    if faces:
        return max(faces, key=lambda face: face[0].total_area)[1]
    return rows[0] if rows else None


def _without_short(stretches: list[Chapter], shortest_seconds: float) -> tuple[Chapter, ...]:
    """Gives the time of short stretches to their longer neighbours, the shortest first."""
    chapters = _joined(stretches)
    while len(chapters) > 1:
        lengths = [chapter.end_seconds - chapter.start_seconds for chapter in chapters]
        place = min(range(len(chapters)), key=lengths.__getitem__)
        if lengths[place] >= shortest_seconds:
            break
        neighbours = [other for other in (place - 1, place + 1) if 0 <= other < len(chapters)]
        heir = max(neighbours, key=lengths.__getitem__)
        first, last = sorted((place, heir))
        chapters[first : last + 1] = [
            Chapter(chapters[first].start_seconds, chapters[last].end_seconds, chapters[heir].emotion)
        ]
        chapters = _joined(chapters)
    return tuple(chapters)


def _joined(chapters: list[Chapter]) -> list[Chapter]:
    """Joins neighbours with the same answer, also across a time out of sight."""
    joined: list[Chapter] = []
    for chapter in chapters:
        if joined and joined[-1].emotion == chapter.emotion:
            joined[-1] = Chapter(joined[-1].start_seconds, chapter.end_seconds, chapter.emotion)
        else:
            joined.append(chapter)
    return joined
