"""Sets photographs in motion, for training: they stand in for videos of labelled faces, which are not open to all.

A head never keeps quite still, a mouth that speaks takes many shapes, and an expression comes and goes.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from emotion.inputs.faces.augmentation import FrameVariation, draw_frame_variation, vary_image
from emotion.inputs.faces.crops import TEMPLATE

# An ellipse around the mouth, in parts of a crop's side: half as wide again as the mouth, from the nose to the chin.
MOUTH_CENTRE = tuple(TEMPLATE[3:].mean(axis=0))
MOUTH_RADII = (0.24, 0.155)
MOUTH_EDGE = 0.03  # deviation of the blur that hides where one face ends and the other begins
N_POINTS = 4
# Deviations of what drifts: degrees, logarithm of the size, parts of the side to the right and down, logarithm of the
# contrast, grey levels.
DRIFTS = (2.0, 0.02, 0.012, 0.012, 0.03, 3.0)
SHORTEST_STRETCH, LONGEST_STRETCH = 0.2, 0.7


def animate_still(image: np.ndarray, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Turns a picture ``(height, width[, 3])`` uint8 into a clip of a head that never keeps quite still."""
    return move_head([image] * n_frames, rng)


def move_head(frames: Sequence[np.ndarray], rng: np.random.Generator, size: int | None = None) -> np.ndarray:
    """Varies all frames of a clip alike, and lets place, size and light drift slowly over them.

    Args:
        frames: ``n_frames`` times ``(height, width[, 3])`` uint8.
        size: side of the result in pixels; None keeps that of the frames.
    """
    n_frames = len(frames)
    base = draw_frame_variation(rng)
    drift = [_smooth_walk(n_frames, deviation, rng) for deviation in DRIFTS]
    return np.stack(
        [
            vary_image(
                frame,
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
                size,
            )
            for frame, angle, zoom, x, y, contrast, brightness in zip(frames, *drift, strict=True)
        ]
    )


def move_mouth(image: np.ndarray, others: Sequence[np.ndarray], n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Gives an aligned face ``(size, size)`` uint8 the mouths of other faces for some frames, as if it spoke.

    Eyes and brows stay its own, and so does the mouth between the syllables: a network must read the expression there.
    """
    size = image.shape[0]
    mask = np.zeros((size, size), np.float32)
    centre, radii = (tuple(round(x * size) for x in pair) for pair in (MOUTH_CENTRE, MOUTH_RADII))
    cv2.ellipse(mask, centre, radii, 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), MOUTH_EDGE * size)
    own = image.astype(np.float32)
    mean, deviation = _level(own, mask)
    mouths = [own]
    for other in others:
        lent = other.astype(np.float32)
        lent_mean, lent_deviation = _level(lent, mask)
        # Skin and light differ from face to face; the seam must not tell.
        lent = (lent - lent_mean) * (deviation / max(lent_deviation, 1.0)) + mean
        mouths.append(own + mask * (lent - own))
    # Frames lie a seventh of a second apart: a mouth has another shape in each of them.
    shapes = rng.integers(0, len(mouths), size=n_frames)
    shares = rng.uniform(0.4, 1.0, size=n_frames)
    frames = [own + share * (mouths[shape] - own) for shape, share in zip(shapes, shares, strict=True)]
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def interrupt(clip: np.ndarray, rest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fades a clip ``(n_frames, height, width)`` uint8 to another one for a while, and back if there is time."""
    n_frames = len(clip)
    length = rng.uniform(SHORTEST_STRETCH, LONGEST_STRETCH) * n_frames
    middle = rng.uniform(0, n_frames)
    fade = rng.uniform(0.5, 3.0)  # frames
    distance = np.abs(np.arange(n_frames) - middle)
    share = np.clip((length / 2 - distance) / fade + 0.5, 0, 1)[:, None, None]
    return np.rint(clip * (1 - share) + rest * share).astype(np.uint8)


def _level(image: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the grey levels under a mask."""
    mean = float((image * mask).sum() / mask.sum())
    return mean, float(np.sqrt((np.square(image - mean) * mask).sum() / mask.sum()))


def _smooth_walk(n_steps: int, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth curve through a few random points, ``(n_steps,)``."""
    points = rng.normal(0, deviation, N_POINTS)
    moments = np.linspace(0, N_POINTS - 1, n_steps)
    return np.interp(moments, np.arange(N_POINTS), points)
