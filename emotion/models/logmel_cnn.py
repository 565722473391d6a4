"""The plainest design: a 2D-CNN on each of 15 faces, pooled over time, and a 1D-CNN on log-mel, into an MLP.

With the weights ``efficientface`` each face goes through EfficientFace instead, as in katerynaCh's
multimodal-emotion-recognition (Chumachenko et al. 2022).
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import fusion
from emotion.models.efficientface import CHANNELS, REPEATS, SIDE_FACTOR, efficientface
from emotion.models.frame_layers import FoldFrames, PooledFrames, PresentFrames, UnfoldFrames
from emotion.models.layers import EXACT, NORM_MOMENTUM, FaceStandardization, convolution_block
from emotion.models.whisper_layers import PeakShift

DESCRIPTION = "2D-CNN on 15 frames, pooled over time, and 1D-CNN on log-mel, concatenated into a small MLP"
PEAK = 1.0  # every log-mel picture is shifted to this maximum, so that loudness has no influence
ENCODER = "video_efficientface"
PRETRAINED = {"efficientface": ENCODER}
VIDEO_ENCODERS = ("cnn", "efficientface")


def default_config() -> dict[str, Any]:
    """Returns the design's own settings.

    ``video_encoder``: ``cnn``, the small one with ``video_filters``; or ``efficientface``, with
    ``efficientface_channels`` and ``efficientface_repeats``, the published ones by default.
    The rest: channels of each stage, units of dense layers, dropout rates.
    """
    return {
        "audio_filters": [96, 128, 160, 192],
        "audio_kernel": 5,
        "audio_units": 128,
        "audio_dropout": 0.3,
        "video_encoder": "cnn",
        "video_filters": [24, 48, 96, 192],
        "efficientface_channels": list(CHANNELS),
        "efficientface_repeats": list(REPEATS),
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
    """2D convolutions or EfficientFace on every frame, then mean and maximum over those with a face.

    Frames without a face have no influence on the answer; in training they shift the batch statistics a little.

    Shape:
        ``(batch, n_frames, size, size, 3)`` to ``(batch, video_units)``.
    """
    present = PresentFrames(name="video_present_frames")(frames)
    x = FoldFrames(name="video_fold")(frames)
    if settings["video_encoder"] == "efficientface":
        x = efficientface(
            x, channels=settings["efficientface_channels"], repeats=settings["efficientface_repeats"], name=ENCODER
        )
    else:
        x = _small_cnn(x, settings["video_filters"])
    x = UnfoldFrames(frames.shape[1], name="video_unfold")(x)
    x = PooledFrames(name="video_pool")([x, present])
    x = layers.Dropout(settings["video_dropout"], name="video_drop")(x)
    return layers.Dense(settings["video_units"], activation="relu", name="video_features")(x)


def _small_cnn(faces, stages: list[int]):
    x = FaceStandardization(shrink=2, dtype=EXACT, name="video_standard")(faces)
    for i, filters in enumerate(stages, start=1):
        x = convolution_block(x, filters, 3, strides=1 if i == 1 else 2, name=f"video_conv{i}a")
        if i > 1:
            x = convolution_block(x, filters, 3, name=f"video_conv{i}b")
    return layers.GlobalAveragePooling2D(name="video_mean")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``.

    Raises:
        ConfigError: for an unknown setting, or faces or weights that do not go with ``video_encoder``.
    """
    settings = fusion.complete_settings(config.model, default_config())
    encoder = settings["video_encoder"]
    if encoder not in VIDEO_ENCODERS:
        raise ConfigError(f"model.video_encoder must be one of {', '.join(VIDEO_ENCODERS)}, got {encoder!r}.")
    if "video" in config.modalities and encoder == "cnn" and "efficientface" in config.training.pretrained:
        raise ConfigError("The weights 'efficientface' need model.video_encoder 'efficientface', got 'cnn'.")
    if encoder == "efficientface" and config.video.image_size % SIDE_FACTOR:
        raise ConfigError(
            f"EfficientFace needs video.image_size to be a multiple of {SIDE_FACTOR}, got {config.video.image_size}."
        )
    return fusion.build_fused_model(config, settings, audio_branch=audio_branch, video_branch=video_branch)
