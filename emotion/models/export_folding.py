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
        n_frames: of a clip; None for as many as the clip that is given beside them has, with stride 1.
        n_taps: frames stacked together.
        stride: frames from one group to the next.

    Shape:
        ``(batch * n_frames, height, width, channels)``, or a list of that and of clips ``(batch, n_frames, ...)``, to
        ``(batch * ceil(n_frames / stride), height, width, n_taps * channels)``.
    """

    def __init__(self, n_frames: int | None, n_taps: int, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.n_frames, self.n_taps, self.stride = n_frames, n_taps, stride

    def call(self, inputs):
        frames, n_frames = inputs, self.n_frames
        if isinstance(inputs, list | tuple):
            frames, clips = inputs
            n_frames = ops.shape(clips)[1]
        shape = frames.shape[1:]
        if self.stride == 1:
            last, n_zeros = n_frames - 1, self.n_taps - 1
        else:
            last = (-(-n_frames // self.stride) - 1) * self.stride
            n_zeros = max(last + self.n_taps - n_frames, 0)
        clips = ops.reshape(frames, (-1, n_frames, *shape))
        clips = ops.pad(clips, [(0, 0), (n_zeros // 2, n_zeros - n_zeros // 2), (0, 0), (0, 0), (0, 0)])
        taps = [clips[:, tap : tap + last + 1 : self.stride] for tap in range(self.n_taps)]
        return ops.reshape(ops.concatenate(taps, axis=-1), (-1, *shape[:2], self.n_taps * shape[2]))

    def compute_output_shape(self, input_shape):
        if isinstance(input_shape[0], list | tuple):
            input_shape = input_shape[0]
        batch, height, width, channels = input_shape
        if batch is not None and self.stride > 1:
            batch = batch // self.n_frames * -(-self.n_frames // self.stride)
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


def fold_time(model: keras.Model, shapes: Mapping[str, tuple[int | None, ...]]) -> keras.Model:
    """Returns a network that answers as the functional ``model`` does, without 3D convolutions.

    Args:
        shapes: of its inputs by name, without the batch axis. Where the number of frames is given, the network takes
            no other.

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
    """Builds the network layer by layer; remembers which tensors hold folded frames, and how many a clip has.

    That number, or, where clips of any length are taken, the clips themselves, is called a length here.
    """

    def __init__(self):
        self._lengths: dict[int, Any] = {}
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
        length = self._length_of(tensor if isinstance(tensor, list | tuple) else [tensor])
        if isinstance(source, FaceStandardization) and len(tensor.shape) == 5:
            return self._note(FoldFrames(dtype="float32")(layer(tensor)), _length(tensor))
        if isinstance(source, UnfoldFrames) and isinstance(tensor, list | tuple):
            folded, clips = tensor
            # Pictures stay folded for what is computed over time; vectors do not.
            is_vector = len(folded.shape) < 4
            return (
                _unfold(folded, _length(clips), name=source.name) if is_vector else self._note(folded, _length(clips))
            )
        if length is None:
            return layer(*args, **kwargs)
        if isinstance(source, layers.Conv3D):
            tensor, length = _stack_neighbours(source, tensor, length)
            return self._note(layer(tensor), length)
        if isinstance(source, layers.AveragePooling3D):
            return _unfold(layer(tensor), length)
        if isinstance(source, FRAME_BY_FRAME):
            return self._note(layer(*args, **kwargs), length)
        raise ValueError(f"{source.name}: a {type(source).__name__} over frames cannot be folded.")

    def _length_of(self, tensors: Iterable[Any]) -> Any:
        return next((self._lengths[id(each)] for each in tensors if id(each) in self._lengths), None)

    def _note(self, tensor, length):
        self._lengths[id(tensor)] = length
        self._tensors.append(tensor)
        return tensor


def _stack_neighbours(source: layers.Conv3D, folded, length):
    """Returns folded frames as a convolution over time takes them, and the length that it leaves."""
    n_taps, stride = source.kernel_size[0], source.strides[0]
    if (n_taps, stride) == (1, 1):
        return folded, length
    if isinstance(length, int):
        return NeighbouringFrames(length, n_taps, stride)(folded), -(-length // stride)
    if stride > 1:
        raise ValueError(f"{source.name}: thins out frames, whose number must be given.")
    return NeighbouringFrames(None, n_taps, 1)([folded, length]), length


def _length(clips):
    return clips if clips.shape[1] is None else clips.shape[1]


def _unfold(folded, length, **options):
    if isinstance(length, int):
        return UnfoldFrames(length, **options)(folded)
    return UnfoldFrames(**options)([folded, length])
