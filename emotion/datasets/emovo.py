"""EMOVO: six Italian actors say 14 sentences in seven emotions (Costantini et al. 2014, LREC). Sound only.

A file is called ``dis-f1-b1.wav``: emotion, speaker, sentence.
"""

import os
import re
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.named_files import Named, any_named, load_named
from emotion.labels import EMOVO_EMOTIONS

NAME = "EMOVO"
LICENCE = "free for non-commercial use with acknowledgement"
EXAMPLE = "dis-f1-b1.wav"
LAYOUT = "files named dis-f1-b1.wav, at any depth"
HOW_TO_GET_IT = "EMOVO is at http://voice.fub.it/activities/corpora/emovo/index.html."

_NAME = re.compile(rf"({'|'.join(EMOVO_EMOTIONS)})-([fm][1-3])-([bdln][0-9])", re.IGNORECASE)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files named like EMOVO's."""
    return any_named(root, _read)


def load(root: str | os.PathLike) -> list[Clip]:
    """Returns the clips below a folder; see ``named_files.load_named``."""
    return load_named(root, _read, prefix="emovo", example=EXAMPLE, how_to_get_it=HOW_TO_GET_IT)


def _read(path: Path) -> Named | None:
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    code, speaker, sentence = (part.lower() for part in match.groups())
    sex = "female" if speaker.startswith("f") else "male"
    details = {"sentence": sentence, "language": "it"}
    return Named(f"{code}-{speaker}-{sentence}", EMOVO_EMOTIONS[code], speaker, sex, details)
