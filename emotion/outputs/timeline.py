"""What was found of one face, or of the voice, at any moment: what videos, plots and subtitles show alike."""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emotion.results import UNSURE, EmotionSummary, FaceTrack, MediaPrediction, in_percent
from emotion.windows import probabilities_at

SPAN_SLACK_SECONDS = 0.25  # a last picture may be shown a little after the last window's end
PAUSE_SECONDS = 1.0  # that is not long enough for a voice's label to go away

Span = tuple[float, float]  # start and end in seconds


@dataclass(frozen=True)
class Judgement:
    """The windows in which one face, or the voice, was judged, in order of their middles.

    Attributes:
        class_names: the model's classes.
        unsure_below: the confidence under which an answer is ``unsure``.
        middles_seconds: ``(n_windows,)`` rising; empty if it never was judged.
        probabilities: ``(n_windows, n_classes)``.
        evidence: of each window.
        spans: the stretches of time for which the windows speak. A face's reach as far as its windows do; whether it
            is in sight its track tells. A voice's are those in which it is heard and no other window is nearer.
    """

    class_names: tuple[str, ...]
    unsure_below: float
    middles_seconds: np.ndarray
    probabilities: np.ndarray
    evidence: tuple[str, ...]
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, prediction: MediaPrediction, face_id: int | None) -> "Judgement":
        """Gathers what was found of a face, or with None of the sound (or of whole frames) alone."""
        windows = [w for w in prediction.windows if w.face_id == face_id and w.probabilities is not None]
        windows.sort(key=lambda window: window.middle_seconds)
        spans = join_spans((window.start_seconds, window.end_seconds) for window in windows)
        if face_id is None:
            spans = _voice_spans(prediction)
        return cls(
            prediction.class_names,
            prediction.unsure_below,
            np.array([window.middle_seconds for window in windows]),
            np.array([window.probabilities for window in windows]).reshape(len(windows), len(prediction.class_names)),
            tuple(window.evidence for window in windows),
            tuple(spans),
        )

    @property
    def is_judged(self) -> bool:
        """Whether there was any evidence at all."""
        return len(self.middles_seconds) > 0

    def covers(self, time_seconds: float) -> bool:
        """Whether a moment lies in one of the stretches."""
        return any(start <= time_seconds <= end for start, end in self.spans)

    def answer_at(self, time_seconds: float) -> EmotionSummary:
        """Returns the answer at a moment: between the middles of two windows the one fades to the other."""
        if not self.is_judged:
            return EmotionSummary.of(None, self.class_names, evidence="none")
        return EmotionSummary.of(
            probabilities_at(time_seconds, self.middles_seconds, self.probabilities),
            self.class_names,
            evidence=self.evidence[int(np.argmin(np.abs(self.middles_seconds - time_seconds)))],
            unsure_below=self.unsure_below,
        )


def join_spans(spans: Iterable[Span], *, slack_seconds: float = SPAN_SLACK_SECONDS) -> list[Span]:
    """Joins stretches of time that touch, or nearly do, so that an hour of windows is a handful of stretches."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + slack_seconds:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def is_shown(judgement: Judgement, track: FaceTrack | None, time_seconds: float) -> bool:
    """Whether there is something to be said at a moment of a face, which must be in sight, or of a voice."""
    return judgement.covers(time_seconds) if track is None else track.box_at(time_seconds) is not None


def _voice_spans(prediction: MediaPrediction) -> list[Span]:
    """The stretches for which windows without a face speak: those nearer to their middles than to any other's.

    Voices are heard only where somebody speaks, short pauses included; whole frames, which are judged the same way,
    are always seen.
    """
    windows = [w for w in prediction.windows if w.face_id is None and w.probabilities is not None]
    middles = sorted({window.middle_seconds for window in prediction.windows})
    if not windows:
        return []
    edges = [(before + after) / 2 for before, after in itertools.pairwise(middles)]
    edges = [middles[0] - math.inf, *edges, middles[-1] + math.inf]
    spans = []
    for window in windows:
        place = bisect.bisect_left(middles, window.middle_seconds)
        cell = edges[place], edges[place + 1]
        first = window.start_seconds - SPAN_SLACK_SECONDS, window.end_seconds + SPAN_SLACK_SECONDS
        spans.append((max(cell[0], first[0]), min(cell[1], first[1])))
    spans = join_spans(spans, slack_seconds=0.0)
    if prediction.speech is None or any("frame" in window.evidence for window in windows):
        return spans
    heard = join_spans(prediction.speech, slack_seconds=PAUSE_SECONDS)
    return [
        (max(first[0], second[0]), min(first[1], second[1]))
        for first in spans
        for second in heard
        if max(first[0], second[0]) < min(first[1], second[1])
    ]


# ---- The rows of a timeline: one for each face, and one for the voice where it was judged by itself ----

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
