"""Draws simple shaded faces whose mouth, eyes and brows show an emotion, for the demonstration and the tests.

An emotion is a handful of numbers, chosen after the action units that Ekman & Friesen's Facial Action Coding System
(1978) names for it. Everything is drawn from a seed.
"""

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.datasets.synthetic.heads import Head, Pen, compute_head, draw_head, ellipse, shade
from emotion.labels import EIGHT_EMOTIONS, canonical_emotion


@dataclass(frozen=True)
class Expression:
    """What a face does, each number 0 at rest and about 1 (or -1) at its strongest.

    Attributes:
        smile: corners of the mouth up; negative is down.
        open: jaw dropped.
        wide: mouth stretched sideways; negative is rounded.
        teeth: upper teeth shown.
        brow_raise: brows up; negative is down.
        brow_slant: inner ends up (grief, fear); negative is drawn down and together (anger).
        eye_open: lids torn open; negative is narrowed.
        sneer: upper lip and one nostril raised, nose wrinkled.
        nod: head bowed; negative is thrown back.
    """

    smile: float = 0.0
    open: float = 0.0
    wide: float = 0.0
    teeth: float = 0.0
    brow_raise: float = 0.0
    brow_slant: float = 0.0
    eye_open: float = 0.0
    sneer: float = 0.0
    nod: float = 0.0


PEAKS = {
    "neutral": Expression(),
    "calm": Expression(smile=0.5, eye_open=-0.65, brow_raise=0.15),
    "happy": Expression(smile=1.0, open=0.35, wide=0.8, teeth=1.0, brow_raise=0.2, eye_open=-0.25),
    "sad": Expression(smile=-0.9, wide=-0.2, brow_slant=1.0, brow_raise=0.1, eye_open=-0.5, nod=0.8),
    "angry": Expression(smile=-0.5, open=0.25, wide=0.3, teeth=0.9, brow_raise=-0.8, brow_slant=-1.0, eye_open=-0.1),
    "fearful": Expression(smile=-0.35, open=0.4, wide=0.7, brow_raise=0.7, brow_slant=0.9, eye_open=0.8, nod=-0.3),
    "disgust": Expression(smile=-0.6, open=0.1, wide=-0.1, brow_raise=-0.6, brow_slant=-0.3, eye_open=-0.6, sneer=1.0),
    "surprised": Expression(open=1.0, wide=-0.6, brow_raise=1.0, eye_open=1.0, nod=-0.4),
}


def compute_expression(emotion: str, strength: float = 1.0, *, mouth: float = 0.0, blink: float = 0.0) -> Expression:
    """Returns the face of an emotion, one of ``EIGHT_EMOTIONS`` or a synonym.

    Args:
        strength: 0 for a face at rest, 1 for the peak of the emotion.
        mouth: how far speech opens the mouth, 0 to 1.
        blink: 0 for open eyes, 1 for closed ones.
    """
    peak = PEAKS[canonical_emotion(emotion)]
    face = {name: strength * value for name, value in dataclasses.asdict(peak).items()}
    face["open"] = min(1.1, face["open"] + 0.4 * mouth)
    face["eye_open"] = face["eye_open"] * (1 - blink) - 1.6 * blink
    return Expression(**face)


