"""Gives the answer for each face, and for the voice, at any moment, to videos, plots, pages and subtitles alike."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion.results import UNSURE, EmotionSummary, FaceTrack, MediaPrediction, Span, in_percent
from emotion.windows import probabilities_at

MOMENT_SECONDS = 0.04  # between two moments of a curve, at least
HIDDEN_SHARE = 0.01  # curves that are nearer to each other lie on each other
MIN_SHOWN = 0.1  # an emotion that never becomes this probable gets no curve


@dataclass(frozen=True)
class TimelineRow:
    """One face or the voice over time.

    Attributes:
        name: "face 1", "voice", or "clip" for a model of whole frames.
        track: the face's track, None for the voice.
        summary: the one answer for the whole row, None if there is none.
        class_names: the model's classes.
        unsure_below: the confidence below which an answer is ``unsure``.
        middles_seconds: ``(n_windows,)``, the rising middles of the windows with evidence.
        probabilities: ``(n_windows, n_classes)`` of these windows; ``(0,)`` if there are none.
        evidence: of these windows.
        spans: when a voice is heard and one of its own windows is the nearest; empty for a face, whose track says when
            it is in sight.
    """

    name: str
    track: FaceTrack | None
    summary: EmotionSummary | None
    class_names: tuple[str, ...]
    unsure_below: float
    middles_seconds: np.ndarray
    probabilities: np.ndarray
    evidence: tuple[str, ...]
    spans: tuple[Span, ...]

    @classmethod
    def of_face(cls, prediction: MediaPrediction, track: FaceTrack) -> "TimelineRow":
        windows = prediction.judged_windows(track.face_id)
        return cls._build(prediction, windows, track.name, track, prediction.by_face.get(track.face_id))

    @classmethod
    def of_voice(cls, prediction: MediaPrediction) -> "TimelineRow":
        """Gathers the windows judged without a face: by the voice alone, or as whole frames."""
        windows = prediction.judged_windows(None)
        name = "clip" if any("frame" in window.evidence for window in windows) else "voice"
        return cls._build(prediction, windows, name, None, prediction.voice, prediction.voice_spans())

    @classmethod
    def _build(cls, prediction: MediaPrediction, windows, name, track, summary, spans=()) -> "TimelineRow":
        return cls(
            name=name,
            track=track,
            summary=summary,
            class_names=prediction.class_names,
            unsure_below=prediction.unsure_below,
            middles_seconds=np.array([window.middle_seconds for window in windows]),
            probabilities=np.array([window.probabilities for window in windows]),
            evidence=tuple(window.evidence for window in windows),
            spans=tuple(spans),
        )

    @property
    def is_judged(self) -> bool:
        """Whether any window had evidence."""
        return len(self.middles_seconds) > 0

    @property
    def words(self) -> str:
        """The row's one answer, as it stands above a curve."""
        if self.track is None:
            return "by whole frames" if self.name == "clip" else "by the sound alone"
        if self.summary.emotion is None:
            return "no evidence"
        guess = f", most probably {self.summary.most_probable}" if self.summary.emotion == UNSURE else ""
        return f"{self.summary.emotion}{guess}, {in_percent(self.summary.confidence)}, by {self.summary.evidence}"

    def is_shown(self, time_seconds: float) -> bool:
        """Whether the face is in sight, or the voice heard, at a moment."""
        if self.track is not None:
            return self.track.box_at(time_seconds) is not None
        return any(start <= time_seconds <= end for start, end in self.spans)

    def answer_at(self, time_seconds: float) -> EmotionSummary | None:
        """Returns the answer at a moment, blended between the middles of the two nearest windows.

        None if the face is out of sight, the voice is not heard, or the row has no evidence at all.
        """
        if not self.is_judged or not self.is_shown(time_seconds):
            return None
        return EmotionSummary.of(
            probabilities_at(time_seconds, self.middles_seconds, self.probabilities),
            self.class_names,
            evidence=self.evidence[int(np.argmin(np.abs(self.middles_seconds - time_seconds)))],
            unsure_below=self.unsure_below,
        )


def timeline_rows(prediction: MediaPrediction) -> list[TimelineRow]:
    """Returns the faces in order of appearance, then the voice if it was judged by itself."""
    rows = [TimelineRow.of_face(prediction, track) for track in prediction.tracks]
    voice = TimelineRow.of_voice(prediction)
    # The windows of a voice may have been the nearest at no moment at all.
    return [*rows, voice] if voice.spans else rows


def choose_rows(rows: list[TimelineRow], limit: int) -> tuple[list[TimelineRow], int]:
    """Returns the rows to show and the number of faces left out: those that appear last. The voice always stays."""
    faces, voices = [row for row in rows if row.track], [row for row in rows if not row.track]
    return faces[:limit] + voices, max(0, len(faces) - limit)


def choose_moments(prediction: MediaPrediction, most: int) -> np.ndarray:
    """Returns at most ``most`` evenly spaced seconds from the clip's start to its end."""
    start = prediction.start_seconds
    end = start + max(prediction.duration_seconds, MOMENT_SECONDS)
    return np.linspace(start, end, int(np.clip((end - start) / MOMENT_SECONDS, 2, most)))


def stack_probabilities(answers: Sequence[EmotionSummary | None], n_classes: int) -> np.ndarray:
    """Returns ``(n_answers, n_classes)``, NaN where there is no answer."""
    nothing = np.full(n_classes, np.nan)
    return np.array([nothing if answer is None else answer.probabilities for answer in answers], float)


def find_stretches(answers: Sequence[EmotionSummary | None]) -> list[tuple[int, int, str]]:
    """Returns (first index, index after the last, emotion) of each run of answers with the same emotion."""
    stretches, start = [], 0
    for emotion, group in itertools.groupby(answer and answer.emotion for answer in answers):
        end = start + len(list(group))
        if emotion is not None:
            stretches.append((start, end, emotion))
        start = end
    return stretches


def find_hidden(probabilities: np.ndarray, curve: int) -> list[tuple[int, int, np.ndarray]]:
    """Returns where a curve lies below others, so that it can be drawn in dashes there, in turn with them.

    Args:
        probabilities: ``(n_moments, n_curves)``, in the order in which the curves are drawn.
        curve: index of the curve.

    Returns:
        How many curves lie above it, how many there are in that place, itself included, and at which moments, a mask
        ``(n_moments,)``.
    """
    near = np.abs(probabilities - probabilities[:, [curve]]) < HIDDEN_SHARE
    depths, sizes = near[:, curve + 1 :].sum(axis=1), near.sum(axis=1)
    found = sorted({*zip(depths.tolist(), sizes.tolist(), strict=True)})
    return [(depth, size, (depths == depth) & (sizes == size)) for depth, size in found if depth]
