"""MobileFaceNet (Chen et al. 2018, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices"): a face in 1 M parameters, by bottlenecks that widen, look at each channel apart, and narrow again.

Where other networks average over the picture, it ends with a global depthwise convolution: what stands in the middle of
a face counts for more than what stands in its corners.
"""

from keras import initializers, layers

from emotion.models.frame_layers import ScalePixels

NORM_EPSILON = 1e-5
PRELU_START = 0.25  # the slope below 0 to begin with (He et al. 2015)
FIRST_CHANNELS, LAST_CHANNELS = 64, 512
# Expansion, channels, repetitions and stride of each run of bottlenecks: table 1 of the paper.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def mobilefacenet(
    faces, *, n_features: int = 128, bottlenecks=BOTTLENECKS, first: int = FIRST_CHANNELS, last: int = LAST_CHANNELS,
    norm_momentum: float, name: str,
):  # fmt: skip
    """MobileFaceNet, from faces to the features that tell them apart.

    Args:
        faces: ``(batch, side, side, 3)`` RGB, 0 to 255; the paper's side is 112.
        n_features: of the result.
        bottlenecks: as ``BOTTLENECKS``.
        first, last: channels before and after the bottlenecks.
        norm_momentum: of the running means of batch normalisation.
        name: with which all layers' names begin.

    Returns:
        ``(batch, n_features)``, of no fixed length.
    """
    x = ScalePixels([127.5] * 3, [128.0] * 3, name=f"{name}_scale")(faces)
    x = _convolution(x, first, 3, strides=2, momentum=norm_momentum, name=f"{name}_conv1")
    x = _depthwise(x, 3, momentum=norm_momentum, name=f"{name}_conv2")
    number = 0
    for expansion, channels, repetitions, stride in bottlenecks:
        for repetition in range(repetitions):
            strides = stride if repetition == 0 else 1
            x = _bottleneck(x, expansion, channels, strides, norm_momentum, f"{name}_block{number}")
            number += 1
    x = _convolution(x, last, 1, momentum=norm_momentum, name=f"{name}_conv3")
    x = _depthwise(x, x.shape[1], padded=False, activation=False, momentum=norm_momentum, name=f"{name}_global")
    x = _convolution(x, n_features, 1, activation=False, momentum=norm_momentum, name=f"{name}_embed")
    return layers.Flatten(name=f"{name}_flat")(x)


def _bottleneck(x, expansion: int, channels: int, strides: int, momentum: float, name: str):
    y = _convolution(x, expansion * x.shape[-1], 1, momentum=momentum, name=f"{name}_expand")
    y = _depthwise(y, 3, strides=strides, momentum=momentum, name=f"{name}_depthwise")
    y = _convolution(y, channels, 1, activation=False, momentum=momentum, name=f"{name}_project")
    if strides == 1 and x.shape[-1] == channels:
        return layers.Add(name=f"{name}_add")([x, y])
    return y


def _convolution(x, filters: int, size: int, *, strides: int = 1, activation: bool = True, momentum: float, name: str):
    if size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, size, strides=strides, use_bias=False, name=name)(x)
    return _norm(x, activation, momentum, name)


def _depthwise(
    x, size: int, *, strides: int = 1, padded: bool = True, activation: bool = True, momentum: float, name: str
):
    if padded:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.DepthwiseConv2D(size, strides=strides, use_bias=False, name=name)(x)
    return _norm(x, activation, momentum, name)


def _norm(x, activation: bool, momentum: float, name: str):
    x = layers.BatchNormalization(epsilon=NORM_EPSILON, momentum=momentum, name=f"{name}_norm")(x)
    if not activation:
        return x
    # One slope for each channel, wherever in the picture.
    start = initializers.Constant(PRELU_START)
    return layers.PReLU(alpha_initializer=start, shared_axes=[1, 2], name=f"{name}_prelu")(x)
