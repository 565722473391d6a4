"""Which clips train a model, which choose its best epoch, and which judge it.

A model knows the faces and voices it has seen, so only a test on people it has never met tells how it does on the next
person. The protocols ``speaker``, ``kfold`` and ``loso`` keep every speaker on one side; ``random`` does not.

All functions give the same answer for the same clips and seed, in whatever order the clips come.
"""

import csv
import itertools
import logging
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.config import TrainConfig
from emotion.datasets.clips import SEXES, SIDES, TEST, TRAIN, VALIDATION, Clip
from emotion.errors import ConfigError, DatasetError

SPEAKER_INDEPENDENT = ("speaker", "kfold", "loso")
COLUMNS = ("clip_id", "side", "emotion", "speaker", "protocol", "seed")

_DEFAULTS = TrainConfig()
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The clips of each side, by id, in sorted order.

    Attributes:
        train, validation, test: clip ids.
        protocol: how the sides were chosen: ``random``, ``speaker``, ``kfold`` or ``loso``.
        seed: of the choice.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    protocol: str
    seed: int

    @property
    def sides(self) -> dict[str, str]:
        """The side of each clip: clip id -> ``train``, ``validation`` or ``test``."""
        return {clip_id: side for side in SIDES for clip_id in getattr(self, side)}


# ---- One split ------------------------------------------------------------------------------------------------------


