"""Many files with one model: judged one after the other, counted, and taken up again after a stop."""

import csv
import io
import json
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from emotion.errors import ConfigError, EmotionError
from emotion.files import displayable, write_whole
from emotion.inference.clip_search import Source
from emotion.results import MediaPrediction, in_percent

logger = logging.getLogger(__name__)

SUMMARY_FILE = "summary.csv"
SETTINGS_FILE = "summary_settings.json"
COLUMNS = (
    "file", "name", "status", "emotion", "confidence", "evidence", "faces", "duration_s", "outputs", "message",
    "version",
)  # fmt: skip
DONE, FAILED, BEGUN = "done", "failed", "begun"
MAX_FAILURES_SHOWN = 20


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
        """Whether a file was judged before, as it is now, and all that was written of it is still there."""
        row = self.rows.get(_key(source))
        if row is None or row["status"] != DONE or row["version"] != _version(source):
            return False
        return all(path.exists() for path in self.outputs(source))

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

    def note_failed(self, source: Source, error: str) -> None:
        outputs = self._names(path for path in self.outputs(source) if path.exists())
        self._note(source, status=FAILED, message=error, outputs=outputs)

    def _names(self, outputs: Iterable[Path]) -> str:
        return "|".join(str(path.relative_to(self.folder)) for path in outputs)

    def _note(self, source: Source, **values: str) -> None:
        named = {"file": _key(source), "name": source.name, "version": _version(source)}
        self.rows[_key(source)] = {**dict.fromkeys(COLUMNS, ""), **named, **values}
        self._write()

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            with open(self._summary, newline="", encoding="utf-8") as file:
                return {row["file"]: {name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(file)}
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
    return displayable(source.path.resolve())


def _version(source: Source) -> str:
    """What changes when a file does: its size and when it was last written."""
    try:
        found = source.path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


class _StopSignal:
    """Remembers Ctrl-C, since in the midst of a decoder's or a network's own code Python may drop the interrupt."""

    def __init__(self):
        self._came = False
        self._before = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

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
    with _StopSignal() as stop:
        for number, source in enumerate(sources, start=1):
            stop.check()
            if batch.is_done(source):
                n_skipped += 1
                continue
            named = batch.claim(source)
            try:
                prediction, outputs = process(named)
            except Exception as error:
                # Whatever is wrong with one file, even with this program, the others are to be judged.
                words = _words(source, error)
                batch.note_failed(named, words)
                n_failed += 1
                warn(f"[{number}/{len(sources)}] failed: {words}")
                continue
            batch.note_done(named, prediction, outputs)
            answer = prediction.overall
            words = "no evidence" if answer.emotion is None else f"{answer.emotion} {in_percent(answer.confidence)}"
            say(f"[{number}/{len(sources)}] {displayable(source.path)}: {words}, {answer.evidence}")
    if n_skipped:
        say(f"files done before, and not judged again: {n_skipped}")
    return n_failed


def _words(source: Source, error: Exception) -> str:
    """What a user needs to know of what went wrong with a file."""
    if isinstance(error, EmotionError):
        return str(error)
    if isinstance(error, OSError):
        return f"{displayable(source.path)}: its results cannot be written ({error.strerror}). Give it a shorter name."
    logger.debug("%s", source.path, exc_info=error)
    return f"{displayable(source.path)}: a fault of this program ({type(error).__name__}: {error}). Please report it."


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
