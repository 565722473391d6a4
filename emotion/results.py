"""The results of inference: frozen records that know neither model nor media. All outputs are made from them alone."""

import bisect
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture; x2 and y2 exclusive
Span = tuple[float, float]  # start and end in seconds
MAX_GAP_SECONDS = 0.5  # longest time between two detections of a face that stayed in sight
UNSURE = "unsure"  # the answer where the confidence is too low
# What a person is compared with: neutral clips that you name, the clip itself, or all clips of the person at hand.
REFERENCE, OWN_CLIP, OWN_CLIPS = "reference", "own clip", "own clips"


class Comparable:
    """Compares records by what they hold, arrays included, and hashes them alike."""

    def __eq__(self, other: object) -> bool:
        return _contents(self) == _contents(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(_contents(self))


def _contents(value):
    """Returns a value as something that can be compared and hashed."""
    if isinstance(value, Comparable):
        return tuple(_contents(getattr(value, item.name)) for item in dataclasses.fields(value))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return frozenset((name, _contents(item)) for name, item in value.items())
    if isinstance(value, tuple | list):
        return tuple(_contents(item) for item in value)
    return value


@dataclass(frozen=True)
class Word:
    """A word that somebody says, with its punctuation; times on the file's own clock."""

    start_seconds: float
    end_seconds: float
    text: str


@dataclass(frozen=True, repr=False)
class FaceTrack:
    """One person's face through the clip.

    Attributes:
        face_id: 1, 2, ... in order of appearance.
        times_seconds: when the face was detected, rising, on the file's own clock.
        boxes: one for each of these times.
        cuts_seconds: when a new shot begins, rising.
        max_gap_seconds: longest time between two detections of a face that stayed in sight; longer at low frame rates.
        person: the name you gave with a reference; None if there is none.
    """

    face_id: int
    times_seconds: tuple[float, ...]
    boxes: tuple[Box, ...]
    cuts_seconds: tuple[float, ...] = ()
    max_gap_seconds: float = MAX_GAP_SECONDS
    person: str | None = None

    def __repr__(self) -> str:
        first, last = self.times_seconds[:1], self.times_seconds[-1:]
        seen = f", {first[0]:.1f} to {last[0]:.1f} s, seen {len(self.times_seconds)} times" if first else ""
        return f"FaceTrack({self.name!r}{seen})"

    @property
    def seconds_in_sight(self) -> float:
        """How long the face was in sight, short gaps included."""
        gaps = (after - before for before, after in itertools.pairwise(self.times_seconds))
        return sum(gap for gap in gaps if gap <= self.max_gap_seconds)

    @property
    def name(self) -> str:
        return self.person or f"face {self.face_id}"

    @property
    def total_area(self) -> int:
        """Sum of the areas of all boxes, in pixels."""
        return sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in self.boxes)

    def box_at(self, time_seconds: float, max_gap_seconds: float = 0.0) -> Box | None:
        """Returns the box at a time, interpolated between detections; None where the face is out of sight.

        A face is in sight between two detections at most ``max_gap_seconds`` apart (the track's own, if that is
        longer), and for a third of that time before and after a detection, but never across a cut.
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
        if nearest is None or abs(times[nearest] - time_seconds) > max_gap_seconds / 3:
            return None
        return self.boxes[nearest]

    def seconds_from_sighting(self, time_seconds: float) -> float:
        """Returns the time to the nearest detection; infinity if there is none."""
        right = bisect.bisect_left(self.times_seconds, time_seconds)
        near = self.times_seconds[max(0, right - 1) : right + 1]
        return min((abs(time - time_seconds) for time in near), default=float("inf"))

    def _cut_between(self, start: float, end: float) -> bool:
        """Whether a new shot begins after ``start`` and no later than ``end``."""
        return bisect.bisect_right(self.cuts_seconds, start) < bisect.bisect_right(self.cuts_seconds, end)


@dataclass(frozen=True, eq=False)
class WindowPrediction(Comparable):
    """The model's answer for one window and one face, or for the voice alone.

    Attributes:
        start_seconds, end_seconds: on the file's own clock.
        face_id: None for the voice alone.
        evidence: ``face+voice``, ``face``, ``voice`` or ``none``; models of whole frames say ``frame`` for ``face``.
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


