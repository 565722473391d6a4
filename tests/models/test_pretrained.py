"""Pretrained encoders: loaded into the designs that take them, frozen for a while, and trained gently."""

import dataclasses

import keras
import numpy as np
import pytest
from references import load_reference, weights_of
from safetensors.numpy import save
from small_models import count_patches, small_design

from emotion.config import TrainConfig
from emotion.errors import ConfigError
from emotion.models import build_model, conversion, pretrained
from emotion.models.pretrained import (
    LayerwiseAdamW,
    build_optimizer,
    check_pretrained,
    encoder_layers,
    freeze_encoders,
    layer_rates,
    set_pretrained,
)
from emotion.models.run_folder import load_run
from emotion.training.fitting import _phases, load_history, train
from emotion.weights import WeightsError, fetch_weights, find_weights


@pytest.fixture(scope="module")
def arrays() -> dict[str, dict[str, np.ndarray]]:
    """Weights as published files hold them, of small networks, by their names."""
    reference = load_reference("models")
    return {name: weights_of(reference, name) for name in ("resnet18", "ast", "mobilefacenet")}


@pytest.fixture
def here(arrays, tmp_path, monkeypatch):
    """A folder in which all three lie, as if they had been fetched."""
    folder = tmp_path / "weights"
    for name, content in arrays.items():
        (tmp_path / f"{name}.safetensors").write_bytes(save(content))
        fetch_weights(name, folder, file=tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(pretrained, "find_weights", lambda name: find_weights(name, folder))
    monkeypatch.setattr(conversion, "AST_GRID", count_patches(36, 46))
    return folder


def make_config(**training):
    model = {"ast_width": 12, "ast_heads": 3, "ast_blocks": 2, "resnet_stages": [4, 6, 8, 10]}
    training = {"pretrained": ("resnet18", "ast"), **training}
    return small_design("resnet18_ast", model=model, training=training)


# ---- Beginning with them ----


def test_a_network_begins_with_the_weights_it_is_told_to(here, arrays):
    config = make_config()
    check_pretrained(config)
    model = build_model(config)
    set_pretrained(model, config)
    kernel = arrays["resnet18"]["layer3.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.get_layer("video_resnet_layer3_0_conv1").get_weights()[0], kernel)
    query = arrays["ast"]["audio_spectrogram_transformer.encoder.layer.1.attention.attention.query.weight"]
    np.testing.assert_array_equal(model.get_layer("audio_ast_block1_attention").get_weights()[0], query.T)


def test_a_mobilefacenet_of_ones_own_is_taken_too(here, arrays):
    changes = {"mobilefacenet_bottlenecks": [[2, 4, 2, 2], [4, 8, 1, 2], [2, 8, 1, 1]], "video_units": 5}
    config = small_design("mobilefacenet_lstm", model={**changes, "mobilefacenet_channels": [4, 12]},
                          training={"pretrained": ("mobilefacenet",)})  # fmt: skip
    model = build_model(config)
    set_pretrained(model, config)
    slope = model.get_layer("video_mobilefacenet_conv1_prelu").get_weights()[0]
    np.testing.assert_array_equal(slope.ravel(), arrays["mobilefacenet"]["conv1.prelu.weight"])


def test_weights_that_a_design_does_not_take_or_that_are_not_here_are_named(here, tmp_path, monkeypatch):
    for name, choices in (("mobilefacenet_lstm", ": mobilefacenet"), ("mfcc_cnn_3d", "none")):
        with pytest.raises(ConfigError, match=f"{name}.*'ast'.*{choices}"):
            check_pretrained(small_design(name, training={"pretrained": ("ast",)}))
    monkeypatch.setattr(pretrained, "find_weights", lambda name: find_weights(name, tmp_path / "empty"))
    with pytest.raises(WeightsError, match="emotion.weights resnet18"):
        check_pretrained(make_config())


# ---- Tuning them ----


@pytest.mark.trains
@pytest.mark.parametrize("n_frozen", [1, *(pytest.param(n, marks=pytest.mark.thorough) for n in (0, 9))])
def test_frozen_encoders_stay_as_they_are_until_their_time_comes(n_frozen, here, clips, cache_dir, tmp_path, eagerly):
    config = make_config(pretrained=("ast",), frozen_epochs=n_frozen, layer_decay=0.5, weight_decay=0.01)
    config = dataclasses.replace(config, modalities=("audio",))
    result = train(clips, config, tmp_path / "run", cache_dir=cache_dir)
    # A training that thaws on the way is one history of plausible numbers.
    history = load_history(result.path / "history.csv")
    assert history["epoch"] == [0, 1] and history["learning_rate"] == [pytest.approx(1e-3)] * 2
    assert all(0 <= value <= 1 for name in ("accuracy", "val_accuracy") for value in history[name])
    assert min(history["val_loss"]) > 0.05 and max(history["loss"]) < 20
    before, after = build_model(config), load_run(result.path).model
    set_pretrained(before, config)
    encoder = [layer for layers in encoder_layers(before, config).values() for layer in layers]
    assert len(encoder) > 10
    same = [np.array_equal(layer.get_weights()[0], after.get_layer(layer.name).get_weights()[0]) for layer in encoder]
    if n_frozen != 1:  # then either epoch may have been the better one
        assert all(same) if n_frozen else not any(same)


def test_a_training_has_a_frozen_stretch_only_where_there_is_something_to_freeze():
    settings = TrainConfig(epochs=10, frozen_epochs=3, pretrained=("ast",))
    assert _phases(settings, has_encoders=True) == [(0, 3, True), (3, 10, False)]
    assert _phases(dataclasses.replace(settings, frozen_epochs=0), has_encoders=True) == [(0, 10, False)]
    assert _phases(dataclasses.replace(settings, frozen_epochs=99), has_encoders=True) == [(0, 10, True)]
    assert _phases(settings, has_encoders=False) == [(0, 10, False)]


def test_layers_learn_more_slowly_the_nearer_they_are_to_the_input():
    config = make_config(layer_decay=0.5)
    rates = layer_rates(build_model(config), config)
    assert (
        rates["audio_ast_block1_dense1"] == rates["audio_ast_block1_attention"] == 2 * rates["audio_ast_block0_dense1"]
    )
    assert rates["video_resnet_layer4_1_conv1"] == 0.5
    assert rates["video_resnet_conv1"] < rates["video_resnet_layer1_0_conv1"] < rates["video_resnet_layer4_0_conv2"]
    assert "logits" not in rates and "audio_tokens" not in rates
    assert rates["video_resnet_bn1"] == rates["video_resnet_conv1"]
    assert rates["audio_ast_positions"] == rates["audio_ast_patches"] < rates["audio_ast_block0_dense1"]


def test_the_optimizer_heeds_the_rates_and_is_saved_with_them(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="slow")(keras.layers.Dense(2, name="fast")(inputs)))
    optimizer = LayerwiseAdamW(learning_rate=0.1, weight_decay=0.0, rates={"slow": 0.01})
    model.compile(optimizer, "mse")
    before = {layer.name: layer.get_weights()[0] for layer in model.layers[1:]}
    model.train_on_batch(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32))
    steps = {name: np.abs(model.get_layer(name).get_weights()[0] - old).mean() for name, old in before.items()}
    assert steps["fast"] == pytest.approx(0.1, rel=0.01) and steps["slow"] == pytest.approx(0.001, rel=0.01)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").optimizer.rates == {"slow": 0.01}


