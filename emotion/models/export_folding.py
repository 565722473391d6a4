"""Rewrites a network with 3D convolutions as one with 2D convolutions that gives the same answers.

The frames of a clip become pictures of the batch. The channels of neighbouring frames are stacked in one picture, so
that a 2D convolution sees what the 3D one saw. ONNX Runtime computes only 2D convolutions in eight bits.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from emotion.models.frame_layers import FoldFrames, HideAbsent, UnfoldFrames
from emotion.models.layers import PACKAGE, FaceStandardization

# Layers that give the same result for a frame in a clip and for a picture of its own.
FRAME_BY_FRAME = (layers.BatchNormalization, layers.ReLU, layers.Add, HideAbsent)


@keras.saving.register_keras_serializable(package=PACKAGE)
class NeighbouringFrames(layers.Layer):
    """Stacks the channels of neighbouring frames in one picture, as a convolution over time with padding ``same`` does.

    Args:
        n_frames: of a clip.
        n_taps: frames stacked together.
        stride: frames from one group to the next.

    Shape:
        ``(batch * n_frames, height, width, channels)`` to ``(batch * ceil(n_frames / stride), height, width, n_taps *
        channels)``.
    """

    def __init__(self, n_frames: int, n_taps: int, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.n_frames, self.n_taps, self.stride = n_frames, n_taps, stride

    @property
    def n_groups(self) -> int:
        return -(-self.n_frames // self.stride)

    def call(self, frames):
        shape, last = frames.shape[1:], (self.n_groups - 1) * self.stride
        n_zeros = max(last + self.n_taps - self.n_frames, 0)
        clips = ops.reshape(frames, (-1, self.n_frames, *shape))
        clips = ops.pad(clips, [(0, 0), (n_zeros // 2, n_zeros - n_zeros // 2), (0, 0), (0, 0), (0, 0)])
        taps = [clips[:, tap : tap + last + 1 : self.stride] for tap in range(self.n_taps)]
        return ops.reshape(ops.concatenate(taps, axis=-1), (-1, *shape[:2], self.n_taps * shape[2]))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        batch = None if batch is None else batch // self.n_frames * self.n_groups
        return (batch, height, width, self.n_taps * channels)

    def get_config(self):
        return {**super().get_config(), "n_frames": self.n_frames, "n_taps": self.n_taps, "stride": self.stride}


def fix_length(model: keras.Model, shapes: Mapping[str, tuple[int, ...]], **options) -> keras.Model:
    """Returns the functional ``model`` for windows of one length, without its weights if ``options`` change layers.

    Args:
        shapes: of its inputs by name, without the batch axis.
        options: of Keras's ``clone_model``.
    """
    inputs = {x.name: keras.Input(shapes[x.name], dtype=x.dtype, name=x.name) for x in model.inputs}
    inputs = keras.tree.map_structure(lambda x: inputs[x.name], model.input)
    fixed = keras.models.clone_model(model, input_tensors=inputs, **options)
    if not options:
        fixed.set_weights(model.get_weights())
    return fixed


def fold_time(model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> keras.Model:
    """Returns a network that answers as the functional ``model`` does, without 3D convolutions.

    Args:
        shapes: of its inputs by name, without the batch axis: a network that takes any number of frames gets one.

    Raises:
        ValueError: if between its frames and the mean over each frame there are layers other than convolutions with
            padding ``same`` and those in ``FRAME_BY_FRAME``.
    """
    folder = _Folder()
    folded = fix_length(model, shapes, clone_function=folder.replace, call_function=folder.call)
    for layer in [layer for layer in model.layers if layer.weights]:
        weights = layer.get_weights()
        if isinstance(layer, layers.Conv3D):
            # (taps, height, width, inputs, outputs): the channels of all taps side by side.
            weights[0] = np.concatenate(list(weights[0]), axis=2)
        folded.get_layer(layer.name).set_weights(weights)
    return folded


class _Folder:
    """Builds the network layer by layer; remembers which tensors hold folded frames, and how many a clip has."""

    def __init__(self):
        self._n_frames: dict[int, int] = {}
        self._tensors: list[Any] = []  # kept alive, so that no id is used twice
        self._sources: dict[str, layers.Layer] = {}

    def replace(self, layer: layers.Layer) -> layers.Layer:
        self._sources[layer.name] = layer
        if isinstance(layer, layers.Conv3D):
            if layer.padding != "same" or tuple(layer.dilation_rate) != (1, 1, 1) or layer.groups != 1:
                raise ValueError(f"{layer.name}: only plain convolutions with padding 'same' can be folded.")
            return layers.Conv2D(
                layer.filters, layer.kernel_size[1:], strides=layer.strides[1:], padding="same",
                use_bias=layer.use_bias, activation=layer.activation, name=layer.name,
            )  # fmt: skip
        if isinstance(layer, layers.AveragePooling3D):
            if tuple(layer.pool_size) != (1, *layer.input.shape[2:4]):
                raise ValueError(f"{layer.name}: only a mean over whole frames can be folded.")
            return layers.GlobalAveragePooling2D(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    def call(self, layer: layers.Layer, *args, **kwargs):
        source, tensor = self._sources[layer.name], args[0] if args else None
        n_frames = self._frames_of(tensor if isinstance(tensor, list | tuple) else [tensor])
        if isinstance(source, FaceStandardization) and len(tensor.shape) == 5:
            return self._note(FoldFrames(dtype="float32")(layer(tensor)), tensor.shape[1])
        if isinstance(source, UnfoldFrames) and isinstance(tensor, list | tuple):
            return self._unfold(*tensor, name=source.name)
        if n_frames is None:
            return layer(*args, **kwargs)
        if isinstance(source, layers.Conv3D):
            taps = NeighbouringFrames(n_frames, source.kernel_size[0], source.strides[0])
            if (taps.n_taps, taps.stride) != (1, 1):
                tensor, n_frames = taps(tensor), taps.n_groups
            return self._note(layer(tensor), n_frames)
        if isinstance(source, layers.AveragePooling3D):
            return UnfoldFrames(n_frames)(layer(tensor))
        if isinstance(source, FRAME_BY_FRAME):
            return self._note(layer(*args, **kwargs), n_frames)
        raise ValueError(f"{source.name}: a {type(source).__name__} over frames cannot be folded.")

    def _unfold(self, folded, clips, name: str):
        """Pictures stay folded for what is computed over time; vectors do not."""
        if len(folded.shape) == 4:
            return self._note(folded, clips.shape[1])
        return UnfoldFrames(clips.shape[1], name=name)(folded)

    def _frames_of(self, tensors: Iterable[Any]) -> int | None:
        return next((self._n_frames[id(each)] for each in tensors if id(each) in self._n_frames), None)

    def _note(self, tensor, n_frames: int):
        self._n_frames[id(tensor)] = n_frames
        self._tensors.append(tensor)
        return tensor
