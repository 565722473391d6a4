"""MobileNetV1 (Howard et al. 2017) as HSEmotion trained it on AffectNet's faces (Savchenko 2021, ``mobilenet_7``).

Batch norms are folded into kernels and biases, as ``emotion.affectnet_files`` does with the published file. All layer
names begin with the ``name`` that an encoder is given.
"""

from collections.abc import Sequence

import keras
from keras import initializers, layers

from emotion.labels import AFFECTNET_EMOTIONS
from emotion.models.frame_layers import ScalePixels
from emotion.models.layers import EXACT

SIDE = 224  # pixels of the faces that it was trained on
# Channels of the first convolution and of each block; strides of the blocks.
FILTERS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
N_FEATURES = 256
MEAN = (123.68, 116.779, 103.939)  # of VGGFace's pictures: red, green, blue
CEILING = 6.0  # of the ReLUs


def mobilenet_v1(faces, *, filters: Sequence[int] = FILTERS, name: str):
    """MobileNetV1 up to its mean over the picture.

    Args:
        filters: channels of the first convolution and of each block; at most 13 blocks.

    Shape:
        ``(batch, side, side, 3)`` RGB, 0 to 255, to ``(batch, filters[-1])``.
    """
    first, *blocks = filters
    # Without norms the spread of what goes in must be right: that of pixels is some 64 grey levels.
    start = initializers.VarianceScaling(2 / 64**2)
    x = ScalePixels(MEAN, (1.0, 1.0, 1.0), dtype=EXACT, name=f"{name}_scale")(faces)
    x = layers.Conv2D(first, 3, strides=2, kernel_initializer=start, name=f"{name}_conv1")(_pad(x, f"{name}_conv1"))
    x = layers.ReLU(CEILING, name=f"{name}_conv1_relu")(x)
    for number, (channels, stride) in enumerate(zip(blocks, STRIDES, strict=False), start=1):
        x = _block(x, channels, stride, f"{name}_block{number}")
    return layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)


def _block(x, channels: int, stride: int, name: str):
    """A convolution of each channel by itself, then one over the channels of each pixel."""
    padding = "same"
    if stride == 2:
        x, padding = _pad(x, name), "valid"
    # Keras takes a depthwise kernel for one over all channels, and would begin with values too small by far.
    start = initializers.RandomNormal(stddev=(2 / 9) ** 0.5)
    x = layers.DepthwiseConv2D(
        3, strides=stride, padding=padding, depthwise_initializer=start, name=f"{name}_depthwise"
    )(x)
    x = layers.ReLU(CEILING, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, kernel_initializer="he_normal", name=f"{name}_pointwise")(x)
    return layers.ReLU(CEILING, name=f"{name}_pointwise_relu")(x)


def _pad(x, name: str):
    """Zeros at the bottom and on the right, for a stride of 2."""
    return layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)


def mobilenet_features(moments, *, n_features: int = N_FEATURES, name: str):
    """The published network's last layer but one: ``(..., n_moment_features)`` to ``(..., n_features)``."""
    return layers.Dense(n_features, activation="relu", name=f"{name}_feats")(moments)


def build_affectnet_network(
    *, side: int = SIDE, filters: Sequence[int] = FILTERS, n_features: int = N_FEATURES, name: str = "mobilenet"
) -> keras.Model:
    """Builds the whole published network, which judges single faces; ``conversion.set_mobilenet_weights`` fills it.

    Shape:
        ``(batch, side, side, 3)`` RGB, 0 to 255, to a dict of ``moments (batch, filters[-1])``, ``features (batch,
        n_features)`` and ``logits (batch, 7)`` of ``AFFECTNET_EMOTIONS``.
    """
    faces = keras.Input((side, side, 3), name="faces")
    moments = mobilenet_v1(faces, filters=filters, name=name)
    features = mobilenet_features(moments, n_features=n_features, name=name)
    logits = layers.Dense(len(AFFECTNET_EMOTIONS), dtype=EXACT, name=f"{name}_output")(features)
    return keras.Model(faces, {"moments": moments, "features": features, "logits": logits}, name="affectnet_network")