def split_random(clips: Iterable[Clip], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Splits clip by clip, with the same mixture of emotions on each side.

    The result is optimistic: the test clips come from speakers the model was trained on, whom it recognises. Use it
    where there are too few speakers for anything better, and say so beside the number.

    Args:
        clips: the clips, in any order.
        validation_fraction, test_fraction: share of the clips set apart, in [0, 1); together below 1.
        seed: of the choice.

    Raises:
        ConfigError: for impossible fractions.
        DatasetError: if there are no clips, too few to set any apart, or two with the same id.
    """
    _check_fractions(validation_fraction, test_fraction)
    clips = _in_order(clips)
    fractions = {VALIDATION: validation_fraction, TEST: test_fraction}
    asked = [side for side, fraction in fractions.items() if fraction > 0]
    if asked and len(clips) < 2:
        raise DatasetError(f"{len(clips)} clip cannot be split: add clips, or set both fractions to 0.")
    rng = random.Random(seed)
    by_emotion = defaultdict(list)
    for clip in clips:
        by_emotion[clip.emotion].append(clip.clip_id)

    side_of = {}
    # What rounding takes from a side at one emotion is given back at the next, so that the totals come out right.
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
    return _build_split(clips, {clip.clip_id: side_of[clip.clip_id] for clip in clips}, "random", seed)


def split_by_speaker(clips: Iterable[Clip], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Splits speaker by speaker, with women and men on every side where their numbers allow it.

    Each side asked for gets at least one speaker. With two speakers only one can be set apart: it goes to validation,
    and the test side stays empty, with a warning.

    Args:
        clips: the clips, in any order.
        validation_fraction, test_fraction: share of the speakers set apart, in [0, 1); together below 1.
        seed: of the choice.

    Raises:
        ConfigError: for impossible fractions.
        DatasetError: if there are no clips, only one speaker, or two clips with the same id.
    """
    _check_fractions(validation_fraction, test_fraction)
    clips = _in_order(clips)
    sexes = _sexes(clips)
    asked = {side: f for side, f in ((VALIDATION, validation_fraction), (TEST, test_fraction)) if f > 0}
    if asked and len(sexes) < 2:
        raise DatasetError(
            f"Only one speaker ({next(iter(sexes))}): a speaker-independent split needs two or more. "
            "Add another speaker's clips, or use --protocol random."
        )
    sizes = {side: max(1, round(fraction * len(sexes))) for side, fraction in asked.items()}
    while sum(sizes.values()) >= len(sexes):
        # The later of two equal sides gives way, so that validation outlasts test.
        largest = max(sizes, key=lambda side: (sizes[side], side == TEST))
        sizes[largest] -= 1
    for side, size in sizes.items():
        if size == 0:
            _logger.warning("%d speakers are too few for a %s side: it stays empty.", len(sexes), side)
    side_of = _deal_speakers(sexes, sizes, random.Random(seed))
    return _build_split(clips, {clip.clip_id: side_of[clip.speaker] for clip in clips}, "speaker", seed)


PROTOCOLS = {"random": split_random, "speaker": split_by_speaker}


def split_clips(
    clips: Iterable[Clip], protocol: str, *, validation_fraction: float, test_fraction: float, seed: int
) -> Split:
    """Splits by the protocol of that name: see ``split_random`` and ``split_by_speaker``.

    Raises:
        ConfigError: if there is no such protocol, or for impossible fractions.
        DatasetError: if the clips cannot be split so.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"Unknown protocol {protocol!r}. Known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[protocol](clips, validation_fraction=validation_fraction, test_fraction=test_fraction, seed=seed)


# ---- Several splits, in which every speaker is tested once ----------------------------------------------------------


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
    clips = _in_order(clips)
    sexes = _sexes(clips)
    _check_enough_speakers(sexes, "k-fold")
    if not 2 <= n_folds <= len(sexes):
        raise ConfigError(f"n_folds must lie between 2 and the number of speakers ({len(sexes)}), got {n_folds}.")
    rng = random.Random(seed)
    by_sex = _shuffled_by_sex(sexes, rng)
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
    clips = _in_order(clips)
    sexes = _sexes(clips)
    _check_enough_speakers(sexes, "leave-one-speaker-out")
    return [_hold_out(clips, sexes, [speaker], validation_fraction, "loso", seed) for speaker in sexes]


# ---- Checking, saving and loading -----------------------------------------------------------------------------------


def check_split(split: Split, clips: Iterable[Clip]) -> None:
    """Makes sure that a split is one: of these clips, each on one side, and speakers apart where they should be.

    Raises:
        ConfigError: if the split's protocol is unknown.
        DatasetError: if a clip is on two sides, missing or unknown, or, under a speaker-independent protocol, a speaker
            is on two sides.
    """
    _check_protocol(split.protocol, "The split")
    counts = Counter(clip_id for side in SIDES for clip_id in getattr(split, side))
    speaker_of = {clip.clip_id: clip.speaker for clip in _in_order(clips)}
    for wrong, clip_ids in (
        ("stand on two sides of the split", [clip_id for clip_id, n in counts.items() if n > 1]),
        ("are missing from the split", speaker_of.keys() - counts.keys()),
        ("stand in the split but not in the data", counts.keys() - speaker_of.keys()),
    ):
        if clip_ids:
            raise DatasetError(
                f"{len(clip_ids)} clips {wrong}, the first is {min(clip_ids)}. Split the clips at hand anew."
            )
    if split.protocol in SPEAKER_INDEPENDENT:
        sides_of = defaultdict(set)
        for clip_id, side in split.sides.items():
            sides_of[speaker_of[clip_id]].add(side)
        for speaker in sorted(sides_of):
            if len(sides_of[speaker]) > 1:
                raise DatasetError(
                    f"Speaker {speaker} stands on the sides {' and '.join(sorted(sides_of[speaker]))}, which the "
                    f"protocol {split.protocol!r} forbids. Split the clips anew, or use --protocol random."
                )


def write_splits(split: Split, clips: Iterable[Clip], path: str | os.PathLike) -> None:
    """Checks a split and writes it as CSV, one row a clip, with the columns of ``COLUMNS``.

    Raises:
        ConfigError, DatasetError: as ``check_split``.
    """
    clips = _in_order(clips)
    check_split(split, clips)
    sides = split.sides
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for clip in clips:
            row = (clip.clip_id, sides[clip.clip_id], clip.emotion, clip.speaker, split.protocol, split.seed)
            writer.writerow(row)


def load_splits(path: str | os.PathLike) -> Split:
    """Reads what ``write_splits`` wrote. Whether it fits the clips at hand is for ``check_split`` to say.

    Raises:
        ConfigError: if the file names an unknown protocol.
        DatasetError: if the file is missing, or is no such table.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{path}: not a readable table of splits ({error}).") from error
    if tuple(header) != COLUMNS:
        raise DatasetError(f"{path}: the columns must be {','.join(COLUMNS)}, got {','.join(header)}.")
    side_of = {}
    made_by = set()
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS) or row[1] not in SIDES or row[0] in side_of:
            raise DatasetError(
                f"{path}, row {number}: needs {len(COLUMNS)} values, one of {', '.join(SIDES)} as side, and a clip_id "
                f"that no other row has; got {','.join(row)}."
            )
        side_of[row[0]] = row[1]
        made_by.add((row[4], row[5]))
    if len(made_by) != 1:
        raise DatasetError(f"{path}: all rows must name one protocol and one seed, got {sorted(made_by)}.")
    protocol, seed = made_by.pop()
    _check_protocol(protocol, str(path))
    try:
        seed = int(seed)
    except ValueError:
        raise DatasetError(f"{path}: the seed must be a whole number, got {seed!r}.") from None
    return _split_of(side_of, protocol, seed)


# ---- Parts ----------------------------------------------------------------------------------------------------------


def _check_fractions(validation_fraction: float, test_fraction: float) -> None:
    if not (validation_fraction >= 0 and test_fraction >= 0 and validation_fraction + test_fraction < 1):
        raise ConfigError(
            "validation_fraction and test_fraction must not be below 0 and must leave something to train on "
            f"(together below 1), got {validation_fraction} and {test_fraction}."
        )


def _check_enough_speakers(sexes: Mapping[str, str | None], protocol: str) -> None:
    if len(sexes) < 3:
        raise DatasetError(
            f"{protocol} needs three or more speakers, to train, to validate and to test; the clips have {len(sexes)}. "
            "Add speakers, or use --protocol random."
        )


