"""From media to a model's inputs: the only door, for training and for inference alike.

Frames pass through a ``FrameSampler``, which follows faces and cuts their crops at
moments on a regular grid, one ``frame_interval_seconds`` apart. Sound passes into a ``SoundBuffer``. A
``Preprocessor`` then cuts any window out of both. Training keeps the crops and the sound of whole clips on disk;
inference keeps the last few seconds of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from emotion.config import RunConfig
from emotion.inputs.frame_sampler import WHOLE_FRAME, FrameCrop, FrameSampler
from emotion.inputs.voice.features import FEATURES, has_sound
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media
from emotion.media.stretches import iterate_stretch
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
    """Cuts windows out of sound and crops, as arrays a model takes."""

    def __init__(self, config: RunConfig):
        self.config = config

    def first_moment(self, start_seconds: float) -> int:
        """Index on the grid of a window's first frame."""
        return round(start_seconds / self.config.frame_interval_seconds)

    def audio_input(self, samples: np.ndarray) -> np.ndarray:
        """Returns ``config.audio_shape`` float32 for a window of samples; zeros where it holds no sound."""
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

        A moment without a crop repeats the nearest one of the window, or is a frame of zeros, as ``video.fill`` says. A
        face in sight for too small a share of the window gives zeros, the sign for no evidence.

        Args:
            crops: ``(image_size, image_size, 3)`` uint8 by moment.
            first_moment: of the window.
            shown: the moments for which there were frames at all; by default those of ``crops``.
            n_moments: how many moments the window has, by default and at most ``n_frames``. Each one of a short window
                is shown for as many frames as it takes to fill a whole one.

        Returns:
            ``(n_frames, image_size, image_size, 3)`` uint8.
        """
        video = self.config.video
        n_moments = n_moments or video.n_frames
        window = range(first_moment, first_moment + n_moments)
        found = [moment for moment in window if moment in crops]
        n_shown = len(found) if shown is None else sum(1 for moment in shown if moment in window)
        if not found or len(found) < video.min_sight * n_shown:
            return np.zeros((video.n_frames, video.image_size, video.image_size, 3), np.uint8)
        held = np.array(found)
        # Were its last picture repeated instead, a short window would be judged by little else.
        moments = [first_moment + frame * n_moments // video.n_frames for frame in range(video.n_frames)]
        frames = np.stack([crops[found[int(np.argmin(np.abs(held - moment)))]] for moment in moments])
        if video.fill == "none":
            frames[~np.isin(moments, held)] = 0
        return frames


@dataclass(frozen=True)
class ClipMedia:
    """A whole clip, ready for windows to be cut from.

    Attributes:
        samples: ``(n_samples,)`` mono float32; empty without sound.
        moments: ``(n_crops,)`` int, rising: where on the grid the crops lie.
        crops: ``(n_crops, image_size, image_size, 3)`` uint8 of the main face, or of whole frames.
        shown: ``(n_shown,)`` int: moments for which there were frames.
        duration_seconds: to the end of the sound or the picture, whichever is later.
    """

    samples: np.ndarray
    moments: np.ndarray
    crops: np.ndarray
    shown: np.ndarray
    duration_seconds: float

    def crops_by_moment(self) -> dict[int, np.ndarray]:
        return dict(zip(self.moments.tolist(), self.crops, strict=True))


def load_clip_media(
    video_path: str | None,
    audio_path: str | None,
    config: RunConfig,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
) -> ClipMedia:
    """Decodes a training clip: all of its sound, and the crops of its main face.

    The main face is the one that fills most of the picture for most of the time. Sound and picture may lie in one
    file, which is then decoded once.

    Args:
        video_path, audio_path: the files, None where there is none.
        config: sizes and rates.
        start_seconds, end_seconds: the stretch of the files that is the clip, on their own clocks.

    Raises:
        MediaError: if a file cannot be decoded, or ends before the clip begins.
    """
    is_whole = start_seconds == 0 and end_seconds is None
    read = iterate_media if is_whole else partial(iterate_stretch, start_seconds=start_seconds, end_seconds=end_seconds)
    rate = config.audio.sample_rate
    sampler, sound = FrameSampler(config), SoundBuffer(rate)
    by_face: dict[int, list[FrameCrop]] = {}
    for path in dict.fromkeys(path for path in (video_path, audio_path) if path):
        for item in read(path, sample_rate=rate, with_video=path == video_path, with_audio=path == audio_path):
            if isinstance(item, VideoFrame):
                for crop in sampler.add(item):
                    by_face.setdefault(crop.face, []).append(crop)
            else:
                sound.add(item)
    for number in sorted(by_face):
        known = sampler.resolve(number)
        if known != number:
            by_face[known] = sorted([*by_face.get(known, []), *by_face.pop(number)], key=lambda crop: crop.moment)
    main = _main_face(by_face, sampler.tracks())
    crops = by_face.get(main, [])
    size = config.video.image_size
    return ClipMedia(
        samples=sound.cut(0.0, sound.end),
        moments=np.array([crop.moment for crop in crops], np.int64),
        crops=np.stack([crop.crop for crop in crops]) if crops else np.zeros((0, size, size, 3), np.uint8),
        shown=np.array(sampler.moments, np.int64),
        duration_seconds=max(sound.end_seconds, sampler.end_seconds),
    )


def _main_face(by_face: Mapping[int, list[FrameCrop]], tracks: Mapping[int, FaceTrack]) -> int:
    sizes = {number: track.total_area for number, track in tracks.items() if number in by_face}
    return max(sizes, key=sizes.__getitem__) if sizes else WHOLE_FRAME
