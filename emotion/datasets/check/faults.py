"""Lists the faults of a data set: each kind of fault, the files that have it, and the way to mend it."""

import difflib
import os
import re
import shlex
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.console import SILENT, Reporter, counted
from emotion.datasets import DATASETS
from emotion.datasets.check.copies import find_same_recordings
from emotion.datasets.check.survey import Survey
from emotion.datasets.paths import walk_dataset
from emotion.labels import EIGHT_EMOTIONS, SYNONYMS
from emotion.media.kinds import kind_of
from emotion.media.suffixes import kind_by_name

if TYPE_CHECKING:
    from emotion.datasets.check.memory import ExaminationMemory


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Attributes:
        key: its name in the JSON report.
        items: the files or clips that have it, one line each.
        fix: a command or a step that mends it.
    """

    key: str
    title: str
    items: tuple[str, ...]
    fix: str


def find_faults(
    survey: Survey, *, memory: "ExaminationMemory | None" = None, reporter: Reporter = SILENT
) -> list[Finding]:
    """Returns the faults of a data set, the gravest first; ``memory`` holds earlier comparisons of sounds."""
    found = [*_file_faults(survey), *_clip_faults(survey)]
    found += [_song_beside_speech(survey), _same_recordings(survey, memory, reporter), _used_twice(survey)]
    found += [_strange_labels(survey), _missing_classes(survey), _unknown_speakers(survey)]
    found += [_missing_rows(survey), *_strays(survey)]
    return [finding for finding in found if finding.items]


# ---- Files ----


def _file_faults(survey: Survey) -> list[Finding]:
    items = defaultdict(list)
    for path, examination in survey.examinations.items():
        fault = examination.fault or ("damaged" if examination.is_damaged else None)
        words = f": {examination.words}" if fault in ("broken", "damaged") else ""
        items[fault].append(f"{survey.show(path)}{words}")
    kinds = {
        "pointer": ("Git LFS pointers in place of media", f"git -C {shlex.quote(str(survey.folder))} lfs pull"),
        "missing": ("Files that the labels name are not there", "Download them, or mend their paths in the table."),
        "empty": ("Empty files", "Copy or download them again."),
        "broken": ("Broken files: nothing in them can be decoded",
                   f"Copy or download them again, or leave them out: {_clean_command(survey)}"),
        "damaged": ("Damaged or cut off: readable, but not all of it",
                    "Copy or download them again. Training takes what can be decoded."),
    }  # fmt: skip
    return [Finding(fault, title, tuple(items[fault]), fix) for fault, (title, fix) in kinds.items()]


def _clean_command(survey: Survey) -> str:
    return f"python -m emotion.datasets clean {shlex.quote(str(survey.root))} --output FOLDER"


# ---- Clips ----


def _clip_faults(survey: Survey) -> list[Finding]:
    items = defaultdict(list)
    for clip in survey.clips:
        video, audio = survey.examine(clip.video_path), survey.examine(clip.audio_path)
        if audio and audio.fault is None:
            if not audio.has_audio:
                items["no_sound"].append(survey.show(clip.audio_path))
            elif not audio.is_audible:
                items["silent"].append(survey.show(clip.audio_path))
        if video and video.fault is None:
            if not video.has_video:
                items["no_picture"].append(survey.show(clip.video_path))
            elif not video.shows_face:
                items["no_face"].append(survey.show(clip.video_path))
        if survey.has_odd_length(clip):
            items["odd_length"].append(f"{survey.show(clip.paths[0])}: {survey.clip_seconds(clip):.2f} s")
    leave_out = _clean_command(survey)
    kinds = {
        "no_sound": ("No sound stream where sound is expected",
                     "Download them again, or put the sound beside them as a file. They train the face branch only."),
        "silent": ("Silent: no more than the noise of a room",
                   "Listen to one. Download them again, or leave them out: " + leave_out),
        "no_picture": ("No picture where one is expected", "Download them again. They train the voice branch only."),
        "no_face": ("No face in the picture", "Look at one: is it turned on its side? Leave them out: " + leave_out),
        "odd_length": (f"Absurd length: below {survey.min_seconds:g} or above {survey.max_seconds:g} seconds",
                       "Cut the long ones. Leave the others out: " + leave_out),
    }  # fmt: skip
    return [Finding(key, title, tuple(dict.fromkeys(items[key])), fix) for key, (title, fix) in kinds.items()]


def _song_beside_speech(survey: Survey) -> Finding:
    channels = Counter(clip.details.get("vocal_channel") for clip in survey.clips)
    sung = [survey.show(clip.paths[0]) for clip in survey.clips if clip.details.get("vocal_channel") == "song"]
    return Finding(
        "song_beside_speech",
        "Song beside speech: training reads the speech alone unless told otherwise",
        tuple(sung) if survey.name == "ravdess" and channels["speech"] else (),
        'For both, load(root, vocal_channels=("speech", "song")). For speech alone there is nothing to do.',
    )


def _same_recordings(survey: Survey, memory, reporter: Reporter) -> Finding:
    owners, first_owner = defaultdict(set), {}
    for clip in survey.clips:
        for path in clip.paths:
            owners[path].add(clip.clip_id)
            first_owner.setdefault(path, clip)
    frozen = {path: frozenset(ids) for path, ids in owners.items()}
    items = []
    for same in find_same_recordings(survey.examinations, frozen, memory=memory, reporter=reporter):
        line = " = ".join(survey.show(path) for path in same.paths) + f" ({', '.join(same.how)})"
        clips = [first_owner[path] for path in same.paths]
        emotions = list(dict.fromkeys(clip.emotion for clip in clips))
        sides = list(dict.fromkeys(clip.split for clip in clips if clip.split))
        line += f", labelled {' and '.join(emotions)}" if len(emotions) > 1 else ""
        line += f", on the sides {' and '.join(sides)}" if len(sides) > 1 else ""
        items.append(line)
    return Finding(
        "same_recording",
        "The same recording in different clips",
        tuple(items),
        "Keep one file of each group and delete the others; listen first where the labels differ.",
    )


def _used_twice(survey: Survey) -> Finding:
    by_stretch = defaultdict(list)
    for clip in survey.clips:
        by_stretch[clip.paths, clip.start_seconds, clip.end_seconds].append(clip)
    items = tuple(
        f"{survey.show(clips[0].paths[0])}: {', '.join(f'{clip.clip_id} ({clip.emotion})' for clip in clips)}"
        for clips in by_stretch.values()
        if len(clips) > 1
    )
    return Finding("used_twice", "One stretch of a file in several rows", items, "Keep one of the rows.")


def _strange_labels(survey: Survey) -> Finding:
    counts = Counter(clip.emotion for clip in survey.clips if clip.emotion not in EIGHT_EMOTIONS)
    known = (*EIGHT_EMOTIONS, *SYNONYMS)
    items = []
    for word, count in sorted(counts.items()):
        near = difflib.get_close_matches(word, known, n=1)
        guess = f", perhaps {SYNONYMS.get(near[0], near[0])}?" if near else ""
        items.append(f"{word} ({counted(count, 'clip')}){guess}")
    return Finding(
        "strange_labels",
        "Labels that no model here has a class for",
        tuple(items),
        "Mend the misspelt ones in the labels. Clips of other emotions are left out of training unless --labels names "
        "them, or is auto.",
    )


def _missing_classes(survey: Survey) -> Finding:
    classes = [name for name in EIGHT_EMOTIONS if any(clip.emotion == name for clip in survey.clips)]
    by_speaker = defaultdict(set)
    for clip in survey.clips:
        if clip.speaker is not None:
            by_speaker[clip.speaker].add(clip.emotion)
    items = []
    for speaker, emotions in sorted(by_speaker.items()):
        if missing := [name for name in classes if name not in emotions]:
            items.append(f"{speaker}: no {', no '.join(missing)}")
    return Finding(
        "missing_classes",
        "Speakers without a clip of some emotion that others have",
        tuple(items),
        "Add the missing files if there are any. If not: check that the test side still holds every class.",
    )


def _unknown_speakers(survey: Survey) -> Finding:
    items = tuple(survey.show(clip.paths[0]) for clip in survey.clips if clip.speaker is None)
    return Finding(
        "unknown_speakers",
        "Clips that have no known speaker",
        items,
        "Name the speakers in a manifest. Without them no split can keep a person on one side.",
    )


def _missing_rows(survey: Survey) -> Finding:
    return Finding(
        "rows_without_clip",
        "Rows of the label files without a clip",
        tuple(f"{row.clip_id}: {survey.show(row.path)}" for row in survey.missing_rows),
        "Unpack all archives of the data set. Some clips are missing from the archives themselves: leave those.",
    )


# ---- Files that no clip uses ----

PACKED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
# Adapters take one file of a recording and skip its other forms. The group is the part of the name they share.
RECORDING_IN_NAME = {"ravdess": re.compile(r"[0-9]{2}-((?:[0-9]{2}-){5}[0-9]{2})")}

# Well named, and left out on purpose.
LEFT_OUT = {
    "emodb": re.compile(r"[0-9]{2}[ab][0-9]{2}L[a-z]"),
    # Sentences lie beside the dialogs they were cut from, and segments beside whole videos.
    "iemocap": re.compile(r"Ses0[1-5][FM]_.*"),
    "mosei": re.compile(r".*"),
}


def _strays(survey: Survey) -> list[Finding]:
    """Looks for files below the data set's folder that no clip uses.

    A manifest says itself which files it means, so nothing is a stray beside it. Other forms of a clip's recording,
    such as its MP3 beside its WAV, are none either.
    """
    if survey.name == "manifest" or not survey.root.is_dir():
        return []
    used = {os.path.abspath(path): path for clip in survey.clips for path in clip.paths}
    used_by_name = {os.path.basename(path): path for path in sorted(used.values(), reverse=True)}
    used_stems = {Path(path).stem for path in used}
    recordings = {clip.clip_id.split(":", 1)[-1] for clip in survey.clips}
    pattern = RECORDING_IN_NAME.get(survey.name)
    left_out = LEFT_OUT.get(survey.name)
    names, packed, unused, copies = set(), [], [], []
    for path in walk_dataset(survey.root):
        names.add(path.name)
        if path.name.lower().endswith(PACKED_SUFFIXES):
            packed.append(path)
        if kind_of(path) is None or os.path.abspath(path) in used:
            continue
        if left_out and left_out.fullmatch(path.stem):
            continue
        twin = used_by_name.get(path.name)
        match = pattern.fullmatch(path.stem) if pattern else None
        if twin and _size(twin) == _size(path):
            copies.append(f"{survey.show(path)} = {survey.show(twin)}")
        elif not (match and match[1] in recordings) and (path.stem not in used_stems or twin):
            unused.append(survey.show(path))
    archives = [line for path in packed if (line := _describe_packed(path, survey.show(path), names))]
    example = getattr(DATASETS.get(survey.name), "EXAMPLE", None)
    name = f" ({example})" if example else ""
    kinds = {
        "unused_files": ("Picture or sound files that no clip uses", unused,
                         f"Rename them as the data set names its files{name}, or move them elsewhere."),
        "second_copies": ("A second copy: files of the same name and size in another folder", copies,
                          "Delete one of the copies. The first in the order of the names is used."),
        "archives": ("Archives that are not unpacked", archives,
                     f"Unpack them inside {survey.folder}, then delete or move them."),
    }  # fmt: skip
    return [Finding(key, title, tuple(items), fix) for key, (title, items, fix) in kinds.items()]


def _size(path: str | os.PathLike) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _describe_packed(path: Path, shown: str, names: set[str]) -> str | None:
    """Returns the report's line on an archive; None for a ZIP file whose media all lie unpacked in the folder."""
    if path.suffix.lower() != ".zip":
        return f"{shown} (if it is unpacked, move it elsewhere)"
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [Path(name).name for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        return f"{shown}: cannot be read ({error}); download it again"
    media = [name for name in inside if kind_by_name(name) and not name.startswith(".")]
    packed = sum(name not in names for name in media)
    return f"{shown}: {packed} of its {len(media)} files are not here" if packed else None
