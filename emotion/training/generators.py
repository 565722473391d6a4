"""Keras data generators: cached clips in, augmented batches out.

Every batch follows from the seed, the epoch and its number alone, so a training can be repeated, resumed, and fed by
any number of threads.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.inputs.clip_windows import ClipWindow, compute_inputs, cut_clip_window
from emotion.inputs.faces import augmentation as faces
from emotion.inputs.preprocessing import ClipMedia, Preprocessor
from emotion.inputs.voice import augmentation as voices
from emotion.inputs.voice.features import compute_voiced_seconds, has_sound
from emotion.labels import class_index
from emotion.training.devices import ONE_DEVICE, Devices

# Training windows begin up to about this much earlier or later than the voice would have them begin.
START_JITTER_SECONDS = 0.2
N_WORKERS = 2  # threads that prepare batches


class EpochBatches(keras.utils.PyDataset):
    """Batches in an order that follows from the seed and the epoch.

    Subclasses make a batch of ``chosen(batch)`` in ``__getitem__``, with draws seeded by ``seed``, ``epoch`` and place.

    Args:
        items: what to deal into batches.
        n_batches: batches an epoch; by default as many as are full, but one at least.
        is_shuffled: whether each epoch has an order of its own.
    """

    def __init__(
        self, items: np.ndarray, *, batch_size: int, seed: int, n_batches: int | None = None, is_shuffled: bool = True
    ):
        super().__init__(workers=N_WORKERS, max_queue_size=4 * N_WORKERS)
        self._items, self._batch_size, self._is_shuffled = np.asarray(items), batch_size, is_shuffled
        self._n_batches = max(1, len(self._items) // batch_size) if n_batches is None else n_batches
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Moves on to an epoch's order and draws. To be called between epochs, before batches are asked for."""
        self.epoch = epoch
        rng = np.random.default_rng((self.seed, epoch))
        self._order = rng.permutation(self._items) if self._is_shuffled else self._items

    @property
    def num_batches(self) -> int:
        return self._n_batches

    def chosen(self, batch: int) -> np.ndarray:
        """Returns the items of a batch."""
        return self._order[batch * self._batch_size : (batch + 1) * self._batch_size]


class ClipWindows(EpochBatches):
    """Batches of one window a clip.

    In training the window lies somewhere over the voiced part and is augmented; otherwise it is the one in the middle
    of the voiced part.

    For several devices all batches are full, whatever their number: the last one is filled up with clips from the
    beginning of the epoch, which count in training as others do (so does PyTorch's ``DistributedSampler``) and not at
    all in validation. Each process makes its own part of every batch.

    Shape:
        a batch is ``(inputs, class_indices, sample_weights)``, the inputs a dict with those of ``audio (b,
        *audio_shape)`` and ``video (b, n_frames, size, size, 3)`` that the model takes.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        cache: ClipCache,
        config: RunConfig,
        *,
        training: bool,
        devices: Devices = ONE_DEVICE,
    ):
        """Takes the clips of one side of a split.

        Args:
            clips: each of an emotion that the classes cover.
            cache: where the clips were added.
            config: sizes, batch size and seed.
            training: whether to shuffle, move the window about and augment.
            devices: those that share each batch.
        """
        settings = config.training
        super().__init__(
            np.arange(len(clips)), batch_size=settings.batch_size, n_batches=-(-len(clips) // settings.batch_size),
            seed=settings.seed, is_shuffled=training,
        )  # fmt: skip
        self._clips = list(clips)
        self._cache = cache
        self._config = config
        self._preprocessor = Preprocessor(config)
        self._training = training
        indices = [class_index(clip.emotion, config.class_names) for clip in self._clips]
        if None in indices:
            clip = self._clips[indices.index(None)]
            raise DatasetError(
                f"{clip.clip_id}: {clip.emotion} is none of the classes {', '.join(config.class_names)}."
            )
        self.class_indices = np.array(indices, np.int32)
        self._weights = _balanced_weights(self.class_indices) if training and settings.balance else None
        self._devices = devices
        self._threads = None
        if devices.one_reader:
            self.workers, self._threads = 1, ThreadPoolExecutor(N_WORKERS)

    def __getitem__(self, batch: int):
        if self._devices.n_devices > 1:
            chosen, weights = self._own_part(batch)
        else:
            chosen = self.chosen(batch)
            weights = self._weigh(chosen)
        items = list((self._threads.map if self._threads else map)(self._item, map(int, chosen)))
        inputs = {name: np.stack([item[name] for item in items]) for name in items[0]}
        return inputs, self.class_indices[chosen], weights

    def _weigh(self, chosen: np.ndarray) -> np.ndarray:
        return np.ones(len(chosen), np.float32) if self._weights is None else self._weights[chosen]

    def _own_part(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns this process's clips of a full batch, and their weights."""
        size = self._batch_size
        places = np.arange(batch * size, (batch + 1) * size)
        chosen = np.take(self._order, places, mode="wrap")
        weights = self._weigh(chosen)
        if not self._training:
            # Keras divides by all clips, those of weight 0 included.
            weights = weights * (places < len(self._order)) * (size * self.num_batches / len(self._order))
        n = size // self._devices.n_processes
        own = slice(self._devices.rank * n, (self._devices.rank + 1) * n)
        return chosen[own], weights[own].astype(np.float32)

    def _item(self, index: int) -> dict[str, np.ndarray]:
        media = self._cache.load(self._clips[index])
        if not self._training:
            start = middle_window(media, self._config)
            return compute_inputs(cut_clip_window(media, start, self._preprocessor), self._preprocessor)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        inputs = varied_inputs(media, self._preprocessor, rng)
        if "audio" in inputs and self._config.training.augment:
            inputs["audio"] = voices.mask_time(inputs["audio"], rng)
        return inputs


