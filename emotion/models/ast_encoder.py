"""The Audio Spectrogram Transformer (Gong et al. 2021, "AST: Audio Spectrogram Transformer"): a ViT on a spectrogram.

The picture is cut into overlapping patches, each becomes a token that is told its place, and two tokens more gather
what all others say, as in DeiT (Touvron et al. 2021).
"""

import keras
from keras import layers, ops

from emotion.models.attention import transformer_block
from emotion.models.layers import PACKAGE

NORM_EPSILON = 1e-12  # that of the published model
PATCH_SIZE, STRIDE = 16, 10
N_GATHERING = 2  # tokens that stand for no patch


@keras.saving.register_keras_serializable(package=PACKAGE)
class TokenPositions(layers.Layer):
    """Puts the gathering tokens before the patches and adds to each token what tells its place; all of it is learned.

    Shape:
        ``(batch, n_patches, width)`` to ``(batch, n_patches + 2, width)``.
    """

    def build(self, input_shape):
        _, n_patches, width = input_shape
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        self.gathering = self.add_weight(shape=(N_GATHERING, width), initializer=start, name="gathering")
        self.positions = self.add_weight(shape=(n_patches + N_GATHERING, width), initializer=start, name="positions")

    def call(self, patches):
        # Added to zeros made of the patches themselves, since the size of the batch is not known before.
        none = ops.zeros_like(patches[:, :N_GATHERING])
        tokens = ops.concatenate([none + self.gathering, patches], axis=1)
        return tokens + self.positions

    def compute_output_shape(self, input_shape):
        batch, n_patches, width = input_shape
        return (batch, n_patches + N_GATHERING, width)


def count_patches(n_mels: int, n_steps: int, stride: int = STRIDE) -> tuple[int, int]:
    """Returns how many patches a picture has from low to high and from early to late."""
    return tuple((size - PATCH_SIZE) // stride + 1 for size in (n_mels, n_steps))


def ast_encoder(picture, *, width: int, n_heads: int, n_blocks: int, stride: int = STRIDE, name: str):
    """AST up to the norm that ends it.

    Args:
        picture: normalised filter banks ``(batch, n_mels, n_steps, 1)``, each of the two at least 16.
        width, n_heads, n_blocks: the published model has 768, 12 and 12.
        stride: from one patch to the next, in bands and in steps; the published model's patches of 16 overlap by 6.
        name: with which all layers' names begin.

    Returns:
        ``(batch, n_patches + 2, width)``; the first two gather, the patches follow from low to high bands and, within
        each band, from early to late.
    """
    x = layers.Conv2D(width, PATCH_SIZE, strides=stride, name=f"{name}_patches")(picture)
    x = layers.Reshape((x.shape[1] * x.shape[2], width), name=f"{name}_tokens")(x)
    x = TokenPositions(name=f"{name}_positions")(x)
    for block in range(n_blocks):
        x = transformer_block(
            x, n_heads, hidden=4 * width, epsilon=NORM_EPSILON, key_bias=True, name=f"{name}_block{block}"
        )
    return layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm")(x)
