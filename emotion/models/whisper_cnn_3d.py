"""A design: the first blocks of Whisper's encoder on sound and a 3D-CNN on frames, joined by dense layers.

Whisper (Radford et al. 2022) was trained on hundreds of thousands of hours of speech; features of its first blocks tell
emotions apart far better than handmade ones. The network starts from random weights;
``emotion.training.recipes.whisper_weights`` loads OpenAI's. Recipes train the audio branch on voices, and
``whisper_mobilenet`` has the same one.
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import fusion, video_cnn_3d
from emotion.models.layers import EXACT, NORM_MOMENTUM
from emotion.models.video_cnn_3d import video_branch
from emotion.models.whisper_layers import MaskedStatistics, PeakShift, VoicedSteps, whisper_encoder

DESCRIPTION = "first blocks of Whisper tiny.en on sound and 3D-CNN on frames, concatenated into dense layers"

ENCODER = "audio_whisper"
AUDIO_DEFAULTS = {
    "whisper_width": 384,
    "whisper_heads": 6,
    "whisper_blocks": 2,
    "whisper_pooled": [2],
    "whisper_peak": 1.5,
    "audio_units": 128,
    "audio_dropout": 0.3,
}


def default_config() -> dict[str, Any]:
    """Returns the design's own settings.

    ``whisper_width``, ``whisper_heads``: the encoder's size; tiny.en's by default.
    ``whisper_blocks``: number of transformer blocks.
    ``whisper_pooled``: blocks whose outputs are used; 0 is the input of the first.
    ``whisper_peak``: maximum that each log-mel picture is shifted to, so that loudness has no influence; null for no
    shift. On RAVDESS the shift costs 0.3 points of recall; without it a voice 24 dB quieter costs 14.
    """
    return {**AUDIO_DEFAULTS, **video_cnn_3d.DEFAULTS, **fusion.DEFAULTS}


def whisper_statistics(picture, settings: dict[str, Any]):
    """Whisper's first blocks, then mean and deviation over the voiced part.

    Shape:
        log-mel ``(batch, n_mels, n_steps, 1)`` to ``(batch, n_pooled_blocks * 2 * whisper_width)``.
    """
    levelled = picture
    if settings["whisper_peak"] is not None:
        levelled = PeakShift(settings["whisper_peak"], dtype=EXACT, name="audio_level")(picture)
    outputs = whisper_encoder(
        levelled,
        width=settings["whisper_width"],
        n_heads=settings["whisper_heads"],
        n_blocks=settings["whisper_blocks"],
        name=ENCODER,
    )
    chosen = [outputs[block] for block in settings["whisper_pooled"]]
    voiced = VoicedSteps(dtype=EXACT, name="audio_voiced")(picture)
    names = [f"audio_statistics{i}" for i in range(1, len(chosen) + 1)]
    pooled = [MaskedStatistics(dtype=EXACT, name=name)([x, voiced]) for x, name in zip(chosen, names, strict=True)]
    return layers.Identity(name="audio_vector")(pooled[0] if len(pooled) == 1 else layers.Concatenate()(pooled))


def audio_branch(picture, settings: dict[str, Any]):
    """Whisper's features through two dense layers: log-mel to ``(batch, audio_units)``."""
    x = whisper_statistics(picture, settings)
    # A few of Whisper's channels are a hundred times larger than the others.
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_scale")(x)
    x = layers.Dropout(settings["audio_dropout"], name="audio_pool_drop")(x)
    x = layers.Dense(settings["audio_units"], use_bias=False, name="audio_dense")(x)
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_dense_norm")(x)
    x = layers.ReLU(name="audio_dense_relu")(x)
    x = layers.Dropout(settings["audio_dropout"], name="audio_drop")(x)
    return layers.Dense(settings["audio_units"], activation="relu", name="audio_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``."""
    settings = _complete_settings(config)
    return fusion.build_fused_model(
        config, settings, audio_branch=audio_branch, video_branch=video_branch, any_length=True
    )


def build_voice_network(config: RunConfig) -> keras.Model:
    """Builds the audio branch with its own output; see ``fusion.build_audio_network``."""
    return fusion.build_audio_network(config, _complete_settings(config), audio_branch=audio_branch)


def whisper_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns Whisper's own layers, from the input on."""
    return [layer for layer in model.layers if layer.name.startswith(f"{ENCODER}_")]


def _complete_settings(config: RunConfig) -> dict[str, Any]:
    """Completes the design's settings and checks those of Whisper.

    Raises:
        ConfigError: for an unknown name, or blocks or heads that are not possible.
    """
    settings = fusion.complete_settings(config.model, default_config())
    check_whisper(settings)
    return settings


def check_whisper(settings: dict[str, Any]) -> None:
    """Raises ConfigError for blocks or heads that are not possible."""
    width, n_heads = settings["whisper_width"], settings["whisper_heads"]
    if width < 4 or width % 2 or n_heads < 1 or width % n_heads:
        raise ConfigError(f"whisper_width must be even and divisible by whisper_heads ({n_heads}), got {width}.")
    n_blocks, pooled = settings["whisper_blocks"], settings["whisper_pooled"]
    if not pooled or any(block not in range(n_blocks + 1) for block in pooled) or len(set(pooled)) != len(pooled):
        raise ConfigError(f"whisper_pooled must hold different blocks from 0 to {n_blocks}, got {pooled}.")
