"""Face detectors are interchangeable, and a network that is not here says how to get it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from refusals import refused

from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import ConfigError
from emotion.inputs.faces import detectors
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector, find_yunet
from emotion.inputs.faces.detectors import DETECTORS, RetinaFaceDetector, build_detector
from emotion.settings import FACE_DETECTORS
from emotion.weights import WeightsError, find_weights


def write_network(path: Path, rows: np.ndarray) -> Path:
    """A network that answers every picture with the same rows, in RetinaFace's format."""
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        picture = tf.compat.v1.placeholder(tf.float32, (None, None, None, 3), name="x")
        nothing = 0.0 * tf.reduce_sum(picture)
        tf.identity(tf.constant(rows, tf.float32) + nothing, name="Identity")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_the_choices_are_those_that_can_be_built():
    assert tuple(DETECTORS) == FACE_DETECTORS
    with refused(ConfigError, "'eyes'", "yunet, retinaface, haar, none"):
        build_detector("eyes")


@pytest.mark.parametrize("name", ["yunet", "haar"])
def test_a_face_is_found_where_it_is_and_cut_out_upright(name):
    image = np.full((400, 600, 3), 110, np.uint8)
    image[100:340, 200:440] = draw_face("neutral", speaker_seed=1, size=240)
    (face,) = build_detector(name).detect(image)
    x1, y1, x2, y2 = face.box
    assert 200 <= x1 < x2 <= 440 and 100 <= y1 < y2 <= 340
    # The eyes of the crop are where those of all crops are.
    crop = crop_face(image, face.landmarks, 112)
    eyes = YuNetDetector().detect(crop)[0].landmarks[:2]
    np.testing.assert_allclose(eyes, [[35, 43], [77, 43]], atol=9)


@pytest.mark.parametrize("name", ["yunet", "haar"])
@pytest.mark.parametrize("shape", [(240, 320, 3), (1, 1, 3), (5, 900, 3)])
def test_nothing_is_found_where_there_is_nothing(name, shape):
    assert build_detector(name).detect(np.full(shape, 128, np.uint8)) == []


@pytest.mark.parametrize("shape", [(480, 640, 3), (200, 140, 3), (40, 900, 3), (900, 64, 3)])
def test_the_network_finds_what_opencv_finds_with_it(shape):
    image = cv2.resize(np.random.default_rng(1).integers(0, 256, (9, 13, 3), np.uint8), shape[1::-1])
    side = min(*shape[:2], 240)
    image[:side, :side] = draw_face("happy", speaker_seed=2, size=side)
    found = YuNetDetector(min_score=0.3, max_side=10_000).detect(image)
    # OpenCV's own runtime reads memory that nobody wrote where the coarsest map has but one row or column.
    height, width = (max(64, side) for side in shape[:2])
    scale = max(1.0, 192 / max(shape[:2]))
    shown = np.zeros((round(height * scale), round(width * scale), 3), np.uint8)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else image
    shown[: small.shape[0], : small.shape[1]] = small[..., ::-1]
    network = cv2.FaceDetectorYN.create(str(find_yunet()), "", shown.shape[1::-1], 0.3, 0.3, 5000)
    _, rows = network.detect(shown)
    expected = np.zeros((0, 15)) if rows is None else rows
    assert len(found) == len(expected)
    for face in found:
        distances = np.abs(expected[:, 4:14].reshape(-1, 5, 2) / scale - face.landmarks).max(axis=(1, 2))
        nearest = expected[int(distances.argmin())]
        assert distances.min() < 0.02 and abs(nearest[14] - face.score) < 1e-4


def test_haar_finds_faces_in_large_pictures_in_their_own_pixels():
    image = np.full((1440, 2560, 3), 110, np.uint8)
    image[300:1200, 800:1700] = draw_face("neutral", speaker_seed=1, size=900)
    face = build_detector("haar").detect(image)[0]
    assert face.box[0] >= 800 and face.box[2] <= 1700 and face.size[0] > 350


@pytest.mark.parametrize(("height", "width"), [(100, 100), (60, 140), (200, 90)])
def test_without_a_detector_the_middle_of_the_picture_is_the_face(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (face,) = build_detector("none").detect(image)
    side = min(height, width)
    assert face.size == (side, side)
    left, top = face.box[:2]
    assert abs(left - (width - side) / 2) <= 1 and abs(top - (height - side) / 2) <= 1
    # The crop that is made of it is that square.
    crop = crop_face(image, face.landmarks, side)
    difference = np.abs(crop.astype(int) - image[top : top + side, left : left + side])
    assert np.median(difference) <= 40


def test_retinafaces_rows_become_faces_in_pixels_of_the_picture(tmp_path, monkeypatch):
    # A picture of 100 x 50 is padded to 128 x 64; the rows are in parts of that.
    box = [20 / 128, 10 / 64, 60 / 128, 40 / 64]
    landmarks = np.array([[30, 20], [50, 20], [40, 28], [32, 35], [48, 35]])
    row = [*box, *(landmarks / (128, 64)).ravel(), 1.0, 0.9]
    faint = [*row[:-1], 0.3]
    outside = [1.5, 1.5, 1.9, 1.9, *row[4:]]
    path = write_network(tmp_path / "network.pb", np.array([faint, outside, row, [np.nan] * 16]))
    monkeypatch.setattr(detectors, "find_weights", lambda name: path)
    (face,) = RetinaFaceDetector().detect(np.zeros((50, 100, 3), np.uint8))
    assert face.box == (20, 10, 60, 40)
    np.testing.assert_allclose(face.landmarks, landmarks, atol=1e-3)
    assert face.score == pytest.approx(0.9)
    # A picture that has to be shrunk gives faces in its own pixels all the same.
    (large,) = RetinaFaceDetector(max_side=100).detect(np.zeros((500, 1000, 3), np.uint8))
    np.testing.assert_allclose(large.box, [200, 100, 600, 400], atol=2)


def test_the_program_needs_the_network_before_it_needs_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr(detectors, "find_weights", lambda name: find_weights(name, tmp_path))
    with refused(WeightsError, "-m emotion.weights retinaface"):
        build_detector("retinaface")
