"""Layers and blocks that several designs share. Only ``keras.ops`` are used, so every Keras backend runs them."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import layers, ops

PACKAGE = "emotion"

# For parts that half precision would spoil, under every policy: sums over many steps or pixels, decibels, the loss.
EXACT = "float32"

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in FER2013's grey pictures

# Keras's 0.99 needs hundreds of steps to settle; a few hundred clips make only a few dozen steps an epoch.
NORM_MOMENTUM = 0.9

ABSENT = 1e4  # taken from the score of what is absent, so that a softmax gives it nothing


@keras.saving.register_keras_serializable(package=PACKAGE)
class FaceStandardization(layers.Layer):
    """Makes pictures grey with mean 0 and deviation 1, whatever the camera's colours, brightness and contrast.

    Args:
        shrink: each block of ``shrink`` x ``shrink`` pixels is averaged into one.

    Shape:
        ``(..., height, width, 3)``, RGB 0 to 255 of any type, to ``(..., height / shrink, width / shrink, 1)``.
    """

    def __init__(self, shrink: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.shrink = shrink

    def call(self, images):
        shape = self.compute_output_shape(images.shape)[1:]
        images = ops.reshape(ops.cast(images, self.compute_dtype), (-1, *images.shape[-3:]))
        kernel = np.tile(LUMA, (self.shrink, self.shrink, 1))[..., None] / self.shrink**2
        kernel = ops.convert_to_tensor(kernel, dtype=self.compute_dtype)
        # One convolution for grey and average takes a third of the time of two steps.
        grey = ops.reshape(ops.conv(images, kernel, strides=self.shrink, padding="valid"), (-1, *shape))
        centred = grey - ops.mean(grey, axis=(-3, -2, -1), keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(centred), axis=(-3, -2, -1), keepdims=True))
        # One grey level more keeps the noise of an even picture small.
        return centred / (deviation + 1.0)

    def compute_output_shape(self, input_shape):
        height, width = (side // self.shrink for side in input_shape[-3:-1])
        return (*input_shape[:-3], height, width, 1)

    def get_config(self):
        return {**super().get_config(), "shrink": self.shrink}


@keras.saving.register_keras_serializable(package=PACKAGE)
class EvidencePresent(layers.Layer):
    """1 where an input holds anything, 0 where it is all zeros, which means absent evidence.

    Shape:
        ``(batch, ...)`` to ``(batch, 1)``.
    """

    def call(self, inputs):
        flat = ops.reshape(ops.cast(inputs, self.compute_dtype), (ops.shape(inputs)[0], -1))
        return ops.cast(ops.max(ops.abs(flat), axis=1, keepdims=True) > 0, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class StillPicture(layers.Layer):
    """1 where all frames of a clip are identical, as for a photograph, else 0; in models made before ``FrameSigns``.

    Every fourth pixel is compared, and only the green channel: a camera's noise alone makes frames differ.

    Shape:
        ``(batch, n_frames, height, width, 3)`` to ``(batch, 1)``.
    """

    def call(self, frames):
        seen = ops.cast(frames[:, :, ::4, ::4, 1], self.compute_dtype)
        motion = ops.max(ops.abs(seen - seen[:, :1]), axis=(1, 2, 3))
        return ops.cast(motion == 0, self.compute_dtype)[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ModalityDropout(layers.Layer):
    """Hides, in training, one of two modalities from some of the windows that have both (Neverova et al. 2016).

    So the network learns to answer from sound alone, from pictures alone, and from both.

    Args:
        rate: chance that a window with both loses one; either is equally likely.

    Shape:
        two presences ``(batch, 1)``, 1 or 0, to the same, with some ones turned to zeros.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"ModalityDropout: rate must lie in [0, 1), got {rate}.")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, presences, training=False):
        first, second = presences
        if not training or self.rate == 0:
            return first, second
        draw = keras.random.uniform(ops.shape(first), seed=self.seed_generator, dtype=self.compute_dtype)
        hide_first = ops.cast(draw < self.rate / 2, self.compute_dtype) * second
        hide_second = ops.cast(draw > 1 - self.rate / 2, self.compute_dtype) * first
        return first * (1 - hide_first), second * (1 - hide_second)

    def compute_output_shape(self, input_shape):
        return tuple(tuple(shape) for shape in input_shape)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package=PACKAGE)
class MomentAttention(layers.Layer):
    """A mean over moments, weighted by their features (Meng et al. 2019, "Frame attention"); equally before training.

    Shape:
        moments ``(batch, n_moments, n_features)`` and, if some of them are absent, 1 or 0 for each ``(batch, n_moments,
        1)`` to ``(batch, n_features)``: zeros where no moment is present.
    """

    def build(self, input_shape):
        moments = input_shape[0] if isinstance(input_shape[0], list | tuple) else input_shape
        self.kernel = self.add_weight(shape=(moments[-1], 1), initializer="zeros", name="kernel")

    def call(self, inputs):
        moments, present = inputs if isinstance(inputs, list | tuple) else (inputs, None)
        scores = ops.matmul(moments, self.kernel)
        if present is None:
            present = ops.ones_like(scores)
        scores = scores - ABSENT * (1 - present)
        weights = ops.exp(scores - ops.max(scores, axis=1, keepdims=True)) * present
        return ops.sum(weights * moments, axis=1) / ops.maximum(ops.sum(weights, axis=1), keras.config.epsilon())

    def compute_output_shape(self, input_shape):
        moments = input_shape[0] if isinstance(input_shape[0], list | tuple) else input_shape
        return (moments[0], moments[-1])


def convolution_block(x, filters: int, kernel, *, strides=1, activation: bool = True, name: str):
    """Convolution, batch normalisation and ReLU, in 2D or 3D as ``x`` is.

    Args:
        x: ``(batch, height, width, channels)`` or ``(batch, frames, height, width, channels)``.
        kernel, strides: an int, or one for each dimension.
        activation: whether to end with the ReLU.
    """
    convolution = layers.Conv2D if len(x.shape) == 4 else layers.Conv3D
    x = convolution(filters, kernel, strides=strides, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activation else x


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Builds the layers of the block under one of Keras's dtype policies, such as ``mixed_bfloat16``."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# ---- What a network holds ----


def norms_of(model: keras.Model) -> list[layers.BatchNormalization]:
    """Returns the batch normalisations of a network and of those within it."""
    return [layer for layer in _layers(model) if isinstance(layer, layers.BatchNormalization)]


def _layers(model: keras.Model) -> Iterable[layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
