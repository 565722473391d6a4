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
        return (None if None in (batch, n_frames) else batch * n_frames, *rest)


@keras.saving.register_keras_serializable(package=PACKAGE)
class UnfoldFrames(layers.Layer):
    """Groups what was computed of folded frames by clip again.

    Args:
        n_frames: of a clip; None for as many as the clip that is given beside them has.

    Shape:
        ``(batch * n_frames, ...)``, or a list of that and of clips ``(batch, n_frames, ...)``, to ``(batch, n_frames,
        ...)``.
    """

    def __init__(self, n_frames: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.n_frames = n_frames

    def call(self, inputs):
        folded, n_frames = inputs, self.n_frames
        if isinstance(inputs, list | tuple):
            folded, clips = inputs
            n_frames = ops.shape(clips)[1]
        return ops.reshape(folded, (-1, n_frames, *folded.shape[1:]))

    def compute_output_shape(self, input_shape):
        if isinstance(input_shape[0], list | tuple):
            folded, clips = input_shape
            return (*clips[:2], *folded[1:])
        batch, *rest = input_shape
        return (None if batch is None else batch // self.n_frames, self.n_frames, *rest)

    def compute_output_spec(self, inputs):
        first = inputs[0] if isinstance(inputs, list | tuple) else inputs
        shapes = [each.shape for each in inputs] if isinstance(inputs, list | tuple) else inputs.shape
        return keras.KerasTensor(self.compute_output_shape(shapes), dtype=first.dtype)

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


@keras.saving.register_keras_serializable(package=PACKAGE)
class FrameSigns(layers.Layer):
    """Two signs of each frame: whether it holds a picture, and whether that equals the one before it.

    All zeros stand for a moment without a picture. A frame with none before it counts as equal, so that in a photograph
    all frames do. Every fourth pixel is compared, and only the green channel: a camera's noise alone makes frames
    differ.

    Shape:
        ``(batch, n_frames, height, width, 3)`` to ``(batch, n_frames, 2)``, 1 or 0.
    """

    def call(self, frames):
        present = ops.cast(ops.any(ops.not_equal(frames, 0), axis=(2, 3, 4)), self.compute_dtype)
        green = ops.cast(frames[:, :, ::4, ::4, 1], self.compute_dtype)
        before = ops.concatenate([green[:, :1], green[:, :-1]], axis=1)
        was_present = ops.concatenate([present[:, :1] * 0, present[:, :-1]], axis=1)
        moved = ops.cast(ops.max(ops.abs(green - before), axis=(2, 3)) > 0, self.compute_dtype)
        return ops.stack([present, 1 - moved * was_present], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 2)


@keras.saving.register_keras_serializable(package=PACKAGE)
class HideAbsent(layers.Layer):
    """Turns what was computed of absent frames to zeros, so that a convolution over time takes them for padding.

    Shape:
        ``(batch, n_frames, height, width, channels)``, or the same with folded frames, and ``FrameSigns`` ``(batch,
        n_frames, 2)`` to the first.
    """

    def call(self, inputs):
        features, signs = inputs
        present = ops.reshape(signs[:, :, 0], (-1, 1, 1, 1))
        if len(features.shape) == 5:
            present = ops.reshape(present, (-1, ops.shape(features)[1], 1, 1, 1))
        return features * ops.cast(present, features.dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable(package=PACKAGE)
class StillTrack(layers.Layer):
    """1 where all present moments are equal to those before them, as for a photograph, else 0.

    Shape:
        ``FrameSigns`` ``(batch, n_frames, 2)`` to ``(batch, 1)``.
    """

    def call(self, signs):
        return 1 - ops.max(signs[:, :, 0] * (1 - signs[:, :, 1]), axis=1)[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PresentMoments(layers.Layer):
    """The first of the ``FrameSigns``: ``(batch, n_frames, 2)`` to ``(batch, n_frames, 1)``, 1 where a picture is."""

    def call(self, signs):
        return signs[:, :, :1]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class AnyPresent(layers.Layer):
    """1 where any moment holds a picture, else 0: ``FrameSigns`` ``(batch, n_frames, 2)`` to ``(batch, 1)``."""

    def call(self, signs):
        return ops.max(signs[:, :, :1], axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ByKind(layers.Layer):
    """Puts features of moving pictures in the first half of the result, and of photographs in the second.

    Shape:
        ``(batch, n_features)`` and ``StillTrack`` ``(batch, 1)`` to ``(batch, 2 * n_features)``.
    """

    def call(self, inputs):
        features, still = inputs
        still = ops.cast(still, features.dtype)
        return ops.concatenate([features * (1 - still), features * still], axis=-1)

    def compute_output_shape(self, input_shape):
        batch, n_features = input_shape[0]
        return (batch, 2 * n_features)
