"""Writes down what is said, word by word, by Whisper (Radford et al. 2022) in the package ``faster-whisper``."""

import dataclasses
import importlib.util
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from emotion.console import Progress
from emotion.errors import ConfigError, EmotionError, first_line
from emotion.fetching import hub_library
from emotion.files import displayable
from emotion.media.arrays import ArrayRecording
from emotion.media.decoding import AudioChunk
from emotion.media.recordings import Recording
from emotion.media.streams import Damage
from emotion.results import Span, Word

SAMPLE_RATE = 16_000  # Hz, which Whisper takes
# Sound is given to Whisper in pieces, so that hours of it are never held. A piece ends at a pause: at one that is
# longer than the second number, or where the piece would get longer than the first.
MAX_PIECE_SECONDS, LONG_PAUSE_SECONDS = 600.0, 60.0
MARGIN_SECONDS = 0.5  # before and after speech, whose ends are not heard to the sample
WAY_OUT = (
    "It is fetched from the Hugging Face hub once, and kept. Without a network, copy a folder with it here (model.bin, "
    "config.json, tokenizer.json, vocabulary), and name that: --transcribe FOLDER"
)


def check_transcription() -> None:
    """Makes sure that the package is installed.

    Raises:
        ConfigError: if it is not.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        raise ConfigError("--transcribe needs faster-whisper: pip install -r requirements-transcribe.txt")


class Transcriber:
    """Whisper, loaded. It runs on a GPU if CTranslate2 finds one, else on the processor, with its fastest numbers.

    Attributes:
        size: such as ``base``, or a folder.
    """

    def __init__(self, size: str, language: str | None = None):
        """Loads Whisper, and fetches it the first time.

        Args:
            language: that is spoken, such as ``en``; by default that of the first words.

        Raises:
            ConfigError: if the package is missing, or there is no such size or language.
            EmotionError: if Whisper cannot be fetched or loaded.
        """
        check_transcription()
        from faster_whisper import WhisperModel, available_models

        self.size = Path(size).name if Path(size).is_dir() else size
        if not Path(size).is_dir() and "/" not in size and size not in available_models():
            raise ConfigError(f"--transcribe {size}: give a folder, or one of {', '.join(available_models())}.")
        with hub_library(f"Whisper {displayable(size)}: cannot be loaded", lambda error: WAY_OUT, EmotionError):
            self._model = WhisperModel(size, device="auto", compute_type="auto")
        known = self._model.supported_languages
        if language is not None and language not in known:
            raise ConfigError(f"--language {language}: Whisper {self.size} knows {', '.join(sorted(known))}.")
        self._language = language

    def write_down(
        self, sound: Recording | ArrayRecording, speech: Sequence[Span] | None, *, progress: Progress | None = None
    ) -> tuple[tuple[Word, ...], str | None]:
        """Returns the words in order of time, on the recording's clock, and their language; None if there are none.

        Args:
            sound: a recording without pictures.
            speech: when somebody speaks; None if that is unknown.
            progress: called with the seconds done and, where known, their total.

        Raises:
            MediaError: if the sound cannot be read.
            EmotionError: if Whisper fails.
        """
        if speech is not None and not speech:
            return (), None
        total = None if speech is None else speech[-1][1]
        words: list[Word] = []
        language = self._language
        chunks = sound.read(SAMPLE_RATE, damage=Damage(sound.path, is_silent=True))
        for start, samples in cut_pieces(chunks, plan_pieces(speech)):
            try:
                # Who speaks several languages is heard in that of their first words, as Whisper does with one piece.
                segments, info = self._model.transcribe(
                    samples, language=language, word_timestamps=True, vad_filter=True
                )
                for segment in segments:
                    words += _words_of(segment, start, start + len(samples) / SAMPLE_RATE)
                    if progress:
                        done = start + segment.end
                        progress(done if total is None else min(done, total), total)
            except (RuntimeError, ValueError, OSError, MemoryError) as error:
                raise EmotionError(
                    f"{sound.path}: Whisper {self.size} failed ({first_line(error)}). Give --transcribe a smaller "
                    "size, or add --device cpu."
                ) from error
            language = language or (info.language if words else None)
        if progress and total is not None:
            progress(total, total)
        return tuple(sorted(words, key=lambda word: word.start_seconds)), language if words else None


def without_pictures(recording: Recording | ArrayRecording) -> Recording | ArrayRecording:
    """Returns the sound of a recording, on the same clock."""
    if isinstance(recording, ArrayRecording):
        return dataclasses.replace(recording, frames=None, times_seconds=None)
    return dataclasses.replace(recording, video_path=None)


def plan_pieces(speech: Sequence[Span] | None) -> Iterator[Span]:
    """Yields the pieces, in order, that hold all speech and part it at pauses; none is much too long.

    Speech without a pause is parted anywhere, and so is sound of which nothing is known, which goes on forever.
    """
    if speech is None:
        yield from ((i * MAX_PIECE_SECONDS, (i + 1) * MAX_PIECE_SECONDS) for i in itertools.count())
        return
    joined: list[Span] = []
    for span in itertools.chain.from_iterable(map(_without_long, speech)):
        start, end = joined[-1] if joined else (0.0, 0.0)
        if joined and span[0] - end <= LONG_PAUSE_SECONDS and span[1] - start <= MAX_PIECE_SECONDS:
            joined[-1] = start, span[1]
        else:
            joined.append(span)
    before = 0.0
    for i, (start, end) in enumerate(joined):
        after = (end + joined[i + 1][0]) / 2 if i + 1 < len(joined) else float("inf")
        yield max(before, start - MARGIN_SECONDS), min(after, end + MARGIN_SECONDS)
        before = after


def _without_long(span: Span) -> Iterator[Span]:
    """Parts a stretch that is too long into equal ones that are not."""
    n = max(1, int(np.ceil((span[1] - span[0]) / MAX_PIECE_SECONDS)))
    return itertools.pairwise(np.linspace(*span, n + 1).tolist())


def cut_pieces(chunks: Iterable[AudioChunk], pieces: Iterable[Span]) -> Iterator[tuple[float, np.ndarray]]:
    """Yields when each piece begins, in seconds, and its samples ``(n_samples,)``; none where there is no sound.

    Args:
        chunks: without gaps, of ``SAMPLE_RATE``.
        pieces: in order, without overlap.
    """
    waiting = iter(pieces)
    piece = next(waiting, None)
    held: list[np.ndarray] = []
    began = 0.0
    for chunk in chunks:
        while piece is not None:
            first = max(0, round((piece[0] - chunk.time_seconds) * SAMPLE_RATE))
            stop = max(0, min(len(chunk.samples), round((piece[1] - chunk.time_seconds) * SAMPLE_RATE)))
            if stop > first:
                began = began if held else chunk.time_seconds + first / SAMPLE_RATE
                held.append(chunk.samples[first:stop])
            if stop == len(chunk.samples):
                break
            if held:
                yield began, np.concatenate(held)
            piece, held = next(waiting, None), []
        if piece is None:
            return
    if held:
        yield began, np.concatenate(held)


def _words_of(segment, start: float, end: float) -> Iterator[Word]:
    """Yields the words of one of Whisper's segments of a piece between two times."""
    for word in segment.words or ():
        text = word.word.strip()
        if text:
            first, last = min(start + float(word.start), end), min(start + float(word.end), end)
            yield Word(first, max(first, last), text, has_space=word.word[:1].isspace())
