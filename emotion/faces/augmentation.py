"""Random variation of face crops, for training only: one draw for a whole clip, so that nothing flickers.

A still picture becomes a clip by letting the same draws drift slowly over time.
"""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FrameVariation:
    """One draw of what to do to a picture.

    Attributes:
        flip: whether left and right change places.
        angle_degrees: rotation about the middle.
        zoom: scale about the middle.
        shift_x, shift_y: in parts of the picture's side.
        contrast, brightness: grey levels become ``(level - 128) * contrast + 128 + brightness``.
        blur_pixels: deviation of a Gaussian blur; 0 for none.
    """

    flip: bool
    angle_degrees: float
    zoom: float
    shift_x: float
    shift_y: float
    contrast: float
    brightness: float
    blur_pixels: float


def draw_variation(rng: np.random.Generator) -> FrameVariation:
    """Draws a variation as large as the misplacement of landmarks and the difference between cameras make plausible."""
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


def vary_image(image: np.ndarray, variation: FrameVariation) -> np.ndarray:
    """Applies a variation to one picture ``(height, width[, 3])`` uint8 and returns another of the same shape."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), variation.angle_degrees, variation.zoom)
    matrix[0, 2] += variation.shift_x * width
    matrix[1, 2] += variation.shift_y * height
    if variation.flip:
        matrix = matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    varied = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if variation.blur_pixels:
        varied = cv2.GaussianBlur(varied, (0, 0), variation.blur_pixels)
    levels = np.arange(256)
    table = np.clip((levels - 128) * variation.contrast + 128 + variation.brightness, 0, 255).astype(np.uint8)
    return cv2.LUT(varied, table)


def vary_clip(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Varies a clip ``(n_frames, height, width, 3)`` uint8, every frame alike."""
    variation = draw_variation(rng)
    return np.stack([vary_image(frame, variation) for frame in frames])


def animate_still(image: np.ndarray, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Turns one picture into a clip by small smooth motion, zoom and light, as of a head that never keeps quite still.

    Args:
        image: ``(height, width[, 3])`` uint8.
        n_frames: length of the clip.
        rng: source of the draws.

    Returns:
        ``(n_frames, height, width[, 3])`` uint8.
    """
    base = draw_variation(rng)
    drift = [_smooth_walk(n_frames, deviation, rng) for deviation in (2.0, 0.02, 0.012, 0.012, 0.03, 3.0)]
    return np.stack(
        [
            vary_image(
                image,
                FrameVariation(
                    flip=base.flip,
                    angle_degrees=base.angle_degrees + angle,
                    zoom=base.zoom * float(np.exp(zoom)),
                    shift_x=base.shift_x + x,
                    shift_y=base.shift_y + y,
                    contrast=base.contrast * float(np.exp(contrast)),
                    brightness=base.brightness + brightness,
                    blur_pixels=base.blur_pixels,
                ),
            )
            for angle, zoom, x, y, contrast, brightness in zip(*drift, strict=True)
        ]
    )


def _smooth_walk(n_steps: int, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth curve through a few random points, ``(n_steps,)``."""
    n_points = 4
    points = rng.normal(0, deviation, n_points)
    moments = np.linspace(0, n_points - 1, n_steps)
    return np.interp(moments, np.arange(n_points), points)
