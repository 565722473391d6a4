"""Face tracking: each face keeps its track, an int, from frame to frame, and gets it back after a cut."""

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emotion.inputs.faces.appearance import Appearance, compute_unlikeness, describe_face
from emotion.inputs.faces.assignment import assign_least_cost
from emotion.inputs.faces.detection import Face, find_centre
from emotion.results import MAX_GAP_SECONDS, Box, FaceTrack

# A face missing for longer than this is no longer expected where it was, and only its looks can bring it back.
MAX_LOST_SECONDS = 1.0
# Between two sightings a face may move by this share of its size, and grow or shrink by this factor.
MAX_SHIFT = 0.8
MAX_GROWTH = 1.8
# A missing face is assumed to move on for this long; its speed is an average over the second time.
MAX_COAST_SECONDS = 0.6
SPEED_SECONDS = 0.3
# Distances between looks. Below the first: the same person, even after a cut. Below the second: the same person, if one
# face disappears and the other appears in the same shot. Above the third: another person, even if a face is missing.
# Above the fourth: more than a face changes from one sighting to the next.
SAME_PERSON, SAME_PERSON_IN_SHOT, OTHER_PERSON, SUDDEN_CHANGE = 1.2, 1.5, 2.6, 2.1
# A view beside another face may show part of that one, so it must match better.
SAME_PERSON_BESIDE_OTHER = 1.0
LOOKS_WEIGHT = 0.4  # of a distance between looks against a shift by one face size
# The cost of losing a face. No match may cost more, or one face would get a bad match so that another gets any.
UNMATCHED_COST = 1.6
# A view is kept if it differs from the others by the first, up to the second of them. Another face must be further away
# than the third, in face sizes, or half of the view may show that face.
NEW_VIEW, MAX_VIEWS, CLEAR_SIZES = 0.7, 10, 1.6
# How many faces are remembered, and how long a new face may still turn out to be one of them: when it comes out from
# behind another one, it is hard to recognise at first.
MAX_REMEMBERED = 40
MAX_DOUBT_SECONDS = 2.0
MAX_STUB_SECONDS = 0.4  # since a half hidden face was last mistaken for a new one
# A face with fewer sightings is a false alarm, unless it was seen in this share of the frames examined around them: a
# slide show has few frames, an image one.
MIN_SIGHTINGS = 3
MIN_SIGHT_SHARE = 0.3
# It is also one if the detector was not sure in at least so many sightings, or in this share of them.
MIN_SURE, MIN_SURE_SHARE = 2, 0.15
# If frames are far apart, a face may be missing for this many median gaps between the last examined frames.
SLOW_GAPS, MAX_LOOKS = 1.5, 1000


@dataclass(frozen=True)
class _Sighting:
    """A face, its looks, and whether no other face is close enough to be part of them."""

    box: Box
    looks: Appearance | None
    is_clear: bool
    is_sure: bool = True
    degrees: float = 0.0
    quarters: int = 0


