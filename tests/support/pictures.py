"""Pictures whose every change can be measured: noise, and a dot that can be found again."""

import numpy as np

SIDE = 64


def make_noise(height: int = 240, width: int = 240) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_dot(x: int, y: int) -> np.ndarray:
    """A soft white dot on black, in a picture of ``SIDE`` pixels each way."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)


def find_dot(image: np.ndarray) -> tuple[float, float]:
    weight = image.astype(float).mean(axis=2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())
