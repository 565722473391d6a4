"""The face branch: its kernels learn from single pictures first, then from pictures set in motion.

It has a head for each set of labels (FER+, FER2013, muxspace); that of FER+ is the one that answers in the end.
"""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.inputs.faces.augmentation import draw_variation, vary_image
from emotion.labels import SEVEN_EMOTIONS
from emotion.models import video_cnn_3d
from emotion.models.layers import dtype_policy
from emotion.training.generators import EpochBatches
from emotion.training.loop import fastest_policy, fit_annealed
from emotion.training.recipes.animation import interrupt, move_head, move_mouth
from emotion.training.recipes.joining import Branch
from emotion.training.recipes.stills import LABEL_SETS, Stills

# ---- Choices ----


@dataclass(frozen=True)
class FrameStage:
    """A part of the training on single pictures: their side in pixels, its epochs and its learning rate."""

    size: int
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Animation:
    """How stills become clips: their length, and the shares with a moving mouth and with a neutral face for a while."""

    n_frames: int = 20
    mouth_chance: float = 0.4
    rest_chance: float = 0.3


@dataclass(frozen=True)
class FaceChoices:
    """How the face branch is trained, and what is made of it.

    Attributes:
        filters: channels of its stages.
        stages: of the training on single pictures.
        mixup: parameter of the beta distribution by which pictures are mixed two by two (Zhang et al. 2018).
        animation, clip_epochs, clip_steps, clip_learning_rate: of the training on stills in motion.
        clip_share: how far the weights go from those for single pictures to those for clips.
        prior_shares: how much of FER+'s prior the answers get back, for clips and for photographs. With none of it,
            rare expressions are seen everywhere; with all of it, weak ones nowhere. Raters of FER+'s photographs say
            neutral a third of the time; people who talk on camera are seen to feel more.
        disgust_offset: added to the logit of disgust in clips. Disgust is so rare among FER+'s faces (1.6 %) that
            without its prior all three angry faces of MEAD that talk were taken for it.
        seed: of everything drawn.
    """

    filters: tuple[int, ...] = (32, 64, 128, 256)
    stages: tuple[FrameStage, ...] = (FrameStage(80, 16, 2e-3), FrameStage(112, 10, 1e-3))
    mixup: float = 0.2
    animation: Animation = field(default_factory=Animation)
    clip_epochs: int = 4
    clip_steps: int = 150
    clip_learning_rate: float = 2e-4
    clip_share: float = 0.25
    prior_shares: tuple[float, float] = (0.2, 0.9)
    disgust_offset: float = -0.35
    seed: int = 0


WEIGHT_DECAY = 0.05
PICTURES_AT_ONCE, CLIPS_AT_ONCE = 64, 16
PRIOR_FLOOR = 1e-6
LABEL_WEIGHTS = (1.0, 0.5, 1.0)  # of each of LABEL_SETS in the loss
FERPLUS = LABEL_SETS.index("ferplus")

# ---- Batches ----

NEUTRAL = SEVEN_EMOTIONS.index("neutral")
N_MOUTHS = 3  # beside its own that a moving mouth takes the shapes of
HIDDEN_CHANCE = 0.4
HIDDEN_SIDE = (0.13, 0.4)  # in parts of the picture's side
LABEL_SMOOTHING = 0.05


class StillBatches(EpochBatches):
    """Augmented batches of stills, as single pictures or animated into clips.

    Shape:
        ``(batch, size, size, 3)`` or ``(batch, n_frames, size, size, 3)`` uint8, and targets
        ``(batch, n_label_sets, n_classes)``.
    """

    def __init__(
        self, stills: Stills, *, size: int, batch_size: int, n_batches: int, seed: int, mixup: float = 0.0,
        animation: Animation | None = None,
    ):  # fmt: skip
        # Few stills come more than once in an epoch.
        items = np.resize(np.arange(len(stills)), max(len(stills), n_batches * batch_size))
        super().__init__(items, batch_size=batch_size, n_batches=n_batches, seed=seed)
        self._stills, self._size, self._mixup, self._animation = stills, size, mixup, animation
        self._neutral = np.flatnonzero(stills.targets[:, FERPLUS, NEUTRAL] > 0.5)

    def __getitem__(self, batch: int):
        chosen = self.chosen(batch)
        pictures = np.stack([self._vary(int(i)) for i in chosen])
        targets = smooth(self._stills.targets[chosen])
        if self._mixup:
            rng = np.random.default_rng((self.seed, self.epoch, batch, 1))
            shares = rng.beta(self._mixup, self._mixup, size=len(chosen)).astype(np.float32)
            # The greater share is the picture's own, so that a picture whose partner has no label keeps its meaning.
            shares = np.maximum(shares, 1 - shares)
            picture_shares = shares.reshape(-1, *[1] * (pictures.ndim - 1))
            mixed = pictures * picture_shares + pictures[::-1] * (1 - picture_shares)
            pictures = np.rint(mixed).astype(np.uint8)
            targets = targets * shares[:, None, None] + targets[::-1] * (1 - shares[:, None, None])
        return np.repeat(pictures[..., None], 3, axis=-1), targets

    def _vary(self, index: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.epoch, index))
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
    """Spreads a little of each target over all classes; empty targets stay empty."""
    return targets * (1 - LABEL_SMOOTHING) + targets.sum(axis=-1, keepdims=True) * LABEL_SMOOTHING / targets.shape[-1]


