"""Clips or images in one folder for each emotion: ``happy/0001.mp4``, ``train/angry/17.jpg``.

Folders named ``train``, ``valid``, ``test`` and the like may lie above the emotions, as in FER2013: they give the
clip's side. A picture and a sound file of one name in one folder are one clip. Speakers are not known.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.paths import SPLIT_WORDS, check_dataset_folder, list_folders, walk_dataset, warn_left_out
from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS, read_emotion
from emotion.media.kinds import kind_of
from emotion.media.suffixes import sound_rank

NAME = "folders"
LICENCE = "not stated: clips in one folder for each emotion"
LAYOUT = "one folder for each emotion, such as happy/ and sad/, below train/ and test/ or not"
HOW_TO_GET_IT = "Make a folder for each emotion, such as happy/ and sad/, and put its clips or images into it."

MIN_FOLDERS = 2  # named like emotions; with fewer it is another layout
# FER2013's names of its sides, and the common ones.
SIDE_WORDS = {**SPLIT_WORDS, "publictest": "validation", "privatetest": "test"}

logger = logging.getLogger(__name__)


@dataclass
class _Files:
    """The files of one name in one folder."""

    pictures: list[Path] = field(default_factory=list)
    sounds: list[Path] = field(default_factory=list)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether two or more folders named like emotions hold media."""
    folders = (folder for folder, _ in _list_emotion_folders(root) if read_emotion(folder.name) in EIGHT_EMOTIONS)
    found = set()
    for folder in folders:
        emotion = read_emotion(folder.name)
        if emotion not in found and any(kind_of(path) for path in walk_dataset(folder, warn=False)):
            found.add(emotion)
            if len(found) == MIN_FOLDERS:
                return True
    return False


def load(root: str | os.PathLike) -> list[Clip]:
    """Finds the clips and images in the emotion folders below ``root``, at any depth below these.

    A folder's name that is not a known emotion becomes the clips' emotion, with a warning. Of several picture files
    of one name in one folder the first counts, videos before images; a warning counts the others, most likely copies.

    Returns:
        One clip for each name, sorted by ``clip_id``, which is the path below the root without extension:
        ``folder:train/angry/17``.

    Raises:
        DatasetError: if there is no such folder, or no media in its folders.
    """
    root = check_dataset_folder(root, HOW_TO_GET_IT)
    clips, others, left_out, no_media = [], Counter(), [], []
    for folder, side in _list_emotion_folders(root):
        emotion = read_emotion(folder.name)
        for key, files in _group(folder, no_media).items():
            name = Path(key).relative_to(root).as_posix()
            pictures = sorted(files.pictures, key=lambda path: (kind_of(path) != "video", path))
            sounds = sorted(files.sounds, key=lambda path: (sound_rank(path), path))
            left_out += [path.name for path in pictures[1:] + sounds[1:]]
            video = pictures[0] if pictures else None
            sound = sounds[0] if sounds else None
            if sound is None and kind_of(video) == "video":
                sound = video
            clips.append(
                Clip(
                    clip_id=f"folder:{name}",
                    emotion=emotion,
                    video_path=str(video) if video else None,
                    audio_path=str(sound) if sound else None,
                    split=side,
                )
            )
            others[emotion] += emotion not in EIGHT_EMOTIONS
    if not clips:
        raise DatasetError(f"{root} holds no folders with clips or images. {HOW_TO_GET_IT}")
    strange = ", ".join(f"{emotion} ({count} clips)" for emotion, count in sorted(others.items()) if count)
    if strange:
        logger.warning("%s: folders named like none of the known emotions: %s", root, strange)
    warn_left_out(root, left_out, "files beside another of the same name")
    warn_left_out(root, no_media, "files that are no media by name or content")
    return sorted(clips, key=lambda clip: clip.clip_id)


def _list_emotion_folders(root: str | os.PathLike) -> Iterator[tuple[Path, str | None]]:
    """Yields each emotion's folder, and the side that the folder above it names."""
    for folder in list_folders(root):
        side = SIDE_WORDS.get(folder.name.strip().lower())
        if side is None:
            yield folder, None
        else:
            yield from ((inner, side) for inner in list_folders(folder))


def _group(folder: Path, no_media: list[str]) -> dict[str, _Files]:
    """Returns the media below a folder by path without extension; the other files are added to ``no_media``."""
    groups: dict[str, _Files] = {}
    for path in walk_dataset(folder):
        kind = kind_of(path)
        if kind is None:
            no_media.append(path.name)
        else:
            files = groups.setdefault(str(path).removesuffix(path.suffix), _Files())
            (files.sounds if kind == "audio" else files.pictures).append(path)
    return groups
