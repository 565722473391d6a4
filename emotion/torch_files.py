"""Reads PyTorch's files of tensors without PyTorch: dicts of arrays, and nothing that could be run.

Both layouts are read: a zip, which PyTorch writes since 1.6, and the pickles one after the other of earlier releases.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ZIP_START = b"PK\x03\x04"
OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
OLD_START = pickle.dumps(OLD_MAGIC, protocol=2)
STATE_NAMES = ("state_dict", "model_state_dict")  # under which checkpoints keep a network's tensors
PARALLEL = "module."  # what DataParallel puts before every name
_DTYPES = {
    "HalfStorage": np.float16, "FloatStorage": np.float32, "DoubleStorage": np.float64, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_, "IntStorage": np.int32, "LongStorage": np.int64,
}  # fmt: skip
# What the readers raise for files that are damaged, or hold anything else.
UNREADABLE = (pickle.UnpicklingError, zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, AttributeError,
              IndexError)  # fmt: skip


@dataclass(frozen=True)
class _StorageType:
    """What a pickle's ``torch.HalfStorage`` and its like stand for."""

    dtype: type


def is_checkpoint(content: bytes) -> bool:
    """Tells by its first bytes whether a file may be PyTorch's."""
    return content.startswith((ZIP_START, OLD_START))


def read_network(content: bytes) -> dict[str, np.ndarray]:
    """Reads the float tensors of one network, by their names without ``module.``, as float32.

    Raises:
        ValueError: if the file is damaged, or holds anything but dicts of tensors.
    """
    try:
        values = read_checkpoint(content)
    except UNREADABLE as error:
        raise ValueError(f"it is not a readable checkpoint of tensors ({error})") from None
    if isinstance(values, Mapping):
        values = next((values[name] for name in STATE_NAMES if name in values), values)
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ValueError("it holds no tensors by name")
    arrays = {
        name.removeprefix(PARALLEL): np.array(value, np.float32, order="C")
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }
    if not arrays:
        raise ValueError("it holds no tensors by name")
    return arrays


def read_checkpoint(content: bytes):
    """Reads the content of a ``.pt`` file, or one like it. Tensors become NumPy arrays.

    Raises:
        pickle.UnpicklingError: if the pickle asks for anything but dicts of tensors.
        UNREADABLE: if the file is damaged or laid out in another way.
    """
    if content.startswith(OLD_START):
        return _read_old(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"one data.pkl expected, found {len(pickles)}")
        folder = pickles[0].removesuffix("data.pkl")
        if sum(info.file_size for info in archive.infolist()) > len(content):
            raise ValueError("it is compressed, which PyTorch does not do")

        def read(key: str, dtype, n_numbers: int) -> np.ndarray:
            numbers = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
            if len(numbers) != n_numbers:
                raise ValueError(f"tensor {key} has {len(numbers)} numbers, not {n_numbers}")
            return numbers

        return _TensorUnpickler(io.BytesIO(archive.read(pickles[0])), read).load()


def _read_old(content: bytes):
    """A number to know the file by, a version, the writer's machine, the values, the storages' names, the storages."""
    file = io.BytesIO(content)
    storages: dict[str, np.ndarray] = {}

    def reserve(key: str, dtype, n_numbers: int) -> np.ndarray:
        # The numbers follow at the end of the file; what is built of them until then is a view.
        if not 0 <= n_numbers * np.dtype(dtype).itemsize <= len(content):
            raise ValueError(f"tensor {key} cannot have {n_numbers} numbers")
        return storages.setdefault(key, np.zeros(n_numbers, dtype))

    magic, protocol, _ = (_TensorUnpickler(file, reserve).load() for _ in range(3))
    if magic != OLD_MAGIC or protocol != OLD_PROTOCOL:
        raise ValueError("it begins like a checkpoint of PyTorch but is none")
    values = _TensorUnpickler(file, reserve).load()
    for key in _TensorUnpickler(file, reserve).load():
        storage = storages[key]
        n_numbers = int.from_bytes(file.read(8), "little")
        data = file.read(storage.nbytes)
        if n_numbers != len(storage) or len(data) != storage.nbytes:
            raise ValueError(f"tensor {key} has not the {len(storage)} numbers that it should have")
        storage[:] = np.frombuffer(data, storage.dtype)
    return values


class _TensorUnpickler(pickle.Unpickler):
    """Builds dicts and arrays, and refuses every other name that a pickle may ask for.

    Args:
        read: called with a storage's name, type and number of numbers; returns them.
    """

    def __init__(self, file, read):
        super().__init__(file)
        self._read = read

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid):
        kind, storage_type, key, _, n_numbers, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or view not in ([], [None]):
            raise pickle.UnpicklingError(f"{kind} is not allowed")
        return self._read(key, storage_type.dtype, n_numbers)


def _rebuild_tensor(storage, offset, size, stride, *_):
    """Returns a tensor from its storage: its first number, its shape, and its strides in numbers."""
    ends = [(length - 1) * step for length, step in zip(size, stride, strict=True)]
    # The view itself checks nothing; a wrong file must not read beyond the storage.
    if offset < 0 or min((*size, *stride), default=1) < 1 or offset + sum(ends) >= len(storage):
        raise ValueError(f"size {tuple(size)} with strides {tuple(stride)} goes beyond {len(storage)} numbers")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
