"""Takes pictures and sound as they come, and puts them on one clock."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from emotion.errors import ConfigError, InputTypeError
from emotion.media.arrays import Colours, is_pillow, mono_of, name_of_type, to_picture
from emotion.media.decoding import AudioChunk, MonoSound
from emotion.media.pictures import VideoFrame


class ItemClock:
    """Gives pictures and blocks of sound their times.

    Args:
        fps: of pictures without a time.
        sample_rate: of the sound, in Hz; None if there is none.
        heard_rate: at which the sound is to be.
        colours: of the pictures.
    """

    def __init__(self, fps: float | None, sample_rate: int | None, heard_rate: int, colours: Colours):
        self._fps, self._rate, self._colours = fps, sample_rate, colours
        self._sound = MonoSound(heard_rate)
        self._n_pictures = self._n_samples = 0

    def place(self, items: Iterable[Any]) -> Iterator[VideoFrame | AudioChunk]:
        """Yields the items with their times; see ``EmotionPredictor.predict_stream`` for what they are.

        Raises:
            InputTypeError: if an item is neither a picture nor sound.
            ConfigError: if pictures have no times, or sound has no rate.
        """
        for item in items:
            time, content = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
            if isinstance(content, np.ndarray) and content.ndim in (1, 2):
                yield from self._hear(content, time)
            elif is_pillow(content) or isinstance(content, np.ndarray):
                yield self._see(content, time)
            else:
                raise InputTypeError(
                    "A stream holds pictures (height, width, 3) and sound (n_samples,), alone or as (seconds, it); "
                    f"not {name_of_type(content)}."
                )

    def _see(self, picture: Any, time: float | None) -> VideoFrame:
        if time is None and self._fps is None:
            raise ConfigError("Pictures need their times: give fps=, or pairs (seconds, picture).")
        seconds = 1 / self._fps if self._fps else 0.0
        time = self._n_pictures * seconds if time is None else float(time)
        self._n_pictures += 1
        return VideoFrame(time, to_picture(picture, self._colours), seconds)

    def _hear(self, samples: np.ndarray, time: float | None) -> Iterator[AudioChunk]:
        if self._rate is None:
            raise ConfigError("Sound needs its rate: give sample_rate=.")
        time = self._n_samples / self._rate if time is None else float(time)
        self._n_samples += len(samples)
        yield from mono_of(samples, self._rate, self._sound, time_seconds=time, is_end=False)
