"""Computes fingerprints that find the same recording twice, in whatever container or codec.

Sound is compared in two steps. A print of a few hundred numbers finds the likely pairs: how often each of eight
frequency bands rises and falls, which neither delay nor level nor codec changes. Then the two waveforms are
cross-correlated. Two takes of one sentence by one speaker have similar rhythms but never the same waves.

Measured on 1,200 RAVDESS takes (each sentence said twice by each actor in each emotion) and 72 copies of some of them
(AAC at 48 to 96 kbit/s, MP3 at 32 and 64, 8 kHz WAV; softer by up to 14 dB, later by up to 0.1 s):

    print       copies 0.994 and above; of the 719,400 pairs of takes 28 at 0.975 and above
    waveform    copies 0.967 and above; the 512 most alike pairs of takes 0.473 and below

except 03-01-03-01-02-01-07 and 03-01-03-01-02-02-07, which hold the same samples and give 1.000 in both.

Videos are compared by their motion: how small grey pictures depart from the clip's average. Measured on 41 stretches of
35 videos (RAVDESS, CREMA-D, MEAD and others), among them many of one face before one wall, and on three copies of each:
different ones 0.57 and below, copies of the same frame rate, at half size and strong compression, 0.852 and above. Two
drawn heads of ``synthetic``, which all sway alike, reached 0.76 in three seconds and 0.89 in one; hence the stricter
limit for short clips, and for those whose sounds differ. Copies at another frame rate often fall below it: missing a
copy is better than taking two takes for one. A still must agree in every pixel.
"""

import functools
import hashlib
import os
from collections.abc import Iterator

import cv2
import numpy as np

from emotion.errors import MediaError
from emotion.inputs.voice.features import LOWEST_POWER, build_slaney_bands, compute_mel
from emotion.media.pictures import VideoFrame
from emotion.media.reading import load_waveform

# ---- Sound ----

N_FFT = 1024  # samples at 22,050 Hz
HOP_LENGTH = 512
N_MELS = 24
N_BANDS = 8  # three mel bands each
MIN_HERTZ, MAX_HERTZ = 100.0, 3600.0  # what the narrowest codec leaves
TOP_DB = 50.0
PRINT_STEPS = 345  # 8 seconds: what comes later does not count
N_RATES = 40  # 0.12 to 5 rises and falls a second
MIN_PRINT_LIKENESS = 0.975

WAVE_SAMPLE_RATE = 8000
WAVE_BAND_HERTZ = (100.0, 2000.0)
WAVE_SECONDS = 20.0
MIN_WAVE_LIKENESS = 0.8


def compute_sound_print(samples: np.ndarray, sample_rate: int) -> bytes | None:
    """Returns the print of a mono waveform ``(n_samples,)``, or None if nothing in it changes.

    Returns:
        ``(N_BANDS * N_RATES,)`` float16 of length 1, as bytes.
    """
    filters = build_slaney_bands(sample_rate, N_FFT, N_MELS, MIN_HERTZ, MAX_HERTZ)
    mel = compute_mel(samples[: PRINT_STEPS * HOP_LENGTH], filters, n_fft=N_FFT, hop_length=HOP_LENGTH)
    if mel.shape[1] < 3 or not mel.any():
        return None
    decibels = 10 * np.log10(np.maximum(mel, LOWEST_POWER))
    decibels = np.maximum(decibels, decibels.max() - TOP_DB)
    change = decibels[:, 2:] - decibels[:, :-2]
    bands = change.reshape(N_BANDS, -1, change.shape[1]).mean(axis=1)
    # The size of a Fourier coefficient stays the same when the sound comes later.
    rates = np.abs(np.fft.rfft(bands, PRINT_STEPS, axis=1))[:, 1 : 1 + N_RATES].ravel()
    size = np.linalg.norm(rates)
    return (rates / size).astype(np.float16).tobytes() if size > 0 else None


def compare_waveforms(one: str | os.PathLike, other: str | os.PathLike) -> float:
    """Returns how alike the sounds of two files are at their best delay, 0 to 1.

    Raises:
        MediaError: if a file cannot be decoded.
    """
    a, b = _narrow_waveform(one), _narrow_waveform(other)
    n_samples = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.rfft(a, n_samples) * np.conj(np.fft.rfft(b, n_samples))
    return float(np.abs(np.fft.irfft(product, n_samples)).max())


