"""The plainest design: a 2D-CNN on each of 15 faces, pooled over time, and a 1D-CNN on log-mel, into an MLP."""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.models import fusion
from emotion.models.frame_layers import FoldFrames, PooledFrames, PresentFrames, UnfoldFrames
from emotion.models.layers import EXACT, NORM_MOMENTUM, FaceStandardization, convolution_block
from emotion.models.whisper_layers import PeakShift

DESCRIPTION = "2D-CNN on 15 frames, pooled over time, and 1D-CNN on log-mel, concatenated into a small MLP"
PEAK = 1.0  # every log-mel picture is shifted to this maximum, so that loudness has no influence


def default_config() -> dict[str, Any]:
    """Returns the design's own settings: channels of each stage, units of dense layers, dropout rates."""
    return {
        "audio_filters": [96, 128, 160, 192],
        "audio_kernel": 5,
        "audio_units": 128,
        "audio_dropout": 0.3,
        "video_filters": [24, 48, 96, 192],
        "video_units": 128,
        "video_dropout": 0.3,
        **fusion.DEFAULTS,
    }


def audio_branch(picture, settings: dict[str, Any]):
    """1D convolutions over time, with the log-mel bands as channels, then mean and maximum over time.

    Shape:
        ``(batch, n_mels, n_steps, 1)`` to ``(batch, audio_units)``.
    """
    x = PeakShift(PEAK, dtype=EXACT, name="audio_level")(picture)
    x = layers.Reshape(picture.shape[1:3], name="audio_bands")(x)
    x = layers.Permute((2, 1), name="audio_steps")(x)
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_scale")(x)
    for i, filters in enumerate(settings["audio_filters"], start=1):
        x = layers.Conv1D(filters, settings["audio_kernel"], padding="same", use_bias=False, name=f"audio_conv{i}")(x)
        x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"audio_norm{i}")(x)
        x = layers.ReLU(name=f"audio_relu{i}")(x)
        x = layers.MaxPooling1D(2, padding="same", name=f"audio_pool{i}")(x)
        x = layers.SpatialDropout1D(settings["audio_dropout"] / 2, name=f"audio_drop{i}")(x)
    mean = layers.GlobalAveragePooling1D(name="audio_mean")(x)
    peak = layers.GlobalMaxPooling1D(name="audio_peak")(x)
    x = layers.Concatenate(name="audio_pool")([mean, peak])
    x = layers.Dropout(settings["audio_dropout"], name="audio_drop")(x)
    return layers.Dense(settings["audio_units"], activation="relu", name="audio_features")(x)


def video_branch(frames, signs, settings: dict[str, Any]):
    """2D convolutions on every frame, then mean and maximum over those with a face.

    Frames without a face have no influence on the answer; in training they shift the batch statistics a little.

    Shape:
        ``(batch, n_frames, size, size, 3)`` to ``(batch, video_units)``.
    """
    present = PresentFrames(name="video_present_frames")(frames)
    x = FoldFrames(name="video_fold")(frames)
    x = FaceStandardization(shrink=2, dtype=EXACT, name="video_standard")(x)
    for i, filters in enumerate(settings["video_filters"], start=1):
        x = convolution_block(x, filters, 3, strides=1 if i == 1 else 2, name=f"video_conv{i}a")
        if i > 1:
            x = convolution_block(x, filters, 3, name=f"video_conv{i}b")
    x = layers.GlobalAveragePooling2D(name="video_mean")(x)
    x = UnfoldFrames(frames.shape[1], name="video_unfold")(x)
    x = PooledFrames(name="video_pool")([x, present])
    x = layers.Dropout(settings["video_dropout"], name="video_drop")(x)
    return layers.Dense(settings["video_units"], activation="relu", name="video_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``."""
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_fused_model(config, settings, audio_branch=audio_branch, video_branch=video_branch)
