"""Encoders as others published them: ResNet-18, MobileFaceNet and the Audio Spectrogram Transformer (AST).

They follow the PyTorch originals layer by layer, so that ``emotion.models.conversion`` can load PyTorch's weights. A
convolution of stride 2 is padded at the end only by Keras, on both sides by PyTorch, so padding is a layer of its own.

All layer names begin with the ``name`` that an encoder is given.
"""

import keras
from keras import initializers, layers, ops

from emotion.models.attention import transformer_block
from emotion.models.frame_layers import IMAGENET_MEAN, IMAGENET_STD, ScalePixels
from emotion.models.layers import PACKAGE

NORM_EPSILON = 1e-5  # PyTorch's batch normalisation

# ---- ResNet-18 (He et al. 2016, "Deep Residual Learning for Image Recognition"), as torchvision builds it ----

STAGES = (64, 128, 256, 512)  # channels
BLOCKS_PER_STAGE = 2


def resnet18(pictures, *, stages=STAGES, norm_momentum: float, name: str):
    """ResNet-18 up to its global average.

    Shape:
        ``(batch, height, width, 3)`` RGB, 0 to 255, to ``(batch, stages[-1])``.
    """
    mean, deviation = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
    x = ScalePixels(mean, deviation, name=f"{name}_scale")(pictures)
    x = _convolution(x, stages[0], 7, strides=2, momentum=norm_momentum, name=f"{name}_conv1", norm=f"{name}_bn1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    # PyTorch pads with minus infinity; after a ReLU zeros give the same maximum.
    x = layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
    for stage, filters in enumerate(stages, start=1):
        for block in range(BLOCKS_PER_STAGE):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _residual_block(x, filters, strides, norm_momentum, f"{name}_layer{stage}_{block}")
    return layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)


def _residual_block(x, filters: int, strides: int, momentum: float, name: str):
    y = _convolution(x, filters, 3, strides=strides, momentum=momentum, name=f"{name}_conv1", norm=f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _convolution(y, filters, 3, momentum=momentum, name=f"{name}_conv2", norm=f"{name}_bn2")
    if strides != 1 or x.shape[-1] != filters:
        names = {"name": f"{name}_downsample_0", "norm": f"{name}_downsample_1"}
        x = _convolution(x, filters, 1, strides=strides, momentum=momentum, **names)
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))


def _convolution(x, filters: int, size: int, *, strides: int = 1, momentum: float, name: str, norm: str):
    """A convolution padded on both sides, and batch normalisation called ``norm``."""
    if size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, size, strides=strides, use_bias=False, name=name)(x)
    return layers.BatchNormalization(epsilon=NORM_EPSILON, momentum=momentum, name=norm)(x)


# ---- MobileFaceNet (Chen et al. 2018) ----

PRELU_START = 0.25  # initial slope below 0 (He et al. 2015)
FIRST_CHANNELS, LAST_CHANNELS = 64, 512
# Expansion, channels, repetitions and stride of each run of bottlenecks: table 1 of the paper.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def mobilefacenet(
    faces, *, n_features: int = 128, bottlenecks=BOTTLENECKS, first: int = FIRST_CHANNELS, last: int = LAST_CHANNELS,
    norm_momentum: float, name: str,
):  # fmt: skip
    """MobileFaceNet, from faces to the features that tell them apart.

    Args:
        faces: the paper's side is 112 pixels.
        first, last: channels before and after the bottlenecks.

    Shape:
        ``(batch, side, side, 3)`` RGB, 0 to 255, to ``(batch, n_features)``, not normalised.
    """
    x = ScalePixels([127.5] * 3, [128.0] * 3, name=f"{name}_scale")(faces)
    x = _mobile_convolution(x, first, 3, strides=2, momentum=norm_momentum, name=f"{name}_conv1")
    x = _depthwise(x, 3, momentum=norm_momentum, name=f"{name}_conv2")
    number = 0
    for expansion, channels, repetitions, stride in bottlenecks:
        for repetition in range(repetitions):
            strides = stride if repetition == 0 else 1
            x = _bottleneck(x, expansion, channels, strides, norm_momentum, f"{name}_block{number}")
            number += 1
    x = _mobile_convolution(x, last, 1, momentum=norm_momentum, name=f"{name}_conv3")
    x = _depthwise(x, x.shape[1], padded=False, activation=False, momentum=norm_momentum, name=f"{name}_global")
    x = _mobile_convolution(x, n_features, 1, activation=False, momentum=norm_momentum, name=f"{name}_embed")
    return layers.Flatten(name=f"{name}_flat")(x)


