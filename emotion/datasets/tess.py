"""TESS: two women, 26 and 64 years old, say 200 English words each in seven emotions (Pichora-Fuller & Dupuis 2020).

A file is called ``OAF_back_angry.wav``: speaker, word, emotion. Copies of the data set hold every file twice, in two
folders; one counts. Sound only.
"""

import os
import re
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.named_files import Named, any_named, load_named
from emotion.labels import TESS_EMOTIONS

NAME = "TESS"
LICENCE = "CC BY-NC-ND 4.0"
EXAMPLE = "OAF_back_angry.wav"
LAYOUT = "files named OAF_back_angry.wav, at any depth"
HOW_TO_GET_IT = "TESS is at https://doi.org/10.5683/SP2/E8H2MF."
AGES = {"OAF": "64", "YAF": "26"}

# One file of the older speaker is called OA_bite_neutral.wav.
_NAME = re.compile(rf"(OAF?|YAF)_([a-z]+)_({'|'.join(TESS_EMOTIONS)})", re.IGNORECASE)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files named like TESS's."""
    return any_named(root, _read)


def load(root: str | os.PathLike) -> list[Clip]:
    """Returns the clips below a folder; see ``named_files.load_named``."""
    return load_named(root, _read, prefix="tess", example=EXAMPLE, how_to_get_it=HOW_TO_GET_IT)


def _read(path: Path) -> Named | None:
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    speaker, word, code = match[1].upper(), match[2].lower(), match[3].lower()
    speaker = "OAF" if speaker == "OA" else speaker
    details = {"word": word, "age": AGES[speaker], "language": "en"}
    return Named(f"{speaker}_{word}_{code}", TESS_EMOTIONS[code], speaker, "female", details)
