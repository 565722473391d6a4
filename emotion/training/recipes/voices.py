"""Speech for the recipes: speakers set apart, and a bank of augmented windows of every clip.

Varying pitch and tempo takes ten times as long as training on the result. So each clip is varied a few times once, on
all cores, and every training draws from these variants.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from keras import ops

from emotion.config import RunConfig
from emotion.datasets import emodb, ravdess
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.datasets.protocols import split_by_speaker
from emotion.errors import DatasetError
from emotion.files import written_whole
from emotion.inputs.preprocessing import Preprocessor
from emotion.inputs.voice.augmentation import mask_time
from emotion.inputs.window_cutter import cut_clip
from emotion.labels import class_index
from emotion.parallel import CRASHED, run_in_processes
from emotion.training.generators import EpochBatches, varied_inputs

LABEL_SMOOTHING = 0.1
PLAIN_CHANCE = 0.25  # that a training draws one of a clip's windows as inference cuts it, not a varied one


@dataclass(frozen=True)
class Voices:
    """Clips of speech, speakers apart.

    Attributes:
        train, validation: clips whose emotion is one of the classes.
        unlabelled: other clips of the speakers trained on.
    """

    train: list[Clip]
    validation: list[Clip]
    unlabelled: list[Clip]

    @property
    def clips(self) -> list[Clip]:
        """All clips, in the order of the banks."""
        return [*self.train, *self.validation, *self.unlabelled]


def load_voices(data_root: Path, class_names: tuple[str, ...], *, validation_fraction: float, seed: int) -> Voices:
    """Reads RAVDESS and EmoDB and sets a share of the speakers of each apart, as many women as men.

    Raises:
        DatasetError: if one is missing.
    """
    train, validation, unlabelled = [], [], []
    for name, load in (("ravdess", ravdess.load), ("emodb", emodb.load)):
        every_clip = load(data_root / name)
        clips = [c for c in every_clip if class_index(c.emotion, class_names) is not None]
        split = split_by_speaker(clips, validation_fraction=validation_fraction, test_fraction=0.0, seed=seed)
        train += [clip for clip in clips if split.sides[clip.clip_id] == "train"]
        validation += [clip for clip in clips if split.sides[clip.clip_id] == "validation"]
        speakers = {clip.speaker for clip in train}
        unlabelled += [
            clip for clip in every_clip if clip.speaker in speakers and class_index(clip.emotion, class_names) is None
        ]
    return Voices(train, validation, unlabelled)


@dataclass(frozen=True)
class VoiceBank:
    """Windows of speech as a network takes them: first the augmented ones, clip by clip, then the plain ones.

    Attributes:
        windows: ``(n_windows, *audio_shape)`` float16.
        owners: ``(n_windows,)`` the index of the clip that each belongs to.
        n_varied: how many are augmented; the others are the sliding windows that inference would cut.
        clips: ``(n_clips,)`` those clips.
    """

    windows: np.ndarray
    owners: np.ndarray
    n_varied: int
    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return len(self.windows)

    def classes(self, class_names: tuple[str, ...]) -> np.ndarray:
        """Returns ``(n_clips,)`` class indices, -1 where a clip is of none of the classes."""
        indices = [class_index(clip.emotion, class_names) for clip in self.clips]
        return np.array([-1 if index is None else index for index in indices])

    def inputs(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns windows as float32."""
        return np.asarray(self.windows[rows], np.float32)

    def rows_of(self, chosen: np.ndarray | int, *, plain: bool = False) -> np.ndarray:
        """Returns the rows of all windows, or only of the plain ones, of some clips."""
        rows = np.flatnonzero(np.isin(self.owners, chosen))
        return rows[rows >= self.n_varied] if plain else rows

    def draw_row(self, clip: int, rng: np.random.Generator) -> int:
        """Draws one of a clip's windows."""
        rows = np.flatnonzero(self.owners == clip)
        first_plain = int(np.searchsorted(rows, self.n_varied))
        is_plain = first_plain < len(rows) and rng.random() < PLAIN_CHANCE
        return int(rng.choice(rows[first_plain:] if is_plain else rows[:first_plain]))


