"""SAVEE: four men say 120 English sentences each in seven emotions (Haq & Jackson 2010).

A file is called ``DC_a01.wav``, or ``a01.wav`` in a folder ``DC``: speaker, emotion, sentence. A video and a sound file
of one sentence are one clip.
"""

import os
import re
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.named_files import Named, any_named, load_named
from emotion.labels import SAVEE_EMOTIONS

NAME = "SAVEE"
LICENCE = "free for research, on request"
EXAMPLE = "DC_a01.wav"
LAYOUT = "files named DC_a01.wav, or a01.wav in a folder DC, at any depth"
HOW_TO_GET_IT = "SAVEE is given to researchers who register at http://kahlan.eps.surrey.ac.uk/savee/."
SPEAKERS = ("DC", "JE", "JK", "KL")

_SENTENCE = r"(sa|su|a|d|f|h|n)([0-9]{1,2})"
_NAME = re.compile(rf"({'|'.join(SPEAKERS)})_{_SENTENCE}", re.IGNORECASE)
_NAME_IN_FOLDER = re.compile(_SENTENCE, re.IGNORECASE)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files named like SAVEE's."""
    return any_named(root, _read_for(root))


def load(root: str | os.PathLike) -> list[Clip]:
    """Returns the clips below a folder; see ``named_files.load_named``."""
    return load_named(root, _read_for(root), prefix="savee", example=EXAMPLE, how_to_get_it=HOW_TO_GET_IT)


def _read_for(root: str | os.PathLike):
    # The folder itself may be one speaker's.
    return lambda path: _read(Path(Path(os.path.abspath(root)).name) / path)


def _read(path: Path) -> Named | None:
    folder = path.parent.name.upper()
    if match := _NAME.fullmatch(path.stem):
        speaker, code, number = match.groups()
    elif folder in SPEAKERS and (match := _NAME_IN_FOLDER.fullmatch(path.stem)):
        speaker, (code, number) = folder, match.groups()
    else:
        return None
    speaker, code, number = speaker.upper(), code.lower(), f"{int(number):02d}"
    details = {"sentence": number, "language": "en"}
    return Named(f"{speaker}_{code}{number}", SAVEE_EMOTIONS[code], speaker, "male", details)
