"""Face detection in a third of the time: between full looks, large faces are found in smaller pictures.

A detector's time grows with the pixels. A face that fills a seventh of the frame is found at half the size, too; small
and new faces need the full size. So every few frames get a full look, and the frames in between a quick one, as long as
it finds the same number of large faces.
"""

import numpy as np

from emotion.inputs.faces.detection import QUICK_SIDE, Face, FaceDetector

# Quick looks after a full one, at most, and for how long: a new face waits no longer than that.
MAX_QUICK_LOOKS, MAX_QUICK_SECONDS = 3, 0.4
# The smallest side of a face that a quick look finds reliably, in pixels of the small picture.
MIN_QUICK_FACE = 48
# Frames that get a full look after a face was lost: it may come back smaller.
N_SEARCHED = 8


class FrugalDetector:
    """Detects faces in the frames of one video, in order of time.

    A ``detector`` without the attribute ``quick``, a faster detector, gets every frame.
    """

    def __init__(self, detector: FaceDetector):
        self._detector = detector
        self._quick: FaceDetector | None = getattr(detector, "quick", None)
        self._known: list[Face] = []
        self._looked_seconds: float | None = None  # time of the last full look
        self._n_quick = 0
        self._n_searched = N_SEARCHED

    def detect(self, image: np.ndarray, time_seconds: float) -> list[Face]:
        """Returns the faces of the next RGB frame ``(height, width, 3)`` uint8, largest first."""
        if self._trusts_quick_looks(image, time_seconds):
            found = self._quick.detect(image)
            if len(found) == len(self._known):
                self._n_quick += 1
                self._known = found
                return found
        found = self._detector.detect(image)
        self._n_searched = 0 if len(found) < len(self._known) else self._n_searched + 1
        self._known, self._looked_seconds, self._n_quick = found, time_seconds, 0
        return found

    def forget(self) -> None:
        """Gives the next frame a full look, because it belongs to another shot."""
        self._looked_seconds = None

    def _trusts_quick_looks(self, image: np.ndarray, time_seconds: float) -> bool:
        if self._quick is None or self._looked_seconds is None or self._n_quick >= MAX_QUICK_LOOKS:
            return False
        if time_seconds - self._looked_seconds > MAX_QUICK_SECONDS or self._n_searched < N_SEARCHED:
            return False
        scale = QUICK_SIDE / max(image.shape[:2])
        return scale < 1 and all(min(face.size) * scale >= MIN_QUICK_FACE for face in self._known)
