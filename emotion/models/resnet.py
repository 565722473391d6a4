"""ResNet-18 (He et al. 2016, "Deep Residual Learning for Image Recognition"), laid out as torchvision's.

Keras pads a convolution of stride 2 at the end only, PyTorch on both sides; weights trained by the one are wrong for
the other. So the padding here is a layer of its own.
"""

from keras import layers

from emotion.models.frame_layers import IMAGENET_MEAN, IMAGENET_STD, ScalePixels

NORM_EPSILON = 1e-5  # PyTorch's
STAGES = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2


def resnet18(pictures, *, stages=STAGES, norm_momentum: float, name: str):
    """ResNet-18 up to its global average.

    Args:
        pictures: ``(batch, height, width, 3)`` RGB, 0 to 255.
        stages: channels of each of the four stages.
        norm_momentum: of the running means of batch normalisation.
        name: with which all layers' names begin.

    Returns:
        ``(batch, stages[-1])``.
    """
    mean, deviation = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
    x = ScalePixels(mean, deviation, name=f"{name}_scale")(pictures)
    x = _convolution(x, stages[0], 7, strides=2, momentum=norm_momentum, name=f"{name}_conv1", norm=f"{name}_bn1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    # Behind a ReLU zeros are as good as the minus infinity that PyTorch pads with.
    x = layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
    for stage, filters in enumerate(stages, start=1):
        for block in range(BLOCKS_PER_STAGE):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _block(x, filters, strides, norm_momentum, f"{name}_layer{stage}_{block}")
    return layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)


def _block(x, filters: int, strides: int, momentum: float, name: str):
    y = _convolution(x, filters, 3, strides=strides, momentum=momentum, name=f"{name}_conv1", norm=f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _convolution(y, filters, 3, momentum=momentum, name=f"{name}_conv2", norm=f"{name}_bn2")
    if strides != 1 or x.shape[-1] != filters:
        names = {"name": f"{name}_downsample_0", "norm": f"{name}_downsample_1"}
        x = _convolution(x, filters, 1, strides=strides, momentum=momentum, **names)
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))


def _convolution(x, filters: int, size: int, *, strides: int = 1, momentum: float, name: str, norm: str):
    if size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, size, strides=strides, use_bias=False, name=name)(x)
    return layers.BatchNormalization(epsilon=NORM_EPSILON, momentum=momentum, name=norm)(x)
