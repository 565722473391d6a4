"""Finds by how much a face is tilted, so that it is cut out upright.

YuNet finds a face tilted by up to 50 degrees, but puts eyes and mouth where they would be in one tilted by a third of
that. So a face that does not seem to stand upright is looked at in several turns, in a small picture around its place.
Its scores there tell its tilt. From then on it is looked for in that turn.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion.inputs.faces.crops import compute_crop_transform
from emotion.inputs.faces.detection import MAX_OVERLAP, SURE_SCORE, Face, find_overlap
from emotion.results import Box

# An upright face scores more than the first in the small picture, and its landmarks lean by less than the second; in
# the turn of a tilted face by less than the third. Twelve faces turned by up to 15 degrees scored 0.90 or more.
MIN_UPRIGHT_SCORE, MAX_LEAN, MAX_LEAN_TILTED = 0.91, 12.0, 8.0
# Of a new face, and of one that seems to be tilted, two turns show whether it is. If it scores less, more are needed.
MIN_SCORE_WELL, LITTLE_TURNS = 0.88, (-30, 30)
# The turns in which it is looked at then, from the one that it has. Each counts by what its score is above the second
# number. In the same twelve faces the tilt found so was 16 degrees off at most, with a deviation of 5.
TURNS, NO_WEIGHT, FAR_TURN = (-90, -60, -30, 0, 30, 60, 90), 0.8, 45.0
# A tilt that is smaller, or that much from lying, is none; less than the second, if the face was tilted before.
MIN_TILT, MIN_TILT_STILL = 15.0, 10.0
# What a tilted face must score to be taken instead of what was found, and to be followed in its turn.
MIN_SCORE_INSTEAD, MIN_SCORE_STILL = 0.9, 0.8
# The same face is asked again after the first time, twice as long after each that told nothing new, up to the second;
# but after the third if its score fell, or its lean changed, by so much.
AGAIN_SECONDS, MAX_AGAIN_SECONDS, SOON_SECONDS, SCORE_FALL, LEAN_CHANGE = 1.0, 8.0, 0.15, 0.02, 8.0
MAX_ASKED = 4  # faces at once; each takes half as long as a look at the whole picture


@dataclass
class _Asked:
    """What a face was like when its tilt was found last."""

    box: Box
    degrees: float
    score: float
    lean: float
    seconds: float
    again_seconds: float


class TiltWatch:
    """Straightens the faces of one video, in order of time.

    A ``detector`` without the method ``find_well`` is believed.
    """

    def __init__(self, detector):
        self._detector = detector
        self._asks = hasattr(detector, "find_well")
        self._asked: list[_Asked] = []
        self._image: np.ndarray | None = None  # of the last look
        self._near: dict[int, tuple[Face, Face | None]] = {}  # its faces as they are found near their places, by id

    def forget(self) -> None:
        """Forgets all faces, because the next picture belongs to another shot."""
        self._asked = []

    def find_near(self, image: np.ndarray, face: Face) -> Face | None:
        """Returns a face of the last look as it is found near its place, looked for once."""
        if id(face) not in self._near:
            self._near[id(face)] = face, self._detector.find_near(image, face, face.box)
        return self._near[id(face)][1]

    def straighten(
        self, image: np.ndarray, found: Sequence[Face], known: Sequence[Face], time_seconds: float
    ) -> list[Face]:
        """Returns the faces of a look at the whole RGB picture, those tilted as they are when turned upright.

        Args:
            known: faces of the look before; those that neither stand nor lie are found again here.
        """
        if not self._asks:
            return list(found)
        if image is not self._image:
            self._image, self._near = image, {}
        self._asked = [asked for asked in self._asked if time_seconds - asked.seconds < 2 * MAX_AGAIN_SECONDS]
        faces = []
        for face in known:
            again = self._detector.find_well(image, face) if face.degrees % 90 else None
            if again is not None and again.score >= MIN_SCORE_STILL and _is_free(again, faces):
                faces.append(dataclasses.replace(again, is_sure=again.score >= SURE_SCORE))
        faces += [face for face in found if _is_free(face, faces)]
        straight: list[Face] = []
        is_few = len(faces) <= MAX_ASKED
        for number, face in enumerate(sorted(faces, key=lambda face: -face.size[0] * face.size[1])):
            turned = face
            if number < MAX_ASKED and (face.score < MIN_UPRIGHT_SCORE or abs(_find_lean(face)) > MAX_LEAN or is_few):
                near = self.find_near(image, face)
                score = near.score if near else 0.0
                turned = self.turn_upright(image, face, dataclasses.replace(face, score=score), time_seconds)
            if _is_free(turned, straight):
                straight.append(turned)
        return straight

    def find_tilted(self, image: np.ndarray, weak: Sequence[Face], found: Sequence[Face]) -> list[Face]:
        """Returns the certain faces among what is hardly a face as it was found, but well seen in another turn.

        Args:
            found: faces in whose places none is looked for.
        """
        if not self._asks:
            return []
        likely = sorted((face for face in weak if _is_free(face, found)), key=lambda face: -face.score)
        tilted: list[Face] = []
        for face in likely[:MAX_ASKED]:
            turned = self._try_turns(image, face) if _is_free(face, tilted) else face
            if turned is not face and turned.is_sure and _is_free(turned, [*found, *tilted]):
                tilted.append(turned)
        return tilted

    def turn_upright(self, image: np.ndarray, face: Face, near: Face, time_seconds: float) -> Face:
        """Returns a face as it is found in the turn in which it stands upright; the same face if it seems to do so.

        Args:
            near: the face as it is found near its place.
        """
        if not self._asks:
            return face
        last = self._find_asked(face)
        if last is not None:
            last.box = face.box
        if not self._is_suspect(near, last, time_seconds):
            return face
        turned = face if self._is_best_so(image, face, near.score) else self._try_turns(image, face)
        if last is not None:
            self._asked.remove(last)
        is_new = last is None or abs(turned.degrees - face.degrees) > MIN_TILT_STILL
        again = AGAIN_SECONDS if is_new else min(2 * last.again_seconds, MAX_AGAIN_SECONDS)
        score = near.score if turned is face else turned.score
        self._asked.append(_Asked(turned.box, turned.degrees, score, _find_lean(turned), time_seconds, again))
        return turned

    def _is_suspect(self, near: Face, last: _Asked | None, time_seconds: float) -> bool:
        """Whether a face may be tilted by more or less than it was when it was asked last."""
        if last is None:
            return True
        lean, max_lean = _find_lean(near), MAX_LEAN_TILTED if near.degrees else MAX_LEAN
        if near.score >= MIN_UPRIGHT_SCORE and abs(lean) <= max_lean:
            return False
        seconds = time_seconds - last.seconds
        is_other = near.score < last.score - SCORE_FALL or abs(lean - last.lean) > LEAN_CHANGE
        return seconds >= last.again_seconds or (is_other and seconds >= SOON_SECONDS)

    def _is_best_so(self, image: np.ndarray, face: Face, score: float) -> bool:
        """Whether a face scores well in the small picture, and no more if that is turned a little."""
        if score < MIN_SCORE_WELL:
            return False
        looks = [self._look(image, face, face.degrees + turn) for turn in LITTLE_TURNS]
        return all(look is None or look.score <= score for look in looks)

    def _look(self, image: np.ndarray, face: Face, degrees: float) -> Face | None:
        return self._detector.find_near(image, dataclasses.replace(face, degrees=degrees), face.box)

    def _try_turns(self, image: np.ndarray, face: Face) -> Face:
        """Returns a face as it is found in its best turn; the same face if that is the one it has, or none shows it."""
        degrees, alike = face.degrees, 0.0
        for _ in range(2):
            looks = [self._look(image, face, degrees + turn) for turn in TURNS]
            scores = np.array([each.score if each else 0.0 for each in looks])
            alike = max(alike, scores[TURNS.index(0)] if degrees == face.degrees else 0.0)
            pull = (np.maximum(scores - NO_WEIGHT, 0) * np.exp(1j * np.radians(TURNS))).sum()
            if not pull:
                return face
            turn = float(np.degrees(np.angle(pull)))
            degrees = _wrap(degrees + turn)
            if abs(turn) < FAR_TURN:  # otherwise only turns on one side of it were tried
                break
        upright_or_lying = 90.0 * round(degrees / 90)
        if abs(degrees - upright_or_lying) < (MIN_TILT_STILL if face.degrees % 90 else MIN_TILT):
            degrees = _wrap(upright_or_lying)
        if degrees == face.degrees:
            return face
        turned = self._detector.find_well(image, dataclasses.replace(face, degrees=degrees))
        if turned is None or turned.score < max(MIN_SCORE_INSTEAD, alike):
            return face
        return dataclasses.replace(turned, is_sure=self._detector.confirm(image, turned))

    def _find_asked(self, face: Face) -> _Asked | None:
        near = (asked for asked in self._asked if asked.degrees == face.degrees)
        return next((asked for asked in near if find_overlap(asked.box, face.box) > MAX_OVERLAP), None)


def _is_free(face: Face, others: Sequence[Face]) -> bool:
    return all(find_overlap(face.box, other.box) <= MAX_OVERLAP for other in others)


def _find_lean(face: Face) -> float:
    """Returns by how many degrees the landmarks lean, counter-clockwise, from the turn in which a face was found."""
    (across, _, _), (down, _, _) = compute_crop_transform(face.landmarks, 1)
    return _wrap(-float(np.degrees(np.arctan2(down, across))) - face.degrees)


def _wrap(degrees: float) -> float:
    return (degrees + 180) % 360 - 180
