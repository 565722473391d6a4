"""Analyses many clips with one model: one after the other, counted, and resumed after an interruption."""

import csv
import dataclasses
import io
import json
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from emotion.console import SILENT, Reporter
from emotion.csv_rows import restore, write_rows
from emotion.errors import ConfigError, EmotionError
from emotion.files import displayable, make_folder, write_whole
from emotion.inference.clip_search import ClipFile
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


def check_results_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Makes sure that a folder can take the results of a batch.

    Raises:
        ConfigError: if it is a file, or holds results and neither ``resume`` nor ``overwrite`` says what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file. Name a folder with --output_dir.")
    if resume or overwrite:
        return
    if any((folder / name).exists() for name in (SUMMARY_FILE, SETTINGS_FILE)):
        raise ConfigError(
            f"{folder}: holds results already. Continue with --resume, replace them with --overwrite, or name another "
            "--output_dir."
        )


class Batch:
    """A folder of results that knows which clips are done.

    Args:
        folder: made if it does not exist.
        settings: the model and everything else that results depend on.
        resume: continue with the results there, if they were made with the same settings.
        overwrite: start again.

    Raises:
        ConfigError: as ``check_results_folder``, or if the results were made with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], *, resume: bool = False, overwrite: bool = False):
        self.folder = folder
        self._summary = folder / SUMMARY_FILE
        check_results_folder(folder, resume=resume, overwrite=overwrite)
        self.rows: dict[str, dict[str, str]] = {}
        if self._summary.exists() and resume:
            self._check_settings(settings)
            self.rows = self._read()
        make_folder(folder)
        write_whole(folder / SETTINGS_FILE, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        self._write()

    def claim(self, clip: ClipFile) -> ClipFile:
        """Returns the clip under a name that no other clip's results have."""
        row = self.rows.get(_key(clip))
        if row is not None:
            return dataclasses.replace(clip, name=row["name"])
        taken = {row["name"].casefold() for row in self.rows.values()}
        name, number = clip.name, 2
        while name.casefold() in taken:
            name, number = f"{clip.name} {number}", number + 1
        return dataclasses.replace(clip, name=name)

    def is_done(self, clip: ClipFile) -> bool:
        """Whether a clip was analysed, has not changed since, and all its results still exist."""
        row = self.rows.get(_key(clip))
        if row is None or row["status"] != DONE or row["version"] != _version(clip):
            return False
        return all(path.exists() for path in self.outputs(clip))

    def outputs(self, clip: ClipFile) -> list[Path]:
        """Returns the files that an earlier run wrote, or meant to write, for a clip: these may be replaced."""
        row = self.rows.get(_key(clip))
        return [] if row is None else [self.folder / name for name in row["outputs"].split("|") if name]

    def note_begun(self, clip: ClipFile, outputs: Iterable[Path]) -> None:
        self._note(clip, status=BEGUN, outputs=self._names(outputs))

    def note_done(self, clip: ClipFile, prediction: MediaPrediction, outputs: Iterable[Path]) -> None:
        answer = prediction.overall
        self._note(
            clip,
            status=DONE,
            emotion=answer.emotion or "",
            confidence="" if answer.emotion is None else f"{answer.confidence:.4f}",
            evidence=answer.evidence,
            faces=str(len(prediction.tracks)),
            duration_s=f"{prediction.duration_seconds:.3f}",
            outputs=self._names(outputs),
            message="; ".join(prediction.notes),
        )

    def note_failed(self, clip: ClipFile, error: str) -> None:
        outputs = self._names(path for path in self.outputs(clip) if path.exists())
        self._note(clip, status=FAILED, message=error, outputs=outputs)

    def _names(self, outputs: Iterable[Path]) -> str:
        return "|".join(str(path.relative_to(self.folder)) for path in outputs)

    def _note(self, clip: ClipFile, **values: str) -> None:
        named = {"file": _key(clip), "name": clip.name, "version": _version(clip)}
        self.rows[_key(clip)] = {**dict.fromkeys(COLUMNS, ""), **named, **values}
        self._write()

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            with open(self._summary, newline="", encoding="utf-8") as file:
                rows = [
                    {name: restore(row.get(name) or "") for name in COLUMNS} | {"file": restore(row["file"])}
                    for row in csv.DictReader(file)
                ]
                return {row["file"]: row for row in rows}
        except (OSError, KeyError, csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self._summary}: is not a summary of this program ({error}). Start again with --overwrite."
            ) from error

    def _check_settings(self, settings: dict[str, Any]) -> None:
        path = self.folder / SETTINGS_FILE
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if before != json.loads(json.dumps(settings)):
            raise ConfigError(
                f"{self.folder}: holds results of another model or other settings (listed in its {SETTINGS_FILE}). Use "
                "the same, name another --output_dir, or start again with --overwrite."
            )

    def _write(self) -> None:
        text = io.StringIO()
        write_rows(text, [COLUMNS, *([row[name] for name in COLUMNS] for row in self.rows.values())])
        write_whole(self._summary, text.getvalue())


