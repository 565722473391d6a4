"""Whisper's encoder in Keras: equal to the reference; voiced parts and levels; which settings are possible."""

import dataclasses

import keras
import numpy as np
import pytest
from references import load_reference, weights_of
from small_models import EMOTIONS, random_inputs, small_design

from emotion.config import WHISPER_AUDIO, RunConfig
from emotion.errors import ConfigError
from emotion.models import build_model
from emotion.models.fusion import copy_branch
from emotion.models.whisper_cnn_3d import build_voice_network, whisper_layers
from emotion.models.whisper_layers import MaskedStatistics, VoicedSteps, compute_positions, whisper_encoder
from emotion.training.recipes.whisper_weights import set_whisper_weights


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return load_reference("whisper")


def small_whisper(**model) -> RunConfig:
    """A small network on windows of 100 steps."""
    sizes = {"whisper_width": 16, "whisper_heads": 2, "whisper_blocks": 2, "whisper_pooled": [2]}
    return small_design("whisper_cnn_3d", model={**sizes, **model})


def build_listener(config: RunConfig) -> keras.Model:
    """Whisper's part alone: pictures to what is pooled."""
    network = build_voice_network(config)
    return keras.Model(network.input, network.get_layer("audio_scale").input)


def listen(config: RunConfig, picture: np.ndarray) -> np.ndarray:
    return np.asarray(build_listener(config)({"audio": picture}, training=False))


# ---- The encoder ----


def test_every_part_of_the_encoder_is_equal_to_transformers_on_random_weights(reference):
    picture = reference["picture"][..., None]
    inputs = keras.Input(picture.shape[1:])
    outputs = whisper_encoder(inputs, width=16, n_heads=int(reference["n_heads"]), n_blocks=2, name="audio_whisper")
    model = keras.Model(inputs, outputs)
    set_whisper_weights(model, weights_of(reference))
    for i, output in enumerate(model(picture)):
        assert np.abs(reference[f"output{i}"]).max() > 1
        np.testing.assert_allclose(np.asarray(output), reference[f"output{i}"], atol=1e-4)


def test_positions_are_sines_then_cosines_from_fast_to_slow():
    positions = compute_positions(50, 8)
    assert positions.shape == (50, 8) and positions.dtype == np.float32
    np.testing.assert_allclose(positions[:, 0], np.sin(np.arange(50)), atol=1e-6)
    np.testing.assert_allclose(positions[:, 4], np.cos(np.arange(50)), atol=1e-6)
    np.testing.assert_allclose(positions[:, 3], np.sin(np.arange(50) / 10000), atol=1e-6)


# ---- Pooling ----


def make_picture(levels_db) -> np.ndarray:
    """A log-mel picture ``(1, 8, n_steps, 1)`` of one level at each step, in decibels."""
    decades = np.asarray(levels_db, np.float32) / 10
    return np.broadcast_to((decades + 4) / 4, (8, len(decades)))[None, ..., None].copy()


@pytest.mark.parametrize("level_db", [-40, 0, 40])
def test_the_voiced_part_reaches_from_the_first_to_the_last_loud_step_over_pauses(level_db):
    levels = np.full(40, -60.0)
    levels[[10, 11]], levels[[28, 29]] = 0, -30  # the second lies within 35 dB
    levels[[34, 35]] = -38  # this one does not
    voiced = np.asarray(VoicedSteps()(make_picture(levels + level_db)))
    assert voiced.shape == (1, 20, 1)
    np.testing.assert_array_equal(np.flatnonzero(voiced[0, :, 0]), np.arange(5, 15))


