"""Any clips, listed in a CSV file with the columns ``path`` and ``emotion``.

The columns ``speaker``, ``audio_path``, ``start_s``, ``end_s``, ``split``, ``sex`` and ``reference`` are optional; any
other column goes to the clip's details. ``path`` is a video, a sound file or an image by its extension; an image is a
video of one frame. A video's sound is expected inside it unless ``audio_path`` names a file, or says ``none``.
``reference`` is a file that shows the speaker calm, for ``emotion.evaluate --adapt reference``.

A file of an annotation tool is a manifest, too: each labelled interval is a clip; see ``annotations``.
"""

import dataclasses
import math
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from emotion.csv_rows import restore, write_rows
from emotion.datasets.annotations import is_annotation, read_annotation
from emotion.datasets.clips import SIDES, Clip
from emotion.datasets.paths import (
    SEX_WORDS,
    SPLIT_WORDS,
    FileFinder,
    Row,
    Table,
    check_rows,
    is_table,
    read_columns,
    read_number,
    read_table,
)
from emotion.errors import DatasetError
from emotion.files import written_whole
from emotion.labels import read_emotion
from emotion.media.kinds import kind_of

NAME = "manifest"
LICENCE = "not stated: clips listed in a manifest"
LAYOUT = (
    "a CSV file with the columns path and emotion, or a folder with such a manifest.csv; or an .eaf file of ELAN, a "
    ".TextGrid of Praat, or Label Studio's JSON"
)
HOW_TO_GET_IT = "A manifest is a CSV file of your own, with the columns path and emotion and a row for each clip."

FILE_NAME = "manifest.csv"
REQUIRED = ("path", "emotion")
OPTIONAL = ("speaker", "audio_path", "start_s", "end_s", "split", "sex", "reference")
NO_SOUND = "none"


def recognizes(root: str | os.PathLike) -> bool:
    """Whether this is a CSV file with the columns path and emotion, an annotation file, or a folder of manifest.csv."""
    if is_annotation(root):
        return True
    if is_table(root):
        return set(REQUIRED) <= set(read_columns(root))
    return _table_path(root).is_file() and os.path.isdir(root)


def load(path: str | os.PathLike, root: str | os.PathLike | None = None, *, tier: str | None = None) -> list[Clip]:
    """Reads the clips that a manifest lists. Missing files are reported when they are decoded.

    Args:
        path: the CSV file, or a folder that holds ``manifest.csv``; or an annotation file.
        root: what its paths are relative to; None for its own folder.
        tier: of an annotation file: the one to read, if several have labels.

    Returns:
        One clip for each row, sorted by ``clip_id``, which is the file's stem, the path as written, and start and end
        if they are given: ``clips:a/b.mp4#1.5-3``.

    Raises:
        DatasetError: if the file, a column or all rows are missing, or rows cannot be true; it names the first few of
            these by their lines.
    """
    path = _table_path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. {HOW_TO_GET_IT}")
    table = read_annotation(path, tier, root) if is_annotation(path) else _read_csv(path, tier, root)
    columns = {name: table.find(name) for name in (*REQUIRED, *OPTIONAL)}
    lacking = [name for name in REQUIRED if columns[name] is None]
    if lacking:
        there = ", ".join(name for name in table.columns if name)
        raise DatasetError(f"{path}: has no column {' and no column '.join(lacking)}; its columns are {there}.")
    folder = path.parent if root is None else Path(root)
    clips, faults, first_row = [], [], {}
    finder, speakers = FileFinder(), {}
    for row in table.rows:
        clip, wrong = _read_row(table, row, columns, folder, finder)
        if clip and clip.speaker is not None:
            # One person, though the name's accents may be encoded in two ways.
            spelling = speakers.setdefault(unicodedata.normalize("NFC", clip.speaker), clip.speaker)
            clip = dataclasses.replace(clip, speaker=spelling)
        key = clip and (unicodedata.normalize("NFC", clip.clip_id) if os.path.exists(clip.paths[0]) else clip.clip_id)
        if clip and key in first_row:
            wrong = [f"the same path and stretch as in {first_row[key]}"]
        if wrong:
            faults.append(f"{row.where}: {', '.join(wrong)}")
        else:
            first_row[key] = row.where
            clips.append(clip)
    check_rows(path, faults, len(table.rows))
    if not clips:
        raise DatasetError(f"{path}: lists no clips, it has a header only.")
    return sorted(clips, key=lambda clip: clip.clip_id)


def write_manifest(clips: Iterable[Clip], path: str | os.PathLike, root: str | os.PathLike) -> None:
    """Writes clips as a manifest that ``load`` reads back.

    It keeps all of a clip but its id, which follows from the manifest, and details without a value. Paths below
    ``root`` are written relative to it, others absolute. A file at ``path`` is replaced.

    Raises:
        DatasetError: if a clip's details have the name of a column, or something in it cannot be written as text.
        OSError: if the file cannot be written.
    """
    clips = list(clips)
    kinds = sorted({kind for clip in clips for kind, value in clip.details.items() if value.strip()})
    taken = [kind for kind in kinds if kind.strip().lower() in ("", *REQUIRED, *OPTIONAL) or kind != kind.strip()]
    if taken:
        shown = ", ".join(map(repr, taken))
        raise DatasetError(f"{path}: these column names are reserved: {shown}. Rename these details of the clips.")
    columns = (*REQUIRED, *OPTIONAL, *kinds)
    rows = [_as_row(clip, root) | {kind: clip.details.get(kind, "") for kind in kinds} for clip in clips]
    for clip, row in zip(clips, rows, strict=True):
        try:
            "".join(row.values()).encode()
        except UnicodeEncodeError:
            raise DatasetError(
                f"{path}: cannot list {clip.clip_id!a}, whose file name is not UTF-8. Rename it."
            ) from None
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        write_rows(file, [columns, *([row[name] for name in columns] for row in rows)])


