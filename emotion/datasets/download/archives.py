"""Unpacks zip files from elsewhere safely, and remembers what has been unpacked.

A zip file can name files outside the folder, links and devices, and a few bytes can grow to fill a disk. Such a file is
refused before anything of it is written.
"""

import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from emotion.errors import DatasetError
from emotion.files import make_folder, write_whole

MAX_MEMBERS = 100_000
MAX_GROWTH = 100  # unpacked bytes for each packed one; sound and video stay below 10
CHUNK_BYTES = 1 << 20
WORKPLACE = ".unpacking"
LEDGER = ".downloads.json"

ENCRYPTED = 0x1  # bit of the general purpose flags (PKWARE APPNOTE 4.4.4)

# Names that open a device on Windows, in any folder and with any extension.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_CONTROL_OR_COLON = re.compile(r"[\x00-\x1f\x7f:]")


def list_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the files of an archive by their path with ``/``, once all names are known to be harmless.

    Raises:
        DatasetError: if any name leads outside the folder, names no ordinary file, or stands twice, or if the contents
            would be far larger than the archive.
    """
    infos, refused = archive.infolist(), f"{path} is refused, nothing of it was unpacked"
    if len(infos) > MAX_MEMBERS:
        raise DatasetError(f"{refused}: it lists {len(infos)} files, more than {MAX_MEMBERS}.")
    members, taken = {}, set()
    for info in infos:
        fault = _find_fault(info)
        if fault:
            raise DatasetError(f"{refused}: it holds {info.orig_filename!r}, {fault}.")
        if info.is_dir():
            continue
        name = PurePosixPath(info.filename).as_posix()
        # Compared as the least careful file system compares.
        if name.casefold() in taken:
            raise DatasetError(f"{refused}: it holds {name!r} twice.")
        taken.add(name.casefold())
        members[name] = info
    for name in members:
        for parent in PurePosixPath(name).parents:
            if str(parent).casefold() in taken:
                raise DatasetError(f"{refused}: {str(parent)!r} is file and folder.")
    # Not the sum of the packed sizes: in some bombs many names share the same packed bytes.
    packed = path.stat().st_size
    unpacked = sum(info.file_size for info in members.values())
    if unpacked > MAX_GROWTH * (packed + CHUNK_BYTES):
        raise DatasetError(f"{refused}: its {packed} bytes would grow to {unpacked}.")
    return members


def _find_fault(info: zipfile.ZipInfo) -> str | None:
    # The name as it stands in the archive: zipfile cuts the other one at a NUL and turns its separators.
    name = info.orig_filename
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    is_path = PurePosixPath(name).parts and not name.startswith("/") and "\\" not in name
    faults = {
        "which is not a path below a folder": not is_path or _CONTROL_OR_COLON.search(name),
        "which leads out of the folder": ".." in parts,
        "which is what this program keeps its own notes in": {LEDGER, WORKPLACE} & {part.casefold() for part in parts},
        "which names a device": any(_DEVICE.fullmatch(part.strip()) for part in parts),
        "which is a link or a device, not a file": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "which is encrypted": info.flag_bits & ENCRYPTED,
    }
    return next((words for words, is_so in faults.items() if is_so), None)


def unpack(path: Path, folder: Path, *, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, int]:
    """Unpacks an archive into a folder beside ``folder`` and moves the files when all are whole.

    Args:
        folder: where its contents go; made if it is missing.
        wanted: called with each member's path (``Actor_01/03-01-01-01-01-01-01.wav``).

    Returns:
        The files, as paths below ``folder`` with ``/``, and their sizes in bytes.

    Raises:
        DatasetError: if the archive is unsafe, damaged, or does not fit on the disk.
    """
    workplace = folder / WORKPLACE
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: info for name, info in list_members(archive, path).items() if wanted(name)}
            make_folder(folder)
            shutil.rmtree(workplace, ignore_errors=True)
            n_bytes, free = sum(info.file_size for info in members.values()), shutil.disk_usage(folder).free
            if n_bytes > free:
                raise DatasetError(
                    f"{path} unpacks to {n_bytes / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left. Make room "
                    "and give the same command again."
                )
            for name, info in members.items():
                _write_member(archive, info, workplace / name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        shutil.rmtree(workplace, ignore_errors=True)
        raise DatasetError(f"{path} cannot be unpacked: {error}. Delete it and fetch it again.") from None
    except BaseException:
        shutil.rmtree(workplace, ignore_errors=True)
        raise
    if workplace.is_dir():
        _move_into(workplace, folder)
    return {name: info.file_size for name, info in members.items()}


def _write_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    make_folder(target.parent)
    n_bytes = 0
    with archive.open(info) as source, open(target, "xb") as file:
        while chunk := source.read(CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > info.file_size:
                raise zipfile.BadZipFile(f"{info.filename} is longer than its {info.file_size} bytes")
            file.write(chunk)
    if n_bytes != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} ends after {n_bytes} of {info.file_size} bytes")


def _move_into(source: Path, folder: Path) -> None:
    """Moves what a folder holds into another, folders as a whole where they are new, and removes it."""
    for item in sorted(source.iterdir()):
        target = folder / item.name
        if item.is_dir() and target.is_dir():
            _move_into(item, target)
        else:
            os.replace(item, target)
    source.rmdir()


class Ledger:
    """What has been unpacked into a folder, in a small JSON file there: archive -> its checksum and its files."""

    def __init__(self, folder: Path):
        self._folder, self._path = folder, folder / LEDGER
        try:
            archives = json.loads(self._path.read_text(encoding="utf-8"))["archives"]
        except (OSError, ValueError, KeyError, TypeError):
            archives = {}
        self._archives = archives if isinstance(archives, dict) else {}

    def holds(self, archive: str, parts: Iterable[str]) -> bool:
        """Whether all these parts of an archive have been unpacked, and all their files are still there."""
        try:
            files = self._archives[archive]["parts"]
            return all(
                (self._folder / name).stat().st_size == size for part in parts for name, size in files[part].items()
            )
        except (OSError, KeyError, TypeError, AttributeError):
            return False

    def add(self, archive: str, checksum: str, parts: dict[str, dict[str, int]]) -> None:
        """Notes the files of an archive: part (an actor) -> path below the folder -> size in bytes."""
        known = self._archives.get(archive)
        if isinstance(known, dict) and known.get("checksum") == checksum:
            parts = {**known["parts"], **parts}
        self._archives[archive] = {"checksum": checksum, "parts": parts}
        write_whole(self._path, json.dumps({"archives": self._archives}, indent=1, sort_keys=True))
