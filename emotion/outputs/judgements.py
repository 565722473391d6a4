"""What was found of one face, or of the voice, at any moment: what videos, plots and subtitles show alike."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from emotion.results import EmotionSummary, MediaPrediction
from emotion.windows import probabilities_at

SPAN_SLACK_SECONDS = 0.25  # a last picture may be shown a little after the last window's end

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
        spans: the stretches of time that the windows cover.
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
        return cls(
            prediction.class_names,
            prediction.unsure_below,
            np.array([window.middle_seconds for window in windows]),
            np.array([window.probabilities for window in windows]).reshape(len(windows), len(prediction.class_names)),
            tuple(window.evidence for window in windows),
            tuple(join_spans((window.start_seconds, window.end_seconds) for window in windows)),
        )

    @property
    def is_judged(self) -> bool:
        """Whether there was any evidence at all."""
        return len(self.middles_seconds) > 0

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


def join_spans(spans: Iterable[Span]) -> list[Span]:
    """Joins stretches of time that touch, so that an hour of windows is a handful of stretches."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + SPAN_SLACK_SECONDS:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def covers(spans: Iterable[Span], time_seconds: float) -> bool:
    """Whether a moment lies in one of the stretches, or just beside it."""
    return any(start - SPAN_SLACK_SECONDS <= time_seconds <= end + SPAN_SLACK_SECONDS for start, end in spans)
