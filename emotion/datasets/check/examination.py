"""Examining one media file: is it whole, does it hold sound and a face, how long is it, and how does it compare.

A file is read once, from its first byte to its last.
"""

import base64
import dataclasses
import faulthandler
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from emotion.config import AudioConfig
from emotion.datasets.check import fingerprints
from emotion.errors import MediaError
from emotion.inputs.faces.detection import MAX_SIDE, YuNetDetector
from emotion.inputs.voice.features import has_sound
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media, probe_media
from emotion.media.streams import LFS_POINTER
from emotion.parallel import CRASHED, run_in_processes
from emotion.places import CACHE_DIR

LONGEST_READ_SECONDS = 600.0  # of a recording; what follows is not looked at
N_FACE_FRAMES = 6  # spread over the clip
# Of the frames looked at: a single sighting is as likely a false alarm, see faces.tracking.MIN_SIGHT_SHARE.
MIN_FACE_SHARE = 0.3
# A file that falls short of its header by more than this is cut off. None of 35 whole videos fell short at all.
SHORT_SECONDS = 0.3
HONEST_FORMATS = (".mp4", ".mov", ".m4a", ".mkv", ".webm", ".flac")  # whose headers give the exact length
DEADLINE_SECONDS = 300.0  # for one file; a whole clip of 3 to 20 seconds takes about one


@dataclass(frozen=True)
class Examination:
    """What was found in one file.

    Attributes:
        fault: why it cannot be used at all: ``missing``, ``pointer`` (of Git LFS), ``empty``, ``broken``, or None.
        words: the decoder's words, or what is missing; empty for a whole file.
        is_damaged: whether it can be read, but not all of it, as ``words`` tell.
        sha256: of its bytes; empty where it cannot be read.
        has_video, has_audio: the streams in it.
        is_still: whether it is one picture.
        seconds: its length, as decoded; the header's for what is longer than ``LONGEST_READ_SECONDS``; None for a
            picture.
        is_audible: whether its sound is more than silence or the noise of a room.
        n_frames_looked, n_faces: frames in which a face was looked for, and in which one was found.
        sound_print, picture_print: see ``fingerprints``; None where there is nothing to compare.
    """

    fault: str | None = None
    words: str = ""
    is_damaged: bool = False
    sha256: str = ""
    has_video: bool = False
    has_audio: bool = False
    is_still: bool = False
    seconds: float | None = None
    is_audible: bool = False
    n_frames_looked: int = 0
    n_faces: int = 0
    sound_print: bytes | None = None
    picture_print: bytes | None = None

    @property
    def shows_face(self) -> bool:
        return self.n_faces > 0 and self.n_faces >= MIN_FACE_SHARE * self.n_frames_looked


def examine_file(path: str) -> Examination:
    """Reads one file through and tells what is in it; never raises for anything the file holds.

    A process that reads for longer than ``DEADLINE_SECONDS`` ends itself: a decoder that hangs cannot be stopped from
    inside Python.
    """
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True, file=nowhere)
        try:
            return _examine(path)
        except Exception as error:  # a decoder's bindings may raise anything over a hostile file; it must be named
            return Examination(fault="broken", words=f"{type(error).__name__}: {error}")
        finally:
            faulthandler.cancel_dump_traceback_later()


def _examine(path: str) -> Examination:
    try:
        with open(path, "rb") as file:
            head = file.read(len(LFS_POINTER))
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest() if head else ""
    except FileNotFoundError:
        return Examination(fault="missing", words="no such file")
    except OSError as error:
        return Examination(fault="broken", words=f"cannot be read ({error.strerror})")
    if not head:
        return Examination(fault="empty", words="0 bytes")
    if head == LFS_POINTER:
        return Examination(fault="pointer", words="a Git LFS pointer", sha256=sha256)
    notes = _DamageNotes()
    reader_logger = logging.getLogger("emotion.media.streams")
    reader_logger.addHandler(notes)
    propagates, reader_logger.propagate = reader_logger.propagate, False
    try:
        examination = _read(path)
    except MediaError as error:
        return Examination(fault="broken", words=str(error).removeprefix(f"{path}: "), sha256=sha256)
    finally:
        reader_logger.removeHandler(notes)
        reader_logger.propagate = propagates
    words = examination.words or notes.words
    return replace(examination, words=words, is_damaged=bool(words), sha256=sha256)


