"""Reads labels from files of annotation tools: ELAN's ``.eaf``, Praat's ``.TextGrid``, and Label Studio's JSON.

Each labelled interval is a row, as a manifest has them. A label is an emotion, alone or with what this program's own
files have behind it (``emotion.outputs.annotations``).
"""

import json
import logging
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.datasets.paths import Row, Table, warn_left_out
from emotion.errors import DatasetError, first_line
from emotion.labels import EIGHT_EMOTIONS, read_emotion
from emotion.media.kinds import kind_of
from emotion.outputs.annotations import MARK, load_package, read_emotion_of
from emotion.outputs.elan import BEHIND
from emotion.outputs.label_studio import FRAME_RATE

ELAN, PRAAT, LABEL_STUDIO = ".eaf", ".textgrid", ".json"
SUFFIXES = (ELAN, PRAAT, LABEL_STUDIO)
COLUMNS = ("path", "emotion", "start_s", "end_s", "speaker", "tier")

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # how Label Studio renames what is uploaded

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Interval:
    """A labelled part of a media file.

    Attributes:
        where: in the file, for messages.
        tier: the tier's name, or whose region it is.
        start, end: in seconds.
        media: links to the file, the best first; none if the format has no links.
        speaker: None if the file does not say.
    """

    where: str
    tier: str
    start: float
    end: float
    label: str
    media: tuple[str, ...] = ()
    speaker: str | None = None


