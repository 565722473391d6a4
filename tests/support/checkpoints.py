"""Files as ``torch.save`` writes them, without PyTorch."""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np

_STORAGES = {"e": "HalfStorage", "f": "FloatStorage", "d": "DoubleStorage", "l": "LongStorage"}
_OLD_HEAD = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})


def _rebuild_tensor_v2():
    """Stands for PyTorch's function of that name."""


class HalfStorage:
    """Stands for PyTorch's class of that name, as do the next ones."""


class FloatStorage:
    pass


class DoubleStorage:
    pass


class LongStorage:
    pass


class _Tensor:
    """Is pickled as PyTorch pickles a tensor: a call to rebuild it from a storage that lies beside the pickle."""

    def __init__(self, array: np.ndarray, shape=None, strides=None):
        self.array, self.shape = array, array.shape if shape is None else shape
        self.strides = tuple(step // array.itemsize for step in array.strides) if strides is None else strides

    def __reduce__(self):
        kind = getattr(sys.modules[__name__], _STORAGES[self.array.dtype.char])
        storage = SimpleNamespace(content=self.array.tobytes(order="A"), n=self.array.size, kind=kind)
        return _rebuild_tensor_v2, (storage, 0, self.shape, self.strides, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def __init__(self, file, view: tuple):
        super().__init__(file, protocol=2)
        self.storages, self.view = [], view

    def persistent_id(self, obj):
        if not isinstance(obj, SimpleNamespace):
            return None
        self.storages.append(obj)
        return ("storage", obj.kind, str(len(self.storages) - 1), "cuda:0", obj.n, *self.view)


def tensor_of(array: np.ndarray, shape, strides) -> _Tensor:
    """A tensor that claims a shape and strides, in numbers, that may not be those of the array."""
    return _Tensor(array, shape, strides)


def _wrapped(values):
    if isinstance(values, np.ndarray):
        return _Tensor(values)
    return {name: _wrapped(value) for name, value in values.items()} if isinstance(values, dict) else values


def make_checkpoint(values, *, old: bool = False, compressed: bool = False) -> bytes:
    """What ``torch.save`` would write of dicts of arrays; ``old``: as releases before 1.6 did."""
    file = io.BytesIO()
    pickler = _Pickler(file, (None,) if old else ())
    pickler.dump(_wrapped(values))
    listing = file.getvalue()
    names = {name: "torch" for name in _STORAGES.values()} | {"_rebuild_tensor_v2": "torch._utils"}
    for name, module in names.items():
        listing = listing.replace(f"c{__name__}\n{name}\n".encode(), f"c{module}\n{name}\n".encode())
    if old:
        head = b"".join(pickle.dumps(part, protocol=2) for part in _OLD_HEAD)
        keys = pickle.dumps([str(key) for key in range(len(pickler.storages))], protocol=2)
        return (
            head + listing + keys + b"".join(each.n.to_bytes(8, "little") + each.content for each in pickler.storages)
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", listing)
        for key, storage in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{key}", storage.content)
    return content.getvalue()
