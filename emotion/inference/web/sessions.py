"""What open pages have on this computer: their uploads, their results, and whether they asked to stop.

Names of sessions and paths of uploads come from outside, so no path is ever made of the one, and the other is looked at
before anything is deleted.
"""

import os
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emotion.errors import ConfigError

UPLOAD_FOLDER = re.compile(r"[0-9a-f]{32,128}")  # Gradio names a folder by the hash of the file in it


@dataclass
class Session:
    """One open page.

    Attributes:
        folder: of its results.
        clip: what it shows as its clip; its uploads go when that changes.
        uploads: files that it chose.
        busy: folders in which work goes on.
        n_pressed: how often it asked for work.
        stopped_through: the last of these that is to be stopped.
    """

    folder: Path
    clip: Path | None = None
    uploads: set[Path] = field(default_factory=set)
    busy: set[Path] = field(default_factory=set)
    n_pressed: int = 0
    stopped_through: int = 0


class Sessions:
    """All open pages.

    Args:
        folder: in which Gradio keeps uploads; results go to a folder in it.
        kept_seconds: after which files are deleted, whoever they belong to.
    """

    def __init__(self, folder: Path, *, kept_seconds: float):
        self._folder, self._kept_seconds = folder.resolve(), kept_seconds
        self._results = self._folder / "results"
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def get(self, name: str | None) -> Session:
        """Returns a page's session, which begins with the first call.

        Raises:
            ConfigError: if it has no name, as who asks for something without the page has none.
        """
        if not name:
            raise ConfigError("Only the page itself can ask for this.")
        with self._lock:
            if name not in self._open:
                self._results.mkdir(parents=True, exist_ok=True)  # again, where /tmp is swept
                self._open[name] = Session(Path(tempfile.mkdtemp(dir=self._results)))
            return self._open[name]

    def find(self, name: str | None) -> Session | None:
        """Returns a page's session, if it is open."""
        with self._lock:
            return self._open.get(name)

    def is_open(self, session: Session) -> bool:
        """Whether the page is still there."""
        with self._lock:
            return any(session is other for other in self._open.values())

    def press(self, name: str) -> int:
        """Notes that work is asked for, and returns its number."""
        session = self.get(name)
        with self._lock:
            session.n_pressed += 1
            return session.n_pressed

    def stop(self, name: str) -> None:
        """Stops all that a page has asked for so far, also what still waits."""
        session = self.get(name)
        with self._lock:
            session.stopped_through = session.n_pressed

    def is_stopped(self, session: Session, number: int) -> bool:
        """Whether a piece of work is to end: it was stopped, or its page closed."""
        return number <= session.stopped_through or not self.is_open(session)

    def new_folder(self, session: Session) -> Path:
        """Makes a folder for results, and keeps it from being swept until ``drop_results``."""
        session.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=session.folder))
        with self._lock:
            session.busy.add(folder)
        return folder

    def drop_results(self, session: Session, *, but: Path | None = None) -> None:
        """Ends a piece of work: deletes all results but those in one folder; these, too, if the page was closed."""
        with self._lock:
            session.busy.clear()
        if not self.is_open(session):
            shutil.rmtree(session.folder, ignore_errors=True)
            return
        for name in _list(session.folder):
            if session.folder / name != but:
                shutil.rmtree(session.folder / name, ignore_errors=True)

    def choose(self, name: str | None, clip: str | None) -> None:
        """Remembers what a page has chosen, and deletes what it chose before, unless another page has it, too."""
        session = self.get(name)
        with self._lock:
            session.clip = Path(clip) if clip else None
            chosen = {Path(clip).resolve()} if clip and self._is_upload(Path(clip)) else set()
            left, session.uploads = session.uploads - chosen, chosen
            self._delete_uploads(left)

    def close(self, name: str) -> None:
        """Ends a page's work, and deletes its results, and its uploads unless another page has them, too."""
        with self._lock:
            session = self._open.pop(name, None)
            if session is not None:
                shutil.rmtree(session.folder, ignore_errors=True)
                self._delete_uploads(session.uploads)

    def close_all(self) -> None:
        """Ends all work, and deletes all of it."""
        with self._lock:
            names = list(self._open)
        for name in names:
            self.close(name)

    def sweep(self) -> None:
        """Deletes what is too old, whoever it belongs to, and forgets pages that have nothing left."""
        oldest = time.time() - self._kept_seconds
        with self._lock:
            busy = {folder for session in self._open.values() for folder in session.busy}
        for path in _find_files(self._folder):
            if path.parent.name == "samples" or path.parent in busy:
                continue
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    if UPLOAD_FOLDER.fullmatch(path.parent.name):
                        path.parent.rmdir()
            except OSError:
                continue  # somebody else deleted it, or there is more in the folder
        with self._lock:
            for name, session in list(self._open.items()):
                is_old = session.folder.is_dir() and session.folder.stat().st_mtime < oldest
                if is_old and not session.busy and not _find_files(session.folder):
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
                continue  # it holds another upload, or is gone


def _list(folder: Path) -> list[str]:
    """The names in a folder; none if it was deleted meanwhile."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _find_files(folder: Path) -> list[Path]:
    """All files in a folder and below. What others delete meanwhile is passed over, where Path.rglob raises."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]