def make_bank(
    clips: list[Clip], cache: ClipCache, config: RunConfig, *, n_variants: int, seed: int, folder: Path
) -> VoiceBank:
    """Makes a bank, or finds it in its folder.

    Args:
        clips: whose windows to compute; those that ``cache`` lacks are decoded.
        cache: of decoded clips.
        config: of an audio network.
        n_variants: augmented windows of each clip. They depend on seed, clip and variant alone, so the banks of two
            networks hold the same variants.
        seed: of the draws.
        folder: where the bank is kept.

    Raises:
        DatasetError: if clips cannot be read or hold no sound.
    """
    paths = [folder / f"{name}.npy" for name in ("windows", "owners")]
    if not all(path.is_file() for path in paths):
        failures = cache.fill(clips)
        if failures:
            listed = "\n".join(f"  {reason}" for reason in failures.values())
            raise DatasetError(f"{len(failures)} voices cannot be read; fetch them anew or take them out:\n{listed}")
        folder.mkdir(parents=True, exist_ok=True)
        results: list = [None] * len(clips)
        work = partial(_compute_windows, cache, config, n_variants, seed)
        for (index, clip), result in run_in_processes(work, enumerate(clips), os.cpu_count() or 1):
            if result is CRASHED:
                raise DatasetError(f"{clip.clip_id}: the program crashed on it. Take it out and try again.")
            results[index] = result
        varied, plain = zip(*results, strict=True)
        silent = [str(clip.audio_path) for clip, windows in zip(clips, plain, strict=True) if not len(windows)]
        if silent:
            raise DatasetError(f"{len(silent)} voices hold no sound; take them out:\n  " + "\n  ".join(silent))
        parts = [*varied, *plain]
        owners = np.repeat(np.tile(np.arange(len(clips)), 2), [len(part) for part in parts])
        for path, array in zip(paths, (np.concatenate(parts), owners), strict=True):
            with written_whole(path) as unfinished:
                np.save(unfinished, array)
    windows, owners = (np.load(path, mmap_mode="r") for path in paths)
    return VoiceBank(windows, np.asarray(owners), len(clips) * n_variants, tuple(clips))


def _compute_windows(cache: ClipCache, config: RunConfig, n_variants: int, seed: int, item: tuple[int, Clip]):
    index, clip = item
    media = cache.load(clip)
    preprocessor = Preprocessor(config)
    plain = [window["audio"] for window in cut_clip(media, preprocessor)]
    varied = [
        varied_inputs(media, preprocessor, np.random.default_rng((seed, index, variant)))["audio"]
        for variant in range(n_variants)
    ]
    shape = config.audio_shape
    return np.array(varied, np.float16).reshape(-1, *shape), np.array(plain, np.float16).reshape(-1, *shape)


def check_same_windows(bank: VoiceBank, other: VoiceBank) -> None:
    """Makes sure that two banks hold the same windows, row by row, so that one network can teach the other.

    Raises:
        DatasetError: if not, as where a window is silent at one sample rate and not at the other.
    """
    if not np.array_equal(bank.owners, other.owners):
        counts = [np.bincount(each.owners, minlength=len(each.clips)) for each in (bank, other)]
        names = [str(clip.audio_path) for clip, n, m in zip(bank.clips, *counts, strict=True) if n != m]
        raise DatasetError("Too nearly silent for one of two sample rates; take them out: " + ", ".join(names))


# ---- Training on a bank ----


class BankBatches(EpochBatches):
    """Batches of windows drawn from a bank, one of each clip an epoch, with a stretch of time hidden.

    Args:
        bank: the windows.
        chosen: indices of the clips to draw from.
        targets: ``(n_windows, n_targets)`` float32, of each of the bank's windows.

    Shape:
        ``({"audio": (b, *audio_shape)}, (b, n_targets))``.
    """

    def __init__(self, bank: VoiceBank, chosen: np.ndarray, targets: np.ndarray, *, batch_size: int, seed: int):
        super().__init__(chosen, batch_size=batch_size, seed=seed)
        self._bank, self._targets = bank, targets

    def __getitem__(self, batch: int):
        rng = np.random.default_rng((self.seed, self.epoch, batch))
        rows = [self._bank.draw_row(int(clip), rng) for clip in self.chosen(batch)]
        windows = [mask_time(window, rng) for window in self._bank.inputs(rows)]
        return {"audio": np.stack(windows)}, self._targets[rows]


def balanced_targets(classes: np.ndarray, chosen: np.ndarray, n_classes: int) -> np.ndarray:
    """One-hot targets ``(n_clips, n_classes)``, scaled so that every class counts the same among the chosen clips.

    Clips of no class, marked by -1, get zeros.
    """
    counts = np.bincount(classes[chosen], minlength=n_classes)
    weights = counts.sum() / (n_classes * np.maximum(counts, 1))
    targets = np.zeros((len(classes), n_classes), np.float32)
    known = np.flatnonzero(classes >= 0)
    targets[known, classes[known]] = weights[classes[known]]
    return targets


def categorical_loss(targets, logits):
    """Cross-entropy of targets ``(batch, n_classes)``, which need not sum to 1, with label smoothing."""
    smoothed = targets * (1 - LABEL_SMOOTHING) + ops.mean(targets, axis=-1, keepdims=True) * LABEL_SMOOTHING
    return -ops.sum(smoothed * ops.log_softmax(ops.cast(logits, "float32"), axis=-1), axis=-1)


def merge_windows(probabilities: np.ndarray, owners: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Averages the windows of each chosen clip: ``(n_windows, n_classes)`` to ``(n_chosen, n_classes)``."""
    sums = np.zeros((int(max(owners.max(initial=0), chosen.max(initial=0))) + 1, probabilities.shape[1]))
    np.add.at(sums, owners, probabilities)
    merged = sums[chosen]
    return merged / np.maximum(merged.sum(axis=1, keepdims=True), 1e-12)
