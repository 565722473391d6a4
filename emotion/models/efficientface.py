"""EfficientFace (Zhao, Liu & Zhou 2021, "Robust Lightweight Facial Expression Recognition Network", AAAI).

A ShuffleNetV2 (Ma et al. 2018) whose first stage is joined by two parts: a local-feature extractor, which looks at each
quarter of the face with kernels of its own, and a channel-spatial modulator, which weighs every channel and place. It
follows the published PyTorch code layer by layer, so that ``emotion.models.conversion`` can load the published weights.

All layer names begin with the ``name`` that an encoder is given.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from emotion.models.encoders import NORM_EPSILON
from emotion.models.frame_layers import ScalePixels
from emotion.models.layers import EXACT, NORM_MOMENTUM, PACKAGE

SIDE = 224  # pixels of the faces that it was trained on
SIDE_FACTOR = 16  # its quarters fit together again for multiples of this side
# Channels of the first convolution, of the three stages and of the last convolution; blocks of each stage.
CHANNELS = (29, 116, 232, 464, 1024)
REPEATS = (4, 8, 4)
REDUCTION = 16  # the modulator works in this part of the channels
DILATION = 4
AFFECTNET7 = ("neutral", "happy", "sad", "surprised", "fearful", "disgust", "angry")  # as AffectNet numbers them
# Of AffectNet's pictures, as parts of 255: red, green, blue; from the published test program.
MEAN, DEVIATION = (0.55391484, 0.43522123, 0.3821877), (0.24837189, 0.21625527, 0.20221159)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ChannelHalves(layers.Layer):
    """The first and the second half of the channels: ``(..., 2 * n)`` to two times ``(..., n)``."""

    def call(self, x):
        half = x.shape[-1] // 2
        return x[..., :half], x[..., half:]

    def compute_output_shape(self, input_shape):
        shape = (*input_shape[:-1], input_shape[-1] // 2)
        return shape, shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class InterleavedChannels(layers.Layer):
    """The channels of two inputs in turn, which is ShuffleNet's shuffle: two times ``(..., n)`` to ``(..., 2 * n)``."""

    def call(self, inputs):
        x = ops.stack(inputs, axis=-1)
        return ops.reshape(x, (-1, *x.shape[1:-2], 2 * x.shape[-2]))

    def compute_output_shape(self, input_shape):
        first = input_shape[0]
        return (*first[:-1], 2 * first[-1])


def efficientface(
    faces, *, channels: Sequence[int] = CHANNELS, repeats: Sequence[int] = REPEATS,
    norm_momentum: float = NORM_MOMENTUM, name: str,
):  # fmt: skip
    """EfficientFace up to its mean over the picture.

    Args:
        channels: of the first convolution, of three stages and of the last convolution; each stage's even, the first
            stage's a multiple of the first convolution's.
        repeats: blocks of each stage.

    Shape:
        ``(batch, side, side, 3)`` RGB, 0 to 255, to ``(batch, channels[-1])``; the side a multiple of 16.
    """
    first, *stages, last = channels
    build = _Builder(norm_momentum, name)
    scale = [[255 * value for value in values] for values in (MEAN, DEVIATION)]
    x = ScalePixels(*scale, dtype=EXACT, name=f"{name}_scale")(faces)
    x = build.convolution(x, first, "conv1", size=3, strides=2)
    # PyTorch pads with minus infinity; after a ReLU zeros give the same maximum.
    x = layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
    below = x
    for number, (filters, n_blocks) in enumerate(zip(stages, repeats, strict=True), start=2):
        for block in range(n_blocks):
            x = build.shuffle_block(x, filters, f"stage{number}_block{block}", halving=block == 0)
        if number == 2:
            parts = [build.modulate(x, "modulator"), build.look_at_quarters(below, filters, "local")]
            x = layers.Add(name=f"{name}_joined")(parts)
    x = build.convolution(x, last, "conv5", size=1)
    return layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)


def build_efficientface_network(
    *, side: int = SIDE, channels: Sequence[int] = CHANNELS, repeats: Sequence[int] = REPEATS,
    name: str = "efficientface",
) -> keras.Model:  # fmt: skip
    """Builds the whole published network, which judges single faces; ``set_efficientface_weights`` fills it.

    Shape:
        ``(batch, side, side, 3)`` RGB, 0 to 255, to a dict of ``features (batch, channels[-1])`` and ``logits (batch,
        7)`` of ``AFFECTNET7``.
    """
    faces = keras.Input((side, side, 3), name="faces")
    features = efficientface(faces, channels=channels, repeats=repeats, name=name)
    logits = layers.Dense(len(AFFECTNET7), dtype=EXACT, name=f"{name}_output")(features)
    return keras.Model(faces, {"features": features, "logits": logits}, name="efficientface_network")


