"""The layers that several designs share."""

import numpy as np
import pytest

from emotion.models.attention import SelfAttention
from emotion.models.layers import EvidencePresent, FaceStandardization, ModalityDropout, MomentAttention, StillPicture


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
    audio, video = layer([ones, 0 * ones], training=True)  # the only evidence stays
    assert (np.asarray(audio) == 1).all() and (np.asarray(video) == 0).all()


def test_a_photograph_is_told_from_a_clip_by_its_frames_being_one_and_the_same():
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 8, 8, 3), dtype=np.uint8)
    frames[0] = frames[0, :1]
    frames[1] = frames[1, :1]
    frames[1, 3, 4, 4, 1] ^= 1
    np.testing.assert_array_equal(np.asarray(StillPicture()(frames)), [[1], [0], [0]])


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


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="10.* 3"):
        SelfAttention(3)(np.zeros((1, 4, 10), np.float32))
