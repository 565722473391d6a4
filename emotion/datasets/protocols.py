"""Draws splits: which clips of a data set train, which validate and which test, once or in folds.

All functions give the same answer for the same clips and seed, in whatever order the clips come. Fractions are shares
in [0, 1), together below 1. All raise a ConfigError for impossible fractions or numbers of folds, and a DatasetError if
there are no clips, too few of them or of their speakers, or two with the same id.
"""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from emotion.config import TrainConfig
from emotion.datasets.clips import SEXES, TEST, TRAIN, VALIDATION, Clip
from emotion.datasets.splits import Split, build_split, check_speakers_known, in_order
from emotion.errors import ConfigError, DatasetError

logger = logging.getLogger(__name__)


def split_random(clips: Iterable[Clip], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Splits clip by clip, with the same mixture of emotions on each side.

    The result is optimistic: the model recognises the test speakers, on whom it was trained. Use it if there are too
    few speakers for anything better, and say so beside the score.
    """
    check_fractions(validation_fraction, test_fraction)
    clips = in_order(clips)
    fractions = {VALIDATION: validation_fraction, TEST: test_fraction}
    asked = [side for side, fraction in fractions.items() if fraction > 0]
    if asked and len(clips) < 2:
        raise DatasetError(f"{len(clips)} clip cannot be split: add clips, or set both fractions to 0.")
    rng = random.Random(seed)
    by_emotion = defaultdict(list)
    for clip in clips:
        by_emotion[clip.emotion].append(clip.clip_id)

    side_of = {}
    # What rounding takes from a side at one emotion is given back at the next, so that the totals are right.
    owed = dict.fromkeys(asked, 0.0)
    for emotion in sorted(by_emotion):
        waiting = by_emotion[emotion]
        rng.shuffle(waiting)
        for side in asked:
            owed[side] += fractions[side] * len(by_emotion[emotion])
        for side in asked:
            # At least one clip of every emotion is left for training.
            n_taken = max(0, min(round(owed[side]), len(waiting) - 1))
            owed[side] -= n_taken
            side_of.update(dict.fromkeys(waiting[:n_taken], side))
            waiting = waiting[n_taken:]
        side_of.update(dict.fromkeys(waiting, TRAIN))
        by_emotion[emotion] = waiting
    _fill_empty_sides(side_of, by_emotion, asked)
    return build_split(clips, {clip.clip_id: side_of[clip.clip_id] for clip in clips}, "random", seed)


def split_by_speaker(clips: Iterable[Clip], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Splits speaker by speaker, with women and men on every side if their numbers allow it.

    Each side asked for gets at least one speaker. Of two speakers the second validates, and the test side stays empty,
    with a warning.
    """
    check_fractions(validation_fraction, test_fraction)
    clips = in_order(clips)
    check_speakers_known(clips, "speaker")
    sexes = sexes_of(clips)
    asked = {side: f for side, f in ((VALIDATION, validation_fraction), (TEST, test_fraction)) if f > 0}
    if asked and len(sexes) < 2:
        raise DatasetError(
            f"Only one speaker ({next(iter(sexes))}): a speaker-independent split needs two or more. "
            "Add another speaker's clips, or use --protocol random."
        )
    sizes = {side: max(1, round(fraction * len(sexes))) for side, fraction in asked.items()}
    while sum(sizes.values()) >= len(sexes):
        # Of two equal sides test gives way to validation.
        largest = max(sizes, key=lambda side: (sizes[side], side == TEST))
        sizes[largest] -= 1
    for side, size in sizes.items():
        if size == 0:
            logger.warning("%d speakers are too few for a %s side: it stays empty.", len(sexes), side)
    side_of = deal_speakers(sexes, sizes, random.Random(seed))
    return build_split(clips, {clip.clip_id: side_of[clip.speaker] for clip in clips}, "speaker", seed)


def split_official(clips: Iterable[Clip], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Splits as the data set's authors did, whether or not they kept speakers apart.

    If they chose no clips for validation, a share of their training speakers validates, or of their training clips if
    some speakers are unknown. ``test_fraction`` is not used.
    """
    check_fractions(validation_fraction, test_fraction)
    clips = in_order(clips)
    without = [clip.clip_id for clip in clips if clip.split is None]
    if without:
        raise DatasetError(
            f"--protocol official: the data set has no split of its own for {len(without)} of {len(clips)} clips (the "
            f"first is {without[0]}). Give a split column in a manifest, or use --protocol speaker."
        )
    side_of = {clip.clip_id: clip.split for clip in clips}
    training = [clip for clip in clips if clip.split == TRAIN]
    if not training:
        raise DatasetError("--protocol official: the data set's own split has no clip to train on.")
    if VALIDATION not in side_of.values() and validation_fraction > 0:
        known = len({clip.speaker for clip in training} - {None}) > 1 and all(clip.speaker for clip in training)
        split = split_by_speaker if known else split_random
        carved = split(training, validation_fraction=validation_fraction, test_fraction=0.0, seed=seed)
        side_of |= carved.sides
    if TEST not in side_of.values():
        logger.warning("The data set's own split has no test side: scores are those of its validation side.")
    return build_split(clips, side_of, "official", seed)


SPLITTERS = {"random": split_random, "speaker": split_by_speaker, "official": split_official}


def split_clips(
    clips: Iterable[Clip], protocol: str, *, validation_fraction: float, test_fraction: float, seed: int
) -> Split:
    """Splits by the protocol of that name, a key of ``SPLITTERS``."""
    if protocol not in SPLITTERS:
        raise ConfigError(f"Unknown protocol {protocol!r}. Known: {', '.join(SPLITTERS)}.")
    return SPLITTERS[protocol](clips, validation_fraction=validation_fraction, test_fraction=test_fraction, seed=seed)


# ---- Parts ----


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    if not (validation_fraction >= 0 and test_fraction >= 0 and validation_fraction + test_fraction < 1):
        raise ConfigError(
            "validation_fraction and test_fraction must not be below 0 and must leave something to train on "
            f"(together below 1), got {validation_fraction} and {test_fraction}."
        )


def sexes_of(clips: Sequence[Clip]) -> dict[str, str | None]:
    """Returns each speaker's sex, sorted by speaker; None if it is unknown or the clips disagree."""
    said = defaultdict(set)
    for clip in clips:
        said[clip.speaker].add(clip.sex)
    return {speaker: next(iter(said[speaker])) if len(said[speaker]) == 1 else None for speaker in sorted(said)}


def shuffled_by_sex(sexes: Mapping[str, str | None], rng: random.Random) -> dict[str | None, list[str]]:
    by_sex = {sex: [speaker for speaker in sorted(sexes) if sexes[speaker] == sex] for sex in (*SEXES, None)}
    for speakers in by_sex.values():
        rng.shuffle(speakers)
    return by_sex


def deal_speakers(sexes: Mapping[str, str | None], sizes: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    """Chooses a side for every speaker; ``sizes`` are the numbers that validate and test, and the rest train."""
    waiting = shuffled_by_sex(sexes, rng)
    shares = {sex: len(speakers) / len(sexes) for sex, speakers in waiting.items()}
    sizes = {TRAIN: len(sexes) - sum(sizes.values()), **sizes}
    dealt = {side: [] for side in sizes}

    # First one woman and one man for every side that has room for both; training comes first if they run out.
    for side, size in sizes.items():
        for sex in SEXES:
            if size >= len(SEXES) and waiting[sex]:
                dealt[side].append(waiting[sex].pop())

    # Then each free place goes to the sex that its side lacks most, or, between equals, that has more waiting.
    for side in reversed(sizes):
        while len(dealt[side]) < sizes[side]:
            here = Counter(sexes[speaker] for speaker in dealt[side])
            sex = max(
                (sex for sex in waiting if waiting[sex]),
                key=lambda sex: (shares[sex] * sizes[side] - here[sex], len(waiting[sex]), rng.random()),
            )
            dealt[side].append(waiting[sex].pop())
    return {speaker: side for side, speakers in dealt.items() for speaker in speakers}


def _fill_empty_sides(side_of: dict[str, str], training: Mapping[str, list[str]], asked: Sequence[str]) -> None:
    """Gives every empty side that was asked for one training clip, of the most frequent emotion."""
    for side in asked:
        if side not in side_of.values():
            commonest = max(sorted(training), key=lambda emotion: len(training[emotion]))
            if sum(len(clip_ids) for clip_ids in training.values()) > 1:
                side_of[training[commonest].pop()] = side
            else:
                logger.warning("%d clips are too few for a %s side: it stays empty.", len(side_of), side)


# ---- Cross-validation: several splits in which every clip is tested once ----

SEED, FRACTION = TrainConfig().seed, TrainConfig().validation_fraction
FOLD_PROTOCOLS = ("kfold", "loso", "random")


def split_folds(
    clips: Iterable[Clip], protocol: str, *, n_folds: int, validation_fraction: float, seed: int
) -> list[Split]:
    """Splits for cross-validation by the protocol of that name, one of ``FOLD_PROTOCOLS``.

    ``loso`` has as many folds as there are speakers. The fraction is of those not under test.
    """
    if protocol == "kfold":
        return folds_by_speaker(clips, n_folds, seed, validation_fraction=validation_fraction)
    if protocol == "loso":
        return leave_one_speaker_out(clips, seed, validation_fraction=validation_fraction)
    if protocol == "random":
        return folds_at_random(clips, n_folds, seed, validation_fraction=validation_fraction)
    raise ConfigError(f"Unknown protocol {protocol!r} for cross-validation. Known: {', '.join(FOLD_PROTOCOLS)}.")


def folds_by_speaker(
    clips: Iterable[Clip], n_folds: int, seed: int = SEED, *, validation_fraction: float = FRACTION
) -> list[Split]:
    """Splits for k-fold cross-validation: every speaker is tested in exactly one of them.

    Women and men are spread evenly over the folds. Of the speakers not under test the fraction validates, but at least
    one unless it is 0, so that the test never chooses the best epoch.
    """
    clips = in_order(clips)
    sexes = _sexes_for_folds(clips, "kfold")
    if not 2 <= n_folds <= len(sexes):
        raise ConfigError(f"n_folds must lie between 2 and the number of speakers ({len(sexes)}), got {n_folds}.")
    rng = random.Random(seed)
    by_sex = shuffled_by_sex(sexes, rng)
    # Dealt like cards, one sex after the other: each fold's number of either sex differs by one at most.
    in_line = [speaker for speakers in by_sex.values() for speaker in speakers]
    folds = [in_line[first::n_folds] for first in range(n_folds)]
    return [_hold_out(clips, sexes, fold, validation_fraction, "kfold", seed) for fold in folds]


def leave_one_speaker_out(
    clips: Iterable[Clip], seed: int = SEED, *, validation_fraction: float = FRACTION
) -> list[Split]:
    """One split for each speaker, sorted by speaker, with that speaker alone under test; else as folds_by_speaker."""
    clips = in_order(clips)
    sexes = _sexes_for_folds(clips, "loso")
    return [_hold_out(clips, sexes, [speaker], validation_fraction, "loso", seed) for speaker in sexes]


def folds_at_random(
    clips: Iterable[Clip], n_folds: int, seed: int = SEED, *, validation_fraction: float = FRACTION
) -> list[Split]:
    """Splits for k-fold cross-validation clip by clip: every clip is tested in exactly one of them.

    The emotions are spread evenly and speakers are ignored: the scores are optimistic, and only good to show by how
    much.
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


# ---- Parts of folds ----


def _sexes_for_folds(clips: Sequence[Clip], protocol: str) -> dict[str, str | None]:
    check_speakers_known(clips, protocol)
    sexes = sexes_of(clips)
    if len(sexes) < 3:
        raise DatasetError(
            f"--protocol {protocol} needs three or more speakers, to train, to validate and to test; the clips have "
            f"{len(sexes)}. Add speakers, or use --protocol random."
        )
    return sexes


def _hold_out(clips, sexes, tested: list[str], validation_fraction: float, protocol: str, seed: int) -> Split:
    """Returns the split that tests these speakers, and takes validation speakers from the others."""
    check_fractions(validation_fraction, 0.0)
    others = {speaker: sex for speaker, sex in sexes.items() if speaker not in tested}
    wanted = max(1, round(validation_fraction * len(others))) if validation_fraction > 0 else 0
    n_validation = min(wanted, len(others) - 1)
    if n_validation < wanted:
        logger.warning(
            "Only %d speakers are left beside those under test: %d of them validate.", len(others), n_validation
        )
    # Seeded by the speakers under test too, so that the folds do not all validate on the same people.
    rng = random.Random(f"{seed} {' '.join(sorted(tested))}")
    side_of = {**deal_speakers(others, {VALIDATION: n_validation}, rng), **dict.fromkeys(tested, TEST)}
    return build_split(clips, {clip.clip_id: side_of[clip.speaker] for clip in clips}, protocol, seed)
