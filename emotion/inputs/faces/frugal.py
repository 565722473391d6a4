"""Finds the faces of a video's frames quickly: it searches where faces were, and where something changed.

A detector's time grows with the pixels. While nothing else in the picture moves, known faces are found again in the
parts around their last places, and the whole picture is looked at once a second.

Where something moves, it is looked at often. A face that fills a seventh of the frame is found at half the size, too;
small and new faces need the full size. So every few frames get a full look, and the frames in between a quick one, as
long as it finds the same number of large faces.

Where no face certainly stands upright, the picture is turned and looked at again, once a second; a turn that shows
faces is kept. Faces that are tilted by less are straightened one by one (``emotion.inputs.faces.tilt``).
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from emotion.inputs.faces.detection import (
    MAX_OVERLAP,
    QUICK_SIDE,
    SURE_SCORE,
    Face,
    FaceDetector,
    clip_box,
    find_centre,
    find_overlap,
    turn_back,
    turn_picture,
)
from emotion.inputs.faces.tilt import TiltWatch
from emotion.results import Box

# For how long a picture that does not change is looked at only near its faces, and how many of them.
MAX_NEAR_SECONDS, MAX_NEAR_FACES = 1.0, 4
# What changes a picture: a patch of its thumbnail by so many grey levels of 255. What changes a face's looks, and what
# shows that it moved: the patches in its box by so many on average.
PATCH_CHANGE, LOOKS_CHANGE, MOTION_CHANGE = 16.0, 16.0, 8.0
HEAD_SIZES = 0.6  # around a face's box, in which patches move with the head
MAX_PLACE_SIZES = 0.25  # by which a corner of a face's box may be off the place where it is looked for
MAX_NEAR_GROWTH = 1.25  # of a face since the whole picture was looked at
MIN_APART_SIZES = 1.5  # between the centres of two faces; closer ones could be taken for each other
# Quick looks after a full one, at most, and for how long: a new face waits no longer than that.
MAX_QUICK_LOOKS, MAX_QUICK_SECONDS = 3, 0.4
# The smallest side of a face that a quick look finds reliably, in pixels of the small picture.
MIN_QUICK_FACE = 48
# Frames that get a full look after a face was lost: it may come back smaller.
N_SEARCHED = 8
# Between searches for faces that lie on their side; twice as long after each that found upright ones, up to the second.
TURNED_SECONDS, MAX_TURNED_SECONDS = 1.0, 8.0
# YuNet finds faces upside down, too, with scores up to 0.91, and points at the wrong places. In the right turn each of
# 98 faces had a higher score than in any other.
UPRIGHT_SCORE, UPRIGHT_LEAD = 0.92, 0.02
MIN_SCORE_INSTEAD = 0.88  # of a lying face where an upright one was found, too
MIN_TURNED_SCORE = 0.8  # three more looks are three more chances for a false alarm


@dataclass
class _NearLook:
    """How to find a face again in a part of the picture.

    Attributes:
        place: the middle of that part. It stays while the face is there, since a detector's answers tremble with it.
        of_box, of_landmarks: what to add to the answers, in sizes of the face: at this scale they differ a little.
        size: of the face when that was measured.
    """

    place: Box
    of_box: np.ndarray
    of_landmarks: np.ndarray
    size: int


class FrugalDetector:
    """Detects faces in the frames of one video, in order of time.

    A ``detector`` without the method ``find_near`` is asked about every frame, one without the attribute ``quick``, a
    faster detector, in full size. One without the method ``confirm`` is believed, and no picture is turned for it.

    Attributes:
        knows_looks: whether the last frame's faces look as before, and stayed where they were or nearly so.
    """

    def __init__(self, detector: FaceDetector):
        self._detector = detector
        self._quick: FaceDetector | None = getattr(detector, "quick", None)
        self._known: list[Face] = []
        self._tilts = TiltWatch(detector)
        self._quarters = 0  # turn in which faces were found last
        self._patience_seconds = TURNED_SECONDS
        self._turned_seconds: float | None = None  # time of the last search in all turns
        self._looked_seconds: float | None = None  # time of the last full look
        self._n_quick = 0
        self._n_searched = N_SEARCHED
        # Thumbnails of the last full look, of the last frame whose faces were described, and of the last look.
        self._full = self._described = self._last = None
        self._heads: np.ndarray | None = None  # patches in which a head was since the last full look
        self._near: list[_NearLook] | None = None
        self.knows_looks = False

    def have_moved(self, thumb: np.ndarray, shape: tuple[int, ...]) -> bool:
        """Whether a known face has moved since the last look.

        Args:
            thumb: ``Shot.thumb`` of a frame.
            shape: the frame's height and width.
        """
        return self._last is not None and self._have_changed(thumb, self._last, shape, MOTION_CHANGE)

    def detect(self, image: np.ndarray, time_seconds: float, thumb: np.ndarray | None = None) -> list[Face]:
        """Returns the faces of the next RGB frame ``(height, width, 3)`` uint8.

        Args:
            thumb: ``Shot.thumb`` of the frame. Without it the whole picture is looked at.
        """
        found = None
        if thumb is not None and self._trusts_near_looks(thumb, time_seconds):
            found = self._look_near(image, time_seconds)
        self.knows_looks = found is not None and not self._have_changed(
            thumb, self._described, image.shape, LOOKS_CHANGE
        )
        if found is None:
            found = self._look_around(image, time_seconds)
            self._near = self._plan_near_looks(image)
            if thumb is not None and (self._heads is None or not self._n_quick):
                self._full, self._heads = thumb, np.zeros(thumb.shape[:2], bool)
        if thumb is not None:
            self._last = thumb
            if not self.knows_looks:
                self._described = thumb
            for face in found:
                self._heads[_patches_of(face, image.shape, thumb.shape, HEAD_SIZES)] = True
        return found

    def _trusts_near_looks(self, thumb: np.ndarray, time_seconds: float) -> bool:
        """Whether nothing can be new in a frame but how the known faces look and where they moved."""
        if self._looked_seconds is None or self._full is None or self._near is None:
            return False
        if time_seconds - self._looked_seconds > MAX_NEAR_SECONDS or self._n_searched < N_SEARCHED:
            return False
        changed = np.abs(thumb - self._full).mean(axis=-1)
        return bool(changed.max(where=~self._heads, initial=0.0) <= PATCH_CHANGE)

    def _have_changed(self, thumb: np.ndarray, before: np.ndarray, shape: tuple[int, ...], n_levels: float) -> bool:
        """Whether what is in the known faces' boxes has changed since an earlier thumbnail."""
        places = (_patches_of(face, shape, thumb.shape, 0.0) for face in self._known)
        return any(np.abs(thumb[place] - before[place]).mean() > n_levels for place in places)

    def _look_near(self, image: np.ndarray, time_seconds: float) -> list[Face] | None:
        """Returns the known faces where they are now; None if one of them is gone, or turns out to be tilted."""
        found = []
        for number, (known, near) in enumerate(zip(self._known, self._near, strict=True)):
            face = self._detector.find_near(image, known, near.place)
            if face is None or not 1 / MAX_NEAR_GROWTH < max(face.size) / near.size < MAX_NEAR_GROWTH:
                return None
            size, (height, width) = max(face.size), image.shape[:2]
            box = clip_box(*(face.box + near.of_box * size), width, height)
            if box[2] <= box[0] or box[3] <= box[1]:
                return None
            if np.abs(np.subtract(box, near.place)).max() > MAX_PLACE_SIZES * size:
                near.place = box
            landmarks = (face.landmarks + near.of_landmarks * size).astype(np.float32)
            moved = Face(box, landmarks, face.score, face.score >= SURE_SCORE, face.degrees)
            turned = self._tilts.turn_upright(image, moved, moved, time_seconds)
            if turned is not moved:
                self._known[number] = turned
                return None
            found.append(moved)
        self._known = found
        return found

    def _plan_near_looks(self, image: np.ndarray) -> "list[_NearLook] | None":
        """Returns where to look for the known faces from now on; None if they cannot be followed so."""
        faces = self._known
        if not hasattr(self._detector, "find_near") or len(faces) > MAX_NEAR_FACES or not _are_apart(faces):
            return None
        planned = []
        for face in faces:
            near = self._tilts.find_near(image, face)
            if near is None:
                return None
            size = max(near.size)
            of_box, of_landmarks = np.subtract(face.box, near.box) / size, (face.landmarks - near.landmarks) / size
            planned.append(_NearLook(face.box, of_box, of_landmarks, size))
        return planned

    def _look_around(self, image: np.ndarray, time_seconds: float) -> list[Face]:
        """Returns the faces of the whole frame."""
        if self._trusts_quick_looks(image, time_seconds):
            # Enough full looks confirm a face, or none does.
            found = [
                dataclasses.replace(face, is_sure=face.score >= SURE_SCORE)
                for face in _look(self._quick, image, self._quarters)
            ]
            found = self._tilts.straighten(image, found, self._known, time_seconds)
            if len(found) == len(self._known):
                self._n_quick += 1
                self._known = found
                return found
        found = self._search(image, time_seconds)
        self._n_searched = 0 if len(found) < len(self._known) else self._n_searched + 1
        if self._known and not found:
            self._patience_seconds = TURNED_SECONDS
        self._known, self._looked_seconds, self._n_quick = found, time_seconds, 0
        return found

    def _search(self, image: np.ndarray, time_seconds: float) -> list[Face]:
        """Looks at a frame at full size, and turned if need be."""
        if not hasattr(self._detector, "confirm"):
            return self._detector.detect(image)
        found, weak = self._look_surely(image, 0)
        found = self._tilts.straighten(image, found, self._known, time_seconds)
        self._quarters = self._quarters or max((face.quarters for face in found if not face.degrees % 90), default=0)
        if self._quarters:
            turned, _ = self._look_surely(image, self._quarters)
            if turned:
                upright = [face for face in found if not face.degrees or face.degrees % 90]
                return self._tilts.straighten(image, _join(upright, turned), (), time_seconds)
            self._quarters = 0
        best = max((face.score for face in found if face.is_sure), default=0.0)
        is_due = self._turned_seconds is None or time_seconds - self._turned_seconds >= self._patience_seconds
        if best >= UPRIGHT_SCORE or not is_due:
            return found
        self._turned_seconds = time_seconds
        joined = found
        for quarters in (1, 2, 3):
            turned, weaker = self._look_surely(image, quarters)
            joined, weak = _join(joined, turned), weak + weaker
        joined = self._tilts.straighten(image, joined, (), time_seconds)
        joined = _join(joined, self._tilts.find_tilted(image, weak, joined))
        turns = [face.quarters for face in joined if face.is_sure]
        self._quarters = max(set(turns), key=turns.count) if turns else 0
        # Upright faces seldom turn out to lie.
        is_upright = bool(turns) and not any(turns)
        self._patience_seconds = min(2 * self._patience_seconds, MAX_TURNED_SECONDS) if is_upright else TURNED_SECONDS
        return joined

    def _look_surely(self, image: np.ndarray, quarters: int) -> tuple[list[Face], list[Face]]:
        """Returns the faces in one turn, and what is hardly one; in a turned picture a face must be certain."""
        height, width = image.shape[:2]
        image = turn_picture(image, quarters)
        looked = getattr(self._detector, "keen", self._detector).detect(image)
        min_score = MIN_TURNED_SCORE if quarters else getattr(self._detector, "min_score", 0.0)
        found, weak = [], []
        for face in looked:
            is_sure = face.score >= min_score and self._detector.confirm(image, face)
            is_found = is_sure if quarters else face.score >= min_score
            seen = dataclasses.replace(turn_back(face, quarters, width, height), is_sure=is_sure)
            (found if is_found else weak).append(seen)
        return found, weak

    def forget(self) -> None:
        """Gives the next frame a full look, because it belongs to another shot."""
        self._looked_seconds = self._turned_seconds = self._last = None
        self._tilts.forget()
        self._patience_seconds = TURNED_SECONDS

    def _trusts_quick_looks(self, image: np.ndarray, time_seconds: float) -> bool:
        if self._quick is None or self._looked_seconds is None or self._n_quick >= MAX_QUICK_LOOKS:
            return False
        if time_seconds - self._looked_seconds > MAX_QUICK_SECONDS or self._n_searched < N_SEARCHED:
            return False
        scale = QUICK_SIDE / max(image.shape[:2])
        is_one_turn = all(face.quarters == self._quarters or face.degrees % 90 for face in self._known)
        return scale < 1 and is_one_turn and all(min(face.size) * scale >= MIN_QUICK_FACE for face in self._known)


