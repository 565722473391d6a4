"""CREMA-D: 91 actors say twelve sentences in six emotions (Cao et al. 2014, IEEE Trans. Affective Computing 5(4)).

A file name such as ``1001_DFA_ANG_XX.wav`` says everything: speaker, sentence, emotion, intensity. The sound
(``AudioWAV/``) and the picture (``VideoFlash/``) of a recording share their name and become one clip; without a sound
file, the sound is expected inside the video. Folder names do not matter.

If there is a table called ``cremad_paths.csv``, it selects the clips: a row for each, with any of the columns
``audio_path``, ``video_path``, ``path`` and ``video_frame_dir``, and ``emotion`` as code or word.

The tables in ``processedResults/`` say what people heard and saw in the clips; see ``cremad_votes``.
"""

import dataclasses
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from emotion.datasets.clips import TEST, TRAIN, VALIDATION, Clip
from emotion.datasets.cremad_votes import RATERS, VOTE_TABLES, Ratings, read_ratings
from emotion.datasets.paths import (
    SEX_WORDS,
    Table,
    check_dataset_folder,
    check_rows,
    is_table,
    read_columns,
    read_table,
    walk_dataset,
    warn_left_out,
)
from emotion.errors import ConfigError, DatasetError
from emotion.labels import CREMAD_EMOTIONS, UNDECIDED, read_emotion
from emotion.media.kinds import is_recording, kind_of
from emotion.media.suffixes import sound_rank

NAME = "CREMA-D"
LICENCE = "ODbL 1.0"
EXAMPLE = "1001_DFA_ANG_XX.wav"
LAYOUT = "files named 1001_DFA_ANG_XX.wav, at any depth, or a table cremad_paths.csv"
HOW_TO_GET_IT = (
    "CREMA-D is at https://github.com/CheyneyComputerScience/CREMA-D; its media are kept with Git LFS. Take AudioWAV/, "
    "VideoFlash/ and VideoDemographics.csv, or let this do it: python -m emotion.datasets download cremad."
)
# Share of single raters' answers that name the emotion the actor was given (Cao et al. 2014).
HUMAN_ACCURACY = {"audio": 0.409, "video": 0.582, "both": 0.636}

LABELS = ("intended", "perceived")

DEMOGRAPHICS = "videodemographics.csv"
PATHS_TABLE = "cremad_paths.csv"
PATH_COLUMNS = ("audio_path", "video_path", "path", "video_frame_dir")

SENTENCES = {
    "IEO": "It's eleven o'clock", "TIE": "That is exactly what happened", "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about", "TAI": "The airplane is almost full", "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock", "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket", "ITS": "I think I've seen this before", "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}  # fmt: skip
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}

# CREMA-D's authors made no split. This one is TensorFlow Datasets' (crema_d 1.0.0): 70, 10 and 20 % of the speakers,
# as numpy.random.RandomState(0).shuffle orders their numbers.
SPLIT_SPEAKERS = {
    TRAIN: (
        1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1014, 1016, 1017, 1018, 1019, 1023, 1024,
        1025, 1027, 1028, 1029, 1031, 1032, 1033, 1034, 1035, 1036, 1039, 1041, 1042, 1043, 1044, 1046, 1049, 1051,
        1052, 1053, 1054, 1055, 1056, 1057, 1058, 1060, 1061, 1062, 1063, 1064, 1067, 1069, 1072, 1074, 1075, 1076,
        1077, 1078, 1080, 1081, 1082, 1083, 1085, 1087, 1091,
    ),
    VALIDATION: (1015, 1020, 1021, 1030, 1050, 1070, 1079, 1089, 1090),
    TEST: (
        1010, 1013, 1022, 1026, 1037, 1038, 1040, 1045, 1047, 1048, 1059, 1065, 1066, 1068, 1071, 1073, 1084, 1086,
        1088,
    ),
}  # fmt: skip
SPLIT_OF = {str(speaker): side for side, speakers in SPLIT_SPEAKERS.items() for speaker in speakers}

_NAME = re.compile(
    rf"({'|'.join(sorted(SPLIT_OF))})_({'|'.join(SENTENCES)})_({'|'.join(CREMAD_EMOTIONS)})_({'|'.join(INTENSITIES)})"
)
logger = logging.getLogger(__name__)


