"""Data sets whose files say by their names what they hold: one clip for each recording, in one file or several."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.paths import check_dataset_folder, walk_dataset, warn_left_out
from emotion.errors import DatasetError
from emotion.media.kinds import is_recording, kind_of
from emotion.media.suffixes import sound_rank


@dataclass(frozen=True)
class Named:
    """What a file's name and folders say of the recording in it.

    Attributes:
        key: the recording's name within the data set; files of one key are one clip.
        emotion: canonical, or another word in lower case.
        speaker: the data set's own name for the person.
    """

    key: str
    emotion: str
    speaker: str
    sex: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


Reader = Callable[[Path], Named | None]
"""Takes a file's path below the data set's folder; returns None for a file that is not the data set's."""


def any_named(root: str | os.PathLike, read: Reader) -> bool:
    """Whether any video or sound file below a folder is named like the data set's."""
    return any(
        read(path.relative_to(root)) is not None and is_recording(path) for path in walk_dataset(root, warn=False)
    )


def load_named(root: str | os.PathLike, read: Reader, *, prefix: str, example: str, how_to_get_it: str) -> list[Clip]:
    """Finds a data set's recordings anywhere below a folder, and makes a clip of each.

    A video and a sound file of one recording are one clip; without a sound file, the sound is expected in the video. Of
    several sound files the best format counts, of other copies the first in the order of their paths. Warnings count
    the copies, and the picture and sound files of other names.

    Args:
        prefix: of the ids of clips and speakers, such as ``savee``.
        example: a file name of the data set.

    Returns:
        The clips, sorted by ``clip_id``.

    Raises:
        DatasetError: if there is no such folder, or no such recording in it.
    """
    root = check_dataset_folder(root, how_to_get_it)
    found, misnamed = {}, []
    for path in walk_dataset(root):
        if not is_recording(path):
            continue
        named = read(path.relative_to(root))
        if named is None:
            misnamed.append(path.name)
        else:
            found.setdefault(named.key, (named, []))[1].append(path)
    warn_left_out(root, misnamed, f"picture or sound files that are not named like {example}")
    if not found:
        raise DatasetError(f"{root} holds no recordings named like {example}. {how_to_get_it}")
    clips, copies = [], []
    for key in sorted(found):
        named, paths = found[key]
        video, sound = choose_files(paths)
        copies += _copies(paths, (video, sound))
        clips.append(
            Clip(
                clip_id=f"{prefix}:{key}",
                emotion=named.emotion,
                speaker=f"{prefix}:{named.speaker}",
                video_path=str(video) if video else None,
                audio_path=str(sound or video),
                sex=named.sex,
                details=dict(named.details),
            )
        )
    warn_left_out(root, copies, "further copies of recordings")
    return clips


def choose_files(paths: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """Returns the video and the sound file that stand for one recording; None for a kind that is missing."""
    videos = [path for path in paths if kind_of(path) == "video"]
    sounds = [path for path in paths if kind_of(path) == "audio"]
    return next(iter(videos), None), min(sounds, key=sound_rank, default=None)


def _copies(paths: Sequence[Path], used: tuple[Path | None, Path | None]) -> Iterator[str]:
    """Yields the names of files beside the used ones, unless they are another format of the used sound."""
    for path in paths:
        same_format = any(path.suffix.lower() == file.suffix.lower() for file in used if file)
        if path not in used and (kind_of(path) == "video" or same_format):
            yield path.name
