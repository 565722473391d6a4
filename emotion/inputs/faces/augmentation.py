"""Augmentation of face crops, for training only: one draw for a whole clip, so that nothing flickers."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FrameVariation:
    """One random draw.

    Attributes:
        flip: whether to mirror left and right.
        angle_degrees, zoom: rotation and scale about the middle.
        shift_x, shift_y: shares of the crop's side.
        contrast, brightness: levels become ``(level - 128) * contrast + 128 + brightness``.
        blur_pixels: standard deviation of a Gaussian blur; 0 for none.
    """

    flip: bool
    angle_degrees: float
    zoom: float
    shift_x: float
    shift_y: float
    contrast: float
    brightness: float
    blur_pixels: float


def draw_frame_variation(rng: np.random.Generator) -> FrameVariation:
    """Draws a variation as large as errors of landmarks and differences between cameras are in practice."""
    return FrameVariation(
        flip=bool(rng.random() < 0.5),
        angle_degrees=float(rng.normal(0, 6)),
        zoom=float(np.exp(rng.normal(0, 0.07))),
        shift_x=float(rng.normal(0, 0.03)),
        shift_y=float(rng.normal(0, 0.03)),
        contrast=float(np.exp(rng.normal(0, 0.2))),
        brightness=float(rng.normal(0, 15)),
        blur_pixels=float(rng.uniform(0.5, 2.5)) if rng.random() < 0.4 else 0.0,
    )


def vary_image(image: np.ndarray, variation: FrameVariation, size: int | None = None) -> np.ndarray:
    """Applies a variation to an image ``(height, width[, 3])`` uint8, which is then scaled to ``size`` if given."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), variation.angle_degrees, variation.zoom)
    matrix[0, 2] += variation.shift_x * width
    matrix[1, 2] += variation.shift_y * height
    if variation.flip:
        matrix = matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    varied = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if variation.blur_pixels:
        varied = cv2.GaussianBlur(varied, (0, 0), variation.blur_pixels)
    if size is not None and size != height:
        varied = cv2.resize(varied, (size, size), interpolation=cv2.INTER_AREA)
    levels = np.arange(256)
    table = np.clip((levels - 128) * variation.contrast + 128 + variation.brightness, 0, 255).astype(np.uint8)
    return cv2.LUT(varied, table)


def vary_clip(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Varies a clip ``(n_frames, height, width, 3)`` uint8, all frames alike."""
    variation = draw_frame_variation(rng)
    return np.stack([vary_image(frame, variation) for frame in frames])
