"""Stills brought to life: they move all the time, never jump, and keep their eyes and brows."""

import numpy as np
import pytest
from pictures import SIDE, find_dot, make_dot

from emotion.datasets.synthetic.faces import draw_face
from emotion.training.recipes.animation import MOUTH_CENTRE, animate_still, interrupt, move_mouth


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return draw_face("happy", speaker_seed=2, size=SIDE)


@pytest.mark.parametrize("n_frames", [20, 1])
@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 3)])
def test_a_still_becomes_a_clip(face, shape, n_frames):
    image = face.reshape(*shape) if len(shape) == 3 else face[..., 0].copy()
    clip = animate_still(image, n_frames, np.random.default_rng(0))
    assert clip.shape == (n_frames, *shape) and clip.dtype == np.uint8
    np.testing.assert_array_equal(clip, animate_still(image, n_frames, np.random.default_rng(0)))


def test_a_still_brought_to_life_moves_all_the_time_and_never_jumps():
    image = make_dot(32, 24)
    for seed in range(5):
        clip = animate_still(image, 20, np.random.default_rng(seed))
        places = np.array([find_dot(frame) for frame in clip])
        steps = np.hypot(*np.diff(places, axis=0).T)
        assert 0 < steps.max() < 2.0
        assert np.ptp(places, axis=0).max() > 0.1


def test_a_moving_mouth_takes_other_shapes_and_leaves_eyes_and_brows_alone():
    rng = np.random.default_rng(0)
    size = 112
    own, *others = (np.clip(rng.normal(128, 40, (size, size)), 0, 255).astype(np.uint8) for _ in range(3))
    clip = move_mouth(own, others, 20, np.random.default_rng(1))
    assert clip.shape == (20, size, size) and clip.dtype == np.uint8
    np.testing.assert_array_equal(clip, move_mouth(own, others, 20, np.random.default_rng(1)))
    upper = slice(0, round(0.5 * size))
    assert (clip[:, upper] == own[upper]).all()
    x, y = (round(centre * size) for centre in MOUTH_CENTRE)
    mouths = clip[:, y - 5 : y + 5, x - 8 : x + 8].reshape(20, -1)
    is_own = (mouths == own[y - 5 : y + 5, x - 8 : x + 8].ravel()).all(axis=1)
    assert 0 < is_own.sum() < 20


def test_a_lent_mouth_takes_on_the_light_of_the_face():
    rng = np.random.default_rng(0)
    dark = np.clip(rng.normal(60, 10, (112, 112)), 0, 255).astype(np.uint8)
    bright = np.clip(rng.normal(200, 30, (112, 112)), 0, 255).astype(np.uint8)
    clip = move_mouth(dark, [bright], 20, np.random.default_rng(1))
    x, y = (round(centre * 112) for centre in MOUTH_CENTRE)
    assert np.abs(clip[:, y - 8 : y + 8, x - 12 : x + 12].mean(axis=(1, 2)) - 60).max() < 6


def test_a_clip_fades_to_another_for_a_part_of_its_time():
    own, rest = np.full((20, 8, 8), 200, np.uint8), np.full((20, 8, 8), 50, np.uint8)
    shares = []
    for seed in range(200):
        clip = interrupt(own, rest, np.random.default_rng(seed))
        assert clip.shape == own.shape and clip.dtype == np.uint8
        levels = clip[:, 0, 0].astype(int)
        assert (np.abs(np.diff(np.sign(np.diff(levels[levels != 200])))) <= 2).all()
        shares.append((200 - levels.mean()) / 150)
    assert max(shares) < 0.8 and 0.1 < np.mean(shares) < 0.6
