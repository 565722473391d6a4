"""Reads PyTorch's ``.pt`` files of plain tensors without PyTorch.

Such a file is a zip of raw numbers and a pickle that lists them. The reader lets that pickle build dicts and arrays and
nothing else, so that a foreign file can run no code.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

_DTYPES = {"HalfStorage": np.float16, "FloatStorage": np.float32, "DoubleStorage": np.float64}


@dataclass(frozen=True)
class _StorageType:
    """What a pickle's ``torch.HalfStorage`` and its like stand for."""

    dtype: type


def read_checkpoint(content: bytes):
    """Reads a ``.pt`` file of plain tensors as PyTorch has written them since 1.6: a zip with one pickle.

    Args:
        content: of the file.

    Returns:
        What was saved, with NumPy arrays for tensors.

    Raises:
        pickle.UnpicklingError: if the pickle asks for anything but dicts of tensors.
        ValueError, KeyError, zipfile.BadZipFile: if the file is damaged or laid out in another way.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"one data.pkl expected, found {len(pickles)}")
        folder = pickles[0].removesuffix("data.pkl")
        return _TensorUnpickler(io.BytesIO(archive.read(pickles[0])), archive, folder).load()


class _TensorUnpickler(pickle.Unpickler):
    """Builds dicts and arrays, and refuses every other name that a pickle may ask for."""

    def __init__(self, file, archive: zipfile.ZipFile, folder: str):
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid):
        kind, storage_type, key, _, n_numbers = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError(f"{kind} is not allowed")
        numbers = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), storage_type.dtype)
        if len(numbers) != n_numbers:
            raise ValueError(f"tensor {key} has {len(numbers)} numbers, not {n_numbers}")
        return numbers


def _rebuild_tensor(storage, offset, size, stride, *_):
    """A tensor as a view of its storage: where it begins, its shape, and the numbers from one index to the next."""
    ends = [(length - 1) * step for length, step in zip(size, stride, strict=True)]
    # The view itself checks nothing; a wrong file must not read beyond the storage.
    if offset < 0 or min((*size, *stride), default=1) < 1 or offset + sum(ends) >= len(storage):
        raise ValueError(f"size {tuple(size)} with strides {tuple(stride)} goes beyond {len(storage)} numbers")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False).copy()
