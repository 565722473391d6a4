"""What inference gives back: plain frozen records that know neither model nor media.

Writers (video, tables, plots) take these and nothing else.
"""

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture; x2 and y2 exclusive
MAX_GAP_SECONDS = 0.5  # between two sightings of a face that was not out of sight
UNSURE = "unsure"  # given as the emotion where the confidence is too low for an answer


@dataclass(frozen=True)
class FaceTrack:
    """One person's face through the clip.

    Attributes:
        face_id: 1, 2, ... in order of appearance.
        times_seconds: moments at which the face was found, rising, on the file's own clock.
        boxes: the face's box at each of these moments.
        cuts_seconds: moments at which the shot changed, rising: when the first picture of the new one is shown.
        max_gap_seconds: between two sightings of a face that was not out of sight; longer where there are few pictures.
    """

    face_id: int
    times_seconds: tuple[float, ...]
    boxes: tuple[Box, ...]
    cuts_seconds: tuple[float, ...] = ()
    max_gap_seconds: float = MAX_GAP_SECONDS

    @property
    def seconds_in_sight(self) -> float:
        """For how long the face was seen, short losses included."""
        gaps = (after - before for before, after in itertools.pairwise(self.times_seconds))
        return sum(gap for gap in gaps if gap <= self.max_gap_seconds)

    @property
    def name(self) -> str:
        return f"face {self.face_id}"

    @property
    def total_area(self) -> int:
        """Pixels of all boxes together: how much of the picture the face fills, for how long."""
        return sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in self.boxes)

    def box_at(self, time_seconds: float, max_gap_seconds: float = 0.0) -> Box | None:
        """Returns the box at a moment, interpolated between sightings; None where the face is not in sight.

        A face is taken to stay in sight between two sightings at most ``max_gap_seconds`` apart (its own, or longer
        ones asked for), and for a quarter of that before its first sighting and after its last; but never beyond a cut.
        """
        max_gap_seconds = max(max_gap_seconds, self.max_gap_seconds)
        times = self.times_seconds
        right = bisect.bisect_left(times, time_seconds)
        if right < len(times) and times[right] == time_seconds:
            return self.boxes[right]
        before = right - 1 if right > 0 and not self._cut_between(times[right - 1], time_seconds) else None
        after = right if right < len(times) and not self._cut_between(time_seconds, times[right]) else None
        if before is not None and after is not None and times[after] - times[before] <= max_gap_seconds:
            weight = (time_seconds - times[before]) / (times[after] - times[before])
            blended = (1 - weight) * np.asarray(self.boxes[before]) + weight * np.asarray(self.boxes[after])
            x1, y1, x2, y2 = (round(float(value)) for value in blended)
            return x1, y1, x2, y2
        near = [index for index in (before, after) if index is not None]
        nearest = min(near, key=lambda index: abs(times[index] - time_seconds), default=None)
        if nearest is None or abs(times[nearest] - time_seconds) > max_gap_seconds / 4:
            return None
        return self.boxes[nearest]

    def seconds_from_sighting(self, time_seconds: float) -> float:
        """Returns how far a moment is from the nearest one at which the face was found."""
        right = bisect.bisect_left(self.times_seconds, time_seconds)
        near = self.times_seconds[max(0, right - 1) : right + 1]
        return min((abs(time - time_seconds) for time in near), default=float("inf"))

    def _cut_between(self, start: float, end: float) -> bool:
        """Whether a shot ends after a moment and before or at another."""
        return bisect.bisect_right(self.cuts_seconds, start) < bisect.bisect_right(self.cuts_seconds, end)


@dataclass(frozen=True)
class WindowPrediction:
    """What the model says of one window for one face, or for the voice alone.

    Attributes:
        start_seconds, end_seconds: the window on the file's own clock.
        face_id: the face judged, or None where the window was judged by the sound alone.
        evidence: ``face+voice``, ``face``, ``voice`` or ``none``; a model of whole frames has ``frame`` for ``face``.
        probabilities: ``(n_classes,)`` in the order of the result's class names; None without evidence.
    """

    start_seconds: float
    end_seconds: float
    face_id: int | None
    evidence: str
    probabilities: np.ndarray | None

    @property
    def middle_seconds(self) -> float:
        return (self.start_seconds + self.end_seconds) / 2


