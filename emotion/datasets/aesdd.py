"""AESDD: Greek actors say some twenty sentences in five emotions (Vryzas et al. 2018, J. Audio Eng. Soc. 66(6)).

A file is called ``a03 (4).wav``, in a folder for each emotion: emotion, sentence, speaker. ``a03 (4)b.wav`` is a second
take. Sound only. The data set does not say which speakers are men or women.
"""

import os
import re
from pathlib import Path

from emotion.datasets import savee
from emotion.datasets.clips import Clip
from emotion.datasets.named_files import Named, any_named, load_named
from emotion.labels import AESDD_EMOTIONS

NAME = "AESDD"
LICENCE = "free for research"
EXAMPLE = "a03 (4).wav"
LAYOUT = "files named a03 (4).wav, at any depth"
HOW_TO_GET_IT = "AESDD is at http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/."

_NAME = re.compile(rf"([{''.join(AESDD_EMOTIONS)}])([0-9]{{1,2}})\s*\(([0-9]{{1,2}})\)\s*([a-z]?)", re.IGNORECASE)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files named like AESDD's."""
    return any_named(root, _read)


def load(root: str | os.PathLike) -> list[Clip]:
    """Returns the clips below a folder; see ``named_files.load_named``."""
    return load_named(root, _read, prefix="aesdd", example=EXAMPLE, how_to_get_it=HOW_TO_GET_IT)


def _read(path: Path) -> Named | None:
    match = _NAME.fullmatch(path.stem)
    # Windows calls its copies like that, too: DC/a01 (1).wav would be a copy of SAVEE's DC/a01.wav.
    if not match or path.parent.name.upper() in savee.SPEAKERS:
        return None
    code, sentence, speaker, take = match[1].lower(), f"{int(match[2]):02d}", str(int(match[3])), match[4].lower()
    details = {"sentence": sentence, "language": "el"} | ({"take": take} if take else {})
    return Named(f"{code}{sentence} ({speaker}){take}", AESDD_EMOTIONS[code], speaker, None, details)
