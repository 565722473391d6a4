"""wav2vec 2.0's encoder of raw speech (Baevski et al. 2020), HuBERT's (Hsu et al. 2021) and WavLM's (Chen et al. 2022).

One network with few choices: HuBERT's is wav2vec2's, WavLM's attention also weighs how far two steps are apart. Both
sizes are published with two kinds of norms. It follows transformers' code layer by layer, so that
``emotion.models.conversion`` can load published weights. Windows have one length, so there is no attention mask.

All layer names begin with the ``name`` that an encoder is given.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from emotion.models.attention import SelfAttention, gelu, transformer_block
from emotion.models.layers import EXACT, PACKAGE

EPSILON = 1e-5
CHANNELS = (512,) * 7  # of the convolutions
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
POSITION_KERNEL, POSITION_GROUPS = 128, 16
NORMS = ("group", "layer")
# WavLM's distances: up to a quarter of the buckets hold one each, then they widen up to the furthest.
N_BUCKETS, FURTHEST = 320, 800
GATE_UNITS = 8


@keras.saving.register_keras_serializable(package=PACKAGE)
class GroupedConvolution(layers.Layer):
    """A convolution over time in groups of channels, padded so that the length stays.

    One convolution for each group: TensorFlow takes 100 times as long for the gradient of a grouped one on a processor.

    Args:
        size: of the kernel; if even, it reaches one step further back than ahead.
        groups: must divide the channels.

    Shape:
        ``(batch, n_steps, channels)`` to the same.
    """

    def __init__(self, size: int, groups: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.groups = groups

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(f"GroupedConvolution: groups must divide the {channels} channels, got {self.groups}.")
        self.kernel = self.add_weight((self.size, channels // self.groups, channels), name="kernel")
        self.bias = self.add_weight((channels,), initializer="zeros", name="bias")

    def call(self, x):
        x = ops.pad(x, [[0, 0], [self.size // 2, (self.size - 1) // 2], [0, 0]])
        parts = zip(ops.split(x, self.groups, axis=-1), ops.split(self.kernel, self.groups, axis=-1), strict=True)
        return ops.concatenate([ops.conv(part, kernel) for part, kernel in parts], axis=-1) + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "groups": self.groups}


@keras.saving.register_keras_serializable(package=PACKAGE)
class StepDistances(layers.Layer):
    """A learned score for each head and each distance between two steps, as in T5 (Raffel et al. 2020).

    Shape:
        ``(batch, n_steps, width)``, of which only the length counts, to ``(1, n_heads, n_steps, n_steps)``.
    """

    def __init__(self, n_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.n_heads = n_heads

    def build(self, input_shape):
        self.scores = self.add_weight((self.n_heads, N_BUCKETS), name="scores")

    def call(self, x):
        steps = np.arange(x.shape[1])
        return ops.take(self.scores, bucket_distances(steps[None, :] - steps[:, None]), axis=1)[None]

    def compute_output_shape(self, input_shape):
        return (1, self.n_heads, input_shape[1], input_shape[1])

    def get_config(self):
        return {**super().get_config(), "n_heads": self.n_heads}


def bucket_distances(distances: np.ndarray) -> np.ndarray:
    """Numbers distances in steps, 0 to ``N_BUCKETS`` - 1: those ahead in the upper half, far ones together."""
    half, exact = N_BUCKETS // 2, N_BUCKETS // 4
    lengths = np.abs(distances)
    with np.errstate(divide="ignore"):
        # In float32, as transformers counts them: a distance on an edge must fall on the same side.
        widening = np.log(lengths.astype(np.float32) / np.float32(exact)) / np.float32(math.log(FURTHEST / exact))
    far = np.minimum(exact + np.maximum(widening * np.float32(half - exact), 0).astype(int), half - 1)
    return (distances > 0) * half + np.where(lengths < exact, lengths, far)


@keras.saving.register_keras_serializable(package=PACKAGE)
class GatedSelfAttention(SelfAttention):
    """Self-attention with a score for distances, which each step lets in more or less (Chi et al. 2022; WavLM).

    Shape:
        ``(batch, n_steps, width)`` and ``StepDistances`` to the first one's shape.
    """

    def build(self, input_shape):
        super().build(input_shape[0])
        head = self._width // self.n_heads
        self.gate = self.add_weight((head, GATE_UNITS), name="gate")
        self.gate_bias = self.add_weight((GATE_UNITS,), initializer="zeros", name="gate_bias")
        self.gate_scale = self.add_weight((self.n_heads,), initializer="ones", name="gate_scale")

    def call(self, inputs):
        x, distances = inputs
        gates = ops.matmul(self._split(x), self.gate) + self.gate_bias
        gates = ops.reshape(gates, (-1, self.n_heads, x.shape[1], 2, GATE_UNITS // 2))
        gates = ops.sigmoid(ops.sum(gates, axis=-1))
        first, second = gates[..., :1], gates[..., 1:]
        share = first * (second * self.gate_scale[:, None, None] - 1.0) + 2.0
        return self._attend(x, x, share * distances)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable(package=PACKAGE)
class BlockMix(layers.Layer):
    """A weighted mean of the outputs of all blocks (Yang et al. 2021, "SUPERB"); equally weighted before training.

    Shape:
        n times ``(batch, n_steps, width)`` to the same once.
    """

    def build(self, input_shape):
        self.scores = self.add_weight((len(input_shape),), initializer="zeros", name="scores")

    def call(self, outputs):
        weights = ops.softmax(self.scores)
        return sum(weights[i] * output for i, output in enumerate(outputs))

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def speech_encoder(
    waveform, *, width: int, n_heads: int, n_blocks: int, channels: Sequence[int] = CHANNELS, conv_norm: str = "group",
    conv_bias: bool = False, pre_norm: bool = False, distances: bool = False, name: str,
) -> list:  # fmt: skip
    """Seven convolutions over the samples, then transformer blocks over steps of 20 ms.

    Args:
        waveform: 16 kHz, mean 0 and deviation 1 (``waveform`` features); at least 400 samples.
        width, n_heads, n_blocks: 768, 12 and 12 in the base models, 1024, 16 and 24 in the large ones.
        conv_norm: ``group``: a norm of each channel over time, after the first convolution only; ``layer``: a norm over
            the channels after each.
        conv_bias: whether the convolutions have biases.
        pre_norm: "stable layer norm": the blocks' norms stand before what they serve, and one after the last block.
        distances: WavLM's attention.

    Shape:
        ``(batch, n_samples, 1)`` to a list of ``(batch, n_steps, width)``: the input of the first block, then the
        output of each, the last one normed.
    """
    x = waveform
    for number, (filters, size, stride) in enumerate(zip(channels, KERNELS, STRIDES, strict=True)):
        place = f"{name}_conv{number}"
        x = layers.Conv1D(filters, size, strides=stride, use_bias=conv_bias, name=place)(x)
        if conv_norm == "layer":
            x = layers.LayerNormalization(epsilon=EPSILON, name=f"{place}_norm")(x)
        elif number == 0:
            x = layers.GroupNormalization(filters, epsilon=EPSILON, dtype=EXACT, name=f"{place}_norm")(x)
        x = layers.Activation(gelu, name=f"{place}_gelu")(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_projection_norm")(x)
    x = layers.Dense(width, name=f"{name}_projection")(x)
    places = GroupedConvolution(POSITION_KERNEL, POSITION_GROUPS, name=f"{name}_places")(x)
    x = layers.Add(name=f"{name}_placed")([x, layers.Activation(gelu, name=f"{name}_places_gelu")(places)])
    norm = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm")
    x = x if pre_norm else norm(x)
    attend = None
    if distances:
        far = StepDistances(n_heads, name=f"{name}_distances")(x)

        def attend(x, place: str):
            return GatedSelfAttention(n_heads, key_bias=True, name=place)([x, far])

    outputs = [x]
    for block in range(n_blocks):
        outputs.append(
            transformer_block(
                outputs[-1], n_heads, hidden=4 * width, epsilon=EPSILON, key_bias=True, pre_norm=pre_norm,
                attend=attend, name=f"{name}_block{block}",
            )
        )  # fmt: skip
    if pre_norm:
        outputs[-1] = norm(outputs[-1])
    return outputs
