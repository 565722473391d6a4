"""Multi-head attention (Vaswani et al. 2017) and transformer blocks, shared by the designs that attend.

Only ``keras.ops`` are used, and every size but the batch's is known when a network is built, so it can be exported.
"""

import math
from collections.abc import Callable

import keras
from keras import layers, ops

from emotion.models.layers import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
def gelu(x):
    """The exact GELU (Hendrycks & Gimpel 2016). Keras's own uses an operation that ONNX does not have."""
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


@keras.saving.register_keras_serializable(package=PACKAGE)
class SelfAttention(layers.Layer):
    """Multi-head self-attention.

    Args:
        n_heads: must divide the width.
        key_bias: whether the keys have a bias, as in ViT. Whisper's have none: the softmax would cancel it anyway.

    Shape:
        ``(batch, n_steps, width)`` to the same.
    """

    def __init__(self, n_heads: int, key_bias: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.n_heads = n_heads
        self.key_bias = key_bias

    def build(self, input_shape):
        self._build_parts(input_shape, input_shape)

    def _build_parts(self, query_shape, context_shape):
        self._width = query_shape[-1]
        if self._width % self.n_heads:
            raise ValueError(f"SelfAttention: n_heads must divide the width {self._width}, got {self.n_heads}.")
        self.query = layers.Dense(self._width, name="query")
        self.key = layers.Dense(self._width, use_bias=self.key_bias, name="key")
        self.value = layers.Dense(self._width, name="value")
        self.out = layers.Dense(self._width, name="out")
        self.query.build(query_shape)
        self.key.build(context_shape)
        self.value.build(context_shape)
        self.out.build(query_shape)

    def call(self, x):
        return self._attend(x, x)

    def _attend(self, x, context, bias=None):
        """``bias``: added to the score of each pair of steps, ``(batch, n_heads, n_steps, n_context_steps)``."""
        # Scaling the queries is cheaper than scaling the weight of every pair of steps.
        query = self._split(self.query(x) / math.sqrt(self._width // self.n_heads))
        keys = ops.transpose(self._split(self.key(context)), (0, 1, 3, 2))
        scores = ops.matmul(query, keys)
        weights = ops.softmax(scores if bias is None else scores + bias, axis=-1)
        heard = ops.transpose(ops.matmul(weights, self._split(self.value(context))), (0, 2, 1, 3))
        return self.out(ops.reshape(heard, (-1, x.shape[1], self._width)))

    def _split(self, x):
        """``(batch, n_steps, width)`` to ``(batch, n_heads, n_steps, width / n_heads)``."""
        heads = ops.reshape(x, (-1, x.shape[1], self.n_heads, self._width // self.n_heads))
        return ops.transpose(heads, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "n_heads": self.n_heads, "key_bias": self.key_bias}


@keras.saving.register_keras_serializable(package=PACKAGE)
class CrossAttention(SelfAttention):
    """Multi-head attention of one sequence to another.

    Shape:
        ``(batch, n_steps, width)`` and a context ``(batch, n_context_steps, context_width)`` to the first one's shape.
    """

    def build(self, input_shape):
        self._build_parts(*input_shape)

    def call(self, inputs):
        return self._attend(*inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def transformer_block(
    x, n_heads: int, *, hidden: int, epsilon: float, key_bias: bool, pre_norm: bool = True,
    attend: Callable | None = None, name: str,
):  # fmt: skip
    """Self-attention and two dense layers, each with a norm and a shortcut.

    Args:
        x: ``(batch, n_steps, width)``.
        hidden: units of the first dense layer.
        pre_norm: whether the norms stand before them (Xiong et al. 2020), or after each shortcut as in the original.
        attend: called with ``x`` and a name in place of plain self-attention.
    """

    def norm(x, part: str):
        return layers.LayerNormalization(epsilon=epsilon, name=f"{name}_{part}_norm")(x)

    y = norm(x, "attention") if pre_norm else x
    if attend is None:
        y = SelfAttention(n_heads, key_bias=key_bias, name=f"{name}_attention")(y)
    else:
        y = attend(y, f"{name}_attention")
    x = layers.Add(name=f"{name}_heard")([x, y])
    x = x if pre_norm else norm(x, "attention")
    y = norm(x, "dense") if pre_norm else x
    y = layers.Dense(hidden, activation=gelu, name=f"{name}_dense1")(y)
    y = layers.Dense(x.shape[-1], name=f"{name}_dense2")(y)
    x = layers.Add(name=f"{name}_out")([x, y])
    return x if pre_norm else norm(x, "dense")
