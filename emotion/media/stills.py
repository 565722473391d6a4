"""Reads photographs by Pillow: FFmpeg does not tell if one is cut off, and reads HEIC, AVIF and TIFF wrongly.

Phones store a photograph as a grid of tiles, of which FFmpeg gives one; others it leaves lying, or shows black. Kinds
are known by their content, whatever the file's name says. What Pillow does not know is left to FFmpeg.
"""

import contextlib
import mmap
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from emotion.errors import MediaError
from emotion.media.orientation import TURNS, find_orientation
from emotion.media.tracks import ANY_TRACKS, TrackChoice
from emotion.media.wholeness import CUT, check_wholeness

# By Pillow's name for the kind, as FFmpeg calls the codec.
CODECS = {
    "HEIF": "hevc", "AVIF": "av1", "TIFF": "tiff", "JPEG": "mjpeg", "MPO": "mjpeg", "PNG": "png", "BMP": "bmp",
    "GIF": "gif", "WEBP": "webp",
}  # fmt: skip
HEAD_BYTES = 12
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEADS = {"TIFF": TIFF_HEADS, "JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "GIF": b"GIF8", "BMP": b"BM"}
# Brands of files that hold one picture in the boxes of MP4 (ISO/IEC 23008-12). Sequences are videos, and FFmpeg's.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif", b"avci", b"MiHB", b"MiHE")
HEIF_KINDS = ("HEIF", "AVIF")
KINDS_THAT_MOVE = ("AVIF", "GIF", "PNG", "WEBP")
KINDS_OF_SEVERAL = ("HEIF", "TIFF")  # that a person may have meant; the others of an MPO are the same for other screens
FIRST_LYING = 5  # orientation of EXIF from which width and height are exchanged
MAX_META_BYTES = 1 << 20  # what describes the pictures of a file comes before them
MAX_PIXELS = 210_000_000  # of a picture: the largest phones take 200 million, which need 2.5 GB
TOO_LARGE = f"{{path}}: has more than {MAX_PIXELS:,} pixels. Make it smaller."
SUBFILE_TYPE, IS_PREVIEW = 254, 1  # a tag of TIFF, which raw photos are, and a bit of it
JPEG_AFTER_JPEG = b"\xff\xd9\xff\xd8"  # one picture's end and the next one's beginning
_PILLOW = threading.Lock()  # its limit, and Python's filters of warnings, are the process's


@dataclass(frozen=True)
class StillInfo:
    """What a photograph's header says: pixels of the upright picture, and its codec, such as ``hevc``."""

    width: int
    height: int
    codec: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Still:
    """A photograph.

    Attributes:
        image: ``(height, width, 3)`` RGB uint8, upright; white shows through where it is transparent. None if it is
            damaged and FFmpeg may still read a part.
        fault: why part of it may be missing; empty if it is whole.
    """

    image: np.ndarray | None
    fault: str = ""


def look_at_still(path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS) -> StillInfo | None:
    """Reads a photograph's header; None if the file is missing, or of a kind that is FFmpeg's to read.

    Raises:
        MediaError: if the photograph cannot be read, is too large, or has no such track.
    """
    with _opened(path, choice) as image:
        if image is None:
            return None
        width, height = image.size[::-1] if _find_orientation(path, image) >= FIRST_LYING else image.size
        n = image.n_frames if image.format in KINDS_OF_SEVERAL else 1
        notes = (f"one of the {n} pictures in it was judged; --video_track N chooses another",)
        return StillInfo(width, height, CODECS[image.format], notes if n > 1 and choice.video is None else ())


def read_still(path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS) -> Still | None:
    """Reads a photograph; None as ``look_at_still``, and where Pillow does not know what is in it.

    Raises:
        MediaError: as ``look_at_still``, or if the photograph cannot be decoded.
    """
    with _opened(path, choice) as image:
        if image is None:
            return None
        try:
            decoded = _decode(image)
        except Exception as error:  # decoders raise what they like
            if image.format in HEIF_KINDS:
                raise MediaError(_undecodable(path, error)) from error
            return Still(None, str(error)) if isinstance(error, OSError) else None
        # libheif leaves out tiles that are missing, without a word.
        fault = CUT if image.format == "HEIF" and _is_cut(path) else ""
        return Still(np.ascontiguousarray(TURNS[_find_orientation(path, image)](_to_rgb(decoded))), fault)


@contextlib.contextmanager
def _opened(path: str | os.PathLike, choice: TrackChoice) -> Iterator[Image.Image | None]:
    """Lends the chosen picture of a file, not decoded yet; None if it is FFmpeg's to read."""
    kinds = _find_kinds(path)
    if not kinds:
        yield None
        return
    if kinds == HEIF_KINDS:
        _register_heif()
    with contextlib.ExitStack() as stack:
        stack.enter_context(reading_pillow())
        try:
            image = stack.enter_context(Image.open(path, formats=kinds))
            is_video = image.format in KINDS_THAT_MOVE and image.is_animated
        except Image.DecompressionBombError as error:
            raise MediaError(TOO_LARGE.format(path=path)) from error
        except Exception as error:  # decoders raise what they like
            if kinds == HEIF_KINDS:
                raise MediaError(_undecodable(path, error)) from error
            image, is_video = None, False
        if image is None or is_video or (image.format == "JPEG" and _holds_several_jpegs(path)):
            yield None
            return
        if image.width * image.height > MAX_PIXELS:
            raise MediaError(TOO_LARGE.format(path=path))
        if image.format == "TIFF" and image.tag_v2.get(SUBFILE_TYPE, 0) & IS_PREVIEW:
            raise MediaError(f"{path}: is a raw photo, of which only a preview could be read. Export it as JPEG.")
        _seek(path, image, choice)
        yield image


@contextlib.contextmanager
def reading_pillow() -> Iterator[None]:
    """Lets the block alone use Pillow, without warnings, and with ``MAX_PIXELS`` as its limit."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def describe_broken_still(path: str | os.PathLike) -> str | None:
    """Says, for an error, that a photograph is cut off or damaged; None for a file of another kind."""
    kinds = _find_kinds(path)
    if not kinds:
        return None
    if check_wholeness(path, kinds[0].lower()).fault == CUT:
        return "the picture is cut off. Copy or download it again."
    return "the picture is damaged, or of a kind that is not read. Copy it again, or convert it to PNG or JPEG."


def _find_kinds(path: str | os.PathLike) -> tuple[str, ...]:
    """Returns Pillow's names of the kinds that a file may be, by how it begins."""
    if not os.path.isfile(path):  # a pipe would wait for ever
        return ()
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return ()
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return HEIF_KINDS
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ("WEBP",)
    return tuple(kind for kind, beginning in HEADS.items() if head.startswith(beginning))


def _holds_several_jpegs(path: str | os.PathLike) -> bool:
    """Whether a file holds JPEGs one after the other, without a table of them: a video."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(JPEG_AFTER_JPEG) >= 0


def _seek(path: str | os.PathLike, image: Image.Image, choice: TrackChoice) -> None:
    """Turns to the chosen picture of a file."""
    if choice.audio is not None or choice.channel is not None:
        raise MediaError(f"{path}: is a still picture, which has no sound. Leave out the sound's track and channel.")
    if choice.video is None:
        return
    n = getattr(image, "n_frames", 1)
    if not 1 <= choice.video <= n:
        raise MediaError(f"{path}: has no video track {choice.video}; it holds {n} picture{'s' * (n > 1)}.")
    if n > 1:
        image.seek(choice.video - 1)


def _find_orientation(path: str | os.PathLike, image: Image.Image) -> int:
    """Returns a key of ``TURNS``."""
    if image.format == "HEIF":
        # libheif turns as the boxes say; EXIF repeats that, or is all there is.
        turn = 1 if _states_turn(path) else image.info.get("original_orientation")
    else:
        turn = 1 if image.format == "TIFF" else find_orientation(image)  # which Pillow turns as it decodes
    return turn if turn in TURNS else 1


def _decode(image: Image.Image) -> Image.Image:
    """Decodes a picture, and makes it RGB unless it has more than eight bits."""
    image.load()
    return image if _is_deep(image) else flatten(image)


def flatten(image: Image.Image) -> Image.Image:
    """Returns a picture as RGB; white shows through where it can."""
    if image.mode == "RGB":
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _to_rgb(image: Image.Image) -> np.ndarray:
    if not _is_deep(image):
        return np.asarray(image)
    # Pillow would clip, not scale, what has more than eight bits.
    values = np.nan_to_num(np.asarray(image).astype(np.float32))
    top = 65535.0 if image.mode.startswith("I;16") else max(float(values.max()), 1e-9)
    grey = np.clip(np.round(values * (255.0 / top)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _undecodable(path: str | os.PathLike, error: Exception) -> str:
    words = "an unknown kind, or damaged" if isinstance(error, UnidentifiedImageError) else error
    return (
        f"{path}: this HEIC or AVIF picture cannot be decoded ({words}). Copy or download it again, or convert it to "
        "JPEG or PNG."
    )


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
