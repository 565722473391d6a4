"""Varied faces: the same draw for a whole clip, motion that does not flicker, and pictures of the same shape."""

import dataclasses
import random

import numpy as np
import pytest

from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.augmentation import FrameVariation, draw_variation, vary_clip, vary_image

SIZE = 64
NOTHING = FrameVariation(
    flip=False, angle_degrees=0, zoom=1, shift_x=0, shift_y=0, contrast=1, brightness=0, blur_pixels=0
)


def but(**changes) -> FrameVariation:
    return dataclasses.replace(NOTHING, **changes)


def make_dot(x: int, y: int) -> np.ndarray:
    """A soft white dot on black."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)


def find_dot(image: np.ndarray) -> tuple[float, float]:
    weight = image.astype(float).mean(axis=2)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return draw_face("happy", speaker_seed=2, size=SIZE)


# ---- What each change does ----


def test_no_change_leaves_the_picture_as_it_is(face):
    np.testing.assert_array_equal(vary_image(face, NOTHING), face)


def test_a_flip_is_a_mirror(face):
    np.testing.assert_array_equal(vary_image(face, but(flip=True)), face[:, ::-1])


def test_a_shift_moves_to_the_right_and_down_by_parts_of_the_side():
    x, y = find_dot(vary_image(make_dot(30, 20), but(shift_x=0.125, shift_y=0.25)))
    assert (x, y) == (pytest.approx(38, abs=0.1), pytest.approx(36, abs=0.1))


def test_a_zoom_leaves_the_middle_and_moves_the_rest_away_from_it():
    x, y = find_dot(vary_image(make_dot(42, 32), but(zoom=1.5)))
    assert (x, y) == (pytest.approx(31.5 + 1.5 * 10.5, abs=0.2), pytest.approx(31.5 + 1.5 * 0.5, abs=0.2))


def test_a_turn_goes_about_the_middle():
    x, y = find_dot(vary_image(make_dot(47, 32), but(angle_degrees=90)))
    # Counter-clockwise: from the right of the middle to above it.
    assert (x, y) == (pytest.approx(32, abs=0.6), pytest.approx(16, abs=0.6))


def test_light_and_contrast_change_grey_levels_about_the_middle_grey():
    for level, expected in ((128, 138), (100, 96), (200, 246), (255, 255), (0, 0)):
        image = np.full((SIZE, SIZE, 3), level, np.uint8)
        np.testing.assert_array_equal(vary_image(image, but(contrast=1.5, brightness=10)), expected)


def test_a_blur_softens_and_keeps_the_light(face):
    blurred = vary_image(face, but(blur_pixels=2.0)).astype(float)
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.7 * np.abs(np.diff(face.astype(float), axis=0)).mean()
    assert blurred.mean() == pytest.approx(face.mean(), abs=1)


def test_what_comes_in_from_outside_repeats_the_edge():
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    np.testing.assert_array_equal(vary_image(image, but(zoom=0.7, angle_degrees=20, shift_x=0.2)), 90)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3), (112, 112, 3)])
def test_shape_and_type_stay(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    varied = vary_image(image, draw_variation(np.random.default_rng(1)))
    assert varied.shape == shape and varied.dtype == np.uint8


# ---- Clips ----


def test_every_frame_of_a_clip_is_varied_alike(face):
    varied = vary_clip(np.stack([face] * 5), np.random.default_rng(4))
    assert varied.shape == (5, SIZE, SIZE, 3) and varied.dtype == np.uint8
    assert not np.array_equal(varied[0], face)
    for frame in varied[1:]:
        np.testing.assert_array_equal(frame, varied[0])


def test_the_same_draws_give_the_same_clip_whatever_the_global_random_state(face):
    clip = np.stack([face] * 2)
    before = random.getstate(), np.random.get_state()[1].copy()
    first = vary_clip(clip, np.random.default_rng(4))
    assert random.getstate() == before[0] and np.array_equal(np.random.get_state()[1], before[1])
    np.random.seed(0)
    np.testing.assert_array_equal(vary_clip(clip, np.random.default_rng(4)), first)
    assert not np.array_equal(vary_clip(clip, np.random.default_rng(5)), first)


def test_draws_stay_plausible_and_mirror_half_of_the_clips():
    draws = [draw_variation(np.random.default_rng(seed)) for seed in range(400)]
    assert draws == [draw_variation(np.random.default_rng(seed)) for seed in range(400)]
    assert 0.4 < np.mean([draw.flip for draw in draws]) < 0.6
    assert max(abs(draw.angle_degrees) for draw in draws) < 30
    assert all(0.7 < draw.zoom < 1.4 for draw in draws)
    assert all(abs(draw.shift_x) < 0.15 and abs(draw.shift_y) < 0.15 for draw in draws)
