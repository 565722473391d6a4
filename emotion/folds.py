"""Cross-validation: several splits in which every clip is tested once.

All functions give the same answer for the same clips and seed, in whatever order the clips come.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping

from emotion.config import TrainConfig
from emotion.datasets.clips import TEST, VALIDATION, Clip
from emotion.errors import ConfigError, DatasetError
from emotion.protocols import check_fractions, deal_speakers, sexes_of, shuffled_by_sex, split_random
from emotion.splits import Split, build_split, check_speakers_known, in_order

_DEFAULTS = TrainConfig()
_logger = logging.getLogger(__name__)

# What cross-validation knows, by the name of its protocol.
FOLD_PROTOCOLS = ("kfold", "loso", "random")


def split_folds(
    clips: Iterable[Clip], protocol: str, *, n_folds: int, validation_fraction: float, seed: int
) -> list[Split]:
    """Splits for cross-validation by the protocol of that name.

    Args:
        clips: the clips, in any order.
        protocol: ``kfold`` for ``folds_by_speaker``, ``loso`` for ``leave_one_speaker_out``, ``random`` for
            ``folds_at_random``.
        n_folds: how many; ``loso`` has as many as there are speakers.
        validation_fraction: share of those not under test that validates.
        seed: of the choice.

    Raises:
        ConfigError: if there is no such protocol, or for impossible numbers.
        DatasetError: if the clips cannot be split so.
    """
    if protocol == "kfold":
        return folds_by_speaker(clips, n_folds, seed, validation_fraction=validation_fraction)
    if protocol == "loso":
        return leave_one_speaker_out(clips, seed, validation_fraction=validation_fraction)
    if protocol == "random":
        return folds_at_random(clips, n_folds, seed, validation_fraction=validation_fraction)
    raise ConfigError(f"Unknown protocol {protocol!r} for cross-validation. Known: {', '.join(FOLD_PROTOCOLS)}.")


def folds_by_speaker(
    clips: Iterable[Clip],
    n_folds: int,
    seed: int = _DEFAULTS.seed,
    *,
    validation_fraction: float = _DEFAULTS.validation_fraction,
) -> list[Split]:
    """Splits for k-fold cross-validation: every speaker is tested in exactly one of them.

    Women and men are spread evenly over the folds. Validation speakers are taken from those not under test, so that the
    test never chooses the best epoch.

    Args:
        clips: the clips, in any order.
        n_folds: how many splits, from 2 to the number of speakers.
        seed: of the choice.
        validation_fraction: share of the speakers not under test that goes to validation; at least one, unless 0.

    Raises:
        ConfigError: if ``n_folds`` or the fraction is impossible.
        DatasetError: if there are no clips, fewer than three speakers, or two clips with the same id.
    """
    clips = in_order(clips)
    check_speakers_known(clips, "kfold")
    sexes = sexes_of(clips)
    _check_enough_speakers(sexes, "k-fold")
    if not 2 <= n_folds <= len(sexes):
        raise ConfigError(f"n_folds must lie between 2 and the number of speakers ({len(sexes)}), got {n_folds}.")
    rng = random.Random(seed)
    by_sex = shuffled_by_sex(sexes, rng)
    # Dealt like cards, one sex after the other: each fold's number of either sex differs by one at most.
    in_line = [speaker for speakers in by_sex.values() for speaker in speakers]
    folds = [in_line[first::n_folds] for first in range(n_folds)]
    return [_hold_out(clips, sexes, fold, validation_fraction, "kfold", seed) for fold in folds]


def leave_one_speaker_out(
    clips: Iterable[Clip],
    seed: int = _DEFAULTS.seed,
    *,
    validation_fraction: float = _DEFAULTS.validation_fraction,
) -> list[Split]:
    """One split for each speaker, sorted by speaker, with that speaker alone under test.

    Args:
        clips: the clips, in any order.
        seed: of the choice of validation speakers.
        validation_fraction: share of the other speakers that goes to validation; at least one, unless 0.

    Raises:
        ConfigError: if the fraction is impossible.
        DatasetError: if there are no clips, fewer than three speakers, or two clips with the same id.
    """
    clips = in_order(clips)
    check_speakers_known(clips, "loso")
    sexes = sexes_of(clips)
    _check_enough_speakers(sexes, "leave-one-speaker-out")
    return [_hold_out(clips, sexes, [speaker], validation_fraction, "loso", seed) for speaker in sexes]


def folds_at_random(
    clips: Iterable[Clip],
    n_folds: int,
    seed: int = _DEFAULTS.seed,
    *,
    validation_fraction: float = _DEFAULTS.validation_fraction,
) -> list[Split]:
    """Splits for k-fold cross-validation clip by clip: every clip is tested in exactly one of them.

    The emotions are spread evenly, and the speakers are not looked at: the scores are optimistic, and only good to show
    by how much.

    Args:
        clips: the clips, in any order.
        n_folds: how many splits, from 2 to the number of clips.
        seed: of the choice.
        validation_fraction: share of the clips not under test that validates.

    Raises:
        ConfigError: if ``n_folds`` or the fraction is impossible.
        DatasetError: if there are no clips, or two with the same id.
    """
    check_fractions(validation_fraction, 0.0)
    clips = in_order(clips)
    if not 2 <= n_folds <= len(clips):
        raise ConfigError(f"n_folds must lie between 2 and the number of clips ({len(clips)}), got {n_folds}.")
    rng = random.Random(seed)
    by_emotion = defaultdict(list)
    for clip in clips:
        by_emotion[clip.emotion].append(clip.clip_id)
    in_line = []
    for emotion in sorted(by_emotion):
        rng.shuffle(by_emotion[emotion])
        in_line += by_emotion[emotion]
    # Dealt like cards, one emotion after the other: each fold's number of any emotion differs by one at most.
    fold_of = {clip_id: number % n_folds for number, clip_id in enumerate(in_line)}
    splits = []
    for fold in range(n_folds):
        others = [clip for clip in clips if fold_of[clip.clip_id] != fold]
        sides = split_random(
            others, validation_fraction=validation_fraction, test_fraction=0.0, seed=seed * n_folds + fold
        ).sides
        sides |= {clip.clip_id: TEST for clip in clips if fold_of[clip.clip_id] == fold}
        splits.append(build_split(clips, sides, "random", seed))
    return splits


# ---- Parts ----------------------------------------------------------------------------------------------------------


def _check_enough_speakers(sexes: Mapping[str, str | None], protocol: str) -> None:
    if len(sexes) < 3:
        raise DatasetError(
            f"{protocol} needs three or more speakers, to train, to validate and to test; the clips have {len(sexes)}. "
            "Add speakers, or use --protocol random."
        )


def _hold_out(clips, sexes, tested: list[str], validation_fraction: float, protocol: str, seed: int) -> Split:
    """Returns the split that tests these speakers, and takes validation speakers from the others."""
    check_fractions(validation_fraction, 0.0)
    others = {speaker: sex for speaker, sex in sexes.items() if speaker not in tested}
    wanted = max(1, round(validation_fraction * len(others))) if validation_fraction > 0 else 0
    n_validation = min(wanted, len(others) - 1)
    if n_validation < wanted:
        _logger.warning(
            "Only %d speakers are left beside those under test: %d of them validate.", len(others), n_validation
        )
    # Seeded by the speakers under test too, so that the folds do not all validate on the same people.
    rng = random.Random(f"{seed} {' '.join(sorted(tested))}")
    side_of = {**deal_speakers(others, {VALIDATION: n_validation}, rng), **dict.fromkeys(tested, TEST)}
    return build_split(clips, {clip.clip_id: side_of[clip.speaker] for clip in clips}, protocol, seed)
