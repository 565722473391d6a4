"""Many files with one model: found, judged one after the other, counted, and taken up again after a stop."""

import csv
import glob
import io
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.errors import ConfigError, EmotionError, MediaError
from emotion.files import write_whole
from emotion.outputs.plan import MARK
from emotion.results import MediaPrediction, in_percent

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp",
    ".ogv", ".vob", ".mxf",
)  # fmt: skip
SOUND_SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".amr")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
MEDIA_SUFFIXES = frozenset(VIDEO_SUFFIXES + SOUND_SUFFIXES + STILL_SUFFIXES)
SUMMARY_FILE = "summary.csv"
SETTINGS_FILE = "summary_settings.json"
COLUMNS = ("file", "name", "status", "emotion", "confidence", "evidence", "faces", "duration_s", "outputs", "message")
DONE, FAILED, BEGUN = "done", "failed", "begun"
MAX_FAILURES_SHOWN = 20


@dataclass(frozen=True)
class Source:
    """A file to be judged, and what the names of its outputs begin with, folders included."""

    path: Path
    name: str


def find_sources(places: Sequence[str]) -> list[Source] | None:
    """Finds the media files that a user means.

    Args:
        places: files, folders (searched with all that is in them) and patterns such as ``clips/*.mp4``.

    Returns:
        The files in order, each once; None if a single file is meant, which need not exist.

    Raises:
        MediaError: if a folder or pattern holds no media file, or may not be looked into.
    """
    try:
        return _find_sources(places)
    except OSError as error:
        where = error.filename or places[0]
        raise MediaError(
            f"{where}: cannot be read ({error.strerror}). Check the permissions of its folders."
        ) from error


def _find_sources(places: Sequence[str]) -> list[Source] | None:
    if len(places) == 1 and not Path(places[0]).is_dir() and (Path(places[0]).exists() or not _is_pattern(places[0])):
        return None
    found: dict[Path, Path] = {}  # and what their names are to be relative to
    for place in places:
        path = Path(place)
        if path.is_dir():
            os.listdir(path)  # searching a folder that is closed to us finds nothing and says nothing
            inside = [(item, path) for item in sorted(path.rglob("*")) if _is_media(item)]
        elif path.exists() or not _is_pattern(place):
            inside = [(path, path.parent)]
        else:
            matches = (Path(item) for item in sorted(glob.glob(place, recursive=True)))
            inside = [(item, item.parent) for item in matches if _is_media(item)]
        if not inside:
            endings = ", ".join(sorted(MEDIA_SUFFIXES))
            raise MediaError(f"{place}: no media file found there. Known endings: {endings}.")
        for item, root in inside:
            found.setdefault(item, root)
    return _name_sources(found)


def _is_pattern(place: str) -> bool:
    return glob.has_magic(place)


