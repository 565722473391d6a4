"""Keeps decoded clips on disk, so that no epoch decodes anything.

An entry's key is a hash of the clip's files and of every setting that decoding depends on, so a changed file or setting
never finds an old entry. The JSON file is written last, so that a kill leaves no half entry.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.datasets.clips import Clip
from emotion.errors import MediaError
from emotion.files import make_folder, written_whole
from emotion.inputs.preprocessing import ClipMedia, load_clip_media
from emotion.inputs.voice.speech import find_speech_blocks
from emotion.parallel import CRASHED, run_on_cores

logger = logging.getLogger(__name__)

# Raise this whenever decoding, detection, cropping or sampling changes what an entry holds.
CONTENT_VERSION = 6
# NumPy parses a file's header as Python, and Python 3.11's parser fails now and then when two threads use it at once
# ("AST constructor recursion depth mismatch"): once in some hours of training.
_PARSING = threading.Lock()
ARRAYS = ("samples", "moments", "crops", "shown")


class ClipCache:
    """Clips by key, as memory-mapped arrays, decoded for one configuration."""

    def __init__(self, folder: str | os.PathLike, config: RunConfig):
        self.folder = Path(folder)
        self.config = config
        self._settings = json.dumps(_decoding_settings(config), sort_keys=True)
        self._digests: dict[tuple[str, int, int], str] = {}

    def __getstate__(self):
        # It is sent to processes with every clip; the digests of all files would be larger than the clip.
        return {**self.__dict__, "_digests": {}}

    def key(self, clip: Clip) -> str:
        """The name of a clip's entry: a hash of its files and of the settings.

        Raises:
            MediaError: if a file cannot be read.
        """
        parts = [self._settings, *(_digest(path, self._digests) for path in (clip.video_path, clip.audio_path))]
        if clip.start_seconds is not None or clip.end_seconds is not None:
            parts.append(f"{clip.start_seconds} to {clip.end_seconds}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def load(self, clip: Clip) -> ClipMedia:
        """Returns a clip from disk; its arrays are memory maps.

        Raises:
            KeyError: if the clip has not been added.
        """
        key = self.key(clip)
        if not self._path(key, "json").is_file():
            raise KeyError(f"{clip.clip_id} is not in the cache {self.folder}")
        entry = json.loads(self._path(key, "json").read_text(encoding="utf-8"))
        with _PARSING:
            arrays = {name: np.load(self._path(key, f"{name}.npy"), mmap_mode="r") for name in ARRAYS}
        return ClipMedia(
            **arrays, speech=self._speech(key, arrays["samples"]), duration_seconds=entry["duration_seconds"]
        )

    def _speech(self, key: str, samples: np.ndarray) -> np.ndarray:
        """Where somebody speaks. Entries made by earlier versions get it when they are first used."""
        path = self._path(key, "speech.npy")
        if not path.is_file():
            found = find_speech_blocks(np.asarray(samples), self.config.audio.sample_rate)
            self._write(key, "speech.npy", partial(np.save, arr=found))
            return found
        with _PARSING:
            return np.load(path)

    def holds(self, clip: Clip) -> bool:
        return self._path(self.key(clip), "json").is_file()

    def add(self, clip: Clip) -> None:
        """Decodes a clip and writes its entry.

        Raises:
            MediaError: if a file cannot be decoded.
        """
        media = load_clip_media(clip.recording, self.config)
        key = self.key(clip)
        make_folder(self.folder)
        for name in (*ARRAYS, "speech"):
            self._write(key, f"{name}.npy", partial(np.save, arr=getattr(media, name)))
        entry = {"clip_id": clip.clip_id, "duration_seconds": media.duration_seconds}
        self._write(key, "json", lambda file: file.write(json.dumps(entry).encode()))

    def contents(self, clips: Sequence[Clip]) -> dict[str, str]:
        """Returns the SHA-256 of the clips' files by path; see ``hash_files``."""
        return hash_files(clips, self._digests)

    def fill(self, clips: Sequence[Clip], *, n_workers: int = 0, reporter: Reporter = SILENT) -> dict[str, str]:
        """Adds the clips that are not there yet, in ``n_workers`` processes; 0 for one per core.

        Returns:
            The clips that could not be decoded: their ids and the reason.
        """
        failures: dict[str, str] = {}
        missing = []
        for clip in clips:
            try:
                if not self.holds(clip):
                    missing.append(clip)
            except MediaError as error:
                failures[clip.clip_id] = str(error)
        n_workers = min(n_workers or os.cpu_count() or 1, len(missing))
        results = run_on_cores(partial(_add, self), missing, n_workers)
        outcomes = (_crash(clip) if result is CRASHED else result for clip, result in results)
        bar, n_there = reporter.bar("Decoding", "clips"), len(clips) - len(missing)
        bar(n_there, len(clips))
        for n_done, (clip_id, reason) in enumerate(outcomes, start=n_there + 1):
            if reason:
                failures[clip_id] = reason
            bar(n_done, len(clips))
        return failures

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / key[:2] / f"{key}.{suffix}"

    def _write(self, key: str, suffix: str, write: Callable) -> None:
        path = self._path(key, suffix)
        make_folder(path.parent)
        with written_whole(path) as partial, open(partial, "wb") as file:
            write(file)


def hash_files(clips: Sequence[Clip], known: dict[tuple[str, int, int], str] | None = None) -> dict[str, str]:
    """Returns the SHA-256 of the clips' files, by path.

    Args:
        known: hashes by path, size and time of change; new ones are added.

    Raises:
        MediaError: if a file cannot be read.
    """
    known = {} if known is None else known
    return {path: _digest(path, known) for clip in clips for path in clip.paths}


def _digest(path: str | None, known: dict[tuple[str, int, int], str]) -> str:
    if path is None:
        return "none"
    try:
        state = os.stat(path)
        file_state = (path, state.st_size, state.st_mtime_ns)
        if file_state not in known:
            with open(path, "rb") as file:
                known[file_state] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}). Is it still there?") from error
    return known[file_state]


def _add(cache: ClipCache, clip: Clip) -> tuple[str, str | None]:
    try:
        cache.add(clip)
    except MediaError as error:
        return clip.clip_id, str(error)
    return clip.clip_id, None


def _crash(clip: Clip) -> tuple[str, str]:
    return clip.clip_id, f"{' or '.join(clip.paths)}: the decoder crashed on it. Take it out, or download it again."


def _decoding_settings(config: RunConfig) -> dict:
    """What an entry depends on. The size of an MFCC, say, matters only after it."""
    return {
        "content_version": CONTENT_VERSION,
        "sample_rate": config.audio.sample_rate,
        "image_size": config.video.image_size,
        "crop": config.video.crop if "video" in config.modalities else None,
        "frame_interval_seconds": config.frame_interval_seconds,
    }
