"""Faces are cut out upright, at one place and one size."""

import cv2
import numpy as np
import pytest
from pictures import make_noise

from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.crops import STRETCHES, TEMPLATE, compute_crop_transform, crop_face, crop_frame
from emotion.inputs.faces.detection import YuNetDetector

CROP = 112


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector()


def draw_dots(points: np.ndarray, height: int = 480, width: int = 640) -> np.ndarray:
    """A black picture with a round white dot at each point."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.min([np.hypot(columns - x, rows - y) for x, y in points], axis=0)
    dots = np.clip(6.0 - distance, 0, 1)
    return np.repeat((255 * dots).astype(np.uint8)[..., None], 3, axis=2)


def find_dots(crop: np.ndarray) -> np.ndarray:
    _, _, _, centres = cv2.connectedComponentsWithStats((crop[..., 0] > 127).astype(np.uint8))
    return centres[1:]


@pytest.mark.parametrize("degrees", [0, 25, -60, 180])
@pytest.mark.parametrize(("side", "size"), [(150, 112), (150, 224), (300, 64)])
def test_landmarks_land_on_the_template_however_a_face_is_turned_sized_and_placed(degrees, side, size):
    turn = np.exp(1j * np.deg2rad(degrees))
    points = side * ((TEMPLATE - TEMPLATE.mean(axis=0)) @ (1, 1j)) * turn + (330 + 220j)
    points = np.stack([points.real, points.imag], 1)
    found = find_dots(crop_face(draw_dots(points), points, size))
    assert len(found) == 5
    for expected in TEMPLATE * size:
        assert np.hypot(*(found - expected).T).min() < 0.8


def test_a_crop_never_shears_or_mirrors():
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = compute_crop_transform(rng.uniform(0, 400, (5, 2)), CROP)[:, :2]
        assert np.linalg.det(matrix) > 0
        np.testing.assert_allclose(matrix @ matrix.T, np.linalg.det(matrix) * np.eye(2), atol=1e-9)


def test_no_similarity_lies_closer_to_the_template():
    rng = np.random.default_rng(1)
    landmarks = TEMPLATE * 90 + rng.normal(0, 6, (5, 2)) + 50
    matrix = compute_crop_transform(landmarks, CROP)

    def error(a: np.ndarray) -> float:
        return float(np.sum((landmarks @ a[:, :2].T + a[:, 2] - TEMPLATE * CROP) ** 2))

    for _ in range(200):
        scale, shear, dx, dy = rng.normal(0, 1e-3, 4)
        nudge = np.array([[1 + scale, -shear], [shear, 1 + scale]])
        other = np.hstack([nudge @ matrix[:, :2], (matrix[:, 2] + (dx, dy))[:, None]])
        assert error(matrix) <= error(other) + 1e-9


@pytest.mark.parametrize("degrees", [-20, 0, 20])
def test_the_eyes_of_a_tilted_face_stand_level_in_its_crop(detector, degrees):
    size = 480
    picture = draw_face("neutral", speaker_seed=2, size=size)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, 1.0)
    tilted = cv2.warpAffine(picture, turn, (size, size), borderMode=cv2.BORDER_REPLICATE)
    crop = crop_face(tilted, detector.detect(tilted)[0].landmarks, CROP)
    eyes = detector.detect(crop)[0].landmarks[:2]
    np.testing.assert_allclose(eyes, TEMPLATE[:2] * CROP, atol=5)
    assert abs(eyes[0, 1] - eyes[1, 1]) < 4


def test_crops_of_a_large_picture_and_of_a_smaller_copy_agree(detector):
    large = draw_face("happy", speaker_seed=4, size=1200)
    small = cv2.resize(large, (300, 300), interpolation=cv2.INTER_AREA)
    landmarks = detector.detect(large)[0].landmarks
    crops = [crop_face(large, landmarks, CROP), crop_face(small, (landmarks + 0.5) / 4 - 0.5, CROP)]
    difference = np.abs(crops[0].astype(int) - crops[1])
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) < 8


def test_a_large_face_is_shrunk_by_averaging_and_not_by_picking_pixels():
    noise = make_noise(1120, 1120)
    crop = crop_face(noise, TEMPLATE * 1120, CROP)
    # A hundred pixels make one: their spread, 74, falls tenfold.
    assert crop.std() < 12
    assert crop.mean() == pytest.approx(noise.mean(), abs=1)


@pytest.mark.parametrize("side", [100, 600])
@pytest.mark.parametrize("shift", [(-0.5, 0.0), (0.0, 0.6), (0.4, -0.5), (5.0, 5.0)])
def test_a_crop_that_reaches_beyond_the_picture_repeats_its_edge(side, shift):
    picture = np.full((side, side, 3), (200, 120, 60), np.uint8)
    crop = crop_face(picture, (TEMPLATE + shift) * side, CROP)
    assert crop.shape == (CROP, CROP, 3)
    np.testing.assert_array_equal(np.unique(crop.reshape(-1, 3), axis=0), [(200, 120, 60)])


def test_a_face_half_outside_keeps_its_place_in_the_crop():
    picture = draw_face("sad", speaker_seed=1, size=300)
    landmarks = TEMPLATE * 200 + 50
    whole = crop_face(picture, landmarks, CROP)
    half = crop_face(picture[:, 150:], landmarks - (150, 0), CROP)
    seen = slice(CROP // 2 + 2, None)
    difference = np.abs(whole[:, seen].astype(int) - half[:, seen])
    assert difference.mean() < 1


@pytest.mark.parametrize("side", [80, 400])
def test_grey_pictures_are_cropped_like_coloured_ones(side):
    grey = make_noise(side, side)[..., 0].copy()
    crop = crop_face(grey, TEMPLATE * side, CROP)
    assert crop.shape == (CROP, CROP) and crop.dtype == np.uint8
    np.testing.assert_array_equal(crop_face(np.dstack([grey] * 3), TEMPLATE * side, CROP)[..., 1], crop)


# ---- Stretched as a detector's box ----

BOX_TEMPLATE = np.array([[0.26, 0.3665], [0.728, 0.3665], [0.494, 0.5645], [0.2994, 0.7248], [0.6887, 0.7248]])


@pytest.mark.parametrize("degrees", [0, 25, -60])
@pytest.mark.parametrize(("side", "size"), [(150, 224), (300, 64)])
def test_a_stretched_crop_is_upright_first_and_then_fills_the_square(degrees, side, size):
    turn = np.exp(1j * np.deg2rad(degrees))
    points = side * ((TEMPLATE - TEMPLATE.mean(axis=0)) @ (1, 1j)) * turn + (330 + 220j)
    points = np.stack([points.real, points.imag], 1)
    found = find_dots(crop_face(draw_dots(points), points, size, "box"))
    assert len(found) == 5
    for expected in BOX_TEMPLATE * size:
        assert np.hypot(*(found - expected).T).min() < 0.9


def test_a_face_in_a_stretched_crop_is_as_wide_as_its_detectors_box(detector):
    picture = draw_face("neutral", speaker_seed=2, size=480)
    (face,) = detector.detect(picture)
    left, top, right, bottom = face.box
    boxed = cv2.resize(picture[top:bottom, left:right], (224, 224), interpolation=cv2.INTER_AREA)
    crops = {kind: crop_face(picture, face.landmarks, 224, kind).astype(int) for kind in STRETCHES}
    far, near = (np.abs(crops[kind] - boxed).mean() for kind in ("face", "box"))
    assert near < 0.7 * far


def test_a_stretched_crop_of_a_large_picture_is_averaged_and_agrees_with_that_of_a_smaller_copy(detector):
    noise = make_noise(1120, 1120)
    assert crop_face(noise, TEMPLATE * 1120, CROP, "box").std() < 12
    large = draw_face("happy", speaker_seed=4, size=1200)
    small = cv2.resize(large, (300, 300), interpolation=cv2.INTER_AREA)
    landmarks = detector.detect(large)[0].landmarks
    crops = [crop_face(large, landmarks, CROP, "box"), crop_face(small, (landmarks + 0.5) / 4 - 0.5, CROP, "box")]
    assert np.abs(crops[0].astype(int) - crops[1]).mean() < 1.0


# ---- Whole frames ----


@pytest.mark.parametrize(("height", "width"), [(40, 30), (480, 640), (50, 640), (112, 112)])
def test_a_whole_frame_is_squeezed_into_the_square_with_nothing_cut_off(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[height // 2 :, width // 2 :] = (0, 0, 255)
    crop = crop_frame(image, CROP)
    assert crop.shape == (CROP, CROP, 3) and crop.dtype == np.uint8
    near, far = slice(0, CROP // 2 - 4), slice(CROP // 2 + 4, None)
    np.testing.assert_allclose(crop[near, near], np.broadcast_to((255, 0, 0), crop[near, near].shape), atol=2)
    np.testing.assert_allclose(crop[far, far], np.broadcast_to((0, 0, 255), crop[far, far].shape), atol=2)
    assert crop[near, far].max() <= 2 and crop[far, near].max() <= 2


def test_a_large_frame_is_shrunk_by_averaging():
    assert crop_frame(make_noise(1120, 1120), CROP).std() < 12
