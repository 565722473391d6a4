"""AffectNet's MobileNetV1 is read from either published kind of file, answers as it did there, and starts a design."""

import json

import keras
import numpy as np
import pytest
from affectnet import (
    build_published_network,
    filters_of,
    randomize,
    run_published_network,
    write_keras2_file,
    write_tflite_file,
)
from recording import Recorder
from refusals import refused
from small_models import random_inputs, small_design

from emotion.affectnet_files import read_affectnet_network
from emotion.errors import ConfigError
from emotion.models import build_model, pretrained
from emotion.models.conversion import load_safetensors, set_mobilenet_weights
from emotion.models.mobilenet_v1 import FILTERS, STRIDES, build_affectnet_network
from emotion.models.pretrained import encoder_layers, layer_rates, set_pretrained
from emotion.weights import WeightsError, fetch_weights, find_weights

SIDE, N_FEATURES = 64, 8


@pytest.fixture(scope="module")
def published() -> keras.Model:
    keras.utils.set_random_seed(0)
    return randomize(build_published_network(SIDE, alpha=0.25, n_features=N_FEATURES))


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def keras_file(published, tmp_path_factory):
    return write_keras2_file(published, tmp_path_factory.mktemp("published") / "mobilenet_7.h5")


def judge(path, published, faces) -> np.ndarray:
    """Probabilities of our network with the weights of a file."""
    network = build_affectnet_network(side=SIDE, filters=filters_of(published), n_features=N_FEATURES)
    set_mobilenet_weights(network, load_safetensors(path), name="mobilenet")
    return np.asarray(keras.ops.softmax(network(faces)["logits"]))


def test_the_published_sizes_are_those_of_mobilenet():
    network = build_affectnet_network()
    assert len(FILTERS) == len(STRIDES) + 1 == 14
    assert network.get_layer("mobilenet_block13_pointwise").output.shape == (None, 7, 7, 1024)
    assert 3.4e6 < network.count_params() < 3.5e6


def test_what_is_read_from_keras_answers_as_keras(published, keras_file, faces, tmp_path):
    said = []
    path = fetch_weights("affectnet_mobilenet", tmp_path, file=keras_file, reporter=Recorder(said=said))
    expected = run_published_network(published, faces)
    assert np.ptp(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(judge(path, published, faces), expected, atol=1e-5)
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["origin"] == str(keras_file) and path == find_weights("affectnet_mobilenet", tmp_path)
    assert "SHA-256" in said[0]


@pytest.mark.trains
def test_what_is_read_from_tflite_is_the_same_but_for_eight_bits(published, keras_file, tmp_path):
    file = write_tflite_file(published, tmp_path / "small.tflite")
    path = fetch_weights("affectnet_mobilenet", tmp_path, file=file)
    exact, rounded = read_affectnet_network(keras_file), load_safetensors(path)
    assert list(exact) == list(read_affectnet_network(file)) and set(exact) == set(rounded)
    differences = {name: np.abs(exact[name] - rounded[name]).max() / np.abs(exact[name]).max() for name in exact}
    assert 1e-3 < max(differences.values()) < 1 / 127
    assert max(value for name, value in differences.items() if name.endswith("bias")) < 1e-5


def test_a_file_of_something_else_is_refused_by_its_name(published, keras_file, tmp_path):
    (tmp_path / "odd.h5").write_bytes(b"not HDF5")
    (tmp_path / "odd.tflite").write_bytes(b"not TFLite")
    write_keras2_file(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), tmp_path / "other.h5")
    headless = keras.Model(published.input, published.get_layer("feats").output)
    write_keras2_file(headless, tmp_path / "headless.h5")
    for name, words in (("odd.h5", "HDF5"), ("odd.tflite", "TFLite"), ("other.h5", "conv1"),
                        ("headless.h5", "emotion_preds")):  # fmt: skip
        with refused(WeightsError, tmp_path / name, words, "HSE-asavchenko"):
            fetch_weights("affectnet_mobilenet", tmp_path / "weights", file=tmp_path / name)
    with refused(WeightsError, "HSE-asavchenko", "--file mobilenet_7.h5"):
        fetch_weights("affectnet_mobilenet", tmp_path / "weights")
    with refused(WeightsError, "--file mobilenet_7.h5"):
        find_weights("affectnet_mobilenet", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
    assert read_affectnet_network(keras_file)["conv1.weight"].shape == (8, 3, 3, 3)


def test_a_design_begins_with_what_the_network_learned(published, keras_file, faces, tmp_path, monkeypatch):
    fetch_weights("affectnet_mobilenet", tmp_path, file=keras_file)
    monkeypatch.setattr(pretrained, "find_weights", lambda name: find_weights(name, tmp_path))
    sizes = {"mobilenet_filters": filters_of(published), "video_units": N_FEATURES}
    training = {"pretrained": ("affectnet_mobilenet",), "layer_decay": 0.5}
    config = small_design("whisper_mobilenet", model=sizes, training=training)
    model = build_model(config)
    set_pretrained(model, config)
    network = build_affectnet_network(
        side=config.video.image_size, filters=sizes["mobilenet_filters"], n_features=N_FEATURES
    )
    set_mobilenet_weights(network, load_safetensors(find_weights("affectnet_mobilenet", tmp_path)), name="mobilenet")
    features = keras.Model(model.inputs, model.get_layer("video_features").output)
    inputs = random_inputs(config)
    alone = network(inputs["video"].reshape(-1, *config.video_shape[1:]))["features"]
    mean = np.asarray(alone).reshape(*inputs["video"].shape[:2], -1).mean(axis=1)
    np.testing.assert_allclose(np.asarray(features(inputs, training=False)), mean, atol=1e-4)
    assert len(encoder_layers(model, config)["affectnet_mobilenet"]) == 1 + 2 * 13 + 1
    rates = layer_rates(model, config)
    assert rates["video_mobilenet_conv1"] < rates["video_mobilenet_block1_depthwise"]
    assert rates["video_mobilenet_block13_depthwise"] == rates["video_mobilenet_block13_pointwise"] == 0.25
    assert rates["video_mobilenet_feats"] == 0.5


@pytest.mark.parametrize("filters", [[4], [4] * 15])
def test_numbers_of_blocks_that_are_not_possible_are_refused(filters):
    with pytest.raises(ConfigError, match="mobilenet_filters.*1 to 13"):
        build_model(small_design("whisper_mobilenet", model={"mobilenet_filters": filters}))
