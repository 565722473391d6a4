"""Encoders with weights trained in PyTorch give what PyTorch gives, and files of other things are refused by name."""

import keras
import numpy as np
import pytest
from references import load_reference, weights_of
from safetensors.numpy import save_file
from small_models import count_patches

from emotion.config import AST_AUDIO, RunConfig, WindowConfig
from emotion.inputs.voice.features import compute_fbank
from emotion.models.conversion import (
    interpolate_positions,
    load_safetensors,
    set_ast_weights,
    set_mobilefacenet_weights,
    set_resnet18_weights,
)
from emotion.models.encoders import ast_encoder, mobilefacenet, resnet18
from emotion.weights import WeightsError


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return load_reference("models")


def build_resnet(reference) -> keras.Model:
    pictures = keras.Input(reference["pictures"].shape[1:])
    stages = reference["resnet18_stages"].tolist()
    return keras.Model(pictures, resnet18(pictures, stages=stages, norm_momentum=0.9, name="net"))


def build_mobilefacenet(reference) -> keras.Model:
    pictures = keras.Input(reference["pictures"].shape[1:])
    first, last, n_features = reference["mobilefacenet_channels"].tolist()
    sizes = {"n_features": n_features, "bottlenecks": reference["mobilefacenet_bottlenecks"].tolist()}
    return keras.Model(
        pictures, mobilefacenet(pictures, first=first, last=last, norm_momentum=0.9, name="net", **sizes)
    )


def build_ast(reference, n_steps: int | None = None, **changes) -> tuple[keras.Model, tuple[int, int]]:
    _, n_mels, learned_steps = reference["picture"].shape
    picture = keras.Input((n_mels, n_steps or learned_steps, 1))
    width, n_heads, n_blocks = reference["ast_sizes"].tolist()
    sizes = {"width": width, "n_heads": n_heads, "n_blocks": n_blocks, **changes}
    return keras.Model(picture, ast_encoder(picture, name="net", **sizes)), count_patches(n_mels, learned_steps)


def answer(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(model(inputs.astype(np.float32), training=False))


@pytest.mark.parametrize(
    ("name", "build", "set_weights"),
    [
        ("resnet18", build_resnet, set_resnet18_weights),
        ("mobilefacenet", build_mobilefacenet, set_mobilefacenet_weights),
    ],
)
def test_a_network_for_pictures_gives_what_pytorch_gives(reference, name, build, set_weights):
    model = build(reference)
    set_weights(model, weights_of(reference, name), name="net")
    assert np.abs(reference[name]).max() > 0.01
    np.testing.assert_allclose(answer(model, reference["pictures"]), reference[name], atol=1e-4)


@pytest.mark.parametrize("prefix", ["audio_spectrogram_transformer.", ""])
def test_ast_gives_what_transformers_gives(reference, prefix):
    model, grid = build_ast(reference)
    arrays = weights_of(reference, "ast")
    named = {key.replace("audio_spectrogram_transformer.", prefix): array for key, array in arrays.items()}
    set_ast_weights(model, named, name="net", grid=grid)
    tokens = answer(model, reference["picture"][..., None])
    assert np.abs(reference["ast"]).max() > 0.5
    np.testing.assert_allclose(tokens, reference["ast"], atol=1e-4)


def test_filter_banks_are_those_of_asts_own_extractor(reference):
    sound = (reference["sound"] / 32768).astype(np.float32)
    config = RunConfig(audio=AST_AUDIO, window=WindowConfig(window_seconds=len(sound) / AST_AUDIO.sample_rate))
    fbank = compute_fbank(sound, config)
    assert fbank.shape == config.audio_shape[:2] == reference["fbank"].shape
    np.testing.assert_allclose(fbank, reference["fbank"], atol=1e-3)


@pytest.mark.parametrize("n_steps", [30, 64])
def test_an_ast_for_windows_of_another_length_takes_the_same_weights(reference, n_steps):
    model, grid = build_ast(reference, n_steps=n_steps)
    set_ast_weights(model, weights_of(reference, "ast"), name="net", grid=grid)
    placed = model.get_layer("net_positions").get_weights()[1][2:]
    rows, columns = model.get_layer("net_patches").output.shape[1:3]
    assert placed.shape[0] == rows * columns and columns != grid[1]


def test_places_that_are_interpolated_keep_their_course():
    rows, columns, width = 3, 8, 2
    values = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, width)
    same = interpolate_positions(values.astype(np.float32), (rows, columns), (rows, columns))
    np.testing.assert_array_equal(same, values)
    half = interpolate_positions(values.astype(np.float32), (rows, columns), (rows, 4)).reshape(rows, 4, width)
    np.testing.assert_allclose(half[1, :, 1], [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_allclose(half[:, 2, 0], [0, 1, 2])
    twice = interpolate_positions(values.astype(np.float32), (rows, columns), (rows, 16)).reshape(rows, 16, width)
    assert (np.diff(twice[0, :, 1]) >= 0).all() and twice[0, 0, 1] == 0 and twice[0, -1, 1] == columns - 1


def test_weights_that_do_not_fit_are_refused_by_name(reference):
    model, arrays = build_resnet(reference), weights_of(reference, "resnet18")
    lacking = {name: array for name, array in arrays.items() if name != "layer2.0.downsample.1.running_var"}
    short = {**arrays, "conv1.weight": arrays["conv1.weight"][:2]}
    for given, name, words in (
        (lacking, "net", "layer2.0.downsample.1.running_var"), (short, "net", "net_conv1"), (arrays, "other", "other_"),
    ):  # fmt: skip
        with pytest.raises(WeightsError, match=words):
            set_resnet18_weights(model, given, name=name)
    (ast, grid), (wider, _) = build_ast(reference), build_ast(reference, width=24)
    arrays = weights_of(reference, "ast")
    for network, given, patches, words in (
        (ast, weights_of(reference, "resnet18"), grid, "Audio Spectrogram Transformer"),
        (ast, arrays, None, "12 x 101"),
        (wider, arrays, grid, "12 wide.* 24"),
    ):
        with pytest.raises(WeightsError, match=words):
            set_ast_weights(network, given, name="net", grid=patches)


def test_a_file_of_arrays_is_read_whole_and_anything_else_is_refused(tmp_path, reference):
    arrays = weights_of(reference, "resnet18")
    save_file({**arrays, "half": np.ones(3, np.float16)}, tmp_path / "model.safetensors")
    loaded = load_safetensors(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded["conv1.weight"], arrays["conv1.weight"])
    assert loaded["half"].dtype == np.float32
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match="model.safetensors"):
        load_safetensors(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="missing.safetensors"):
        load_safetensors(tmp_path / "missing.safetensors")
