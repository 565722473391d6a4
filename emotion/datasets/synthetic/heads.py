"""Draws the heads of made-up speakers: skin, hair and proportions, seeded, without eyes, brows and mouth.

``emotion.datasets.synthetic.faces`` adds those. Shapes are polygons with soft edges in units of half a face's height,
so that a head looks the same at every size; the shading is what makes face detectors take it for a face.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

# A head is drawn on a canvas of its own, in units of half the face's height; one unit is this share of the canvas.
_UNIT_SHARE = 0.34
_SUBPIXEL_BITS = 4

_SKIN_TONES = ((236, 196, 170), (224, 178, 146), (205, 156, 122), (176, 124, 92), (214, 172, 150), (150, 106, 80))
_HAIR_TONES = ((46, 34, 28), (88, 58, 36), (140, 100, 58), (28, 26, 28), (112, 66, 44), (96, 90, 88))


@dataclass(frozen=True)
class Head:
    """The looks of one speaker, lengths in units of half the face's height."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    iris: tuple[int, int, int]
    lips: tuple[int, int, int]
    shirt: tuple[int, int, int]
    background: tuple[int, int, int]
    width: float
    jaw: float
    eye_x: float
    eye_y: float
    eye_width: float
    brow_y: float
    brow_thickness: float
    nose_y: float
    mouth_y: float
    mouth_width: float
    lip_thickness: float
    hair_length: float


def compute_head(speaker_seed: int) -> Head:
    """Returns the looks of a speaker; odd seeds get a man's proportions, even ones a woman's, as in RAVDESS."""
    rng = np.random.default_rng([speaker_seed, 101])
    male = speaker_seed % 2 == 1
    skin = np.array(_SKIN_TONES[rng.integers(len(_SKIN_TONES))]) + rng.integers(-8, 9)
    redness = np.array([0.80, 0.52, 0.52]) if male else np.array([0.84, 0.42, 0.46])

    def colour(values) -> tuple[int, int, int]:
        return tuple(int(v) for v in np.clip(values, 0, 255))

    return Head(
        skin=colour(skin),
        hair=colour(np.array(_HAIR_TONES[rng.integers(len(_HAIR_TONES))])),
        iris=colour(np.array(((70, 46, 30), (66, 92, 110), (74, 88, 60))[rng.integers(3)])),
        lips=colour(skin * redness),
        shirt=colour(rng.integers(40, 170, 3)),
        background=colour(rng.integers(110, 195) + rng.integers(-15, 16, 3)),
        width=rng.uniform(0.72, 0.80) + (0.02 if male else 0.0),
        jaw=rng.uniform(0.80, 0.92) if male else rng.uniform(0.66, 0.78),
        eye_x=rng.uniform(0.295, 0.345),
        eye_y=rng.uniform(-0.14, -0.08),
        eye_width=rng.uniform(0.150, 0.175),
        brow_y=rng.uniform(-0.37, -0.33),
        brow_thickness=rng.uniform(0.045, 0.06) if male else rng.uniform(0.028, 0.040),
        nose_y=rng.uniform(0.24, 0.30),
        mouth_y=rng.uniform(0.53, 0.57),
        mouth_width=rng.uniform(0.25, 0.30),
        lip_thickness=rng.uniform(0.050, 0.062) if male else rng.uniform(0.065, 0.082),
        hair_length=rng.uniform(-0.25, 0.05) if male else rng.uniform(0.5, 1.1),
    )


