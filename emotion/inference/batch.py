"""The record of a batch: which clips are done and how, kept on disk so that an interrupted batch goes on."""

import contextlib
import csv
import dataclasses
import io
import json
import re
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.csv_rows import restore, write_rows
from emotion.errors import ConfigError, EmotionError
from emotion.files import make_folder, named_errors, write_whole
from emotion.inference.clip_search import ClipFile
from emotion.inference.output_plan import OutputPlan
from emotion.inference.result_store import ResultStore
from emotion.inference.staging import Staging
from emotion.media.reading import MediaInfo
from emotion.outputs.story import tell_story, write_headline
from emotion.results import MediaPrediction

SUMMARY_FILE = "summary.csv"
SETTINGS_FILE = "summary_settings.json"
RECORD = re.compile(r"summary(?:_settings|_journal)?(?:_\d+-of-(\d+))?\.(csv|json|jsonl)")  # the three, of any part
JOURNAL_FILE = "summary_journal.jsonl"  # rows since the summary was last written whole, which takes long if it is long
WHOLE_SECONDS, WHOLE_SHARE = 1.0, 0.02  # how often that is done: of the time, at most this share goes into it
PUT_SECONDS, PUT_CLIPS = 60.0, 100  # at the latest after so many the record is put to the address of the results
COLUMNS = (
    "file", "name", "status", "emotion", "confidence", "evidence", "headline", "faces", "duration_s", "outputs",
    "message", "version",
)  # fmt: skip
DONE, FAILED, BEGUN = "done", "failed", "begun"


@dataclass(frozen=True)
class Task:
    """A clip to label, and where its results go.

    Attributes:
        info, plan: None for a clip that is planned where it is labelled, as ``staging`` says.
        possible: the files that such a clip may give: new ones, and old ones that may be replaced.
    """

    clip: ClipFile
    info: MediaInfo | None = None
    plan: OutputPlan | None = None
    staging: Staging | None = None
    possible: tuple[Path, ...] = ()

    def files(self) -> tuple[Path, ...]:
        """Returns the files that may be written."""
        return self.possible if self.plan is None else tuple(self.plan.files().values())


@dataclass(frozen=True)
class ClipAnswer:
    """What the summary says of a clip that is done.

    Attributes:
        emotion: None without evidence.
        seconds: how long the clip plays.
        notes: about the result.
        outputs: names of the files that were written, of a clip that was planned where it was labelled.
        headline: what the face most in sight shows, one after the other; empty for one answer.
    """

    emotion: str | None
    confidence: float
    evidence: str
    n_faces: int
    seconds: float
    notes: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    headline: str = ""

    @classmethod
    def of(cls, prediction: MediaPrediction, outputs: tuple[str, ...] = ()) -> "ClipAnswer":
        answer = prediction.overall
        return cls(
            answer.emotion, answer.confidence, answer.evidence, len(prediction.tracks), prediction.duration_seconds,
            tuple(prediction.notes), outputs, write_headline(prediction, tell_story(prediction)),
        )  # fmt: skip


def check_results_folder(folder: Path | ResultStore, *, resume: bool, overwrite: bool, part: str = "") -> None:
    """Makes sure that a folder can take the results of a batch.

    Args:
        folder: here, or at an address.
        part: of the batch, as for ``Batch``.

    Raises:
        ConfigError: if it is a file, or holds results and neither ``resume`` nor ``overwrite`` says what to do.
    """
    if isinstance(folder, Path) and folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file. Name a folder with --output_dir.")
    if overwrite:
        return
    names = _names_in(folder)
    others = [name for name in _of_other_parts(names, part) if name.endswith(".csv")]
    if others:
        raise ConfigError(
            f"{folder}: holds results of a batch that was not in the same parts ({others[0]}). Use the same --shard as "
            "then, or name another --output_dir."
        )
    if resume:
        return
    if any(_of_part(name, part) in names for name in (SUMMARY_FILE, SETTINGS_FILE)):
        raise ConfigError(
            f"{folder}: holds results already. Continue with --resume, replace them with --overwrite, or name another "
            "--output_dir."
        )


