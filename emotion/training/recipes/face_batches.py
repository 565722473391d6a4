"""Batches of stills for the face branch: varied pictures, or clips that they are animated into."""

from dataclasses import dataclass

import keras
import numpy as np

from emotion.inputs.faces.augmentation import draw_variation, vary_image
from emotion.labels import SEVEN_EMOTIONS
from emotion.training.recipes.animation import interrupt, move_head, move_mouth
from emotion.training.recipes.stills import LABEL_SETS, Stills

NEUTRAL = SEVEN_EMOTIONS.index("neutral")
N_MOUTHS = 3  # beside its own that a moving mouth takes the shapes of
HIDDEN_CHANCE = 0.4
HIDDEN_SIDE = (0.13, 0.4)  # in parts of the picture's side
LABEL_SMOOTHING = 0.05


@dataclass(frozen=True)
class Animation:
    """How stills become clips.

    Attributes:
        n_frames: length of a clip.
        mouth_chance: of clips whose mouth moves.
        rest_chance: of clips that show a neutral face for a while.
    """

    n_frames: int = 20
    mouth_chance: float = 0.4
    rest_chance: float = 0.3


class StillBatches(keras.utils.PyDataset):
    """Augmented batches of stills, as single pictures or animated into clips.

    Shape:
        ``(batch, size, size, 3)`` or ``(batch, n_frames, size, size, 3)`` uint8, and targets
        ``(batch, n_label_sets, n_classes)``.
    """

    def __init__(
        self, stills: Stills, *, size: int, batch_size: int, n_batches: int, seed: int, mixup: float = 0.0,
        animation: Animation | None = None,
    ):  # fmt: skip
        super().__init__(workers=2, max_queue_size=8)
        self._stills, self._size, self._batch_size, self._n_batches = stills, size, batch_size, n_batches
        self._seed, self._mixup, self._animation = seed, mixup, animation
        self._neutral = np.flatnonzero(stills.targets[:, LABEL_SETS.index("ferplus"), NEUTRAL] > 0.5)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Moves on to an epoch's order and draws."""
        self._epoch = epoch
        self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._stills))

    @property
    def num_batches(self) -> int:
        return self._n_batches

    def __getitem__(self, batch: int):
        chosen = self._order[np.arange(batch * self._batch_size, (batch + 1) * self._batch_size) % len(self._stills)]
        pictures = np.stack([self._vary(int(i)) for i in chosen])
        targets = smooth(self._stills.targets[chosen])
        if self._mixup:
            rng = np.random.default_rng((self._seed, self._epoch, batch, 1))
            shares = rng.beta(self._mixup, self._mixup, size=len(chosen)).astype(np.float32)
            # The greater share is the picture's own, so that a picture whose partner has no label keeps its meaning.
            shares = np.maximum(shares, 1 - shares)
            picture_shares = shares.reshape(-1, *[1] * (pictures.ndim - 1))
            mixed = pictures * picture_shares + pictures[::-1] * (1 - picture_shares)
            pictures = np.rint(mixed).astype(np.uint8)
            targets = targets * shares[:, None, None] + targets[::-1] * (1 - shares[:, None, None])
        return np.repeat(pictures[..., None], 3, axis=-1), targets

    def _vary(self, index: int) -> np.ndarray:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        picture = self._stills.images[index]
        if rng.random() < HIDDEN_CHANCE:
            picture = hide_part(picture, rng)
        if self._animation:
            return self._animate(picture, self._animation, rng)
        return vary_image(picture, draw_variation(rng), self._size)

    def _animate(self, picture: np.ndarray, animation: Animation, rng: np.random.Generator) -> np.ndarray:
        images = self._stills.images
        frames = np.broadcast_to(picture, (animation.n_frames, *picture.shape))
        if rng.random() < animation.mouth_chance:
            others = images[rng.integers(0, len(images), size=N_MOUTHS)]
            frames = move_mouth(picture, others, animation.n_frames, rng)
        if len(self._neutral) and rng.random() < animation.rest_chance:
            rest = images[rng.choice(self._neutral)]
            frames = interrupt(frames, np.broadcast_to(rest, frames.shape), rng)
        return move_head(list(frames), rng, self._size)


def smooth(targets: np.ndarray) -> np.ndarray:
    """Spreads a little of each target over all classes; targets of nothing stay so."""
    return targets * (1 - LABEL_SMOOTHING) + targets.sum(axis=-1, keepdims=True) * LABEL_SMOOTHING / targets.shape[-1]


def hide_part(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Covers a rectangle with one grey (random erasing, Zhong et al. 2020): hands and hair do so, too."""
    side = picture.shape[0]
    height, width = rng.integers(round(HIDDEN_SIDE[0] * side), round(HIDDEN_SIDE[1] * side), size=2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    covered = picture.copy()
    covered[top : top + height, left : left + width] = rng.integers(0, 256)
    return covered