def draw_face(
    emotion: str,
    *,
    speaker_seed: int,
    strength: float = 1.0,
    mouth: float = 0.0,
    phase: float = 0.0,
    blink: float = 0.0,
    size: int = 240,
    seed: int = 0,
) -> np.ndarray:
    """Draws one picture of a speaker.

    Args:
        emotion, strength, mouth, blink: as for ``compute_expression``.
        speaker_seed: which speaker; odd is a man, even a woman.
        phase: of the head's sway, in radians.
        size: side of the picture in pixels.
        seed: varies place, size and light of the head and the character of the expression from clip to clip.

    Returns:
        RGB picture, uint8, shape (size, size, 3).
    """
    head = compute_head(speaker_seed)
    rng = np.random.default_rng([seed, speaker_seed, EIGHT_EMOTIONS.index(canonical_emotion(emotion)), 103])
    shift_x, shift_y, zoom, light, wobble, tilt = rng.uniform(-1, 1, 6)
    expression = compute_expression(emotion, strength * (1 + 0.12 * wobble), mouth=mouth, blink=blink)

    canvas_size = 2 * round(size / 2)
    skull, alpha, backdrop = draw_head(head, canvas_size)
    face = skull.copy()
    pen = Pen(face, canvas_size)
    _draw_folds(pen, head, expression)
    _draw_eyes(pen, head, expression)
    _draw_brows(pen, head, expression)
    _draw_mouth(pen, head, expression)

    degrees = 3.0 * np.sin(phase) + 2.0 * tilt
    scale = 1.0 + 0.05 * zoom + 0.015 * np.sin(0.7 * phase)
    motion = cv2.getRotationMatrix2D((canvas_size / 2, canvas_size / 2), degrees, scale)
    motion[:, 2] += size * np.array(
        [0.03 * shift_x + 0.018 * np.sin(phase), 0.02 * shift_y + 0.01 * np.cos(1.3 * phase) + 0.022 * expression.nod]
    )
    face = cv2.warpAffine(face, motion, (size, size), flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(alpha, motion, (size, size), flags=cv2.INTER_LINEAR)[..., None]
    picture = backdrop[:size, :size] * (1 - alpha) + face * alpha
    return np.clip(picture * (1 + 0.08 * light), 0, 255).astype(np.uint8)


def _draw_folds(pen: Pen, head: Head, face: Expression) -> None:
    """Folds from nose to mouth, wrinkles of the nose, and the furrow between drawn-down brows."""
    dark = shade(head.skin, 0.55)
    depth = np.clip(0.15 + 0.5 * abs(face.smile) + 0.6 * face.sneer, 0, 1)
    spread = 0.06 * face.wide + 0.04 * face.smile
    for side in (-1, 1):
        along = np.linspace(0, 1, 12)
        x = side * (0.17 + (0.17 + spread) * along + 0.05 * np.sin(np.pi * along))
        y = head.nose_y - 0.03 - 0.05 * face.sneer + (0.24 - 0.05 * face.smile) * along
        pen.stroke(np.stack([x, y], 1), 0.035, dark, opacity=0.55 * depth, blur=0.018)
        for i in range(3):
            wrinkle = np.array([[0.01, -0.015], [0.06, 0.0], [0.11, 0.035]]) * [side, 1] + [0, -0.12 + 0.06 * i]
            pen.stroke(wrinkle, 0.024, dark, opacity=0.7 * max(face.sneer, 0), blur=0.014)
        furrow = np.array([[0.045, -0.40], [0.035, -0.33], [0.05, -0.26]]) * [side, 1]
        pen.stroke(furrow, 0.025, dark, opacity=0.8 * max(-face.brow_slant, 0), blur=0.012)
    for i in range(2):
        crease = np.stack([np.linspace(-0.4, 0.4, 12), -0.62 + 0.07 * i - 0.02 * np.cos(np.linspace(-2, 2, 12))], 1)
        pen.stroke(crease, 0.02, dark, opacity=0.5 * max(face.brow_raise, 0), blur=0.014)


def _draw_eyes(pen: Pen, head: Head, face: Expression) -> None:
    skin, half = head.skin, head.eye_width
    opening = np.clip(1 + 0.55 * face.eye_open, 0.06, 1.7)
    across = np.linspace(-1, 1, 20)
    arch = np.clip(1 - across**2, 0, None) ** 0.7
    for side in (-1, 1):
        centre = np.array([side * head.eye_x, head.eye_y])
        # Grief lifts the inner end of the upper lid, anger lowers it.
        slant = 0.035 * face.brow_slant * -side * across
        upper = np.stack([across * half, -0.085 * opening * arch - slant * arch], 1) + centre
        lower = np.stack([across * half, 0.050 * min(opening, 1.25) * arch], 1) + centre
        almond = np.concatenate([upper, lower[::-1]])
        pen.fill(almond, (238, 234, 230), blur=0.008)
        middle = centre + np.array([0.0, -0.012])
        pen.fill(ellipse(*middle, 0.079, 0.079), head.iris, blur=0.008, inside=almond)
        pen.fill(ellipse(*middle, 0.040, 0.040), (14, 12, 12), blur=0.006, inside=almond)
        pen.fill(ellipse(middle[0] - 0.025, middle[1] - 0.03, 0.016, 0.016), (250, 250, 250), blur=0.006, inside=almond)
        pen.fill(
            np.concatenate([upper, (upper + np.array([0, 0.04]))[::-1]]),
            (40, 30, 30),
            opacity=0.4,
            blur=0.015,
            inside=almond,
        )
        lash = 0.020 + 0.018 * arch
        pen.stroke(upper, lash, shade(head.hair, 0.5), opacity=0.95, blur=0.008)
        pen.stroke(lower, 0.014, shade(skin, 0.45), opacity=0.6, blur=0.010)
        pen.stroke(upper + np.array([0, -0.05]), 0.016, shade(skin, 0.5), opacity=0.6, blur=0.014)
        pouch = np.stack([across * half * 0.9, 0.10 + 0.03 * arch - 0.03 * max(face.smile, 0)], 1) + centre
        pen.stroke(pouch, 0.02, shade(skin, 0.6), opacity=0.25 + 0.35 * max(face.smile, 0), blur=0.02)


def _draw_brows(pen: Pen, head: Head, face: Expression) -> None:
    along = np.linspace(0, 1, 16)  # from the inner end to the outer one
    raise_by = -0.13 * face.brow_raise if face.brow_raise > 0 else -0.09 * face.brow_raise
    inner = -0.11 * face.brow_slant if face.brow_slant > 0 else -0.10 * face.brow_slant
    x = 0.115 + 0.025 * min(face.brow_slant, 0) + along * (head.eye_x + head.eye_width - 0.07)
    arch = 0.055 + 0.03 * max(face.brow_raise, 0) - 0.03 * abs(face.brow_slant)
    y = head.brow_y + raise_by + inner * (1 - along) ** 1.3 - 0.45 * inner * along - arch * np.sin(np.pi * along**1.3)
    thickness = head.brow_thickness * 2 * (0.55 + 0.45 * np.sin(np.pi * (0.25 + 0.7 * along))) * (1 - 0.5 * along**3)
    for side in (-1, 1):
        line = np.stack([side * x, y], 1)
        pen.stroke(line, thickness, shade(head.hair, 0.75), opacity=0.9, blur=0.012)


def _draw_mouth(pen: Pen, head: Head, face: Expression) -> None:
    half = head.mouth_width * (1 + 0.30 * face.wide)
    across = np.linspace(-1, 1, 28)
    bow = 1 - across**2
    drop = 0.30 * max(face.open, 0)
    corner = -0.13 * face.smile
    # Corners are pulled up or down; the middle of the lips moves a little the other way.
    seam = corner * (across**2 - 0.35)
    lift = 0.07 * face.sneer * np.exp(-(((across - 0.45) / 0.45) ** 2)) + 0.03 * face.teeth * bow
    thick = head.lip_thickness * (1 - 0.35 * max(face.teeth, 0) * (face.smile < 0))
    cupid = 0.25 * np.exp(-((across / 0.16) ** 2))
    inner_up = seam - 0.18 * drop * bow**0.5 - lift
    inner_low = seam + 0.85 * drop * bow**0.5 + 0.012 * face.teeth * bow
    outer_up = inner_up - thick * bow**0.6 * (1.0 - cupid)
    outer_low = inner_low + 1.25 * thick * bow**0.6

    def curve(y: np.ndarray) -> np.ndarray:
        return np.stack([across * half, head.mouth_y + y], 1)

    def between(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        return np.concatenate([curve(top), curve(bottom)[::-1]])

    pen.fill(between(outer_up - 0.02, outer_low + 0.03), shade(head.skin, 0.78), opacity=0.5, blur=0.03)
    hollow = between(inner_up, inner_low)
    pen.fill(between(outer_up, inner_up + 0.006), shade(head.lips, 0.86), blur=0.011)
    pen.fill(between(inner_low - 0.006, outer_low), head.lips, blur=0.011)
    pen.fill(between(inner_low + 0.3 * thick, inner_low + 0.7 * thick), shade(head.lips, 1.25), opacity=0.5, blur=0.015)
    pen.fill(hollow, (62, 22, 24), blur=0.008)
    pen.fill(
        between(inner_low - 0.35 * drop * bow**0.5, inner_low), (150, 72, 76), opacity=0.7, blur=0.02, inside=hollow
    )
    shown = 0.35 * min(1.0, face.open * 2) + 0.65 * max(face.teeth, 0)
    bite = between(inner_up, inner_up + 0.085 * bow**0.3)
    pen.fill(bite, (236, 230, 220), opacity=np.clip(shown, 0, 1), blur=0.008, inside=hollow)
    pen.stroke(
        curve(0.5 * (inner_up + inner_low)), 0.018, (60, 24, 26), opacity=0.8 if drop < 0.02 else 0.0, blur=0.008
    )
    for side in (-1, 1):
        corner_spot = ellipse(side * half, head.mouth_y + seam[0], 0.022, 0.02)
        pen.fill(corner_spot, shade(head.skin, 0.4), opacity=0.7, blur=0.014)
