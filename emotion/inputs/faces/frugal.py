"""Finding the faces of a video in a third of the time: large ones are followed in small pictures.

The work of a detector goes with the pixels it is shown. A face that fills a seventh of the picture is found as well at
half the size; small ones, and new ones, need the whole of it. So every few pictures are looked at thoroughly, and those
between only so long as the same number of large faces is found.
"""

import numpy as np

from emotion.inputs.faces.detection import QUICK_SIDE, Face, FaceDetector

# How many pictures are looked at quickly, at most, after a thorough look, and for how long: a new face waits no longer.
MAX_QUICK_LOOKS, MAX_QUICK_SECONDS = 3, 0.4
# The smallest side of a face, in pixels of the small picture, that a quick look is trusted with.
MIN_QUICK_FACE = 48
# For so many pictures after a face was lost it is looked for thoroughly: it may come back, and smaller.
N_SEARCHED = 8


class FrugalDetector:
    """Looks for faces in the pictures of one video, in order of time.

    Args:
        detector: of single pictures. One without ``quick``, a faster detector, is asked about every picture.
    """

    def __init__(self, detector: FaceDetector):
        self._detector = detector
        self._quick: FaceDetector | None = getattr(detector, "quick", None)
        self._known: list[Face] = []
        self._looked_seconds: float | None = None  # when the last thorough look was
        self._n_quick = 0
        self._n_searched = N_SEARCHED

    def detect(self, image: np.ndarray, time_seconds: float) -> list[Face]:
        """Returns the faces of the next RGB picture ``(height, width, 3)`` uint8, largest first.

        Args:
            image: the picture.
            time_seconds: when it is shown.
        """
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
        """Looks at the next picture thoroughly: it is of another shot."""
        self._looked_seconds = None

    def _trusts_quick_looks(self, image: np.ndarray, time_seconds: float) -> bool:
        if self._quick is None or self._looked_seconds is None or self._n_quick >= MAX_QUICK_LOOKS:
            return False
        if time_seconds - self._looked_seconds > MAX_QUICK_SECONDS or self._n_searched < N_SEARCHED:
            return False
        scale = QUICK_SIDE / max(image.shape[:2])
        return scale < 1 and all(min(face.size) * scale >= MIN_QUICK_FACE for face in self._known)
