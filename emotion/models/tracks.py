"""Splits a network into an encoder of sound and face tracks and a head that judges windows: each frame is encoded once.

The encoder makes a vector of each window of sound, and a moment of each frame of a track. The head judges a window by
the vector of its sound and the moments that lie in it. Both together are the network.
"""

from dataclasses import dataclass

import keras

from emotion.models.onnx_runtime import ENCODED, PROBABILITIES

MOMENTS, PRESENT = "video_moments", "audio_present"


@dataclass(frozen=True)
class SplitNetwork:
    """A network in parts that share its weights.

    Attributes:
        encoder: the network's inputs to its probabilities and all that is encoded, by name.
        encoders: by modality, its input to what is encoded of it, by name.
        head: all that is encoded, and ``audio_present``, by name, to probabilities.
    """

    encoder: keras.Model
    encoders: dict[str, keras.Model]
    head: keras.Model


def split_network(model: keras.Model) -> SplitNetwork | None:
    """Splits a network; None if it has no moments, which can only judge whole windows."""
    names = {layer.name for layer in model.layers}
    if MOMENTS not in names:
        return None
    cut = {name: model.get_layer(name).output for name in (*ENCODED, PRESENT) if name in names}
    encoded = {name: tensor for name, tensor in cut.items() if name in ENCODED}
    inner = keras.Model(list(cut.values()), model.outputs[0])
    inputs = {name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name) for name, tensor in cut.items()}
    encoders = {
        x.name: keras.Model({x.name: x}, {name: encoded[name] for name in encoded if name.startswith(x.name)})
        for x in model.inputs
    }
    return SplitNetwork(
        keras.Model(model.inputs, {PROBABILITIES: model.outputs[0], **encoded}),
        encoders,
        keras.Model(inputs, {PROBABILITIES: inner(list(inputs.values()))}, name="head"),
    )
