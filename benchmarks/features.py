"""One feature vector for a clip's sound: MFCC statistics, or openSMILE's ComParE-2016 functionals.

Vectors are cached in a file, keyed by the sound file's content and the extraction settings.
"""

import contextlib
import functools
import importlib.util
import json
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
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import EmotionError, MediaError
from emotion.files import written_whole
from emotion.inputs.voice.features import has_sound
from emotion.media.reading import load_waveform

SAMPLE_RATE = AudioConfig().sample_rate
N_MFCC = 40
N_COMPARE = 6373
# Increase it when the code below changes what a row holds. New library releases are detected by themselves.
ROWS_VERSION = 1
N_BETWEEN_WRITES = 200
INSTALL = "Try: pip install -r benchmarks/requirements.txt. Or leave them out: --systems mfcc_svm."

Compute = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class FeatureSet:
    """A way to compute features from sound.

    Attributes:
        name: part of the cache file's name.
        source: the library and its release.
        compute: takes mono samples ``(n_samples,)`` and their rate, returns ``(n_features,)``; NaN if the clip is too
            short.
        is_isolated: whether ``compute`` needs its own process. openSMILE corrupts the memory of a process that has
            loaded TensorFlow (seen with openSMILE 2.6.0 and TensorFlow 2.21 on Linux), and scoring loads it.
    """

    name: str
    source: str
    compute: Compute
    is_isolated: bool = False


@dataclass(frozen=True)
class Features:
    """The features of all clips.

    Attributes:
        rows: ``(n_features,)`` float32 by clip id.
        without_sound: ids of clips with no sound or too little.
        failures: reasons by id, for clips whose sound cannot be read.
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
        # It warns of short clips, whose NaN is dealt with by the caller.
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
    reporter: Reporter = SILENT,
) -> Features:
    """Returns the rows of all clips, from the cache in ``folder`` or newly computed.

    Raises:
        EmotionError: if the library that computes them cannot be used.
    """
    path = folder / f"features_{feature_set.name}.npz"
    settings = json.dumps(["rows", ROWS_VERSION, feature_set.name, feature_set.source, SAMPLE_RATE])
    known = _load_rows(path, settings)
    files = ClipCache(folder, RunConfig())
    features, bar = Features({}, [], {}), reporter.bar(f"Features of {feature_set.name}", "clips")
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
            bar(done, len(clips))
    return features


def _key(clip: Clip, files: ClipCache) -> str:
    """Returns a cache key from the file's content, so that moved files are found again and changed ones are not."""
    digest = files.contents([clip])[clip.audio_path] if clip.audio_path else "none"
    return f"{digest} {clip.start_seconds} {clip.end_seconds}"


@contextlib.contextmanager
def _start(feature_set: FeatureSet) -> Iterator[Compute]:
    """Yields the function that computes a row, here or in a process that starts with the first row."""
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
    # Start and end are on the file's clock; the sound may begin later than second 0.
    first, last = (
        None if seconds is None else max(0, round((seconds - waveform.start_seconds) * SAMPLE_RATE))
        for seconds in (clip.start_seconds, clip.end_seconds)
    )
    samples = waveform.samples[first:last]
    if not has_sound(samples, AudioConfig()):
        return None
    row = np.asarray(compute(samples, SAMPLE_RATE), np.float32)
    return row if np.isfinite(row).all() else None


# ---- The cache file ----


def _load_rows(path: Path, settings: str) -> dict[str, np.ndarray | None]:
    """Returns the cached rows by key, None for clips without sound; empty if the settings differ."""
    try:
        with np.load(path) as kept:
            if str(kept["settings"]) != settings:
                return {}
            rows = dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))
            return rows | dict.fromkeys(kept["silent"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}  # no file yet, or a damaged one: rows are computed again


def _write_rows(rows: dict[str, np.ndarray | None], path: Path, settings: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    heard = {key: row for key, row in rows.items() if row is not None}
    with written_whole(path) as partial, open(partial, "wb") as file:
        np.savez(
            file,
            settings=settings,
            keys=np.array(list(heard), np.str_),
            rows=np.array(list(heard.values()), np.float32),
            silent=np.array([key for key, row in rows.items() if row is None], np.str_),
        )
