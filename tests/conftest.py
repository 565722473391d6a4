"""What several tests share: a small synthetic data set, and settings under which training takes seconds."""

import os

# Before any test imports TensorFlow: its messages would drown the tests'.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from emotion.config import AudioConfig, RunConfig, TrainConfig, VideoConfig, WindowConfig
from emotion.datasets import DATASETS
from emotion.synthetic import write_synthetic_dataset

EMOTIONS = ("happy", "sad")


def small_config(**changes) -> RunConfig:
    """Settings for a network of a few thousand weights on windows of one second."""
    training = TrainConfig(
        epochs=2, batch_size=4, validation_fraction=0.3, test_fraction=0.3, **changes.pop("training", {})
    )
    settings = {
        "class_names": EMOTIONS,
        "audio": AudioConfig(n_mfcc=20, n_steps=16, n_mels=40),
        "video": VideoConfig(n_frames=4, image_size=32),
        "window": WindowConfig(window_seconds=1.0, step_seconds=0.5),
        "model": {
            **{"audio_filters": [4, 8], "audio_units": 8},
            **{"video_filters": [4, 8], "video_units": 8},
            "fusion_units": 8,
        },
    }
    return RunConfig(training=training, **{**settings, **changes})


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory):
    """Four speakers, two emotions, two statements: 16 clips with face and voice, in the paired layout."""
    return write_synthetic_dataset(
        tmp_path_factory.mktemp("dataset"), emotions=EMOTIONS, n_speakers=4, n_repetitions=2, duration_seconds=1.2
    )


@pytest.fixture(scope="session")
def clips(dataset_dir):
    return DATASETS["ravdess"].load(dataset_dir)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    """Shared, so that the clips of ``dataset_dir`` are decoded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def trained(clips, cache_dir, tmp_path_factory):
    """A finished training on ``dataset_dir``: its result, in a folder that tests must not change."""
    from emotion.training import train

    output = tmp_path_factory.mktemp("models") / "small"
    return train(clips, small_config(), output, cache_dir=cache_dir, verbose=0)
