"""Varied faces: the same draw for a whole clip, motion that does not flicker, and pictures of the same shape."""

import dataclasses
import random

import numpy as np
import pytest
from pictures import SIDE, find_dot, make_dot

from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.augmentation import FrameVariation, draw_frame_variation, vary_clip, vary_image

NOTHING = FrameVariation(
    flip=False, angle_degrees=0, zoom=1, shift_x=0, shift_y=0, contrast=1, brightness=0, blur_pixels=0
)


def but(**changes) -> FrameVariation:
    return dataclasses.replace(NOTHING, **changes)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return draw_face("happy", speaker_seed=2, size=SIDE)


# ---- What each change does ----


def test_a_flip_is_a_mirror_and_no_change_leaves_the_picture_as_it_is(face):
    np.testing.assert_array_equal(vary_image(face, NOTHING), face)
    np.testing.assert_array_equal(vary_image(face, but(flip=True)), face[:, ::-1])


@pytest.mark.parametrize(
    ("change", "before", "after", "tolerance"),
    [
        pytest.param({"shift_x": 0.125, "shift_y": 0.25}, (30, 20), (38, 36), 0.1, id="a shift, by parts of the side"),
        pytest.param({"zoom": 1.5}, (42, 32), (47.25, 32.25), 0.2, id="a zoom, away from the middle"),
        # Counter-clockwise: from the right of the middle to above it.
        pytest.param({"angle_degrees": 90}, (47, 32), (32, 16), 0.6, id="a turn, about the middle"),
    ],
)
def test_a_change_of_place_moves_what_is_seen(change, before, after, tolerance):
    assert find_dot(vary_image(make_dot(*before), but(**change))) == pytest.approx(after, abs=tolerance)


def test_light_and_contrast_change_grey_levels_about_the_middle_grey():
    for level, expected in ((128, 138), (100, 96), (200, 246), (255, 255), (0, 0)):
        image = np.full((SIDE, SIDE, 3), level, np.uint8)
        np.testing.assert_array_equal(vary_image(image, but(contrast=1.5, brightness=10)), expected)


def test_a_blur_softens_and_keeps_the_light(face):
    blurred = vary_image(face, but(blur_pixels=2.0)).astype(float)
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.7 * np.abs(np.diff(face.astype(float), axis=0)).mean()
    assert blurred.mean() == pytest.approx(face.mean(), abs=1)


def test_what_comes_in_from_outside_repeats_the_edge():
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    np.testing.assert_array_equal(vary_image(image, but(zoom=0.7, angle_degrees=20, shift_x=0.2)), 90)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3), (112, 112, 3)])
def test_shape_and_type_stay(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    varied = vary_image(image, draw_frame_variation(np.random.default_rng(1)))
    assert varied.shape == shape and varied.dtype == np.uint8


# ---- Clips ----


def test_every_frame_of_a_clip_is_varied_alike(face):
    varied = vary_clip(np.stack([face] * 5), np.random.default_rng(4))
    assert varied.shape == (5, SIDE, SIDE, 3) and varied.dtype == np.uint8
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
    draws = [draw_frame_variation(np.random.default_rng(seed)) for seed in range(400)]
    assert draws == [draw_frame_variation(np.random.default_rng(seed)) for seed in range(400)]
    assert 0.4 < np.mean([draw.flip for draw in draws]) < 0.6
    assert max(abs(draw.angle_degrees) for draw in draws) < 30
    assert all(0.7 < draw.zoom < 1.4 for draw in draws)
    assert all(abs(draw.shift_x) < 0.15 and abs(draw.shift_y) < 0.15 for draw in draws)
