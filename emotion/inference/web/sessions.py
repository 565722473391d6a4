"""The uploads and results of each open page, when they are deleted, and whether the page asked to stop.

Session names and upload paths come from outside: no path is made from a name, and a path is checked before a deletion.
"""

import math
import os
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emotion.errors import ConfigError
from emotion.files import bytes_below, find_files_below

MAX_SESSIONS = 32  # of one address
UPLOAD_FOLDER = re.compile(r"[0-9a-f]{32,128}")  # Gradio names a folder by the hash of the file in it


@dataclass
class Session:
    """One open page.

    Attributes:
        folder: for its results.
        address: of the computer that opened it.
        clip: the clip it shows; when that changes, its uploads are deleted.
        uploads: the files it chose.
        busy: folders with work in progress.
        n_pressed: how often Recognise was pressed.
        stopped_through: the last of these that Stop was pressed for.
    """

    folder: Path
    address: str | None = None
    clip: Path | None = None
    uploads: set[Path] = field(default_factory=set)
    busy: set[Path] = field(default_factory=set)
    n_pressed: int = 0
    stopped_through: int = 0


class Sessions:
    """All open pages.

    Args:
        folder: where Gradio keeps uploads; results go to a subfolder.
        kept_seconds: files older than this are deleted, whoever they belong to.
        max_bytes: of all files together.
    """

    def __init__(self, folder: Path, *, kept_seconds: float, max_bytes: float = math.inf):
        self._max_bytes = max_bytes
        self._folder, self._kept_seconds = folder.resolve(), kept_seconds
        self._results = self._folder / "results"
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def has_room(self, n_bytes: int) -> bool:
        """Whether files of so many bytes more may be kept."""
        return bytes_below(self._folder) + n_bytes <= self._max_bytes

    def get(self, name: str | None, address: str | None = None) -> Session:
        """Returns a page's session; the first call begins it.

        Raises:
            ConfigError: if it has no name, as a request from outside the page, or its address has too many pages.
        """
        if not name:
            raise ConfigError("Only the page itself can ask for this.")
        with self._lock:
            if name not in self._open:
                n_open = sum(session.address == address for session in self._open.values())
                if address and n_open >= MAX_SESSIONS:
                    raise ConfigError("Too many pages are open at your address. Close some, or wait an hour.")
                self._results.mkdir(parents=True, exist_ok=True)  # again: systems clean /tmp
                self._open[name] = Session(Path(tempfile.mkdtemp(dir=self._results)), address)
            return self._open[name]

    def find(self, name: str | None) -> Session | None:
        """Returns a page's session; None if it is not open."""
        with self._lock:
            return self._open.get(name)

    def is_open(self, session: Session) -> bool:
        """Whether the page is still open."""
        with self._lock:
            return any(session is other for other in self._open.values())

    def press(self, name: str) -> int:
        """Counts a press of Recognise, and returns the number of this piece of work."""
        session = self.get(name)
        with self._lock:
            session.n_pressed += 1
            return session.n_pressed

    def stop(self, name: str) -> None:
        """Stops all work that a page has asked for, including what is in the queue."""
        session = self.get(name)
        with self._lock:
            session.stopped_through = session.n_pressed

    def is_stopped(self, session: Session, number: int) -> bool:
        """Whether a piece of work should end: it was stopped, or its page closed."""
        return number <= session.stopped_through or not self.is_open(session)

    def new_folder(self, session: Session) -> Path:
        """Makes a folder for results, which ``sweep`` spares until ``drop_results``."""
        session.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=session.folder))
        with self._lock:
            session.busy.add(folder)
        return folder

    def drop_results(self, session: Session, *, but: Path | None = None) -> None:
        """Ends a piece of work: deletes all results except one folder, and that too if the page was closed."""
        with self._lock:
            session.busy.clear()
        if not self.is_open(session):
            shutil.rmtree(session.folder, ignore_errors=True)
            return
        for name in _list(session.folder):
            if session.folder / name != but:
                shutil.rmtree(session.folder / name, ignore_errors=True)

    def choose(self, name: str | None, clip: str | None) -> None:
        """Notes the clip of a page, and deletes the one before unless another page uses it."""
        session = self.get(name)
        with self._lock:
            session.clip = Path(clip) if clip else None
            chosen = {Path(clip).resolve()} if clip and self._is_upload(Path(clip)) else set()
            left, session.uploads = session.uploads - chosen, chosen
            self._delete_uploads(left)

    def close(self, name: str) -> None:
        """Ends a page's work; deletes its results, and its uploads unless another page uses them."""
        with self._lock:
            session = self._open.pop(name, None)
            if session is not None:
                shutil.rmtree(session.folder, ignore_errors=True)
                self._delete_uploads(session.uploads)

    def close_all(self) -> None:
        """Closes all pages."""
        with self._lock:
            names = list(self._open)
        for name in names:
            self.close(name)

    def sweep(self) -> None:
        """Deletes old files, whoever they belong to, and forgets pages that have nothing left."""
        oldest = time.time() - self._kept_seconds
        with self._lock:
            busy = {folder for session in self._open.values() for folder in session.busy}
        for path in find_files_below(self._folder):
            if path.parent.name == "samples" or path.parent in busy:
                continue
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    if UPLOAD_FOLDER.fullmatch(path.parent.name):
                        path.parent.rmdir()
            except OSError:
                continue  # somebody else deleted it, or the folder holds more
        with self._lock:
            for name, session in list(self._open.items()):
                is_old = session.folder.is_dir() and session.folder.stat().st_mtime < oldest
                if is_old and not session.busy and not find_files_below(session.folder):
                    shutil.rmtree(session.folder, ignore_errors=True)
                    del self._open[name]

    def _is_upload(self, path: Path) -> bool:
        path = path.resolve()
        is_own = path.parent.parent == self._folder and UPLOAD_FOLDER.fullmatch(path.parent.name)
        return bool(is_own) and path.is_file()

    def _delete_uploads(self, paths: set[Path]) -> None:
        held = {path for session in self._open.values() for path in session.uploads}
        for path in paths - held:
            path.unlink(missing_ok=True)
            try:
                path.parent.rmdir()
            except OSError:
                continue  # it holds another upload, or was deleted


def _list(folder: Path) -> list[str]:
    """The names in a folder; none if it has been deleted."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
