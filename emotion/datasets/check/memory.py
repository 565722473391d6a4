"""Keeps the findings about each file on disk, so that checking a data set again takes seconds."""

import base64
import dataclasses
import json
import logging
import os
import sqlite3
import time
from pathlib import Path

from emotion.datasets.check.examination import Examination
from emotion.errors import FileError
from emotion.files import make_folder
from emotion.places import CACHE_DIR

# Raise this whenever an examination would find something else in the same file.
CONTENT_VERSION = 2
MEMORY_FILE = CACHE_DIR / "examinations.sqlite"
SAVE_EVERY_SECONDS = 1.0
TABLES = (
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, state TEXT NOT NULL, found TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS likeness (pair TEXT PRIMARY KEY, value REAL NOT NULL)",
)
logger = logging.getLogger(__name__)


class ExaminationMemory:
    """Examinations by file, in SQLite. Use it with ``with``; it saves about once a second, and at the end.

    A file that cannot be read is started anew; if it cannot be written, a warning says so and nothing is remembered.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        self.path = Path(path or MEMORY_FILE)
        self._saved = time.monotonic()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self):
        try:
            make_folder(self.path.parent)
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, or not to be written: not the file's fault
                logger.warning("%s: cannot be read (%s); starting it anew.", self.path, error)
                self._close()
                self.path.unlink(missing_ok=True)
                self._open()
        except (sqlite3.Error, OSError, FileError) as error:
            self._give_up(error)
        return self

    def __exit__(self, *_):
        try:
            if self._connection is not None:
                self._connection.commit()
        except sqlite3.Error as error:
            self._give_up(error)
        self._close()

    def recall(self, path: str) -> Examination | None:
        """Returns what was found in a file, or None if it is unknown or has changed."""
        row = self._fetch("SELECT state, found FROM files WHERE path = ?", _key(path))
        if row is None or row[0] != _state(path):
            return None
        try:
            values = json.loads(row[1])
            values = {k: base64.b64decode(v["bytes"]) if isinstance(v, dict) else v for k, v in values.items()}
            return Examination(**values)
        except (ValueError, TypeError, KeyError):
            return None

    def keep(self, path: str, found: Examination) -> None:
        """Remembers what was found in a file as it is now, unless it is not there."""
        state = _state(path)
        if state is not None:
            values = {
                k: {"bytes": base64.b64encode(v).decode()} if isinstance(v, bytes) else v
                for k, v in dataclasses.asdict(found).items()
            }
            self._store("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", _key(path), state, json.dumps(values))

    def recall_likeness(self, pair: str) -> float | None:
        """Returns how alike two contents were found to be; ``pair`` names both."""
        row = self._fetch("SELECT value FROM likeness WHERE pair = ?", pair)
        return None if row is None else row[0]

    def keep_likeness(self, pair: str, value: float) -> None:
        self._store("INSERT OR REPLACE INTO likeness VALUES (?, ?)", pair, value)

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, timeout=10)
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != CONTENT_VERSION:
            for table in ("files", "likeness"):
                self._connection.execute(f"DROP TABLE IF EXISTS {table}")
            self._connection.execute(f"PRAGMA user_version = {CONTENT_VERSION}")
        for table in TABLES:
            self._connection.execute(table)
        self._connection.commit()

    def _fetch(self, query: str, key: str):
        if self._connection is None:
            return None
        try:
            return self._connection.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            return self._give_up(error)

    def _store(self, query: str, *values) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute(query, values)
            if time.monotonic() - self._saved > SAVE_EVERY_SECONDS:
                self._connection.commit()
                self._saved = time.monotonic()
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        logger.warning("%s: cannot be used (%s); nothing will be remembered of this run.", self.path, error)
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _key(path: str) -> str:
    # A name that is not UTF-8 cannot go into the table as it is.
    return os.path.abspath(path).encode("utf-8", "backslashreplace").decode()


def _state(path: str) -> str | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return f"{state.st_size} {state.st_mtime_ns}"