def _names_in(folder: Path | ResultStore) -> Collection[str]:
    return [path.name for path in folder.glob("summary*")] if isinstance(folder, Path) else folder.names


def _of_other_parts(names: Iterable[str], part: str) -> list[str]:
    """Returns the names of the records of batches that were not in the same parts."""
    n_parts = part.partition("-of-")[2] or None
    return [name for name in sorted(names) if (found := RECORD.fullmatch(name)) and found.group(1) != n_parts]


class Batch:
    """A folder of results that knows which clips are done.

    Args:
        folder: made if it does not exist.
        settings: the model and everything else that results depend on.
        resume: continue with the results there, if they were made with the same settings.
        overwrite: start again, and forget batches that were not in the same parts.
        store: where the results go; ``folder`` then holds nothing but the record.
        part: of several that write to one folder, each with a summary of its own, such as ``2-of-4``.

    Attributes:
        summary: its file.
        shown_summary: what messages call it.
        block: how many clips are begun before the first of them is labelled.

    Raises:
        ConfigError: as ``check_results_folder``, or if the results were made with other settings.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        part: str = "",
        store: ResultStore | None = None,
    ):
        self.folder, self._store = folder, store
        self.block = 1 if store is None else PUT_CLIPS
        self.summary, self._settings, self._journal = (
            folder / _of_part(name, part) for name in (SUMMARY_FILE, SETTINGS_FILE, JOURNAL_FILE)
        )
        self.shown_summary = str(store.address.below(self.summary.name) if store else self.summary)
        check_results_folder(store or folder, resume=resume, overwrite=overwrite, part=part)
        make_folder(folder)
        if store is not None and resume:
            for path in (self.summary, self._settings, self._journal):
                store.fetch(path)
        self.rows: dict[str, dict[str, str]] = {}
        self._next_whole = self._next_put = self._next_try = 0.0
        if self.summary.exists() and resume:
            self._check_settings(settings)
            self.rows = self._read() | self._read_journal()
        self._taken = {row["name"].casefold() for row in self.rows.values()}
        write_whole(self._settings, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        self.write()
        self.put()
        for name in _of_other_parts(_names_in(store or folder), part) if overwrite else ():
            if store is not None:
                store.remove(name)
            with named_errors(folder / name):
                (folder / name).unlink(missing_ok=True)

    def claim(self, clip: ClipFile) -> ClipFile:
        """Returns the clip under a name that no other clip's results have."""
        row = self.rows.get(clip.key)
        if row is not None:
            return dataclasses.replace(clip, name=row["name"])
        name, number = clip.name, 2
        while name.casefold() in self._taken:
            name, number = f"{clip.name} {number}", number + 1
        return dataclasses.replace(clip, name=name)

    def is_done(self, clip: ClipFile) -> bool:
        """Whether a clip was analysed, has not changed since, and all its results still exist."""
        row = self.rows.get(clip.key)
        if row is None or row["status"] != DONE or row["version"] != clip.version:
            return False
        return all(self.is_there(path) for path in self.outputs(clip))

    def is_there(self, path: Path) -> bool:
        """Whether a result exists, as far as this program knows."""
        return path.exists() if self._store is None else str(path.relative_to(self.folder)) in self._store.names

    def outputs(self, clip: ClipFile) -> list[Path]:
        """Returns the files that an earlier run wrote, or meant to write, for a clip: these may be replaced."""
        row = self.rows.get(clip.key)
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
            headline=answer.headline,
            faces=str(answer.n_faces),
            duration_s=f"{answer.seconds:.3f}",
            outputs=self._names(outputs),
            message="; ".join(answer.notes),
        )

    def written(self, task: Task, answer: ClipAnswer) -> list[Path]:
        """Returns the files that a clip gave."""
        if task.plan is not None:
            return list(task.plan.written().values())
        if self._store is not None:
            self._store.names.update(answer.outputs)
        return [self.folder / name for name in answer.outputs]

    def note_failed(self, clip: ClipFile, error: str) -> None:
        may_be = self.outputs(clip)
        if self._store is None:
            outputs = self._names(path for path in may_be if path.exists())
        else:
            outputs = "|".join(name for name in self._names(may_be).split("|") if name and self._store.holds(name))
        self._note(clip, status=FAILED, message=error, outputs=outputs)

    def _names(self, outputs: Iterable[Path]) -> str:
        return "|".join(str(path.relative_to(self.folder)) for path in outputs)

    def _note(self, clip: ClipFile, **values: str) -> None:
        named = {"file": clip.key, "name": clip.name, "version": clip.version}
        self._taken.add(clip.name.casefold())
        row = self.rows[clip.key] = {**dict.fromkeys(COLUMNS, ""), **named, **values}
        if self._store is None and time.monotonic() >= self._next_whole:
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
                return {row["file"]: _check_names(row) for row in rows}
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise ConfigError(
                f"{self.shown_summary}: is not a summary of this program ({error}). Start again with --overwrite."
            ) from error

    def _read_journal(self) -> dict[str, dict[str, str]]:
        """Returns the rows that a program left which was killed; its last line may be half."""
        rows = {}
        with contextlib.suppress(OSError):
            for line in self._journal.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    row = json.loads(line)
                    rows[row["file"]] = _check_names({name: str(row.get(name, "")) for name in COLUMNS})
        return rows

    def _check_settings(self, settings: dict[str, Any]) -> None:
        try:
            before = json.loads(self._settings.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        # A setting that is not used is like one that an older version did not have.
        if before is None or _used(before) != _used(json.loads(json.dumps(settings))):
            raise ConfigError(
                f"{self._store or self.folder}: holds results of another model or other settings (listed in its "
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

    def put(self, *, pauses: Sequence[float] = ()) -> None:
        """Puts the record to the address of the results, if they go to one: whole in time, else the latest rows.

        Args:
            pauses: as for ``ResultStore.put``.

        Raises:
            EmotionError: if that is not possible.
        """
        if self._store is None:
            return
        start = time.monotonic()
        if start < self._next_put:
            self._store.put([self._journal] if self._journal.exists() else [], pauses=pauses)
            return
        self._next_put = 0.0  # until it is there: the latest rows are then in no journal
        self.write()
        self._store.put((self._settings, self.summary), pauses=pauses)
        if self._journal.name in self._store.names:
            self._store.remove(self._journal.name)
        self._next_put = start + max(PUT_SECONDS, (time.monotonic() - start) / WHOLE_SHARE)

    def put_in_time(self) -> None:
        """Does as ``put`` if the last time is long ago; what fails is done the next time."""
        if self._store is not None and time.monotonic() >= max(self._next_put, self._next_try):
            self._next_try = time.monotonic() + PUT_SECONDS
            with contextlib.suppress(EmotionError):
                self.put()

    def close(self) -> None:
        """Writes the summary whole, here or where the results go."""
        self.write()
        if self._store is not None:
            self._store.put_or_keep((self._settings, self.summary))
            if self._journal.name in self._store.names:
                self._store.remove(self._journal.name)


def _used(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _check_names(row: dict[str, str]) -> dict[str, str]:
    """Returns a row of a record, which somebody else may have written; raises ValueError if a name leads elsewhere."""
    for path in map(Path, (row["name"], *row["outputs"].split("|"))):
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{path} lies in another folder")
    return row


def _of_part(name: str, part: str) -> str:
    return f"{name.partition('.')[0]}_{part}.{name.partition('.')[2]}" if part else name
