"""The record of a batch: which clips are done and how, kept on disk so that an interrupted batch goes on."""

import contextlib
import csv
import dataclasses
import io
import json
import logging
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from emotion.console import SILENT, Reporter
from emotion.csv_rows import restore, write_rows
from emotion.errors import ConfigError, EmotionError
from emotion.files import displayable, locked_names, make_folder, named_errors, write_whole
from emotion.inference.clip_search import ClipFile
from emotion.inference.output_plan import OutputPlan
from emotion.media.reading import MediaInfo
from emotion.results import MediaPrediction, in_percent

logger = logging.getLogger(__name__)

SUMMARY_FILE = "summary.csv"
SETTINGS_FILE = "summary_settings.json"
SUMMARY = re.compile(r"summary(?:_\d+-of-(\d+))?\.csv")
JOURNAL_FILE = "summary_journal.jsonl"  # rows since the summary was last written whole, which takes long if it is long
WHOLE_SECONDS, WHOLE_SHARE = 1.0, 0.02  # how often that is done: of the time, at most this share goes into it
COLUMNS = (
    "file", "name", "status", "emotion", "confidence", "evidence", "faces", "duration_s", "outputs", "message",
    "version",
)  # fmt: skip
DONE, FAILED, BEGUN = "done", "failed", "begun"
MAX_FAILURES_SHOWN = 20


@dataclass(frozen=True)
class Task:
    """A clip to label, and where its results go."""

    clip: ClipFile
    info: MediaInfo
    plan: OutputPlan


@dataclass(frozen=True)
class ClipAnswer:
    """What the summary says of a clip that is done.

    Attributes:
        emotion: None without evidence.
        seconds: how long the clip plays.
        notes: about the result.
    """

    emotion: str | None
    confidence: float
    evidence: str
    n_faces: int
    seconds: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, prediction: MediaPrediction) -> "ClipAnswer":
        answer = prediction.overall
        return cls(
            answer.emotion, answer.confidence, answer.evidence, len(prediction.tracks), prediction.duration_seconds,
            tuple(prediction.notes),
        )  # fmt: skip


