"""EmoDB: acted German sentences (Burkhardt et al. 2005), sound only.

A file is called ``SSTTTEV``: speaker, text, emotion, version. No model here has a class for boredom: its clips serve
only trainings that learn from a teacher's answers.
"""

import os

from emotion.datasets.clips import Clip
from emotion.datasets.paths import check_dataset_folder, walk_dataset, warn_left_out
from emotion.errors import DatasetError
from emotion.labels import EMODB_EMOTIONS
from emotion.media.kinds import kind_of

NAME = "EmoDB"
LICENCE = "freely downloadable for research"
EXAMPLE = "03a01Fa.wav"
LAYOUT = "files named 03a01Fa.wav, at any depth"
HOW_TO_GET_IT = "EmoDB is at http://emodb.bilderbar.info."
BOREDOM = "boredom"  # which no model here has a class for
MEN = frozenset({"03", "10", "11", "12", "15"})
WOMEN = frozenset({"08", "09", "13", "14", "16"})


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds files named like EmoDB's."""
    return any(
        kind_of(path) == "audio"
        and len(path.stem) == len("SSTTTEV")
        and path.stem[:2].isdigit()
        and path.stem[2] in "ab"
        and path.stem[3:5].isdigit()
        and path.stem[5] in EMODB_EMOTIONS
        for path in walk_dataset(root, warn=False)
    )


def load(root: str | os.PathLike) -> list[Clip]:
    """Returns the clips below a folder, sorted by id.

    Raises:
        DatasetError: if there are none.
    """
    clips, copies = {}, []
    for path in walk_dataset(check_dataset_folder(root, HOW_TO_GET_IT)):
        name = path.stem
        if kind_of(path) != "audio" or len(name) != len("SSTTTEV") or name[5] not in EMODB_EMOTIONS:
            continue
        speaker, emotion = name[:2], EMODB_EMOTIONS[name[5]] or BOREDOM
        if speaker not in MEN | WOMEN:
            continue
        if name in clips:
            copies.append(path.name)
            continue
        clips[name] = Clip(
            clip_id=f"emodb:{name}",
            emotion=emotion,
            speaker=f"emodb:{speaker}",
            audio_path=str(path),
            sex="male" if speaker in MEN else "female",
            details={"text": name[2:5], "version": name[6]},
        )
    warn_left_out(root, copies, "further copies of recordings")
    if not clips:
        raise DatasetError(f"{root} holds no EmoDB recordings, which are called like 03a01Fa.wav. {HOW_TO_GET_IT}")
    return [clips[name] for name in sorted(clips)]
