"""The default design as one would write it from its description alone, to compare its training with ours.

The generator decodes every clip in every epoch, scales whole frames to 112 x 112 and augments sound with librosa, and
both branches start at full size. What counts is the time until both reach the same score.
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
from emotion.config import MODALITIES, RunConfig
from emotion.datasets.clips import Clip
from emotion.training.callbacks import EpochSetter, NormSettler

N_FRAMES, SIDE, N_MFCC, N_STEPS = 20, 112, 40, 44
SAMPLE_RATE, SECONDS = 22050, 3.0
BATCH_SIZE = 16
# Synthetic recordings of five people, three for training and two for validation. Length and pixel count are RAVDESS's:
# 960 x 960 is as many as 1280 x 720.
N_SPEAKERS, N_TRAINED, CLIP_SECONDS, IMAGE_SIZE, FRAME_RATE = 5, 3, 3.5, 960, 30.0
N_EPOCHS = 20  # of the plain design; ours has as many to reach its best score
N_VALIDATED = 4  # of RAVDESS's speakers
MIN_RATIO = 5


class PlainGenerator(keras.utils.PyDataset):
    """Decodes each clip every time it is asked for; picture and sound are in separate files."""

    def __init__(
        self, clips: Sequence[Clip], classes: Sequence[str], *, augment: bool, modalities: Sequence[str] = MODALITIES
    ):
        super().__init__(workers=2)
        self._clips, self._classes, self._augment = list(clips), list(classes), augment
        self._modalities = tuple(modalities)
        self._epoch = 0

    @property
    def num_batches(self) -> int:
        return int(np.ceil(len(self._clips) / BATCH_SIZE))

    def __getitem__(self, index: int):
        chosen = self._clips[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        rng = np.random.default_rng((self._epoch, index))
        inputs = {}
        if "audio" in self._modalities:
            inputs["audio"] = np.stack([self._mfcc(clip.audio_path, rng) for clip in chosen])
        if "video" in self._modalities:
            inputs["video"] = np.stack([read_frames(clip.video_path) for clip in chosen])
        return inputs, np.array([self._classes.index(clip.emotion) for clip in chosen])

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


def build_plain_model(n_classes: int, modalities: Sequence[str] = MODALITIES) -> keras.Model:
    """Three convolutions of stride 1 with pooling in each branch, flattened and joined."""
    kinds = {
        "audio": ((N_MFCC, N_STEPS, 1), layers.Conv2D, layers.MaxPooling2D),
        "video": ((N_FRAMES, SIDE, SIDE, 3), layers.Conv3D, layers.MaxPooling3D),
    }
    inputs, features = [], []
    for name in modalities:
        shape, convolution, pooling = kinds[name]
        x = keras.Input(shape, name=name)
        inputs.append(x)
        for filters in (32, 64, 128):
            x = pooling()(convolution(filters, 3, padding="same", activation="relu")(x))
        features.append(layers.Dense(128, activation="relu")(layers.Flatten()(x)))
    joined = features[0] if len(features) == 1 else layers.concatenate(features)
    joined = layers.Dropout(0.3)(layers.Dense(128, activation="relu")(joined))
    return keras.Model(inputs, layers.Dense(n_classes, activation="softmax")(joined))


def measure(folder: Path, data_dir: Path | None) -> Iterator[Measure]:
    """Trains both designs on the same clips: made ones with a face and a voice, and RAVDESS's voices.

    Args:
        data_dir: holds ``ravdess/``; None to leave voices out.
    """
    from emotion.datasets import DATASETS
    from emotion.datasets.synthetic.clips import write_synthetic_dataset

    root = folder / "plain_clips"
    if not root.is_dir():
        partial = root.with_name("plain_clips.partial")
        write_synthetic_dataset(
            partial, n_speakers=N_SPEAKERS, duration_seconds=CLIP_SECONDS, image_size=IMAGE_SIZE, frame_rate=FRAME_RATE
        )
        partial.rename(root)
    config = RunConfig()
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=BATCH_SIZE))
    yield from _compare(DATASETS["ravdess"].load(root), N_SPEAKERS - N_TRAINED, config, folder, "made clips")
    if data_dir is not None:
        config = dataclasses.replace(config, modalities=("audio",))
        yield from _compare(
            DATASETS["ravdess"].load(data_dir / "ravdess"), N_VALIDATED, config, folder, "RAVDESS voices"
        )


def _compare(
    clips: Sequence[Clip], n_validated: int, config: RunConfig, folder: Path, what: str
) -> Iterator[Measure]:  # fmt: skip
    """Trains both designs on all but some speakers and scores them on those after each epoch."""
    from emotion.datasets.cache import ClipCache
    from emotion.models import build_model
    from emotion.training.generators import ClipWindows

    classes, modalities = config.class_names, config.modalities
    clips = [clip for clip in clips if clip.emotion in classes]
    speakers = sorted({clip.speaker for clip in clips})
    training = [clip for clip in clips if clip.speaker in speakers[:-n_validated]]
    validation = [clip for clip in clips if clip.speaker in speakers[-n_validated:]]
    shutil.rmtree(folder / "plain_cache", ignore_errors=True)  # filling it is measured
    cache = ClipCache(folder / "plain_cache", config)
    start = time.perf_counter()
    cache.fill(clips)
    filling = time.perf_counter() - start
    keras.utils.set_random_seed(0)
    ours, plain = build_model(config), build_plain_model(len(classes), modalities)
    batches = ClipWindows(training, cache, config, training=True)
    plain_watch = _ScoreWatch(PlainGenerator(validation, classes, augment=False, modalities=modalities))
    plain.compile("adam", keras.losses.SparseCategoricalCrossentropy())
    plain.fit(PlainGenerator(training, classes, augment=True, modalities=modalities), epochs=N_EPOCHS, verbose=0,
              shuffle=False, callbacks=[plain_watch])  # fmt: skip
    goal = max(plain_watch.recalls)
    watch = _ScoreWatch(ClipWindows(validation, cache, config, training=False), goal)
    ours.compile("adam", keras.losses.SparseCategoricalCrossentropy())
    ours.fit(batches, epochs=N_EPOCHS, verbose=0, shuffle=False,
             callbacks=[EpochSetter(batches, config.training.seed), _SettledAtOnce(batches), watch])  # fmt: skip
    theirs, own = plain_watch.seconds_to(goal), filling + watch.seconds_to(goal)
    n, recall = f"{len(training)} {what}", f"mean recall of each class on {n_validated} other speakers"
    yield Measure(f"{n}, {recall}: the plain design's best in {N_EPOCHS} epochs", goal, "")
    yield Measure(f"{n}: ours in as many epochs, or when it is as good", max(watch.recalls), "", goal, is_limit=False)
    yield Measure(f"{n}: time to that score, the plain design's beside ours", theirs / own, "x", MIN_RATIO,
                  is_limit=False)  # fmt: skip
    yield Measure(f"{n}: time to that score, ours, decoding included", own, "s")
    yield Measure(f"{n}: time to that score, the plain design", theirs, "s")
    yield Measure(f"{n}: decoding all {len(clips)} clips once, for the cache", filling, "s")
    epochs = [statistics.median(each.seconds[1:] or each.seconds) for each in (plain_watch, watch)]
    yield Measure(f"{n}, epoch: the plain design's time beside ours", epochs[0] / epochs[1], "x")


class _SettledAtOnce(NormSettler):
    """Updates batch-norm statistics at each epoch's end, so that the epoch's time includes it."""

    def on_epoch_end(self, epoch, logs=None):
        self.on_test_begin()


class _ScoreWatch(keras.callbacks.Callback):
    """Times the epochs, and scores the network after each, which is not timed; stops at a goal.

    Attributes:
        seconds, recalls: of each epoch.
    """

    def __init__(self, held_out: keras.utils.PyDataset, goal: float = float("inf")):
        super().__init__()
        self.seconds: list[float] = []
        self.recalls: list[float] = []
        self._held_out, self._goal = held_out, goal

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)
        self.recalls.append(_recall(self.model.predict, self._held_out))
        self.model.stop_training = self.recalls[-1] >= self._goal

    def seconds_to(self, goal: float) -> float:
        """Returns how long it took to reach a recall; all the time if it was never reached."""
        reached = [number for number, recall in enumerate(self.recalls, start=1) if recall >= goal]
        return sum(self.seconds[: reached[0] if reached else None])


def _recall(predict: Callable, batches: keras.utils.PyDataset) -> float:
    answers, truths = [], []
    for index in range(batches.num_batches):
        inputs, classes, *_ = batches[index]
        answers.extend(np.argmax(predict(inputs, verbose=0), axis=1))
        truths.extend(classes)
    return float(recall_score(truths, answers, average="macro", zero_division=0))
