"""What was found of one face, or of the voice, at any moment: what videos, plots and subtitles show alike."""

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from emotion.results import EmotionSummary, FaceTrack, MediaPrediction
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
