"""Following faces from one moment to the next, so that each keeps its number."""

import bisect
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from emotion.faces.detection import Face
from emotion.results import Box, FaceTrack

# A face that was looked for in vain for longer than this comes back as another one.
MAX_LOST_SECONDS = 1.0
# A face may move by this share of its own size between two sightings, and grow or shrink by this factor.
MAX_SHIFT = 0.8
MAX_GROWTH = 1.8
# A face seen fewer times than this is taken for a false alarm, unless it was seen in this share of the moments that
# were looked at around its sightings: a slide show has few moments, a still has one.
MIN_SIGHTINGS = 3
MIN_SIGHT_SHARE = 0.3


@dataclass
class _OpenTrack:
    number: int
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    is_real: bool = False
    missed_since: float | None = None


class FaceTracker:
    """Gives the faces of successive moments stable numbers.

    At each moment the faces found are matched to the faces followed by the assignment of least total distance
    (Kuhn 1955), distance being the shift of the box's middle in parts of its size.
    """

    def __init__(self):
        self._open: list[_OpenTrack] = []
        self._all: list[_OpenTrack] = []
        self._looked: list[float] = []

    def update(self, time_seconds: float, faces: list[Face]) -> list[int]:
        """Takes the faces of one moment, later than the last, and returns a number for each, in their order."""
        self._looked.append(time_seconds)
        self._open = [
            track
            for track in self._open
            if track.missed_since is None or time_seconds - track.missed_since <= MAX_LOST_SECONDS
        ]
        numbers: dict[int, int] = {}
        if self._open and faces:
            distances = np.array([[_distance(track.boxes[-1], face.box) for face in faces] for track in self._open])
            for row, column in zip(*linear_sum_assignment(np.minimum(distances, 1e3)), strict=True):
                if np.isfinite(distances[row, column]):
                    self._see(self._open[row], time_seconds, faces[column])
                    numbers[int(column)] = self._open[row].number
        for column, face in enumerate(faces):
            if column not in numbers:
                track = _OpenTrack(number=len(self._all) + 1)
                self._all.append(track)
                self._open.append(track)
                self._see(track, time_seconds, face)
                numbers[column] = track.number
        for track in self._open:
            if track.times[-1] < time_seconds and track.missed_since is None:
                track.missed_since = time_seconds
        return [numbers[column] for column in range(len(faces))]

    def is_real(self, number: int) -> bool:
        """Whether a face has been seen often enough to be no false alarm; once real, it stays so."""
        track = self._all[number - 1]
        if not track.is_real:
            first = bisect.bisect_left(self._looked, track.times[0] - MAX_LOST_SECONDS)
            last = bisect.bisect_right(self._looked, track.times[-1] + MAX_LOST_SECONDS)
            n_seen = len(track.times)
            track.is_real = n_seen >= MIN_SIGHTINGS or n_seen >= MIN_SIGHT_SHARE * (last - first)
        return track.is_real

    def tracks(self) -> dict[int, FaceTrack]:
        """Returns the faces followed, by their number, renumbered 1, 2, ... without false alarms."""
        real = [track for track in self._all if self.is_real(track.number)]
        return {
            track.number: FaceTrack(face_id, tuple(track.times), tuple(track.boxes))
            for face_id, track in enumerate(real, start=1)
        }

    @staticmethod
    def _see(track: _OpenTrack, time_seconds: float, face: Face) -> None:
        track.missed_since = None
        track.times.append(time_seconds)
        track.boxes.append(face.box)


def _distance(before: Box, now: Box) -> float:
    """Shift between two boxes in parts of their size; infinite where they cannot be the same face."""
    size_before, size_now = _size(before), _size(now)
    shift = np.hypot(before[0] + before[2] - now[0] - now[2], before[1] + before[3] - now[1] - now[3]) / 2
    growth = max(size_before, size_now) / max(1.0, min(size_before, size_now))
    distance = shift / max(1.0, (size_before + size_now) / 2)
    return float(distance) if distance <= MAX_SHIFT and growth <= MAX_GROWTH else float("inf")


def _size(box: Box) -> float:
    return float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
