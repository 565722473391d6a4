"""Builds the face detector you choose: YuNet, RetinaFace, Haar cascade, or the whole picture as one face."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from emotion.errors import ConfigError, EmotionError
from emotion.inputs.faces.crops import TEMPLATE
from emotion.inputs.faces.detection import MAX_SIDE, Face, FaceDetector, YuNetDetector, clip_box, find_yunet
from emotion.weights import find_weights

SIDE_MULTIPLE = 32  # the sides of RetinaFace's input are multiples of this
HAAR_FILE = "haarcascade_frontalface_default.xml"
# The landmarks' places in a Haar box, in shares of its side: medians over the faces that YuNet finds, too, in the clips
# of docs/lab_notebook.md.
HAAR_LANDMARKS = np.array([[0.313, 0.386], [0.687, 0.386], [0.5, 0.604], [0.337, 0.766], [0.663, 0.766]])
HAAR_MIN_SIDE_SHARE = 1 / 16  # of the picture's shorter side


class RetinaFaceDetector:
    """RetinaFace with MobileNetV2 (Deng et al. 2020, "RetinaFace: Single-Shot Multi-Level Face Localisation")."""

    def __init__(self, *, min_score: float = 0.6, max_side: int = MAX_SIDE):
        """Loads the network; ``WeightsError`` if it was not fetched yet or is another file.

        Faces below ``min_score`` are dropped; pictures are shrunk to a longer side of ``max_side`` pixels.
        """
        path = find_weights("retinaface")
        try:
            import tensorflow as tf
        except ImportError as error:
            raise EmotionError(
                f"The face detector retinaface needs TensorFlow ({error}): pip install -r requirements.txt, or leave "
                "--face_detector out."
            ) from error
        graph = tf.compat.v1.GraphDef()
        graph.ParseFromString(path.read_bytes())
        whole = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
        self._network = whole.prune("x:0", "Identity:0")
        self._to_tensor = tf.constant
        self._min_score = min_score
        self._max_side = max_side

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first."""
        height, width = image.shape[:2]
        scale = min(self._max_side / max(height, width), 1.0)
        small_size = max(1, round(width * scale)), max(1, round(height * scale))
        small = image if scale == 1 else cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
        right, bottom = (-side % SIDE_MULTIPLE for side in small_size)
        padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        rows = self._network(self._to_tensor(padded[None].astype(np.float32))).numpy()
        # The network answers in shares of the padded picture.
        to_image = np.array([padded.shape[1] * width / small_size[0], padded.shape[0] * height / small_size[1]])
        faces = []
        for row in rows[np.isfinite(rows).all(axis=1) & (rows[:, 15] >= self._min_score)]:
            corners, landmarks = row[:4].reshape(2, 2) * to_image, row[4:14].reshape(5, 2) * to_image
            box = clip_box(*corners[0], *corners[1], width, height)
            if box[2] > box[0] and box[3] > box[1]:
                faces.append(Face(box, landmarks.astype(np.float32), float(row[15])))
        return sorted(faces, key=lambda face: -face.size[0] * face.size[1])


class HaarDetector:
    """OpenCV's cascade of Viola & Jones (2001): upright frontal faces only, with many false alarms.

    It finds boxes without landmarks. These are put at their usual places, so tilted heads stay tilted.
    """

    def __init__(self):
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / HAAR_FILE))

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of an RGB picture ``(height, width, 3)`` uint8, largest first; their scores are 1."""
        height, width = image.shape[:2]
        scale = min(MAX_SIDE / max(height, width), 1.0)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, (max(1, round(width * scale)), max(1, round(height * scale))),
                              interpolation=cv2.INTER_AREA)  # fmt: skip
        smallest = max(20, round(min(grey.shape) * HAAR_MIN_SIDE_SHARE))
        if min(grey.shape) < smallest:
            return []
        found = self._cascade.detectMultiScale(
            cv2.equalizeHist(grey), scaleFactor=1.1, minNeighbors=5, minSize=(smallest, smallest)
        )
        faces = []
        for left, top, side, _ in np.asarray(found, dtype=np.float64).reshape(-1, 4) / scale:
            landmarks = HAAR_LANDMARKS * side + (left, top)
            box = clip_box(left, top, left + side, top + side, width, height)
            faces.append(Face(box, landmarks.astype(np.float32), 1.0, has_landmarks=False))
        return sorted(faces, key=lambda face: -face.size[0] * face.size[1])


class WholePicture:
    """Treats the centre square as a cropped face, for data sets of cropped faces."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns one face: the largest centre square."""
        height, width = image.shape[:2]
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        landmarks = TEMPLATE * side + (left, top)
        box = left, top, left + side, top + side
        return [Face(box, landmarks.astype(np.float32), 1.0, has_landmarks=False)]


DETECTORS: dict[str, Callable[[], FaceDetector]] = {
    "yunet": YuNetDetector,
    "retinaface": RetinaFaceDetector,
    "haar": HaarDetector,
    "none": WholePicture,
}


def check_detector(name: str) -> None:
    """Checks that a face detector can be built.

    Raises:
        ConfigError: if there is none of that name.
        EmotionError: if its network is missing; the message says how to get it.
    """
    if name not in DETECTORS:
        raise ConfigError(f"There is no face detector {name!r}. Choose one of {', '.join(DETECTORS)}.")
    if name == "retinaface":
        if importlib.util.find_spec("tensorflow") is None:
            raise ConfigError("The face detector retinaface needs TensorFlow: pip install -r requirements.txt")
        find_weights("retinaface")
    elif name == "yunet":
        find_yunet()


def build_detector(name: str) -> FaceDetector:
    """Builds one of ``DETECTORS``; raises as ``check_detector``."""
    check_detector(name)
    return DETECTORS[name]()
