"""MobileNetV1 as Keras's own package builds it, with HSEmotion's two layers on top, and files as it publishes them."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np

from emotion.labels import AFFECTNET_EMOTIONS

BGR_MEAN = (103.939, 116.779, 123.68)


def build_published_network(side: int, alpha: float = 1.0, n_features: int = 256) -> keras.Model:
    """``(batch, side, side, 3)`` BGR minus ``BGR_MEAN`` to probabilities of ``AFFECTNET_EMOTIONS``."""
    trunk = keras.applications.MobileNet((side, side, 3), alpha=alpha, include_top=False, weights=None)
    x = keras.layers.GlobalAveragePooling2D()(trunk.output)
    x = keras.layers.Dense(n_features, activation="relu", name="feats")(x)
    x = keras.layers.Dense(len(AFFECTNET_EMOTIONS), activation="softmax", name="emotion_preds")(x)
    return keras.Model(trunk.input, x)


def randomize(network: keras.Model) -> keras.Model:
    """Draws all biases, and gives every norm statistics of pictures, as a training does."""
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.uniform(-0.5, 1.0, layer.beta.shape))
            layer.momentum = 0.0
        elif isinstance(layer, keras.layers.Dense):
            layer.bias.assign(rng.uniform(-0.5, 0.5, layer.bias.shape))
    network(rng.uniform(-120, 140, (8, *network.input.shape[1:])).astype(np.float32), training=True)
    return network


def run_published_network(network: keras.Model, faces: np.ndarray) -> np.ndarray:
    """Probabilities ``(n, 7)`` for RGB faces."""
    return np.asarray(network(faces[..., ::-1].astype(np.float32) - np.float32(BGR_MEAN), training=False))


def filters_of(network: keras.Model) -> list[int]:
    """Channels of the first convolution and of each block."""
    names = ["conv1", *(f"conv_pw_{n}" for n in range(1, 14))]
    return [network.get_layer(name).filters for name in names]


def write_keras2_file(network: keras.Model, path: Path) -> Path:
    """Writes a whole model in the layout of Keras 2's HDF5 files."""
    with h5py.File(path, "w") as file:
        layers = [{"config": {"name": layer.name, "epsilon": layer.epsilon}} for layer in network.layers
                  if hasattr(layer, "epsilon")]  # fmt: skip
        file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
        for layer in network.layers:
            group = file.create_group(f"model_weights/{layer.name}")
            for weight in layer.weights:
                is_depthwise = "_dw_" in layer.name and weight.name == "kernel"
                name = "depthwise_kernel" if is_depthwise else weight.name
                group[f"{layer.name}/{name}:0"] = np.asarray(weight)
    return path


def write_tflite_file(network: keras.Model, path: Path) -> Path:
    """Writes a network with kernels in eight bits and computation in floats ("dynamic range")."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())
    return path
