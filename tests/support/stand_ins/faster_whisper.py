"""A stand-in for the package ``faster-whisper``: its names, and words for the loud parts of a sound.

It says ``one``, ``two``, ... at each beginning of loudness, and in Chinese the same without spaces. Sizes other than
``base`` and ``base.en`` are not there, as without a network.
"""

from typing import NamedTuple

import numpy as np

RATE = 16_000
BLOCK = RATE // 50
NUMBERS = {"en": (" one,", " two", " three", " four"), "zh": ("一", "二", "三", "四")}
pieces: list[tuple[int, str | None]] = []  # samples and language of each call


class Word(NamedTuple):
    start: float
    end: float
    word: str
    probability: float = 1.0


class Segment(NamedTuple):
    start: float
    end: float
    text: str
    words: list[Word] | None


class Info(NamedTuple):
    language: str


def available_models() -> list[str]:
    return ["tiny", "base", "base.en"]


class WhisperModel:
    def __init__(self, model_size_or_path: str, device: str = "auto", compute_type: str = "default"):
        if model_size_or_path not in ("base", "base.en"):
            raise FileNotFoundError("Got: ConnectError: no network\nAn error happened, check your connection.")
        self.supported_languages = ["en"] if model_size_or_path == "base.en" else list(NUMBERS)

    def transcribe(
        self, audio: np.ndarray, language: str | None = None, *, word_timestamps: bool = False,
        vad_filter: bool = False,
    ):  # fmt: skip
        if audio.dtype != np.float32 or audio.ndim != 1 or not word_timestamps:
            raise ValueError("takes mono float32, and is asked for words")
        pieces.append((len(audio), language))
        language = language or "en"
        return self._segments(audio, NUMBERS[language]), Info(language)

    def _segments(self, audio: np.ndarray, numbers: tuple[str, ...]):
        level = np.abs(audio[: len(audio) // BLOCK * BLOCK]).reshape(-1, BLOCK).max(axis=1, initial=0)
        if level.max(initial=0.0) > 10:
            raise RuntimeError("CUDA out of memory\nmore words")
        loud = np.concatenate([[False], level > 0.1, [False]]).astype(int)
        starts, ends = (np.nonzero(np.diff(loud) == step)[0] * BLOCK / RATE for step in (1, -1))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            word = Word(start, end, numbers[i % len(numbers)])
            yield Segment(start, end, word.word, [word])