@dataclass
class _Found:
    """What lies below a folder: recordings by name, tables, and media of other names."""

    videos: dict[str, list[Path]] = field(default_factory=dict)
    sounds: dict[str, list[Path]] = field(default_factory=dict)
    demographics: Path | None = None
    paths_table: Path | None = None
    vote_tables: dict[str, Path] = field(default_factory=dict)
    misnamed: list[str] = field(default_factory=list)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether a folder holds a file named like CREMA-D, or a CSV file lists such files in CREMA-D's columns."""
    if is_table(root):
        columns = set(read_columns(root))
        if not columns & set(PATH_COLUMNS) or ("path" in columns and "video_frame_dir" not in columns):
            return Path(root).name.lower() == PATHS_TABLE
        table = read_table(root)
        return bool(table.rows) and any(_NAME.fullmatch(_name_in(cell)) for cell in table.rows[0].fields)
    return any(_NAME.fullmatch(path.stem.upper()) and is_recording(path) for path in walk_dataset(root, warn=False))


def load(root: str | os.PathLike, *, labels: str = "intended", raters: str | None = None) -> list[Clip]:
    """Finds the CREMA-D recordings anywhere below a folder, or those that a table of paths lists.

    A warning counts picture and sound files of other names. If a file is not where a table says, one of the clip's
    name is taken. ``split`` is the one published with TensorFlow Datasets. Votes go to the clips' details.

    Args:
        root: the folder, in which a table ``cremad_paths.csv`` is used, or a table.
        labels: ``intended``, the emotion that the actor was to show; or ``perceived``, the one that most raters named.
            Where several were named as often, it is ``undecided``.
        raters: whose answers to take: those who heard the ``voice``, saw the ``face`` or had ``both``; None for
            ``both``, or ``voice`` for clips of sound alone.

    Returns:
        One clip for each recording, sorted by ``clip_id``.

    Raises:
        ConfigError: for other labels or raters.
        DatasetError: if there is no such folder or no such recording in it, rows of the table cannot be true, or what
            raters perceived is asked for and their answers are not there.
    """
    if labels not in LABELS or raters not in (None, *RATERS):
        raise ConfigError(
            f"labels must be one of {', '.join(LABELS)}, and raters one of {', '.join(RATERS)}, got {labels!r} and "
            f"{raters!r}."
        )
    is_csv = is_table(root)
    folder = Path(root).parent if is_csv else check_dataset_folder(root, HOW_TO_GET_IT)
    found = _find(folder)
    people = _read_demographics(found.demographics)
    table_path = Path(root) if is_csv else found.paths_table
    if table_path:
        files, missing = _select(table_path, found)
        warn_left_out(table_path, missing, "rows whose files are not there")
    else:
        warn_left_out(root, found.misnamed, "picture or sound files that are not named like CREMA-D (1001_DFA_ANG_XX)")
        names = sorted(found.videos.keys() | found.sounds.keys())
        files = {name: (_best_video(name, found), _best_sound(name, found)) for name in names}
    if not files:
        raise DatasetError(f"{root} holds no CREMA-D recordings. {HOW_TO_GET_IT}")
    ratings = read_ratings(found.vote_tables)
    clips = [_with_ratings(_build_clip(name, *files[name], people), ratings, labels, raters) for name in sorted(files)]
    if labels == "perceived" and not ratings.labels:
        raise DatasetError(
            f"{root} has no table processedResults/summaryTable.csv or tabulatedVotes.csv, which say what raters "
            f"perceived. {HOW_TO_GET_IT}"
        )
    return clips


def _find(folder: Path) -> _Found:
    found = _Found()
    for path in walk_dataset(folder):
        name = path.stem.upper()
        if path.name.lower() == DEMOGRAPHICS:
            found.demographics = found.demographics or path
        elif path.name.lower() == PATHS_TABLE:
            found.paths_table = found.paths_table or path
        elif path.name.lower() in VOTE_TABLES:
            found.vote_tables.setdefault(path.name.lower(), path)
        elif is_recording(path):
            if _NAME.fullmatch(name):
                files = found.videos if kind_of(path) == "video" else found.sounds
                files.setdefault(name, []).append(path)
            else:
                found.misnamed.append(path.name)
    return found


def _best_video(name: str, found: _Found) -> Path | None:
    return next(iter(found.videos.get(name, ())), None)


def _best_sound(name: str, found: _Found) -> Path | None:
    # The data set holds its sounds twice, as WAV and as MP3.
    return min(found.sounds.get(name, ()), key=sound_rank, default=None)