def _is_media(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return path.suffix.lower() in MEDIA_SUFFIXES and path.is_file() and not is_hidden and not _is_ours(path)


def _is_ours(path: Path) -> bool:
    """Whether a file was made by this program from another one beside it."""
    for ending in (f"{MARK}_plot", MARK):
        if path.stem.endswith(ending):
            base = path.stem.removesuffix(ending)
            beside = (path.with_name(base + suffix) for suffix in MEDIA_SUFFIXES)
            return any(other.exists() for other in (*beside, path.with_name(base)))
    return False


def _name_sources(found: dict[Path, Path]) -> list[Source]:
    """Names outputs by their files without the ending, or with it where two would be named alike."""
    plain = {path: str(path.relative_to(root).with_suffix("")) for path, root in found.items()}
    counts = Counter(name.casefold() for name in plain.values())
    sources, taken = [], set()
    for path, root in found.items():
        name = plain[path]
        if counts[name.casefold()] > 1:
            name = str(path.relative_to(root))
        number = 2
        while name.casefold() in taken:
            name, number = f"{path.relative_to(root)} {number}", number + 1
        taken.add(name.casefold())
        sources.append(Source(path, name))
    return sources


def check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Makes sure that a folder can take the results of several files, and that it is said what becomes of those there.

    Raises:
        ConfigError: if it is a file, or holds results and is neither to be gone on with nor to be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file. Name a folder with --output_dir.")
    there = [name for name in (SUMMARY_FILE, SETTINGS_FILE) if (folder / name).exists()]
    if there and not resume and not overwrite:
        raise ConfigError(
            f"{folder}: holds results already. Go on with them by --resume, replace them with --overwrite, or name "
            "another folder with --output_dir."
        )


class Batch:
    """A folder of results that knows which files are done.

    Args:
        folder: of the results; made if it is not there.
        settings: the model and everything that results depend on.
        resume: whether to go on with what is there, made with the same settings.
        overwrite: whether to begin anew over what is there.

    Raises:
        ConfigError: if there are results already and it is not said what to do with them, or they were made with other
            settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], *, resume: bool = False, overwrite: bool = False):
        self.folder = folder
        self._summary = folder / SUMMARY_FILE
        check_folder(folder, resume=resume, overwrite=overwrite)
        self.rows: dict[str, dict[str, str]] = {}
        if self._summary.exists() and resume:
            self._check_settings(settings)
            self.rows = self._read()
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / SETTINGS_FILE, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        self._write()

    def claim(self, source: Source) -> Source:
        """Returns the source under a name that no other file's results have."""
        row = self.rows.get(_key(source))
        if row is not None:
            return Source(source.path, row["name"])
        taken = {row["name"].casefold() for row in self.rows.values()}
        name, number = source.name, 2
        while name.casefold() in taken:
            name, number = f"{source.name} {number}", number + 1
        return Source(source.path, name)

    def is_done(self, source: Source) -> bool:
        """Whether a file was judged before and all that was written of it is still there."""
        row = self.rows.get(_key(source))
        return row is not None and row["status"] == DONE and all(path.exists() for path in self.outputs(source))

    def outputs(self, source: Source) -> list[Path]:
        """What was, or was to be, written of a file before: all that may be replaced."""
        row = self.rows.get(_key(source))
        return [] if row is None else [self.folder / name for name in row["outputs"].split("|") if name]

    def note_begun(self, source: Source, outputs: Iterable[Path]) -> None:
        self._note(source, status=BEGUN, outputs=self._names(outputs))

    def note_done(self, source: Source, prediction: MediaPrediction, outputs: Iterable[Path]) -> None:
        answer = prediction.overall
        self._note(
            source,
            status=DONE,
            emotion=answer.emotion or "",
            confidence="" if answer.emotion is None else f"{answer.confidence:.4f}",
            evidence=answer.evidence,
            faces=str(len(prediction.tracks)),
            duration_s=f"{prediction.duration_seconds:.3f}",
            outputs=self._names(outputs),
            message="; ".join(prediction.notes),
        )

    def note_failed(self, source: Source, error: Exception) -> None:
        outputs = self._names(path for path in self.outputs(source) if path.exists())
        self._note(source, status=FAILED, message=str(error), outputs=outputs)

    def _names(self, outputs: Iterable[Path]) -> str:
        return "|".join(str(path.relative_to(self.folder)) for path in outputs)

    def _note(self, source: Source, **values: str) -> None:
        named = {"file": str(source.path.resolve()), "name": source.name}
        self.rows[_key(source)] = {**dict.fromkeys(COLUMNS, ""), **named, **values}
        self._write()

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            with open(self._summary, newline="", encoding="utf-8") as file:
                return {row["file"]: {name: row[name] or "" for name in COLUMNS} for row in csv.DictReader(file)}
        except (OSError, KeyError, csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self._summary}: not a summary of ours ({error}). Begin anew with --overwrite."
            ) from error

    def _check_settings(self, settings: dict[str, Any]) -> None:
        path = self.folder / SETTINGS_FILE
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if before != json.loads(json.dumps(settings)):
            raise ConfigError(
                f"{self.folder}: its results were made with another model or other settings ({SETTINGS_FILE} there "
                "lists them). Use the same, or name another --output_dir, or begin anew with --overwrite."
            )

    def _write(self) -> None:
        lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *self.rows.values()]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writerows(lines)
        write_whole(self._summary, text.getvalue())


def _key(source: Source) -> str:
    return str(source.path.resolve())


class _StopSignal:
    """Remembers Ctrl-C, since in the midst of a decoder's or a network's own code Python may drop the interrupt."""

    def __init__(self):
        self._came = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)

    def check(self) -> None:
        """Raises ``KeyboardInterrupt`` if the user wanted to stop and nothing did."""
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number, frame) -> None:
        self._came = True
        raise KeyboardInterrupt


def run_batch(
    sources: list[Source],
    batch: Batch,
    process: Callable[[Source], tuple[MediaPrediction, list[Path]]],
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Judges files one after the other; one that cannot be judged is reported, and the rest go on.

    Args:
        sources: the files.
        batch: where results and their summary go.
        process: judges one file and returns the result and the files written.
        say: told of each file as it is done.
        warn: told of each file that cannot be judged.

    Returns:
        How many files failed.
    """
    n_skipped = n_failed = 0
    stop = _StopSignal()
    for number, source in enumerate(sources, start=1):
        stop.check()
        if batch.is_done(source):
            n_skipped += 1
            continue
        named = batch.claim(source)
        try:
            prediction, outputs = process(named)
        except (EmotionError, OSError) as error:
            batch.note_failed(named, error)
            n_failed += 1
            warn(f"[{number}/{len(sources)}] failed: {error}")
            continue
        batch.note_done(named, prediction, outputs)
        answer = prediction.overall
        words = "no evidence" if answer.emotion is None else f"{answer.emotion} {in_percent(answer.confidence)}"
        say(f"[{number}/{len(sources)}] {source.path}: {words}, {answer.evidence}")
    if n_skipped:
        say(f"{n_skipped} files were done before.")
    return n_failed


def format_summary(sources: list[Source], batch: Batch) -> str:
    """Returns how many files gave which answer, and which failed and why."""
    rows = [batch.rows[_key(source)] for source in sources if _key(source) in batch.rows]
    done = [row for row in rows if row["status"] == DONE]
    failed = [row for row in rows if row["status"] == FAILED]
    lines = [f"{len(done)} of {len(sources)} files judged, {len(failed)} failed"]
    counts = Counter(row["emotion"] or "no evidence" for row in done)
    width = max((len(name) for name in counts), default=0)
    lines += [f"  {name:<{width}}  {n:>5}  {n / len(done):>4.0%}" for name, n in counts.most_common()]
    lines += [f"failed: {row['message']}" for row in failed[:MAX_FAILURES_SHOWN]]
    if len(failed) > MAX_FAILURES_SHOWN:
        lines.append(f"and {len(failed) - MAX_FAILURES_SHOWN} more")
    lines.append(f"summary: {batch.folder / SUMMARY_FILE}")
    return "\n".join(lines)
