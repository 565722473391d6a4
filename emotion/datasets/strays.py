"""Files in a data set's folder that none of its clips uses: misnamed ones, second copies, archives still packed."""

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.survey import Survey

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".flv", ".webm", ".m4v", ".mpg")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MEDIA_SUFFIXES = frozenset(VIDEO_SUFFIXES + AUDIO_SUFFIXES + IMAGE_SUFFIXES)
PACKED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
# Adapters take one file of a recording and pass over its other forms; the part of the name that tells the recording.
RECORDING_IN_NAME = {"ravdess": re.compile(r"[0-9]{2}-((?:[0-9]{2}-){5}[0-9]{2})")}


@dataclass
class Strays:
    """Lines of the report, by kind."""

    unused: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)


def find_strays(survey: Survey) -> Strays:
    """Looks for files that no clip uses, below the data set's folder.

    A manifest says itself which files it means, so nothing is a stray beside it. Other forms of a clip's recording,
    such as its MP3 beside its WAV, are none either.
    """
    strays = Strays()
    if survey.name == "manifest" or not survey.root.is_dir():
        return strays
    used = {os.path.abspath(path): path for clip in survey.clips for path in clip.paths}
    used_by_name = {os.path.basename(path): path for path in sorted(used.values(), reverse=True)}
    used_stems = {Path(path).stem for path in used}
    recordings = {clip.clip_id.split(":", 1)[-1] for clip in survey.clips}
    pattern = RECORDING_IN_NAME.get(survey.name)
    names, packed = set(), []
    for path in _walk(survey.root):
        names.add(path.name)
        if path.name.lower().endswith(PACKED_SUFFIXES):
            packed.append(path)
        if path.suffix.lower() not in MEDIA_SUFFIXES or os.path.abspath(path) in used:
            continue
        twin = used_by_name.get(path.name)
        match = pattern.fullmatch(path.stem) if pattern else None
        if twin and _size(twin) == _size(path):
            strays.copies.append(f"{survey.show(path)} = {survey.show(twin)}")
        elif not (match and match[1] in recordings) and (path.stem not in used_stems or twin):
            strays.unused.append(survey.show(path))
    strays.archives = [line for path in packed if (line := _describe_packed(path, survey.show(path), names))]
    return strays


def _walk(root: Path) -> Iterator[Path]:
    """Yields the files below a folder in sorted order, without hidden ones; each linked folder is entered once."""
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _size(path: str | os.PathLike) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _describe_packed(path: Path, shown: str, names: set[str]) -> str | None:
    """Returns the report's line on an archive; None for a ZIP file whose media all lie unpacked in the folder."""
    if path.suffix.lower() != ".zip":
        return f"{shown} (if it is unpacked, move it elsewhere)"
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [Path(name).name for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        return f"{shown}: cannot be read ({error}); download it again"
    media = [name for name in inside if Path(name).suffix.lower() in MEDIA_SUFFIXES and not name.startswith(".")]
    packed = sum(name not in names for name in media)
    return f"{shown}: {packed} of its {len(media)} files are not here" if packed else None
