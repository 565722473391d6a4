"""The light face branch: it learns from labelled photographs, and can learn from a teacher that has seen more faces.

It has a head for each set of labels (FER+, FER2013, muxspace), one for the teacher's answers (Hinton et al. 2015,
"Distilling the knowledge in a neural network") and one that guesses the teacher's features (hints, Romero et al. 2015).
In the end FER+'s head answers. For faces in motion it gets little of its prior back, since FER+'s raters call most
faces neutral that talk with feeling.

The shipped model learns from labels alone. What the teacher taught in the hours at hand was worse: see
docs/lab_notebook.md.

First it sees single pictures, small ones before large ones; then pictures set in motion.
"""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.inputs.faces.augmentation import draw_frame_variation, vary_image
from emotion.labels import SEVEN_EMOTIONS
from emotion.models import video_cnn_3d
from emotion.models.layers import dtype_policy
from emotion.training.generators import EpochBatches
from emotion.training.loop import fastest_policy, fit_annealed
from emotion.training.recipes.animation import interrupt, move_head, move_mouth
from emotion.training.recipes.joining import Branch
from emotion.training.recipes.light_voice import compute_hints
from emotion.training.recipes.stills import LABEL_SETS, Stills

# ---- Choices ----


@dataclass(frozen=True)
class FrameStage:
    """A part of the training on single pictures.

    Attributes:
        size: side of the pictures in pixels.
        answer_weight: of the teacher's answers in the loss, beside the labels.
    """

    size: int
    epochs: int
    learning_rate: float
    answer_weight: float = 0.0


@dataclass(frozen=True)
class Animation:
    """How stills become clips: their length, and the shares with a moving mouth and with a neutral face for a while."""

    n_frames: int = 8
    mouth_chance: float = 0.4
    rest_chance: float = 0.3


@dataclass(frozen=True)
class FaceChoices:
    """How the face branch is trained, and what is made of it.

    Attributes:
        filters, units: channels of its stages, and its features.
        stages: of the training on single pictures.
        mixup: parameter of the beta distribution by which pictures are mixed two by two (Zhang et al. 2018).
        hint_weight: of the hints in the loss, beside the labels.
        n_hints: principal components of the teacher's features to be guessed.
        animation, clip_epochs, clip_steps, clip_learning_rate, clip_answer_weight: of the training on stills in
            motion. Every other step shows single pictures, so that the network goes on reading them as well.
        clip_share: how far the weights go from those for single pictures to those learned from clips.
        still_prior_share, moving_prior_share: how much of FER+'s prior its head gets back, for photographs and for
            faces in motion. With none of it, rare expressions are seen everywhere. With None the teacher's head answers
            for faces in motion.
        disgust_offset: added to the logit of disgust in motion. It is so rare among FER+'s faces (1.6 %) that taking
            its prior away makes disgust of every angry face that talks.
        seed: of everything drawn.
    """

    filters: tuple[int, ...] = (32, 64, 128, 256)
    units: int = 128
    stages: tuple[FrameStage, ...] = (FrameStage(80, 16, 2e-3), FrameStage(112, 10, 1e-3))
    mixup: float = 0.2
    hint_weight: float = 0.0
    n_hints: int = 64
    animation: Animation = field(default_factory=Animation)
    clip_epochs: int = 4
    clip_steps: int = 300
    clip_learning_rate: float = 2e-4
    clip_answer_weight: float = 0.0
    clip_share: float = 0.25
    still_prior_share: float = 0.9
    moving_prior_share: float | None = 0.2
    disgust_offset: float = -0.35
    seed: int = 0

    @property
    def has_teacher(self) -> bool:
        """Whether anything is learned from the teacher."""
        weights = [self.hint_weight, self.clip_answer_weight, *(stage.answer_weight for stage in self.stages)]
        return any(weights)


WEIGHT_DECAY = 0.05
PICTURES_AT_ONCE, CLIPS_AT_ONCE = 64, 16
PRIOR_FLOOR = 1e-6
LABEL_WEIGHTS = (1.0, 0.5, 1.0)  # of each of LABEL_SETS in the loss
FERPLUS = LABEL_SETS.index("ferplus")

# ---- Batches ----

NEUTRAL, DISGUST = SEVEN_EMOTIONS.index("neutral"), SEVEN_EMOTIONS.index("disgust")
N_MOUTHS = 3  # beside its own that a moving mouth takes the shapes of
HIDDEN_CHANCE = 0.4
HIDDEN_SIDE = (0.13, 0.4)  # in parts of the picture's side
LABEL_SMOOTHING = 0.05


