"""Finds the media files you mean, named one by one, by folders or by patterns, and counts what it leaves out."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emotion.errors import ConfigError, MediaError
from emotion.files import displayable
from emotion.inference.output_plan import MARK
from emotion.media.kinds import kind_of, walk_files
from emotion.media.reading import probe_media
from emotion.media.suffixes import STILL_SUFFIXES, UNFINISHED_SUFFIXES
from emotion.media.tracks import TrackChoice
from emotion.media.writing import is_annotated

N_NAMED = 3  # files left out, for each reason


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


@dataclass
class LeftOut:
    """Files that were found and not taken, by the reason."""

    by_reason: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, reason: str, path: Path) -> None:
        paths = self.by_reason.setdefault(reason, [])
        if path not in paths[-1:]:
            paths.append(path)

    def __str__(self) -> str:
        """One line: how many there are for each reason, and the names of the first ones; empty if there are none."""
        parts = []
        for reason, paths in self.by_reason.items():
            names = ", ".join(displayable(path.name) for path in paths[:N_NAMED])
            more = ", ..." if len(paths) > N_NAMED else ""
            parts.append(f"{len(paths)} {reason} ({names}{more})")
        return f"left out: {'; '.join(parts)}" if parts else ""


def find_clips(places: Sequence[str], left_out: LeftOut | None = None) -> list[ClipFile] | None:
    """Finds the media files that a user means.

    Args:
        places: files, folders (searched with their subfolders) and patterns such as ``clips/*.mp4``. A part of a
            pattern that a file or folder is called by stands for that one alone.
        left_out: gets the other files there.

    Returns:
        Each file once, in order; None if one single file is meant, which need not exist.

    Raises:
        MediaError: if a folder or pattern holds no media file, or cannot be read.
        ConfigError: for an empty name, as an empty variable gives.
    """
    if not all(places):
        raise ConfigError("A clip's name is empty. Is a variable empty? For the current folder write .")
    try:
        return _find(places, LeftOut() if left_out is None else left_out)
    except OSError as error:
        where = error.filename or places[0]
        raise MediaError(f"{where}: cannot be read ({error.strerror}). Check the folder's permissions.") from error


def _find(places: Sequence[str], left_out: LeftOut) -> list[ClipFile] | None:
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
            os.listdir(path)  # raises for a folder without permission
            inside = [(item, path) for item in sorted(_walk(path, left_out)) if _is_clip(item, left_out)]
        elif path.exists() or not glob.has_magic(place):
            inside = [(path, path.parent)]
        else:
            matches = (Path(item) for item in sorted(glob.glob(_literal(place), recursive=True)))
            inside = [(item, item.parent) for item in matches if not item.is_dir() and _is_clip(item, left_out)]
        if not inside:
            others = f" ({left_out})" if left_out.by_reason else ""
            raise MediaError(f"{place}: no media files found{others}. Give a file, or a folder that holds some.")
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


def _literal(pattern: str) -> str:
    """Returns a pattern whose first parts, as far as something is called exactly so, stand for that alone."""
    path = Path(pattern)
    for parent in path.parents:  # the longest first
        if glob.has_magic(str(parent)) and parent.exists():
            return os.path.join(glob.escape(str(parent)), path.relative_to(parent))
    return pattern


def _walk(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    hidden: list[Path] = []
    yield from walk_files(
        folder, hidden=hidden, onerror=lambda error: left_out.add("folders that cannot be read", Path(error.filename))
    )
    for path in hidden:
        left_out.add("hidden", path)


def _is_clip(path: Path, left_out: LeftOut) -> bool:
    """Whether a file in a folder is a clip; otherwise it is noted why not."""
    reason = _fault(path)
    if reason is not None:
        left_out.add(reason, path)
    return reason is None


def _fault(path: Path) -> str | None:
    if not path.is_file():
        return "links to nothing" if path.is_symlink() else "pipes or devices"
    if path.suffix.lower() in UNFINISHED_SUFFIXES:
        return "unfinished downloads"
    if kind_of(path) is None:
        return "not media by name or content"
    return "made by this program" if _is_result(path) else None


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