class _Builder:
    """Builds the network's parts under one name and one momentum of the batch norms."""

    def __init__(self, momentum: float, name: str):
        self._momentum, self._name = momentum, name

    def convolution(self, x, filters: int, name: str, *, size: int, strides: int = 1, bias=False, dilation: int = 1):
        """A convolution padded on both sides, its norm and a ReLU."""
        name = f"{self._name}_{name}"
        if size > 1:
            x = layers.ZeroPadding2D(dilation * (size // 2), name=f"{name}_pad")(x)
        x = layers.Conv2D(filters, size, strides=strides, use_bias=bias, dilation_rate=dilation, name=name)(x)
        return self._relu(self._norm(x, name), name)

    def depthwise(self, x, name: str, *, strides: int = 1, multiplier: int = 1):
        """A 3 x 3 convolution of each channel by itself, and its norm."""
        name = f"{self._name}_{name}"
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        settings = {"strides": strides, "depth_multiplier": multiplier, "use_bias": False}
        return self._norm(layers.DepthwiseConv2D(3, **settings, name=name)(x), name)

    def shuffle_block(self, x, filters: int, name: str, *, halving: bool):
        """ShuffleNetV2's block: one half of the channels passes, or is halved in size by a branch of its own."""
        strides, half = (2, filters // 2) if halving else (1, filters // 2)
        if halving:
            left = self.depthwise(x, f"{name}_left_depthwise", strides=2)
            left, right = self.convolution(left, half, f"{name}_left_pointwise", size=1), x
        else:
            left, right = ChannelHalves(name=f"{self._name}_{name}_halves")(x)
        right = self.convolution(right, half, f"{name}_right_expand", size=1)
        right = self.depthwise(right, f"{name}_right_depthwise", strides=strides)
        right = self.convolution(right, half, f"{name}_right_pointwise", size=1)
        return InterleavedChannels(name=f"{self._name}_{name}_out")([left, right])

    def look_at_quarters(self, x, filters: int, name: str):
        """The local-feature extractor: each quarter of the picture through two depthwise convolutions of its own."""
        half = x.shape[1] // 2
        rows = {"top": (0, half), "bottom": (half, 0)}
        columns = {"left": (0, half), "right": (half, 0)}
        sides = []
        for column, cut_columns in columns.items():
            quarters = []
            for row, cut_rows in rows.items():
                place = f"{name}_{row}_{column}"
                quarter = layers.Cropping2D((cut_rows, cut_columns), name=f"{self._name}_{place}_crop")(x)
                for number, strides in ((1, 2), (2, 1)):
                    multiplier = filters // quarter.shape[-1]
                    part = f"{place}_depthwise{number}"
                    quarter = self.depthwise(quarter, part, strides=strides, multiplier=multiplier)
                    quarter = self._relu(quarter, f"{self._name}_{part}")
                quarters.append(quarter)
            sides.append(layers.Concatenate(axis=1, name=f"{self._name}_{name}_{column}")(quarters))
        return layers.Concatenate(axis=2, name=f"{self._name}_{name}_out")(sides)

    def modulate(self, x, name: str):
        """The channel-spatial modulator: every value weighed by a sigmoid of its channel's and its place's scores."""
        filters, prefix = x.shape[-1], f"{self._name}_{name}"
        few = max(1, filters // REDUCTION)
        channel = layers.GlobalAveragePooling2D(name=f"{prefix}_mean")(x)
        channel = self._norm(layers.Dense(few, name=f"{prefix}_channel1")(channel), f"{prefix}_channel1")
        channel = self._relu(channel, f"{prefix}_channel1")
        channel = layers.Dense(filters, name=f"{prefix}_channel2")(channel)
        channel = layers.Reshape((1, 1, filters), name=f"{prefix}_channels")(channel)
        place = self.convolution(x, few, f"{name}_place1", size=1, bias=True)
        for number in (2, 3):
            place = self.convolution(place, few, f"{name}_place{number}", size=3, bias=True, dilation=DILATION)
        place = layers.Conv2D(1, 1, name=f"{prefix}_place4")(place)
        scores = layers.Multiply(name=f"{prefix}_scores")([channel, place])
        weights = layers.Activation("sigmoid", name=f"{prefix}_weights")(scores)
        return layers.Multiply(name=f"{prefix}_out")([weights, x])

    def _norm(self, x, name: str):
        return layers.BatchNormalization(epsilon=NORM_EPSILON, momentum=self._momentum, name=f"{name}_norm")(x)

    def _relu(self, x, name: str):
        return layers.ReLU(name=f"{name}_relu")(x)
