"""Loads weights trained in PyTorch into the encoders: maps array names to layers and transposes the arrays.

The names are those of published files: torchvision's ResNet-18, ``MIT/ast-finetuned-audioset-10-10-0.4593`` on the
Hugging Face hub (transformers' ``ASTForAudioClassification``), and the MobileFaceNet common in PyTorch repositories
(``conv1``, ``dw_conv1``, ``blocks``, ``conv2``, ``linear7``, ``linear1``), EfficientFace's (zengqunzhao/EfficientFace),
and transformers' ``Wav2Vec2Model``, ``HubertModel`` and ``WavLMModel``. ``emotion.affectnet_files`` gives the arrays of
AffectNet's MobileNetV1 PyTorch's axes, too.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from emotion.models.encoders import N_GATHERING
from emotion.weights import WeightsError

Arrays = Mapping[str, np.ndarray]
AST_PREFIX = "audio_spectrogram_transformer."
# Patches that AST was trained on: 10 s of sound in 128 bands, one patch every 10 bands and steps.
AST_GRID = (12, 101)
_NORM = ("weight", "bias", "running_mean", "running_var")
_AST_PARTS = {
    "attention_norm": ("layernorm_before",),
    "attention": ("attention.attention.query", "attention.attention.key", "attention.attention.value",
                  "attention.output.dense"),
    "dense_norm": ("layernorm_after",),
    "dense1": ("intermediate.dense",),
    "dense2": ("output.dense",),
}  # fmt: skip
_MOBILEFACENET_PARTS = {
    "conv1": "conv1", "conv2": "dw_conv1", "conv3": "conv2", "global": "linear7", "embed": "linear1",
}  # fmt: skip
# Index of each convolution in a bottleneck's nn.Sequential; its norm and PReLU follow.
_BOTTLENECK_PLACES = {"expand": 0, "depthwise": 3, "project": 6}

# Index of each convolution in a branch of EfficientFace's blocks; its norm follows.
_SHUFFLE_PLACES = {
    "left_depthwise": ("branch1", 0), "left_pointwise": ("branch1", 2),
    "right_expand": ("branch2", 0), "right_depthwise": ("branch2", 3), "right_pointwise": ("branch2", 5),
}  # fmt: skip
_QUARTERS = {"top_left": 1, "bottom_left": 2, "top_right": 3, "bottom_right": 4}
_CHANNEL_GATE, _PLACE_GATE = "modulator.channel_att.gate_c.gate_c", "modulator.spatial_att.gate_s.gate_s"
# Each of the modulator's layers, and its norm.
_MODULATOR_PARTS = {
    "channel1": (f"{_CHANNEL_GATE}_fc_0", f"{_CHANNEL_GATE}_bn_1"),
    "channel2": (f"{_CHANNEL_GATE}_fc_final", ""),
    "place1": (f"{_PLACE_GATE}_conv_reduce0", f"{_PLACE_GATE}_bn_reduce0"),
    "place2": (f"{_PLACE_GATE}_conv_di_0", f"{_PLACE_GATE}_bn_di_0"),
    "place3": (f"{_PLACE_GATE}_conv_di_1", f"{_PLACE_GATE}_bn_di_1"),
    "place4": (f"{_PLACE_GATE}_conv_final", ""),
}

# What stands before an encoder's names in files of a whole model, such as ``Wav2Vec2ForPreTraining``.
_SPEECH_PREFIXES = ("wav2vec2.", "hubert.", "wavlm.")
_SPEECH_PARTS = {
    "projection_norm": "feature_projection.layer_norm", "projection": "feature_projection.projection",
    "places": "encoder.pos_conv_embed.conv", "norm": "encoder.layer_norm",
}  # fmt: skip
_SPEECH_BLOCK_PARTS = {
    "attention_norm": ("layer_norm",), "dense_norm": ("final_layer_norm",),
    "attention": tuple(f"attention.{part}_proj" for part in ("q", "k", "v", "out")),
    "dense1": ("feed_forward.intermediate_dense",), "dense2": ("feed_forward.output_dense",),
}  # fmt: skip
# A kernel of unit vectors and their lengths (Salimans & Kingma 2016), as PyTorch names both today and before 2.0.
_NORMED_KERNELS = (("parametrizations.weight.original0", "parametrizations.weight.original1"), ("weight_g", "weight_v"))


def load_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads all arrays of a safetensors file as float32.

    Raises:
        WeightsError: if the file cannot be read or is of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(Path(path).read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from None
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}). Download it again.") from None
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def set_resnet18_weights(model, arrays: Arrays, *, name: str) -> None:
    """Sets the weights of the ``resnet18`` called ``name`` within a model; the file's classifier is not used.

    Args:
        arrays: as torchvision names them, such as ``layer1.0.conv1.weight``.

    Raises:
        WeightsError: if the model has no such encoder, or an array is missing or has another shape.
    """

    def names(part: str) -> list[str]:
        prefix = part.replace("_", ".")
        is_norm = "bn" in part or part.endswith("downsample_1")
        return [f"{prefix}.{ending}" for ending in (_NORM if is_norm else ("weight",))]

    _set_weights(model, arrays, name, names)


def set_mobilefacenet_weights(model, arrays: Arrays, *, name: str) -> None:
    """Sets the weights of the ``mobilefacenet`` called ``name``; see ``set_resnet18_weights``."""

    def names(part: str) -> list[str]:
        *place, last = part.split("_")
        kind = last if last in ("norm", "prelu") else "conv"
        place = place if kind != "conv" else [*place, last]
        if place[0].startswith("block"):
            first = _BOTTLENECK_PLACES[place[1]]
            offset = {"conv": 0, "norm": 1, "prelu": 2}[kind]
            prefix = f"blocks.{place[0].removeprefix('block')}.conv.{first + offset}"
        else:
            prefix = f"{_MOBILEFACENET_PARTS[place[0]]}.{'bn' if kind == 'norm' else kind}"
        return [f"{prefix}.{ending}" for ending in (_NORM if kind == "norm" else ("weight",))]

    _set_weights(model, arrays, name, names)


def set_mobilenet_weights(model, arrays: Arrays, *, name: str) -> None:
    """Sets the weights of the ``mobilenet_v1`` called ``name``, and of the dense layers after it that a model has.

    Args:
        arrays: as ``emotion.affectnet_files`` names them, such as ``block1_depthwise.weight``.

    Raises:
        WeightsError: if the model has no such encoder, or an array is missing or has another shape.
    """
    _set_weights(model, arrays, name, lambda part: [f"{part}.weight", f"{part}.bias"])


def set_efficientface_weights(model, arrays: Arrays, *, name: str) -> None:
    """Sets the weights of the ``efficientface`` called ``name``, and of its classifier if the model has it.

    Args:
        arrays: as the published checkpoint names them, without ``module.``, such as ``stage2.0.branch1.0.weight``.

    Raises:
        WeightsError: if the model has no such encoder, or an array is missing or has another shape.
    """

    def names(part: str) -> list[str]:
        place, is_norm = part.removesuffix("_norm"), part.endswith("_norm")
        first, _, rest = place.partition("_")
        has_bias = first in ("modulator", "output")
        if first == "local":
            quarter, _, number = rest.rpartition("_depthwise")
            prefix = f"local.{'bn' if is_norm else 'conv'}{_QUARTERS[quarter]}_{number}"
        elif first == "modulator":
            prefix = _MODULATOR_PARTS[rest][is_norm]
        elif first == "output":
            prefix = "fc"
        elif first.startswith("stage"):
            block, _, kind = rest.partition("_")
            branch, index = _SHUFFLE_PLACES[kind]
            prefix = f"{first}.{block.removeprefix('block')}.{branch}.{index + is_norm}"
        else:
            prefix = f"{first}.{int(is_norm)}"
        endings = _NORM if is_norm else ("weight", "bias") if has_bias else ("weight",)
        return [f"{prefix}.{ending}" for ending in endings]

    _set_weights(model, arrays, name, names)


def set_ast_weights(model, arrays: Arrays, *, name: str, grid: tuple[int, int] | None = None) -> None:
    """Sets the weights of the ``ast_encoder`` called ``name``, which may have fewer blocks than the file.

    For windows of another length the position embeddings are interpolated (as in ViT, Dosovitskiy et al. 2021).

    Args:
        arrays: as the published file names them, with or without the prefix ``audio_spectrogram_transformer.``.
        grid: patches along bands and steps that the arrays were trained with; ``AST_GRID`` by default.

    Raises:
        WeightsError: if the model has no such encoder, or an array is missing or has another shape.
    """
    grid = grid or AST_GRID
    plain = {key.removeprefix(AST_PREFIX): array for key, array in arrays.items()}
    positions = model.get_layer(f"{name}_positions")
    patches = model.get_layer(f"{name}_patches").output.shape[1:3]
    try:
        gathering = [plain[f"embeddings.{token}_token"][0] for token in ("cls", "distillation")]
        learned = plain["embeddings.position_embeddings"][0]
    except KeyError as error:
        raise WeightsError(f"The file has no {error.args[0]}, so it is not an Audio Spectrogram Transformer.") from None
    if learned.shape[0] != N_GATHERING + grid[0] * grid[1]:
        raise WeightsError(f"The file has {learned.shape[0]} positions; {grid[0]} x {grid[1]} patches need "
                           f"{N_GATHERING + grid[0] * grid[1]}.")  # fmt: skip
    if learned.shape[1] != positions.positions.shape[1]:
        raise WeightsError(f"The file's tokens are {learned.shape[1]} wide, the network's "
                           f"{positions.positions.shape[1]}. Set model.ast_width.")  # fmt: skip
    placed = interpolate_positions(learned[N_GATHERING:], grid, tuple(patches))
    positions.set_weights([np.concatenate(gathering), np.concatenate([learned[:N_GATHERING], placed])])

    def names(part: str) -> list[str]:
        if part == "patches":
            prefixes = ["embeddings.patch_embeddings.projection"]
        elif part == "norm":
            prefixes = ["layernorm"]
        else:
            block, _, rest = part.partition("_")
            prefixes = [f"encoder.layer.{block.removeprefix('block')}.{place}" for place in _AST_PARTS[rest]]
        return [f"{prefix}.{ending}" for prefix in prefixes for ending in ("weight", "bias")]

    _set_weights(model, plain, name, names, skipped=("positions",))


def set_speech_weights(model, arrays: Arrays, *, name: str) -> None:
    """Sets the weights of the ``speech_encoder`` called ``name``, which may have fewer blocks than the file.

    Args:
        arrays: as transformers names them, such as ``encoder.layers.0.layer_norm.weight``, with or without the prefix
            of a whole model.

    Raises:
        WeightsError: if the model has no such encoder, or an array is missing or has another shape.
    """
    plain = {_without(key, _SPEECH_PREFIXES): array for key, array in arrays.items()}
    places = _SPEECH_PARTS["places"]
    for length, direction in ((f"{places}.{a}", f"{places}.{b}") for a, b in _NORMED_KERNELS):
        if length in plain and direction in plain:
            vectors = plain[direction]
            plain[f"{places}.weight"] = (
                plain[length] * vectors / np.sqrt(np.square(vectors).sum(axis=(0, 1), keepdims=True))
            )
    projection = plain.get("feature_projection.projection.weight")
    has_encoder = any(layer.name == f"{name}_projection" for layer in model.layers)
    if projection is not None and has_encoder:
        width = model.get_layer(f"{name}_projection").units
        if projection.shape[0] != width:
            raise WeightsError(f"The file's steps are {projection.shape[0]} wide, the network's {width}. Choose other "
                               "weights, or set model.wav2vec2_width.")  # fmt: skip
    plain |= {key: array.ravel() for key, array in plain.items() if key.endswith("gru_rel_pos_const")}

    used = set()

    def names(part: str) -> list[str]:
        found = find_names(part)
        used.update(found)
        return found

    def find_names(part: str) -> list[str]:
        if part == "distances":
            return ["encoder.layers.0.attention.rel_attn_embed.weight"]
        if part.startswith("conv"):
            number, _, norm = part.removeprefix("conv").partition("_")
            prefix = f"feature_extractor.conv_layers.{number}.{'layer_norm' if norm else 'conv'}"
            has_bias = norm or model.get_layer(f"{name}_{part}").use_bias
            return [f"{prefix}.weight", *([f"{prefix}.bias"] if has_bias else [])]
        if not part.startswith("block"):
            return [f"{_SPEECH_PARTS[part]}.{ending}" for ending in ("weight", "bias")]
        block, _, rest = part.partition("_")
        prefix = f"encoder.layers.{block.removeprefix('block')}"
        found = [f"{prefix}.{place}.{ending}" for place in _SPEECH_BLOCK_PARTS[rest] for ending in ("weight", "bias")]
        if type(model.get_layer(f"{name}_{part}")).__name__ == "GatedSelfAttention":
            gate = f"{prefix}.attention.gru_rel_pos"
            found = [f"{gate}_linear.weight", f"{gate}_linear.bias", f"{gate}_const", *found]
        return found

    _set_weights(model, plain, name, names)
    # Networks with other norms or another attention have the same names and more.
    blocks = {key.split(".")[2] for key in used if key.startswith("encoder.layers.")}
    started = ("feature_extractor.", *(f"encoder.layers.{block}." for block in blocks))
    spare = sorted(key for key in plain if key.startswith(started) and key not in used)
    if spare:
        raise WeightsError(f"The file's {spare[0]} has no place in the network, which is of another kind. Choose other "
                           "weights, or change the model's wav2vec2_ settings.")  # fmt: skip


def _without(name: str, prefixes: tuple[str, ...]) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


def interpolate_positions(positions: np.ndarray, grid: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """Resizes position embeddings from one grid of patches (rows, columns) to another, bilinearly.

    Shape:
        ``(rows * columns, width)`` to ``(wanted_rows * wanted_columns, width)``.
    """
    values = positions.reshape(*grid, -1)
    for axis in (0, 1):
        # Align the middles of the patches, not their corners.
        middles = (np.arange(wanted[axis]) + 0.5) * grid[axis] / wanted[axis] - 0.5
        middles = np.clip(middles, 0, grid[axis] - 1)
        below = np.floor(middles).astype(int)
        above = np.minimum(below + 1, grid[axis] - 1)
        share = np.expand_dims(middles - below, axis=tuple(i for i in range(3) if i != axis))
        values = (1 - share) * values.take(below, axis) + share * values.take(above, axis)
    return values.reshape(-1, values.shape[-1]).astype(np.float32)


def _set_weights(model, arrays: Arrays, name: str, names: Callable[[str], list[str]], skipped=()) -> None:
    """Sets the weights of every layer ``{name}_{part}`` to the arrays called ``names(part)``."""
    prefix = f"{name}_"
    found = [layer for layer in model.layers if layer.weights and layer.name.startswith(prefix)]
    found = [layer for layer in found if layer.name.removeprefix(prefix) not in skipped]
    if not found:
        raise WeightsError(f"{model.name} has no layers named {prefix}... to load weights into.")
    for layer in found:
        wanted = names(layer.name.removeprefix(prefix))
        missing = [array for array in wanted if array not in arrays]
        if missing:
            raise WeightsError(f"The file has no {missing[0]}, which {layer.name} needs.")
        shapes = [tuple(weight.shape) for weight in layer.weights]
        weights = [_as_keras(arrays[array], shape, layer) for array, shape in zip(wanted, shapes, strict=True)]
        if [weight.shape for weight in weights] != shapes:
            raise WeightsError(f"{layer.name} has weights {shapes}, the file {[weight.shape for weight in weights]}.")
        layer.set_weights(weights)


def _as_keras(array: np.ndarray, shape: tuple[int, ...], layer) -> np.ndarray:
    """Moves a kernel's axes: PyTorch begins with outputs and inputs, Keras ends with inputs and outputs."""
    if array.ndim == 4:
        if type(layer).__name__ != "DepthwiseConv2D":
            return array.transpose((2, 3, 1, 0))
        # PyTorch counts each channel's outputs along its first axis, Keras along an axis of their own.
        kernel = array.transpose((2, 3, 0, 1))
        return kernel.reshape(shape) if kernel.size == np.prod(shape) else kernel
    if array.ndim in (2, 3):
        return array.transpose()
    return array.reshape(shape) if array.size == np.prod(shape) else array
