"""The rows of a timeline: one for each face, and one for the voice where it was judged by itself."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion.outputs.judgements import Judgement, is_shown
from emotion.results import UNSURE, EmotionSummary, FaceTrack, MediaPrediction, in_percent

MOMENT_SECONDS = 0.04
MIN_SHOWN = 0.1  # an emotion that never is this probable has no curve


@dataclass(frozen=True)
class TimelineRow:
    """What one row of a timeline shows.

    Attributes:
        name: "face 1", "voice", or "clip" for a model of whole frames.
        judgement: the windows behind it.
        track: the face's, None for the voice.
        summary: the one answer for the whole row.
        words: that answer as it stands above the row.
    """

    name: str
    judgement: Judgement
    track: FaceTrack | None
    summary: EmotionSummary | None
    words: str

    def answer_at(self, time_seconds: float) -> EmotionSummary | None:
        """Returns the answer at a moment; None where the face is out of sight, or nothing was heard or judged."""
        if not self.judgement.is_judged or not is_shown(self.judgement, self.track, time_seconds):
            return None
        return self.judgement.answer_at(time_seconds)


def timeline_rows(prediction: MediaPrediction) -> list[TimelineRow]:
    """Returns the rows of a result: the faces in order of appearance, then the voice, if it was judged by itself."""
    rows = []
    for track in prediction.tracks:
        summary = prediction.by_face[track.face_id]
        words = "no evidence"
        if summary.emotion is not None:
            guess = f", most probably {summary.most_probable}" if summary.emotion == UNSURE else ""
            words = f"{summary.emotion}{guess}, {in_percent(summary.confidence)}, by {summary.evidence}"
        rows.append(TimelineRow(track.name, Judgement.of(prediction, track.face_id), track, summary, words))
    voice = Judgement.of(prediction, None)
    if voice.is_judged and voice.spans:
        by_frame = any("frame" in evidence for evidence in voice.evidence)
        name, words = ("clip", "by whole frames") if by_frame else ("voice", "by the sound alone")
        rows.append(TimelineRow(name, voice, None, prediction.voice, words))
    return rows


def choose_rows(rows: list[TimelineRow], limit: int) -> tuple[list[TimelineRow], int]:
    """Returns the rows to show, and how many faces are left out: those that appear last. The voice is always shown."""
    faces, voices = [row for row in rows if row.track], [row for row in rows if not row.track]
    return faces[:limit] + voices, max(0, len(faces) - limit)


def choose_moments(prediction: MediaPrediction, most: int) -> np.ndarray:
    """Returns evenly spaced seconds from the clip's start to its end, ``most`` at most."""
    start = prediction.start_seconds
    end = start + max(prediction.duration_seconds, MOMENT_SECONDS)
    return np.linspace(start, end, int(np.clip((end - start) / MOMENT_SECONDS, 2, most)))


def stack_probabilities(answers: Sequence[EmotionSummary | None], n_classes: int) -> np.ndarray:
    """Returns ``(n, n_classes)``, not a number where there is no answer."""
    nothing = np.full(n_classes, np.nan)
    return np.array([nothing if answer is None else answer.probabilities for answer in answers], float)


def find_stretches(answers: Sequence[EmotionSummary | None]) -> list[tuple[int, int, str]]:
    """Returns first and last place, exclusive, and emotion of each stretch in which one emotion is the answer."""
    stretches, start = [], 0
    for emotion, group in itertools.groupby(answer and answer.emotion for answer in answers):
        end = start + len(list(group))
        if emotion is not None:
            stretches.append((start, end, emotion))
        start = end
    return stretches
