"""Tells how a frame or an image must be turned and mirrored to stand upright."""

import os
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

EXIF_ORIENTATION = 0x0112
# What makes an image upright, by its orientation number in EXIF 2.3.
TURNS = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def find_orientation(image: Image.Image) -> int | None:
    """Returns the EXIF orientation of a picture opened by Pillow, a key of ``TURNS``; None if it has none."""
    try:
        turn = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # Pillow raises what it likes on damaged metadata
        return None
    return turn if turn in TURNS else None


def find_turn_of_image(path: str | os.PathLike) -> int | None:
    """Returns an image file's EXIF orientation, a key of ``TURNS``; None if it has none.

    PyAV reports only a rotation, but photographs may be mirrored, too.
    """
    try:
        with Image.open(path) as image:
            return find_orientation(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def find_turn(frame) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns what turns and mirrors a decoded frame as its display matrix asks; None if it is upright.

    The matrix maps x to a x + c y and y to b x + d y. ``frame.rotation``, which PyAV derives from it, confuses mirrored
    with upside-down, so it serves only where PyAV cannot return the matrix.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 fails on kinds of side data that it has no name for, such as EXIF in images
        quarters = round(frame.rotation / 90)
        return partial(np.rot90, k=quarters) if quarters % 4 else None
    if matrix is None:
        return None
    a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32, count=5))
    is_lying = abs(b) > abs(a)
    x, y = (c, b) if is_lying else (a, d)
    if not is_lying and x > 0 and y > 0:
        return None
    return lambda image: (image.swapaxes(0, 1) if is_lying else image)[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1]
