"""The default design as one would write it from its description alone, to compare its epochs with ours.

The generator decodes every clip in every epoch, scales whole frames to 112 x 112 and augments sound with librosa, and
both branches start at full size.
"""

import dataclasses
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import keras
import librosa
import numpy as np
from keras import layers
from sklearn.metrics import recall_score

from benchmarks.measures import Measure
from emotion.datasets.clips import Clip
from emotion.training.callbacks import EpochSetter, NormSettler

N_FRAMES, SIDE, N_MFCC, N_STEPS = 20, 112, 40, 44
SAMPLE_RATE, SECONDS = 22050, 3.0
BATCH_SIZE = 16
# Synthetic recordings of five people, three for training and two for validation. Length and pixel count are RAVDESS's:
# 960 x 960 is as many as 1280 x 720.
N_SPEAKERS, N_TRAINED, CLIP_SECONDS, IMAGE_SIZE, FRAME_RATE = 5, 3, 3.5, 960, 30.0
N_EPOCHS = 20
MIN_RATIO = 10


class PlainGenerator(keras.utils.PyDataset):
    """Decodes each clip every time it is asked for; picture and sound are in separate files."""

    def __init__(self, clips: Sequence[Clip], classes: Sequence[str], *, augment: bool):
        super().__init__(workers=2)
        self._clips, self._classes, self._augment = list(clips), list(classes), augment
        self._epoch = 0

    @property
    def num_batches(self) -> int:
        return int(np.ceil(len(self._clips) / BATCH_SIZE))

    def __getitem__(self, index: int):
        chosen = self._clips[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        rng = np.random.default_rng((self._epoch, index))
        audio = np.stack([self._mfcc(clip.audio_path, rng) for clip in chosen])
        video = np.stack([read_frames(clip.video_path) for clip in chosen])
        return {"audio": audio, "video": video}, np.array([self._classes.index(clip.emotion) for clip in chosen])

    def on_epoch_end(self) -> None:
        self._epoch += 1
        if self._augment:
            order = np.random.default_rng(self._epoch).permutation(len(self._clips))
            self._clips = [self._clips[i] for i in order]

    def _mfcc(self, path: str, rng: np.random.Generator) -> np.ndarray:
        samples, _ = librosa.load(path, sr=SAMPLE_RATE, duration=SECONDS)
        if self._augment:
            if rng.random() < 0.5:
                samples = librosa.effects.pitch_shift(samples, sr=SAMPLE_RATE, n_steps=rng.uniform(-2, 2))
            if rng.random() < 0.5:
                samples = librosa.effects.time_stretch(samples, rate=rng.uniform(0.85, 1.18))
            if rng.random() < 0.5:
                samples = samples + 0.005 * rng.standard_normal(len(samples)).astype(np.float32)
        samples = librosa.util.fix_length(samples, size=round(SAMPLE_RATE * SECONDS))
        mfcc = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=N_MFCC, hop_length=len(samples) // (N_STEPS - 1))
        return librosa.util.fix_length(mfcc, size=N_STEPS, axis=1)[..., None]


def read_frames(path: str) -> np.ndarray:
    """Returns ``(N_FRAMES, SIDE, SIDE, 3)`` float32, 0 to 1: whole frames, spread evenly over the clip."""
    capture, frames = cv2.VideoCapture(path), []
    while True:
        is_there, frame = capture.read()
        if not is_there:
            break
        frames.append(cv2.cvtColor(cv2.resize(frame, (SIDE, SIDE)), cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack([frames[int(i)] for i in np.linspace(0, len(frames) - 1, N_FRAMES)]).astype(np.float32) / 255


def build_plain_model(n_classes: int) -> keras.Model:
    """Three convolutions of stride 1 with pooling in each branch, flattened and joined."""
    audio, video = keras.Input((N_MFCC, N_STEPS, 1), name="audio"), keras.Input((N_FRAMES, SIDE, SIDE, 3), name="video")
    heard, seen = audio, video
    for filters in (32, 64, 128):
        heard = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(heard))
        seen = layers.MaxPooling3D()(layers.Conv3D(filters, 3, padding="same", activation="relu")(seen))
    heard = layers.Dense(128, activation="relu")(layers.Flatten()(heard))
    seen = layers.Dense(128, activation="relu")(layers.Flatten()(seen))
    joined = layers.Dropout(0.3)(layers.Dense(128, activation="relu")(layers.concatenate([heard, seen])))
    return keras.Model([audio, video], layers.Dense(n_classes, activation="softmax")(joined))


def measure(folder: Path) -> Iterator[Measure]:
    """Trains both designs on the same clips, for equal epochs and for equal time."""
    from emotion.config import RunConfig
    from emotion.datasets import DATASETS
    from emotion.datasets.cache import ClipCache
    from emotion.datasets.synthetic.clips import write_synthetic_dataset
    from emotion.models import build_model
    from emotion.training.generators import ClipWindows

    root = folder / "plain_clips"
    if not root.is_dir():
        partial = root.with_name("plain_clips.partial")
        write_synthetic_dataset(
            partial, n_speakers=N_SPEAKERS, duration_seconds=CLIP_SECONDS, image_size=IMAGE_SIZE, frame_rate=FRAME_RATE
        )
        partial.rename(root)
    config = RunConfig()
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=BATCH_SIZE))
    clips = [clip for clip in DATASETS["ravdess"].load(root) if clip.emotion in config.class_names]
    speakers = sorted({clip.speaker for clip in clips})
    training = [clip for clip in clips if clip.speaker in speakers[:N_TRAINED]]
    validation = [clip for clip in clips if clip.speaker in speakers[N_TRAINED:]]
    shutil.rmtree(folder / "plain_cache", ignore_errors=True)  # filling it is measured
    cache = ClipCache(folder / "plain_cache", config)
    start = time.perf_counter()
    cache.fill(clips)
    filling = time.perf_counter() - start
    keras.utils.set_random_seed(0)
    ours, plain = build_model(config), build_plain_model(len(config.class_names))
    generators = {
        "ours": ClipWindows(training, cache, config, training=True),
        "plain": PlainGenerator(training, config.class_names, augment=True),
    }
    held_out = {
        "ours": ClipWindows(validation, cache, config, training=False),
        "plain": PlainGenerator(validation, config.class_names, augment=False),
    }
    setter = EpochSetter(generators["ours"], config.training.seed)
    seconds, recalls = {}, {}
    as_in_training = [setter, _SettledAtOnce(generators["ours"])]
    for name, model, callbacks in (("plain", plain, []), ("ours", ours, as_in_training)):
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy())
        watch = _EpochWatch()
        model.fit(generators[name], epochs=N_EPOCHS, verbose=0, shuffle=False, callbacks=[*callbacks, watch])
        seconds[name] = statistics.median(watch.seconds[1:])  # the first traces the step
        recalls[name] = _recall(model.predict, held_out[name])
    n_in_time = int(N_EPOCHS * max(1.0, seconds["plain"] / seconds["ours"]))
    ours.fit(generators["ours"], initial_epoch=N_EPOCHS, epochs=n_in_time, verbose=0, shuffle=False,
             callbacks=as_in_training)  # fmt: skip
    in_time = _recall(ours.predict, held_out["ours"])
    n = f"{len(training)} clips of {CLIP_SECONDS:g} s"
    yield Measure(f"epoch of {n}: the plain design's time beside ours", seconds["plain"] / seconds["ours"], "x",
                  MIN_RATIO, is_limit=False)  # fmt: skip
    yield Measure(f"epoch of {n}, ours", seconds["ours"], "s")
    yield Measure(f"epoch of {n}, the plain design", seconds["plain"], "s")
    yield Measure(f"decoding all {len(clips)} clips once, for the cache", filling, "s")
    what = "recall of each class, mean, on made speakers that are new"
    yield Measure(f"{what}: the plain design after {N_EPOCHS} epochs", recalls["plain"], "")
    yield Measure(f"{what}: ours after {N_EPOCHS} epochs", recalls["ours"], "", recalls["plain"], is_limit=False)
    yield Measure(f"{what}: ours after as long, {n_in_time} epochs", in_time, "", recalls["plain"], is_limit=False)


class _SettledAtOnce(NormSettler):
    """Updates batch-norm statistics at each epoch's end, so that the epoch's time includes it."""

    def on_epoch_end(self, epoch, logs=None):
        self.on_test_begin()


class _EpochWatch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def _recall(predict: Callable, batches: keras.utils.PyDataset) -> float:
    answers, truths = [], []
    for index in range(batches.num_batches):
        inputs, classes, *_ = batches[index]
        answers.extend(np.argmax(predict(inputs, verbose=0), axis=1))
        truths.extend(classes)
    return float(recall_score(truths, answers, average="macro", zero_division=0))
