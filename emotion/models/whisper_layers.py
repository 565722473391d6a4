"""The encoder of Whisper (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision").

Two convolutions halve the steps, fixed sinusoids add their positions, pre-norm transformer blocks follow. Only
``keras.ops`` are used, so every backend runs it, and every size but the batch's is known, so that it can be exported.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from emotion.models.attention import gelu, transformer_block
from emotion.models.layers import PACKAGE

NORM_EPSILON = 1e-5  # PyTorch's, with which Whisper was trained
LONGEST_PERIOD = 10000
VOICED_RANGE_DB = 35.0
DECADES_PER_UNIT = 4.0  # Whisper's log-mel is a quarter of the decimal logarithm of the power


@keras.saving.register_keras_serializable(package=PACKAGE)
class SinusoidalPositions(layers.Layer):
    """Adds fixed sinusoidal positions (Vaswani et al. 2017, in Whisper's order).

    Shape:
        ``(batch, n_steps, width)`` to the same; the width must be even.
    """

    def build(self, input_shape):
        self._waves = compute_positions(*input_shape[1:])

    def call(self, x):
        return x + ops.convert_to_tensor(self._waves[None], dtype=x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


def compute_positions(n_steps: int, width: int) -> np.ndarray:
    """Returns ``(n_steps, width)`` float32: sines of falling frequency, then their cosines."""
    frequencies = np.exp(-np.log(LONGEST_PERIOD) / (width // 2 - 1) * np.arange(width // 2))
    angles = np.arange(n_steps)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PeakShift(layers.Layer):
    """Shifts a log-mel picture so that its maximum is ``peak``, however loud the recording is.

    Args:
        peak: in the picture's unit, which is 40 dB.

    Shape:
        ``(batch, n_mels, n_steps, 1)`` to the same.
    """

    def __init__(self, peak: float, **kwargs):
        super().__init__(**kwargs)
        self.peak = peak

    def call(self, picture):
        return picture + (self.peak - ops.max(picture, axis=(1, 2, 3), keepdims=True))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "peak": self.peak}


@keras.saving.register_keras_serializable(package=PACKAGE)
class VoicedSteps(layers.Layer):
    """1 from the first to the last loud step, 0 for the quiet before and after speech.

    Loud steps lie within ``range_db`` of the loudest one. In a picture without sound all steps are 1.

    Args:
        factor: steps of the picture for each step of the result.

    Shape:
        a log-mel picture ``(batch, n_mels, n_steps, 1)`` to ``(batch, n_steps / factor rounded up, 1)``.
    """

    def __init__(self, factor: int = 2, range_db: float = VOICED_RANGE_DB, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.range_db = range_db

    def call(self, picture):
        n_steps = picture.shape[2]
        n_results = -(-n_steps // self.factor)
        # Relative to the maximum, so that no exponent overflows.
        relative = picture[..., 0] - ops.max(picture, axis=(1, 2))[..., None]
        power = ops.mean(ops.exp(relative * (DECADES_PER_UNIT * math.log(10))), axis=1)
        power = ops.pad(power, [[0, 0], [0, n_results * self.factor - n_steps]])
        power = ops.mean(ops.reshape(power, (-1, n_results, self.factor)), axis=2)
        threshold = ops.max(power, axis=1, keepdims=True) * 10 ** (-self.range_db / 10)
        loud = ops.cast(power >= threshold, self.compute_dtype)
        places = ops.convert_to_tensor(np.arange(n_results)[None], dtype=self.compute_dtype)
        first = ops.min(places * loud + n_results * (1 - loud), axis=1, keepdims=True)
        last = ops.max(places * loud, axis=1, keepdims=True)
        voiced = ops.cast(places >= first, self.compute_dtype) * ops.cast(places <= last, self.compute_dtype)
        return voiced[..., None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], -(-input_shape[2] // self.factor), 1)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "range_db": self.range_db}


@keras.saving.register_keras_serializable(package=PACKAGE)
class MaskedStatistics(layers.Layer):
    """Mean and standard deviation over the steps in a mask (Snyder et al. 2018).

    Shape:
        features ``(batch, n_steps, width)`` and mask ``(batch, n_steps, 1)`` to ``(batch, 2 * width)``.
    """

    def call(self, inputs):
        features, mask = inputs
        n_marked = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
        mean = ops.sum(features * mask, axis=1, keepdims=True) / n_marked
        variance = ops.sum(ops.square(features - mean) * mask, axis=1) / n_marked[:, 0]
        # The epsilon keeps the root's gradient finite where nothing varies.
        return ops.concatenate([mean[:, 0], ops.sqrt(variance + keras.config.epsilon())], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], 2 * input_shape[0][-1])


def whisper_encoder(picture, *, width: int, n_heads: int, n_blocks: int, name: str) -> list[Any]:
    """The first blocks of Whisper's encoder, without its final norm.

    Args:
        picture: log-mel ``(batch, n_mels, n_steps, 1)``.
        width, n_heads, n_blocks: 384, 6 and 4 in tiny.

    Returns:
        The input of the first block and the output of each: ``n_blocks + 1`` times ``(batch, n_steps / 2 rounded up,
        width)``, in steps of 20 ms.
    """
    x = layers.Reshape(picture.shape[1:3], name=f"{name}_bands")(picture)
    x = layers.Permute((2, 1), name=f"{name}_steps")(x)
    for i, strides in ((1, 1), (2, 2)):
        # With a stride of 2, Keras's own padding would be at the end only.
        x = layers.ZeroPadding1D(1, name=f"{name}_pad{i}")(x)
        x = layers.Conv1D(width, 3, strides=strides, activation=gelu, name=f"{name}_conv{i}")(x)
    outputs = [SinusoidalPositions(name=f"{name}_positions")(x)]
    for i in range(1, n_blocks + 1):
        x = transformer_block(
            outputs[-1], n_heads, hidden=4 * width, epsilon=NORM_EPSILON, key_bias=False, name=f"{name}_block{i}"
        )
        outputs.append(x)
    return outputs
