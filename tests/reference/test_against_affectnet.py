"""AffectNet's MobileNetV1 beside the published file that you give: `AFFECTNET_MOBILENET=FILE make test-reference`."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from affectnet import BGR_MEAN, build_published_network, run_published_network

from emotion.affectnet_files import read_affectnet_network
from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.labels import SEVEN_EMOTIONS
from emotion.media.pictures import VideoFrame
from emotion.media.recordings import Recording
from emotion.models.conversion import set_mobilenet_weights
from emotion.models.mobilenet_v1 import SIDE, build_affectnet_network
from emotion.places import sample_clip

FILE = os.environ.get("AFFECTNET_MOBILENET")
# Of a probability. TFLite computes in eight bits what it is compared with.
MAX_DIFFERENCE = {".h5": 1e-3, ".tflite": 2e-2}

pytestmark = pytest.mark.skipif(not FILE, reason="no AFFECTNET_MOBILENET=FILE is given")


def make_faces() -> np.ndarray:
    """Drawn faces, and one of a real person."""
    pictures = [draw_face(emotion, speaker_seed=seed, size=480) for seed, emotion in enumerate(SEVEN_EMOTIONS)]
    frames = (item for item in Recording.of_file(sample_clip()).read(16000) if isinstance(item, VideoFrame))
    pictures.append(next(frames).image)
    detector = YuNetDetector()
    return np.stack([crop_face(each, detector.detect(each)[0].landmarks, SIDE, "box") for each in pictures])


def run_file(path: Path, faces: np.ndarray) -> np.ndarray:
    """Probabilities by the file itself: TFLite's interpreter, or Keras's own MobileNet with its weights."""
    if path.suffix == ".h5":
        network = build_published_network(SIDE)
        network.load_weights(path, by_name=True)
        return run_published_network(network, faces)
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(path))
    network.allocate_tensors()
    (taken,), (given,) = network.get_input_details(), network.get_output_details()
    answers = []
    for face in faces:
        network.set_tensor(taken["index"], face[None, ..., ::-1].astype(np.float32) - np.float32(BGR_MEAN))
        network.invoke()
        answers.append(network.get_tensor(given["index"])[0])
    return np.stack(answers)


def test_mobilenet_v1():
    path = Path(FILE)
    network = build_affectnet_network()
    set_mobilenet_weights(network, read_affectnet_network(path), name="mobilenet")
    faces = make_faces()
    answers = np.asarray(keras.ops.softmax(network(faces)["logits"]))
    expected = run_file(path, faces)
    assert len(set(expected.argmax(axis=1))) > 1
    np.testing.assert_allclose(answers, expected, rtol=0, atol=MAX_DIFFERENCE[path.suffix])