def hide_part(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Covers a rectangle with one grey (random erasing, Zhong et al. 2020), as hands and hair do."""
    side = picture.shape[0]
    height, width = rng.integers(round(HIDDEN_SIDE[0] * side), round(HIDDEN_SIDE[1] * side), size=2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    covered = picture.copy()
    covered[top : top + height, left : left + width] = rng.integers(0, 256)
    return covered


# ---- Networks ----


def build_headed_network(config: RunConfig, size: int | None = None, *, over_time: bool = False) -> keras.Model:
    """Builds the face branch, for pictures of some side or for clips, up to logits ``(b, n_label_sets, n_classes)``."""
    trunk, n_classes = video_cnn_3d.build_frame_network(config, size=size, over_time=over_time), len(config.class_names)
    features = trunk.get_layer("video_features").output
    heads = layers.Dense(len(LABEL_SETS) * n_classes, dtype="float32", name="heads")(features)
    return keras.Model(trunk.input, layers.Reshape((len(LABEL_SETS), n_classes), name="logits")(heads))


def inflate(frame_network: keras.Model, clip_network: keras.Model) -> None:
    """Gives a network for clips the weights of one for pictures."""
    video_cnn_3d.inflate(frame_network, clip_network)
    clip_network.get_layer("heads").set_weights(frame_network.get_layer("heads").get_weights())


def build_prior_loss(prior: np.ndarray):
    """Returns a cross-entropy under which a network learns what a face shows apart from how common that is.

    In training only, the logarithm of the classes' shares is added to the logits (logit adjustment, Menon et al. 2021);
    without it the network then answers as if all emotions were equally common.

    Args:
        prior: ``(n_label_sets, n_classes)`` shares in each set of labels.
    """
    offset = np.log(prior + PRIOR_FLOOR).astype(np.float32)
    weights = np.array(LABEL_WEIGHTS, np.float32)

    def loss(targets, logits):
        log_probabilities = ops.log_softmax(ops.cast(logits, "float32") + offset, axis=-1)
        return ops.sum(-ops.sum(targets * log_probabilities, axis=-1) * weights, axis=-1)

    return loss


def train_frame_network(
    stills: Stills, config: RunConfig, choices: FaceChoices, folder: Path, reporter: Reporter = SILENT
) -> keras.Model:
    """Trains the face branch on single pictures, small ones first, which halves the time.

    Returns:
        A float32 network of pictures at full size.
    """
    weights = None
    for number, stage in enumerate(choices.stages, start=1):
        keras.utils.set_random_seed(choices.seed + number)
        with dtype_policy(fastest_policy()):
            network = build_headed_network(config, stage.size)
        if weights is not None:
            network.set_weights(weights)
        batches = StillBatches(
            stills, size=stage.size, batch_size=PICTURES_AT_ONCE, n_batches=len(stills) // PICTURES_AT_ONCE,
            seed=choices.seed + number, mixup=choices.mixup,
        )  # fmt: skip
        fit_annealed(
            network, batches, build_prior_loss(stills.prior()), epochs=stage.epochs, learning_rate=stage.learning_rate,
            weight_decay=WEIGHT_DECAY, seed=choices.seed, folder=folder / f"pictures{number}", reporter=reporter,
        )  # fmt: skip
        weights = network.get_weights()
    final = build_headed_network(config, config.video.image_size)
    final.set_weights(weights)
    return final


def train_clip_network(
    frame_network: keras.Model, stills: Stills, config: RunConfig, choices: FaceChoices, folder: Path,
    reporter: Reporter = SILENT,
) -> keras.Model:  # fmt: skip
    """Inflates a network for pictures to clips and trains it further on stills in motion; float32."""
    keras.utils.set_random_seed(choices.seed)
    with dtype_policy(fastest_policy()):
        network = build_headed_network(config, over_time=True)
    inflate(frame_network, network)
    batches = StillBatches(
        stills, size=config.video.image_size, batch_size=CLIPS_AT_ONCE, n_batches=choices.clip_steps,
        seed=choices.seed, animation=choices.animation,
    )  # fmt: skip
    fit_annealed(
        network, batches, build_prior_loss(stills.prior()), epochs=choices.clip_epochs,
        learning_rate=choices.clip_learning_rate, weight_decay=WEIGHT_DECAY, seed=choices.seed, folder=folder,
        reporter=reporter,
    )  # fmt: skip
    final = build_headed_network(config, over_time=True)
    final.set_weights(network.get_weights())
    return final


def blend_over_time(
    frame_network: keras.Model, clip_network: keras.Model, share: float, config: RunConfig
) -> keras.Model:
    """Builds the network between one for pictures and one for clips, with ``share`` of the latter's weights.

    What a network learned before and what it was tuned to often go together in between (WiSE-FT, Wortsman et al. 2022).
    """
    blended = build_headed_network(config, over_time=True)
    inflate(frame_network, blended)
    pairs = zip(blended.get_weights(), clip_network.get_weights(), strict=True)
    blended.set_weights([(1 - share) * before + share * after for before, after in pairs])
    return blended


def answering_branch(
    network: keras.Model, prior: np.ndarray, prior_shares: tuple[float, float], disgust_offset: float = 0.0
) -> Branch:
    """Makes FER+'s head the answer, with a share of its prior.

    Args:
        network: for clips.
        prior: ``(n_label_sets, n_classes)``.
        prior_shares, disgust_offset: see ``FaceChoices``.
    """
    kernel, bias = network.get_layer("heads").get_weights()
    shape = (-1, len(LABEL_SETS), prior.shape[1])
    offset = np.log(prior[FERPLUS] + PRIOR_FLOOR)
    for_clips, for_photographs = prior_shares
    clip_bias = for_clips * offset
    clip_bias[SEVEN_EMOTIONS.index("disgust")] += disgust_offset
    arrays = (
        kernel.reshape(shape)[:, FERPLUS], bias.reshape(shape)[0, FERPLUS] + clip_bias,
        for_photographs * offset - clip_bias,
    )  # fmt: skip
    return Branch(network, *(array.astype(np.float32) for array in arrays))
