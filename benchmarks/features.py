"""One row of numbers for a clip's sound: MFCC statistics, or the ComParE-2016 functionals of openSMILE.

Rows are kept in a file, keyed by the content of the sound file and by how they were made: a second run is quick.
"""

import contextlib
import functools
import importlib.util
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import librosa
import numpy as np

from emotion.config import AudioConfig, RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import EmotionError, MediaError
from emotion.inputs.voice.features import has_sound
from emotion.media.reading import load_waveform

# The rate that our own models hear.
SAMPLE_RATE = AudioConfig().sample_rate
N_MFCC = 40
N_COMPARE = 6373
# Raised whenever the code below changes what a row holds; other releases of the libraries are noticed anyway.
ROWS_VERSION = 1
N_BETWEEN_WRITES = 200
INSTALL = "Try: pip install -r benchmarks/requirements.txt. Or leave them out: --systems mfcc_svm."

Compute = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class FeatureSet:
    """A way to turn sound into numbers.

    Attributes:
        name: what its file is called by.
        source: the library and its release.
        compute: takes mono samples ``(n_samples,)`` and their rate, returns ``(n_features,)``; NaN where the clip
            is too short to tell.
        is_isolated: whether ``compute`` needs a process of its own. In one where TensorFlow has been loaded before,
            openSMILE corrupts the memory (seen with openSMILE 2.6.0 and TensorFlow 2.21 on Linux); the scores need
            modules that load TensorFlow.
    """

    name: str
    source: str
    compute: Compute
    is_isolated: bool = False


@dataclass(frozen=True)
class Features:
    """What was heard.

    Attributes:
        rows: ``(n_features,)`` float32 by clip id.
        without_sound: ids of clips that hold no sound, or too little of it.
        failures: clips whose sound cannot be read, with the reason.
    """

    rows: dict[str, np.ndarray]
    without_sound: list[str]
    failures: dict[str, str]


def build_mfcc_features() -> FeatureSet:
    """Mean and standard deviation over a clip of 40 MFCCs (Davis & Mermelstein 1980), with librosa's defaults."""
    return FeatureSet("mfcc", f"librosa {librosa.__version__}", compute_mfcc_statistics)


def compute_mfcc_statistics(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns ``(2 * N_MFCC,)``: the mean of every coefficient, then the standard deviation of every one."""
    mfcc = librosa.feature.mfcc(y=samples, sr=sample_rate, n_mfcc=N_MFCC)
    return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])


def build_compare_features() -> FeatureSet:
    """The 6,373 functionals of the ComParE challenge of 2016 (Schuller et al. 2016; Weninger et al. 2013).

    Raises:
        EmotionError: if openSMILE is not installed.
    """
    if importlib.util.find_spec("opensmile") is None:
        raise EmotionError(f"The ComParE features need openSMILE, which is not installed. {INSTALL}")
    return FeatureSet("compare", f"opensmile {version('opensmile')}", _compute_compare, is_isolated=True)


def _compute_compare(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    with warnings.catch_warnings():
        # A clip too short comes back as NaN, and is counted.
        warnings.simplefilter("ignore")
        return _load_smile()(samples, sample_rate).reshape(N_COMPARE)


@functools.cache
def _load_smile():
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.ComParE_2016, opensmile.FeatureLevel.Functionals)


def extract_features(
    clips: Sequence[Clip],
    feature_set: FeatureSet,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Returns the rows of all clips: those kept from an earlier run, and the others newly computed.

    Args:
        clips: labelled recordings.
        feature_set: how to compute them.
        folder: where rows are kept, in a file named for the feature set.
        progress: called with the clips done and their total.

    Raises:
        EmotionError: if the library that computes them cannot be used.
    """
    path = folder / f"features_{feature_set.name}.npz"
    settings = json.dumps(["rows", ROWS_VERSION, feature_set.name, feature_set.source, SAMPLE_RATE])
    known = _load_rows(path, settings)
    files = ClipCache(folder, RunConfig())
    features = Features({}, [], {})
    n_new = 0
    with _start(feature_set) as compute:
        for done, clip in enumerate(clips, start=1):
            try:
                key = _key(clip, files)
                if key not in known:
                    known[key] = _compute_row(clip, compute)
                    n_new += 1
            except MediaError as error:
                features.failures[clip.clip_id] = str(error)
            else:
                row = known[key]
                if row is None:
                    features.without_sound.append(clip.clip_id)
                else:
                    features.rows[clip.clip_id] = row
            if n_new == N_BETWEEN_WRITES or (n_new and done == len(clips)):
                _write_rows(known, path, settings)
                n_new = 0
            if progress:
                progress(done, len(clips))
    return features


def _key(clip: Clip, files: ClipCache) -> str:
    """Names a clip by what its files hold, so that a file that was moved is known again and a changed one is not."""
    digest = files.contents([clip])[clip.audio_path] if clip.audio_path else "none"
    return f"{digest} {clip.start_seconds} {clip.end_seconds}"


@contextlib.contextmanager
def _start(feature_set: FeatureSet) -> Iterator[Compute]:
    """Gives what computes a row, in this process or in another, which starts with the first row."""
    if not feature_set.is_isolated:
        yield feature_set.compute
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def compute(samples: np.ndarray, sample_rate: int) -> np.ndarray:
            try:
                return pool.submit(feature_set.compute, samples, sample_rate).result()
            except (ImportError, OSError, BrokenProcessPool) as error:
                raise EmotionError(f"{feature_set.source} cannot be used here ({error}). {INSTALL}") from error

        yield compute


def _compute_row(clip: Clip, compute: Compute) -> np.ndarray | None:
    waveform = load_waveform(clip.audio_path, SAMPLE_RATE) if clip.audio_path else None
    if waveform is None:
        return None
    # The stretch is on the file's own clock, whose second 0 the sound need not start at.
    first, last = (
        None if seconds is None else max(0, round((seconds - waveform.start_seconds) * SAMPLE_RATE))
        for seconds in (clip.start_seconds, clip.end_seconds)
    )
    samples = waveform.samples[first:last]
    if not has_sound(samples, AudioConfig()):
        return None
    row = np.asarray(compute(samples, SAMPLE_RATE), np.float32)
    return row if np.isfinite(row).all() else None


# ---- The file -------------------------------------------------------------------------------------------------------


def _load_rows(path: Path, settings: str) -> dict[str, np.ndarray | None]:
    """Returns the rows kept by key, None for a clip without sound; nothing if they were made in another way."""
    try:
        with np.load(path) as kept:
            if str(kept["settings"]) != settings:
                return {}
            rows = dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))
            return rows | dict.fromkeys(kept["silent"].tolist())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # A file cut short costs its rows, and nothing else: they are computed again.
        return {}


def _write_rows(rows: dict[str, np.ndarray | None], path: Path, settings: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    heard = {key: row for key, row in rows.items() if row is not None}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with open(unfinished, "wb") as file:
        np.savez(
            file,
            settings=settings,
            keys=np.array(list(heard), np.str_),
            rows=np.array(list(heard.values()), np.float32),
            silent=np.array([key for key, row in rows.items() if row is None], np.str_),
        )
    os.replace(unfinished, path)
