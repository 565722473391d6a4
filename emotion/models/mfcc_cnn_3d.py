"""The default design: a 2D-CNN on MFCCs and a 3D-CNN on frames, concatenated into dense layers."""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.models import fusion, video_cnn_3d
from emotion.models.layers import NORM_MOMENTUM, convolution_block
from emotion.models.video_cnn_3d import video_branch

DESCRIPTION = "2D-CNN on MFCCs and 3D-CNN on frames, concatenated into dense layers (the default)"


def default_config() -> dict[str, Any]:
    """Returns the design's own settings: channels of each stage, units of dense layers, dropout rates."""
    return {
        "audio_filters": [32, 64, 128],
        "audio_units": 128,
        "audio_dropout": 0.3,
        **video_cnn_3d.DEFAULTS,
        **fusion.DEFAULTS,
    }


def audio_branch(mfcc, settings: dict[str, Any]):
    """2D convolutions over MFCCs, then mean and maximum over time.

    Only time is averaged: at which coefficient a pattern is matters, when it is does not. Averaging over both, as is
    usual for pictures, costs ten points of recall.

    Shape:
        ``(batch, n_mfcc, n_steps, 1)`` to ``(batch, audio_units)``.
    """
    # Normalise each coefficient by itself: their levels and spreads differ.
    x = layers.BatchNormalization(axis=1, momentum=NORM_MOMENTUM, name="audio_scale")(mfcc)
    for i, filters in enumerate(settings["audio_filters"], start=1):
        x = convolution_block(x, filters, 3, name=f"audio_conv{i}a")
        x = convolution_block(x, filters, 3, name=f"audio_conv{i}b")
        pool = (2, 2) if i <= 2 else (2, 1)  # the last steps are a quarter of a second; coarser ones cost recall
        x = layers.MaxPooling2D(pool, padding="same", name=f"audio_pool{i}")(x)
        x = layers.SpatialDropout2D(settings["audio_dropout"] / 2, name=f"audio_drop{i}")(x)
    x = layers.Permute((2, 1, 3), name="audio_time_first")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="audio_steps")(x)
    x = layers.Dense(settings["audio_units"], use_bias=False, name="audio_dense")(x)
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_dense_norm")(x)
    x = layers.ReLU(name="audio_dense_relu")(x)
    mean = layers.GlobalAveragePooling1D(name="audio_mean")(x)
    peak = layers.GlobalMaxPooling1D(name="audio_peak")(x)
    x = layers.Concatenate(name="audio_vector")([mean, peak])
    x = layers.Dropout(settings["audio_dropout"], name="audio_drop")(x)
    return layers.Dense(settings["audio_units"], activation="relu", name="audio_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``."""
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_fused_model(
        config, settings, audio_branch=audio_branch, video_branch=video_branch, any_length=True
    )


def build_voice_network(config: RunConfig) -> keras.Model:
    """Builds the audio branch with its own output; see ``fusion.build_audio_network``."""
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_audio_network(config, settings, audio_branch=audio_branch)
