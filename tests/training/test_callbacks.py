"""Batch normalisation takes its statistics from the clips anew before every validation."""

import keras
import numpy as np
import pytest
from keras import layers
from small_models import small_config, tiny_config

from emotion.datasets import DATASETS
from emotion.models import build_model
from emotion.training import fitting as training
from emotion.training.callbacks import MAX_CLIPS, NormSettler, settle_norms


def build_small(**settings) -> keras.Model:
    frames = keras.Input((6,), name="rows")
    inner = keras.Input((5,))
    nested = keras.Model(inner, layers.BatchNormalization(name="inside")(inner), name="nested")
    x = layers.BatchNormalization(name="first", **settings)(layers.Dense(5, name="dense")(frames))
    return keras.Model({"rows": frames}, nested(x))


def draw_batches(n: int, size: int = 16) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"rows": rng.normal(3, 2, (size, 6)).astype(np.float32)} for _ in range(n)]


@pytest.mark.parametrize("sizes", [(16, 16, 16), (16, 1)])
def test_statistics_become_those_of_all_clips_together_whatever_they_were(sizes):
    model, batches = build_small(), [draw_batches(1, size)[0] for size in sizes]
    norm = model.get_layer("first")
    norm.moving_mean.assign(np.full(5, 100.0))
    norm.moving_variance.assign(np.full(5, 1e4))
    settle_norms(model, batches)
    seen = np.concatenate([np.asarray(model.get_layer("dense")(batch["rows"])) for batch in batches])
    np.testing.assert_allclose(norm.moving_mean, seen.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, seen.var(axis=0), rtol=1e-3)
    assert norm.momentum == 0.99


def test_norms_within_a_nested_network_are_settled_too():
    model = build_small()
    inside = model.get_layer("nested").get_layer("inside")
    inside.moving_mean.assign(np.full(5, 100.0))
    settle_norms(model, draw_batches(3))
    assert np.abs(inside.moving_mean).max() < 1e-3  # what comes in has been normalised


def test_what_learns_and_what_is_frozen_stay_as_they_are():
    model = build_small()
    frozen = model.get_layer("first")
    frozen.trainable = False
    before = [np.array(weight) for weight in model.get_layer("dense").weights + frozen.weights]
    settle_norms(model, draw_batches(3))
    after = model.get_layer("dense").weights + frozen.weights
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_network_without_norms_is_not_even_asked():
    rows = keras.Input((6,), name="rows")
    model = keras.Model({"rows": rows}, layers.Dense(2)(rows))
    settle_norms(model, iter(pytest.fail, None))  # would fail at the first batch asked for


def test_momentums_are_put_back_if_a_batch_cannot_be_made():
    model = build_small(momentum=0.9)

    def batches():
        yield draw_batches(1)[0]
        raise OSError("the cache is gone")

    with pytest.raises(OSError):
        settle_norms(model, batches())
    assert model.get_layer("first").momentum == 0.9


class Batches(keras.utils.PyDataset):
    def __init__(self, n: int, inputs, classes):
        super().__init__()
        self.n, self.inputs, self.classes, self.asked = n, inputs, classes, []

    num_batches = property(lambda self: self.n)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.inputs, self.classes


@pytest.mark.parametrize(("n", "make_config"), [(2, small_config), (MAX_CLIPS // 4 + 6, tiny_config)])
def test_a_training_settles_its_norms_before_it_validates(n, make_config, tiny_design):
    config = make_config(training={"modality_dropout": 0.0})
    rng = np.random.default_rng(0)
    inputs = {
        "audio": rng.normal(size=(4, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(1, 256, (4, *config.video_shape), dtype=np.uint8),
    }
    batches = Batches(n, inputs, np.array([0, 1, 0, 1]))
    model = build_model(config)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    settler = NormSettler(batches)
    settler.set_model(model)
    settler.on_test_begin()
    assert batches.asked == list(range(min(n, MAX_CLIPS // 4)))
    # The data of every batch are the same, so inference now answers as the training step does, but for dropout.
    for layer in model.layers:
        if isinstance(layer, layers.Dropout | layers.SpatialDropout2D | layers.SpatialDropout3D):
            layer.rate = 0.0
    settler.on_test_begin()
    # (Keras leaves dropout out at rate 0.)
    np.testing.assert_allclose(
        np.asarray(model(inputs, training=True)), np.asarray(model(inputs, training=False)), atol=1e-4
    )


@pytest.mark.thorough
def test_a_real_training_settles_before_every_validation(dataset_dir, cache_dir, tmp_path, monkeypatch):
    settled = []
    monkeypatch.setattr(
        "emotion.training.callbacks.settle_norms", lambda model, batches: settled.append(len(list(batches)))
    )
    clips = DATASETS["ravdess"].load(dataset_dir)
    training.train(clips, small_config(), tmp_path / "run", cache_dir=cache_dir)
    assert len(settled) == 2 and min(settled) > 0  # epochs
