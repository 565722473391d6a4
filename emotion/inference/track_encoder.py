"""Encodes the faces and voices of windows; each frame of a face once, however many windows it lies in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emotion.inputs.window_cutter import TrackStretch, WindowInputs
from emotion.models.onnx_runtime import find_held
from emotion.models.trained_model import Run

MAX_AT_ONCE = 16  # moments; more take no less time each, but memory


@dataclass
class _Track:
    """What is encoded of a track so far.

    Attributes:
        moments: by moment of the grid, its features and its signs.
        final: moments before this one cannot change any more.
    """

    moments: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    final: int = 0


class TrackEncoder:
    """Turns windows into what the head of a run judges.

    Args:
        run: with ``context_frames``.
    """

    def __init__(self, run: Run):
        self._run = run
        self._context = run.context_frames or 0
        self._size = run.config.video.image_size
        self._tracks: dict[int, _Track] = {}
        self._widths: tuple[int, int] | None = None

    def encode(self, windows: Sequence[WindowInputs]) -> dict[str, np.ndarray]:
        """Returns what ``Run.predict_encoded`` takes, ``(len(windows), ...)``, of windows in order of time."""
        encoded = self._encode_sound(windows) if "audio" in self._run.config.modalities else {}
        stretches: dict[int, list[TrackStretch]] = {}
        for window in windows:
            if window.stretch is not None:
                stretches.setdefault(window.track, []).append(window.stretch)
        for track, parts in stretches.items():
            self._encode_track(self._tracks.setdefault(track, _Track()), parts)
        return encoded | self._gather(windows)

    def _encode_sound(self, windows: Sequence[WindowInputs]) -> dict[str, np.ndarray]:
        sounds = np.stack([window.inputs["audio"] for window in windows])
        (heard,) = np.nonzero(find_held(sounds))
        of_heard = self._run.encode({"audio": sounds[heard if len(heard) else slice(1)]})
        encoded = {}
        for name, values in of_heard.items():
            encoded[name] = np.zeros((len(windows), *values.shape[1:]), values.dtype)
            if len(heard):
                encoded[name][heard] = values
        return encoded

    def _encode_track(self, track: _Track, stretches: Sequence[TrackStretch]) -> None:
        """Encodes the moments of some windows that are not final yet."""
        first = min(stretch.first_moment for stretch in stretches)
        last = max(stretch.first_moment + stretch.n_moments for stretch in stretches)
        known = max(stretch.first_moment + stretch.n_moments + stretch.n_known for stretch in stretches)
        track.moments = {moment: each for moment, each in track.moments.items() if moment >= first}
        first = max(first, track.final)
        crops = {moment: crop for stretch in stretches for moment, crop in stretch.crops.items()}
        end = min(last, known) + self._context
        for start in range(first, last, MAX_AT_ONCE):
            stop = min(start + MAX_AT_ONCE, last)
            moments = range(start - self._context, min(stop + self._context, end))
            if not moments:
                break
            frames = np.zeros((1, len(moments), self._size, self._size, 3), np.uint8)
            for place, moment in enumerate(moments):
                if moment in crops:
                    frames[0, place] = crops[moment]
            encoded = self._run.encode({"video": frames})
            for place, moment in enumerate(moments):
                if start <= moment < stop:
                    track.moments[moment] = (encoded["video_moments"][0, place], encoded["video_signs"][0, place])
        track.final = max(track.final, min(last, known - self._context))

    def _gather(self, windows: Sequence[WindowInputs]) -> dict[str, np.ndarray]:
        """Puts the moments of each window into one row; zeros stand for those that are absent."""
        n_moments = max((window.stretch.n_moments for window in windows if window.stretch), default=1)
        if self._widths is None:
            nothing = np.zeros((1, 1, self._size, self._size, 3), np.uint8)
            encoded = self._run.encode({"video": nothing})
            self._widths = encoded["video_moments"].shape[-1], encoded["video_signs"].shape[-1]
        gathered = tuple(np.zeros((len(windows), n_moments, width), np.float32) for width in self._widths)
        for row, window in enumerate(windows):
            if window.stretch is None:
                continue
            held = self._tracks[window.track].moments
            for place in range(window.stretch.n_moments):
                for values, found in zip(gathered, held.get(window.stretch.first_moment + place, ()), strict=False):
                    values[row, place] = found
        return dict(zip(("video_moments", "video_signs"), gathered, strict=True))