@pytest.mark.parametrize("n_steps", [1, 2, 9, 40])
def test_without_sound_every_step_counts(n_steps):
    voiced = np.asarray(VoicedSteps()(np.zeros((2, 8, n_steps, 1), np.float32)))
    assert voiced.shape == (2, -(-n_steps // 2), 1)
    assert (voiced[:, : n_steps // 2] == 1).all()


def test_mean_and_deviation_see_only_the_steps_of_the_mask():
    rng = np.random.default_rng(0)
    features = rng.normal(100, 5, (2, 12, 3)).astype(np.float32)
    mask = np.zeros((2, 12, 1), np.float32)
    mask[0, 2:7], mask[1, 11:] = 1, 1
    pooled = np.asarray(MaskedStatistics()([features, mask]))
    np.testing.assert_allclose(pooled[0, :3], features[0, 2:7].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(pooled[0, 3:], features[0, 2:7].std(axis=0), rtol=1e-3)
    np.testing.assert_allclose(pooled[1, :3], features[1, 11], rtol=1e-5)
    np.testing.assert_allclose(pooled[1, 3:], 0, atol=1e-3)
    assert np.isfinite(np.asarray(MaskedStatistics()([features, mask * 0]))).all()


# ---- The whole network ----


def test_the_network_has_the_shapes_of_the_design():
    model = build_model(RunConfig(architecture="whisper_cnn_3d", audio=WHISPER_AUDIO))
    assert model.input["audio"].shape == (None, 80, 300, 1)
    assert model.input["video"].shape == (None, None, 112, 112, 3)
    assert sum(layer.count_params() for layer in whisper_layers(model)) == pytest.approx(4.08e6, rel=0.01)
    assert model.count_params() * 4 < 26e6  # bytes


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, 32), ({"whisper_pooled": [1, 2]}, 64), ({"whisper_blocks": 0, "whisper_pooled": [0]}, 32)],
)
def test_any_blocks_can_be_listened_to(settings, size):
    config = small_whisper(**settings)
    inputs = random_inputs(config)
    assert listen(config, inputs["audio"]).shape == (2, size)
    assert build_voice_network(config)({"audio": inputs["audio"]}).shape == (2, len(EMOTIONS))
    assert build_model(config)(inputs).shape == (2, len(EMOTIONS))


def test_quiet_around_the_voice_has_no_influence_on_what_is_pooled_but_through_attention():
    config = small_whisper(whisper_blocks=0, whisper_pooled=[0])
    network = build_listener(config)
    picture = np.full((1, *config.audio_shape), -1.0, np.float32)
    picture[:, :, 30:60] = np.random.default_rng(0).normal(0.5, 0.1, (1, config.audio.n_mels, 30, 1))
    other = picture.copy()
    other[:, :, 80:] = -0.9
    # Without a block, a step hears no further than the convolutions reach.
    np.testing.assert_array_equal(np.asarray(network({"audio": picture})), np.asarray(network({"audio": other})))


def test_how_loud_the_recording_is_does_not_count_unless_asked_for():
    picture = random_inputs(small_whisper())["audio"]
    for peak, counts in ((1.5, False), (None, True)):
        network = build_listener(small_whisper(whisper_peak=peak))
        loud, soft = (np.asarray(network({"audio": x})) for x in (picture, picture - 0.6))
        assert np.allclose(loud, soft, atol=1e-3) != counts


@pytest.mark.parametrize(
    ("name", "value"),
    [("whisper_pooled", []), ("whisper_pooled", [3]), ("whisper_pooled", [1, 1]), ("whisper_heads", 3)],
)
def test_an_impossible_setting_is_refused_with_its_name(name, value):
    with pytest.raises(ConfigError, match=name):
        build_model(small_whisper(**{name: value}))


def test_the_branch_with_its_weights_goes_into_the_whole_network(reference):
    config = dataclasses.replace(small_whisper(), audio=dataclasses.replace(WHISPER_AUDIO, n_mels=8))
    voice, model = build_voice_network(config), build_model(config)
    set_whisper_weights(voice, weights_of(reference))
    copy_branch(voice, model, "audio")
    inputs = random_inputs(config)
    alone = keras.Model(voice.input, voice.get_layer("audio_features").output)({"audio": inputs["audio"]})
    whole = keras.Model(model.input, model.get_layer("audio_features").output)(inputs)
    np.testing.assert_allclose(np.asarray(whole), np.asarray(alone), atol=1e-5)
    assert np.asarray(alone).any()
