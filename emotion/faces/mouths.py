"""How mouths move: what tells who of several people is speaking.

Two pictures in succession are cut out around a face in the same way, and the motion from the one to the other is found
by dense optical flow (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search"). The motion of the upper
face is that of the head; carried on to the mouth and taken away there, it leaves what lips and jaw do by themselves.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from emotion.faces.crops import crop_face
from emotion.media.pictures import VideoFrame

CROP_PIXELS = 64
# Rows and columns of the crop: brows, eyes and nose, which move with the head; the mouth, and where its lips meet.
HEAD_ROWS, HEAD_COLUMNS = (14, 40), (10, 54)
MOUTH_ROWS, MOUTH_COLUMNS = (42, 60), (18, 46)
LIPS_ROW = 50
# Two pictures further apart do not tell what the mouth did in between; closer ones bring noise and cost time.
MAX_GAP_SECONDS = 0.15
MIN_GAP_SECONDS = 0.025


class MouthWatcher:
    """Measures, from picture to picture, how fast the mouths of the faces in sight open."""

    def __init__(self):
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(0)
        rows, columns = np.mgrid[:CROP_PIXELS, :CROP_PIXELS]
        self._places = np.stack([np.ones(rows.shape), columns, rows], axis=-1)
        # Least squares for an affine motion is a product with a matrix that depends on the places alone.
        self._fit = np.linalg.pinv(self._head(self._places))
        self._before: tuple[float, np.ndarray, bool] | None = None  # when, its brightness, and of which range
        self._cut: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by face: landmarks, and the crop last cut by them

    def add(self, frame: VideoFrame, landmarks: Mapping[int, np.ndarray]) -> dict[int, float]:
        """Takes the next picture.

        Args:
            frame: later than the one before.
            landmarks: ``(5, 2)`` as in ``Face.landmarks`` of each face in sight, found in this picture or shortly
                before.

        Returns:
            For each face the speed at which its mouth opens (below 0: closes), in sides of a face's crop a second;
            nothing for a picture that comes too early or too late after the one before.
        """
        before = self._before
        if before is not None and frame.time_seconds - before[0] < MIN_GAP_SECONDS:
            return {}
        self._before = (frame.time_seconds, frame.luma, frame.is_decoded)
        cut_before, self._cut = self._cut, {}
        if before is None or before[1].shape != frame.luma.shape or before[2] != frame.is_decoded:
            return {}
        seconds = frame.time_seconds - before[0]
        if seconds > MAX_GAP_SECONDS:
            return {}
        return {
            face: self._opening(before[1], frame.luma, face, points, cut_before) / (CROP_PIXELS * seconds)
            for face, points in landmarks.items()
        }

    def forget(self) -> None:
        """Forgets the picture before, because the next one is of another shot."""
        self._before = None

    def _opening(
        self,
        before: np.ndarray,
        now: np.ndarray,
        face: int,
        landmarks: np.ndarray,
        cut_before: Mapping[int, tuple[np.ndarray, np.ndarray]],
    ) -> float:
        """How many pixels of the crop the lower half of the mouth moved away from the upper half."""
        known, first = cut_before.get(face, (None, None))
        # Faces are looked for in every second picture or so: between, a picture is cut alike twice.
        if known is not landmarks:
            first = crop_face(before, landmarks, CROP_PIXELS)
        second = crop_face(now, landmarks, CROP_PIXELS)
        self._cut[face] = (landmarks, second)
        flow = self._flow.calc(first, second, None)
        head_motion = self._fit @ self._head(flow)
        vertical = self._mouth(flow)[..., 1] - self._mouth(self._places) @ head_motion[:, 1]
        lips = LIPS_ROW - MOUTH_ROWS[0]
        return float(vertical[lips:].mean() - vertical[:lips].mean())

    @staticmethod
    def _head(grid: np.ndarray) -> np.ndarray:
        part = grid[slice(*HEAD_ROWS), slice(*HEAD_COLUMNS)]
        return part.reshape(-1, part.shape[-1])

    @staticmethod
    def _mouth(grid: np.ndarray) -> np.ndarray:
        return grid[slice(*MOUTH_ROWS), slice(*MOUTH_COLUMNS)]
