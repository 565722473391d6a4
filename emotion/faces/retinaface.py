"""RetinaFace (Deng et al. 2020, "RetinaFace: Single-Shot Multi-Level Face Localisation in the Wild") with MobileNetV2.

Finds small, turned and crowded faces where YuNet misses some, for several times the work. The network is fetched once
by ``python -m emotion.weights retinaface``.
"""

import cv2
import numpy as np

from emotion.errors import EmotionError
from emotion.faces.detection import MAX_SIDE, Face, clip_box
from emotion.weights import find_weights

SIDE_MULTIPLE = 32  # of both sides of the pictures that the network takes


class RetinaFaceDetector:
    """Finds faces and their five landmarks."""

    def __init__(self, *, min_score: float = 0.6, max_side: int = MAX_SIDE):
        """Loads the network.

        Args:
            min_score: faces below this confidence are left out.
            max_side: larger pictures are shrunk so that their longer side has this many pixels.

        Raises:
            WeightsError: if the network was not fetched yet, or is another file.
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
        # The network speaks in parts of the padded picture.
        to_image = np.array([padded.shape[1] * width / small_size[0], padded.shape[0] * height / small_size[1]])
        faces = []
        for row in rows[np.isfinite(rows).all(axis=1) & (rows[:, 15] >= self._min_score)]:
            corners, landmarks = row[:4].reshape(2, 2) * to_image, row[4:14].reshape(5, 2) * to_image
            box = clip_box(*corners[0], *corners[1], width, height)
            if box[2] > box[0] and box[3] > box[1]:
                faces.append(Face(box, landmarks.astype(np.float32), float(row[15])))
        return sorted(faces, key=lambda face: -face.size[0] * face.size[1])
