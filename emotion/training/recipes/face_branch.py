"""The face branch: it learns from single pictures first, then the same kernels learn from pictures set in motion."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from emotion.config import RunConfig
from emotion.labels import SEVEN_EMOTIONS
from emotion.models import video_cnn_3d
from emotion.models.layers import dtype_policy
from emotion.training.recipes.face_batches import Animation, StillBatches
from emotion.training.recipes.fitting import fastest_policy, fit, load_weights, save_weights
from emotion.training.recipes.joining import Branch
from emotion.training.recipes.stills import LABEL_SETS, Stills

WEIGHT_DECAY = 0.05
PICTURES_AT_ONCE, CLIPS_AT_ONCE = 64, 16
PRIOR_FLOOR = 1e-6
# How much each set of labels counts in the loss, in the order of LABEL_SETS.
LABEL_WEIGHTS = (1.0, 0.5, 1.0)


def build_prior_loss(prior: np.ndarray):
    """Returns a cross-entropy under which a network learns what a face shows apart from how common that is.

    The logarithm of the classes' shares is added to the logits in training only (logit adjustment, Menon et al. 2021),
    so that without it the network answers as if all emotions were equally common.

    Args:
        prior: ``(n_label_sets, n_classes)`` shares in each set of labels.
    """
    offset = np.log(prior + PRIOR_FLOOR).astype(np.float32)
    weights = np.array(LABEL_WEIGHTS, np.float32)

    def loss(targets, logits):
        log_probabilities = ops.log_softmax(ops.cast(logits, "float32") + offset, axis=-1)
        return ops.sum(-ops.sum(targets * log_probabilities, axis=-1) * weights, axis=-1)

    return loss


def add_heads(trunk: keras.Model, n_classes: int) -> keras.Model:
    """Gives the face branch an answer for each set of labels: ``(batch, n_label_sets, n_classes)`` logits."""
    features = trunk.get_layer("video_features").output
    heads = layers.Dense(len(LABEL_SETS) * n_classes, dtype="float32", name="heads")(features)
    return keras.Model(trunk.input, layers.Reshape((len(LABEL_SETS), n_classes), name="logits")(heads))


@dataclass(frozen=True)
class FrameStage:
    """A stretch of the training on single pictures: their side in pixels, its epochs and learning rate."""

    size: int
    epochs: int
    learning_rate: float


def train_frame_network(
    stills: Stills,
    config: RunConfig,
    *,
    stages: tuple[FrameStage, ...],
    mixup: float,
    seed: int,
    backup_dir: Path,
    verbose: int,
) -> keras.Model:
    """Trains the face branch on single pictures, small ones first, which takes half the time.

    Returns:
        A network from ``(batch, size, size, 3)`` to logits ``(batch, n_label_sets, n_classes)``, of float32.
    """
    policy, weights, network = fastest_policy(), None, None
    for number, stage in enumerate(stages, start=1):
        kept = backup_dir / f"stage{number}.weights.npz"
        keras.utils.set_random_seed(seed + number)
        with dtype_policy(policy):
            network = build_headed_network(config, stage.size)
        if weights is not None:
            network.set_weights(weights)
        if kept.is_file():
            weights = load_weights(kept)
            continue
        batches = StillBatches(
            stills,
            size=stage.size,
            batch_size=PICTURES_AT_ONCE,
            n_batches=len(stills) // PICTURES_AT_ONCE,
            seed=seed + number,
            mixup=mixup,
        )
        fit(
            network, batches, build_prior_loss(stills.prior()), epochs=stage.epochs, learning_rate=stage.learning_rate,
            weight_decay=WEIGHT_DECAY, seed=seed, backup_dir=backup_dir / f"stage{number}", verbose=verbose,
        )  # fmt: skip
        weights = save_weights(network, kept)
    final = build_headed_network(config, config.video.image_size)
    final.set_weights(weights)
    return final


def tune_over_time(
    frame_network: keras.Model,
    stills: Stills,
    config: RunConfig,
    *,
    animation: Animation,
    n_epochs: int,
    steps_per_epoch: int,
    learning_rate: float,
    seed: int,
    backup_dir: Path,
    verbose: int,
) -> keras.Model:
    """Inflates a frame network to clips and trains it further on animated stills.

    Returns:
        A network from ``(batch, n_frames, size, size, 3)`` to logits ``(batch, n_label_sets, n_classes)``, of float32.
    """
    keras.utils.set_random_seed(seed)
    with dtype_policy(fastest_policy()):
        network = build_headed_network(config, over_time=True)
    video_cnn_3d.inflate(frame_network, network)
    network.get_layer("heads").set_weights(frame_network.get_layer("heads").get_weights())
    batches = StillBatches(
        stills,
        size=config.video.image_size,
        batch_size=CLIPS_AT_ONCE,
        n_batches=steps_per_epoch,
        seed=seed,
        animation=animation,
    )
    fit(
        network, batches, build_prior_loss(stills.prior()), epochs=n_epochs, learning_rate=learning_rate,
        weight_decay=WEIGHT_DECAY, seed=seed, backup_dir=backup_dir, verbose=verbose,
    )  # fmt: skip
    final = build_headed_network(config, over_time=True)
    final.set_weights(network.get_weights())
    return final


def blend_over_time(
    frame_network: keras.Model, clip_network: keras.Model, share: float, config: RunConfig
) -> keras.Model:
    """Builds the network whose weights lie between those of the inflated frame network and those tuned over time.

    What a network learned before and what it was tuned to often go together in between (WiSE-FT, Wortsman et al. 2022).

    Args:
        frame_network, clip_network: from ``train_frame_network`` and ``tune_over_time``.
        share: of the tuned weights.
        config: of both.

    Returns:
        As ``tune_over_time``.
    """
    blended = build_headed_network(config, over_time=True)
    video_cnn_3d.inflate(frame_network, blended)
    blended.get_layer("heads").set_weights(frame_network.get_layer("heads").get_weights())
    pairs = zip(blended.get_weights(), clip_network.get_weights(), strict=True)
    blended.set_weights([(1 - share) * before + share * after for before, after in pairs])
    return blended


def build_headed_network(config: RunConfig, size: int | None = None, *, over_time: bool = False) -> keras.Model:
    """Builds the face branch, for pictures of some side or for clips, with a head for each set of labels."""
    return add_heads(video_cnn_3d.build_frame_network(config, size=size, over_time=over_time), len(config.class_names))


def answering_branch(
    network: keras.Model,
    answer: tuple[float, ...],
    prior_shares: tuple[float, float],
    prior: np.ndarray,
    disgust_offset: float = 0.0,
) -> Branch:
    """Makes one answer of those for each set of labels.

    Args:
        network: from ``tune_over_time``.
        answer: how much each set's logits count.
        prior_shares: how much of the logarithm of FER+'s prior is added to them, for clips and for photographs.
        prior: ``(n_label_sets, n_classes)``.
        disgust_offset: added to the logit of disgust in clips, beside its prior.
    """
    kernel, bias = network.get_layer("heads").get_weights()
    shape = (len(kernel), len(answer), -1)
    weights = np.array(answer, np.float32)
    offset = np.log(prior[LABEL_SETS.index("ferplus")] + PRIOR_FLOOR)
    for_clips, for_photographs = prior_shares
    kernel = np.einsum("fhc,h->fc", kernel.reshape(shape), weights)
    clip_bias = for_clips * offset
    clip_bias[SEVEN_EMOTIONS.index("disgust")] += disgust_offset
    bias = np.einsum("hc,h->c", bias.reshape(shape[1:]), weights) + clip_bias
    still_bias = for_photographs * offset - clip_bias
    return Branch(network, *(array.astype(np.float32) for array in (kernel, bias, still_bias)))