def _are_apart(faces: list[Face]) -> bool:
    for number, face in enumerate(faces):
        for other in faces[:number]:
            distance = np.hypot(*(find_centre(face.box) - find_centre(other.box)))
            if distance <= MIN_APART_SIZES * (max(face.size) + max(other.size)) / 2:
                return False
    return True


def _patches_of(face: Face, shape: tuple[int, ...], thumb_shape: tuple[int, ...], margin: float) -> tuple[slice, slice]:
    """Returns the rows and columns of a thumbnail that show a face of a picture of some shape.

    Args:
        margin: around the face, in sizes of it.
    """
    room = margin * max(face.size)
    slices = []
    for low, high, side, n in (
        (face.box[1], face.box[3], shape[0], thumb_shape[0]),
        (face.box[0], face.box[2], shape[1], thumb_shape[1]),
    ):
        first = int(np.clip((low - room) * n / side, 0, n - 1))
        slices.append(slice(first, max(first + 1, int(np.ceil((high + room) * n / side)))))
    return slices[0], slices[1]


def _look(detector: FaceDetector, image: np.ndarray, quarters: int) -> list[Face]:
    height, width = image.shape[:2]
    return [turn_back(face, quarters, width, height) for face in detector.detect(turn_picture(image, quarters))]


def _join(found: list[Face], turned: list[Face]) -> list[Face]:
    """Returns the faces of two turns, the better of those in one place, largest first."""
    joined: list[Face] = []
    for face in sorted([*found, *turned], key=lambda face: -_worth(face)):
        if all(find_overlap(face.box, other.box) <= MAX_OVERLAP for other in joined):
            joined.append(face)
    return sorted(joined, key=lambda face: -face.size[0] * face.size[1])


def _worth(face: Face) -> float:
    if not face.quarters:
        return face.score + UPRIGHT_LEAD
    return face.score if face.score >= MIN_SCORE_INSTEAD else face.score - 1
