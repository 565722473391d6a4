"""A bank of augmented windows of every clip of speech, and training on it.

Varying pitch and tempo takes ten times as long as training on the result. So each clip is varied a few times once, on
all cores, and every training draws from these variants.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from keras import ops

from emotion.config import RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.datasets.votes import soft_target
from emotion.errors import DatasetError
from emotion.files import make_folder, written_whole
from emotion.inputs.clip_windows import compute_inputs, cut_clip_window
from emotion.inputs.preprocessing import Preprocessor
from emotion.inputs.voice.augmentation import mask_time
from emotion.labels import class_index
from emotion.parallel import CRASHED, run_on_cores
from emotion.training.generators import EpochBatches, varied_inputs
from emotion.training.recipes.voices import corpus_of
from emotion.windows import sliding_windows

LABEL_SMOOTHING = 0.1
PLAIN_CHANCE = 0.25  # that a training draws one of a clip's windows as inference cuts it, not a varied one


@dataclass(frozen=True)
class VoiceBank:
    """Windows of speech as a network takes them: first the augmented ones, clip by clip, then the plain ones.

    Attributes:
        windows: ``(n_windows, *audio_shape)`` float16.
        owners: ``(n_windows,)`` the index of the clip that each belongs to.
        n_varied: how many are augmented; the others are the sliding windows that inference would cut.
        clips: ``(n_clips,)`` those clips.
        is_heard: ``(n_windows,)`` bool: whether somebody speaks in it. The others are zeros.
    """

    windows: np.ndarray
    owners: np.ndarray
    n_varied: int
    clips: tuple[Clip, ...]
    is_heard: np.ndarray

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
        """Returns the rows of all windows in which somebody speaks, or only of the plain ones, of some clips."""
        rows = np.flatnonzero(np.isin(self.owners, chosen) & self.is_heard)
        return rows[rows >= self.n_varied] if plain else rows

    def spoken(self) -> np.ndarray:
        """Returns ``(n_clips,)`` bool: whether a clip has a plain window in which somebody speaks."""
        rows = np.flatnonzero(self.is_heard)
        return np.isin(np.arange(len(self.clips)), self.owners[rows[rows >= self.n_varied]])

    def draw_row(self, clip: int, rng: np.random.Generator) -> int:
        """Draws one of a clip's windows."""
        rows = np.flatnonzero((self.owners == clip) & self.is_heard)
        first_plain = int(np.searchsorted(rows, self.n_varied))
        is_plain = first_plain == 0 or (first_plain < len(rows) and rng.random() < PLAIN_CHANCE)
        return int(rng.choice(rows[first_plain:] if is_plain else rows[:first_plain]))


def decode_voices(clips: Sequence[Clip], cache: ClipCache) -> None:
    """Makes sure that a cache holds clips.

    Raises:
        DatasetError: if some cannot be read.
    """
    failures = cache.fill(clips)
    if failures:
        listed = "\n".join(f"  {reason}" for reason in failures.values())
        raise DatasetError(f"{len(failures)} voices cannot be read; fetch them anew or take them out:\n{listed}")


def make_bank(
    clips: list[Clip], cache: ClipCache, config: RunConfig, *, n_variants: int, seed: int, folder: Path
) -> VoiceBank:
    """Makes a bank, or finds it in its folder.

    Args:
        clips: whose windows to compute; those that ``cache`` lacks are decoded.
        config: of an audio network.
        n_variants: augmented windows of each clip. They depend on seed, clip and variant alone, so the banks of two
            networks hold the same variants.
        folder: where the bank is kept.

    Raises:
        DatasetError: if clips cannot be read, or none holds a voice.
    """
    paths = [folder / f"{name}.npy" for name in ("windows", "owners", "is_heard")]
    if not all(path.is_file() for path in paths):
        decode_voices(clips, cache)
        make_folder(folder)
        results: list = [None] * len(clips)
        work = partial(_compute_windows, cache, config, n_variants, seed)
        for (index, clip), result in run_on_cores(work, enumerate(clips), os.cpu_count() or 1):
            if result is CRASHED:
                raise DatasetError(f"{clip.clip_id}: the program crashed on it. Take it out and try again.")
            results[index] = result
        varied, plain = zip(*results, strict=True)
        parts = [*varied, *plain]
        owners = np.repeat(np.tile(np.arange(len(clips)), 2), [len(part) for part in parts])
        windows = np.concatenate(parts)
        is_heard = np.array([bool(window.any()) for window in windows])
        if not is_heard.any():
            raise DatasetError(f"None of {len(clips)} voices holds speech. Are these the right folders?")
        for path, array in zip(paths, (windows, owners, is_heard), strict=True):
            with written_whole(path) as unfinished:
                np.save(unfinished, array)
    windows, owners, is_heard = (np.load(path, mmap_mode="r") for path in paths)
    return VoiceBank(windows, np.asarray(owners), len(clips) * n_variants, tuple(clips), np.asarray(is_heard))