@dataclass(frozen=True)
class EmotionSummary:
    """One answer for a stretch of time. Made by ``EmotionSummary.of``, the one place where probabilities become words.

    Attributes:
        emotion: the answer: the most probable emotion, ``UNSURE`` where its probability is too low to be given as the
            answer, None without evidence.
        most_probable: the most probable emotion however low its probability; None without evidence.
        confidence: the probability of ``most_probable``; 0 without evidence.
        evidence: as in ``WindowPrediction``.
        probabilities: ``(n_classes,)``; None without evidence.
    """

    emotion: str | None
    most_probable: str | None
    confidence: float
    evidence: str
    probabilities: np.ndarray | None

    @classmethod
    def of(
        cls, probabilities: np.ndarray | None, class_names: Sequence[str], *, evidence: str, unsure_below: float = 0.0
    ) -> "EmotionSummary":
        """Puts probabilities into words.

        Args:
            probabilities: ``(n_classes,)``; None without evidence.
            class_names: the classes, in the order of the probabilities.
            evidence: what was judged.
            unsure_below: the confidence under which the answer is ``UNSURE``.
        """
        if probabilities is None:
            return cls(None, None, 0.0, evidence, None)
        best = int(np.argmax(probabilities))
        name, confidence = class_names[best], float(probabilities[best])
        return cls(UNSURE if confidence < unsure_below else name, name, confidence, evidence, probabilities)


@dataclass(frozen=True)
class MediaPrediction:
    """Everything found in one media file.

    Attributes:
        path: the file.
        class_names: the model's classes, in the order of all probabilities.
        duration_seconds: from the first to the end of the last picture or sound.
        has_video, has_audio: the streams the file holds.
        tracks: the faces, in order of appearance.
        windows: in order of time, then face.
        overall: one answer for the clip.
        by_face: one answer for each face, keyed by ``face_id``.
        voice: one answer for the windows in which the voice was judged by itself; None if there are none.
        passed_over: faces that were followed but not judged, because they are too small or too many.
        notes: what a reader must know to judge the answer, such as "no sound".
        window_seconds: the length of the windows, but for those that are cut short by the ends of the clip.
        speech: stretches of time, ``(start, end)``, in which somebody speaks; None where nobody listened for that.
        unsure_below: the confidence under which ``overall`` and ``by_face`` are ``UNSURE``, and under which whatever is
            said of a window or a moment must be, too.
    """

    path: str
    class_names: tuple[str, ...]
    duration_seconds: float
    has_video: bool
    has_audio: bool
    tracks: tuple[FaceTrack, ...]
    windows: tuple[WindowPrediction, ...]
    overall: EmotionSummary
    by_face: dict[int, EmotionSummary]
    notes: tuple[str, ...] = ()
    unsure_below: float = 0.0
    window_seconds: float | None = None
    speech: tuple[tuple[float, float], ...] | None = None
    voice: EmotionSummary | None = None
    passed_over: tuple[FaceTrack, ...] = ()

    @property
    def start_seconds(self) -> float:
        """When the first window begins: a file's clock need not begin at 0."""
        return min((window.start_seconds for window in self.windows), default=0.0)

    def answer(self, window: WindowPrediction) -> EmotionSummary:
        """Puts one of the windows into words."""
        return EmotionSummary.of(
            window.probabilities, self.class_names, evidence=window.evidence, unsure_below=self.unsure_below
        )

    def time_shares(self, face_id: int | None) -> dict[str, float]:
        """For how much of the time that a face, or with None the voice by itself, was judged each answer holds.

        Returns:
            By emotion, and ``UNSURE``, shares that add up to 1, the largest first; empty without evidence. Each window
            speaks for the time that is nearer to its middle than to that of any other.
        """
        windows = [window for window in self.windows if window.face_id == face_id and window.probabilities is not None]
        if not windows:
            return {}
        middles = [window.middle_seconds for window in windows]
        between = [(before + after) / 2 for before, after in itertools.pairwise(middles)]
        edges = [windows[0].start_seconds, *between, windows[-1].end_seconds]
        shares: dict[str, float] = {}
        for window, (start, end) in zip(windows, itertools.pairwise(edges), strict=True):
            # Two windows in the same place, as of a clip without length, have no time of their own.
            emotion = self.answer(window).emotion
            seconds = min(end, window.end_seconds) - max(start, window.start_seconds)
            shares[emotion] = shares.get(emotion, 0.0) + max(seconds, 1e-9)
        total = sum(shares.values())
        return {name: share / total for name, share in sorted(shares.items(), key=lambda pair: -pair[1])}


def join_evidence(evidences: Iterable[str]) -> str:
    """Returns what several windows were judged by, all together: ``face`` and ``voice`` make ``face+voice``."""
    parts = {part for evidence in evidences for part in evidence.split("+")}
    return "+".join(part for part in ("face", "frame", "voice") if part in parts) or "none"


def in_percent(confidence: float) -> str:
    """Returns a confidence in whole percent, such as ``87%``; what is not quite sure is never called 100%."""
    return ">99%" if confidence > 0.99 else f"{confidence:.0%}"
