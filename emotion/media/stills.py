"""Photographs of kinds that FFmpeg reads wrongly, read by Pillow: HEIC, AVIF and TIFF.

Phones store a photograph as a grid of tiles, of which FFmpeg gives one; others it leaves lying, or shows black. These
kinds are known by their content, whatever the file's name says.
"""

import os
import threading
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emotion.errors import MediaError
from emotion.media.orientation import EXIF_ORIENTATION

CODECS = {"HEIF": "hevc", "AVIF": "av1", "TIFF": "tiff"}  # by Pillow's name for the kind
HEAD_BYTES = 12
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Brands of files that hold one picture in the boxes of MP4 (ISO/IEC 23008-12). Sequences are videos, and FFmpeg's.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif", b"avci", b"MiHB", b"MiHE")
MAX_META_BYTES = 1 << 20  # what describes the pictures of a file comes before them
MAX_PIXELS = 400_000_000  # of a picture; the largest phones take half as many
TOO_LARGE = f"{{path}}: has more than {MAX_PIXELS:,} pixels. Make it smaller."
SUBFILE_TYPE, IS_PREVIEW = 254, 1  # a tag of TIFF, which raw photos are, and a bit of it
_PILLOW = threading.Lock()  # its limit, and Python's filters of warnings, are the process's


@dataclass(frozen=True)
class Still:
    """A photograph.

    Attributes:
        image: ``(height, width, 3)`` RGB uint8, upright; white shows through where it is transparent.
        codec: such as ``hevc``.
        fault: why part of it may be missing; empty if it is whole.
    """

    image: np.ndarray
    codec: str
    fault: str = ""


def read_still(path: str | os.PathLike) -> Still | None:
    """Reads a photograph; None if the file is missing, or of a kind that is FFmpeg's to read.

    Raises:
        MediaError: if the photograph cannot be decoded.
    """
    if not os.path.isfile(path):  # a pipe would wait for ever
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    is_tiff = head[:4] in TIFF_HEADS
    if not is_tiff and not (head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS):
        return None
    if not is_tiff:
        _register_heif()
    try:
        with _PILLOW, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
            try:
                return _read(path, ("TIFF",) if is_tiff else ("HEIF", "AVIF"))
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise MediaError(TOO_LARGE.format(path=path)) from error
    except Exception as error:  # decoders raise what they like
        if is_tiff:
            return None  # FFmpeg knows some that Pillow does not
        words = "an unknown kind, or damaged" if isinstance(error, UnidentifiedImageError) else error
        raise MediaError(
            f"{path}: this HEIC or AVIF picture cannot be decoded ({words}). Copy or download it again, or convert it "
            "to JPEG or PNG."
        ) from error


def _read(path: str | os.PathLike, kinds: tuple[str, ...]) -> Still | None:
    with Image.open(path, formats=kinds) as image:
        if image.width * image.height > MAX_PIXELS:
            raise MediaError(TOO_LARGE.format(path=path))
        if image.format == "TIFF" and image.tag_v2.get(SUBFILE_TYPE, 0) & IS_PREVIEW:
            raise MediaError(f"{path}: is a raw photo, of which only a preview could be read. Export it as JPEG.")
        if image.format == "AVIF" and image.is_animated:
            return None
        if image.format == "HEIF" and not _states_turn(path):
            # libheif turns as the boxes say; EXIF repeats that, or is all there is.
            image.getexif()[EXIF_ORIENTATION] = image.info.get("original_orientation") or 1
        # libheif leaves out tiles that are missing, without a word.
        fault = "the file is cut off" if image.format == "HEIF" and _is_cut(path) else ""
        return Still(_to_rgb(ImageOps.exif_transpose(image)), CODECS[image.format], fault)


def _register_heif() -> None:
    try:
        import pi_heif
    except ImportError as error:
        raise MediaError("HEIC pictures need pi-heif: pip install -r requirements.txt") from error
    pi_heif.register_heif_opener()


def _states_turn(path: str | os.PathLike) -> bool:
    """Whether the boxes of a HEIC file say how its pictures are to be turned or mirrored."""
    with open(path, "rb") as file:
        head = file.read(MAX_META_BYTES)
    return any(kind in head for kind in (b"irot", b"imir"))


def _is_cut(path: str | os.PathLike) -> bool:
    """Whether the last box of a file is longer than the file."""
    end, size = 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while end < size:
            file.seek(end)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # the length follows in 64 bits
                length = int.from_bytes(head[8:16], "big")
            if length < 8:  # 0: to the end of the file
                return length != 0
            end += length
    return end > size


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F" or image.mode.startswith("I"):
        # Pillow would clip, not scale, what has more than eight bits.
        values = np.nan_to_num(np.asarray(image).astype(np.float32))
        top = 65535.0 if image.mode.startswith("I;16") else max(float(values.max()), 1e-9)
        grey = np.clip(np.round(values * (255.0 / top)), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
