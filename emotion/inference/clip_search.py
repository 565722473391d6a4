"""Which media files a user means: by their names, by folders, by patterns."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import ConfigError, MediaError
from emotion.files import displayable
from emotion.inference.output_plan import MARK
from emotion.media.reading import MEDIA_SUFFIXES, STILL_SUFFIXES
from emotion.media.writing import is_annotated


@dataclass(frozen=True)
class Source:
    """A file to be judged, and what the names of its outputs begin with, folders included."""

    path: Path
    name: str


def find_sources(places: Sequence[str]) -> list[Source] | None:
    """Finds the media files that a user means.

    Args:
        places: files, folders (searched with all that is in them) and patterns such as ``clips/*.mp4``.

    Returns:
        The files in order, each once; None if a single file is meant, which need not exist.

    Raises:
        MediaError: if a folder or pattern holds no media file, or may not be looked into.
        ConfigError: for an empty name, such as a variable that is not set gives.
    """
    if not all(places):
        raise ConfigError("The name of a clip is empty. Is a variable not set? The current folder is called .")
    try:
        return _find_sources(places)
    except OSError as error:
        where = error.filename or places[0]
        raise MediaError(
            f"{where}: cannot be read ({error.strerror}). Check the permissions of its folders."
        ) from error


def _find_sources(places: Sequence[str]) -> list[Source] | None:
    if len(places) == 1 and not Path(places[0]).is_dir() and (Path(places[0]).exists() or not _is_pattern(places[0])):
        return None
    found: dict[Path, tuple[Path, Path]] = {}  # by what they are, whatever they are called: path, and its folder
    for place in places:
        path = Path(place)
        if path.is_dir():
            os.listdir(path)  # searching a folder that is closed to us finds nothing and says nothing
            inside = [(item, path) for item in sorted(path.rglob("*")) if _is_media(item, path)]
        elif path.exists() or not _is_pattern(place):
            inside = [(path, path.parent)]
        else:
            matches = (Path(item) for item in sorted(glob.glob(place, recursive=True)))
            inside = [(item, item.parent) for item in matches if _is_media(item, item.parent)]
        if not inside:
            endings = ", ".join(sorted(MEDIA_SUFFIXES))
            raise MediaError(f"{place}: no media file found there. Known endings: {endings}.")
        for item, root in inside:
            found.setdefault(item.resolve(), (item, root))
    if len(found) == 1 and not any(Path(place).is_dir() or _is_pattern(place) for place in places):
        return None  # one file, named several times
    return _name_sources(dict(found.values()))


def _is_pattern(place: str) -> bool:
    return glob.has_magic(place)


def _is_media(path: Path, root: Path) -> bool:
    """Whether a file found in a folder is a clip: hidden ones, in hidden folders too, and our own results are none."""
    is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in MEDIA_SUFFIXES and path.is_file() and not is_hidden and not _is_ours(path)


def _is_ours(path: Path) -> bool:
    """Whether a file was made by this program: a plot, a video that says so, or an image beside what it was made of."""
    if path.stem.endswith(f"{MARK}_plot"):
        return True
    if not path.stem.endswith(MARK):
        return False
    if path.suffix.lower() not in STILL_SUFFIXES:
        return is_annotated(path)
    base = path.stem.removesuffix(MARK)
    beside = (path.with_name(base + suffix) for suffix in STILL_SUFFIXES)
    return any(other.exists() for other in (*beside, path.with_name(base)))


def _named(path: Path) -> str:
    """What an output is named by: no name holds the mark that parts them in a summary."""
    return displayable(path).replace("|", "_")


def _name_sources(found: dict[Path, Path]) -> list[Source]:
    """Names outputs by their files without the ending, or with it where two would be named alike."""
    plain = {path: _named(path.relative_to(root).with_suffix("")) for path, root in found.items()}
    counts = Counter(name.casefold() for name in plain.values())
    sources, taken = [], set()
    for path, root in found.items():
        name = plain[path]
        if counts[name.casefold()] > 1:
            name = _named(path.relative_to(root))
        number = 2
        while name.casefold() in taken:
            name, number = f"{_named(path.relative_to(root))} {number}", number + 1
        taken.add(name.casefold())
        sources.append(Source(path, name))
    return sources
