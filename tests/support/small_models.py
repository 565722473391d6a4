"""Settings under which a network of any design trains in seconds."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from emotion.config import AudioConfig, RunConfig, TrainConfig, VideoConfig, WindowConfig
from emotion.models import ARCHITECTURES

EMOTIONS = ("happy", "sad")
TINY_DESIGN = "tiny"  # in ``tiny_design.py``, which imports Keras

# For ``train_model.py --config``: what is not named here is as shipped.
SMALL_SETTINGS = {
    "audio": {"n_mfcc": 20, "n_steps": 16, "n_mels": 40},
    "video": {"n_frames": 4, "image_size": 32},
    "model": {"audio_filters": [4], "video_filters": [4, 8]},
}


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


def tiny_config(**changes) -> RunConfig:
    """The same for the test design of a few layers; needs the fixture ``tiny_design``."""
    return small_config(architecture=TINY_DESIGN, model={}, **changes)


SHIPPED_DESIGNS = ("mfcc_cnn_3d", "whisper_mobilenet")


def list_designs(always: Sequence[str] = SHIPPED_DESIGNS) -> list:
    """All designs as parameters of a test: some always, the others when there is time."""
    others = sorted(set(ARCHITECTURES) - set(always))
    return [*always, *(pytest.param(name, marks=pytest.mark.thorough) for name in others)]


# Each design's own settings, as small as they can be and still hold every part.
SMALL_DESIGNS = {
    "mfcc_cnn_3d": small_config().model,
    "whisper_cnn_3d": {
        **{"whisper_width": 8, "whisper_heads": 2, "whisper_blocks": 1, "whisper_pooled": [1], "audio_units": 8},
        **{"video_filters": [4, 8], "video_units": 8, "fusion_units": 8},
    },
    "whisper_mobilenet": {
        **{"whisper_width": 8, "whisper_heads": 2, "whisper_blocks": 1, "whisper_pooled": [1], "audio_units": 8},
        **{"mobilenet_filters": [4, 8, 8], "video_units": 8, "fusion_units": 8},
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
    "wav2vec2": {
        **{"wav2vec2_width": 16, "wav2vec2_heads": 2, "wav2vec2_blocks": 2, "wav2vec2_channels": [8] * 7},
        **{"audio_units": 8, "video_filters": [4, 8], "video_units": 8, "fusion_units": 8},
    },
}
SMALL_EFFICIENTFACE = {
    "video_encoder": "efficientface", "efficientface_channels": [4, 8, 12, 16, 10], "efficientface_repeats": [2, 1, 2],
}  # fmt: skip
WITHOUT_DROPOUT = {"audio_dropout": 0.0, "video_dropout": 0.0, "fusion_dropout": 0.0}


def small_design(name: str, **changes) -> RunConfig:
    """Settings for a small network of any design, with the kind of sound and frames that it takes."""
    design = ARCHITECTURES[name]
    n_mels = {"fbank": 32, "mfcc": 40, "log_mel": 16, "waveform": 16}[design.audio.features]
    audio = dataclasses.replace(design.audio, n_mels=n_mels, n_mfcc=n_mels // 2, n_steps=16)
    video = dataclasses.replace(design.video, n_frames=4, image_size=32)
    model = {**SMALL_DESIGNS[name], **changes.pop("model", {})}
    return small_config(architecture=name, audio=audio, video=video, model=model, **changes)


def write_small_run(folder: Path, config: RunConfig, seed: int = 0, **options) -> Path:
    """Writes a run folder of an untrained network."""
    import keras

    from emotion.models import build_model
    from emotion.models.run_folder import write_run

    keras.utils.set_random_seed(seed)
    write_run(folder, config, build_model(config), **options)
    return folder


def random_inputs(config, n: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = {
        "audio": rng.normal(size=(n, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(0, 256, (n, *config.video_shape), dtype=np.uint8),
    }
    return {name: inputs[name] for name in config.modalities}


def count_patches(n_mels: int, n_steps: int) -> tuple[int, int]:
    """The patches of an Audio Spectrogram Transformer along the bands and along the steps."""
    from emotion.models.encoders import PATCH_SIZE, STRIDE  # imports Keras

    return tuple((size - PATCH_SIZE) // STRIDE + 1 for size in (n_mels, n_steps))