def test_weights_decay_as_fast_as_their_layer_learns_and_biases_never_also_after_loading(tmp_path):
    inputs = keras.Input((3,))
    dense = {name: keras.layers.Dense(2, name=name, bias_initializer="ones") for name in ("slow", "fast")}
    model = keras.Model(inputs, dense["slow"](dense["fast"](inputs)))
    model.compile(LayerwiseAdamW(learning_rate=0.1, weight_decay=0.5, rates={"slow": 1e-6, "fast": 1.0}), "mse")
    model.train_on_batch(np.zeros((1, 3), np.float32), model.predict_on_batch(np.zeros((1, 3), np.float32)))
    model.save(tmp_path / "model.keras")
    for network in (model, keras.saving.load_model(tmp_path / "model.keras")):
        before = {name: network.get_layer(name).get_weights() for name in dense}
        network.train_on_batch(np.zeros((1, 3), np.float32), network.predict_on_batch(np.zeros((1, 3), np.float32)))
        kernel, bias = network.get_layer("fast").get_weights()
        np.testing.assert_allclose(kernel, 0.95 * before["fast"][0], rtol=1e-4)
        np.testing.assert_allclose(bias, before["fast"][1], atol=1e-6)
        np.testing.assert_allclose(network.get_layer("slow").get_weights()[0], before["slow"][0], rtol=1e-4)


def test_what_is_frozen_is_not_trained_and_plain_settings_give_plain_adam():
    config = make_config()
    model = build_model(config)
    n_all = len(model.trainable_weights)
    freeze_encoders(model, config, frozen=True)
    assert 0 < len(model.trainable_weights) < n_all / 2
    freeze_encoders(model, config, frozen=False)
    assert len(model.trainable_weights) == n_all
    assert type(build_optimizer(model, small_design("resnet18_ast"))) is keras.optimizers.Adam
    assert isinstance(build_optimizer(model, small_design("resnet18_ast", training={"weight_decay": 0.1})),
                      LayerwiseAdamW)  # fmt: skip