class StillBatches(EpochBatches):
    """Augmented batches of stills: single pictures, or in turn clips made of them and single pictures.

    Args:
        lessons: ``(len(stills), n)`` what to learn of each still beside its labels.

    Shape:
        ``(batch, n_frames, size, size, 3)`` uint8, and targets ``(batch, n_label_sets * n_classes + n)``.
    """

    def __init__(
        self, stills: Stills, lessons: np.ndarray, *, size: int, batch_size: int, n_batches: int, seed: int,
        mixup: float = 0.0, animation: Animation | None = None,
    ):  # fmt: skip
        # Few stills come more than once in an epoch.
        items = np.resize(np.arange(len(stills)), max(len(stills), n_batches * batch_size))
        super().__init__(items, batch_size=batch_size, n_batches=n_batches, seed=seed)
        self._stills, self._size, self._mixup, self._animation = stills, size, mixup, animation
        self._neutral = np.flatnonzero(stills.targets[:, FERPLUS, NEUTRAL] > 0.5)
        labels = smooth(stills.targets).reshape(len(stills), -1)
        self._targets = np.concatenate([labels, lessons], axis=1).astype(np.float32)

    def __getitem__(self, batch: int):
        chosen = self.chosen(batch)
        animation = self._animation if batch % 2 == 0 else None
        pictures = np.stack([self._vary(int(i), animation) for i in chosen])
        targets = self._targets[chosen]
        if self._mixup:
            rng = np.random.default_rng((self.seed, self.epoch, batch, 1))
            shares = rng.beta(self._mixup, self._mixup, size=len(chosen)).astype(np.float32)
            # The greater share is the picture's own, so that a picture whose partner has no label keeps its meaning.
            shares = np.maximum(shares, 1 - shares)
            picture_shares = shares.reshape(-1, *[1] * (pictures.ndim - 1))
            mixed = pictures * picture_shares + pictures[::-1] * (1 - picture_shares)
            pictures = np.rint(mixed).astype(np.uint8)
            targets = targets * shares[:, None] + targets[::-1] * (1 - shares[:, None])
        return np.repeat(pictures[..., None], 3, axis=-1), targets

    def _vary(self, index: int, animation: Animation | None) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        picture = self._stills.images[index]
        if rng.random() < HIDDEN_CHANCE:
            picture = hide_part(picture, rng)
        if animation:
            return self._animate(picture, animation, rng)
        return vary_image(picture, draw_frame_variation(rng), self._size)[None]

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


def build_headed_network(config: RunConfig, n_hints: int, size: int | None = None) -> keras.Model:
    """Builds the face branch with all of its heads.

    Shape:
        ``(batch, n_frames, size, size, 3)``, to logits of each label set and of the teacher, then the hints: ``(batch,
        (n_label_sets + 1) * n_classes + n_hints)``.
    """
    trunk, n_classes = video_cnn_3d.build_face_network(config, size=size), len(config.class_names)
    features = trunk.get_layer("video_features").output
    heads = layers.Dense((len(LABEL_SETS) + 1) * n_classes, dtype="float32", name="heads")(features)
    hints = layers.Dense(n_hints, dtype="float32", name="hints")(features)
    return keras.Model(trunk.input, layers.Concatenate(dtype="float32", name="guesses")([heads, hints]))


def build_label_loss(prior: np.ndarray):
    """Returns the cross-entropy of targets and logits, both ``(batch, n_label_sets * n_classes)``.

    A network learns what a face shows apart from how common that is: in training only, the logarithm of the classes'
    shares is added to the logits (logit adjustment, Menon et al. 2021). Without it the network then answers as if all
    emotions were equally common.

    Args:
        prior: ``(n_label_sets, n_classes)`` shares in each set of labels.
    """
    offset = np.log(prior + PRIOR_FLOOR).astype(np.float32)
    weights = np.array(LABEL_WEIGHTS, np.float32)

    def loss(targets, logits):
        logits, targets = (ops.reshape(ops.cast(each, "float32"), (-1, *prior.shape)) for each in (logits, targets))
        entropies = -ops.sum(targets * ops.log_softmax(logits + offset, axis=-1), axis=-1)
        return ops.sum(entropies * weights, axis=-1)

    return loss


def build_loss(prior: np.ndarray, answer_weight: float, hint_weight: float):
    """Returns the loss of all heads: that of the labels, the teacher's answers' cross-entropy, squares of the hints."""
    n_labels, n_logits = prior.size, prior.size + prior.shape[1]
    label_loss = build_label_loss(prior)

    def loss(targets, guesses):
        guesses = ops.cast(guesses, "float32")
        answers = ops.log_softmax(guesses[:, n_labels:n_logits], axis=-1)
        taught = -ops.sum(targets[:, n_labels:n_logits] * answers, axis=-1)
        squares = ops.mean(ops.square(targets[:, n_logits:] - guesses[:, n_logits:]), axis=-1)
        of_labels = label_loss(targets[:, :n_labels], guesses[:, :n_labels])
        return of_labels + answer_weight * taught + hint_weight * squares

    return loss


