"""CMU-MOSEI: people who talk to a camera, from a video site (Bagher Zadeh et al. 2018, ACL).

The authors publish labels in a format of their own (``.csd``). What is read here are two tables that people make of it:

- ``CMU_MOSEI_Labels.csv``, as S3PRL's recipe writes it: ``file``, ``index``, ``start``, ``end``, ``label6``, ``split``
  (0 train, 1 validation, 2 test, 3 none). ``label6`` is the strongest of happy, sad, anger, surprise, disgust and fear,
  and 0 (happy) also where nobody saw any emotion.
- The same, or ``video_id`` and ``clip_id``, with a column for each of these emotions, 0 to 3: the strongest one counts.
  All zeros are neutral, ties undecided.

Media are segments called ``FILE_INDEX.mp4`` or ``FILE_INDEX.wav``, or whole videos ``FILE.mp4``, of which the table's
start and end are read. Nobody says who is in which video, and some people are in several: speakers are unknown. The
authors' own split separates videos.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from emotion.datasets.clips import TEST, TRAIN, VALIDATION, Clip
from emotion.datasets.named_files import choose_files
from emotion.datasets.paths import (
    SPLIT_WORDS,
    Row,
    Table,
    check_dataset_folder,
    check_rows,
    is_table,
    read_columns,
    read_number,
    read_table,
    walk_dataset,
    warn_left_out,
)
from emotion.errors import DatasetError
from emotion.labels import MOSEI_EMOTIONS, UNDECIDED
from emotion.media.kinds import is_recording

NAME = "CMU-MOSEI"
LICENCE = "free for research; the videos are their makers'"
LAYOUT = "CMU_MOSEI_Labels.csv with segments named FILE_INDEX.mp4 or whole videos"
HOW_TO_GET_IT = (
    "CMU-MOSEI's videos and labels are linked from http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/."
)

FILE_COLUMNS, INDEX_COLUMNS = ("file", "video_id", "video"), ("index", "clip_id", "segment")
EMOTION_COLUMNS = {"happy": ("happy", "happiness"), "sad": ("sad", "sadness"), "angry": ("anger", "angry"),
                   "surprised": ("surprise",), "disgust": ("disgust",), "fearful": ("fear",)}  # fmt: skip
SPLITS = {"0": TRAIN, "1": VALIDATION, "2": TEST, "3": None, "": None}

logger = logging.getLogger(__name__)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a table of CMU-MOSEI's labels lies below a folder, or is given itself."""
    return _is_labels(Path(root)) or any(_is_labels(path) for path in walk_dataset(root, warn=False))


def load(root: str | os.PathLike) -> list[Clip]:
    """Finds CMU-MOSEI's clips anywhere below a folder; a warning counts rows whose files are not there.

    Args:
        root: the folder, or the table in it.

    Returns:
        One clip for each row of the table that has a file, sorted by ``clip_id``.

    Raises:
        DatasetError: if there is no such folder, no table or no clip, or rows cannot be true.
    """
    if is_table(root):
        folder, tables = Path(root).parent, [Path(root)]
    else:
        folder = check_dataset_folder(root, HOW_TO_GET_IT)
        tables = [path for path in walk_dataset(folder) if _is_labels(path)]
    if not tables:
        raise DatasetError(f"{root} holds no table of CMU-MOSEI's labels. {HOW_TO_GET_IT}")
    warn_left_out(root, [str(path) for path in tables[1:]], f"further tables of labels beside {tables[0]}")
    files: dict[str, list[Path]] = {}
    for path in walk_dataset(folder):
        if is_recording(path):
            files.setdefault(path.stem, []).append(path)
    rows = list(_read_rows(read_table(tables[0]), files))
    clips = {clip.clip_id: clip for _, clip in rows if clip}
    missing = [name for name, clip in rows if clip is None]
    if not clips:
        raise DatasetError(f"{root} holds CMU-MOSEI's labels and none of the {len(rows)} clips. {HOW_TO_GET_IT}")
    warn_left_out(tables[0], missing, "rows whose file is not there")
    listed = {part for name, _ in rows for part in (name, name.rpartition("_")[0])}
    warn_left_out(folder, sorted(set(files) - listed), "files that no row lists")
    return [clips[clip_id] for clip_id in sorted(clips)]