class Pen:
    """Paints soft-edged shapes, given in head units, onto a float32 picture of shape (n, n, 3)."""

    def __init__(self, picture: np.ndarray, size: int):
        self.picture = picture
        self.size = size
        self.unit = _UNIT_SHARE * size

    def fill(self, points: np.ndarray, colour, *, opacity: float = 1.0, blur: float = 0.012, inside=None) -> None:
        """Fills a polygon, shape (n_points, 2), with edges ``blur`` units soft, only within the polygon ``inside``."""
        if opacity <= 0.01:
            return
        pixels = np.asarray(points) * self.unit + self.size / 2
        margin = 3 * blur * self.unit + 2
        x1, y1 = np.clip(np.floor(pixels.min(0) - margin), 0, self.size - 1).astype(int)
        x2, y2 = np.clip(np.ceil(pixels.max(0) + margin) + 1, 1, self.size).astype(int)
        if x2 <= x1 or y2 <= y1:
            return
        corner = np.array([x1, y1])
        mask = self._mask(pixels - corner, (y2 - y1, x2 - x1), blur)
        if inside is not None:
            limit = np.asarray(inside) * self.unit + self.size / 2
            mask = mask * self._mask(limit - corner, mask.shape, 0.008)
        mask = (opacity * mask)[..., None]
        region = self.picture[y1:y2, x1:x2]
        region += mask * (np.array(colour, np.float32) - region)

    def _mask(self, pixels: np.ndarray, shape: tuple[int, int], blur: float) -> np.ndarray:
        mask = np.zeros(shape, np.uint8)
        fixed = np.round(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        mask = mask.astype(np.float32) / 255
        sigma = blur * self.unit
        return cv2.GaussianBlur(mask, (0, 0), sigma) if sigma > 0.3 else mask

    def stroke(self, line: np.ndarray, thickness, colour, *, opacity: float = 1.0, blur: float = 0.012) -> None:
        """Paints along a line, shape (n_points, 2), with a thickness in units for each of its points."""
        direction = np.gradient(line, axis=0)
        normal = np.stack([-direction[:, 1], direction[:, 0]], 1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        half = 0.5 * np.broadcast_to(thickness, len(line))[:, None] * normal
        self.fill(np.concatenate([line + half, (line - half)[::-1]]), colour, opacity=opacity, blur=blur)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Returns the outline of an ellipse, shape (40, 2), in head units."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], 1)


def shade(colour, factor: float) -> np.ndarray:
    """Returns a darker (factor below 1) or lighter colour, shape (3,)."""
    return np.clip(np.array(colour, np.float32) * factor, 0, 255)


def _outline(head: Head, grow: float = 0.0) -> np.ndarray:
    """The face's outline: an egg whose lower half is drawn out to the jaw."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    x, y = np.sin(angle), -np.cos(angle)
    # A higher power squares the cheeks; the jaw number tells how much of the width is left near the chin.
    width = head.width * (1 - (1 - head.jaw) * np.clip(y, 0, 1) ** 1.5)
    x = np.sign(x) * np.abs(x) ** 0.86 * width
    return np.stack([x, y], 1) * (1 + grow)


@functools.lru_cache(maxsize=32)
def draw_head(head: Head, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws what does not move: the bare head (n, n, 3), its opacity (n, n), what is behind it (n, n, 3)."""
    backdrop = np.empty((size, size, 3), np.float32)
    backdrop[:] = head.background
    backdrop *= np.linspace(1.08, 0.85, size, dtype=np.float32)[:, None, None]
    behind = Pen(backdrop, size)
    behind.fill(ellipse(0, 2.05, 1.45, 0.95), head.shirt, blur=0.02)
    behind.fill(ellipse(0, 1.65, 1.1, 0.5), shade(head.shirt, 1.2), opacity=0.5, blur=0.15)

    skull = np.empty((size, size, 3), np.float32)
    skull[:] = head.hair
    mask = np.zeros((size, size, 3), np.float32)
    pen, cover = Pen(skull, size), Pen(mask, size)
    skin, hair = head.skin, head.hair
    one = (1.0, 1.0, 1.0)

    # Neck and hair are behind the face.
    neck = np.array([[-0.40, 0.5], [0.40, 0.5], [0.44, 1.25], [0.2, 1.4], [-0.2, 1.4], [-0.44, 1.25]])
    cover.fill(neck, one, blur=0.015)
    length = max(head.hair_length, -0.1)
    mop = np.concatenate([
        ellipse(0, -0.20, head.width * 1.16, 0.98),
        ellipse(0, -0.20 + 0.5 * (length + 0.2), head.width * 1.17, 0.55 + 0.5 * max(length, 0)),
    ])  # fmt: skip
    mop = cv2.convexHull(mop.astype(np.float32))[:, 0]
    cover.fill(mop, one, blur=0.02)
    pen.fill(neck, shade(skin, 0.72), blur=0.02)
    pen.fill(ellipse(0, 0.98, 0.55, 0.22), shade(skin, 0.5), opacity=0.6, blur=0.08)
    for side in (-1, 1):
        cover.fill(ellipse(side * head.width * 1.0, 0.02, 0.08, 0.2), one, blur=0.015)
        if length < 0.3:
            pen.fill(ellipse(side * head.width * 1.0, 0.02, 0.08, 0.2), shade(skin, 0.84), blur=0.015)
    cover.fill(_outline(head), one, blur=0.015)

    # The face: light from above left, darker towards the edges.
    face = _outline(head)
    pen.fill(face, shade(skin, 0.80), blur=0.02)
    pen.fill(_outline(head, -0.16), skin, blur=0.13)
    pen.fill(ellipse(-0.1, -0.52, 0.42, 0.22), shade(skin, 1.10), opacity=0.7, blur=0.12)
    pen.fill(ellipse(0.58, 0.3, 0.2, 0.6), shade(skin, 0.72), opacity=0.45, blur=0.14, inside=face)
    for side in (-1, 1):
        pen.fill(ellipse(side * 0.42, 0.2, 0.2, 0.14), shade(skin, 1.1), opacity=0.6, blur=0.08)
        pen.fill(ellipse(side * 0.42, 0.30, 0.2, 0.14), shade(head.lips, 1.1), opacity=0.16, blur=0.09)
        pen.fill(ellipse(side * head.eye_x, head.eye_y - 0.05, 0.22, 0.13), shade(skin, 0.74), opacity=0.55, blur=0.05)
    pen.fill(ellipse(0, 0.80, 0.16, 0.1), shade(skin, 1.08), opacity=0.6, blur=0.06)
    pen.fill(ellipse(0, head.mouth_y + 0.17, 0.2, 0.03), shade(skin, 0.72), opacity=0.55, blur=0.035)

    # Fringe: hair over the upper edge of the forehead.
    parting = 0.25 if head.hair_length < 0.3 else -0.3
    line = np.linspace(-1, 1, 30)
    fringe = np.stack([line * head.width * 1.08, -0.60 - 0.13 * np.cos(2.2 * (line - parting)) + 0.30 * line**4], 1)
    crown = np.array([[head.width * 1.3, -1.3], [-head.width * 1.3, -1.3]])
    pen.fill(np.concatenate([fringe, crown]), hair, blur=0.03)
    pen.fill(ellipse(-0.25, -0.92, 0.35, 0.1), shade(hair, 1.5), opacity=0.45, blur=0.08)
    _draw_nose(pen, head)
    return skull, np.clip(mask[..., 0], 0, 1), backdrop


def _draw_nose(pen: Pen, head: Head) -> None:
    skin, tip = head.skin, head.nose_y
    bridge = np.array([[-0.05, -0.15], [0.05, -0.15], [0.075, tip - 0.04], [-0.075, tip - 0.04]])
    pen.fill(bridge, shade(skin, 1.12), opacity=0.6, blur=0.035)
    side = np.array([[0.07, -0.2], [0.11, -0.16], [0.16, tip], [0.08, tip - 0.02]])
    pen.fill(side, shade(skin, 0.68), opacity=0.5, blur=0.03)
    pen.fill(side * [-1, 1], shade(skin, 0.76), opacity=0.35, blur=0.03)
    pen.fill(ellipse(0, tip + 0.055, 0.15, 0.03), shade(skin, 0.55), opacity=0.6, blur=0.025)
    pen.fill(ellipse(0, tip - 0.02, 0.08, 0.07), shade(skin, 1.12), opacity=0.6, blur=0.03)
    for wing in (-1, 1):
        pen.fill(ellipse(wing * 0.115, tip, 0.05, 0.055), shade(skin, 0.93), opacity=0.6, blur=0.02)
        pen.fill(ellipse(wing * 0.065, tip + 0.045, 0.035, 0.018), shade(skin, 0.25), opacity=0.85, blur=0.012)
