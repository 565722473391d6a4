"""Following faces from one moment to the next, so that each keeps its number."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from emotion.faces.detection import Face
from emotion.results import Box, FaceTrack

# A face out of sight for longer than this comes back as another one.
MAX_LOST_SECONDS = 1.0
# A face may move by this share of its own size between two sightings, and grow or shrink by this factor.
MAX_SHIFT = 0.8
MAX_GROWTH = 1.8
# Fewer sightings than this, in a video long enough to have shown more, are taken for a false alarm.
MIN_SIGHTINGS = 3


@dataclass
class _OpenTrack:
    number: int
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)


class FaceTracker:
    """Gives the faces of successive moments stable numbers.

    At each moment the faces found are matched to the faces followed by the assignment of least total distance
    (Kuhn 1955), distance being the shift of the box's middle in parts of its size.
    """

    def __init__(self):
        self._open: list[_OpenTrack] = []
        self._all: list[_OpenTrack] = []

    def update(self, time_seconds: float, faces: list[Face]) -> list[int]:
        """Takes the faces of one moment, later than the last, and returns a number for each, in their order."""
        self._open = [track for track in self._open if time_seconds - track.times[-1] <= MAX_LOST_SECONDS]
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
        return [numbers[column] for column in range(len(faces))]

    def tracks(self, n_moments: int) -> dict[int, FaceTrack]:
        """Returns the faces followed, by their number, renumbered 1, 2, ... without false alarms.

        Args:
            n_moments: how often faces were looked for; a clip of few moments has few sightings.
        """
        needed = min(MIN_SIGHTINGS, max(1, n_moments))
        seen = [track for track in self._all if len(track.times) >= needed]
        return {
            track.number: FaceTrack(face_id, tuple(track.times), tuple(track.boxes))
            for face_id, track in enumerate(seen, start=1)
        }

    @staticmethod
    def _see(track: _OpenTrack, time_seconds: float, face: Face) -> None:
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
