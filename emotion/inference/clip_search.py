"""Which media files you mean: named one by one, by folders, by patterns."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import ConfigError, MediaError
from emotion.files import displayable
from emotion.inference.output_plan import MARK
from emotion.media.reading import probe_media
from emotion.media.suffixes import MEDIA_SUFFIXES, STILL_SUFFIXES
from emotion.media.tracks import TrackChoice
from emotion.media.writing import is_annotated


@dataclass(frozen=True)
class ClipFile:
    """A file to analyse.

    Attributes:
        path: the file.
        name: what the names of its results begin with, subfolders included.
        channel: the one channel of its sound to judge, counted from 1; None judges all together.
    """

    path: Path
    name: str
    channel: int | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return displayable(self.path) + ("" if self.channel is None else f", channel {self.channel}")


def find_clips(places: Sequence[str]) -> list[ClipFile] | None:
    """Finds the media files that a user means.

    Args:
        places: files, folders (searched with their subfolders) and patterns such as ``clips/*.mp4``.

    Returns:
        Each file once, in order; None if one single file is meant, which need not exist.

    Raises:
        MediaError: if a folder or pattern holds no media file, or cannot be read.
        ConfigError: for an empty name, as an empty variable gives.
    """
    if not all(places):
        raise ConfigError("A clip's name is empty. Is a variable empty? For the current folder write .")
    try:
        return _find(places)
    except OSError as error:
        where = error.filename or places[0]
        raise MediaError(f"{where}: cannot be read ({error.strerror}). Check the folder's permissions.") from error


def _find(places: Sequence[str]) -> list[ClipFile] | None:
    if (
        len(places) == 1
        and not Path(places[0]).is_dir()
        and (Path(places[0]).exists() or not glob.has_magic(places[0]))
    ):
        return None
    found: dict[Path, tuple[Path, Path]] = {}  # by resolved path: the path as found, and the folder it was found in
    for place in places:
        path = Path(place)
        if path.is_dir():
            os.listdir(path)  # raises for a folder without permission, where rglob finds nothing
            inside = [(item, path) for item in sorted(path.rglob("*")) if _is_clip(item, path)]
        elif path.exists() or not glob.has_magic(place):
            inside = [(path, path.parent)]
        else:
            matches = (Path(item) for item in sorted(glob.glob(place, recursive=True)))
            inside = [(item, item.parent) for item in matches if _is_clip(item, item.parent)]
        if not inside:
            extensions = ", ".join(sorted(MEDIA_SUFFIXES))
            raise MediaError(f"{place}: no media files found. Recognised extensions: {extensions}.")
        for item, root in inside:
            found.setdefault(item.resolve(), (item, root))
    if len(found) == 1 and not any(Path(place).is_dir() or glob.has_magic(place) for place in places):
        return None  # one file, named several times
    return _name_clips(dict(found.values()))


def split_channels(clips: Sequence[ClipFile], choice: TrackChoice) -> list[ClipFile]:
    """Returns each clip once for every channel of its sound; clips with one channel or none stay as they are.

    Raises:
        MediaError: if the only clip cannot be read, or has no such track. One of several is left to its turn.
    """
    split = []
    for clip in clips:
        try:
            n_channels = probe_media(clip.path, choice).n_channels
        except MediaError:
            if len(clips) == 1:
                raise
            n_channels = 0
        if n_channels < 2:
            split.append(clip)
        else:
            numbers = range(1, n_channels + 1)
            split += [ClipFile(clip.path, f"{clip.name}_channel_{number}", number) for number in numbers]
    return split


def _is_clip(path: Path, root: Path) -> bool:
    """Whether a file in a folder is a clip. Hidden files and folders are left out, and so are our own results."""
    is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in MEDIA_SUFFIXES and path.is_file() and not is_hidden and not _is_result(path)


def _is_result(path: Path) -> bool:
    """Whether this program made a file: a plot, a video that says so, or an image beside the one it was made from."""
    if path.stem.endswith(f"{MARK}_plot"):
        return True
    if not path.stem.endswith(MARK):
        return False
    if path.suffix.lower() not in STILL_SUFFIXES:
        return is_annotated(path)
    base = path.stem.removesuffix(MARK)
    beside = (path.with_name(base + suffix) for suffix in STILL_SUFFIXES)
    return any(other.exists() for other in (*beside, path.with_name(base)))


def _result_name(path: Path) -> str:
    """A name for results, without the bar that separates names in a summary."""
    return displayable(path).replace("|", "_")


def _name_clips(found: dict[Path, Path]) -> list[ClipFile]:
    """Names results after their clips, without the extension where that is unique."""
    short = {path: _result_name(path.relative_to(root).with_suffix("")) for path, root in found.items()}
    counts = Counter(name.casefold() for name in short.values())
    clips, taken = [], set()
    for path, root in found.items():
        whole = _result_name(path.relative_to(root))
        name = whole if counts[short[path].casefold()] > 1 else short[path]
        number = 2
        while name.casefold() in taken:
            name, number = f"{whole} {number}", number + 1
        taken.add(name.casefold())
        clips.append(ClipFile(path, name))
    return clips
