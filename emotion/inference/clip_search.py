"""Finds the media files you mean, named one by one, by folders or by patterns, and counts what it leaves out."""

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from emotion.errors import ConfigError, MediaError
from emotion.files import displayable
from emotion.inference.addresses import Address, is_address, looks_like_a_file
from emotion.inference.output_plan import MARK, shorten_stem
from emotion.media.kinds import kind_of, walk_files
from emotion.media.reading import probe_media
from emotion.media.suffixes import STILL_SUFFIXES, UNFINISHED_SUFFIXES, kind_by_name
from emotion.media.tracks import TrackChoice
from emotion.media.writing import is_annotated

LONG_STEM_BYTES = 200  # from which on the names of results may have been shortened
N_NAMED = 3  # files left out, for each reason


@dataclass(frozen=True)
class ClipFile:
    """A file to analyse.

    Attributes:
        path: the file, or its address.
        name: what the names of its results begin with, subfolders included.
        channel: the one channel of its sound to judge, counted from 1; None judges all together.
    """

    path: Path | Address
    name: str
    channel: int | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.file + ("" if self.channel is None else f", channel {self.channel}")

    @property
    def file(self) -> str:
        """What results call it."""
        return str(self.path) if isinstance(self.path, Address) else displayable(self.path)

    @property
    def key(self) -> str:
        """What a record knows it by: its whole path, or its address."""
        return self.label if isinstance(self.path, Address) else replace(self, path=self.path.resolve()).label

    @property
    def version(self) -> str:
        """What changes when the file does: its size, and when it was last written; empty if it is not there."""
        if isinstance(self.path, Address):
            return self.path.version
        try:
            found = self.path.stat()
        except OSError:
            return ""
        return f"{found.st_size} {found.st_mtime_ns}"


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
        places: files, folders (searched with their subfolders) and patterns such as ``clips/*.mp4``, here or at
            addresses. A part of a pattern that a file or folder is called by stands for that one alone.
        left_out: gets the other files there.

    Returns:
        Each file once, in order; None if one single file is meant, which need not exist.

    Raises:
        MediaError: if a folder or pattern holds no media file, or cannot be read; if an address is missing.
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
        and not is_address(places[0])
        and not Path(places[0]).is_dir()
        and (Path(places[0]).exists() or not glob.has_magic(places[0]))
    ):
        return None
    # By resolved path or address: the file as found, and its path in the folder that it was found in.
    found: dict[Path | str, tuple[Path | Address, Path]] = {}
    shown: dict[str, str] = {}  # of addresses: the whole by what messages show
    is_single = not any(not is_address(place) and (Path(place).is_dir() or glob.has_magic(place)) for place in places)
    for place in places:
        path = Path(place)
        if is_address(place):
            kind, at = _find_at(Address(place), left_out, is_only=len(set(places)) == 1)
            for address, name in at:
                if shown.setdefault(str(address), address.url) != address.url:
                    raise ConfigError(f"{address}: two addresses differ only in login or query. Label them one by one.")
                found.setdefault(address.url, (address, name))
            is_single &= kind == "file"
            continue
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
            found.setdefault(item.resolve(), (item, item.relative_to(root)))
    if len(found) == 1 and is_single:
        return None  # one file, named several times
    return _name_clips(list(found.values()))


def _find_at(place: Address, left_out: LeftOut, *, is_only: bool) -> tuple[str, list[tuple[Address, Path]]]:
    """Returns what ``Address.find`` does, each file with its path in the folder; only names tell what is media.

    Args:
        is_only: whether nothing else is looked for; of several clips one may be missing.
    """
    try:
        kind, files = place.find()
    except MediaError:
        if is_only or not looks_like_a_file(place):
            raise
        kind, files = "file", [place]
    if kind == "file":
        return kind, [(address, Path(place.name)) for address in files]
    start = str(place).rstrip("/") + "/"
    named = []
    for address in files:
        name = str(address).removeprefix(start) if kind == "folder" else address.name
        # An address may hold "..", or "//": no result may lie outside of its folder.
        named.append((address, Path(*(part if part not in ("", ".", "..") else "_" for part in name.split("/")))))
    media = {path.with_suffix("") for _, path in named if kind_by_name(path) is not None}
    taken = []
    for address, path in named:
        reason = _fault_by_name(path, media)
        if reason is None:
            taken.append((address, path))
        else:
            left_out.add(reason, path)
    if not taken:
        others = f" ({left_out})" if left_out.by_reason else ""
        raise MediaError(f"{place}: no media files found{others}. Give a file, or a folder that holds some.")
    return kind, taken


def _fault_by_name(path: Path, media: Collection[Path]) -> str | None:
    """As ``_fault``, of a file that cannot be looked into; ``media`` are the files beside it, without extensions."""
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    if path.suffix.lower() in UNFINISHED_SUFFIXES:
        return "unfinished downloads"
    if kind_by_name(path) is None:
        return "not media by name"
    is_made = path.stem.endswith(MARK) and path.with_name(path.stem.removesuffix(MARK)) in media
    return "made by this program" if is_made or path.stem.endswith(f"{MARK}_plot") else None


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
    if any(other.exists() for other in (*beside, path.with_name(base))):
        return True
    names = os.listdir(path.parent) if len(os.fsencode(base)) > LONG_STEM_BYTES else ()
    return any(shorten_stem(Path(name).stem) == base for name in names)


def _result_name(path: Path) -> str:
    """A name for results, without the bar that separates names in a summary."""
    return displayable(path).replace("|", "_")


def _name_clips(found: list[tuple[Path | Address, Path]]) -> list[ClipFile]:
    """Names results after their clips, without the extension where that is unique."""
    short = [_result_name(path.with_suffix("")) for _, path in found]
    counts = Counter(name.casefold() for name in short)
    clips, taken = [], set()
    for (place, path), brief in zip(found, short, strict=True):
        whole = _result_name(path)
        name = whole if counts[brief.casefold()] > 1 else brief
        number = 2
        while name.casefold() in taken:
            name, number = f"{whole} {number}", number + 1
        taken.add(name.casefold())
        clips.append(ClipFile(place, name))
    return clips
