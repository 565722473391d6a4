"""wav2vec 2.0, HuBERT or WavLM on raw speech, the voice expert; beside it the 3D-CNN on frames.

Meant to start from pretrained weights: ``python -m emotion.weights wav2vec2`` (``wav2vec2_large``, ``hubert``,
``wavlm``). All blocks' outputs are mixed by learned weights, then averaged over time (Pepino et al. 2021).
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import fusion, video_cnn_3d
from emotion.models.layers import NORM_MOMENTUM
from emotion.models.speech_encoder import CHANNELS, KERNELS, NORMS, POSITION_GROUPS, BlockMix, speech_encoder
from emotion.models.video_cnn_3d import video_branch

DESCRIPTION = "wav2vec 2.0 (or HuBERT, WavLM) on raw speech and 3D-CNN on frames, concatenated"
ENCODER = "audio_wav2vec2"
PRETRAINED = dict.fromkeys(("wav2vec2", "wav2vec2_large", "hubert", "wavlm"), ENCODER)


def default_config() -> dict[str, Any]:
    """Returns the design's own settings.

    ``wav2vec2_width``, ``wav2vec2_heads``, ``wav2vec2_blocks``: the transformer's size; that of the base models.
    ``wav2vec2_channels``: of the seven convolutions.
    ``wav2vec2_conv_norm``: ``group`` or ``layer``; ``wav2vec2_conv_bias``: whether the convolutions have biases.
    ``wav2vec2_pre_norm``: whether the blocks' norms come first ("stable layer norm").
    ``wav2vec2_distances``: WavLM's attention.
    """
    return {
        "wav2vec2_width": 768,
        "wav2vec2_heads": 12,
        "wav2vec2_blocks": 12,
        "wav2vec2_channels": list(CHANNELS),
        "wav2vec2_conv_norm": "group",
        "wav2vec2_conv_bias": False,
        "wav2vec2_pre_norm": False,
        "wav2vec2_distances": False,
        "audio_units": 128,
        "audio_dropout": 0.3,
        **video_cnn_3d.DEFAULTS,
        **fusion.DEFAULTS,
    }


def encode(waveform, settings: dict[str, Any]) -> list:
    """The encoder that the settings describe; see ``speech_encoder``."""
    names = ("channels", "conv_norm", "conv_bias", "pre_norm", "distances")
    return speech_encoder(
        waveform, width=settings["wav2vec2_width"], n_heads=settings["wav2vec2_heads"],
        n_blocks=settings["wav2vec2_blocks"], **{name: settings[f"wav2vec2_{name}"] for name in names}, name=ENCODER,
    )  # fmt: skip


def audio_branch(waveform, settings: dict[str, Any]):
    """The encoder's mixed outputs, averaged over time, through a dense layer: samples to ``(batch, audio_units)``."""
    x = BlockMix(name="audio_mix")(encode(waveform, settings))
    x = layers.GlobalAveragePooling1D(name="audio_vector")(x)
    # Without this norm the few channels that are far larger than the others would drown them.
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_scale")(x)
    x = layers.Dropout(settings["audio_dropout"], name="audio_drop")(x)
    return layers.Dense(settings["audio_units"], activation="relu", name="audio_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``.

    Raises:
        ConfigError: for an unknown setting, or sizes that are not possible.
    """
    settings = fusion.complete_settings(config.model, default_config())
    width, n_heads, norm = (settings[f"wav2vec2_{name}"] for name in ("width", "heads", "conv_norm"))
    if width < 1 or n_heads < 1 or width % n_heads or width % POSITION_GROUPS:
        raise ConfigError(
            f"wav2vec2_width must be divisible by wav2vec2_heads ({n_heads}) and by {POSITION_GROUPS}, got {width}."
        )
    if norm not in NORMS:
        raise ConfigError(f"wav2vec2_conv_norm must be one of {', '.join(NORMS)}, got {norm!r}.")
    if len(settings["wav2vec2_channels"]) != len(KERNELS) or settings["wav2vec2_blocks"] < 1:
        raise ConfigError(f"wav2vec2 needs {len(KERNELS)} wav2vec2_channels and at least one of wav2vec2_blocks.")
    return fusion.build_fused_model(
        config, settings, audio_branch=audio_branch, video_branch=video_branch, any_length=True
    )
