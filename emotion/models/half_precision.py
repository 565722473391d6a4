"""Stores a network's kernels as 16-bit numbers, which halves its file.

Kernels are weights with two or more dimensions and at least ``MIN_VALUES`` values. The other weights stay at 32 bits:
they are few, and errors in them move every output. Keras turns 16-bit numbers back into 32 bits when it loads the file,
so the network computes in 32 bits with rounded kernels.

To score exactly the network that is stored, call ``round_to_half`` before scoring; ``store_halves`` then loses nothing.
"""

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from emotion.errors import RunError
from emotion.files import written_whole

MIN_VALUES = 1024
LARGEST_HALF = float(np.finfo(np.float16).max)
WEIGHTS_MEMBER = "model.weights.h5"  # Keras's name for it in a .keras archive


def round_to_half(model) -> None:
    """Rounds a Keras model's kernels, in place, to 16-bit numbers.

    Raises:
        RunError: if a kernel holds a value beyond 65504 or NaN; the model is then left as it was.
    """
    rounded = [
        (weight, _to_half(values, weight.path))
        for weight, values in zip(model.weights, model.get_weights(), strict=True)
        if _is_kernel(values.shape, str(values.dtype))
    ]
    for weight, values in rounded:
        weight.assign(values.astype(np.float32))


def store_halves(path: Path) -> None:
    """Rewrites a ``.keras`` file so that its kernels are stored as compressed 16-bit numbers.

    Raises:
        RunError: if a kernel holds a value beyond 65504 or NaN; the file is then left as it was.
    """
    with written_whole(path) as partial, zipfile.ZipFile(path) as whole, zipfile.ZipFile(partial, "w") as halved:
        for member in whole.infolist():
            content = whole.read(member)
            halved.writestr(member, _halve_weights(content) if member.filename == WEIGHTS_MEMBER else content)


def _halve_weights(content: bytes) -> bytes:
    import h5py

    result = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as source, h5py.File(result, "w") as target:

        def copy(name: str, item) -> None:
            if isinstance(item, h5py.Group):
                copied = target.require_group(name)
            elif _is_kernel(item.shape, str(item.dtype)):
                # Shuffling puts signs and exponents side by side; without it the numbers hardly compress.
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
    if not (np.abs(values) <= LARGEST_HALF).all():  # also refuses NaN
        raise RunError(
            f"{name}: holds weights beyond {LARGEST_HALF:.0f} or NaN, which 16 bits cannot store. Write the model "
            "without half_precision."
        )
    return values.astype(np.float16)
