"""Writes HEIC files as phones do: one picture as a grid of HEVC tiles (ISO/IEC 23008-12)."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np


def make_heic(path: Path, image: np.ndarray, *, tile: int = 64, quarters: int = 0) -> Path:
    """Writes an RGB picture ``(height, width, 3)`` uint8 in tiles.

    Args:
        tile: pixels of a tile's side.
        quarters: turns of 90 degrees, counter-clockwise, that a reader must make.
    """
    height, width = image.shape[:2]
    n_rows, n_columns = -(-height // tile), -(-width // tile)
    padded = np.pad(image, ((0, n_rows * tile - height), (0, n_columns * tile - width), (0, 0)), "edge")
    coded = [
        _encode(padded[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile])
        for row in range(n_rows)
        for column in range(n_columns)
    ]
    n, grid = len(coded), len(coded) + 1
    infos = [_full(b"infe", 2, 0, struct.pack(">HH", i, 0) + b"hvc1\0") for i in range(1, grid)]
    infos.append(_full(b"infe", 2, 0, struct.pack(">HH", grid, 0) + b"grid\0"))
    tiles = struct.pack(f">HH{n}H", grid, n, *range(1, grid))
    properties = [_box(b"hvcC", coded[0][0]), _size(tile, tile), _size(width, height), _box(b"irot", bytes([quarters]))]
    links = [struct.pack(">HBBB", i, 2, 0x81, 2) for i in range(1, grid)] + [struct.pack(">HBBB", grid, 2, 3, 0x84)]
    owned = _full(b"ipma", 0, 0, struct.pack(">I", grid) + b"".join(links))
    layout = struct.pack(">BBBBHH", 0, 0, n_rows - 1, n_columns - 1, width, height)

    def meta(start: int) -> bytes:
        places, at = [], start
        for i, (_, data) in enumerate(coded, start=1):
            places.append(struct.pack(">HHHHII", i, 0, 0, 1, at, len(data)))
            at += len(data)
        places.append(struct.pack(">HHHHII", grid, 1, 0, 1, 0, len(layout)))
        return _full(
            b"meta", 0, 0,
            _full(b"hdlr", 0, 0, bytes(4) + b"pict" + bytes(13)), _full(b"pitm", 0, 0, struct.pack(">H", grid)),
            _full(b"iinf", 0, 0, struct.pack(">H", grid), *infos), _full(b"iref", 0, 0, _box(b"dimg", tiles)),
            _box(b"iprp", _box(b"ipco", *properties), owned),
            _full(b"iloc", 1, 0, struct.pack(">BBH", 0x44, 0, grid), *places), _box(b"idat", layout),
        )  # fmt: skip

    return _write(path, meta, coded)


def make_heic_of_several(path: Path, images: list[np.ndarray]) -> Path:
    """Writes RGB pictures of one size, each as one tile; the first is the one that is shown."""
    coded, (height, width) = [_encode(image) for image in images], images[0].shape[:2]
    n = len(images)
    infos = [_full(b"infe", 2, 0, struct.pack(">HH", i, 0) + b"hvc1\0") for i in range(1, n + 1)]
    owned = _full(b"ipma", 0, 0, struct.pack(">I", n), *(struct.pack(">HBBB", i, 2, 0x81, 2) for i in range(1, n + 1)))

    def meta(start: int) -> bytes:
        places, at = [], start
        for i, (_, data) in enumerate(coded, start=1):
            places.append(struct.pack(">HHHHII", i, 0, 0, 1, at, len(data)))
            at += len(data)
        return _full(
            b"meta", 0, 0,
            _full(b"hdlr", 0, 0, bytes(4) + b"pict" + bytes(13)), _full(b"pitm", 0, 0, struct.pack(">H", 1)),
            _full(b"iinf", 0, 0, struct.pack(">H", n), *infos),
            _box(b"iprp", _box(b"ipco", _box(b"hvcC", coded[0][0]), _size(width, height)), owned),
            _full(b"iloc", 1, 0, struct.pack(">BBH", 0x44, 0, n), *places),
        )  # fmt: skip

    return _write(path, meta, coded)


def _write(path: Path, meta: Callable[[int], bytes], coded: list[tuple[bytes, bytes]]) -> Path:
    """Writes a file; ``meta`` makes its description, given where the coded pictures begin."""
    head = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + _box(b"mdat", *(data for _, data in coded)))
    return path


def _encode(image: np.ndarray) -> tuple[bytes, bytes]:
    """Returns a tile's decoder configuration and its coded picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx265", rate=1, width=image.shape[1], height=image.shape[0])
        stream.pix_fmt, stream.codec_tag = "yuv420p", "hvc1"
        stream.options = {"x265-params": "qp=10:log-level=none:keyint=1", "preset": "ultrafast"}
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        output.mux(stream.encode(None))
    data = file.getvalue()
    at = data.index(b"hvcC")
    configuration = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    with av.open(io.BytesIO(data)) as source:
        return configuration, bytes(next(packet for packet in source.demux(video=0) if packet.size))


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _size(width: int, height: int) -> bytes:
    return _full(b"ispe", 0, 0, struct.pack(">II", width, height))
