"""Describes faces and shots, to recognise a face after an absence within one file, and to notice a cut.

No network trained to recognise people is used. Across files, faces are compared only with references that you name.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.inputs.faces.crops import compute_crop_transform, crop_face, cut_to_limit
from emotion.media.pictures import VideoFrame

CROP_PIXELS = 64
# The surroundings, hair and clothes, are taken at half the scale, with more room below the face than above.
WIDE_PIXELS, WIDE_SCALE, WIDE_SHIFT = 128, 0.5, (32.0, 16.0)
GRID = 4  # patches per side, whose mean colours are compared
# Median distances between different people (nine, in 337 frames of docs/lab_notebook.md). Dividing by them gives
# the three parts of a distance equal weight.
SHAPE_UNIT, FACE_UNIT, AROUND_UNIT = 0.60, 3.75, 6.67
COLOUR_UNIT = 40.0
# A cut changes the colours and the thumbnail by this much in sum. Within a shot, the sum stayed below 1.1 from one
# thirteenth of a second to the next.
THUMB_SIZE = (32, 18)
HISTOGRAM_UNIT, THUMB_UNIT, CUT_UNITS = 0.12, 12.0, 2.0
MIN_CUT_UNITS = 0.1  # of the thumbnail alone; where less changes, colours do not need to be counted


@dataclass(frozen=True)
class Appearance:
    """The looks of a face in one frame.

    Attributes:
        shape: histograms of oriented gradients (Dalal & Triggs 2005) of the aligned face, of length 1.
        face, around: mean Lab colours of ``GRID`` x ``GRID`` patches of the face, and of it with its surroundings.
    """

    shape: np.ndarray
    face: np.ndarray
    around: np.ndarray

    def distance(self, other: "Appearance", *, is_clear: bool = True) -> float:
        """Returns how different two faces look: about 3 for two people, mostly below 1.4 for one person in one shot.

        Without ``is_clear`` the surroundings may belong to another face, and are ignored.
        """
        distance = np.linalg.norm(self.shape - other.shape) / SHAPE_UNIT
        distance += np.linalg.norm(self.face - other.face) / FACE_UNIT
        if not is_clear:
            return float(1.5 * distance)
        return float(distance + np.linalg.norm(self.around - other.around) / AROUND_UNIT)


def describe_face(image: np.ndarray, landmarks: np.ndarray) -> Appearance:
    """Describes a face of an RGB picture ``(height, width, 3)`` uint8 by its landmarks ``(5, 2)``."""
    crop = crop_face(image, landmarks, CROP_PIXELS)
    shape = _gradients().compute(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)).ravel()
    matrix = compute_crop_transform(landmarks, CROP_PIXELS) * WIDE_SCALE
    matrix[:, 2] += WIDE_SHIFT
    # Sampling single pixels is enough: each patch averages hundreds of them.
    image, matrix = cut_to_limit(image, matrix, WIDE_PIXELS)
    around = cv2.warpAffine(image, matrix, (WIDE_PIXELS, WIDE_PIXELS), borderMode=cv2.BORDER_REPLICATE)
    return Appearance(shape / max(1e-9, float(np.linalg.norm(shape))), _patches(crop), _patches(around))


def compute_unlikeness(seen: Sequence[Appearance], now: Appearance, *, is_clear: bool = True) -> float:
    """Returns the distance of a face to the nearest of its earlier looks; infinite if there are none."""
    return min((other.distance(now, is_clear=is_clear) for other in seen), default=float("inf"))


class Shot:
    """A frame's thumbnail and colour histogram, made of a few thousand of its pixels.

    Attributes:
        thumb: ``(18, 32, 3)`` float32.
    """

    def __init__(self, frame: VideoFrame):
        rows, columns = (max(1, frame.height // (4 * THUMB_SIZE[1])), max(1, frame.width // (4 * THUMB_SIZE[0])))
        self._small = frame.sample(rows, columns)
        self.thumb = cv2.resize(self._small, THUMB_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)

    @functools.cached_property
    def _histogram(self) -> np.ndarray:
        small = cv2.cvtColor(self._small, cv2.COLOR_RGB2LAB)
        histogram = cv2.calcHist([small], [0, 1, 2], None, [8] * 3, [0, 256] * 3)
        return histogram.ravel() / histogram.sum()

    def is_other(self, before: "Shot") -> bool:
        """Whether there was a cut between two frames."""
        units = cv2.norm(self.thumb, before.thumb, cv2.NORM_L1) / self.thumb.size / THUMB_UNIT
        if units < MIN_CUT_UNITS:
            return False
        units += float(np.abs(self._histogram - before._histogram).sum()) / 2 / HISTOGRAM_UNIT
        return units > CUT_UNITS


@functools.cache
def _gradients() -> cv2.HOGDescriptor:
    return cv2.HOGDescriptor((CROP_PIXELS, CROP_PIXELS), (16, 16), (8, 8), (8, 8), 9)


def _patches(image: np.ndarray) -> np.ndarray:
    colours = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return (colours.astype(np.float32).ravel() - 128) / COLOUR_UNIT