def check_results_folder(folder: Path, *, resume: bool, overwrite: bool, part: str = "") -> None:
    """Makes sure that a folder can take the results of a batch.

    Args:
        part: of the batch, as for ``Batch``.

    Raises:
        ConfigError: if it is a file, or holds results and neither ``resume`` nor ``overwrite`` says what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file. Name a folder with --output_dir.")
    if overwrite:
        return
    n_parts = part.partition("-of-")[2]
    others = [
        path.name for path in sorted(folder.glob("summary*.csv"))
        if (found := SUMMARY.fullmatch(path.name)) and found.group(1) != (n_parts or None)
    ]  # fmt: skip
    if others:
        raise ConfigError(
            f"{folder}: holds results of a batch that was not in the same parts ({others[0]}). Use the same --shard as "
            "then, or name another --output_dir."
        )
    if resume:
        return
    if any((folder / _of_part(name, part)).exists() for name in (SUMMARY_FILE, SETTINGS_FILE)):
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
        part: of several that write to one folder, each with a summary of its own, such as ``2-of-4``.

    Attributes:
        summary: its file.

    Raises:
        ConfigError: as ``check_results_folder``, or if the results were made with other settings.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], *, resume: bool = False, overwrite: bool = False, part: str = ""
    ):
        self.folder = folder
        self.summary, self._settings, self._journal = (
            folder / _of_part(name, part) for name in (SUMMARY_FILE, SETTINGS_FILE, JOURNAL_FILE)
        )
        check_results_folder(folder, resume=resume, overwrite=overwrite, part=part)
        self.rows: dict[str, dict[str, str]] = {}
        self._next_whole = 0.0
        if self.summary.exists() and resume:
            self._check_settings(settings)
            self.rows = self._read() | self._read_journal()
        make_folder(folder)
        write_whole(self._settings, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        self.write()

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

    def note_done(self, clip: ClipFile, answer: ClipAnswer, outputs: Iterable[Path]) -> None:
        self._note(
            clip,
            status=DONE,
            emotion=answer.emotion or "",
            confidence="" if answer.emotion is None else f"{answer.confidence:.4f}",
            evidence=answer.evidence,
            faces=str(answer.n_faces),
            duration_s=f"{answer.seconds:.3f}",
            outputs=self._names(outputs),
            message="; ".join(answer.notes),
        )

    def note_failed(self, clip: ClipFile, error: str) -> None:
        outputs = self._names(path for path in self.outputs(clip) if path.exists())
        self._note(clip, status=FAILED, message=error, outputs=outputs)

    def _names(self, outputs: Iterable[Path]) -> str:
        return "|".join(str(path.relative_to(self.folder)) for path in outputs)

    def _note(self, clip: ClipFile, **values: str) -> None:
        named = {"file": _key(clip), "name": clip.name, "version": _version(clip)}
        row = self.rows[_key(clip)] = {**dict.fromkeys(COLUMNS, ""), **named, **values}
        if time.monotonic() >= self._next_whole:
            self.write()
            return
        with named_errors(self._journal), open(self._journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            with open(self.summary, newline="", encoding="utf-8") as file:
                rows = [
                    {name: restore(row.get(name) or "") for name in COLUMNS} | {"file": restore(row["file"])}
                    for row in csv.DictReader(file)
                ]
                return {row["file"]: row for row in rows}
        except (OSError, KeyError, csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self.summary}: is not a summary of this program ({error}). Start again with --overwrite."
            ) from error

    def _read_journal(self) -> dict[str, dict[str, str]]:
        """Returns the rows that a program left which was killed; its last line may be half."""
        rows = {}
        with contextlib.suppress(OSError):
            for line in self._journal.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    row = json.loads(line)
                    rows[row["file"]] = {name: str(row[name]) for name in COLUMNS}
        return rows

    def _check_settings(self, settings: dict[str, Any]) -> None:
        try:
            before = json.loads(self._settings.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if before != json.loads(json.dumps(settings)):
            raise ConfigError(
                f"{self.folder}: holds results of another model or other settings (listed in its "
                f"{self._settings.name}). Use the same, name another --output_dir, or start again with --overwrite."
            )

    def write(self) -> None:
        """Writes the summary whole."""
        start, text = time.monotonic(), io.StringIO()
        write_rows(text, [COLUMNS, *([row[name] for name in COLUMNS] for row in self.rows.values())])
        write_whole(self.summary, text.getvalue())
        with named_errors(self._journal):
            self._journal.unlink(missing_ok=True)
        now = time.monotonic()
        self._next_whole = now + max(WHOLE_SECONDS, (now - start) / WHOLE_SHARE)


def _of_part(name: str, part: str) -> str:
    return f"{name.partition('.')[0]}_{part}.{name.partition('.')[2]}" if part else name


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
    plan: Callable[[ClipFile], Task],
    label: Callable[[Iterable[Task]], Iterator[tuple[Task, ClipAnswer | str]]],
    *,
    reporter: Reporter = SILENT,
) -> int:
    """Labels clips; a bad one is reported, and the rest go on.

    Args:
        plan: looks at a clip and plans its files.
        label: labels clips as they come, and yields each, in any order, with its answer or with what went wrong.

    Returns:
        How many clips failed.
    """
    numbers = {_key(clip): f"[{number}/{len(clips)}]" for number, clip in enumerate(clips, start=1)}
    counts: Counter[str] = Counter()
    locks: dict[str, contextlib.ExitStack] = {}

    def fail(clip: ClipFile, words: str) -> None:
        batch.note_failed(clip, words)
        counts[FAILED] += 1
        reporter.warn(f"{numbers[_key(clip)]} failed: {words}")

    def begin() -> Iterator[Task]:
        for clip in clips:
            stop.check()
            if batch.is_done(clip):
                counts[DONE] += 1
                continue
            named = batch.claim(clip)
            lock = contextlib.ExitStack()
            try:
                task = plan(named)
                lock.enter_context(locked_names(task.plan.files().values()))
            except Exception as error:
                fail(named, describe_failure(named, error))
                continue
            locks[_key(named)] = lock
            batch.note_begun(named, task.plan.files().values())
            yield task

    with _StopSignal() as stop, contextlib.ExitStack() as everything:
        everything.callback(batch.write)
        everything.callback(lambda: [lock.close() for lock in locks.values()])
        for task, answer in label(begin()):
            clip = task.clip
            if isinstance(answer, str):
                fail(clip, answer)
            else:
                batch.note_done(clip, answer, task.plan.written().values())
                words = "no evidence" if answer.emotion is None else f"{answer.emotion} {in_percent(answer.confidence)}"
                reporter.say(f"{numbers[_key(clip)]} {clip.label}: {words}, {answer.evidence}")
            locks.pop(_key(clip)).close()
    if counts[DONE]:
        reporter.say(f"done before, skipped: {counts[DONE]}")
    return counts[FAILED]


def describe_failure(clip: ClipFile, error: Exception) -> str:
    """Returns what went wrong with a clip, in a line. Even a fault of this program must not cost the other clips."""
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
    lines.append(f"summary: {batch.summary}")
    return "\n".join(lines)