def make_lessons(stills: Stills, n_hints: int) -> np.ndarray:
    """Returns what is learned from the teacher: ``(len(stills), n_classes + n_hints)``."""
    hints = compute_hints(stills.features, np.arange(len(stills)), n_hints)
    return np.concatenate([stills.answers, hints], axis=1)


def choose_stills(stills: Stills, choices: FaceChoices) -> Stills:
    """Leaves out stills without any label, unless there is a teacher."""
    return stills if choices.has_teacher else stills.only(stills.targets.any(axis=(1, 2)))


def train_picture_network(
    stills: Stills, config: RunConfig, choices: FaceChoices, folder: Path, reporter: Reporter = SILENT,
    start: list[np.ndarray] | None = None,
) -> keras.Model:  # fmt: skip
    """Trains the face branch on single pictures, small ones first, which halves the time.

    Args:
        start: weights to begin with.

    Returns:
        A float32 network at full size.
    """
    stills = choose_stills(stills, choices)
    weights, lessons = start, make_lessons(stills, choices.n_hints)
    for number, stage in enumerate(choices.stages, start=1):
        keras.utils.set_random_seed(choices.seed + number)
        with dtype_policy(fastest_policy()):
            network = build_headed_network(config, choices.n_hints, stage.size)
        if weights is not None:
            network.set_weights(weights)
        batches = StillBatches(
            stills, lessons, size=stage.size, batch_size=PICTURES_AT_ONCE, n_batches=len(stills) // PICTURES_AT_ONCE,
            seed=choices.seed + number, mixup=choices.mixup,
        )  # fmt: skip
        fit_annealed(
            network, batches, build_loss(stills.prior(), stage.answer_weight, choices.hint_weight),
            epochs=stage.epochs, learning_rate=stage.learning_rate, weight_decay=WEIGHT_DECAY, seed=choices.seed,
            folder=folder / f"pictures{number}", reporter=reporter,
        )  # fmt: skip
        weights = network.get_weights()
    final = build_headed_network(config, choices.n_hints)
    final.set_weights(weights)
    return final


def train_clip_network(
    start: keras.Model, stills: Stills, config: RunConfig, choices: FaceChoices, folder: Path,
    reporter: Reporter = SILENT,
) -> keras.Model:  # fmt: skip
    """Trains a network for pictures further on stills in motion, and goes part of the way; float32."""
    stills = choose_stills(stills, choices)
    keras.utils.set_random_seed(choices.seed)
    with dtype_policy(fastest_policy()):
        network = build_headed_network(config, choices.n_hints)
    network.set_weights(start.get_weights())
    batches = StillBatches(
        stills, make_lessons(stills, choices.n_hints), size=config.video.image_size, batch_size=CLIPS_AT_ONCE,
        n_batches=choices.clip_steps, seed=choices.seed, animation=choices.animation,
    )  # fmt: skip
    fit_annealed(
        network, batches, build_loss(stills.prior(), choices.clip_answer_weight, choices.hint_weight),
        epochs=choices.clip_epochs, learning_rate=choices.clip_learning_rate, weight_decay=WEIGHT_DECAY,
        seed=choices.seed, folder=folder, reporter=reporter,
    )  # fmt: skip
    final, share = build_headed_network(config, choices.n_hints), choices.clip_share
    pairs = zip(start.get_weights(), network.get_weights(), strict=True)
    final.set_weights([before * (1 - share) + after * share for before, after in pairs])
    return final


def answering_branch(network: keras.Model, prior: np.ndarray, choices: FaceChoices) -> Branch:
    """Chooses the heads that answer for photographs and for faces in motion, and gives FER+'s a share of its prior.

    Args:
        network: with all heads.
        prior: ``(n_label_sets, n_classes)``.
    """
    kernel, bias = network.get_layer("heads").get_weights()
    kernel, bias = (each.reshape(*each.shape[:-1], len(LABEL_SETS) + 1, prior.shape[1]) for each in (kernel, bias))
    still_bias = with_prior(bias[FERPLUS], prior, choices.still_prior_share)
    if choices.moving_prior_share is None:
        moving_kernel, moving_bias = kernel[:, -1], bias[-1]
    else:
        moving_kernel, moving_bias = kernel[:, FERPLUS], with_prior(bias[FERPLUS], prior, choices.moving_prior_share)
        moving_bias[DISGUST] += choices.disgust_offset
    arrays = (moving_kernel, moving_bias, kernel[:, FERPLUS], still_bias)
    return Branch(network, *(array.astype(np.float32) for array in arrays))


def with_prior(bias: np.ndarray, prior: np.ndarray, share: float) -> np.ndarray:
    """Gives FER+'s head ``(n_classes,)`` a share of its prior back; see ``FaceChoices``."""
    return (bias + share * np.log(prior[FERPLUS] + PRIOR_FLOOR)).astype(np.float32)