def _check_protocol(protocol: str, where: str) -> None:
    known = ("random", *SPEAKER_INDEPENDENT)
    if protocol not in known:
        raise ConfigError(f"{where} names an unknown protocol, {protocol!r}. Known: {', '.join(known)}.")


def _in_order(clips: Iterable[Clip]) -> list[Clip]:
    """Returns the clips by id, after making sure that there are some and no two are the same recording."""
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    if not clips:
        raise DatasetError("There are no clips to split. Check the data set's folder.")
    for clip, following in itertools.pairwise(clips):
        if clip.clip_id == following.clip_id:
            raise DatasetError(f"Two clips are called {clip.clip_id}; give every recording one clip with its own id.")
    return clips


def _sexes(clips: Sequence[Clip]) -> dict[str, str | None]:
    """Returns each speaker's sex, sorted by speaker; None where it is not known or the clips disagree."""
    said = defaultdict(set)
    for clip in clips:
        said[clip.speaker].add(clip.sex)
    return {speaker: next(iter(said[speaker])) if len(said[speaker]) == 1 else None for speaker in sorted(said)}


def _shuffled_by_sex(sexes: Mapping[str, str | None], rng: random.Random) -> dict[str | None, list[str]]:
    by_sex = {sex: [speaker for speaker in sorted(sexes) if sexes[speaker] == sex] for sex in (*SEXES, None)}
    for speakers in by_sex.values():
        rng.shuffle(speakers)
    return by_sex


def _deal_speakers(sexes: Mapping[str, str | None], sizes: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    """Chooses a side for every speaker.

    Args:
        sexes: each speaker's sex.
        sizes: speakers on the validation and test sides; the rest train.
        rng: source of the choice.
    """
    waiting = _shuffled_by_sex(sexes, rng)
    shares = {sex: len(speakers) / len(sexes) for sex, speakers in waiting.items()}
    sizes = {TRAIN: len(sexes) - sum(sizes.values()), **sizes}
    dealt = {side: [] for side in sizes}

    # First one woman and one man for every side that has room for both; training comes first should they run out.
    for side, size in sizes.items():
        for sex in SEXES:
            if size >= len(SEXES) and waiting[sex]:
                dealt[side].append(waiting[sex].pop())

    # Then each free place goes to the sex that its side is shortest of, or, between equals, that has more waiting.
    for side in reversed(sizes):
        while len(dealt[side]) < sizes[side]:
            here = Counter(sexes[speaker] for speaker in dealt[side])
            sex = max(
                (sex for sex in waiting if waiting[sex]),
                key=lambda sex: (shares[sex] * sizes[side] - here[sex], len(waiting[sex]), rng.random()),
            )
            dealt[side].append(waiting[sex].pop())
    return {speaker: side for side, speakers in dealt.items() for speaker in speakers}


def _hold_out(clips, sexes, tested: list[str], validation_fraction: float, protocol: str, seed: int) -> Split:
    """Returns the split that tests these speakers, and takes validation speakers from the others."""
    _check_fractions(validation_fraction, 0.0)
    others = {speaker: sex for speaker, sex in sexes.items() if speaker not in tested}
    wanted = max(1, round(validation_fraction * len(others))) if validation_fraction > 0 else 0
    n_validation = min(wanted, len(others) - 1)
    if n_validation < wanted:
        _logger.warning(
            "Only %d speakers are left beside those under test: %d of them validate.", len(others), n_validation
        )
    # Seeded by the speakers under test too, so that the folds do not all validate on the same people.
    rng = random.Random(f"{seed} {' '.join(sorted(tested))}")
    side_of = {**_deal_speakers(others, {VALIDATION: n_validation}, rng), **dict.fromkeys(tested, TEST)}
    return _build_split(clips, {clip.clip_id: side_of[clip.speaker] for clip in clips}, protocol, seed)


def _fill_empty_sides(side_of: dict[str, str], training: Mapping[str, list[str]], asked: Sequence[str]) -> None:
    """Gives every side that was asked for but came out empty one training clip, of the most frequent emotion."""
    for side in asked:
        if side not in side_of.values():
            commonest = max(sorted(training), key=lambda emotion: len(training[emotion]))
            if sum(len(clip_ids) for clip_ids in training.values()) > 1:
                side_of[training[commonest].pop()] = side
            else:
                _logger.warning("%d clips are too few for a %s side: it stays empty.", len(side_of), side)


def _build_split(clips: Sequence[Clip], side_of: Mapping[str, str], protocol: str, seed: int) -> Split:
    split = _split_of(side_of, protocol, seed)
    # A leak between the sides would spoil every number that follows, and looking costs nothing.
    check_split(split, clips)
    return split


def _split_of(side_of: Mapping[str, str], protocol: str, seed: int) -> Split:
    ids = {side: tuple(sorted(clip_id for clip_id in side_of if side_of[clip_id] == side)) for side in SIDES}
    return Split(**ids, protocol=protocol, seed=seed)