def _compute_windows(cache: ClipCache, config: RunConfig, n_variants: int, seed: int, item: tuple[int, Clip]):
    index, clip = item
    media = cache.load(clip)
    preprocessor = Preprocessor(config)
    spans = sliding_windows(media.duration_seconds, config.window.window_seconds, config.window.step_seconds)
    plain = [compute_inputs(cut_clip_window(media, start, preprocessor), preprocessor)["audio"] for start, _ in spans]
    varied = [
        varied_inputs(media, preprocessor, np.random.default_rng((seed, index, variant)))["audio"]
        for variant in range(n_variants)
    ]
    shape = config.audio_shape
    return np.array(varied, np.float16).reshape(-1, *shape), np.array(plain, np.float16).reshape(-1, *shape)


def keep_common(bank: VoiceBank, other: VoiceBank) -> tuple[VoiceBank, VoiceBank]:
    """Returns two banks of the same windows with those in which somebody speaks at both sample rates.

    Raises:
        DatasetError: if they are not of the same windows, row by row, so that one network could not teach the other.
    """
    if not np.array_equal(bank.owners, other.owners):
        counts = [np.bincount(each.owners, minlength=len(each.clips)) for each in (bank, other)]
        names = [str(clip.audio_path) for clip, n, m in zip(bank.clips, *counts, strict=True) if n != m]
        raise DatasetError("Of another length at one of two sample rates; take them out: " + ", ".join(names))
    common = bank.is_heard & other.is_heard
    return replace(bank, is_heard=common), replace(other, is_heard=common)


# ---- Training on a bank ----


class BankBatches(EpochBatches):
    """Batches of windows drawn from a bank, one of each clip an epoch, with a stretch of time hidden.

    Args:
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


def clip_targets(bank: VoiceBank, class_names: tuple[str, ...], vote_share: float) -> np.ndarray:
    """Returns a probability of each class for each clip, ``(n_clips, n_classes)``; zeros for clips of no class.

    Args:
        vote_share: how much listeners' votes count beside the label, where there are votes.
    """
    return np.stack([soft_target(clip, class_names, vote_share) for clip in bank.clips])


def weigh_clips(corpora: np.ndarray, classes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns ``(n_clips,)`` weights, of mean 1 over the chosen clips, under which every class counts the same.

    Within a class a corpus counts by the square root of its clips, and less if it has more of other classes, so that
    no studio becomes the sound of an emotion. Clips that are not chosen or of no class, marked by -1, get 0.

    Args:
        corpora: ``(n_clips,)`` names.
        classes: ``(n_clips,)`` class indices.
    """
    weights = np.zeros(len(classes))
    chosen = chosen[classes[chosen] >= 0]
    for corpus in np.unique(corpora[chosen]):
        clips = chosen[corpora[chosen] == corpus]
        counts = np.bincount(classes[clips])
        roots = np.sqrt(counts)
        weights[clips] = np.sqrt(len(clips)) * (roots / roots.sum() / np.maximum(counts, 1))[classes[clips]]
    for index in np.unique(classes[chosen]):
        clips = chosen[classes[chosen] == index]
        weights[clips] /= weights[clips].sum()
    return weights * (len(chosen) / max(weights.sum(), 1e-12))


def balanced_targets(
    bank: VoiceBank, chosen: np.ndarray, class_names: tuple[str, ...], vote_share: float
) -> np.ndarray:
    """Returns ``clip_targets`` times ``weigh_clips``, ``(n_clips, n_classes)`` float32; zeros for clips not chosen."""
    corpora = np.array([corpus_of(clip) for clip in bank.clips])
    weights = weigh_clips(corpora, bank.classes(class_names), chosen)
    return (clip_targets(bank, class_names, vote_share) * weights[:, None]).astype(np.float32)


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
