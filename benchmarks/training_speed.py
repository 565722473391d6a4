"""Training speed: features and augmentation compared with librosa's, and the time spent waiting for batches."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.measures import Measure

N_CALLS = 40
N_BATCHES = 20


def time_calls(*calls: Callable[[], object]) -> list[float]:
    """Returns the median seconds of each call; they take turns, so that other load affects all alike."""
    for call in calls:
        call()
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(N_CALLS):
        for call, times in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def measure_features() -> Iterator[Measure]:
    """Compares the MFCCs of a window with librosa's, in time and value."""
    import librosa

    from emotion.config import RunConfig
    from emotion.datasets.synthetic.voices import synthesize_voice
    from emotion.inputs.voice.features import compute_mfcc

    config, audio = RunConfig(), RunConfig().audio
    voice = synthesize_voice(
        "happy", speaker_seed=1, duration_seconds=config.window.window_seconds, sample_rate=audio.sample_rate
    )
    voice = np.resize(voice, config.window_samples).astype(np.float32)

    def librosas() -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=voice, sr=audio.sample_rate, n_fft=config.n_fft, hop_length=config.hop_length, n_mels=audio.n_mels,
            fmin=audio.min_frequency_hz, fmax=audio.max_frequency_hz,
        )  # fmt: skip
        decibels = librosa.power_to_db(mel, ref=np.max, top_db=audio.top_db)
        return librosa.feature.mfcc(S=decibels, n_mfcc=audio.n_mfcc)[:, : audio.n_steps]

    ours, theirs = time_calls(lambda: compute_mfcc(voice, config), librosas)
    difference = float(np.abs(compute_mfcc(voice, config) - librosas()).max() / np.abs(librosas()).max())
    yield Measure("MFCC of a window, librosa's time beside ours", theirs / ours, "x", 4, is_limit=False)
    yield Measure("MFCC: largest difference, in parts of the largest value", difference, "", 1e-4)
    yield Measure("MFCC of a window", 1000 * ours, "ms")


def measure_augmentation() -> Iterator[Measure]:
    """Compares the augmentation of a window with librosa's functions."""
    import librosa

    from emotion.config import RunConfig
    from emotion.inputs.voice.augmentation import VoiceVariation, vary_voice

    config = RunConfig()
    rate, n_samples = config.audio.sample_rate, config.window_samples
    voice = np.random.default_rng(0).normal(0, 0.1, round(1.1 * n_samples)).astype(np.float32)
    variation = VoiceVariation(semitones=1.5, rate=1.1, snr_db=20.0, noise_seed=0)

    def librosas() -> np.ndarray:
        slower = librosa.effects.time_stretch(voice, rate=1.1)
        higher = librosa.effects.pitch_shift(slower, sr=rate, n_steps=1.5)
        return higher + 0.01 * np.random.default_rng(0).standard_normal(len(higher))

    ours, theirs = time_calls(lambda: vary_voice(voice, rate, variation, n_samples), librosas)
    yield Measure("pitch, tempo and noise of a window, librosa's time beside ours", theirs / ours, "x")
    yield Measure("pitch, tempo and noise of a window", 1000 * ours, "ms")


def measure_waiting(folder: Path) -> Iterator[Measure]:
    """Measures how much of a training step the default model waits for its batch.

    It compares epochs over three sources: the generators; the same batches made beforehand; and those, each delayed by
    two workers for as long as making one takes. The third is slower than the second only if batches come too late. The
    first is slower than the third only because generators and model share the cores.
    """
    import dataclasses

    import keras

    from emotion.config import RunConfig
    from emotion.datasets import DATASETS
    from emotion.datasets.cache import ClipCache
    from emotion.datasets.synthetic.clips import write_synthetic_dataset
    from emotion.models import build_model
    from emotion.training.generators import ClipWindows

    root = folder / "training_clips"
    if not root.is_dir():
        partial = root.with_name("training_clips.partial")
        write_synthetic_dataset(partial, n_speakers=4, duration_seconds=3.0)
        partial.rename(root)
    config = RunConfig()
    n_clips = N_BATCHES * config.training.batch_size
    clips = DATASETS["ravdess"].load(root)
    cache = ClipCache(folder / "training_cache", config)
    start = time.perf_counter()
    n_missing = sum(not cache.holds(clip) for clip in clips)
    cache.fill(clips)
    if n_missing:
        yield Measure("clips cached a second", n_missing / (time.perf_counter() - start), "clips/s")
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    clips = (clips * (1 + n_clips // len(clips)))[:n_clips]
    batches = ClipWindows(clips, cache, config, training=True)
    model = build_model(config)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy())

    items = [batches[i] for i in range(batches.num_batches)]
    start = time.perf_counter()
    for i in range(batches.num_batches):
        batches[i]
    alone = (time.perf_counter() - start) / batches.num_batches

    class Kept(keras.utils.PyDataset):
        def __init__(self, held_back_seconds: float):
            super().__init__(workers=2, max_queue_size=8)  # as ``ClipWindows``
            self._held_back_seconds = held_back_seconds

        @property
        def num_batches(self) -> int:
            return len(items)

        def __getitem__(self, index: int):
            time.sleep(self._held_back_seconds)
            return items[index]

    sources = {"generated": batches, "kept": Kept(0.0), "held back": Kept(alone)}
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for round_number in range(3):
        for name, source in sources.items():
            start = time.perf_counter()
            model.fit(source, epochs=1, verbose=0, shuffle=False)
            if round_number:  # the first traces the step
                seconds[name].append(time.perf_counter() - start)
    generated, kept, held_back = (min(seconds[name]) for name in sources)
    yield Measure("waiting for batches, part of a step", max(0.0, 1 - kept / held_back), "", 0.05)
    yield Measure("sharing cores with the generators, part of a step", max(0.0, 1 - kept / generated), "")
    yield Measure(
        f"step of the default model, {config.training.batch_size} clips", 1000 * generated / batches.num_batches, "ms"
    )
    yield Measure(f"a batch of {config.training.batch_size} clips, made by one thread", 1000 * alone, "ms")


def measure(folder: Path) -> Iterator[Measure]:
    """Measures all of it; ``folder`` keeps the clips and their cache."""
    yield from measure_features()
    yield from measure_augmentation()
    yield from measure_waiting(folder)
