"""Examines media files: is it whole, does it hold sound and a face, how long is it, what are its fingerprints.

Each file is read once, from its first byte to its last, in a process of its own where several are examined.
"""

import faulthandler
import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from emotion.config import AudioConfig
from emotion.console import SILENT, Reporter
from emotion.datasets.check import fingerprints
from emotion.errors import MediaError
from emotion.inputs.faces.detection import MAX_SIDE, YuNetDetector
from emotion.inputs.voice.features import has_sound
from emotion.media.opening import LFS_POINTER
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media, probe_media
from emotion.parallel import CRASHED, run_in_processes

LONGEST_READ_SECONDS = 600.0  # what follows is not read
N_FACE_FRAMES = 6  # spread over the clip
# Of the frames searched: a single sighting is as likely a false alarm, see faces.tracking.MIN_SIGHT_SHARE.
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
        is_damaged: whether only part of it can be read, as ``words`` say.
        sha256: of its bytes; empty if it cannot be read.
        is_still: whether it is one picture.
        seconds: its length as decoded; the header's beyond ``LONGEST_READ_SECONDS``; None for a picture.
        is_audible: whether its sound is more than silence or the noise of a room.
        n_frames_looked, n_faces: frames that were searched for a face, and those that show one.
        sound_print, picture_print: see ``fingerprints``; None if there is nothing to compare.
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
    """Reads one file to its end and returns what is in it; never raises for anything that the file holds.

    The process ends itself after ``DEADLINE_SECONDS``: Python cannot stop a decoder that hangs.
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
    """Keeps the first words that the media reader logs about damage; it reports damage nowhere else."""

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
    # The reader tells by itself how much of a WAV file is missing.
    elif promised and path.lower().endswith(HONEST_FORMATS) and end < promised - SHORT_SECONDS:
        words = f"it ends after {end:.1f} of {promised:.1f} seconds"
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
    """Keeps frames evenly spread over a clip of unknown length: every second, then every fourth, ... as it grows."""

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
    """Returns how many frames count as searched and how many show a face; stops once the answer is sure."""
    global _detector  # noqa: PLW0603 - one a process: loading the network takes longer than using it
    _detector = _detector or YuNetDetector()
    n_faces = 0
    for frame in frames:
        n_faces += bool(_detector.detect(frame))
        if n_faces and n_faces >= MIN_FACE_SHARE * len(frames):
            break
    return len(frames), n_faces


# ---- Many files ----

CRASHED_WORDS = (
    f"the decoder crashed on it, or had not finished after {DEADLINE_SECONDS:.0f} seconds. Take it out of the data "
    "set, or download it again"
)


def examine_files(
    paths: Iterable[str],
    *,
    memory=None,
    n_jobs: int = 0,
    examine: Callable[[str], Examination] = examine_file,
    reporter: Reporter = SILENT,
) -> dict[str, Examination]:
    """Examines files on several cores and returns what was found, by path.

    Args:
        memory: an ``ExaminationMemory`` of what earlier runs have found; new findings are added as they come.
        n_jobs: processes; 0 for one per core.
        examine: what is done with each file; it must be importable by its name.
    """
    paths = list(dict.fromkeys(paths))
    found = {path: known for path in paths if memory and (known := memory.recall(path)) is not None}
    todo = [path for path in paths if path not in found]
    bar = reporter.bar("Examining", "files")
    bar(len(found), len(paths))
    n_workers = min(n_jobs or os.cpu_count() or 1, len(todo))
    if n_workers:
        for path, result in run_in_processes(examine, todo, n_workers, initializer=_start_worker):
            found[path] = Examination(fault="broken", words=CRASHED_WORDS) if result is CRASHED else result
            if memory and result is not CRASHED:  # a crash may have had another cause, such as a full memory
                memory.keep(path, result)
            bar(len(found), len(paths))
    return {path: found[path] for path in paths}


def _start_worker() -> None:
    cv2.setNumThreads(1)