def _build_clip(name: str, video: Path | None, sound: Path | None, people: dict[str, tuple]) -> Clip:
    speaker, sentence, emotion, intensity = _NAME.fullmatch(name).groups()
    sex, age = people.get(speaker, (None, None))
    details = {"sentence": SENTENCES[sentence], "intensity": INTENSITIES[intensity]}
    return Clip(
        clip_id=f"cremad:{name}",
        emotion=CREMAD_EMOTIONS[emotion],
        speaker=f"cremad:{speaker}",
        video_path=str(video) if video else None,
        audio_path=str(sound or video),
        sex=sex,
        split=SPLIT_OF[speaker],
        details={**details, "age": age} if age else details,
    )


def _with_ratings(clip: Clip, ratings: Ratings, labels: str, raters: str | None) -> Clip:
    key = (raters or ("both" if clip.video_path else "voice"), clip.clip_id.removeprefix("cremad:"))
    details = {**clip.details, "votes": votes} if (votes := ratings.votes.get(key)) else clip.details
    emotion = ratings.labels.get(key, UNDECIDED) if labels == "perceived" else clip.emotion
    if labels == "perceived":
        details = {**details, "intended": clip.emotion}
    return dataclasses.replace(clip, emotion=emotion, details=details)


def _read_demographics(path: Path | None) -> dict[str, tuple[str | None, str | None]]:
    """Returns sex and age by speaker; none, with a warning, if the table cannot be read."""
    if path is None:
        return {}
    try:
        table = read_table(path)
        columns = [table.find(name) for name in ("actorid", "sex", "age")]
    except DatasetError as error:
        logger.warning("Going on without the actors' sex and age: %s", error)
        return {}
    if None in columns:
        logger.warning("%s: going on without the actors' sex and age: no columns ActorID, Sex and Age.", path)
        return {}
    people = ([row.fields[column].strip() for column in columns] for row in table.rows)
    return {actor: (SEX_WORDS.get(sex.lower()), age or None) for actor, sex, age in people}


# ---- The table of paths ----


def _select(path: Path, found: _Found) -> tuple[dict[str, tuple[Path | None, Path | None]], list[str]]:
    """Returns the picture and sound file of each clip that a table lists, and the names that have neither."""
    table = read_table(path)
    columns = [column for column in map(table.find, PATH_COLUMNS) if column is not None]
    if not columns:
        raise DatasetError(f"{path}: has none of the columns {', '.join(PATH_COLUMNS)}.")
    selected, missing, faults = {}, [], []
    for row in table.rows:
        written = [cell for column in columns if (cell := row.fields[column].strip())]
        names = sorted({_name_in(cell) for cell in written})
        fault = _find_fault(table, row, names)
        if fault:
            faults.append(f"{row.where}: {fault}")
            continue
        # A clip may have a row for its picture and another one for its sound.
        selected.setdefault(names[0], []).extend(written)
    check_rows(path, faults, len(table.rows))
    files = {}
    for name, written in sorted(selected.items()):
        here = [file for cell in written for file in _as_written(cell, path.parent)]
        videos, sounds = found.videos.get(name, []), found.sounds.get(name, [])
        wanted = {PureWindowsPath(cell).name for cell in written}
        here += [file for file in (*videos, *sounds) if file.name in wanted]
        video = next((file for file in here if kind_of(file) == "video"), _best_video(name, found))
        sound = next((file for file in here if kind_of(file) == "audio"), _best_sound(name, found))
        if video or sound:
            files[name] = (video, sound)
        else:
            missing.append(name)
    return files, missing


def _find_fault(table: Table, row, names: list[str]) -> str | None:
    if row.n_fields > len(table.columns):
        return f"has {row.n_fields} fields for {len(table.columns)} columns"
    if not names:
        return "names no file"
    if len(names) > 1:
        return f"names several clips, {' and '.join(names)}"
    match = _NAME.fullmatch(names[0])
    if not match:
        return f"{names[0]} is not a CREMA-D name such as 1001_DFA_ANG_XX"
    column = table.find("emotion")
    word = row.fields[column].strip() if column is not None else ""
    if word and read_emotion(word) != CREMAD_EMOTIONS[match[3]]:
        return f"the emotion is {word}, but the name {names[0]} says {CREMAD_EMOTIONS[match[3]]}"
    return None


def _name_in(cell: str) -> str:
    """Returns the clip's name in the path of a file or a folder; Windows' paths have slashes of both kinds."""
    return PureWindowsPath(cell.strip()).stem.upper()


def _as_written(cell: str, folder: Path) -> list[Path]:
    """Returns the file that a path leads to from the table's folder, or else from the current one, if any."""
    return [path for path in (folder / cell, Path(cell)) if path.is_file()][:1]
