"""What several tests share: a small synthetic data set, and settings under which training takes seconds."""

import dataclasses
import os
import sys
from pathlib import Path

# Before any test imports TensorFlow: its messages would drown the tests'.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What Numba compiles for librosa, which tests compare with, it keeps in files. Two processes that make the same ones at
# once can leave some that crash whoever loads them, so each worker has its own; it would inherit that of who starts it.
os.environ["NUMBA_CACHE_DIR"] = str(
    Path(__file__).resolve().parents[1] / ".cache" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "main")
)

import pytest

from emotion.config import AudioConfig, RunConfig, TrainConfig, VideoConfig, WindowConfig
from emotion.datasets import DATASETS
from emotion.models import ARCHITECTURES
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


# Each design's own settings, as small as they can be and still hold every part.
SMALL_DESIGNS = {
    "mfcc_cnn_3d": small_config().model,
    "whisper_cnn_3d": {
        **{"whisper_width": 8, "whisper_heads": 2, "whisper_blocks": 1, "whisper_pooled": [1], "audio_units": 8},
        **{"video_filters": [4, 8], "video_units": 8, "fusion_units": 8},
    },
    "resnet18_ast": {
        **{"ast_width": 8, "ast_heads": 2, "ast_blocks": 1, "resnet_stages": [4, 8, 8, 8]},
        **{"fusion_width": 8, "fusion_heads": 2, "fusion_units": 8},
    },
    "mobilefacenet_lstm": {
        **{"mobilefacenet_bottlenecks": [[2, 4, 2, 2], [2, 8, 1, 2]], "mobilefacenet_channels": [4, 16]},
        **{"audio_filters": [4, 8], "audio_units": 8, "video_units": 8, "fusion_units": 8},
    },
    "logmel_cnn": {
        **{"audio_filters": [8, 8], "audio_units": 8, "video_filters": [4, 8], "video_units": 8, "fusion_units": 8},
    },
}
WITHOUT_DROPOUT = {"audio_dropout": 0.0, "video_dropout": 0.0, "fusion_dropout": 0.0}


# Files that take more than half a minute, longest first, so that no worker is left alone with one at the end.
LONGEST = (
    "test_designs", "test_recipes", "test_documents", "test_training", "test_export", "test_packaging",
    "test_crossvalidation", "test_fusion", "test_shipped", "test_evaluate", "test_portable", "test_programs",
    "test_pretrained", "test_batch",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Sorts files, not the tests in them; ``--no-loadscope-reorder`` keeps xdist from undoing it."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(autouse=True)
def start_from_one_seed():
    """Weights drawn and batches shuffled alike in every run, so that a test fails always or never."""
    if "keras" in sys.modules:  # tests of what runs without Keras do not load it for this
        sys.modules["keras"].utils.set_random_seed(0)


def small_design(name: str, **changes) -> RunConfig:
    """Settings for a small network of any design, with the kind of sound and frames that it takes."""
    design = ARCHITECTURES[name]
    n_mels = {"fbank": 32, "mfcc": 40, "log_mel": 16}[design.audio.features]
    audio = dataclasses.replace(design.audio, n_mels=n_mels, n_mfcc=n_mels // 2, n_steps=16)
    video = dataclasses.replace(design.video, n_frames=4, image_size=32)
    model = {**SMALL_DESIGNS[name], **changes.pop("model", {})}
    return small_config(architecture=name, audio=audio, video=video, model=model, **changes)


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
