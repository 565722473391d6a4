"""EfficientFace: its parts, its weights in a design, and the ways to ask for them."""

import dataclasses

import keras
import numpy as np
import pytest
from checkpoints import make_checkpoint
from efficientface_files import CHANNELS, REPEATS, make_arrays, write_checkpoint
from recording import Recorder
from refusals import refused
from small_models import SMALL_EFFICIENTFACE, random_inputs, small_design

from emotion import train, weights
from emotion.errors import ConfigError
from emotion.models import build_model, pretrained
from emotion.models.conversion import load_safetensors, set_efficientface_weights
from emotion.models.efficientface import InterleavedChannels, build_efficientface_network, efficientface
from emotion.models.export_onnx import MAX_DIFFERENCE, export_onnx
from emotion.models.pretrained import encoder_layers, freeze_encoders, layer_rates, set_pretrained
from emotion.models.run_folder import load_run, write_run
from emotion.weights import FILES, WeightsError, fetch_weights, find_weights


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The weights as if they had been fetched."""
    folder = tmp_path / "weights"
    fetch_weights("efficientface", folder, file=write_checkpoint(tmp_path / "trained.pth.tar"))
    monkeypatch.setattr(pretrained, "find_weights", lambda name: find_weights(name, folder))
    return folder


def make_config(**training):
    training = {"pretrained": ("efficientface",), **training}
    return small_design("logmel_cnn", model=SMALL_EFFICIENTFACE, training=training)


# ---- The network ----


def test_channels_are_shuffled_as_in_shufflenet():
    left, right = np.arange(3.0)[None, None, None], 10 + np.arange(3.0)[None, None, None]
    np.testing.assert_array_equal(np.ravel(InterleavedChannels()([left, right])), [0, 10, 1, 11, 2, 12])


def test_each_quarter_of_the_face_has_kernels_of_its_own():
    faces = keras.Input((32, 32, 3))
    network = keras.Model(faces, efficientface(faces, channels=CHANNELS, repeats=REPEATS, name="net"))
    local = keras.Model(faces, network.get_layer("net_local_out").output)
    face = np.random.default_rng(0).integers(1, 256, (1, 32, 32, 3)).astype(np.float32)
    before = np.asarray(local(face))
    places = {"top_left": (0, 0), "top_right": (0, 2), "bottom_left": (2, 0), "bottom_right": (2, 2)}
    for name, (row, column) in places.items():
        layer = network.get_layer(f"net_local_{name}_depthwise2_norm")
        kept = layer.get_weights()
        layer.set_weights([kept[0], kept[1] + 1, *kept[2:]])
        changed = (np.asarray(local(face)) != before).any(axis=(0, 3))
        layer.set_weights(kept)
        assert changed[row : row + 2, column : column + 2].all() and changed.sum() == 4


def test_it_judges_affectnets_seven_classes_by_any_side_that_fits():
    for side in (32, 48):
        network = build_efficientface_network(side=side, channels=CHANNELS, repeats=REPEATS)
        answers = network(np.zeros((2, side, side, 3), np.float32))
        assert answers["features"].shape == (2, CHANNELS[-1]) and answers["logits"].shape == (2, 7)


# ---- Its weights ----


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_the_published_checkpoint_is_taken_its_hash_shown_and_every_array_used(tmp_path, old):
    said, file = [], write_checkpoint(tmp_path / "trained.pth.tar", old=old)
    path = fetch_weights("efficientface", tmp_path / "weights", file=file, reporter=Recorder(said=said))
    assert "SHA-256" in said[0] and "not checked" in said[0]
    arrays = load_safetensors(path)
    network = build_efficientface_network(side=32, channels=CHANNELS, repeats=REPEATS)
    set_efficientface_weights(network, arrays, name="efficientface")
    assert sum(weight.size for weight in network.get_weights()) == sum(array.size for array in arrays.values())
    kernel = network.get_layer("efficientface_local_bottom_left_depthwise1").get_weights()[0]
    assert kernel.shape == (3, 3, 4, 2)
    np.testing.assert_array_equal(kernel[:, :, 1, 1], arrays["local.conv2_1.weight"][3, 0])


def test_other_files_are_refused_by_name(tmp_path):
    arrays = make_arrays()
    lacking = {name: array for name, array in arrays.items() if not name.startswith("local")}
    files = {
        make_checkpoint({"state_dict": lacking}): "local",
        make_checkpoint({"a": print}): "print",
        b"?": "safetensors",
    }
    for content, words in files.items():
        (tmp_path / "odd.tar").write_bytes(content)
        with refused(WeightsError, tmp_path / "odd.tar", words):
            fetch_weights("efficientface", tmp_path / "weights", file=tmp_path / "odd.tar")
    with refused(WeightsError, "emotion.weights efficientface --file", "zengqunzhao/EfficientFace"):
        fetch_weights("efficientface", tmp_path / "weights")


# ---- In the design ----


def test_a_design_with_it_begins_with_its_weights_skips_absent_faces_and_may_be_frozen(here):
    config = make_config(layer_decay=0.5)
    model = build_model(config)
    set_pretrained(model, config)
    kernel = make_arrays()["stage3.0.branch2.3.weight"]
    found = model.get_layer("video_efficientface_stage3_block0_right_depthwise").get_weights()[0]
    np.testing.assert_array_equal(found, kernel.transpose(2, 3, 0, 1))
    inputs = random_inputs(config)
    inputs["video"][0, 1:] = 0
    other = {**inputs, "video": inputs["video"][:, [1, 0, 2, 3]]}
    np.testing.assert_allclose(model(other)[0], model(inputs)[0], atol=1e-5)
    rates = layer_rates(model, config)
    assert rates["video_efficientface_conv5"] == 0.5
    assert (
        rates["video_efficientface_local_top_left_depthwise1"]
        == rates["video_efficientface_local_top_right_depthwise2"]
    )
    assert rates["video_efficientface_conv1"] < rates["video_efficientface_stage3_block0_right_expand"] < 0.5
    freeze_encoders(model, config, frozen=True)
    frozen = encoder_layers(model, config)["efficientface"]
    assert len(frozen) > 50 and not any(layer.trainable for layer in frozen)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="video_encoder.*resnet"):
        build_model(small_design("logmel_cnn", model={"video_encoder": "resnet"}))
    with pytest.raises(ConfigError, match="'efficientface'.*'cnn'"):
        build_model(small_design("logmel_cnn", training={"pretrained": ("efficientface",)}))
    config = small_design("logmel_cnn", model=SMALL_EFFICIENTFACE)
    with pytest.raises(ConfigError, match="multiple of 16.*40"):
        build_model(dataclasses.replace(config, video=dataclasses.replace(config.video, image_size=40)))


def test_efficientface_path_is_short_for_both_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "weights_dir", lambda: tmp_path / "weights")
    args = train.build_parser().parse_args(
        ["--model", "logmel_cnn", "--efficientface_path", str(write_checkpoint(tmp_path / "mine.pth.tar"))]
    )
    train.take_efficientface(args, Recorder(said=[]))
    assert args.pretrained == ["efficientface"] and find_weights("efficientface").parent == tmp_path / "weights"
    assert find_weights("efficientface").name == FILES["efficientface"].file_name
    config = train.make_plan(args).config
    assert config.model["video_encoder"] == "efficientface" and config.training.pretrained == ("efficientface",)


@pytest.mark.trains
def test_onnx_runtime_gives_the_same_answers(here, tmp_path):
    config = make_config()
    model = build_model(config)
    set_pretrained(model, config)
    for name in ("video_features", "fusion_dense"):  # so that answers are not just 0 and 1
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel / 3, bias])
    write_run(tmp_path / "run", config, model)
    assert export_onnx(load_run(tmp_path / "run", runtime="keras")) <= MAX_DIFFERENCE
    inputs = random_inputs(config, n=3)
    answers = load_run(tmp_path / "run").predict(inputs)
    assert np.ptp(answers, axis=0).max() > 5 * MAX_DIFFERENCE
    np.testing.assert_allclose(answers, model(inputs, training=False), atol=MAX_DIFFERENCE)
