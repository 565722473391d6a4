"""Storing a network's large weights as 16-bit numbers, which halves its file.

What is stored so are the kernels: weights of two or more dimensions and at least ``MIN_VALUES`` values. Biases, the
statistics of normalisation and small arrays stay at 32 bits: they are few, and errors in them move every output. When a
network is loaded Keras turns the stored numbers back into 32 bits, so it computes as before, with rounded weights.

``store_halves`` loses nothing if the kernels were rounded first, by ``round_to_half``. Whoever wants scores of exactly
the network that is stored rounds it before it is scored.
"""

import io
import math
import os
import zipfile
from pathlib import Path

import numpy as np

from emotion.errors import RunError

MIN_VALUES = 1024
LARGEST_HALF = float(np.finfo(np.float16).max)
WEIGHTS_MEMBER = "model.weights.h5"  # Keras's name for it in a .keras archive


def round_to_half(model) -> None:
    """Rounds a Keras model's kernels in place to what 16 bits can hold; the other weights stay as they are.

    Raises:
        RunError: if a kernel holds what 16 bits cannot: beyond 65504, or no number. The model is then left as it was.
    """
    rounded = [
        (weight, _to_half(values, weight.path))
        for weight, values in zip(model.weights, model.get_weights(), strict=True)
        if _is_kernel(values.shape, str(values.dtype))
    ]
    for weight, values in rounded:
        weight.assign(values.astype(np.float32))


def store_halves(path: str | os.PathLike) -> None:
    """Rewrites a ``.keras`` file so that its kernels are stored as 16-bit numbers, and compressed.

    Args:
        path: what ``model.save`` wrote; replaced.

    Raises:
        RunError: if a kernel holds what 16 bits cannot; the file is then left as it was.
    """
    path = Path(path)
    partial = path.with_name(f"halved-{path.name}")
    try:
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(partial, "w") as halved:
            for member in whole.infolist():
                content = whole.read(member)
                halved.writestr(member, _halve_weights(content) if member.filename == WEIGHTS_MEMBER else content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _halve_weights(content: bytes) -> bytes:
    import h5py

    result = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as source, h5py.File(result, "w") as target:

        def copy(name: str, item) -> None:
            if isinstance(item, h5py.Group):
                copied = target.require_group(name)
            elif _is_kernel(item.shape, str(item.dtype)):
                # Shuffling the bytes brings signs and exponents together, without which there is nothing to compress.
                copied = target.create_dataset(
                    name, data=_to_half(item[()], name), compression="gzip", compression_opts=4, shuffle=True
                )
            else:
                copied = target.create_dataset(name, data=item[()], dtype=item.dtype)
            copied.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return result.getvalue()


def _is_kernel(shape: tuple[int, ...], dtype: str) -> bool:
    return dtype == "float32" and len(shape) >= 2 and math.prod(shape) >= MIN_VALUES


def _to_half(values: np.ndarray, name: str) -> np.ndarray:
    if not (np.abs(values) <= LARGEST_HALF).all():  # NaN is not, either
        raise RunError(
            f"{name}: holds weights beyond {LARGEST_HALF:.0f} or none at all, which 16 bits cannot store. Write the "
            "model without half_precision."
        )
    return values.astype(np.float16)