@dataclass(frozen=True, eq=False)
class EmotionSummary(Comparable):
    """One answer for a span of time. Only ``EmotionSummary.of`` turns probabilities into an emotion.

    Attributes:
        emotion: the most probable emotion, or ``UNSURE`` if its probability is too low; None without evidence.
        most_probable: the most probable emotion, however low its probability; None without evidence.
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
        """Returns the answer for probabilities ``(n_classes,)``; ``UNSURE`` below the confidence ``unsure_below``."""
        if probabilities is None:
            return cls(None, None, 0.0, evidence, None)
        best = int(np.argmax(probabilities))
        name, confidence = class_names[best], float(probabilities[best])
        return cls(UNSURE if confidence < unsure_below else name, name, confidence, evidence, probabilities)


@dataclass(frozen=True)
class BaselineUse:
    """What the answers for one person are compared with.

    Attributes:
        face_id: the person's face; None for a voice by itself.
        kind: ``REFERENCE``, ``OWN_CLIP`` or ``OWN_CLIPS``.
        face_seconds, voice_seconds: of the person's face and voice that the baseline rests on; 0 if it is not used.
    """

    face_id: int | None
    kind: str
    face_seconds: float
    voice_seconds: float


@dataclass(frozen=True, eq=False)
class MediaPrediction(Comparable):
    """Everything found in one media file.

    Attributes:
        class_names: the model's classes, in the order of all probabilities.
        duration_seconds: from the first to the end of the last frame or sound.
        has_video, has_audio: whether the file has such a stream.
        tracks: the faces, in order of appearance.
        windows: in order of time, then face.
        overall: the answer for the clip.
        by_face: the answer for each face, by ``face_id``.
        voice: the answer for the windows with the voice alone; None if there are none.
        passed_over: faces that were tracked but not judged: too small, seen too few times, or more than ``max_faces``.
        notes: what you need to know to judge the answer, such as "no sound".
        window_seconds: length of the windows; those at the ends of the clip may be shorter.
        speech: ``(start, end)`` of each time in which somebody speaks; None without speech detection.
        unsure_below: confidence below which an answer, of any window or moment, is ``UNSURE``.
        baselines: the persons whose answers are relative to their own baseline; empty if there are none.
        video_track, audio_track: that were judged, counted from 1 among those of their kind; None if unknown.
        without_baseline: the same result with everybody judged alike; None if ``baselines`` is empty.
        part: the start and end, in seconds, of what was judged; None for the whole file.
        frame_times_seconds: ``(n_frames,)``, when each picture was shown, rising; None without pictures.
        words: what was said, in order of time; None if nobody wrote it down.
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
    speech: tuple[Span, ...] | None = None
    voice: EmotionSummary | None = None
    passed_over: tuple[FaceTrack, ...] = ()
    baselines: tuple[BaselineUse, ...] = ()
    video_track: int | None = None
    audio_track: int | None = None
    without_baseline: "MediaPrediction | None" = None
    part: Span | None = None
    frame_times_seconds: np.ndarray | None = None
    words: tuple[Word, ...] | None = None

    @property
    def start_seconds(self) -> float:
        """When the first window begins; a file's clock need not start at 0."""
        return min((window.start_seconds for window in self.windows), default=0.0)

    def moved(self, seconds: float) -> Self:
        """Returns the same with all times later by as many seconds."""

        def later(track: FaceTrack) -> FaceTrack:
            times, cuts = (tuple(time + seconds for time in each) for each in (track.times_seconds, track.cuts_seconds))
            return dataclasses.replace(track, times_seconds=times, cuts_seconds=cuts)

        return dataclasses.replace(
            self,
            tracks=tuple(map(later, self.tracks)),
            passed_over=tuple(map(later, self.passed_over)),
            windows=tuple(
                dataclasses.replace(
                    window, start_seconds=window.start_seconds + seconds, end_seconds=window.end_seconds + seconds
                )
                for window in self.windows
            ),
            speech=None if self.speech is None else tuple((a + seconds, b + seconds) for a, b in self.speech),
            frame_times_seconds=None if self.frame_times_seconds is None else self.frame_times_seconds + seconds,
        )

    def answer(self, window: WindowPrediction) -> EmotionSummary:
        """Returns the answer for one of the windows."""
        return EmotionSummary.of(
            window.probabilities, self.class_names, evidence=window.evidence, unsure_below=self.unsure_below
        )

    def time_shares(self, face_id: int | None) -> dict[str, float]:
        """Returns for which share of its time a face, or the voice alone (None), has each answer.

        A window stands for the time that is nearer to its middle than to any other window's.

        Returns:
            By emotion or ``UNSURE``, shares that sum to 1, the largest first; empty without evidence.
        """
        windows = [window for window in self.windows if window.face_id == face_id and window.probabilities is not None]
        if not windows:
            return {}
        windows.sort(key=lambda window: window.middle_seconds)  # at a moment of a stream the latest comes first
        middles = [window.middle_seconds for window in windows]
        between = [(before + after) / 2 for before, after in itertools.pairwise(middles)]
        edges = [windows[0].start_seconds, *between, windows[-1].end_seconds]
        shares: dict[str, float] = {}
        for window, (start, end) in zip(windows, itertools.pairwise(edges), strict=True):
            # Windows with the same middle, as in a picture, have no time of their own.
            emotion = self.answer(window).emotion
            seconds = min(end, window.end_seconds) - max(start, window.start_seconds)
            shares[emotion] = shares.get(emotion, 0.0) + max(seconds, 1e-9)
        total = sum(shares.values())
        return {name: share / total for name, share in sorted(shares.items(), key=lambda pair: -pair[1])}


def join_evidence(evidences: Iterable[str]) -> str:
    """Returns the evidence of several windows together: ``face`` and ``voice`` make ``face+voice``."""
    parts = {part for evidence in evidences for part in evidence.split("+")}
    return "+".join(part for part in ("face", "frame", "voice") if part in parts) or "none"


def in_percent(confidence: float) -> str:
    """Returns a confidence such as ``87%``; above 0.99 it is ``>99%``, never 100 %."""
    return ">99%" if confidence > 0.99 else f"{confidence:.0%}"
