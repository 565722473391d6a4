"""How much a network has to do for one window: multiplications and additions, counted while it does it once.

Counted are convolutions, dense layers, attention and recurrent layers, a multiplication and an addition being two; what
comes beside them (norms, activations, pooling) is a percent or two and left out, as is usual in papers.
"""

import contextlib
import functools
import math
from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

from emotion.models.attention import SelfAttention

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)


def count_operations(model: keras.Model) -> int:
    """Counts a model's operations for a batch of one.

    Layers that a layer consists of are counted with it, and frames that were folded into the batch one by one.
    """
    counted = 0

    def count(layer, inputs, output) -> None:
        nonlocal counted
        counted += _operations(layer, inputs, output)

    inputs = {x.name: np.ones((1, *x.shape[1:]), x.dtype) for x in model.inputs}
    with _watched(count):
        model(inputs, training=False)
    return counted


@contextlib.contextmanager
def _watched(tell) -> Iterator[None]:
    """Tells of every layer that is called meanwhile, with what went in and what came out."""
    original = layers.Layer.__call__

    @functools.wraps(original)
    def call(layer, *args, **kwargs):
        output = original(layer, *args, **kwargs)
        if args:
            tell(layer, args[0], output)
        return output

    layers.Layer.__call__ = call
    try:
        yield
    finally:
        layers.Layer.__call__ = original


def _operations(layer, inputs, output) -> int:
    if isinstance(layer, layers.DepthwiseConv2D):
        return 2 * math.prod(output.shape) * math.prod(layer.kernel_size)
    if isinstance(layer, _CONVOLUTIONS):
        return 2 * math.prod(output.shape) * math.prod(layer.kernel_size) * inputs.shape[-1]
    if isinstance(layer, layers.Dense):
        return 2 * math.prod(output.shape) * inputs.shape[-1]
    if isinstance(layer, SelfAttention):
        queries, keys = inputs if isinstance(inputs, list | tuple) else (inputs, inputs)
        # Each query meets each key, and takes its part of each value.
        return 2 * 2 * math.prod(queries.shape) * keys.shape[1]
    if isinstance(layer, layers.LSTM):
        batch, n_steps, n_features = inputs.shape
        return 2 * batch * n_steps * 4 * layer.units * (n_features + layer.units)
    return 0
