"""Looks into ``.onnx`` files before they are loaded: a file from a stranger may name any other file of this computer.

An ONNX file is a protocol buffer (https://protobuf.dev/programming-guides/encoding), read here without the package
``onnx``, which inference does not need.
"""

from collections.abc import Iterator

# By message, the fields that hold further ones (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_INNER = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
MAX_DEPTH = 100
MAX_VARINT_BYTES = 10


def has_external_data(content: bytes) -> bool:
    """Whether a model keeps weights in other files.

    Raises:
        ValueError: if this is no ONNX file.
    """
    waiting = [("model", memoryview(content), 0)]
    while waiting:
        kind, message, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        for number, value in _fields(message):
            if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value)):
                return True
            inner = _INNER[kind].get(number)
            if inner is not None:
                if not isinstance(value, memoryview):
                    raise ValueError("a number where a message is expected")
                waiting.append((inner, value, depth + 1))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number of each field of a message, and its bytes or number."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(message, place)
        elif wire == LENGTH:
            size, place = _varint(message, place)
            value, place = message[place : place + size], place + size
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if wire == EIGHT_BYTES else 4
            value, place = message[place : place + size], place + size
        else:
            raise ValueError("a field of an unknown type")
        if place > len(message):
            raise ValueError("it ends in the middle")
        yield number, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for n_bytes in range(MAX_VARINT_BYTES):
        if place >= len(message):
            raise ValueError("it ends in the middle")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << (7 * n_bytes)
        if byte < 0x80:
            return value, place
    raise ValueError("a number that is too long")
