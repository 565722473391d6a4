"""Training each branch of the default design alone: faces from stills, voices from speech."""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from emotion.config import RunConfig
from emotion.faces.augmentation import animate_still, draw_variation, vary_image
from emotion.generators import ClipWindows, EpochSetter
from emotion.models import mfcc_cnn_3d
from emotion.recipes.stills import Stills

LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 1e-3
# A running mean of the weights (Polyak & Juditsky 1992) generalises better than the last step's.
AVERAGE_MOMENTUM = 0.998
HIDDEN_CHANCE = 0.4
HIDDEN_SIDE = (15, 45)  # pixels


class StillBatches(keras.utils.PyDataset):
    """Augmented batches of stills, as single pictures or animated into clips.

    Shape:
        ``(batch, size, size, 3)`` or ``(batch, n_frames, size, size, 3)`` uint8, and targets ``(batch, n_classes)``.
    """

    def __init__(self, stills: Stills, *, batch_size: int, n_batches: int, seed: int, n_frames: int = 0):
        super().__init__(workers=2, max_queue_size=8)
        self._stills, self._batch_size, self._n_batches = stills, batch_size, n_batches
        self._seed, self._n_frames = seed, n_frames
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
        return np.repeat(pictures[..., None], 3, axis=-1), self._stills.targets[chosen]

    def _vary(self, index: int) -> np.ndarray:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        picture = self._stills.images[index]
        if rng.random() < HIDDEN_CHANCE:
            picture = _hide_part(picture, rng)
        if self._n_frames:
            return animate_still(picture, self._n_frames, rng)
        return vary_image(picture, draw_variation(rng))


def _hide_part(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Covers a rectangle with one grey (random erasing, Zhong et al. 2020): hands and hair do so, too."""
    height, width = rng.integers(*HIDDEN_SIDE, size=2)
    top, left = rng.integers(0, picture.shape[0] - height), rng.integers(0, picture.shape[1] - width)
    covered = picture.copy()
    covered[top : top + height, left : left + width] = rng.integers(0, 256)
    return covered


def build_prior_loss(prior: np.ndarray):
    """Returns a cross-entropy under which the network learns what a face shows apart from how common that is.

    The logarithm of the classes' shares is added to the logits in training only (logit adjustment, Menon et al. 2021),
    so that without it the network answers as if all emotions were equally common.

    Args:
        prior: ``(n_classes,)`` shares in the training data.
    """
    offset = np.log(prior + 1e-6).astype(np.float32)

    def loss(targets, logits):
        return keras.losses.categorical_crossentropy(targets, logits + offset, from_logits=True)

    return loss


def smoothed_loss(class_indices, logits):
    """Cross-entropy of class indices ``(batch,)`` with label smoothing."""
    targets = ops.one_hot(ops.cast(ops.reshape(class_indices, (-1,)), "int32"), logits.shape[-1])
    return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=LABEL_SMOOTHING)


def train_frame_network(
    stills: Stills, config: RunConfig, *, epochs: int, learning_rate: float, seed: int, verbose: int
) -> keras.Model:
    """Trains the video branch on single pictures."""
    keras.utils.set_random_seed(seed)
    network = mfcc_cnn_3d.build_frame_network(config)
    batches = StillBatches(stills, batch_size=64, n_batches=len(stills) // 64, seed=seed)
    _fit(network, batches, build_prior_loss(stills.targets.mean(axis=0)), epochs, learning_rate, seed, verbose)
    return network


def tune_over_time(
    frame_network: keras.Model,
    stills: Stills,
    config: RunConfig,
    *,
    n_steps: int,
    learning_rate: float,
    seed: int,
    verbose: int,
) -> keras.Model:
    """Inflates a frame network to clips and trains it further on animated stills."""
    keras.utils.set_random_seed(seed)
    network = mfcc_cnn_3d.build_frame_network(config, over_time=True)
    mfcc_cnn_3d.inflate(frame_network, network)
    network.get_layer("logits").set_weights(frame_network.get_layer("logits").get_weights())
    batches = StillBatches(stills, batch_size=16, n_batches=n_steps, seed=seed, n_frames=config.video.n_frames)
    _fit(network, batches, build_prior_loss(stills.targets.mean(axis=0)), 1, learning_rate, seed, verbose)
    return network


def train_voice_network(
    windows: ClipWindows, config: RunConfig, *, epochs: int, learning_rate: float, seed: int, verbose: int
) -> keras.Model:
    """Trains the audio branch on windows of speech."""
    keras.utils.set_random_seed(seed)
    network = mfcc_cnn_3d.build_voice_network(config)
    _fit(network, windows, smoothed_loss, epochs, learning_rate, seed, verbose)
    return network


def _fit(network: keras.Model, batches, loss, epochs: int, learning_rate: float, seed: int, verbose: int) -> None:
    n_steps = epochs * batches.num_batches
    warmup = min(300, n_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, n_steps - warmup, alpha=0.01, warmup_target=learning_rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=WEIGHT_DECAY,
        clipnorm=1.0,
        use_ema=True,
        ema_momentum=min(AVERAGE_MOMENTUM, max(0.0, 1 - 20 / n_steps)),
    )
    network.compile(optimizer, loss)
    # One call of fit: at the end of each, Keras replaces the weights by their running mean.
    network.fit(batches, epochs=epochs, shuffle=False, verbose=verbose, callbacks=[EpochSetter(batches, seed)])


def save_network(network: keras.Model, path: Path) -> None:
    """Saves a network without its optimizer and loss, under a temporary name first."""
    # clone_model would carry the loss along, which is a function of ours that cannot be loaded again.
    bare = keras.Model.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    temporary = path.with_name(f"partial-{path.name}")
    bare.save(temporary)
    temporary.replace(path)