def varied_inputs(media: ClipMedia, preprocessor: Preprocessor, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the model's inputs for a window somewhere over the voiced part of a clip, augmented where asked for.

    The face and the voice of a window are stretched in time alike.
    """
    config = preprocessor.config
    augment, sample_rate = config.training.augment, config.audio.sample_rate
    voice = voices.draw_voice_variation(rng)
    rate = voice.rate if augment else 1.0
    start = _draw_start(media, config, rate * config.window.window_seconds, rng)
    window = cut_clip_window(media, start, preprocessor, rate=rate)
    samples, frames = window.samples, window.frames
    if augment and "audio" in config.modalities and has_sound(samples, config.audio):
        samples = voices.vary_voice(samples, sample_rate, voice, config.window_samples)
    if augment and "video" in config.modalities and frames.any():
        is_empty = ~frames.any(axis=(1, 2, 3))
        frames = faces.vary_clip(frames, rng)
        frames[is_empty] = 0  # brightened zeros would be a picture
    return compute_inputs(ClipWindow(samples, frames), preprocessor)


def middle_window(media: ClipMedia, config: RunConfig) -> float:
    """Returns the start, in seconds, of the window around the middle of the voice, or of the clip without one."""
    spare = max(0.0, media.duration_seconds - config.window.window_seconds)
    voiced = _voiced_seconds(media, config)
    middle = sum(voiced) / 2 if voiced else media.duration_seconds / 2
    return float(np.clip(middle - config.window.window_seconds / 2, 0.0, spare))


def _draw_start(media: ClipMedia, config: RunConfig, length: float, rng: np.random.Generator) -> float:
    voiced = _voiced_seconds(media, config)
    first, last = voiced or (0.0, media.duration_seconds)
    # Either the window holds the whole voiced part, or the voiced part fills the window.
    low, high = sorted((first, last - length))
    return float(rng.uniform(low, high) + rng.normal(0, START_JITTER_SECONDS))


def _voiced_seconds(media: ClipMedia, config: RunConfig) -> tuple[float, float] | None:
    if "audio" not in config.modalities or not has_sound(media.samples, config.audio):
        return None
    return compute_voiced_seconds(media.samples, config.audio.sample_rate)


def _balanced_weights(class_indices: np.ndarray) -> np.ndarray:
    """Weights ``(n,)`` of mean 1 under which every class counts the same."""
    counts = np.bincount(class_indices)
    weights = 1.0 / counts[class_indices]
    return (weights / weights.mean()).astype(np.float32)