def is_annotation(path: str | os.PathLike) -> bool:
    """Whether a file is one of an annotation tool: by its extension, JSON also by what it holds."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or not path.is_file():
        return False
    return suffix != LABEL_STUDIO or _tasks_of(path) is not None


def read_annotation(path: str | os.PathLike, tier: str | None = None, root: str | os.PathLike | None = None) -> Table:
    """Reads an annotation file as the table of a manifest.

    Media are looked for where the file links them, then by that name beside it. A TextGrid links none: its media have
    its own name, or the name before ``_emotion``. A warning names labels that are none of the known emotions.

    Args:
        tier: the one to read; None if only one has labels.
        root: the folder of the media; None for the file's own.

    Raises:
        ConfigError: if the package that reads the format is not installed.
        DatasetError: if the file cannot be read, has no labels, or several tiers and none is chosen; or its media are
            not there.
    """
    path = Path(path)
    read = {ELAN: _read_elan, PRAAT: _read_praat, LABEL_STUDIO: _read_label_studio}[path.suffix.lower()]
    intervals = list(read(path))
    chosen = _choose_tier(path, intervals, tier)
    _warn_of_unknown(path, chosen)
    folder = path.parent if root is None else Path(root)
    rows, found = [], {}
    for interval in chosen:
        if interval.media not in found:
            found[interval.media] = _find_media(path, folder, interval.media)
        emotion = read_emotion_of(interval.label)
        times = (repr(interval.start), repr(interval.end))
        fields = (found[interval.media], emotion, *times, interval.speaker or "", interval.tier)
        rows.append(Row(interval.where, fields, len(fields)))
    return Table(path, COLUMNS, tuple(rows), "utf-8", "\t", "\n")


def _choose_tier(path: Path, intervals: list[Interval], tier: str | None) -> list[Interval]:
    labelled = [interval for interval in intervals if interval.label.strip()]
    warn_left_out(path, [i.where for i in intervals if not i.label.strip()], "intervals without a label")
    tiers = list(dict.fromkeys(interval.tier for interval in labelled))
    if not tiers:
        raise DatasetError(f"{path}: has no labelled intervals.")
    if tier is None and len(tiers) > 1:
        raise DatasetError(
            f"{path}: has labels in several tiers: {', '.join(tiers)}. Choose one: --dataset_option tier={tiers[0]!r}."
        )
    if tier is not None and tier not in tiers:
        raise DatasetError(f"{path}: has no labels in a tier {tier!r}. Its tiers with labels: {', '.join(tiers)}.")
    return [interval for interval in labelled if tier in (None, interval.tier)]


def _warn_of_unknown(path: Path, intervals: Iterable[Interval]) -> None:
    words = Counter(read_emotion(read_emotion_of(interval.label)) for interval in intervals)
    unknown = [f"{word} ({n})" for word, n in sorted(words.items()) if word not in EIGHT_EMOTIONS]
    if unknown:
        logger.warning("%s: labels that are none of the known emotions: %s", path, ", ".join(unknown))


# ---- Media ----


def _find_media(path: Path, folder: Path, links: tuple[str, ...]) -> str:
    """Returns the media file of an annotation file, as a path that leads there from ``folder``."""
    if not links:
        stem = path.stem.removesuffix(MARK)
        beside = sorted(file for file in folder.iterdir() if file.stem == stem and kind_of(file) in ("video", "audio"))
        # The sound is in the video, too.
        beside.sort(key=lambda file: kind_of(file) != "video")
        if not beside:
            raise DatasetError(f"{path}: there is no video or sound file called {stem} in {folder}.")
        return beside[0].name
    tried = []
    for link in links:
        way = urllib.parse.unquote(link.removeprefix("file://")) if link.startswith("file://") else link
        names = [way, Path(way.replace("\\", "/")).name]
        if match := _UPLOADED.fullmatch(names[1]):
            names.append(match[1])
        tried += [name for name in names if name]
    for name in tried:
        if (folder / name).is_file():
            return os.path.normpath(name)
    raise DatasetError(f"{path}: its media {' or '.join(dict.fromkeys(tried))} are not in {folder}.")


# ---- Formats ----


def _read_elan(path: Path) -> Iterator[Interval]:
    elan = load_package("pympi.Elan")
    try:
        document = elan.Eaf(str(path), suppress_version_warning=True)
    except Exception as error:  # of the parser: no XML, no ELAN file, a part that is missing
        raise DatasetError(f"{path}: is no readable ELAN file ({first_line(error)}).") from error
    links = [
        link
        for media in document.get_linked_files()
        for link in (media.get("RELATIVE_MEDIA_URL"), media.get("MEDIA_URL"))
        if link
    ]
    for tier in document.get_tier_names():
        told = document.get_parameters_for_tier(tier)
        if told.get("PARENT_REF") or tier.endswith(f": {BEHIND}"):
            continue  # says more of the annotations of another tier
        for number, (start, end, label, *_) in enumerate(sorted(document.get_annotation_data_for_tier(tier)), start=1):
            where = f"{tier}, annotation {number}"
            speaker = told.get("PARTICIPANT")
            yield Interval(where, tier, start / 1000, end / 1000, label or "", tuple(dict.fromkeys(links)), speaker)


def _read_praat(path: Path) -> Iterator[Interval]:
    textgrid = load_package("praatio.textgrid")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="rename")
    except Exception as error:  # of the parser, which has its own kinds beside Python's
        raise DatasetError(f"{path}: is no readable TextGrid ({first_line(error)}).") from error
    for tier in grid.tiers:
        if isinstance(tier, textgrid.IntervalTier):
            for number, entry in enumerate(tier.entries, start=1):
                where = f"{tier.name}, interval {number}"
                yield Interval(where, tier.name, float(entry.start), float(entry.end), entry.label)


def _read_label_studio(path: Path) -> Iterator[Interval]:
    tasks = _tasks_of(path)
    if tasks is None:
        raise DatasetError(f"{path}: is no list of Label Studio's tasks. Export as JSON.")
    uncorrected = []
    for number, task in enumerate(tasks, start=1):
        where = f"task {task.get('id', number)}"
        try:
            answers = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
            if not answers:
                answers = task.get("predictions") or ()
                uncorrected += [where] if answers else []
            links = tuple(link for kind in ("video", "audio") if (link := _link_of(task["data"].get(kind))))
            rate = float(task["data"].get("frame_rate") or FRAME_RATE)
            # Of several people's annotations the last one counts.
            for region in answers[-1].get("result", ()) if answers else ():
                yield from _read_region(region, where, rate, links)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise DatasetError(f"{path}: {where}: is not as Label Studio writes it ({error!r}).") from error
    if uncorrected:
        logger.warning("%s: %d tasks have predictions that nobody corrected; these are read", path, len(uncorrected))


def _read_region(region: dict[str, Any], where: str, rate: float, links: tuple[str, ...]) -> Iterator[Interval]:
    kind, value = region.get("type"), region.get("value", {})
    told = region.get("meta", {}).get("text") or [region.get("from_name", "")]
    tier = str(told[0] if isinstance(told, list) else told)
    at = f"{where}, region {region.get('id', '')}"
    if kind == "timelinelabels":
        for part in value["ranges"]:
            start, end = (int(part["start"]) - 1) / rate, int(part["end"]) / rate
            for label in value[kind]:
                yield Interval(at, tier, start, end, str(label), links)
    elif kind == "labels" and "start" in value:
        for label in value[kind]:
            yield Interval(at, tier, float(value["start"]), float(value["end"]), str(label), links)


def _link_of(address: str | None) -> str | None:
    """Returns the path in an address by which Label Studio serves a file."""
    if not address:
        return None
    parts = urllib.parse.urlsplit(address)
    named = urllib.parse.parse_qs(parts.query).get("d")
    return named[0] if named else urllib.parse.unquote(parts.path) if parts.scheme else address


def _tasks_of(path: Path) -> list[dict[str, Any]] | None:
    """Returns the tasks in a file; None if it holds something else."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    tasks = [tasks] if isinstance(tasks, dict) else tasks
    is_list = isinstance(tasks, list) and bool(tasks)
    if is_list and all(
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and any(isinstance(task.get(name), list) for name in ("annotations", "predictions"))
        for task in tasks
    ):
        return tasks
    return None
