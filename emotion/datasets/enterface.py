"""eNTERFACE'05: some forty people say five English sentences each in six emotions (Martin et al. 2006, ICDEW).

A file is called ``s1_an_1.avi``: speaker, emotion, sentence; it lies in ``subject 1/anger/sentence 1``. Some names
deviate, so the folders count first where they are there. One subject's recordings are not cut into sentences: these
files are counted and left out. Nobody here is neutral.
"""

import os
import re
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.named_files import Named, any_named, load_named
from emotion.labels import ENTERFACE_EMOTIONS, read_emotion

NAME = "eNTERFACE'05"
LICENCE = "free for research"
EXAMPLE = "s1_an_1.avi"
LAYOUT = "files named s1_an_1.avi, or in folders subject 1/anger/sentence 1, at any depth"
HOW_TO_GET_IT = "eNTERFACE'05's emotion database is at https://enterface.net/enterface05/."

_NAME = re.compile(rf"s_?([0-9]{{1,2}})_({'|'.join(ENTERFACE_EMOTIONS)})_?([1-5])", re.IGNORECASE)
_FOLDERS = re.compile(r"(?:.*/)?subject[ _-]*([0-9]{1,2})/([a-z]+)/sentence[ _-]*([1-5])/[^/]+", re.IGNORECASE)
_CODES = {emotion: code for code, emotion in ENTERFACE_EMOTIONS.items()}


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files named like eNTERFACE'05's, or laid out like them."""
    return any_named(root, _read)


def load(root: str | os.PathLike) -> list[Clip]:
    """Returns the clips below a folder; see ``named_files.load_named``."""
    return load_named(root, _read, prefix="enterface", example=EXAMPLE, how_to_get_it=HOW_TO_GET_IT)


def _read(path: Path) -> Named | None:
    folders, name = _FOLDERS.fullmatch(path.as_posix()), _NAME.fullmatch(path.stem)
    if folders and (code := _CODES.get(read_emotion(folders[2]))):
        speaker, sentence = folders[1], folders[3]
    elif name:
        speaker, code, sentence = name[1], name[2].lower(), name[3]
    else:
        return None
    speaker = str(int(speaker))
    details = {"sentence": sentence, "language": "en"}
    return Named(f"s{speaker}_{code}_{sentence}", ENTERFACE_EMOTIONS[code], speaker, None, details)