class _DamageNotes(logging.Handler):
    """Keeps the first words in which the media reader tells of damage, which it tells in its log alone."""

    words = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.words = self.words or (str(record.args[-1]) if record.args else record.getMessage())


def _read(path: str) -> Examination:
    audio = AudioConfig()
    info = probe_media(path)
    is_still = info.has_video and not info.has_audio and info.frame_rate is None and info.duration_seconds is None
    chunks: list[np.ndarray] = []
    faces, picture = _SpreadFrames(), fingerprints.PictureSampler()
    end = 0.0
    for item in iterate_media(path, sample_rate=audio.sample_rate):
        if isinstance(item, VideoFrame):
            end = max(end, item.time_seconds + item.duration_seconds)
            faces.add(item.image)
            picture.add(item)
        else:
            end = max(end, item.time_seconds + len(item.samples) / audio.sample_rate)
            chunks.append(item.samples)
        if end > LONGEST_READ_SECONDS:
            break
    promised = info.duration_seconds
    words, seconds = "", end
    if end > LONGEST_READ_SECONDS:
        seconds = max(end, promised or 0.0)
    else:
        whole = _wav_seconds(path, end) if path.lower().endswith(".wav") else promised
        if whole and path.lower().endswith((*HONEST_FORMATS, ".wav")) and end < whole - SHORT_SECONDS:
            words = f"it ends after {end:.1f} of {whole:.1f} seconds"
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    is_audible = has_sound(samples, audio)
    n_looked, n_faces = _count_faces(faces.frames) if info.has_video else (0, 0)
    return Examination(
        words=words,
        has_video=info.has_video,
        has_audio=info.has_audio,
        is_still=is_still,
        seconds=None if is_still else round(seconds, 3),
        is_audible=is_audible,
        n_frames_looked=n_looked,
        n_faces=n_faces,
        sound_print=fingerprints.compute_sound_print(samples, audio.sample_rate) if is_audible else None,
        picture_print=picture.finish(is_still=is_still),
    )


class _SpreadFrames:
    """Keeps frames evenly spread over a clip of unknown length: every second one, fourth one, ... as it grows."""

    def __init__(self):
        self._kept: list[np.ndarray] = []
        self._stride, self._n_seen = 1, 0

    def add(self, image: np.ndarray) -> None:
        if self._n_seen % self._stride == 0:
            scale = MAX_SIDE / max(image.shape[:2])
            # The detector shrinks pictures to this size anyway, and large ones would fill the memory.
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
            self._kept.append(small)
            if len(self._kept) == 2 * N_FACE_FRAMES:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._n_seen += 1

    @property
    def frames(self) -> list[np.ndarray]:
        places = np.linspace(0, len(self._kept) - 1, min(N_FACE_FRAMES, len(self._kept)))
        # The middle first: it is the likeliest to show the face, and then the search ends early.
        order = sorted({round(place) for place in places}, key=lambda place: abs(place - len(self._kept) / 2))
        return [self._kept[place] for place in order]


_detector: YuNetDetector | None = None


def _count_faces(frames: list[np.ndarray]) -> tuple[int, int]:
    """Returns how many frames count as looked at and how many show a face; stops once the answer is sure."""
    global _detector  # noqa: PLW0603 - one a process: loading the network takes longer than using it
    _detector = _detector or YuNetDetector()
    n_faces = 0
    for frame in frames:
        n_faces += bool(_detector.detect(frame))
        if n_faces and n_faces >= MIN_FACE_SHARE * len(frames):
            break
    return len(frames), n_faces