def _bottleneck(x, expansion: int, channels: int, strides: int, momentum: float, name: str):
    y = _mobile_convolution(x, expansion * x.shape[-1], 1, momentum=momentum, name=f"{name}_expand")
    y = _depthwise(y, 3, strides=strides, momentum=momentum, name=f"{name}_depthwise")
    y = _mobile_convolution(y, channels, 1, activation=False, momentum=momentum, name=f"{name}_project")
    if strides == 1 and x.shape[-1] == channels:
        return layers.Add(name=f"{name}_add")([x, y])
    return y


def _mobile_convolution(
    x, filters: int, size: int, *, strides: int = 1, activation: bool = True, momentum: float, name: str
):
    x = _convolution(x, filters, size, strides=strides, momentum=momentum, name=name, norm=f"{name}_norm")
    return _prelu(x, name) if activation else x


def _depthwise(
    x, size: int, *, strides: int = 1, padded: bool = True, activation: bool = True, momentum: float, name: str
):
    if padded:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.DepthwiseConv2D(size, strides=strides, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(epsilon=NORM_EPSILON, momentum=momentum, name=f"{name}_norm")(x)
    return _prelu(x, name) if activation else x


def _prelu(x, name: str):
    """A PReLU with one slope for each channel, shared by all pixels."""
    start = initializers.Constant(PRELU_START)
    return layers.PReLU(alpha_initializer=start, shared_axes=[1, 2], name=f"{name}_prelu")(x)


# ---- Audio Spectrogram Transformer (Gong et al. 2021): a vision transformer on a spectrogram ----

AST_NORM_EPSILON = 1e-12  # of the published model
PATCH_SIZE, STRIDE = 16, 10
N_GATHERING = 2  # tokens without a patch: they gather what the patches say


@keras.saving.register_keras_serializable(package=PACKAGE)
class TokenPositions(layers.Layer):
    """Puts the gathering tokens before the patches, and adds a learned position to every token.

    Shape:
        ``(batch, n_patches, width)`` to ``(batch, n_patches + 2, width)``.
    """

    def build(self, input_shape):
        _, n_patches, width = input_shape
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        self.gathering = self.add_weight(shape=(N_GATHERING, width), initializer=start, name="gathering")
        self.positions = self.add_weight(shape=(n_patches + N_GATHERING, width), initializer=start, name="positions")

    def call(self, patches):
        # Zeros made from the patches have the batch's size, which is not known when the network is built.
        none = ops.zeros_like(patches[:, :N_GATHERING])
        tokens = ops.concatenate([none + self.gathering, patches], axis=1)
        return tokens + self.positions

    def compute_output_shape(self, input_shape):
        batch, n_patches, width = input_shape
        return (batch, n_patches + N_GATHERING, width)


def ast_encoder(picture, *, width: int, n_heads: int, n_blocks: int, stride: int = STRIDE, name: str):
    """AST up to and including its last norm.

    Args:
        picture: normalised filter banks, at least 16 bands and 16 steps.
        width, n_heads, n_blocks: 768, 12 and 12 in the published model.
        stride: between patches, in bands and in steps. The published model's patches of 16 overlap by 6.

    Shape:
        ``(batch, n_mels, n_steps, 1)`` to ``(batch, n_patches + 2, width)``: two gathering tokens, then the
        patches from low to high bands and, within each band, from early to late.
    """
    x = layers.Conv2D(width, PATCH_SIZE, strides=stride, name=f"{name}_patches")(picture)
    x = layers.Reshape((x.shape[1] * x.shape[2], width), name=f"{name}_tokens")(x)
    x = TokenPositions(name=f"{name}_positions")(x)
    for block in range(n_blocks):
        x = transformer_block(
            x, n_heads, hidden=4 * width, epsilon=AST_NORM_EPSILON, key_bias=True, name=f"{name}_block{block}"
        )
    return layers.LayerNormalization(epsilon=AST_NORM_EPSILON, name=f"{name}_norm")(x)