@dataclass(eq=False)
class _Trail:
    """Everything known of one track."""

    track: int
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    views: list[Appearance] = field(default_factory=list)
    last_looks: Appearance | None = None
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))  # pixels a second
    area: int = 0  # pixels of all boxes together
    n_sure: int = 0
    n_held: int = 0  # of the times, those at which it was not looked for
    turns: Counter = field(default_factory=Counter)  # sightings by ``Face.quarters``
    is_real: bool = False
    is_placed: bool = True  # whether it is expected where it was
    missed_since: float | None = None
    degrees: float = 0.0  # ``Face.degrees`` of the last sighting

    def lost_seconds(self, time_seconds: float) -> float:
        return 0.0 if self.missed_since is None else time_seconds - self.missed_since

    def unlikeness(self, sighting: _Sighting) -> float:
        if sighting.looks is None:
            return float("inf")
        return compute_unlikeness(self.views, sighting.looks, is_clear=sighting.is_clear)

    def distance(self, time_seconds: float, box: Box) -> float:
        """Returns how far a box is from the expected place, in face sizes; infinite if it is too far."""
        before = self.boxes[-1]
        size_before, size_now = _size(before), _size(box)
        if max(size_before, size_now) > MAX_GROWTH * max(1.0, min(size_before, size_now)):
            return float("inf")
        moved = find_centre(box) - find_centre(before)
        expected = self.speed * min(time_seconds - self.times[-1], MAX_COAST_SECONDS)
        # A face that stopped or turned back is nearer to its last place than to the expected one.
        shift = min(np.hypot(*(moved - expected)), np.hypot(*moved) + 0.1 * size_now)
        distance = float(shift / max(1.0, (size_before + size_now) / 2))
        return distance if distance <= MAX_SHIFT * (1 + self.lost_seconds(time_seconds)) else float("inf")

    def cost(self, time_seconds: float, sighting: _Sighting) -> float:
        """Returns the cost of matching a sighting to this track; infinite if it cannot be the same face."""
        distance, lost_seconds = self.distance(time_seconds, sighting.box), self.lost_seconds(time_seconds)
        if sighting.looks is None or self.last_looks is None:
            return distance
        unlikeness = self.unlikeness(sighting)
        is_other = lost_seconds > 0 and unlikeness > OTHER_PERSON
        if not lost_seconds and sighting.is_clear and sighting.degrees == self.degrees:
            # A face may turn to a view never seen before, but not from one frame to the next; unless it was cut out
            # askew until its tilt was found.
            is_other = self.last_looks.distance(sighting.looks) > SUDDEN_CHANGE
        return float("inf") if is_other else distance + LOOKS_WEIGHT * unlikeness

    def see(self, time_seconds: float, sighting: _Sighting) -> None:
        if self.times and self.is_placed and time_seconds > self.times[-1]:
            seconds = time_seconds - self.times[-1]
            shift = find_centre(sighting.box) - find_centre(self.boxes[-1])
            weight = min(1.0, seconds / SPEED_SECONDS)
            self.speed = (1 - weight) * self.speed + weight * shift / seconds
        else:
            self.speed = np.zeros(2)
        self.is_placed, self.missed_since = True, None
        self.times.append(time_seconds)
        self.boxes.append(sighting.box)
        self.area += (sighting.box[2] - sighting.box[0]) * (sighting.box[3] - sighting.box[1])
        self.n_sure += sighting.is_sure
        self.turns[sighting.quarters] += 1
        self.degrees = sighting.degrees
        self.last_looks = sighting.looks or self.last_looks
        is_of_use = sighting.looks is not None and (sighting.is_clear or not self.views)
        if is_of_use and len(self.views) < MAX_VIEWS and self.unlikeness(sighting) > NEW_VIEW:
            self.views.append(sighting.looks)


