"""MEAD: some fifty actors say English sentences in eight emotions at three intensities (Wang et al. 2020, ECCV).

A video lies at ``M003/video/front/angry/level_1/001.mp4``: speaker (M man, W woman), view, emotion, intensity,
sentence; its sound at ``M003/audio/angry/level_1/001.m4a``. Seven cameras filmed at once. Folders named like
``angry_level_1``, and trees without ``video``, are read, too.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.named_files import choose_files
from emotion.datasets.paths import check_dataset_folder, walk_dataset, warn_left_out
from emotion.errors import ConfigError, DatasetError
from emotion.labels import MEAD_EMOTIONS
from emotion.media.kinds import is_recording

NAME = "MEAD"
LICENCE = "free for research, on request"
EXAMPLE = "M003/video/front/angry/level_1/001.mp4"
LAYOUT = f"files in folders like {EXAMPLE}"
HOW_TO_GET_IT = "MEAD is linked from https://wywu.github.io/projects/MEAD/MEAD.html."
VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")

_EMOTION = rf"({'|'.join(MEAD_EMOTIONS)})[/_]level_([1-3])/([0-9]{{3}})\.[^/.]+"
_VIDEO = re.compile(rf"(?:.*/)?([MW][0-9]{{3}})/(?:video/)?({'|'.join(VIEWS)})/{_EMOTION}", re.IGNORECASE)
_SOUND = re.compile(rf"(?:.*/)?([MW][0-9]{{3}})/audio/(?:[a-z]+_?[0-9]*/)?{_EMOTION}", re.IGNORECASE)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files laid out like MEAD's."""
    return any(_read(root, path) and is_recording(path) for path in walk_dataset(root, warn=False))


def load(root: str | os.PathLike, *, views: Sequence[str] = ("front",)) -> list[Clip]:
    """Returns the clips below a folder, sorted by id; a warning counts media laid out otherwise.

    Args:
        views: the cameras whose videos are read, of ``VIEWS``. Each view of a sentence is a clip.

    Raises:
        ConfigError: if a view is unknown.
        DatasetError: if there is no such folder, or no such recording in it.
    """
    if isinstance(views, str) or not views or any(view not in VIEWS for view in views):
        raise ConfigError(f"views must be a list of some of {', '.join(VIEWS)}, got {views!r}.")
    root = check_dataset_folder(root, HOW_TO_GET_IT)
    videos: dict[tuple[str, ...], list[Path]] = {}
    sounds: dict[tuple[str, ...], list[Path]] = {}
    misnamed = []
    for path in walk_dataset(root):
        if not is_recording(path):
            continue
        key = _read(root, path)
        if key is None:
            misnamed.append(str(path.relative_to(root)))
        elif key[1] == "":
            sounds.setdefault((key[0], *key[2:]), []).append(path)
        else:
            videos.setdefault(key, []).append(path)
    warn_left_out(root, misnamed, f"picture or sound files that do not lie like {EXAMPLE}")
    filmed = {(key[0], *key[2:]) for key in videos}
    wanted = {key: files for key, files in videos.items() if key[1] in views}
    alone = {(key[0], "", *key[1:]): files for key, files in sounds.items() if key not in filmed}
    clips = [
        _build_clip(key, files, sounds.get((key[0], *key[2:]), [])) for key, files in sorted((wanted | alone).items())
    ]
    if not clips:
        other = f" of these views: {', '.join(views)}" if videos else ""
        raise DatasetError(f"{root} holds no MEAD recordings{other}. {HOW_TO_GET_IT}")
    return sorted(clips, key=lambda clip: clip.clip_id)


def _read(root: str | os.PathLike, path: Path) -> tuple[str, ...] | None:
    """Returns speaker, view, emotion, level and sentence; a sound has an empty view. None for another file."""
    # The folder itself may be one speaker's.
    written = f"{Path(os.path.abspath(root)).name}/{path.relative_to(root).as_posix()}"
    if match := _VIDEO.fullmatch(written):
        speaker, view, emotion, level, sentence = match.groups()
        return (speaker.upper(), view.lower(), emotion.lower(), level, sentence)
    if match := _SOUND.fullmatch(written):
        speaker, emotion, level, sentence = match.groups()
        return (speaker.upper(), "", emotion.lower(), level, sentence)
    return None


def _build_clip(key: tuple[str, ...], files: list[Path], sounds: list[Path]) -> Clip:
    speaker, view, emotion, level, sentence = key
    video, sound = choose_files([*files, *sounds])
    details = {"view": view, "level": level, "sentence": sentence, "language": "en"}
    return Clip(
        clip_id=f"mead:{'-'.join(part for part in key if part)}",
        emotion=MEAD_EMOTIONS[emotion],
        speaker=f"mead:{speaker}",
        video_path=str(video) if video else None,
        audio_path=str(sound or video),
        sex="male" if speaker.startswith("M") else "female",
        details={name: value for name, value in details.items() if value},
    )
