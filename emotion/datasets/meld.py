"""MELD: utterances from a television series, with several people in sight (Poria et al. 2019, ACL).

``train_sent_emo.csv``, ``dev_sent_emo.csv`` and ``test_sent_emo.csv`` hold the labels; ``dia0_utt0.mp4`` in a folder
for each side holds the utterance with its sound. The numbers begin anew on each side, so the folder matters.

MELD's own split separates dialogues, not people: the six friends speak on all of its sides. A speaker is the name in
the script, which may be shared ("Nurse") or stand for several people ("Both").
"""

import os
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion.datasets.clips import TEST, TRAIN, VALIDATION, Clip
from emotion.datasets.paths import (
    Row,
    Table,
    check_dataset_folder,
    check_rows,
    mend_code_page,
    read_table,
    walk_dataset,
    warn_left_out,
)
from emotion.errors import DatasetError
from emotion.labels import read_emotion
from emotion.media.kinds import kind_of

NAME = "MELD"
LICENCE = "GPL-3.0 for the labels; the clips are from a television series"
LAYOUT = "train_sent_emo.csv with train_splits/dia0_utt0.mp4, and the same for dev and test"
HOW_TO_GET_IT = (
    "MELD's clips and labels are linked from https://affective-meld.github.io (MELD.Raw.tar.gz, about 10 GB). Unpack "
    "it and the three archives inside it, and put train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv beside "
    "them."
)

SIDE_WORDS = {"train": TRAIN, "dev": VALIDATION, "test": TEST}
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
COLUMNS = ("speaker", "emotion", "dialogue_id", "utterance_id")
DETAILS = {"utterance": "utterance", "sentiment": "sentiment", "season": "season", "episode": "episode"}

_TABLE = re.compile(r"(train|dev|test)_sent_emo\.csv")
_SEVERAL = re.compile(r"[/&,]|\band\b|^(the )?(all|both|everyone|everybody|guys|girls|others|crowd)$", re.IGNORECASE)
# The archives also hold cuts called final_videos_testdia0_utt0.mp4; the labels are not for these.
_CLIP = re.compile(r"dia([0-9]+)_utt([0-9]+)")
_SIDE = re.compile(r"(?<![a-z])(train|dev|test)")


@dataclass(frozen=True)
class MeldRow:
    """A row of the label files.

    Attributes:
        clip: with the path of its file, or where it should lie.
        exists: whether the file is there.
        where: the label file and the line.
    """

    clip: Clip
    exists: bool
    where: str


def recognizes(root: str | os.PathLike) -> bool:
    """Whether one of MELD's label files lies below a folder."""
    return any(_TABLE.fullmatch(path.name.lower()) for path in walk_dataset(root, warn=False))


def load(root: str | os.PathLike, *, missing_ok: bool = True) -> list[Clip]:
    """Finds MELD's clips anywhere below a folder.

    Args:
        missing_ok: whether rows without a file are left out with a warning; otherwise they are an error.

    Returns:
        One clip for each row of the label files, sorted by ``clip_id``, with MELD's own ``split``.

    Raises:
        DatasetError: if there is no such folder, no label file or no clip, or rows of the labels cannot be true.
    """
    rows = read_meld_rows(root)
    missing = [row.clip.clip_id.removeprefix("meld:") for row in rows if not row.exists]
    if len(missing) == len(rows):
        raise DatasetError(f"{root} holds MELD's labels and none of the {len(rows)} clips. {HOW_TO_GET_IT}")
    if missing and not missing_ok:
        raise DatasetError(
            f"{root}: {len(missing)} of {len(rows)} clips are missing, the first is {missing[0]}. {HOW_TO_GET_IT}"
        )
    warn_left_out(root, missing, f"of {len(rows)} rows of the label files, whose clip is missing")
    return [row.clip for row in rows if row.exists]