class FaceTracker:
    """Gives each face of successive frames a track: 1, 2, ...

    Detected faces are matched to tracks by the assignment of least total cost. The cost is the distance from the
    expected place, in face sizes, plus the difference in looks, so faces that cross keep their tracks. A face that
    matches no expected place, after a long absence or a cut, is recognised by its looks if they are unmistakable;
    otherwise it gets a new track.
    """

    def __init__(self):
        self._open: list[_Trail] = []
        self._all: list[_Trail] = []
        self._looked: list[float] = []
        self._cuts: list[float] = []
        self._merged: dict[int, int] = {}

    def update(self, time_seconds: float, faces: Sequence[Face], image: np.ndarray | None = None) -> list[int]:
        """Returns the track of each face of the next frame.

        Without ``image``, the frame as RGB uint8, faces are matched by their places alone.
        """
        self._looked.append(time_seconds)
        for trail in self._open:
            if trail.lost_seconds(time_seconds) > MAX_LOST_SECONDS:
                trail.is_placed = False
        self._open = [trail for trail in self._open if trail.is_placed]
        sightings = [self._look(face, faces, image) for face in faces]
        trails: dict[int, _Trail] = {}
        self._match_by_place(time_seconds, sightings, trails)
        self._match_by_looks(sightings, trails)
        for column, sighting in enumerate(sightings):
            if column not in trails:
                trails[column] = _Trail(track=len(self._all) + 1)
                self._all.append(trails[column])
            if trails[column] not in self._open:
                self._open.append(trails[column])
            self._join_stubs(trails[column], time_seconds, sighting, trails.values())
            trails[column].see(time_seconds, sighting)
            others = [trail for other, trail in trails.items() if other != column]
            trails[column] = self._recognise(trails[column], time_seconds, sighting, others)
        for trail in self._open:
            if trail.times[-1] < time_seconds and trail.missed_since is None:
                trail.missed_since = time_seconds
        return [trails[column].track for column in range(len(faces))]

    def hold(self, time_seconds: float) -> None:
        """Notes that the faces of the last look were still where they were at a later time."""
        for trail in self._open:
            if self._looked[-1] <= trail.times[-1] < time_seconds:
                held = _held_times(trail.times[-1], time_seconds)
                trail.times += held
                trail.boxes += [trail.boxes[-1]] * len(held)
                trail.n_held += len(held)

    def resolve(self, track: int) -> int:
        """Returns a face's current track: a new track may later turn out to continue an older one."""
        while track in self._merged:
            track = self._merged[track]
        return track

    def is_real(self, track: int) -> bool:
        """Whether a face was seen often enough not to be a false alarm; this never goes back to False."""
        trail = self._all[self.resolve(track) - 1]
        if not trail.is_real:
            first = bisect.bisect_left(self._looked, trail.times[0] - MAX_LOST_SECONDS)
            last = bisect.bisect_right(self._looked, trail.times[-1] + MAX_LOST_SECONDS)
            n_seen = len(trail.times) - trail.n_held
            n_needed = 1 if n_seen < MIN_SIGHTINGS else max(MIN_SURE, MIN_SURE_SHARE * n_seen)
            is_seen = n_seen >= MIN_SIGHTINGS or n_seen >= MIN_SIGHT_SHARE * (last - first)
            trail.is_real = is_seen and trail.n_sure >= n_needed
        return trail.is_real

    def area(self, track: int) -> int:
        """Returns the total area of a face's boxes: how much of the frame it filled, for how long."""
        return self._all[self.resolve(track) - 1].area

    def quarters(self, track: int) -> int:
        """Returns how a face mostly lies, as ``Face.quarters``."""
        return self._all[self.resolve(track) - 1].turns.most_common(1)[0][0]

    def views(self, track: int) -> tuple[Appearance, ...]:
        """Returns how a face looked, up to ``MAX_VIEWS`` views that differ."""
        return tuple(self._all[self.resolve(track) - 1].views)

    def tracks(self, since_seconds: float | None = None, until_seconds: float = 0.0) -> dict[int, FaceTrack]:
        """Returns the faces by track, without false alarms. Their ``face_id`` is provisional: results renumber them.

        Args:
            since_seconds: leaves out earlier sightings, and faces without later ones.
            until_seconds: when the last picture ends; its faces stay where they are.
        """
        chosen = [trail for trail in self._known() if self.is_real(trail.track)]
        return self._tracks(chosen, since_seconds, until_seconds)

    def doubtful_tracks(self, since_seconds: float | None = None) -> list[FaceTrack]:
        """Returns what may be faces or false alarms; ``since_seconds`` as for ``tracks``."""
        doubtful = [trail for trail in self._known() if not self.is_real(trail.track)]
        return list(self._tracks(doubtful, since_seconds).values())

    def _known(self) -> list[_Trail]:
        return [trail for trail in self._all if trail.track not in self._merged]

    def _tracks(
        self, chosen: list[_Trail], since_seconds: float | None, until_seconds: float = 0.0
    ) -> dict[int, FaceTrack]:
        found, cuts = {}, tuple(self._cuts)
        # A frame is shown until the next one, however long that takes.
        looks = np.diff(self._looked[-MAX_LOOKS:])
        max_gap = max(MAX_GAP_SECONDS, SLOW_GAPS * float(np.median(looks))) if len(looks) else MAX_GAP_SECONDS
        for number, trail in enumerate(chosen, start=1):
            first = 0 if since_seconds is None else bisect.bisect_left(trail.times, since_seconds)
            if first < len(trail.times):
                stays = self._looked[-1] <= trail.times[-1] < until_seconds - max_gap / 3
                held = _held_times(trail.times[-1], until_seconds) if stays else []
                boxes = trail.boxes[first:] + [trail.boxes[-1]] * len(held)
                found[trail.track] = FaceTrack(number, (*trail.times[first:], *held), tuple(boxes), cuts, max_gap)
        return found

    @property
    def n_cuts(self) -> int:
        return len(self._cuts)

    def cut(self, time_seconds: float) -> None:
        """Notes that a new shot begins, in which only looks can tell who is who."""
        self._cuts.append(time_seconds)
        for trail in self._open:
            trail.is_placed = False

    def _look(self, face: Face, faces: Sequence[Face], image: np.ndarray | None) -> _Sighting:
        if image is None:
            return _Sighting(face.box, None, False, face.is_sure, face.degrees, face.quarters)
        # A face that was lost just now may be hidden behind this one, or show beside it.
        hidden = [trail.boxes[-1] for trail in self._open if trail.missed_since is not None]
        others = [other.box for other in faces if other is not face] + hidden
        is_clear = all(_is_apart(face.box, other) for other in others)
        return _Sighting(
            face.box, describe_face(image, face.landmarks), is_clear, face.is_sure, face.degrees, face.quarters
        )

    def _match_by_place(self, time_seconds: float, sightings: list[_Sighting], trails: dict[int, _Trail]) -> None:
        if not self._open or not sightings:
            return
        costs = np.array([[trail.cost(time_seconds, sighting) for sighting in sightings] for trail in self._open])
        for row, column in assign_least_cost(np.minimum(costs, UNMATCHED_COST)):
            if costs[row, column] < UNMATCHED_COST:
                trails[column] = self._open[row]

    def _match_by_looks(self, sightings: list[_Sighting], trails: dict[int, _Trail]) -> None:
        """Recognises faces that match no expected place, the most alike first."""
        taken = {trail.track for trail in trails.values()}
        others = [trail for trail in self._remembered() if trail.track not in taken]
        pairs = [
            (trail.unlikeness(sighting), column, trail)
            for column, sighting in enumerate(sightings)
            if column not in trails
            for trail in others
        ]
        for unlikeness, column, trail in sorted(pairs, key=lambda pair: pair[:2]):
            limit = SAME_PERSON_IN_SHOT if trail.is_placed else SAME_PERSON
            if unlikeness < limit and column not in trails and trail.track not in taken:
                trails[column] = trail
                taken.add(trail.track)

    def _recognise(self, trail: _Trail, time_seconds: float, sighting: _Sighting, seen: list[_Trail]) -> _Trail:
        """Joins a new trail to the older one that it continues, if any, and returns the one that stays.

        Trails that began in its place while the face was half hidden are joined, too.
        """
        if trail.times[-1] - trail.times[0] > MAX_DOUBT_SECONDS:
            return trail
        gone = [other for other in self._remembered() if other.times[-1] < trail.times[0] and other not in seen]
        likest = min(gone, key=lambda other: other.unlikeness(sighting), default=None)
        limit = SAME_PERSON if sighting.is_clear else SAME_PERSON_BESIDE_OTHER
        if likest is None or likest.unlikeness(sighting) >= limit:
            return trail
        for stub in self._stubs_of(likest, time_seconds, sighting, [trail, *seen]):
            self._join(stub, likest)
        self._join(trail, likest)
        return likest

    def _join_stubs(self, trail: _Trail, time_seconds: float, sighting: _Sighting, seen) -> None:
        """Joins to a face that comes back the trails that began in its place meanwhile."""
        if not trail.times or trail.missed_since is None:
            return
        for stub in self._stubs_of(trail, time_seconds, sighting, seen):
            self._join(stub, trail)

    def _stubs_of(self, trail: _Trail, time_seconds: float, sighting: _Sighting, seen) -> list[_Trail]:
        """Returns trails that began after a face was lost, and ended in its place just now."""
        return [
            stub
            for stub in self._open
            if trail.times[-1] < stub.times[0]
            and stub.times[-1] - stub.times[0] <= MAX_DOUBT_SECONDS
            and time_seconds - stub.times[-1] <= MAX_STUB_SECONDS
            and np.isfinite(stub.distance(time_seconds, sighting.box))
            and stub not in seen
        ]

    def _join(self, trail: _Trail, older: _Trail) -> None:
        self._merged[trail.track] = older.track
        older.area += trail.area
        older.n_sure += trail.n_sure
        older.n_held += trail.n_held
        older.turns += trail.turns
        older.times += trail.times
        older.boxes += trail.boxes
        older.speed, older.is_placed, older.missed_since = trail.speed, True, None
        older.last_looks = trail.last_looks
        self._open = [other for other in self._open if other not in (trail, older)] + [older]

    def _remembered(self) -> list[_Trail]:
        known = [trail for trail in self._all if trail.views and trail.track not in self._merged]
        known.sort(key=lambda trail: trail.times[-1])
        for forgotten in known[:-MAX_REMEMBERED]:
            if forgotten not in self._open:
                forgotten.views, forgotten.last_looks = [], None
        return known[-MAX_REMEMBERED:]


def _held_times(start_seconds: float, end_seconds: float) -> list[float]:
    """Returns times after the first up to the second, so close that a face is in sight between them."""
    n_steps = max(1, int(np.ceil((end_seconds - start_seconds) / MAX_GAP_SECONDS)))
    return np.linspace(start_seconds, end_seconds, n_steps + 1)[1:].tolist()


def _is_apart(box: Box, other: Box) -> bool:
    return float(np.hypot(*(find_centre(box) - find_centre(other)))) > CLEAR_SIZES * (_size(box) + _size(other)) / 2


def _size(box: Box) -> float:
    return float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
