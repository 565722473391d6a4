"""Lists the clips of a data set that can be used, and those that cannot with the reason.

DIR/manifest.csv is a data set of its own (--dataset manifest); DIR/dropped.csv says why the other clips are not in it.
No media is copied, moved or deleted.
"""

from collections import Counter
from pathlib import Path

from emotion.console import Reporter
from emotion.csv_rows import write_rows
from emotion.datasets.check.survey import Survey, SurveyRequest, survey_dataset
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.files import make_folder, written_whole

MANIFEST, DROPPED = "manifest.csv", "dropped.csv"
DROPPED_COLUMNS = ("clip_id", "path", "reason")

MISSING, UNREADABLE = "missing", "cannot be decoded"
NO_FACE, SILENT, ODD_LENGTH, SONG = "no face", "silent", "absurd length", "song, not speech"
NO_EVIDENCE = "neither a face nor a sound"
DUPLICATE = "the same bytes as another clip"


def write_usable_clips(request: SurveyRequest, output: Path, *, keep_faceless: bool, reporter: Reporter) -> None:
    """Sorts a data set's clips into usable and not, and writes both tables into the folder ``output``.

    Raises:
        ConfigError: if there is no layout of the name given.
        DatasetError: if there is no such data set, a table is there already, or no clip can be used.
    """
    _check_output(output)
    from emotion.datasets.check.memory import ExaminationMemory
    from emotion.datasets.manifest import write_manifest

    with ExaminationMemory() as memory:
        survey = survey_dataset(request, memory, reporter)
    kept, dropped = sort_clips(survey, keep_faceless=keep_faceless)
    make_folder(output)
    if kept:
        write_manifest(kept, output / MANIFEST, output)
    _write_dropped(dropped, output / DROPPED)
    for reason, count in Counter(reason.split(":")[0] for _, _, reason in dropped).most_common():
        reporter.say(f"{count:>6} dropped: {reason}")
    if not kept:
        raise DatasetError(f"{survey.root}: none of its clips can be used; {output / DROPPED} tells why.")
    wrote = f"Wrote {output / MANIFEST} and {output / DROPPED}"
    reporter.say(f"{len(kept):>6} kept, {len(dropped)} dropped. {wrote}")


def sort_clips(survey: Survey, *, keep_faceless: bool = False) -> tuple[list[Clip], list[tuple[str, str, str]]]:
    """Returns the clips that can be used, and ``(clip_id, path, reason)`` of the others.

    A clip with a face and a silent sound is kept: it trains the face branch. A clip is dropped if one of its two files
    cannot be read: its label was given for both. Song is dropped: training and evaluation read speech alone. Of clips
    with the same bytes the first is kept. With ``keep_faceless`` a clip with sound and no face is kept.
    """
    known: dict[tuple, str] = {}
    kept, dropped = [], [(row.clip_id, survey.show(row.path), f"{MISSING}: {row.words}") for row in survey.missing_rows]
    for clip in survey.clips:
        if clip.details.get("vocal_channel") == "song":
            dropped.append((clip.clip_id, survey.show(clip.paths[0]), SONG))
            continue
        fault = find_reason(survey, clip, keep_faceless=keep_faceless)
        same_as = known.setdefault(_content(survey, clip), clip.clip_id) if fault is None else clip.clip_id
        if same_as != clip.clip_id:
            dropped.append((clip.clip_id, survey.show(clip.paths[0]), f"{DUPLICATE}: {same_as}"))
        elif fault is None:
            kept.append(clip)
        else:
            path, reason = fault
            dropped.append((clip.clip_id, survey.show(path), reason))
    return kept, dropped


def find_reason(survey: Survey, clip: Clip, *, keep_faceless: bool) -> tuple[str, str] | None:
    """Returns the file at fault and why the clip cannot be used; None if it can."""
    for path in clip.paths:
        examination = survey.examinations[path]
        if examination.fault is not None:
            return path, f"{MISSING if examination.fault == 'missing' else UNREADABLE}: {examination.words}"
    if survey.has_odd_length(clip):
        return clip.paths[0], f"{ODD_LENGTH}: {survey.clip_seconds(clip):.2f} s"
    video, audio = survey.examine(clip.video_path), survey.examine(clip.audio_path)
    has_face, has_sound = bool(video and video.shows_face), bool(audio and audio.is_audible)
    if video and not has_face and not (keep_faceless and has_sound):
        return clip.video_path, NO_FACE if has_sound or audio is None else NO_EVIDENCE
    if not has_face and not has_sound:
        return clip.paths[0], SILENT
    return None


def _content(survey: Survey, clip: Clip) -> tuple:
    """What a clip holds: the bytes of its files, and the stretch of them."""
    files = tuple(survey.examinations[path].sha256 or path for path in clip.paths)
    return files, clip.start_seconds, clip.end_seconds


def _check_output(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder}: is a file. Name a folder for the two tables.")
    for name in (MANIFEST, DROPPED):
        if (folder / name).exists():
            raise DatasetError(f"{folder / name}: is there already and is not replaced. Choose another --output.")


def _write_dropped(rows: list[tuple[str, str, str]], path: Path) -> None:
    # File names need not be UTF-8.
    with written_whole(path) as part, open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        write_rows(file, [DROPPED_COLUMNS, *rows])
