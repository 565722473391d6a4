"""Reads and writes the split in a model's folder: the clips it was trained, validated and tested on."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from emotion.csv_rows import restore, write_rows
from emotion.datasets.clips import SIDES, TEST, TRAIN, Clip
from emotion.datasets.paths import read_table
from emotion.datasets.splits import Split, check_protocol, check_split, in_order, split_of
from emotion.errors import DatasetError
from emotion.files import written_whole

COLUMNS = ("clip_id", "side", "emotion", "speaker", "protocol", "seed", "sha256")
# Begins the id of a row that stands for data too large to be listed clip by clip.
UNLISTED = "unlisted"
SPLITS_NAME = "splits.csv"  # in a model's folder


def write_splits(
    split: Split, clips: Iterable[Clip], path: str | os.PathLike, contents: Mapping[str, str] | None = None
) -> None:
    """Checks a split, as ``check_split`` does, and writes it as CSV with a row for each clip.

    ``contents`` are hashes of the clips' files by path; a later evaluation recognises the files under other names.
    """
    clips = in_order(clips)
    check_split(split, clips, contents)
    sides = split.sides
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        rows = [COLUMNS]
        for clip in clips:
            side, hashes = sides[clip.clip_id], describe_contents(clip, contents or {})
            rows.append((clip.clip_id, side, clip.emotion, clip.speaker or "", split.protocol, split.seed, hashes))
        write_rows(file, rows)


def add_unlisted(path: str | os.PathLike, name: str, split: Split) -> None:
    """Notes in a written split that the model was also trained on data that the table does not list clip by clip."""
    with open(path, "a", encoding="utf-8", newline="") as file:
        row = (f"{UNLISTED}:{name}", TRAIN, "", "", split.protocol, split.seed, "")
        write_rows(file, [row])


def write_earlier_splits(folder: Path, name: str, path: Path) -> None:
    """Writes what another model learned from, and the models before it, for one that starts from its weights.

    Args:
        folder: of the other model, whose tables are those that it has.
        name: to call it where it has none.
        path: the table to write.
    """
    tables = [folder / SPLITS_NAME, folder / path.name]
    rows = [row for table in tables if table.is_file() for row in read_split_rows(table) if row["side"] != TEST]
    if not rows:
        rows = [dict.fromkeys(COLUMNS, "") | {"clip_id": f"{UNLISTED}:what {name} learned from", "side": TRAIN}]
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        write_rows(file, [COLUMNS, *([row[column] for column in COLUMNS] for row in rows)])


def load_splits(path: str | os.PathLike) -> Split:
    """Reads what ``write_splits`` wrote; ``check_split`` says whether it fits the clips at hand.

    Raises:
        ConfigError: if the file names an unknown protocol.
        DatasetError: if the file is missing, or is no such table.
    """
    rows = read_split_rows(path)
    side_of, made_by = {}, set()
    for number, row in enumerate(rows, start=2):
        if row["side"] not in SIDES or row["clip_id"] in side_of:
            raise DatasetError(
                f"{path}, row {number}: needs one of {', '.join(SIDES)} as side, and a clip_id that no other row has; "
                f"got {','.join(row.values())}."
            )
        side_of[row["clip_id"]] = row["side"]
        made_by.add((row["protocol"], row["seed"]))
    if len(made_by) != 1:
        raise DatasetError(f"{path}: all rows must name one protocol and one seed, got {sorted(made_by)}.")
    protocol, seed = made_by.pop()
    check_protocol(protocol, str(path))
    try:
        seed = int(seed)
    except ValueError:
        raise DatasetError(f"{path}: the seed must be a whole number, got {seed!r}.") from None
    return split_of(side_of, protocol, seed)


def describe_contents(clip: Clip, contents: Mapping[str, str]) -> str:
    """Returns the hashes of a clip's files, with its start and end: the content of the column ``sha256``."""
    stretch = ""
    if clip.start_seconds is not None or clip.end_seconds is not None:
        stretch = f"@{clip.start_seconds or 0.0!r}-{'' if clip.end_seconds is None else repr(clip.end_seconds)}"
    return " ".join(f"{contents[path]}{stretch}" for path in clip.paths if path in contents)


def read_stretches(written: str) -> list[tuple[str, float, float]]:
    """Reads what ``describe_contents`` wrote: hash, start and end in seconds of each file."""
    found = []
    for word in written.split():
        digest, _, stretch = word.partition("@")
        start, _, end = stretch.partition("-")
        found.append((digest, float(start or 0), float(end or math.inf)))
    return found


def check_contents(path: str | os.PathLike, clips: Iterable[Clip], contents: Mapping[str, str]) -> None:
    """Raises a DatasetError if a clip's file is another than when a split was written."""
    written = {row["clip_id"]: row["sha256"] for row in read_split_rows(path)}
    for clip in clips:
        before = written.get(clip.clip_id, "")
        if before and before != describe_contents(clip, contents):
            raise DatasetError(
                f"{clip.paths[0]}: is another file than when {path} was written. Bring the old one back, or train anew "
                "in another folder."
            )


def read_split_rows(path: str | os.PathLike) -> list[dict[str, str]]:
    """Returns the rows of a written split by column; raises DatasetError if there is no such table."""
    table = read_table(path)
    if table.columns not in (COLUMNS, COLUMNS[:-1]):  # the latter was written before splits held hashes
        raise DatasetError(f"{path}: the columns must be {','.join(COLUMNS)}, got {','.join(table.columns)}.")
    for number, row in enumerate(table.rows, start=2):
        if row.n_fields != len(table.columns):
            written = ",".join(row.fields[: row.n_fields])
            raise DatasetError(f"{path}, row {number}: needs {len(table.columns)} values, got {written}.")
    return [
        dict.fromkeys(COLUMNS, "") | dict(zip(table.columns, map(restore, row.fields), strict=True))
        for row in table.rows
    ]