def _narrow_waveform(path: str | os.PathLike) -> np.ndarray:
    """Returns a file's sound within the band every codec keeps, scaled to length 1."""
    try:
        state = os.stat(path)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}).") from error
    return _read_narrow(os.fspath(path), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _read_narrow(path: str, mtime_ns: int, size: int) -> np.ndarray:
    """``_narrow_waveform`` of a file in one state: one that changed is read again."""
    waveform = load_waveform(path, WAVE_SAMPLE_RATE)
    samples = waveform.samples[: round(WAVE_SECONDS * WAVE_SAMPLE_RATE)] if waveform else np.zeros(1)
    from scipy.signal import butter, sosfilt  # takes a second, in each process that examines files

    band = butter(4, WAVE_BAND_HERTZ, "band", fs=WAVE_SAMPLE_RATE, output="sos")
    narrow = sosfilt(band, samples)
    return narrow / max(np.linalg.norm(narrow), 1e-9)


# ---- Pictures ----

THUMB_SIDE = 12  # pixels
N_THUMBS = 16
THUMB_INTERVAL_SECONDS = 0.25
MIN_CHANGE = 0.5  # grey levels, root mean square over the thumbs: less is the codec's noise, or a black picture
MAX_SCENE_DIFFERENCE = 10.0  # grey levels, mean over the averages of all thumbs
MIN_MOTION_LIKENESS = 0.85
N_THUMBS_FOR_THAT = 8  # two seconds: with fewer there are fewer ways to move, and any two clips come closer
SURE_MOTION_LIKENESS = 0.95
MIN_STILL_CONTRAST = 2.0  # grey levels, standard deviation: a picture of one colour is nobody's


class PictureSampler:
    """Makes the print of a video from small grey pictures of its first seconds, or of a still from all its pixels."""

    def __init__(self):
        self._thumbs: list[np.ndarray] = []
        self._first: np.ndarray | None = None

    def add(self, frame: VideoFrame) -> None:
        """Takes the next frame; most are passed over."""
        due = int(frame.time_seconds / THUMB_INTERVAL_SECONDS + 1e-6) >= len(self._thumbs)
        if self._first is None:
            self._first = frame.image
        if due and len(self._thumbs) < N_THUMBS:
            grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
            self._thumbs.append(cv2.resize(grey, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA))

    def finish(self, *, is_still: bool) -> bytes | None:
        """Returns the SHA-256 of a still's pixels, or a video's thumbs; None where there is nothing to compare."""
        if self._first is None:
            return None
        if is_still:
            is_blank = self._first.std() < MIN_STILL_CONTRAST
            return (
                None if is_blank else hashlib.sha256(repr(self._first.shape).encode() + self._first.tobytes()).digest()
            )
        thumbs = np.array(self._thumbs)
        return None if compute_motion(thumbs) is None else thumbs.tobytes()


def read_thumbs(print_: bytes) -> np.ndarray:
    """Returns the thumbs ``(n, THUMB_SIDE, THUMB_SIDE)`` uint8 of a video's print."""
    return np.frombuffer(print_, np.uint8).reshape(-1, THUMB_SIDE, THUMB_SIDE)


def compute_motion(thumbs: np.ndarray) -> np.ndarray | None:
    """Returns how a video departs from its own average, in space and time; None where hardly anything moves.

    Args:
        thumbs: ``(n, THUMB_SIDE, THUMB_SIDE)`` grey.

    Returns:
        ``(N_THUMBS * THUMB_SIDE**2,)`` float32 of length 1, with zeros after a video's end.
    """
    change = thumbs.astype(np.float32) - thumbs.mean(axis=0, dtype=np.float32)
    if np.sqrt(np.mean(np.square(change))) < MIN_CHANGE:
        return None
    motion = np.zeros((N_THUMBS, THUMB_SIDE * THUMB_SIDE), np.float32)
    motion[: len(change)] = change.reshape(len(change), -1)
    return motion.ravel() / np.linalg.norm(motion)


def is_same_scene(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two videos' average pictures are alike, from their thumbs."""
    return bool(np.abs(one.mean(axis=0) - other.mean(axis=0)).mean() <= MAX_SCENE_DIFFERENCE)


# ---- Both ----


def find_alike(prints: np.ndarray, minimum: float, *, n_rows: int = 1024) -> Iterator[tuple[int, int, float]]:
    """Yields the pairs of rows whose product is at least ``minimum``, and the product.

    ``prints`` are ``(n, n_features)`` float32, rows of length 1. The products are computed for ``n_rows`` at a time, so
    that memory grows with the number of rows and not its square.
    """
    for start in range(0, len(prints), n_rows):
        block = prints[start : start + n_rows]
        products = block @ prints[start:].T
        rows, columns = np.nonzero(products >= minimum)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if column > row:
                yield start + row, start + column, float(products[row, column])
