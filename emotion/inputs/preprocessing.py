"""The arrays that a network takes, from samples and crops: the same for training, evaluation and inference.

A ``FrameSampler`` follows faces and cuts their crops at moments on a regular grid. A ``SoundBuffer`` keeps the sound. A
``Preprocessor`` turns a window of both into arrays. Which windows there are, ``window_cutter.py`` decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from emotion.config import RunConfig
from emotion.inputs.frame_sampler import WHOLE_FRAME, FrameCrop, FrameSampler
from emotion.inputs.voice.features import FEATURES, has_sound
from emotion.inputs.voice.speech import BLOCK_SECONDS, MIN_SPEECH_SECONDS, find_speech_blocks
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk
from emotion.media.recordings import Recording
from emotion.results import FaceTrack


class SoundBuffer:
    """The latest stretch of a file's sound, addressed by time."""

    def __init__(self, sample_rate: int):
        self._sample_rate = sample_rate
        self._chunks: list[np.ndarray] = []
        self._first = 0
        self.end = 0

    def add(self, chunk: AudioChunk) -> None:
        """Takes the next chunk. The first may begin late, after silence; each other one joins the one before it."""
        start = round(chunk.time_seconds * self._sample_rate)
        samples = chunk.samples
        # Chunks follow each other to the sample; only the first one can start elsewhere than the last one ended.
        if not self._chunks and self.end == 0 and start != 0:
            samples = samples[-start:] if start < 0 else np.concatenate([np.zeros(start, np.float32), samples])
        self._chunks.append(samples)
        self.end += len(samples)

    @property
    def end_seconds(self) -> float:
        return self.end / self._sample_rate

    def cut(self, start_seconds: float, n_samples: int) -> np.ndarray:
        """Returns ``(n_samples,)`` float32 from a time on, with silence where there is no sound."""
        start = round(start_seconds * self._sample_rate)
        self._join()
        held = self._chunks[0] if self._chunks else np.zeros(0, np.float32)
        return cut_samples(held, start - self._first, n_samples)

    def forget_before(self, time_seconds: float) -> None:
        """Frees what lies before a time."""
        n_samples = round(time_seconds * self._sample_rate) - self._first
        if n_samples > 0 and self._chunks:
            self._join()
            n_samples = min(n_samples, len(self._chunks[0]))
            self._chunks = [self._chunks[0][n_samples:].copy()]
            self._first += n_samples

    def _join(self) -> None:
        if len(self._chunks) > 1:
            self._chunks = [np.concatenate(self._chunks)]


def cut_samples(samples: np.ndarray, start: int, n_samples: int) -> np.ndarray:
    """Returns ``(n_samples,)`` from index ``start`` on, with zeros before the first and after the last sample."""
    cut = samples[max(0, start) : max(0, start + n_samples)]
    before = min(n_samples, max(0, -start))
    return np.pad(cut, (before, n_samples - before - len(cut)))


