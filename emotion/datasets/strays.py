"""Files in a data set's folder that none of its clips uses: misnamed ones, second copies, archives still packed."""

import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.paths import kind_of, walk_files
from emotion.datasets.survey import Survey

PACKED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
# Adapters take one file of a recording and pass over its other forms; the part of the name that tells the recording.
RECORDING_IN_NAME = {"ravdess": re.compile(r"[0-9]{2}-((?:[0-9]{2}-){5}[0-9]{2})")}

# Well named, and of an emotion the adapter leaves out.
LEFT_OUT = {"emodb": re.compile(r"[0-9]{2}[ab][0-9]{2}L[a-z]")}


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
    left_out = LEFT_OUT.get(survey.name)
    names, packed = set(), []
    for path in walk_files(survey.root):
        names.add(path.name)
        if path.name.lower().endswith(PACKED_SUFFIXES):
            packed.append(path)
        if kind_of(path) is None or os.path.abspath(path) in used:
            continue
        if left_out and left_out.fullmatch(path.stem):
            continue
        twin = used_by_name.get(path.name)
        match = pattern.fullmatch(path.stem) if pattern else None
        if twin and _size(twin) == _size(path):
            strays.copies.append(f"{survey.show(path)} = {survey.show(twin)}")
        elif not (match and match[1] in recordings) and (path.stem not in used_stems or twin):
            strays.unused.append(survey.show(path))
    strays.archives = [line for path in packed if (line := _describe_packed(path, survey.show(path), names))]
    return strays


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
    media = [name for name in inside if kind_of(name) and not name.startswith(".")]
    packed = sum(name not in names for name in media)
    return f"{shown}: {packed} of its {len(media)} files are not here" if packed else None
