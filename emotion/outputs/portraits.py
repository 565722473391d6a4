"""A small picture of each face, cut from the clip at the moment the face is seen largest."""

import cv2
import numpy as np

from emotion.config import AudioConfig
from emotion.errors import MediaError
from emotion.media.reading import iterate_media
from emotion.media.streams import Damage
from emotion.results import Box, MediaPrediction

SIDE = 96
MARGIN = 0.25  # of the face's own size, on every side


def cut_portraits(prediction: MediaPrediction, *, side: int = SIDE) -> dict[int, np.ndarray]:
    """Returns pictures ``(side, side, 3)`` RGB uint8 by ``face_id``; a face whose picture cannot be read has none.

    Args:
        prediction: what was found; its ``path`` is read once more, up to the last moment wanted.
        side: pixels.
    """
    wanted = {}
    for track in prediction.tracks:
        sizes = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in track.boxes]
        best = int(np.argmax(sizes))
        wanted[track.face_id] = track.times_seconds[best], track.boxes[best]
    portraits: dict[int, np.ndarray] = {}
    if not wanted:
        return portraits
    last = max(time_seconds for time_seconds, _ in wanted.values())
    silent = Damage(prediction.path, is_silent=True)
    frames = iterate_media(prediction.path, sample_rate=AudioConfig().sample_rate, with_audio=False, damage=silent)
    try:
        for frame in frames:
            for face_id, (time_seconds, box) in wanted.items():
                if face_id not in portraits and frame.time_seconds >= time_seconds - 1e-3:
                    portraits[face_id] = _cut(frame.image, box, side)
            if frame.time_seconds >= last:
                break
    except MediaError:
        pass  # what could be read is what there is
    return portraits


def _cut(image: np.ndarray, box: Box, side: int) -> np.ndarray:
    x1, y1, x2, y2 = box
    half = (0.5 + MARGIN) * max(x2 - x1, y2 - y1)
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    height, width = image.shape[:2]
    left, right = (int(np.clip(round(middle_x + away), 0, width)) for away in (-half, half))
    top, bottom = (int(np.clip(round(middle_y + away), 0, height)) for away in (-half, half))
    if left >= right or top >= bottom:  # a face that has left the picture
        return np.zeros((side, side, 3), np.uint8)
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    scale = side / max(cut.shape[:2])
    size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.zeros((side, side, 3), np.uint8)
    y, x = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    square[y : y + small.shape[0], x : x + small.shape[1]] = small
    return square
