"""Layers that apply a network for single pictures to clips: fold frames into the batch, scale pixels, pool frames.

Only ``keras.ops`` are used. Folding costs nothing; applying a network frame by frame takes fifteen times as long.
"""

import keras
from keras import layers, ops

from emotion.models.layers import PACKAGE

# Mean and standard deviation of ImageNet's channels, as parts of 255; ResNets trained on it expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FoldFrames(layers.Layer):
    """Turns every frame of a clip into a picture of the batch.

    Shape:
        ``(batch, n_frames, height, width, channels)`` of any type to ``(batch * n_frames, height, width, channels)``.
    """

    def call(self, frames):
        return ops.cast(ops.reshape(frames, (-1, *frames.shape[2:])), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, n_frames, *rest = input_shape
        return (None if batch is None else batch * n_frames, *rest)


@keras.saving.register_keras_serializable(package=PACKAGE)
class UnfoldFrames(layers.Layer):
    """Groups the features of frames by clip again.

    Shape:
        ``(batch * n_frames, n_features)`` to ``(batch, n_frames, n_features)``.
    """

    def __init__(self, n_frames: int, **kwargs):
        super().__init__(**kwargs)
        self.n_frames = n_frames

    def call(self, features):
        return ops.reshape(features, (-1, self.n_frames, features.shape[-1]))

    def compute_output_shape(self, input_shape):
        batch, n_features = input_shape
        return (None if batch is None else batch // self.n_frames, self.n_frames, n_features)

    def get_config(self):
        return {**super().get_config(), "n_frames": self.n_frames}


@keras.saving.register_keras_serializable(package=PACKAGE)
class ScalePixels(layers.Layer):
    """Subtracts a mean from pixels and divides by a deviation.

    Args:
        mean, deviation: for each of three channels, in grey levels, 0 to 255.

    Shape:
        ``(..., 3)`` to the same.
    """

    def __init__(self, mean, deviation, **kwargs):
        super().__init__(**kwargs)
        self.mean = [float(value) for value in mean]
        self.deviation = [float(value) for value in deviation]

    def call(self, pixels):
        mean = ops.convert_to_tensor(self.mean, dtype=self.compute_dtype)
        deviation = ops.convert_to_tensor(self.deviation, dtype=self.compute_dtype)
        return (ops.cast(pixels, self.compute_dtype) - mean) / deviation

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "deviation": self.deviation}


@keras.saving.register_keras_serializable(package=PACKAGE)
class PresentFrames(layers.Layer):
    """Which frames hold a picture: all zeros stand for a moment without one.

    Shape:
        ``(batch, n_frames, height, width, channels)`` to bool ``(batch, n_frames)``.
    """

    def call(self, frames):
        return ops.any(ops.not_equal(frames, 0), axis=(2, 3, 4))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[:2])

    def compute_output_spec(self, frames):
        return keras.KerasTensor(self.compute_output_shape(frames.shape), dtype="bool")


@keras.saving.register_keras_serializable(package=PACKAGE)
class PooledFrames(layers.Layer):
    """Mean and maximum over the frames that hold a picture; zeros if none does.

    Shape:
        features ``(batch, n_frames, n_features)`` and bool ``(batch, n_frames)`` to ``(batch, 2 * n_features)``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True  # it gets its own mask, and Keras's mask ends here

    def compute_mask(self, inputs, mask=None):
        return None

    def call(self, inputs):
        features, present = inputs
        weights = ops.cast(present, features.dtype)[..., None]
        n_present = ops.sum(weights, axis=1)
        mean = ops.sum(features * weights, axis=1) / ops.maximum(n_present, 1.0)
        lowest = ops.min(features, axis=1, keepdims=True)
        peak = ops.max(features * weights + lowest * (1 - weights), axis=1) * ops.minimum(n_present, 1.0)
        return ops.concatenate([mean, peak], axis=-1)

    def compute_output_shape(self, input_shape):
        batch, _, n_features = input_shape[0]
        return (batch, 2 * n_features)