def read_meld_rows(root: str | os.PathLike) -> list[MeldRow]:
    """Reads all label files below a folder, and returns all rows, with and without a file, sorted by ``clip_id``.

    Raises:
        DatasetError: if there is no such folder or no label file, or rows cannot be true.
    """
    root = check_dataset_folder(root, HOW_TO_GET_IT)
    tables: dict[str, Path] = {}
    videos: list[Path] = []
    for path in walk_dataset(root):
        if match := _TABLE.fullmatch(path.name.lower()):
            tables.setdefault(match[1], path)
        elif kind_of(path) == "video" and _CLIP.fullmatch(path.stem.lower()):
            videos.append(path)
    if not tables:
        raise DatasetError(f"{root} holds none of MELD's label files, such as train_sent_emo.csv. {HOW_TO_GET_IT}")
    files = _place(root, videos, tables)
    rows = [row for side, path in sorted(tables.items()) for row in _read_side(root, side, read_table(path), files)]
    return sorted(rows, key=lambda row: row.clip.clip_id)


def _place(root: Path, videos: list[Path], tables: dict[str, Path]) -> dict[tuple[str, int, int], Path]:
    """Returns the clips by side, dialogue and utterance; MELD's own folders come first."""
    only_side = next(iter(tables)) if len(tables) == 1 else None
    files = {}
    for path in sorted(videos, key=lambda path: (not set(path.parts) & set(FOLDERS.values()), path)):
        folders = reversed(path.relative_to(root).parts[:-1])
        said = next((match[1] for name in folders if (match := _SIDE.search(name.lower()))), only_side)
        if said:
            dialogue, utterance = _CLIP.fullmatch(path.stem.lower()).groups()
            files.setdefault((said, int(dialogue), int(utterance)), path)
    return files


def _read_side(root: Path, side: str, table: Table, files: dict[tuple[str, int, int], Path]) -> Iterator[MeldRow]:
    columns = {name: table.find(name) for name in (*COLUMNS, *DETAILS)}
    lacking = [name for name in COLUMNS if columns[name] is None]
    if lacking:
        raise DatasetError(f"{table.path}: has no column {', '.join(lacking)}. Take MELD's own label file.")
    side_files = [path for (said, _, _), path in files.items() if said == side]
    folder = side_files[0].parent if side_files else root / FOLDERS[side]
    rows, faults, seen = [], [], set()
    for row in table.rows:
        values = {name: _cell(row, column) for name, column in columns.items()}
        try:
            key = (side, int(values["dialogue_id"]), int(values["utterance_id"]))
        except ValueError:
            faults.append(f"{row.where}: the dialogue or the utterance is not a whole number")
            continue
        if not values["emotion"] or key in seen:
            faults.append(f"{row.where}: " + ("is there already" if key in seen else "has no emotion"))
            continue
        seen.add(key)
        name = f"dia{key[1]}_utt{key[2]}"
        path = files.get(key)
        details = {kind: values[column] for kind, column in DETAILS.items() if values[column]}
        file = str(path or folder / f"{name}.mp4")
        clip = Clip(
            clip_id=f"meld:{SIDE_WORDS[side]}:{name}",
            emotion=read_emotion(values["emotion"]),
            speaker=_name_speaker(values["speaker"]),
            video_path=file,
            audio_path=file,
            split=SIDE_WORDS[side],
            details={**details, "dialogue": str(key[1])},
        )
        rows.append(MeldRow(clip, path is not None, f"{table.path.name}, {row.where}"))
    check_rows(table.path, faults, len(table.rows))
    yield from rows


def _cell(row: Row, column: int | None) -> str:
    return "" if column is None else mend_code_page(row.fields[column]).strip()


def _name_speaker(written: str) -> str | None:
    """Returns a speaker's name, or None if several speak; blanks, a full stop and the case make no other person."""
    name = " ".join(written.replace("’", "'").split()).rstrip(".")
    if name.islower() or name.isupper():
        name = string.capwords(name)
    # "Ross and Rachel" are not a third person, who could be on another side than Ross.
    if _SEVERAL.search(name):
        return None
    return f"meld:{name}" if name else None
