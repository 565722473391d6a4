"""Finding the faces of a video in a third of the time: large ones are followed in small pictures.

The work of a detector goes with the pixels it is shown. A face that fills a seventh of the picture is found as well at
half the size; small ones, and new ones, need the whole of it. So every few pictures are looked at thoroughly, and those
between only so long as the same number of large faces is found.
"""

import numpy as np

from emotion.faces.detection import QUICK_SIDE, Face, FaceDetector

# How many pictures are looked at quickly, at most, after a thorough look; then a new face has waited for 0.3 s.
MAX_QUICK_LOOKS = 3
# The smallest side of a face, in pixels of the small picture, that a quick look is trusted with.
MIN_QUICK_FACE = 48


class FrugalDetector:
    """Looks for faces in the pictures of one video, in order of time.

    Args:
        detector: of single pictures. One without ``quick``, a faster detector, is asked about every picture.
    """

    def __init__(self, detector: FaceDetector):
        self._detector = detector
        self._quick: FaceDetector | None = getattr(detector, "quick", None)
        self._n_quick = MAX_QUICK_LOOKS
        self._known: list[Face] = []

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of the next RGB picture ``(height, width, 3)`` uint8, largest first."""
        if self._quick is not None and self._n_quick < MAX_QUICK_LOOKS:
            scale = QUICK_SIDE / max(image.shape[:2])
            if scale < 1 and all(min(face.size) * scale >= MIN_QUICK_FACE for face in self._known):
                found = self._quick.detect(image)
                if len(found) == len(self._known):
                    self._n_quick += 1
                    self._known = found
                    return found
        self._n_quick = 0
        self._known = self._detector.detect(image)
        return self._known

    def forget(self) -> None:
        """Looks at the next picture thoroughly: it is of another shot."""
        self._n_quick = MAX_QUICK_LOOKS
