"""Splits on disk: a table of which clip stood where, by which a model's folder also tells what the model has met."""

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emotion.datasets.clips import SIDES, TEST, Clip
from emotion.errors import DatasetError
from emotion.splits import Split, check_protocol, check_split, in_order, split_of

COLUMNS = ("clip_id", "side", "emotion", "speaker", "protocol", "seed", "sha256")


def write_splits(
    split: Split, clips: Iterable[Clip], path: str | os.PathLike, contents: Mapping[str, str] | None = None
) -> None:
    """Checks a split and writes it as CSV, one row a clip, with the columns of ``COLUMNS``.

    Args:
        split: the split.
        clips: its clips.
        path: the file.
        contents: hashes of the clips' files by path, by which a later evaluation knows them again under other names.

    Raises:
        ConfigError, DatasetError: as ``check_split``.
    """
    clips = in_order(clips)
    check_split(split, clips, contents)
    sides = split.sides
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for clip in clips:
            hashes = " ".join((contents or {}).get(path, "") for path in clip.paths).strip()
            writer.writerow(
                (
                    clip.clip_id,
                    sides[clip.clip_id],
                    clip.emotion,
                    clip.speaker or "",
                    split.protocol,
                    split.seed,
                    hashes,
                )
            )


def load_splits(path: str | os.PathLike) -> Split:
    """Reads what ``write_splits`` wrote. Whether it fits the clips at hand is for ``check_split`` to say.

    Raises:
        ConfigError: if the file names an unknown protocol.
        DatasetError: if the file is missing, or is no such table.
    """
    rows = _read_rows(path)
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


@dataclass(frozen=True)
class SeenClips:
    """What a model has met in training and validation.

    Attributes:
        clip_ids: the clips.
        speakers: whose they are, where known.
        contents: hashes of their files.
    """

    clip_ids: frozenset[str]
    speakers: frozenset[str]
    contents: frozenset[str]


def load_seen(path: str | os.PathLike) -> SeenClips:
    """Reads from a written split what stands on its training and validation sides.

    Raises:
        DatasetError: as ``load_splits``.
    """
    rows = [row for row in _read_rows(path) if row["side"] != TEST]
    return SeenClips(
        frozenset(row["clip_id"] for row in rows),
        frozenset(row["speaker"] for row in rows if row["speaker"]),
        frozenset(digest for row in rows for digest in row["sha256"].split()),
    )


def _read_rows(path: str | os.PathLike) -> list[dict[str, str]]:
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{path}: not a readable table of splits ({error}).") from error
    if tuple(header) != COLUMNS:
        raise DatasetError(f"{path}: the columns must be {','.join(COLUMNS)}, got {','.join(header)}.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise DatasetError(f"{path}, row {number}: needs {len(COLUMNS)} values, got {','.join(row)}.")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
