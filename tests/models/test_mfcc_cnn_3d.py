"""The default design's network: shapes, missing evidence, weights carried between its forms."""

import dataclasses

import keras
import numpy as np
import pytest
from small_models import small_config

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import build_model, load_architecture, mfcc_cnn_3d
from emotion.models.layers import EvidencePresent, FaceStandardization, ModalityDropout, MomentAttention, StillPicture


def random_inputs(config: RunConfig, n: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "audio": rng.normal(size=(n, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(0, 256, (n, *config.video_shape), dtype=np.uint8),
    }


def test_the_default_network_has_the_shapes_of_the_design():
    model = build_model(RunConfig())
    assert model.input["audio"].shape == (None, 40, 44, 1)
    assert model.input["video"].shape == (None, 20, 112, 112, 3)
    assert model.output_shape == (None, 8)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert {"Conv2D", "Conv3D", "BatchNormalization", "Dropout", "Dense", "Concatenate", "Softmax"} <= kinds
    assert not any("Lambda" in kind for kind in kinds)


def test_the_default_network_stays_below_ten_megabytes():
    assert build_model(RunConfig()).count_params() * 4 < 10e6


def test_probabilities_are_positive_and_sum_to_one():
    config = small_config()
    probabilities = np.asarray(build_model(config)(random_inputs(config)))
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("modalities", [("audio",), ("video",), ("audio", "video")])
def test_a_network_takes_just_the_modalities_it_is_built_for(modalities):
    config = small_config(modalities=modalities)
    model = build_model(config)
    assert set(model.input) == set(modalities)
    inputs = {name: value for name, value in random_inputs(config).items() if name in modalities}
    assert np.asarray(model(inputs)).shape == (2, 2)


def test_what_a_missing_modality_would_have_shown_has_no_influence():
    config = small_config()
    model = build_model(config)
    inputs = random_inputs(config)
    # With weights at their start a branch answers even zeros; only the gate can keep that answer out.
    for name in ("audio", "video"):
        absent = {**inputs, name: np.zeros_like(inputs[name])}
        features = model.get_layer(f"{name}_evidence").output
        gated = keras.Model(model.input, features)(absent)
        assert not np.asarray(gated).any()


def test_an_input_counts_as_present_if_it_holds_anything():
    present = EvidencePresent()(np.array([[[0.0, 0.0]], [[0.0, -1.0]]], np.float32))
    np.testing.assert_array_equal(np.asarray(present), [[0], [1]])


def test_modality_dropout_hides_at_most_one_of_two_and_only_in_training():
    layer = ModalityDropout(0.5, seed=0)
    ones = np.ones((2000, 1), np.float32)
    audio, video = (np.asarray(x)[:, 0] for x in layer([ones, ones], training=True))
    assert (audio + video).min() == 1
    assert 0.2 < (audio == 0).mean() < 0.3
    assert 0.2 < (video == 0).mean() < 0.3
    assert all((np.asarray(x) == 1).all() for x in layer([ones, ones], training=False))


def test_a_photograph_is_told_from_a_clip_by_its_frames_being_one_and_the_same():
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 8, 8, 3), dtype=np.uint8)
    frames[0] = frames[0, :1]
    frames[1] = frames[1, :1]
    frames[1, 3, 4, 4, 1] ^= 1
    np.testing.assert_array_equal(np.asarray(StillPicture()(frames)), [[1], [0], [0]])


def test_modality_dropout_never_hides_the_only_evidence():
    layer = ModalityDropout(0.9, seed=0)
    ones, zeros = np.ones((500, 1), np.float32), np.zeros((500, 1), np.float32)
    audio, video = layer([ones, zeros], training=True)
    assert (np.asarray(audio) == 1).all()
    assert (np.asarray(video) == 0).all()


def test_faces_look_alike_in_any_light_and_colour():
    rng = np.random.default_rng(0)
    face = rng.integers(60, 180, (1, 3, 16, 16, 1)).repeat(3, axis=-1).astype(np.float32)
    layer = FaceStandardization()
    plain, bright, weak = (np.asarray(layer(x)) for x in (face, face + 40, face * 0.5))
    np.testing.assert_allclose(plain, bright, atol=1e-3)
    np.testing.assert_allclose(plain, weak, atol=0.1)  # but for the floor that keeps noise down
    assert np.asarray(layer(np.full((1, 1, 8, 8, 3), 77, np.uint8))).max() == 0


def test_a_face_is_greyed_and_halved_at_once_as_it_would_be_one_after_the_other():
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 12, 3), dtype=np.uint8)
    grey = faces @ np.array([0.299, 0.587, 0.114])
    halved = grey.reshape(2, 3, 8, 2, 6, 2).mean(axis=(3, 5))
    centred = halved - halved.mean(axis=(2, 3), keepdims=True)
    wanted = centred / (halved.std(axis=(2, 3), keepdims=True) + 1)
    layer = FaceStandardization(shrink=2)
    np.testing.assert_allclose(np.asarray(layer(faces))[..., 0], wanted, atol=1e-5)
    assert layer.compute_output_shape(faces.shape) == (2, 3, 8, 6, 1)
    single = FaceStandardization.from_config(layer.get_config())(faces[:, 0])
    np.testing.assert_allclose(np.asarray(single)[..., 0], wanted[:, 0], atol=1e-5)


def test_attention_over_moments_begins_as_a_plain_mean_and_can_choose_one_moment():
    moments = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
    layer = MomentAttention()
    np.testing.assert_allclose(np.asarray(layer(moments)), moments.mean(axis=1), atol=1e-6)
    moments[:, 3, 0] = 9.0
    layer.kernel.assign(np.array([[50.0], [0], [0], [0]]))
    np.testing.assert_allclose(np.asarray(layer(moments)), moments[:, 3], atol=1e-5)


def test_an_inflated_network_sees_in_a_motionless_clip_what_it_saw_in_the_still():
    config = small_config()
    frame_network = mfcc_cnn_3d.build_frame_network(config)
    frame_network.compile("sgd", "mse")
    still = random_inputs(config, n=1)["video"][:, 0]
    frame_network.fit(still, np.zeros((1, 2)), verbose=0)  # so that batch normalisation has something to carry over
    model = build_model(config)
    mfcc_cnn_3d.inflate(frame_network, model)
    clip = still[:, None].repeat(config.video.n_frames, axis=1)
    of_still = keras.Model(frame_network.input, frame_network.get_layer("video_features").output)(still)
    of_clip = keras.Model(model.input["video"], model.get_layer("video_features").output)(clip)
    np.testing.assert_allclose(np.asarray(of_still), np.asarray(of_clip), atol=1e-5)


def test_a_saved_network_gives_the_same_answer_when_loaded(tmp_path):
    config = small_config()
    model = build_model(config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = random_inputs(config)
    np.testing.assert_array_equal(np.asarray(model(inputs)), np.asarray(loaded(inputs)))


def test_a_network_learns_eight_clips_by_heart():
    keras.utils.set_random_seed(0)
    settings = {**small_config().model, "audio_dropout": 0.0, "video_dropout": 0.0, "fusion_dropout": 0.0}
    config = small_config(model=settings, training={"modality_dropout": 0.0})
    model = build_model(config)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    inputs, classes = random_inputs(config, n=8), np.arange(8) % 2
    history = model.fit(inputs, classes, epochs=40, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_an_unknown_design_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="mfcc_cnn_3d"):
        load_architecture("resnet")


def test_an_unknown_setting_of_the_design_is_refused_with_its_name():
    with pytest.raises(ConfigError, match="video_layers"):
        build_model(dataclasses.replace(small_config(), model={"video_layers": 3}))
