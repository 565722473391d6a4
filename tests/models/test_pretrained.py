"""Networks begin with weights trained by others, which are fetched, checked, frozen for a while and tuned gently."""

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest
from recording import Recorder
from safetensors.numpy import save
from small_models import small_design

from emotion import weights
from emotion.config import TrainConfig
from emotion.console import run_program
from emotion.errors import ConfigError
from emotion.models import build_model, conversion, pretrained
from emotion.models.encoders import count_patches
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
from emotion.weights import FILES, WeightsError, fetch_weights, find_weights

COMMIT = "c" * 40


@pytest.fixture(scope="module")
def arrays() -> dict[str, dict[str, np.ndarray]]:
    """Weights as published files hold them, of small networks, by the names of ``HUB_FILES``."""
    with np.load(Path(__file__).resolve().parents[1] / "data" / "models_reference.npz") as data:
        found = {name: {} for name in ("resnet18", "ast", "mobilefacenet")}
        for key in data.files:
            if key.startswith("weights/"):
                _, name, array = key.split("/", 2)
                found[name][array] = data[key]
    return found


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
    with pytest.raises(ConfigError, match="mobilefacenet_lstm has no part for the weights 'ast'. Known: mobilefacenet"):
        check_pretrained(small_design("mobilefacenet_lstm", training={"pretrained": ("ast",)}))
    with pytest.raises(ConfigError, match="mfcc_cnn_3d has no part for the weights 'ast'. It takes none"):
        check_pretrained(small_design("mfcc_cnn_3d", training={"pretrained": ("ast",)}))
    monkeypatch.setattr(pretrained, "find_weights", lambda name: find_weights(name, tmp_path / "empty"))
    with pytest.raises(WeightsError, match=r"is not here yet. Fetch it once, .*emotion.weights resnet18"):
        check_pretrained(make_config())


# ---- Tuning them ----


def test_frozen_encoders_stay_as_they_are_until_their_time_comes(here, clips, cache_dir, tmp_path):
    def train_for(n_frozen):
        config = make_config(pretrained=("ast",), frozen_epochs=n_frozen, layer_decay=0.5, weight_decay=0.01)
        config = dataclasses.replace(config, modalities=("audio",))
        result = train(clips, config, tmp_path / f"frozen{n_frozen}", cache_dir=cache_dir)
        assert load_history(result.path / "history.csv")["epoch"] == [0, 1]
        before = build_model(config)
        set_pretrained(before, config)
        encoder = [layer.name for layers in encoder_layers(before, config).values() for layer in layers]
        assert len(encoder) > 10
        after = load_run(result.path).model
        return [
            name
            for name in encoder
            if not np.array_equal(before.get_layer(name).get_weights()[0], after.get_layer(name).get_weights()[0])
        ], encoder

    moved, _ = train_for(9)
    assert moved == []
    moved, encoder = train_for(0)
    assert moved == encoder


def test_the_history_of_a_training_that_thaws_keeps_its_columns(here, clips, cache_dir, tmp_path):
    config = dataclasses.replace(make_config(pretrained=("ast",), frozen_epochs=1), modalities=("audio",))
    result = train(clips, config, tmp_path / "run", cache_dir=cache_dir)
    history = load_history(result.path / "history.csv")
    assert history["epoch"] == [0, 1] and history["learning_rate"] == [pytest.approx(1e-3)] * 2
    assert all(0 <= value <= 1 for name in ("accuracy", "val_accuracy") for value in history[name])
    assert min(history["val_loss"]) > 0.05 and max(history["loss"]) < 20


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


# ---- Fetching them ----


class Hub(ThreadingHTTPServer):
    """Answers like the Hugging Face hub for one file."""

    def __init__(self, content: bytes, sha256: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.sha256 = content, sha256
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        self.server.asked.append(self.path)
        is_file = self.path.startswith("/timm/resnet18.tv_in1k/resolve/")
        self.send_response(200 if is_file else 404)
        if is_file:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{self.server.sha256}"')
            self.send_header("Content-Length", str(len(self.server.content)))
        else:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if with_body and is_file:
            self.wfile.write(self.server.content)


@pytest.fixture
def hub(arrays, monkeypatch):
    import hashlib

    from huggingface_hub import constants

    content = save(arrays["resnet18"])
    server = Hub(content, hashlib.sha256(content).hexdigest())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield server
    server.shutdown()


def test_weights_are_fetched_from_the_hub_once_checked_and_found_offline(hub, tmp_path):
    said = []
    path = fetch_weights("resnet18", tmp_path, reporter=Recorder(said=said))
    assert path.read_bytes() == hub.content and "timm/resnet18.tv_in1k" in said[0]
    note = json.loads(path.with_suffix(".json").read_text())
    assert note == {
        "sha256": hub.sha256, "origin": f"timm/resnet18.tv_in1k/model.safetensors at {COMMIT}", "checked_by_hub": True,
    }  # fmt: skip
    n_asked = len(hub.asked)
    assert fetch_weights("resnet18", tmp_path) == find_weights("resnet18", tmp_path) == path
    assert len(hub.asked) == n_asked
    path.write_bytes(hub.content[:-1] + b"x")
    with pytest.raises(WeightsError, match="is another file than expected"):
        find_weights("resnet18", tmp_path)


def test_what_is_not_what_the_hub_says_is_not_kept(hub, tmp_path):
    hub.sha256 = "0" * 64
    with pytest.raises(WeightsError, match="is another file than expected: its SHA-256 begins"):
        fetch_weights("resnet18", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_where_there_is_no_network_it_is_said_how_to_give_the_file(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    with pytest.raises(WeightsError, match=r"cannot be fetched .*emotion.weights resnet18 --file FILE.safetensors"):
        fetch_weights("resnet18", tmp_path)
    with pytest.raises(WeightsError, match="no public place of it is known"):
        fetch_weights("mobilefacenet", tmp_path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", save({"other": np.ones(3)})])
def test_a_file_of_something_else_is_refused_by_its_name(content, tmp_path):
    (tmp_path / "odd.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"odd.safetensors: (is no safetensors file|holds no conv1.weight)"):
        fetch_weights("resnet18", tmp_path / "weights", file=tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="absent: cannot be read"):
        fetch_weights("resnet18", tmp_path / "weights", file=tmp_path / "absent")


def test_the_program_takes_a_file_and_says_where_it_keeps_it(arrays, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.safetensors").write_bytes(save(arrays["ast"]))
    monkeypatch.setattr(weights, "weights_dir", lambda: tmp_path / "weights")
    monkeypatch.setattr("sys.argv", ["weights", "ast", "--file", str(tmp_path / "mine.safetensors")])
    assert run_program(weights.main) == 0
    assert str(tmp_path / "weights" / FILES["ast"].file_name) in capsys.readouterr().out
    assert find_weights("ast", tmp_path / "weights").is_file()