class Preprocessor:
    """Turns a window of sound and of crops into the arrays that a model takes."""

    def __init__(self, config: RunConfig):
        self.config = config

    def first_moment(self, start_seconds: float) -> int:
        """Index on the grid of a window's first frame."""
        return round(start_seconds / self.config.frame_interval_seconds)

    def audio_input(self, samples: np.ndarray) -> np.ndarray:
        """Returns ``config.audio_shape`` float32 for a window of samples: zeros where it is silent."""
        if not has_sound(samples, self.config.audio):
            return np.zeros(self.config.audio_shape, np.float32)
        return FEATURES[self.config.audio.features](samples, self.config)[..., None]

    def video_input(
        self,
        crops: Mapping[int, np.ndarray],
        first_moment: int,
        shown: Iterable[int] | None = None,
        n_moments: int | None = None,
    ) -> np.ndarray:
        """Returns the frames of one window.

        A moment without a crop is a frame of zeros, or repeats the nearest one of the window, as ``video.fill`` says.
        A face in sight for less than ``video.min_sight`` of the window gives zeros, the sign for no evidence.

        Args:
            crops: ``(image_size, image_size, 3)`` uint8 by moment.
            first_moment: of the window, on the grid.
            shown: the moments for which there were pictures at all; by default those of ``crops``.
            n_moments: of a window shorter than the model's. Zeros follow; with ``video.fill`` ``nearest`` its moments
                are repeated evenly to ``n_frames``.

        Returns:
            ``(n_frames, image_size, image_size, 3)`` uint8.
        """
        video = self.config.video
        n_moments = n_moments or video.n_frames
        if not self.is_in_sight(crops, first_moment, shown, n_moments):
            return np.zeros((video.n_frames, video.image_size, video.image_size, 3), np.uint8)
        held = np.array([moment for moment in range(first_moment, first_moment + n_moments) if moment in crops])
        if video.fill == "none":
            frames = np.zeros((video.n_frames, video.image_size, video.image_size, 3), np.uint8)
            frames[held - first_moment] = [crops[int(moment)] for moment in held]
            return frames
        moments = [first_moment + frame * n_moments // video.n_frames for frame in range(video.n_frames)]
        return np.stack([crops[int(held[np.argmin(np.abs(held - moment))])] for moment in moments])

    def is_in_sight(
        self, crops: Mapping[int, np.ndarray], first_moment: int, shown: Iterable[int] | None, n_moments: int
    ) -> bool:
        """Tells whether a face is in sight for ``video.min_sight`` of a window; see ``video_input``."""
        window = range(first_moment, first_moment + n_moments)
        n_found = sum(1 for moment in window if moment in crops)
        n_shown = n_found if shown is None else sum(1 for moment in shown if moment in window)
        return n_found > 0 and n_found >= self.config.video.min_sight * n_shown


@dataclass(frozen=True)
class ClipMedia:
    """A whole clip, ready for windows to be cut from.

    Attributes:
        samples: ``(n_samples,)`` mono float32; empty without sound.
        moments: ``(n_crops,)`` int, rising: where on the grid the crops lie.
        crops: ``(n_crops, image_size, image_size, 3)`` uint8 of the main face, or of whole frames.
        shown: ``(n_shown,)`` int: moments for which there were frames.
        speech: ``(n_blocks,)`` bool: for each block of ``BLOCK_SECONDS`` whether somebody speaks.
        duration_seconds: to the end of the sound or the picture, whichever is later.
    """

    samples: np.ndarray
    moments: np.ndarray
    crops: np.ndarray
    shown: np.ndarray
    speech: np.ndarray
    duration_seconds: float

    @property
    def holds_voice(self) -> bool:
        """Whether anybody speaks long enough for a window to be judged by it."""
        return (self.speech.sum() + 1) * BLOCK_SECONDS >= MIN_SPEECH_SECONDS

    def crops_by_moment(self) -> dict[int, np.ndarray]:
        return dict(zip(self.moments.tolist(), self.crops, strict=True))


def load_clip_media(recording: Recording, config: RunConfig) -> ClipMedia:
    """Decodes a training clip: all of its sound, and the crops of its main face.

    The main face is the one that fills most of the picture for most of the time.

    Raises:
        MediaError: if a file cannot be decoded, or ends before the clip begins.
    """
    rate = config.audio.sample_rate
    sampler, sound = FrameSampler(config), SoundBuffer(rate)
    by_track: dict[int, list[FrameCrop]] = {}
    for item in recording.read(rate):
        if isinstance(item, VideoFrame):
            for crop in sampler.add(item):
                by_track.setdefault(crop.track, []).append(crop)
        else:
            sound.add(item)
    for track in sorted(by_track):
        known = sampler.resolve(track)
        if known != track:
            by_track[known] = sorted([*by_track.get(known, []), *by_track.pop(track)], key=lambda crop: crop.moment)
    crops = by_track.get(_main_track(by_track, sampler.tracks()), [])
    size = config.video.image_size
    samples = sound.cut(0.0, sound.end)
    return ClipMedia(
        samples=samples,
        moments=np.array([crop.moment for crop in crops], np.int64),
        crops=np.stack([crop.crop for crop in crops]) if crops else np.zeros((0, size, size, 3), np.uint8),
        shown=np.array(sampler.moments, np.int64),
        speech=find_speech_blocks(samples, rate),
        duration_seconds=max(sound.end_seconds, sampler.end_seconds),
    )


def _main_track(by_track: Mapping[int, list[FrameCrop]], tracks: Mapping[int, FaceTrack]) -> int:
    sizes = {track: tracks[track].total_area for track in tracks if track in by_track}
    return max(sizes, key=sizes.__getitem__) if sizes else WHOLE_FRAME
