"""Face detection in a third of the time: between full looks, large faces are found in smaller pictures.

A detector's time grows with the pixels. A face that fills a seventh of the frame is found at half the size, too; small
and new faces need the full size. So every few frames get a full look, and the frames in between a quick one, as long as
it finds the same number of large faces.

Where no face certainly stands upright, the picture is turned and looked at again, once a second; a turn that shows
faces is kept.
"""

import dataclasses

import numpy as np

from emotion.inputs.faces.detection import (
    MAX_OVERLAP,
    QUICK_SIDE,
    SURE_SCORE,
    Face,
    FaceDetector,
    find_overlap,
    turn_back,
    turn_picture,
)

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


class FrugalDetector:
    """Detects faces in the frames of one video, in order of time.

    A ``detector`` without the attribute ``quick``, a faster detector, gets every frame. One without the method
    ``confirm`` is believed, and no picture is turned for it.
    """

    def __init__(self, detector: FaceDetector):
        self._detector = detector
        self._quick: FaceDetector | None = getattr(detector, "quick", None)
        self._known: list[Face] = []
        self._quarters = 0  # turn in which faces were found last
        self._patience_seconds = TURNED_SECONDS
        self._turned_seconds: float | None = None  # time of the last search in all turns
        self._looked_seconds: float | None = None  # time of the last full look
        self._n_quick = 0
        self._n_searched = N_SEARCHED

    def detect(self, image: np.ndarray, time_seconds: float) -> list[Face]:
        """Returns the faces of the next RGB frame ``(height, width, 3)`` uint8, largest first."""
        if self._trusts_quick_looks(image, time_seconds):
            found = _look(self._quick, image, self._quarters)
            if len(found) == len(self._known):
                self._n_quick += 1
                # Enough full looks confirm a face, or none does.
                self._known = [dataclasses.replace(face, is_sure=face.score >= SURE_SCORE) for face in found]
                return self._known
        found = self._search(image, time_seconds)
        self._n_searched = 0 if len(found) < len(self._known) else self._n_searched + 1
        if self._known and not found:
            self._patience_seconds = TURNED_SECONDS
        self._known, self._looked_seconds, self._n_quick = found, time_seconds, 0
        return found

    def _search(self, image: np.ndarray, time_seconds: float) -> list[Face]:
        """Looks at a frame at full size, and turned if need be."""
        found = self._look_surely(image, 0)
        if not hasattr(self._detector, "confirm"):
            return found
        if self._quarters:
            turned = self._look_surely(image, self._quarters)
            if turned:
                return _join(found, turned)
            self._quarters = 0
        best = max((face.score for face in found if face.is_sure), default=0.0)
        is_due = self._turned_seconds is None or time_seconds - self._turned_seconds >= self._patience_seconds
        if best >= UPRIGHT_SCORE or not is_due:
            return found
        self._turned_seconds = time_seconds
        joined = found
        for quarters in (1, 2, 3):
            joined = _join(joined, self._look_surely(image, quarters))
        turns = [face.quarters for face in joined if face.is_sure]
        self._quarters = max(set(turns), key=turns.count) if turns else 0
        # Upright faces seldom turn out to lie.
        is_upright = bool(turns) and not any(turns)
        self._patience_seconds = min(2 * self._patience_seconds, MAX_TURNED_SECONDS) if is_upright else TURNED_SECONDS
        return joined

    def _look_surely(self, image: np.ndarray, quarters: int) -> list[Face]:
        """Returns the faces in one turn; those in a picture that is not upright must be certain."""
        confirm = getattr(self._detector, "confirm", None)
        if confirm is None:
            return self._detector.detect(image)
        height, width = image.shape[:2]
        image = turn_picture(image, quarters)
        found = self._detector.detect(image)
        if quarters:
            certain = [face for face in found if face.score >= MIN_TURNED_SCORE and confirm(image, face)]
            return [turn_back(face, quarters, width, height) for face in certain]
        return [dataclasses.replace(face, is_sure=confirm(image, face)) for face in found]

    def forget(self) -> None:
        """Gives the next frame a full look, because it belongs to another shot."""
        self._looked_seconds = self._turned_seconds = None
        self._patience_seconds = TURNED_SECONDS

    def _trusts_quick_looks(self, image: np.ndarray, time_seconds: float) -> bool:
        if self._quick is None or self._looked_seconds is None or self._n_quick >= MAX_QUICK_LOOKS:
            return False
        if time_seconds - self._looked_seconds > MAX_QUICK_SECONDS or self._n_searched < N_SEARCHED:
            return False
        scale = QUICK_SIDE / max(image.shape[:2])
        is_one_turn = all(face.quarters == self._quarters for face in self._known)
        return scale < 1 and is_one_turn and all(min(face.size) * scale >= MIN_QUICK_FACE for face in self._known)


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
