"""Following faces from one moment to the next, so that each keeps its number."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from emotion.inputs.faces.appearance import Appearance, compute_unlikeness, describe_face
from emotion.inputs.faces.detection import Face
from emotion.results import MAX_GAP_SECONDS, Box, FaceTrack

# A face that was looked for in vain for longer than this is looked for no longer where it was, but known again by its
# looks alone.
MAX_LOST_SECONDS = 1.0
# A face may move by this share of its own size between two sightings, and grow or shrink by this factor.
MAX_SHIFT = 0.8
MAX_GROWTH = 1.8
# For this long a face that is out of sight is taken to move on as it last did; its speed is an average over this time.
MAX_COAST_SECONDS = 0.6
SPEED_SECONDS = 0.3
# Distances of looks: below the first it is the same person, even after a cut; below the second it is, if the one has
# just gone where the other comes, in the same shot; above the third it is another person, even where a face was lost;
# and above the fourth no face changes from one sighting to the next.
SAME_PERSON, SAME_PERSON_IN_SHOT, OTHER_PERSON, SUDDEN_CHANGE = 1.2, 1.5, 2.6, 2.1
# Beside another face, of which it may show a part, it must be as like as this to be known again.
SAME_PERSON_BESIDE_OTHER = 1.0
LOOKS_WEIGHT = 0.4  # of such a distance against a shift by the size of a face
# What it costs to follow a face no further. No match is worth more than this, or one face would be given a bad match
# so that another gets one at all.
UNMATCHED_COST = 1.6
# A view is kept if it adds something to those held, and this many of them; none in which another face is nearer than
# this many times its own size, since half of what it shows may be that other one.
NEW_VIEW, MAX_VIEWS, CLEAR_SIZES = 0.7, 10, 1.6
# So many of the faces that have gone are remembered. A new face may still turn out to be one of them for so long: when
# it comes out from behind another one, it cannot be known at once.
MAX_REMEMBERED = 40
MAX_DOUBT_SECONDS = 2.0
MAX_STUB_SECONDS = 0.4  # since a face that was half hidden was last seen as another one
# A face seen fewer times than this is taken for a false alarm, unless it was seen in this share of the moments that
# were looked at around its sightings: a slide show has few moments, a still has one.
MIN_SIGHTINGS = 3
# Where pictures are far apart, a face may be missed for so many usual distances between two looks; the last ones count.
SLOW_GAPS, MAX_LOOKS = 1.5, 1000
MIN_SIGHT_SHARE = 0.3


@dataclass(frozen=True)
class _Sighting:
    """A face, what it looks like, and whether what is around it is its own."""

    box: Box
    looks: Appearance | None
    is_clear: bool


@dataclass(eq=False)
class _Track:
    number: int
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    views: list[Appearance] = field(default_factory=list)
    last_looks: Appearance | None = None
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))  # pixels a second
    area: int = 0  # pixels of all boxes together
    is_real: bool = False
    is_placed: bool = True  # whether it can be looked for where it was
    missed_since: float | None = None

    def lost_seconds(self, time_seconds: float) -> float:
        return 0.0 if self.missed_since is None else time_seconds - self.missed_since

    def unlikeness(self, sighting: _Sighting) -> float:
        if sighting.looks is None:
            return float("inf")
        return compute_unlikeness(self.views, sighting.looks, is_clear=sighting.is_clear)

    def distance(self, time_seconds: float, box: Box) -> float:
        """How far a box lies from where this face is expected, in parts of its size; infinite if it cannot be there."""
        before = self.boxes[-1]
        size_before, size_now = _size(before), _size(box)
        if max(size_before, size_now) > MAX_GROWTH * max(1.0, min(size_before, size_now)):
            return float("inf")
        moved = _centre(box) - _centre(before)
        expected = self.speed * min(time_seconds - self.times[-1], MAX_COAST_SECONDS)
        # A face that stopped or turned round lies nearer to where it was than to where it was going.
        shift = min(np.hypot(*(moved - expected)), np.hypot(*moved) + 0.1 * size_now)
        distance = float(shift / max(1.0, (size_before + size_now) / 2))
        return distance if distance <= MAX_SHIFT * (1 + self.lost_seconds(time_seconds)) else float("inf")

    def cost(self, time_seconds: float, sighting: _Sighting) -> float:
        """What it costs to take a face for this one; infinite where it cannot be the same."""
        distance, lost_seconds = self.distance(time_seconds, sighting.box), self.lost_seconds(time_seconds)
        if sighting.looks is None or self.last_looks is None:
            return distance
        unlikeness = self.unlikeness(sighting)
        is_other = lost_seconds > 0 and unlikeness > OTHER_PERSON
        if not lost_seconds and sighting.is_clear:
            # A face may turn and be as it was not seen before, but not from one moment to the next.
            is_other = self.last_looks.distance(sighting.looks) > SUDDEN_CHANGE
        return float("inf") if is_other else distance + LOOKS_WEIGHT * unlikeness

    def see(self, time_seconds: float, sighting: _Sighting) -> None:
        if self.times and self.is_placed and time_seconds > self.times[-1]:
            seconds = time_seconds - self.times[-1]
            shift = _centre(sighting.box) - _centre(self.boxes[-1])
            weight = min(1.0, seconds / SPEED_SECONDS)
            self.speed = (1 - weight) * self.speed + weight * shift / seconds
        else:
            self.speed = np.zeros(2)
        self.is_placed, self.missed_since = True, None
        self.times.append(time_seconds)
        self.boxes.append(sighting.box)
        self.area += (sighting.box[2] - sighting.box[0]) * (sighting.box[3] - sighting.box[1])
        self.last_looks = sighting.looks
        is_of_use = sighting.looks is not None and (sighting.is_clear or not self.views)
        if is_of_use and len(self.views) < MAX_VIEWS and self.unlikeness(sighting) > NEW_VIEW:
            self.views.append(sighting.looks)


class FaceTracker:
    """Gives the faces of successive moments stable numbers.

    At each moment the faces found are matched to the faces followed by the assignment of least total cost (Kuhn 1955):
    how far the box lies from where it is expected, in parts of its size, and how unlike it looks. So faces that cross
    keep their numbers. A face that is in none of these places, because it was out of sight for long or because the
    camera was changed, is known again by its looks if they leave no doubt; otherwise it gets a new number.
    """

    def __init__(self):
        self._open: list[_Track] = []
        self._all: list[_Track] = []
        self._looked: list[float] = []
        self._cuts: list[float] = []
        self._merged: dict[int, int] = {}

    def update(self, time_seconds: float, faces: Sequence[Face], image: np.ndarray | None = None) -> list[int]:
        """Takes the faces of one moment.

        Args:
            time_seconds: later than the last.
            faces: found in the picture.
            image: the picture, RGB uint8; without it, faces are known by their places alone.

        Returns:
            A number for each face, in their order.
        """
        self._looked.append(time_seconds)
        for track in self._open:
            if track.lost_seconds(time_seconds) > MAX_LOST_SECONDS:
                track.is_placed = False
        self._open = [track for track in self._open if track.is_placed]
        sightings = [self._look(face, faces, image) for face in faces]
        tracks: dict[int, _Track] = {}
        self._match_by_place(time_seconds, sightings, tracks)
        self._match_by_looks(sightings, tracks)
        for column, sighting in enumerate(sightings):
            if column not in tracks:
                tracks[column] = _Track(number=len(self._all) + 1)
                self._all.append(tracks[column])
            if tracks[column] not in self._open:
                self._open.append(tracks[column])
            self._join_stubs(tracks[column], time_seconds, sighting, tracks.values())
            tracks[column].see(time_seconds, sighting)
            others = [track for other, track in tracks.items() if other != column]
            tracks[column] = self._recognise(tracks[column], time_seconds, sighting, others)
        for track in self._open:
            if track.times[-1] < time_seconds and track.missed_since is None:
                track.missed_since = time_seconds
        return [tracks[column].number for column in range(len(faces))]

    def resolve(self, number: int) -> int:
        """The number that a face goes by now: one given anew may later turn out to be another's."""
        while number in self._merged:
            number = self._merged[number]
        return number

    def is_real(self, number: int) -> bool:
        """Whether a face has been seen often enough to be no false alarm; once real, it stays so."""
        track = self._all[self.resolve(number) - 1]
        if not track.is_real:
            first = bisect.bisect_left(self._looked, track.times[0] - MAX_LOST_SECONDS)
            last = bisect.bisect_right(self._looked, track.times[-1] + MAX_LOST_SECONDS)
            n_seen = len(track.times)
            track.is_real = n_seen >= MIN_SIGHTINGS or n_seen >= MIN_SIGHT_SHARE * (last - first)
        return track.is_real

    def area(self, number: int) -> int:
        """Pixels of all of a face's boxes so far: how much of the picture it filled, for how long."""
        return self._all[self.resolve(number) - 1].area

    def tracks(self, since_seconds: float | None = None) -> dict[int, FaceTrack]:
        """Returns the faces followed, by their number, renumbered 1, 2, ... without false alarms.

        Args:
            since_seconds: leaves out what was seen before, and faces that were not seen since.
        """
        return self._tracks([track for track in self._known() if self.is_real(track.number)], since_seconds)

    def doubtful_tracks(self, since_seconds: float | None = None) -> list[FaceTrack]:
        """Returns what may be a face or a false alarm; arguments as for ``tracks``."""
        doubtful = [track for track in self._known() if not self.is_real(track.number)]
        return list(self._tracks(doubtful, since_seconds).values())

    def _known(self) -> list[_Track]:
        return [track for track in self._all if track.number not in self._merged]

    def _tracks(self, chosen: list[_Track], since_seconds: float | None) -> dict[int, FaceTrack]:
        tracks, cuts = {}, tuple(self._cuts)
        # A picture is shown until the next one, however long that takes.
        looks = np.diff(self._looked[-MAX_LOOKS:])
        max_gap = max(MAX_GAP_SECONDS, SLOW_GAPS * float(np.median(looks))) if len(looks) else MAX_GAP_SECONDS
        for face_id, track in enumerate(chosen, start=1):
            first = 0 if since_seconds is None else bisect.bisect_left(track.times, since_seconds)
            if first < len(track.times):
                times, boxes = tuple(track.times[first:]), tuple(track.boxes[first:])
                tracks[track.number] = FaceTrack(face_id, times, boxes, cuts, max_gap)
        return tracks

    @property
    def n_cuts(self) -> int:
        return len(self._cuts)

    def cut(self, time_seconds: float) -> None:
        """Takes word that a new shot begins: no face is looked for where it was, but known by its looks alone."""
        self._cuts.append(time_seconds)
        for track in self._open:
            track.is_placed = False

    def _look(self, face: Face, faces: Sequence[Face], image: np.ndarray | None) -> _Sighting:
        if image is None:
            return _Sighting(face.box, None, False)
        # A face that was lost a moment ago may be hidden behind this one, or peep out from behind it.
        hidden = [track.boxes[-1] for track in self._open if track.missed_since is not None]
        others = [other.box for other in faces if other is not face] + hidden
        is_clear = all(_is_apart(face.box, other) for other in others)
        return _Sighting(face.box, describe_face(image, face.landmarks), is_clear)

    def _match_by_place(self, time_seconds: float, sightings: list[_Sighting], tracks: dict[int, _Track]) -> None:
        if not self._open or not sightings:
            return
        costs = np.array([[track.cost(time_seconds, sighting) for sighting in sightings] for track in self._open])
        for row, column in zip(*linear_sum_assignment(np.minimum(costs, UNMATCHED_COST)), strict=True):
            if costs[row, column] < UNMATCHED_COST:
                tracks[int(column)] = self._open[row]

    def _match_by_looks(self, sightings: list[_Sighting], tracks: dict[int, _Track]) -> None:
        """Knows faces that have no place again, the most alike first."""
        taken = {track.number for track in tracks.values()}
        others = [track for track in self._remembered() if track.number not in taken]
        pairs = [
            (track.unlikeness(sighting), column, track)
            for column, sighting in enumerate(sightings)
            if column not in tracks
            for track in others
        ]
        for unlikeness, column, track in sorted(pairs, key=lambda pair: pair[:2]):
            limit = SAME_PERSON_IN_SHOT if track.is_placed else SAME_PERSON
            if unlikeness < limit and column not in tracks and track.number not in taken:
                tracks[column] = track
                taken.add(track.number)

    def _recognise(self, track: _Track, time_seconds: float, sighting: _Sighting, seen: list[_Track]) -> _Track:
        """Joins a face that is new with the one it turns out to be, and returns which one it is; none in sight now.

        What was taken for a new face in its place just before, while it was half hidden, is joined with it, too.
        """
        if track.times[-1] - track.times[0] > MAX_DOUBT_SECONDS:
            return track
        gone = [other for other in self._remembered() if other.times[-1] < track.times[0] and other not in seen]
        likest = min(gone, key=lambda other: other.unlikeness(sighting), default=None)
        limit = SAME_PERSON if sighting.is_clear else SAME_PERSON_BESIDE_OTHER
        if likest is None or likest.unlikeness(sighting) >= limit:
            return track
        for stub in self._stubs_of(likest, time_seconds, sighting, [track, *seen]):
            self._join(stub, likest)
        self._join(track, likest)
        return likest

    def _join_stubs(self, track: _Track, time_seconds: float, sighting: _Sighting, seen) -> None:
        """Joins to a face that comes back what was taken for a new one in its place until a moment ago."""
        if not track.times or track.missed_since is None:
            return
        for stub in self._stubs_of(track, time_seconds, sighting, seen):
            self._join(stub, track)

    def _stubs_of(self, track: _Track, time_seconds: float, sighting: _Sighting, seen) -> list[_Track]:
        """Returns faces that are new since a face was lost, and were in its place until a moment ago."""
        return [
            stub
            for stub in self._open
            if track.times[-1] < stub.times[0]
            and stub.times[-1] - stub.times[0] <= MAX_DOUBT_SECONDS
            and time_seconds - stub.times[-1] <= MAX_STUB_SECONDS
            and np.isfinite(stub.distance(time_seconds, sighting.box))
            and stub not in seen
        ]

    def _join(self, track: _Track, older: _Track) -> None:
        self._merged[track.number] = older.number
        older.area += track.area
        older.times += track.times
        older.boxes += track.boxes
        older.speed, older.is_placed, older.missed_since = track.speed, True, None
        older.last_looks = track.last_looks
        self._open = [other for other in self._open if other not in (track, older)] + [older]

    def _remembered(self) -> list[_Track]:
        known = [track for track in self._all if track.views and track.number not in self._merged]
        known.sort(key=lambda track: track.times[-1])
        for forgotten in known[:-MAX_REMEMBERED]:
            if forgotten not in self._open:
                forgotten.views, forgotten.last_looks = [], None
        return known[-MAX_REMEMBERED:]


def _is_apart(box: Box, other: Box) -> bool:
    return float(np.hypot(*(_centre(box) - _centre(other)))) > CLEAR_SIZES * (_size(box) + _size(other)) / 2


def _centre(box: Box) -> np.ndarray:
    return np.array([box[0] + box[2], box[1] + box[3]]) / 2


def _size(box: Box) -> float:
    return float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
