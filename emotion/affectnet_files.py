"""Reads a MobileNetV1 trained on AffectNet from the files that HSEmotion publishes: Keras 2's HDF5 and TFLite.

HSEmotion (A. Savchenko): https://github.com/HSE-asavchenko/face-emotion-recognition, Apache-2.0.

What comes out is one set of arrays, whatever the file: batch norms folded into the convolutions before them, quantised
kernels as floats, the first kernel for RGB instead of BGR, and axes as in PyTorch, as in all files of weights here.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emotion.console import quiet_import

KERAS_NORM_EPSILON = 1e-3  # of MobileNet's batch norms in Keras, where a file does not say
FIRST, FEATURES, OUTPUT = "conv1", "feats", "output"
# A file's layers, from the input on, and what they are called here; ``{n}`` counts the blocks from 1.
KERAS_BLOCK = {"conv_dw_{n}": "block{n}_depthwise", "conv_pw_{n}": "block{n}_pointwise"}
KERAS_DENSE = {"feats": FEATURES, "emotion_preds": OUTPUT}
# Operations with a kernel, and where PyTorch's axes are in it.
TFLITE_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2), "FULLY_CONNECTED": (0, 1)}


def read_affectnet_network(path: Path) -> dict[str, np.ndarray]:
    """Reads ``.h5`` or ``.tflite``, by the file's ending.

    Returns:
        ``conv1``, ``block{n}_depthwise``, ``block{n}_pointwise``, ``feats`` and ``output``, each with ``.weight`` and
        ``.bias``, float32; see ``emotion.models.mobilenet_v1``.

    Raises:
        ValueError: if the file cannot be read, or holds another network.
    """
    layers = _read_tflite(path) if path.suffix == ".tflite" else _read_keras(path)
    arrays = {}
    for name, (kernel, bias) in layers.items():
        arrays[f"{name}.weight"] = np.ascontiguousarray(kernel, np.float32)
        arrays[f"{name}.bias"] = np.ascontiguousarray(bias, np.float32)
    first = arrays[f"{FIRST}.weight"]
    if first.ndim != 4 or first.shape[1] != 3:
        raise ValueError("its first layer does not take pictures of three channels")
    arrays[f"{FIRST}.weight"] = np.ascontiguousarray(first[:, ::-1])
    return arrays


# ---- Keras 2's HDF5 ----


def _read_keras(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    import h5py

    found: dict[tuple[str, str], np.ndarray] = {}

    def keep(name: str, item) -> None:
        # Names end with LAYER/WEIGHT:0, however the groups above are called.
        if isinstance(item, h5py.Dataset) and "/" in name:
            layer, weight = name.split("/")[-2:]
            found[layer, weight.partition(":")[0]] = np.asarray(item, np.float32)

    try:
        with h5py.File(path) as file:
            file.get("model_weights", file).visititems(keep)
            epsilons = _read_epsilons(file.attrs.get("model_config"))
    except OSError as error:
        raise ValueError(f"it is not an HDF5 file ({error})") from None

    def take(layer: str, weight: str) -> np.ndarray:
        if (layer, weight) not in found:
            raise ValueError(f"it holds no {layer}/{weight}")
        return found[layer, weight]

    def fold(layer: str, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        norm = f"{layer}_bn"
        variance, mean = take(norm, "moving_variance"), take(norm, "moving_mean")
        scale = found.get((norm, "gamma"), 1.0) / np.sqrt(variance + epsilons.get(norm, KERAS_NORM_EPSILON))
        bias = found.get((norm, "beta"), 0.0) + (found.get((layer, "bias"), 0.0) - mean) * scale
        return kernel * scale.reshape(-1, 1, 1, 1), bias

    layers = {FIRST: fold("conv1", take("conv1", "kernel").transpose(3, 2, 0, 1))}
    n_blocks = 0
    while (f"conv_dw_{n_blocks + 1}", "depthwise_kernel") in found:
        n_blocks += 1
        for theirs, ours in KERAS_BLOCK.items():
            layer = theirs.format(n=n_blocks)
            if theirs.startswith("conv_dw"):
                kernel = take(layer, "depthwise_kernel").transpose(2, 3, 0, 1)
            else:
                kernel = take(layer, "kernel").transpose(3, 2, 0, 1)
            layers[ours.format(n=n_blocks)] = fold(layer, kernel)
    for layer, ours in KERAS_DENSE.items():
        layers[ours] = take(layer, "kernel").T, take(layer, "bias")
    return layers


def _read_epsilons(description) -> dict[str, float]:
    """Returns the epsilon of each batch norm that a model's description in JSON names."""
    try:
        layers = json.loads(description)["config"]["layers"]
        return {each["config"]["name"]: each["config"]["epsilon"] for each in layers if "epsilon" in each["config"]}
    except (TypeError, ValueError, KeyError):
        return {}


# ---- TFLite ----


def _read_tflite(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with _interpreter(path) as network:
        tensors = {each["index"]: each for each in network.get_tensor_details()}
        read = []
        for layer in network._get_ops_details():
            if layer["op_name"] not in TFLITE_AXES:
                continue
            kernel, bias = (int(index) for index in layer["inputs"][1:3])
            values = _as_float(network.get_tensor(kernel), tensors[kernel]).transpose(TFLITE_AXES[layer["op_name"]])
            # Where all are zeros, the converter leaves them out.
            read.append(
                (layer["op_name"], values, np.zeros(len(values)) if bias < 0 else np.array(network.get_tensor(bias)))
            )
    n_blocks = (len(read) - 3) // 2
    wanted = ["CONV_2D", *["DEPTHWISE_CONV_2D", "CONV_2D"] * n_blocks, "FULLY_CONNECTED", "FULLY_CONNECTED"]
    if n_blocks < 1 or [kind for kind, _, _ in read] != wanted:
        raise ValueError("it is not a MobileNetV1 with two dense layers")
    blocks = [name.format(n=n) for n in range(1, n_blocks + 1) for name in KERAS_BLOCK.values()]
    names = [FIRST, *blocks, FEATURES, OUTPUT]
    return {name: (kernel, bias) for name, (_, kernel, bias) in zip(names, read, strict=True)}


def _as_float(values: np.ndarray, details) -> np.ndarray:
    quantization = details["quantization_parameters"]
    scales = quantization["scales"]
    if not len(scales):
        return np.array(values, np.float32)
    shape = [1] * values.ndim  # one scale for all, or one for each output channel
    shape[quantization["quantized_dimension"]] = len(scales)
    return (values.astype(np.float32) - quantization["zero_points"].reshape(shape)) * scales.reshape(shape)


@contextlib.contextmanager
def _interpreter(path: Path) -> Iterator:
    """Opens a TFLite file, with layers as they stand in it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_import():
            import tensorflow as tf
    except ImportError as error:
        raise ValueError(
            f"TensorFlow, which reads it, is not here ({error}): pip install -r requirements.txt"
        ) from None
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that another package will have the interpreter one day
            network = tf.lite.Interpreter(str(path), experimental_op_resolver_type=plain)
        network.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"it is not a TFLite network ({error})") from None
    yield network
