"""The generators: reproducible batches, augmentation in training only, and the very inputs that inference sees."""

import dataclasses

import numpy as np
import pytest
from conftest import small_config

from emotion.cache import ClipCache
from emotion.errors import DatasetError
from emotion.generators import ClipWindows, window_inputs
from emotion.media.reading import probe_media
from emotion.predictor import MediaScanner
from emotion.preprocessing import Preprocessor


@pytest.fixture(scope="module")
def cache(clips, cache_dir):
    cache = ClipCache(cache_dir, small_config())
    assert cache.fill(clips, n_workers=1) == {}
    return cache


def batches_equal(first, second) -> bool:
    (inputs, classes, weights), (other_inputs, other_classes, other_weights) = first, second
    return (
        all(np.array_equal(inputs[name], other_inputs[name]) for name in inputs)
        and np.array_equal(classes, other_classes)
        and np.array_equal(weights, other_weights)
    )


def test_training_and_inference_give_byte_equal_inputs_for_one_clip(clips, cache):
    # The sound must come from the file that inference is given, as it does where no other file holds it.
    clip = dataclasses.replace(clips[0], audio_path=clips[0].video_path)
    cache.fill([clip], n_workers=1)
    preprocessor = Preprocessor(cache.config)
    batches = list(MediaScanner(cache.config).scan(clip.video_path, probe_media(clip.video_path)))
    assert len(batches) > 1
    for windows in batches:
        (window,) = windows
        assert window.evidence == "face+voice"
        cached = window_inputs(cache.load(clip), window.start_seconds, preprocessor)
        for name in ("audio", "video"):
            assert cached[name].dtype == window.inputs[name].dtype
            assert cached[name].tobytes() == window.inputs[name].tobytes()


def test_a_batch_has_the_shapes_that_the_model_takes(clips, cache):
    inputs, classes, weights = ClipWindows(clips, cache, cache.config, training=True)[0]
    assert inputs["audio"].shape == (4, 20, 16, 1)
    assert inputs["video"].shape == (4, 4, 32, 32, 3)
    assert inputs["video"].dtype == np.uint8
    assert classes.shape == weights.shape == (4,)


def test_two_generators_of_one_seed_agree_and_those_of_two_do_not(clips, cache):
    def first_batch(seed):
        config = dataclasses.replace(cache.config, training=dataclasses.replace(cache.config.training, seed=seed))
        return ClipWindows(clips, cache, config, training=True)[0]

    assert batches_equal(first_batch(1), first_batch(1))
    assert not batches_equal(first_batch(1), first_batch(2))


def test_a_batch_depends_on_its_epoch_and_place_alone(clips, cache):
    windows = ClipWindows(clips, cache, cache.config, training=True)
    windows.set_epoch(3)
    once = windows[2]
    windows.set_epoch(4)
    other = windows[2]
    windows.set_epoch(3)
    assert windows[0] is not None  # asking for another batch in between changes nothing
    assert batches_equal(windows[2], once)
    assert not batches_equal(other, once)


def test_validation_is_neither_shuffled_nor_augmented(clips, cache):
    windows = ClipWindows(clips, cache, cache.config, training=False)
    before = windows[1]
    windows.set_epoch(7)
    assert batches_equal(windows[1], before)
    assert [cache.config.class_names[i] for i in before[1]] == [clip.emotion for clip in clips[4:8]]


def test_every_clip_comes_once_an_epoch(clips, cache):
    windows = ClipWindows(clips, cache, cache.config, training=True)
    classes = np.concatenate([windows[i][1] for i in range(windows.num_batches)])
    assert len(classes) == len(clips)


def test_all_frames_of_a_clip_are_varied_alike(clips, cache, monkeypatch):
    still = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr("emotion.generators._window_frames", lambda *_, **__: np.stack([still] * 4))
    varied = ClipWindows(clips, cache, cache.config, training=True)[0][0]["video"]
    assert all(np.array_equal(clip[0], frame) for clip in varied for frame in clip)
    assert not np.array_equal(varied[0][0], still)


def test_rare_emotions_weigh_more(clips, cache):
    many = [clip for clip in clips if clip.emotion == "happy"][:6]
    few = [clip for clip in clips if clip.emotion == "sad"][:2]
    windows = ClipWindows([*many, *few], cache, cache.config, training=True)
    batches = [windows[i] for i in range(windows.num_batches)]
    classes = np.concatenate([batch[1] for batch in batches])
    weights = np.concatenate([batch[2] for batch in batches])
    assert weights.mean() == pytest.approx(1)
    assert weights[classes == 0].sum() == pytest.approx(weights[classes == 1].sum())


def test_an_emotion_outside_the_classes_is_refused(clips, cache):
    config = dataclasses.replace(cache.config, class_names=("happy", "angry"))
    with pytest.raises(DatasetError, match="sad is none of the classes happy, angry"):
        ClipWindows(clips, cache, config, training=True)