def _is_labels(path: Path) -> bool:
    if not is_table(path) or path.suffix.lower() != ".csv":
        return False
    columns = set(read_columns(path))
    has_labels = "label6" in columns or all(columns & set(names) for names in EMOTION_COLUMNS.values())
    return has_labels and bool(columns & set(FILE_COLUMNS)) and bool(columns & set(INDEX_COLUMNS))


def _read_rows(table: Table, files: dict[str, list[Path]]) -> Iterator[tuple[str, Clip | None]]:
    """Yields the name of each row's segment and its clip, or None if its file is not there."""
    names = {"file": FILE_COLUMNS, "index": INDEX_COLUMNS, "start": ("start",), "end": ("end",), "text": ("text",),
             "label6": ("label6",), "split": ("split", "mode"), **EMOTION_COLUMNS}  # fmt: skip
    columns = {name: table.find(*written) for name, written in names.items()}
    by_intensity = all(columns[emotion] is not None for emotion in EMOTION_COLUMNS)
    if not by_intensity:
        logger.warning(
            "%s: label6 says happy also where nobody saw an emotion. A table with a column for each emotion tells them "
            "apart.", table.path,
        )  # fmt: skip
    faults, found = [], []
    for row in table.rows:
        values = {name: _cell(row, column) for name, column in columns.items()}
        try:
            found.append(_read_row(values, by_intensity, table.delimiter, files))
        except (ValueError, LookupError, DatasetError) as error:
            faults.append(f"{row.where}: {error or 'a field is missing'}")
    check_rows(table.path, faults, len(table.rows))
    yield from found


def _read_row(values: dict[str, str], by_intensity: bool, delimiter: str, files: dict[str, list[Path]]):
    name = f"{values['file']}_{int(float(values['index']))}"
    if not values["file"]:
        raise ValueError("names no file")
    if by_intensity:
        emotion = _strongest({emotion: read_number(values[emotion] or "0", delimiter) for emotion in EMOTION_COLUMNS})
    else:
        emotion = MOSEI_EMOTIONS[("0", "1", "2", "3", "4", "5").index(values["label6"].removesuffix(".0"))]
    side = values["split"].lower()
    if side not in SPLITS and side not in SPLIT_WORDS:
        raise ValueError(f"split must be 0 to 3 or a word such as train, got {side}")
    start, end = (read_number(values[name], delimiter) if values[name] else None for name in ("start", "end"))
    is_part = name not in files
    paths = files.get(name) or files.get(values["file"], [])
    if is_part and end is None:
        paths = []  # a whole video is not a segment of it
    video, sound = choose_files(paths)
    if video is None and sound is None:
        return name, None
    details = {"video": values["file"], "text": values["text"], "language": "en"}
    return name, Clip(
        clip_id=f"mosei:{name}",
        emotion=emotion,
        video_path=str(video) if video else None,
        audio_path=str(sound or video),
        split=SPLITS.get(side, SPLIT_WORDS.get(side)),
        start_seconds=start if is_part else None,
        end_seconds=end if is_part else None,
        details={kind: value for kind, value in details.items() if value},
    )


def _strongest(intensities: dict[str, float]) -> str:
    most = max(intensities.values())
    if most <= 0:
        return "neutral"
    strongest = [emotion for emotion, value in intensities.items() if value == most]
    return strongest[0] if len(strongest) == 1 else UNDECIDED


def _cell(row: Row, column: int | None) -> str:
    return "" if column is None else row.fields[column].strip()
