"""Tells which files are media, by extension or content, and lists the files below a folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from emotion.errors import MediaError
from emotion.media.reading import probe_media
from emotion.media.stills import TIFF_HEADS
from emotion.media.suffixes import UNFINISHED_SUFFIXES, kind_by_name

HEAD_BYTES = 512
PACKET_BYTES = 188  # of an MPEG transport stream; with a time of 4 bytes before each in .m2ts
# How files of media begin; each is looked into before it is believed.
_BEGINNINGS = (
    b"\x1aE\xdf\xa3", b"RIFF", b"RF64", b"BW64", b"FORM", b"OggS", b"fLaC", b"ID3", b"#!AMR", b".snd", b"caff", b"MAC ",
    b"wvpk", b"TTA1", b"tBaK", b"DSD ", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01", b".RMF", b"\x00\x00\x01\xba",
    b"\x00\x00\x01\xb3", b"\x00\x00\x00\x01", b"DHAV", b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"BM",
    *TIFF_HEADS, b"\x00\x00\x00\x0cjP  ", b"\x00\x00\x00\x0cJXL ", b"\xff\x0a", b"\x06\x0e\x2b\x34", b"\x1f\x07\x00",
    b"DKIF", b"YUV4MPEG2", b"nut/multimedia", b"riff", b"Creative Voice", b"NIST_1A", b"\xff\xfb", b"\xff\xf3",
    b"\xff\xfa", b"\xff\xf1", b"\xff\xf9", b"\x0bw", b"qoif",
)  # fmt: skip
_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def kind_of(path: str | os.PathLike) -> str | None:
    """Returns ``video``, ``image`` or ``audio``, or None for any other file.

    The extension says it; a file with none, or with one of no known meaning, is known by its content.
    """
    kind = kind_by_name(path)
    if kind is not None or Path(path).suffix.lower() in UNFINISHED_SUFFIXES or not _begins_like_media(path):
        return kind
    try:
        info = probe_media(path)
    except MediaError:
        return None
    return "image" if info.is_still else "video" if info.has_video else "audio"


def _begins_like_media(path: str | os.PathLike) -> bool:
    try:
        if not os.path.isfile(path):  # to open a pipe would wait for its other end
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return False
    packets = (head[start::step][:2] for start, step in ((0, PACKET_BYTES), (4, PACKET_BYTES + 4)))
    return head.startswith(_BEGINNINGS) or head[4:8] in _ATOMS or b"GG" in packets


def is_recording(path: str | os.PathLike) -> bool:
    """Whether a file is a video or a sound file."""
    return kind_of(path) in ("video", "audio")


def walk_files(
    root: str | os.PathLike, *, onerror: Callable[[OSError], None] | None = None, hidden: list[Path] | None = None
) -> Iterator[Path]:
    """Yields the files below a folder in sorted order, without hidden files and folders.

    Linked folders are followed, since videos often lie on another disk; each folder is entered once, so a link to a
    folder above does no harm.

    Args:
        onerror: called with the ``OSError`` of each folder that cannot be read.
        hidden: gets the hidden files and folders.
    """
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=onerror):
        real_folder = os.path.realpath(folder)
        if real_folder in entered:
            folders.clear()
            continue
        entered.add(real_folder)
        if hidden is not None:
            hidden += [Path(folder, name) for name in sorted(folders + files) if name.startswith(".")]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(folder, name)
