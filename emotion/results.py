"""The results of inference: frozen records that know neither model nor media. All outputs are made from them alone."""

import bisect
import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from emotion.windows import probabilities_at

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture; x2 and y2 exclusive
Span = tuple[float, float]  # start and end in seconds
MAX_GAP_SECONDS = 0.5  # longest time between two detections of a face that stayed in sight
SPEED_SECONDS = 0.06  # in which a face's speed at a detection is measured, or twice that
MAX_WAY_SIZES = 1.2  # that a face may go between two detections, in sizes of it
SPAN_SLACK_SECONDS = 0.25  # the last picture may be shown a little after the last window's end
PAUSE_SECONDS = 1.0  # a shorter pause in speech does not interrupt a voice's answer
SHARE_SECONDS, MAX_SHARE_MOMENTS = 0.04, 5000  # between two moments that are counted for a share of time; how many
UNSURE = "unsure"  # the answer where the confidence is too low
# What a person is compared with: neutral clips that you name, the clip itself, or all clips of the person at hand.
REFERENCE, OWN_CLIP, OWN_CLIPS = "reference", "own clip", "own clips"


class Comparable:
    """Compares records by what they hold, arrays included, and hashes them alike."""

    def __eq__(self, other: object) -> bool:
        return _contents(self) == _contents(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(_contents(self))


def _contents(value: Any) -> Any:
    """Returns a value as something that can be compared and hashed."""
    if isinstance(value, Comparable):
        return tuple(_contents(getattr(value, item.name)) for item in dataclasses.fields(value))  # type: ignore[arg-type]  # all are records
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return frozenset((name, _contents(item)) for name, item in value.items())
    if isinstance(value, tuple | list):
        return tuple(_contents(item) for item in value)
    return value


@dataclass(frozen=True)
class Word:
    """A word that somebody says, with its punctuation; times on the file's own clock.

    Attributes:
        has_space: whether a space comes before it; not in languages such as Chinese.
    """

    start_seconds: float
    end_seconds: float
    text: str
    has_space: bool = True


def join_words(words: Iterable[Word]) -> str:
    """Returns the text that words make."""
    return "".join(f" {word.text}" if word.has_space else word.text for word in words).strip()


class Pose(NamedTuple):
    """How a head is turned, in degrees; 0 if it looks straight ahead.

    Attributes:
        yaw: positive to the viewer's right.
        pitch: positive up.
        roll: positive clockwise, as the viewer sees it; -180 to 180.
    """

    yaw: float
    pitch: float
    roll: float

    def blend(self, other: "Pose", weight: float) -> "Pose":
        """Returns a pose on the shortest way to another, at a weight of 1 the other."""
        return Pose(*(_to_half_turn(a + weight * _to_half_turn(b - a)) for a, b in zip(self, other, strict=True)))


def _to_half_turn(degrees: float) -> float:
    """Returns the same angle between -180 and 180 degrees."""
    return degrees if -180 <= degrees <= 180 else (degrees + 180) % 360 - 180


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
        poses: one for each of the times, None where it is unknown; None for a detector that finds no landmarks.
    """

    face_id: int
    times_seconds: tuple[float, ...]
    boxes: tuple[Box, ...]
    cuts_seconds: tuple[float, ...] = ()
    max_gap_seconds: float = MAX_GAP_SECONDS
    person: str | None = None
    poses: tuple[Pose | None, ...] | None = None

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
        longer), and for a third of that time before and after a detection, in which it moves on as it did; but never
        across a cut, nor on a way that is longer than the face, which may have left and come back elsewhere.
        """
        is_own_gap = max_gap_seconds <= self.max_gap_seconds
        max_gap_seconds = max(max_gap_seconds, self.max_gap_seconds)
        times = self.times_seconds
        right = bisect.bisect_left(times, time_seconds)
        if right < len(times) and times[right] == time_seconds:
            return self.boxes[right]
        near = self._near(time_seconds)
        if len(near) > 1:
            before, after = near
            is_short = times[after] - times[before] <= max_gap_seconds
            if is_short and (not is_own_gap or self._is_one_way(before, after)):
                weight = (time_seconds - times[before]) / (times[after] - times[before])
                return _to_box((1 - weight) * np.array(self.boxes[before]) + weight * np.array(self.boxes[after]))
        nearest = min(near, key=lambda index: abs(times[index] - time_seconds), default=None)
        if nearest is None or abs(times[nearest] - time_seconds) > max_gap_seconds / 3:
            return None
        return self._move_on(nearest, time_seconds)

    @property
    def median_pose(self) -> Pose | None:
        """The middle of all known angles, one by one; None if none are known."""
        known = [pose for pose in self.poses or () if pose is not None]
        if not known:
            return None
        first = known[0]  # a roll near 180 degrees may change its sign
        turns = np.array([[_to_half_turn(b - a) for a, b in zip(first, pose, strict=True)] for pose in known])
        return Pose(*(_to_half_turn(a + float(turn)) for a, turn in zip(first, np.median(turns, axis=0), strict=True)))

    def pose_at(self, time_seconds: float) -> Pose | None:
        """Returns the pose at a time, interpolated as ``box_at``; None where the face is out of sight."""
        if self.poses is None or self.box_at(time_seconds) is None:
            return None
        near = sorted(self._near(time_seconds), key=lambda index: abs(self.times_seconds[index] - time_seconds))
        known = [(self.times_seconds[index], pose) for index in near if (pose := self.poses[index]) is not None]
        if not known:
            return None
        (time, pose), *others = known
        for other_time, other in others:
            if abs(other_time - time) <= self.max_gap_seconds:
                return pose.blend(other, (time_seconds - time) / (other_time - time))
        return pose

    def _near(self, time_seconds: float) -> list[int]:
        """Returns the detections before and after a time between which and it there is no cut, in this order."""
        times, right = self.times_seconds, bisect.bisect_left(self.times_seconds, time_seconds)
        near = [right - 1] if right > 0 and not self._cut_between(times[right - 1], time_seconds) else []
        return near + [right] * (right < len(times) and not self._cut_between(time_seconds, times[right]))

    def _move_on(self, index: int, time_seconds: float) -> Box | None:
        """Returns where a face is that moves on, or came, at the speed that it has at a detection; None if outside."""
        seconds = time_seconds - self.times_seconds[index]
        speed = self._speed(index, -1 if seconds > 0 else 1)
        if speed is None:
            return self.boxes[index]
        seconds = float(np.clip(seconds, -MAX_GAP_SECONDS / 3, MAX_GAP_SECONDS / 3))
        x1, y1, x2, y2 = _to_box(np.maximum(np.array(self.boxes[index]) + speed * seconds, 0))
        return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None

    def _speed(self, index: int, step: int) -> np.ndarray | None:
        """Returns by how many pixels a second the corners move from a detection to those after or before it."""
        times, other = self.times_seconds, index
        while 0 <= other + step < len(times) and abs(times[other] - times[index]) < SPEED_SECONDS:
            first, last = sorted((other, other + step))
            is_far = _find_way(self.boxes[first], self.boxes[last]) > MAX_WAY_SIZES
            if is_far or times[last] - times[first] > 2 * SPEED_SECONDS or self._cut_between(times[first], times[last]):
                break
            other += step
        if other == index:
            return None
        way: np.ndarray = np.subtract(self.boxes[other], self.boxes[index])
        return np.asarray(way / (times[other] - times[index]))

    def _is_one_way(self, before: int, after: int) -> bool:
        """Whether a face moved from one detection to another: a short way, or as its speed lets expect."""
        first, last = np.array(self.boxes[before]), np.array(self.boxes[after])
        speeds = [self._speed(before, -1), self._speed(after, 1)]
        seconds = self.times_seconds[after] - self.times_seconds[before]
        expected = [first + speed * seconds for speed in speeds if speed is not None] or [last]
        return any(_find_way(place, last) <= MAX_WAY_SIZES for place in (first, *expected))

    def seconds_from_sighting(self, time_seconds: float) -> float:
        """Returns the time to the nearest detection; infinity if there is none."""
        right = bisect.bisect_left(self.times_seconds, time_seconds)
        near = self.times_seconds[max(0, right - 1) : right + 1]
        return min((abs(time - time_seconds) for time in near), default=float("inf"))

    def _cut_between(self, start: float, end: float) -> bool:
        """Whether a new shot begins after ``start`` and no later than ``end``."""
        return bisect.bisect_right(self.cuts_seconds, start) < bisect.bisect_right(self.cuts_seconds, end)


def _find_way(first: Box | np.ndarray, last: Box | np.ndarray) -> float:
    """Returns how far a box is from another, in sizes of the larger one."""
    boxes = np.array([first, last])
    way = np.hypot(*(boxes[0, :2] + boxes[0, 2:] - boxes[1, :2] - boxes[1, 2:])) / 2
    return float(way / max(1, (boxes[:, 2:] - boxes[:, :2]).max()))


def _to_box(corners: np.ndarray) -> Box:
    x1, y1, x2, y2 = (round(float(value)) for value in corners)
    return x1, y1, x2, y2


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
        places: valence and arousal of each class, if the model learned them from rated clips; else None.
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
    places: Mapping[str, tuple[float, float]] | None = None

    @property
    def start_seconds(self) -> float:
        """When the first window begins; a file's clock need not start at 0."""
        return min((window.start_seconds for window in self.windows), default=0.0)

    def moved(self, seconds: float) -> Self:
        """Returns the same with all times later by as many seconds."""

        def later(track: FaceTrack) -> FaceTrack:
            times, cuts = (tuple(time + seconds for time in each) for each in (track.times_seconds, track.cuts_seconds))
            return dataclasses.replace(track, times_seconds=times, cuts_seconds=cuts)

        def said_later(word: Word) -> Word:
            start, end = word.start_seconds + seconds, word.end_seconds + seconds
            return dataclasses.replace(word, start_seconds=start, end_seconds=end)

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
            words=None if self.words is None else tuple(map(said_later, self.words)),
            frame_times_seconds=None if self.frame_times_seconds is None else self.frame_times_seconds + seconds,
        )

    def answer(self, window: WindowPrediction) -> EmotionSummary:
        """Returns the answer for one of the windows."""
        return EmotionSummary.of(
            window.probabilities, self.class_names, evidence=window.evidence, unsure_below=self.unsure_below
        )

    def judged_windows(self, face_id: int | None) -> list[WindowPrediction]:
        """Returns the windows with an answer for a face, or for no face (None), in order of their middles."""
        windows = [w for w in self.windows if w.face_id == face_id and w.probabilities is not None]
        return sorted(windows, key=lambda window: window.middle_seconds)

    def voice_spans(self) -> list[Span]:
        """Returns when windows without a face give the answer: when no other window's middle is nearer.

        A voice also has to be heard: outside speech, short pauses aside, it has no answer. Whole frames always have
        one.
        """
        windows = self.judged_windows(None)
        if not windows:
            return []
        middles = sorted({window.middle_seconds for window in self.windows})
        edges = [(before + after) / 2 for before, after in itertools.pairwise(middles)]
        edges = [-math.inf, *edges, math.inf]
        spans = []
        for window in windows:
            place = bisect.bisect_left(middles, window.middle_seconds)
            start = max(edges[place], window.start_seconds - SPAN_SLACK_SECONDS)
            spans.append((start, min(edges[place + 1], window.end_seconds + SPAN_SLACK_SECONDS)))
        spans = _join_spans(spans, slack_seconds=0.0)
        if self.speech is None or any("frame" in window.evidence for window in windows):
            return spans
        heard = _join_spans(self.speech, slack_seconds=PAUSE_SECONDS)
        both = [(max(a, b), min(c, d)) for a, c in spans for b, d in heard]
        return [(start, end) for start, end in both if start < end]

    def time_shares(self, face_id: int | None) -> dict[str, float]:
        """Returns for which share of its time a face, or the voice alone (None), has each answer.

        Its time is that in which the face is in sight, or the voice heard. The answer of a moment is the one that the
        video and the plot show: blended between the middles of the two nearest windows.

        Returns:
            By emotion or ``UNSURE``, shares that sum to 1, the largest first; empty without evidence.
        """
        windows = self.judged_windows(face_id)
        if not windows:
            return {}
        seconds = max(self.duration_seconds, SHARE_SECONDS) if math.isfinite(self.duration_seconds) else SHARE_SECONDS
        n_moments = int(np.clip(seconds / SHARE_SECONDS, 1, MAX_SHARE_MOMENTS))
        moments = self.start_seconds + seconds * (np.arange(n_moments) + 0.5) / n_moments
        if face_id is None:
            shown = [any(first <= moment <= last for first, last in self.voice_spans()) for moment in moments]
        else:
            (track,) = (track for track in self.tracks if track.face_id == face_id)
            shown = [track.box_at(moment) is not None for moment in moments]
        middles = [window.middle_seconds for window in windows]
        probabilities = [window.probabilities for window in windows if window.probabilities is not None]
        answers = [
            str(EmotionSummary.of(
                probabilities_at(moment, middles, probabilities),
                self.class_names, evidence="", unsure_below=self.unsure_below,
            ).emotion)
            for moment in moments[np.array(shown)]
        ]  # fmt: skip
        return {name: count / len(answers) for name, count in Counter(answers).most_common()}


def _join_spans(spans: Iterable[Span], *, slack_seconds: float) -> list[Span]:
    """Joins spans that overlap or lie at most ``slack_seconds`` apart."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + slack_seconds:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def join_evidence(evidences: Iterable[str]) -> str:
    """Returns the evidence of several windows together: ``face`` and ``voice`` make ``face+voice``."""
    parts = {part for evidence in evidences for part in evidence.split("+")}
    return "+".join(part for part in ("face", "frame", "voice") if part in parts) or "none"


def in_percent(confidence: float) -> str:
    """Returns a confidence such as ``87%``; above 0.99 it is ``>99%``, never 100 %."""
    return ">99%" if confidence > 0.99 else f"{confidence:.0%}"