def _read_csv(path: Path, tier: str | None, root: Path | None) -> Table:
    if tier is not None:
        raise DatasetError(f"{path}: is a table, which has no tiers. Leave out tier={tier}.")
    table = read_table(path, root)
    rows = tuple(dataclasses.replace(row, fields=tuple(map(restore, row.fields))) for row in table.rows)
    return dataclasses.replace(table, columns=tuple(map(restore, table.columns)), rows=rows)


def _table_path(path: str | os.PathLike) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def _read_row(
    table: Table, row: Row, columns: dict[str, int | None], folder: Path, finder: FileFinder
) -> tuple[Clip | None, list[str]]:
    """Returns a row's clip, or None and all that is wrong with it."""
    values = {name: "" if index is None else row.fields[index].strip() for name, index in columns.items()}
    wrong = [f"{name} is empty" for name in REQUIRED if not values[name]]
    if row.n_fields > len(table.columns):
        wrong.append(
            f"{row.n_fields} fields for {len(table.columns)} columns (put fields with commas in quotation marks)"
        )
    media = _resolve(values["path"], folder, finder)
    kind = None if media is None else kind_of(media)
    if media and kind is None:
        wrong.append(_no_media(values["path"], media))
    audio = values["audio_path"]
    if kind == "audio" and audio and audio != values["path"]:
        wrong.append("path is a sound file already, so audio_path must be empty")
    split, sex = values["split"].lower(), values["sex"].lower()
    if split and split not in SPLIT_WORDS:
        wrong.append(f"split must be one of {', '.join(SIDES)}, got {values['split']}")
    if sex and sex not in SEX_WORDS:
        wrong.append(f"sex must be one of {', '.join(SEX_WORDS)}, got {values['sex']}")
    reference = _resolve(values["reference"], folder, finder)
    if reference and kind_of(reference) is None:
        wrong.append(f"reference {_no_media(values['reference'], reference)}")
    start, end = (_read_seconds(values[name], name, table.delimiter, wrong) for name in ("start_s", "end_s"))
    if end is not None and not end > (start or 0.0):
        wrong.append(f"end_s must be above start_s, got {_show(start) or 0} and {_show(end)}")
    if wrong:
        return None, wrong

    stem = table.path.stem
    sound = None if audio.lower() == NO_SOUND else _resolve(audio, folder, finder)
    if not audio and kind != "image":
        sound = media
    speaker = values["speaker"]
    known = {index for index in columns.values() if index is not None}
    return Clip(
        clip_id=f"{stem}:{values['path']}" + ("" if start is end is None else f"#{_show(start)}-{_show(end)}"),
        emotion=read_emotion(values["emotion"]),
        speaker=(speaker if ":" in speaker else f"{stem}:{speaker}") if speaker else None,
        video_path=None if kind == "audio" else media,
        audio_path=media if kind == "audio" else sound,
        sex=SEX_WORDS.get(sex),
        split=SPLIT_WORDS.get(split),
        start_seconds=start,
        end_seconds=end,
        reference=reference,
        details={
            name: row.fields[index]
            for index, name in enumerate(table.columns)
            if name and index not in known and row.fields[index].strip()
        },
    ), []


def _no_media(written: str, path: str) -> str:
    if not os.path.exists(path):
        return f"{written} is not there, and its name does not say whether it is a video, a sound file or an image"
    return f"{written} is no video, sound file or image, neither by its name nor by its content"


def _read_seconds(written: str, name: str, delimiter: str, wrong: list[str]) -> float | None:
    if not written:
        return None
    try:
        seconds = read_number(written, delimiter)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        wrong.append(f"{name} must be a number of seconds from 0 on, got {written}")
        return None
    return seconds


def _show(seconds: float | None) -> str:
    """Returns seconds so that they read back as the same number: 1.5, and 2 rather than 2.0."""
    return "" if seconds is None else repr(float(seconds)).removesuffix(".0")


def _resolve(written: str, folder: Path, finder: FileFinder) -> str | None:
    """Returns a path as the program uses it."""
    return str(finder.find(folder, written)) if written else None


def _as_row(clip: Clip, root: str | os.PathLike) -> dict[str, str]:
    media = clip.video_path or clip.audio_path
    if clip.audio_path is None:
        sound = "" if kind_of(media) == "image" else NO_SOUND
    else:
        sound = "" if clip.audio_path == media else _relative(clip.audio_path, root)
    return {
        "path": _relative(media, root),
        "emotion": clip.emotion,
        "speaker": clip.speaker or "",
        "audio_path": sound,
        "start_s": _show(clip.start_seconds),
        "end_s": _show(clip.end_seconds),
        "split": clip.split or "",
        "sex": clip.sex or "",
        "reference": _relative(clip.reference, root) if clip.reference else "",
    }


def _relative(path: str, root: str | os.PathLike) -> str:
    full, base = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    if not full.is_relative_to(base):
        return str(full)
    written = full.relative_to(base).as_posix()
    # Blanks around a field are not part of it.
    return f"./{written}" if written != written.strip() else written