def _key(clip: ClipFile) -> str:
    return dataclasses.replace(clip, path=clip.path.resolve()).label


def _version(clip: ClipFile) -> str:
    """What changes when a file does: its size, and when it was last written."""
    try:
        found = clip.path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


class _StopSignal:
    """Remembers Ctrl-C: Python may drop the interrupt inside the code of a decoder or a network."""

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
        """Raises ``KeyboardInterrupt`` if Ctrl-C was pressed and nothing stopped."""
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number, frame) -> None:
        self._came = True
        raise KeyboardInterrupt


def run_batch(
    clips: list[ClipFile],
    batch: Batch,
    process: Callable[[ClipFile], tuple[MediaPrediction, list[Path]]],
    *,
    reporter: Reporter = SILENT,
) -> int:
    """Analyses clips one after the other; a bad one is reported, and the rest go on.

    Args:
        process: analyses one clip; returns the result and the files written.

    Returns:
        How many clips failed.
    """
    n_skipped = n_failed = 0
    with _StopSignal() as stop:
        for number, clip in enumerate(clips, start=1):
            stop.check()
            if batch.is_done(clip):
                n_skipped += 1
                continue
            named = batch.claim(clip)
            try:
                prediction, outputs = process(named)
            except Exception as error:
                # Even a fault of this program must not cost the other clips.
                words = _words(clip, error)
                batch.note_failed(named, words)
                n_failed += 1
                reporter.warn(f"[{number}/{len(clips)}] failed: {words}")
                continue
            batch.note_done(named, prediction, outputs)
            answer = prediction.overall
            words = "no evidence" if answer.emotion is None else f"{answer.emotion} {in_percent(answer.confidence)}"
            reporter.say(f"[{number}/{len(clips)}] {clip.label}: {words}, {answer.evidence}")
    if n_skipped:
        reporter.say(f"done before, skipped: {n_skipped}")
    return n_failed


def _words(clip: ClipFile, error: Exception) -> str:
    if isinstance(error, EmotionError):
        return str(error)
    if isinstance(error, OSError):
        return f"{displayable(clip.path)}: its results cannot be written ({error.strerror}). Give it a shorter name."
    logger.debug("%s", clip.path, exc_info=error)
    return f"{displayable(clip.path)}: a bug in this program ({type(error).__name__}: {error}). Please report it."


def format_summary(clips: list[ClipFile], batch: Batch) -> str:
    """Returns how many clips got which answer, and which failed and why."""
    rows = [batch.rows[_key(clip)] for clip in clips if _key(clip) in batch.rows]
    done = [row for row in rows if row["status"] == DONE]
    failed = [row for row in rows if row["status"] == FAILED]
    lines = [f"{len(done)} of {len(clips)} clips analysed, {len(failed)} failed"]
    counts = Counter(row["emotion"] or "no evidence" for row in done)
    width = max((len(name) for name in counts), default=0)
    lines += [f"  {name:<{width}}  {n:>5}  {n / len(done):>4.0%}" for name, n in counts.most_common()]
    lines += [f"failed: {row['message']}" for row in failed[:MAX_FAILURES_SHOWN]]
    if len(failed) > MAX_FAILURES_SHOWN:
        lines.append(f"and {len(failed) - MAX_FAILURES_SHOWN} more")
    lines.append(f"summary: {batch.folder / SUMMARY_FILE}")
    return "\n".join(lines)
