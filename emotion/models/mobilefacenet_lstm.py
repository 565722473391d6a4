"""MobileFaceNet on each face, a 2D-CNN on log-mel, an LSTM over time for each, then dense layers.

The light design, for utterances of any length: the LSTMs (Hochreiter & Schmidhuber 1997) skip moments without a face
and the silence after a short clip. MobileFaceNet: Chen et al. 2018.
"""

from typing import Any

import keras
from keras import layers, ops

from emotion.config import RunConfig
from emotion.models import fusion
from emotion.models.encoders import BOTTLENECKS, FIRST_CHANNELS, LAST_CHANNELS, mobilefacenet
from emotion.models.frame_layers import FoldFrames, PooledFrames, PresentFrames, UnfoldFrames
from emotion.models.layers import EXACT, NORM_MOMENTUM, PACKAGE, convolution_block
from emotion.models.whisper_layers import PeakShift

DESCRIPTION = "MobileFaceNet on faces and 2D-CNN on log-mel, an LSTM over time for each, concatenated"
ENCODER = "video_mobilefacenet"
PEAK = 1.0  # every log-mel picture is shifted to this maximum, so that loudness has no influence
PRETRAINED = {"mobilefacenet": ENCODER}
QUIET_UNITS = 1e-3  # a step that is nowhere further above the picture's minimum is silence


def default_config() -> dict[str, Any]:
    """Returns the design's own settings.

    ``mobilefacenet_bottlenecks``: expansion, channels, repetitions and stride of each run; the paper's by default.
    ``mobilefacenet_channels``: before and after the bottlenecks.
    The rest: channels of each audio stage, units of dense layers and LSTMs, dropout rates.
    """
    return {
        "mobilefacenet_bottlenecks": [list(run) for run in BOTTLENECKS],
        "mobilefacenet_channels": [FIRST_CHANNELS, LAST_CHANNELS],
        "video_units": 128,
        "video_dropout": 0.3,
        "audio_filters": [24, 48, 96],
        "audio_units": 128,
        "audio_dropout": 0.3,
        **fusion.DEFAULTS,
    }


@keras.saving.register_keras_serializable(package=PACKAGE)
class HeardSteps(layers.Layer):
    """Which steps of a log-mel picture hold sound: those above the picture's minimum in any band.

    Args:
        factor: steps of the picture for each step of the result; one with sound is enough.

    Shape:
        ``(batch, n_mels, n_steps, 1)`` to bool ``(batch, n_steps / factor rounded up)``.
    """

    def __init__(self, factor: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, picture):
        n_steps = picture.shape[2]
        floor = ops.min(picture, axis=(1, 2, 3), keepdims=False)[:, None]
        heard = ops.max(picture, axis=(1, 3)) > floor + QUIET_UNITS
        n_results = -(-n_steps // self.factor)
        heard = ops.pad(ops.cast(heard, "int32"), [[0, 0], [0, n_results * self.factor - n_steps]])
        return ops.max(ops.reshape(heard, (-1, n_results, self.factor)), axis=2) > 0

    def compute_output_shape(self, input_shape):
        return (input_shape[0], -(-input_shape[2] // self.factor))

    def compute_output_spec(self, picture):
        return keras.KerasTensor(self.compute_output_shape(picture.shape), dtype="bool")

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def audio_branch(picture, settings: dict[str, Any]):
    """2D convolutions over log-mel, then an LSTM over the remaining steps; silence is skipped.

    Shape:
        ``(batch, n_mels, n_steps, 1)`` to ``(batch, audio_units)``.
    """
    filters = settings["audio_filters"]
    heard = HeardSteps(2 ** len(filters), name="audio_heard")(picture)
    x = PeakShift(PEAK, dtype=EXACT, name="audio_level")(picture)
    x = layers.BatchNormalization(axis=1, momentum=NORM_MOMENTUM, name="audio_scale")(x)
    for i, channels in enumerate(filters, start=1):
        # The first one halves the picture by its stride; without that it would take most of the time.
        x = convolution_block(x, channels, 3, strides=2 if i == 1 else 1, name=f"audio_conv{i}")
        if i > 1:
            x = layers.MaxPooling2D(2, padding="same", name=f"audio_pool{i}")(x)
        x = layers.SpatialDropout2D(settings["audio_dropout"] / 2, name=f"audio_drop{i}")(x)
    x = layers.Permute((2, 1, 3), name="audio_time_first")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="audio_steps")(x)
    x = layers.Dense(settings["audio_units"], use_bias=False, name="audio_dense")(x)
    # Without this norm the LSTM does not learn: on RAVDESS its loss stays put for 20 epochs.
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_dense_norm")(x)
    x = layers.ReLU(name="audio_dense_relu")(x)
    return _over_time(x, heard, settings["audio_units"], settings["audio_dropout"], "audio")


def video_branch(frames, signs, settings: dict[str, Any]):
    """MobileFaceNet on every frame, then an LSTM over those with a face.

    Frames without a face have no influence on the answer; in training they shift the batch statistics a little.

    Shape:
        ``(batch, n_frames, size, size, 3)`` to ``(batch, video_units)``.
    """
    present = PresentFrames(name="video_present_frames")(frames)
    first, last = settings["mobilefacenet_channels"]
    x = mobilefacenet(
        FoldFrames(name="video_fold")(frames), n_features=settings["video_units"], first=first, last=last,
        bottlenecks=settings["mobilefacenet_bottlenecks"], norm_momentum=NORM_MOMENTUM, name=ENCODER,
    )  # fmt: skip
    x = UnfoldFrames(frames.shape[1], name="video_unfold")(x)
    return _over_time(x, present, settings["video_units"], settings["video_dropout"], "video")


def _over_time(x, mask, units: int, dropout: float, name: str):
    """An LSTM over the masked steps, then mean and maximum over all its outputs.

    Its last output alone would describe the breath after a sentence.
    """
    x = layers.Dropout(dropout, name=f"{name}_sequence_drop")(x)
    # cuDNN's LSTM cannot skip steps in the middle.
    x = layers.LSTM(units, return_sequences=True, use_cudnn=False, name=f"{name}_lstm")(x, mask=mask)
    x = PooledFrames(name=f"{name}_pool")([x, mask])
    x = layers.Dropout(dropout, name=f"{name}_drop")(x)
    return layers.Dense(units, activation="relu", name=f"{name}_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``."""
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_fused_model(config, settings, audio_branch=audio_branch, video_branch=video_branch)
