"""Data sets that audEERING's ``audb`` publishes: loaded by name and version, with whatever columns they have.

``audb`` keeps the files below the data set's folder, and asks the network only for what it lacks. A folder that holds a
data set in its format (``db.yaml``) is read without the network. The package is an extra: ``requirements-audb.txt``.

The emotions are in a column of one or several tables, the speakers in a column ``speaker`` of any table, their sex in
a column ``gender`` or in what the data set says of each speaker. Tables whose names end in ``train``, ``dev`` and
``test`` are the authors' own split.
"""

import importlib
import os
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from emotion.datasets.clips import Clip
from emotion.datasets.paths import SEX_WORDS, SPLIT_WORDS, warn_left_out
from emotion.errors import ConfigError, DatasetError, first_line
from emotion.labels import read_emotion
from emotion.media.kinds import kind_of

NAME = "audb"
LICENCE = "the data set's own, as audb states it"
LAYOUT = "a folder with db.yaml; or name a data set: --dataset audb --dataset_option name=emodb version=1.4.1"
HOW_TO_GET_IT = (
    "See https://audeering.github.io/datasets/ for the names and versions, and give one: "
    "--dataset audb --dataset_option name=emodb version=1.4.1."
)
HEADER = "db.yaml"
SEX_COLUMNS = ("gender", "sex")
# What a file or a part of it is called in tables: its path, and start and end of the part.
Segment = tuple[str, float | None, float | None]


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds a data set in audb's format."""
    return Path(root, HEADER).is_file()


def load(
    root: str | os.PathLike,
    *,
    name: str | None = None,
    version: str | None = None,
    column: str = "emotion",
    tables: Sequence[str] = (),
) -> list[Clip]:
    """Loads a data set by its name, or the one in a folder.

    Args:
        root: where audb keeps data sets; without a name, the folder of one.
        name, version: as audb lists them; the newest version by default.
        column: where the emotions are.
        tables: those to read; by default all that have the column.

    Returns:
        One clip for each file, or part of one, sorted by ``clip_id``. A warning counts those without an emotion.

    Raises:
        ConfigError: if the package is not installed.
        DatasetError: if there is no such data set, table or column; or two tables disagree about a clip.
    """
    if name is None and not recognizes(root):
        raise DatasetError(f"{root} holds no {HEADER}, and no name of a data set is given. {HOW_TO_GET_IT}")
    package = _import("audb" if name else "audformat")
    try:
        if name:
            database = package.load(name, version=version, cache_root=os.fspath(root), verbose=False)
        else:
            database = package.Database.load(os.fspath(root))
    except Exception as error:  # of many packages behind it: the network, the cache, the tables
        what = f"{name} {version or ''}".strip() if name else os.fspath(root)
        raise DatasetError(f"audb cannot load {what}: {first_line(error)}. {HOW_TO_GET_IT}") from error
    return _read_clips(database, name or str(database.name), Path(root), column, tuple(tables))


def _import(package: str):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"The data set audb needs {package} ({error}): pip install -r requirements-audb.txt"
        ) from error


def _read_clips(database: Any, name: str, root: Path, column: str, chosen: tuple[str, ...]) -> list[Clip]:
    having = [table for table in database.tables if column in database[table].columns]
    if unknown := [table for table in chosen if table not in having]:
        raise DatasetError(
            f"audb's {name} has no table {', '.join(unknown)} with a column {column}: {_listed(having)}."
        )
    if not having:
        columns = {column for table in database.tables for column in database[table].columns}
        raise DatasetError(f"audb's {name} has no column {column}. Its columns are {_listed(sorted(columns))}.")
    show = partial(_show, os.path.abspath(database.root or root))
    labels: dict[Segment, tuple[str, str | None, str]] = {}
    unlabelled = []
    for table in chosen or having:
        for segment, label in _entries(database, table, column):
            if _is_missing(label):
                unlabelled.append(show(segment))
                continue
            found = (read_emotion(str(label)), SPLIT_WORDS.get(table.rpartition(".")[2]), table)
            before = labels.setdefault(segment, found)
            if before[0] != found[0]:
                raise DatasetError(
                    f"audb's {name}: {show(segment)} is {before[0]} in the table {before[2]} and {found[0]} in "
                    f"{table}. Choose tables: --dataset_option tables={before[2]}. They are {_listed(having)}."
                )
            if before[1] is None:
                labels[segment] = found
    warn_left_out(root, unlabelled, f"files or parts without a label in {column}")
    speakers = _by_file(database, ("speaker",))
    sexes = _by_file(database, SEX_COLUMNS)
    people = getattr(database.schemes.get("speaker"), "labels", None)
    clips, no_media = [], []
    for segment, (emotion, split, _) in labels.items():
        path = segment[0] if os.path.isabs(segment[0]) else str(root / segment[0])
        kind = kind_of(path)
        if kind is None:
            no_media.append(show(segment))
            continue
        speaker = speakers.get(segment[0])
        said = people.get(speaker) if isinstance(people, dict) else None
        words = [sexes.get(segment[0]), *(said.get(word) for word in SEX_COLUMNS if isinstance(said, dict))]
        details = {"language": "+".join(database.languages or ()), "licence": str(database.license or "")}
        clips.append(
            Clip(
                clip_id=f"audb:{name}/{show(segment)}",
                emotion=emotion,
                speaker=None if _is_missing(speaker) else f"audb:{name}/{speaker}",
                video_path=None if kind == "audio" else path,
                audio_path=None if kind == "image" else path,
                sex=next((sex for word in words if (sex := SEX_WORDS.get(str(word).lower()))), None),
                split=split,
                start_seconds=segment[1],
                end_seconds=segment[2],
                details={kind: value for kind, value in details.items() if value},
            )
        )
    warn_left_out(root, no_media, "files that are no media by name or content")
    if not clips:
        raise DatasetError(f"audb's {name} has no labelled media in {_listed(chosen or having)}. {HOW_TO_GET_IT}")
    return sorted(clips, key=lambda clip: clip.clip_id)


def _entries(database: Any, table: str, column: str) -> Iterator[tuple[Segment, Hashable]]:
    """Yields what a table says in a column, by file or by part of a file."""
    for index, value in database[table][column].get().items():
        if isinstance(index, tuple) and len(index) == 3:  # file, start, end
            start, end = (None if _is_missing(time) else time.total_seconds() for time in index[1:])
            yield (str(index[0]), start or None, end), value
        elif isinstance(index, str):
            yield (index, None, None), value


def _by_file(database: Any, columns: Sequence[str]) -> dict[str, Hashable]:
    """Returns what the first table with one of these columns says of each file."""
    said: dict[str, Hashable] = {}
    for column in columns:
        for table in database.tables:
            if column in database[table].columns:
                for segment, value in _entries(database, table, column):
                    if not _is_missing(value):
                        said.setdefault(segment[0], value)
    return said


def _is_missing(value) -> bool:
    return value is None or value != value or str(value) in ("<NA>", "NaT", "")  # noqa: PLR0124 - NaN is not itself


def _show(folder: str, segment: Segment) -> str:
    path, start, end = segment
    name = Path(os.path.relpath(path, folder) if os.path.isabs(path) else path).as_posix()
    return name if start is end is None else f"{name}#{start or 0:g}-{'' if end is None else f'{end:g}'}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