def _wav_seconds(path: str, end: float) -> float | None:
    """Returns the length a WAV file's header promises, by its share of the bytes there are; None if it has none.

    The decoder goes by the bytes there are and says nothing of those that are missing.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(12)[8:] != b"WAVE":
            return None
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                held = size - file.tell()
                # Programs that write to a pipe leave the length open: 0, or all bits set.
                return end * length / held if held and 0 < length < 2**32 - 2**12 else None
            file.seek(length + length % 2, os.SEEK_CUR)
    return None


# ---- What has been examined before, on disk, so that a second look at a data set takes seconds ----

# Raised whenever an examination would find something else in the same file.
CONTENT_VERSION = 1
MEMORY_FILE = CACHE_DIR / "examinations.sqlite"
SAVE_EVERY_SECONDS = 1.0

_TABLES = (
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, state TEXT NOT NULL, found TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS likeness (pair TEXT PRIMARY KEY, value REAL NOT NULL)",
)
_logger = logging.getLogger(__name__)


class ExaminationMemory:
    """Examinations by file. Use it with ``with``; what is kept is saved about once a second, and at the end.

    A memory that cannot be read is started anew; one that cannot be written is done without, with a warning.

    Args:
        path: the SQLite file.
        record_type: the dataclass of an examination; its fields are JSON types or bytes.
    """

    def __init__(self, path: str | os.PathLike, record_type: type):
        self.path = Path(path)
        self._type = record_type
        self._saved = time.monotonic()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, or not to be written: not the file's fault
                _logger.warning("%s: cannot be read (%s); starting it anew.", self.path, error)
                self._close()
                self.path.unlink(missing_ok=True)
                self._open()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
        return self

    def __exit__(self, *_):
        try:
            if self._connection is not None:
                self._connection.commit()
        except sqlite3.Error as error:
            self._give_up(error)
        self._close()

    def recall(self, path: str):
        """Returns what was found in a file, or None if it is unknown or has changed."""
        row = self._fetch("SELECT state, found FROM files WHERE path = ?", _key(path))
        if row is None or row[0] != _state(path):
            return None
        try:
            values = json.loads(row[1])
            values = {k: base64.b64decode(v["bytes"]) if isinstance(v, dict) else v for k, v in values.items()}
            return self._type(**values)
        except (ValueError, TypeError, KeyError):
            return None

    def keep(self, path: str, found) -> None:
        """Remembers what was found in a file as it is now; files that are not there are not remembered."""
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
        for table in _TABLES:
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
        _logger.warning("%s: cannot be used (%s); nothing will be remembered of this run.", self.path, error)
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _key(path: str) -> str:
    # A name that is no UTF-8 cannot go into the table as it is.
    return os.path.abspath(path).encode("utf-8", "backslashreplace").decode()


def _state(path: str) -> str | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return f"{state.st_size} {state.st_mtime_ns}"


# ---- Examining many files, in processes of their own ----

CRASHED_WORDS = (
    f"the decoder crashed on it, or was not done with it after {DEADLINE_SECONDS:.0f} seconds. Take it out of the "
    "data set, or download it again"
)


def examine_files(
    paths: Iterable[str],
    *,
    memory: ExaminationMemory | None = None,
    n_jobs: int = 0,
    progress: Callable[[int, int], None] | None = None,
    examine: Callable[[str], Examination] | None = None,
) -> dict[str, Examination]:
    """Examines files on several cores.

    Args:
        paths: the files.
        memory: what earlier runs have found; new findings are added to it as they come.
        n_jobs: processes; 0 for one a core.
        progress: called with the files done and their total.
        examine: what is done with each file, by default ``examine_file``; it must be importable by its name.

    Returns:
        The examination of each file, by path.
    """
    paths = list(dict.fromkeys(paths))
    found = {path: known for path in paths if memory and (known := memory.recall(path)) is not None}
    todo = [path for path in paths if path not in found]
    if progress:
        progress(len(found), len(paths))
    n_workers = min(n_jobs or os.cpu_count() or 1, len(todo))
    if n_workers:
        for path, result in run_in_processes(examine or examine_file, todo, n_workers, initializer=_start_worker):
            examination = Examination(fault="broken", words=CRASHED_WORDS) if result is CRASHED else result
            found[path] = examination
            if memory and result is not CRASHED:  # which may have had another cause, such as a full memory
                memory.keep(path, examination)
            if progress:
                progress(len(found), len(paths))
    return {path: found[path] for path in paths}


def _start_worker() -> None:
    cv2.setNumThreads(1)
