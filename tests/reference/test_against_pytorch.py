"""The encoders at their published sizes beside PyTorch's, live: `make test-reference`. Not part of `make test`."""

import keras
import numpy as np
import pytest
import torch_models
from recording import Recorder
from small_models import count_patches
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

from emotion.config import AST_AUDIO, WAVEFORM_AUDIO, RunConfig
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.inputs.voice.features import compute_fbank, compute_waveform
from emotion.models import ARCHITECTURES, wav2vec2
from emotion.models.conversion import (
    load_safetensors,
    set_ast_weights,
    set_efficientface_weights,
    set_mobilefacenet_weights,
    set_resnet18_weights,
    set_speech_weights,
)
from emotion.models.efficientface import CHANNELS, REPEATS, SIDE, build_efficientface_network
from emotion.models.encoders import (
    BOTTLENECKS,
    FIRST_CHANNELS,
    LAST_CHANNELS,
    STAGES,
    ast_encoder,
    mobilefacenet,
    resnet18,
)
from emotion.weights import fetch_weights

N_FEATURES = 128


def make_pictures(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.float32)


def channels_first(pictures: np.ndarray) -> np.ndarray:
    return pictures.transpose(0, 3, 1, 2).copy()


@pytest.mark.parametrize("side", [112, 224])
def test_resnet18(side):
    theirs = torch_models.randomize(torch_models.ResNet18(STAGES), seed=0)
    inputs = keras.Input((side, side, 3))
    ours = keras.Model(inputs, resnet18(inputs, norm_momentum=0.9, name="net"))
    set_resnet18_weights(ours, torch_models.arrays_of(theirs), name="net")
    pictures = make_pictures(side)
    expected = torch_models.run(theirs, channels_first(pictures))
    np.testing.assert_allclose(np.asarray(ours(pictures, training=False)), expected, rtol=1e-4, atol=1e-4)


def test_mobilefacenet():
    theirs = torch_models.randomize(
        torch_models.MobileFaceNet(
            BOTTLENECKS, side=112, first=FIRST_CHANNELS, last=LAST_CHANNELS, n_features=N_FEATURES
        ),
        seed=0,
    )
    inputs = keras.Input((112, 112, 3))
    ours = keras.Model(inputs, mobilefacenet(inputs, n_features=N_FEATURES, norm_momentum=0.9, name="net"))
    set_mobilefacenet_weights(ours, torch_models.arrays_of(theirs), name="net")
    pictures = make_pictures(112)
    expected = torch_models.run(theirs, channels_first(pictures))
    np.testing.assert_allclose(np.asarray(ours(pictures, training=False)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_efficientface_through_its_checkpoint(tmp_path, old):
    theirs = torch_models.randomize(torch_models.EfficientFace(CHANNELS, REPEATS), seed=0, gain=1.2)
    torch_models.save_efficientface(theirs, tmp_path / "trained.pth.tar", old=old)
    said = []
    path = fetch_weights(
        "efficientface", tmp_path / "weights", file=tmp_path / "trained.pth.tar", reporter=Recorder(said=said)
    )
    ours = build_efficientface_network()
    set_efficientface_weights(ours, load_safetensors(path), name="efficientface")
    pictures = make_pictures(SIDE)
    expected = torch_models.run(theirs, channels_first(pictures))
    assert len(said) == 1 and np.abs(expected[0] - expected[1]).max() > 0.1
    for part, values in (("features", expected[:, :-7]), ("logits", expected[:, -7:])):
        found = np.asarray(ours(pictures, training=False)[part])
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4)


def test_ast(tmp_path):
    n_mels, n_steps = 128, 298
    theirs = torch_models.randomize(
        torch_models.build_ast(n_mels=n_mels, n_steps=n_steps, width=768, n_heads=12, n_blocks=12), seed=0
    )
    inputs = keras.Input((n_mels, n_steps, 1))
    ours = keras.Model(inputs, ast_encoder(inputs, width=768, n_heads=12, n_blocks=12, name="net"))
    arrays = torch_models.save_ast(theirs, tmp_path)
    set_ast_weights(ours, arrays, name="net", grid=count_patches(n_mels, n_steps))
    picture = np.random.default_rng(0).normal(size=(1, n_mels, n_steps)).astype(np.float32)
    expected = torch_models.run_ast(theirs, picture)
    np.testing.assert_allclose(np.asarray(ours(picture[..., None], training=False)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["wav2vec2", "wav2vec2_large", "hubert", "wavlm"])
def test_encoders_of_speech(tmp_path, kind):
    theirs = torch_models.randomize(torch_models.build_speech(kind), seed=0, gain=1.2)
    theirs.save_pretrained(tmp_path / "published")
    path = fetch_weights(kind, tmp_path / "weights", file=tmp_path / "published" / "model.safetensors")
    settings = {**wav2vec2.default_config(), **ARCHITECTURES["wav2vec2"].default_config([kind]).model}
    inputs = keras.Input((3 * WAVEFORM_AUDIO.sample_rate, 1))
    ours = keras.Model(inputs, wav2vec2.encode(inputs, settings))
    set_speech_weights(ours, load_safetensors(path), name=wav2vec2.ENCODER)
    path.unlink()
    samples = synthesize_voice("happy", speaker_seed=1, duration_seconds=3.0, sample_rate=WAVEFORM_AUDIO.sample_rate)
    waveform = compute_waveform(samples.astype(np.float32), RunConfig(audio=WAVEFORM_AUDIO))
    found = ours(waveform[None, :, None], training=False)
    expected = torch_models.run_speech(theirs, waveform[None])
    assert len(found) == len(expected) and expected[-1].std() > 0.1
    for answer, wanted in zip(found, expected, strict=True):  # of each block
        # Before the last norm numbers grow from block to block.
        np.testing.assert_allclose(np.asarray(answer), wanted, rtol=1e-4, atol=1e-4 * max(1, np.abs(wanted).max()))
    np.testing.assert_allclose(np.asarray(found[-1]), expected[-1], rtol=1e-4, atol=1e-4)


def test_waveforms():
    config = RunConfig(audio=WAVEFORM_AUDIO)
    voice = synthesize_voice("angry", speaker_seed=1, duration_seconds=2.0, sample_rate=WAVEFORM_AUDIO.sample_rate)
    samples = np.pad(voice.astype(np.float32), (0, config.window_samples - len(voice))) + np.float32(0.01)
    expected = Wav2Vec2FeatureExtractor()(samples, sampling_rate=WAVEFORM_AUDIO.sample_rate)["input_values"][0]
    np.testing.assert_allclose(compute_waveform(samples, config), expected, atol=1e-4)


def test_filter_banks():
    config = RunConfig(audio=AST_AUDIO)
    voice = synthesize_voice(
        "angry", speaker_seed=1, duration_seconds=config.window.window_seconds, sample_rate=AST_AUDIO.sample_rate
    ).astype(np.float32)[: config.window_samples]
    extractor = ASTFeatureExtractor(max_length=config.audio_shape[1])
    expected = extractor(voice, sampling_rate=AST_AUDIO.sample_rate, return_tensors="np")["input_values"][0].T
    np.testing.assert_allclose(compute_fbank(voice, config), expected, atol=1e-3)
