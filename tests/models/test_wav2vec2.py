"""wav2vec 2.0 and its like: as transformers computes them, from the files they are published in, tuned and exported."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from checkpoints import make_checkpoint
from hub_server import HubServer
from references import load_reference, weights_of
from refusals import refused
from safetensors.numpy import save
from small_models import random_inputs, small_design, write_small_run

from emotion.config import WAVEFORM_AUDIO, RunConfig, WindowConfig
from emotion.errors import ConfigError
from emotion.inference.predictor import EmotionPredictor
from emotion.inputs.preprocessing import Preprocessor
from emotion.inputs.voice.features import compute_waveform
from emotion.models import ARCHITECTURES, build_model, pretrained, wav2vec2
from emotion.models.conversion import set_speech_weights
from emotion.models.export_onnx import MAX_DIFFERENCE, export_onnx
from emotion.models.pretrained import encoder_layers, freeze_encoders, layer_rates, set_pretrained
from emotion.models.run_folder import load_run, write_run
from emotion.models.speech_encoder import FURTHEST, N_BUCKETS, GroupedConvolution, bucket_distances
from emotion.weights import FILES, WeightsError, fetch_weights, find_weights

KINDS = ("wav2vec2", "wav2vec2_large", "wavlm")
SIZES = {"wav2vec2_width": 16, "wav2vec2_heads": 4, "wav2vec2_blocks": 2, "wav2vec2_channels": [8] * 7}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return load_reference("models")


def settings_of(kind: str) -> dict:
    return {**ARCHITECTURES["wav2vec2"].default_config([kind]).model, **SIZES}


def build_encoder(kind: str, n_samples: int, **changes) -> keras.Model:
    settings = {**wav2vec2.default_config(), **settings_of(kind), **changes}
    inputs = keras.Input((n_samples, 1))
    return keras.Model(inputs, wav2vec2.encode(inputs, settings))


def make_config(kind: str = "wav2vec2", **training):
    training = {"pretrained": (kind,), **training}
    return small_design("wav2vec2", modalities=("audio",), model=settings_of(kind), training=training)


@pytest.fixture
def here(reference, tmp_path, monkeypatch):
    """All three as if they had been fetched."""
    folder = tmp_path / "weights"
    for kind in KINDS:
        (tmp_path / "mine.safetensors").write_bytes(save(weights_of(reference, kind)))
        fetch_weights(kind, folder, file=tmp_path / "mine.safetensors")
    monkeypatch.setattr(pretrained, "find_weights", lambda name: find_weights(name, folder))
    return folder


# ---- As transformers computes it ----


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_gives_what_transformers_gives(reference, kind):
    waveform = reference["waveform"]
    network = build_encoder(kind, len(waveform))
    set_speech_weights(network, weights_of(reference, kind), name=wav2vec2.ENCODER)
    found = np.concatenate(network(waveform[None, :, None], training=False))
    assert found.shape == reference[kind].shape == (3, 24, 16)
    np.testing.assert_allclose(found, reference[kind], rtol=1e-4, atol=1e-4)


def test_a_waveform_is_that_of_wav2vec2s_extractor_and_silence_is_zeros(reference):
    samples = (reference["sound"][: len(reference["waveform"])] / 32768).astype(np.float32)
    window = WindowConfig(window_seconds=len(samples) / WAVEFORM_AUDIO.sample_rate)
    config = RunConfig(audio=WAVEFORM_AUDIO, window=window)
    np.testing.assert_allclose(compute_waveform(samples, config), reference["waveform"], atol=1e-4)
    found = Preprocessor(config).audio_input(samples)
    assert found.shape == config.audio_shape == (len(samples), 1) and found.dtype == np.float32
    np.testing.assert_allclose(Preprocessor(config).audio_input(samples / 8), found, atol=1e-3)
    assert not Preprocessor(config).audio_input(np.zeros_like(samples)).any()
    with pytest.raises(ValueError, match=str(len(samples))):
        compute_waveform(samples[1:], config)


def test_groups_of_channels_are_convolved_by_themselves_with_more_of_the_past():
    x = np.zeros((1, 9, 4), np.float32)
    x[0, 4, 3] = 1
    layer = GroupedConvolution(4, 2)
    layer.build(x.shape)
    layer.set_weights([np.ones((4, 2, 4), np.float32), np.zeros(4, np.float32)])
    steps, channels = np.nonzero(np.asarray(layer(x))[0])
    assert set(steps) == {3, 4, 5, 6} and set(channels) == {2, 3}
    theirs = keras.layers.Conv1D(4, 3, padding="same", groups=2)
    layer, noise = GroupedConvolution(3, 2), np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)
    theirs.build(noise.shape), layer.build(noise.shape)
    layer.set_weights(theirs.get_weights())
    np.testing.assert_allclose(layer(noise), theirs(noise), atol=1e-5)


def test_far_steps_share_their_buckets():
    buckets = bucket_distances(np.arange(-2 * FURTHEST, 2 * FURTHEST + 1))
    back, ahead = buckets[: 2 * FURTHEST + 1][::-1], buckets[2 * FURTHEST + 1 :]
    np.testing.assert_array_equal(back[:80], np.arange(80))
    np.testing.assert_array_equal(ahead, back[1:] + N_BUCKETS // 2)
    assert (np.diff(back) >= 0).all() and back[FURTHEST:].min() == back.max() == N_BUCKETS // 2 - 1


# ---- Its files ----


def test_all_names_that_published_files_give_the_arrays_are_known(reference):
    arrays = weights_of(reference, "wav2vec2")
    bare = {name.removeprefix("wav2vec2."): array for name, array in arrays.items()}
    parts = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    old = {}
    for name, array in arrays.items():
        for new, former in parts.items():
            name = name.replace(new, former)  # noqa: PLW2901
        old[name] = array
    assert len(old) == len(bare) == len(arrays) and old.keys() != arrays.keys()
    kernels = []
    for given in (arrays, bare, old, {f"hubert.{name}": array for name, array in bare.items()}):
        network = build_encoder("wav2vec2", 800)
        set_speech_weights(network, given, name=wav2vec2.ENCODER)
        kernels.append(network.get_layer("audio_wav2vec2_places").get_weights()[0])
    assert all(np.array_equal(kernel, kernels[0]) for kernel in kernels) and kernels[0].shape == (128, 1, 16)


def test_files_that_do_not_fit_are_refused_by_what_they_lack(reference):
    arrays = weights_of(reference, "wav2vec2")
    with refused(WeightsError, "16 wide", "32", "wav2vec2_width"):
        set_speech_weights(build_encoder("wav2vec2", 800, wav2vec2_width=32), arrays, name=wav2vec2.ENCODER)
    with refused(WeightsError, "conv_layers.0.conv.bias", "audio_wav2vec2_conv0"):
        set_speech_weights(build_encoder("wav2vec2_large", 800), arrays, name=wav2vec2.ENCODER)
    with refused(WeightsError, "rel_attn_embed"):
        set_speech_weights(build_encoder("wavlm", 800), arrays, name=wav2vec2.ENCODER)
    for kind in ("wavlm", "wav2vec2_large"):  # names that are there are as telling as names that are not
        with refused(WeightsError, "no place", "gru_rel_pos" if kind == "wavlm" else "conv_layers.0.conv.bias"):
            set_speech_weights(build_encoder("wav2vec2", 800), weights_of(reference, kind), name=wav2vec2.ENCODER)
    with refused(WeightsError, "encoder.layers.2"):
        set_speech_weights(build_encoder("wav2vec2", 800, wav2vec2_blocks=3), arrays, name=wav2vec2.ENCODER)


def test_pytorchs_file_is_fetched_from_the_hub_checked_and_kept_as_safetensors(reference, tmp_path, monkeypatch):
    from huggingface_hub import constants

    item = FILES["wav2vec2"]
    content = make_checkpoint(weights_of(reference, "wav2vec2"))
    with HubServer() as server:
        server.repositories[item.repository] = {item.member: content}
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        path = fetch_weights("wav2vec2", tmp_path)
        server.hashes[item.member] = "0" * 64
        with refused(WeightsError, item.member, "SHA-256"):
            fetch_weights("wav2vec2", tmp_path / "other")
    assert json.loads(path.with_suffix(".json").read_text())["checked_by_hub"]
    assert find_weights("wav2vec2", tmp_path) == path
    network = build_encoder("wav2vec2", 800)
    set_speech_weights(network, pretrained.conversion.load_safetensors(path), name=wav2vec2.ENCODER)
    bias = weights_of(reference, "wav2vec2")["wav2vec2.encoder.layers.1.feed_forward.output_dense.bias"]
    np.testing.assert_array_equal(network.get_layer("audio_wav2vec2_block1_dense2").get_weights()[1], bias)


# ---- In the design ----


@pytest.mark.parametrize("kind", KINDS)
def test_the_design_takes_the_weights_and_can_be_tuned_wholly_in_part_or_not_at_all(here, kind):
    config = make_config(kind, layer_decay=0.5)
    model = build_model(config)
    set_pretrained(model, config)
    rates = layer_rates(model, config)
    top, below = rates["audio_wav2vec2_block1_attention"], rates["audio_wav2vec2_block0_dense1"]
    assert top == 2 * below > rates["audio_wav2vec2_places"] > rates["audio_wav2vec2_conv6"]
    assert "audio_mix" not in rates and "audio_features" not in rates
    freeze_encoders(model, config, frozen=True)
    encoder = encoder_layers(model, config)[kind]
    kept = [layer.get_weights()[0] for layer in encoder]
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    inputs, classes = random_inputs(config, n=4), np.arange(4) % 2
    model.train_on_batch(inputs, classes)
    assert all(np.array_equal(layer.get_weights()[0], old) for layer, old in zip(encoder, kept, strict=True))
    freeze_encoders(model, config, frozen=False)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(inputs, classes)
    assert not any(np.array_equal(layer.get_weights()[0], old) for layer, old in zip(encoder, kept, strict=True))


def test_sizes_that_are_not_possible_are_refused():
    for change, words in (
        ({"wav2vec2_width": 24}, "divisible by wav2vec2_heads"), ({"wav2vec2_conv_norm": "batch"}, "group, layer"),
        ({"wav2vec2_channels": [8]}, "7 wav2vec2_channels"), ({"wav2vec2_blocks": 0}, "at least one"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            build_model(small_design("wav2vec2", model=change))
    config = make_config()
    with pytest.raises(ConfigError, match="audio.sample_rate"):
        build_model(dataclasses.replace(config, audio=dataclasses.replace(config.audio, sample_rate=8000)))


def test_a_clip_is_judged_by_face_and_raw_voice(clips, tmp_path):
    config = small_design("wav2vec2", model=settings_of("wavlm"))
    prediction = EmotionPredictor(write_small_run(tmp_path / "run", config)).predict(clips[0].video_path)
    assert prediction.overall.evidence == "face+voice"


@pytest.mark.trains
@pytest.mark.parametrize("kind", ["wav2vec2_large", "wavlm"])
def test_onnx_runtime_gives_the_same_answers(kind, tmp_path):
    config = make_config(kind)
    write_run(tmp_path / "run", config, build_model(config))
    assert export_onnx(load_run(tmp_path / "run", runtime="keras")) <= MAX_DIFFERENCE
    inputs = random_inputs(config, n=3)
    inputs["audio"][1] = 0
    onnx, theirs = load_run(tmp_path / "run"), load_run(tmp_path / "run", runtime="keras")
    np.testing.assert_allclose(onnx.predict(inputs), theirs.predict(inputs), atol=MAX_DIFFERENCE)
