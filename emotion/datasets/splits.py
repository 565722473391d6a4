"""Holds and checks a split: which clips train a model, which choose its best epoch, and which test it.

``protocols`` draws splits. A model knows the faces and voices it has seen, so only a test on new people shows how it
does on the next person. Under the protocols ``speaker``, ``kfold`` and ``loso`` every speaker is on one side, and a
split that breaks this is refused.
"""

import itertools
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emotion.config import PROTOCOLS
from emotion.datasets.clips import SIDES, TEST, TRAIN, VALIDATION, Clip
from emotion.errors import ConfigError, DatasetError

SPEAKER_INDEPENDENT = ("speaker", "kfold", "loso")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The ids of each side's clips, sorted, and the protocol and seed that chose them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    protocol: str
    seed: int

    @property
    def sides(self) -> dict[str, str]:
        """The side of each clip: clip id -> ``train``, ``validation`` or ``test``."""
        return {clip_id: side for side in SIDES for clip_id in getattr(self, side)}


def build_split(clips: Sequence[Clip], side_of: Mapping[str, str], protocol: str, seed: int) -> Split:
    """Returns the split that puts each clip on the side named for its id, checked by ``check_split``."""
    split = split_of(side_of, protocol, seed)
    # A leak between the sides would spoil every score that follows, and the check is cheap.
    check_split(split, clips)
    return split


def in_order(clips: Iterable[Clip]) -> list[Clip]:
    """Returns the clips sorted by id.

    Raises:
        DatasetError: if there are none, or two have the same id.
    """
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    if not clips:
        raise DatasetError("There are no clips. Check the data set's folder.")
    for clip, following in itertools.pairwise(clips):
        if clip.clip_id == following.clip_id:
            raise DatasetError(f"Two clips are called {clip.clip_id}; give every recording one clip with its own id.")
    return clips


def check_split(split: Split, clips: Iterable[Clip], contents: Mapping[str, str] | None = None) -> None:
    """Makes sure that each of these clips is on one side, and that speakers are apart if the protocol says so.

    Args:
        contents: hashes of the clips' files by path. With them a recording is recognised under another name.

    Raises:
        ConfigError: if the split's protocol is unknown.
        DatasetError: if a clip is on two sides, missing or unknown, or, under a speaker-independent protocol, a speaker
            is unknown, or a speaker or a recording is on two sides. Under other protocols a recording on two sides is
            a warning, since their scores are called optimistic.
    """
    check_protocol(split.protocol, "The split")
    counts = Counter(clip_id for side in SIDES for clip_id in getattr(split, side))
    clips = in_order(clips)
    speaker_of = {clip.clip_id: clip.speaker for clip in clips}
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
        check_speakers_known(clips, split.protocol)
        shared = speakers_on_several_sides(split, clips)
        if shared:
            speaker, sides = next(iter(shared.items()))
            raise DatasetError(
                f"Speaker {speaker} stands on the sides {' and '.join(sides)}, which the protocol "
                f"{split.protocol!r} forbids. Split the clips anew, or use --protocol random."
            )
    shared_recordings = _recordings_on_several_sides(split, clips, contents or {})
    if shared_recordings:
        first, second = shared_recordings[0]
        what = (
            f"{len(shared_recordings)} pairs of clips on different sides hold the same recording, the first pair is "
            f"{first} and {second}. Keep one of each pair; `python -m emotion.datasets check` finds them."
        )
        if split.protocol in SPEAKER_INDEPENDENT:
            raise DatasetError(what)
        logger.warning("%s Until then the test score is too high.", what)


def check_speakers_known(clips: Sequence[Clip], protocol: str) -> None:
    """Raises a DatasetError if a clip's speaker is unknown."""
    unknown = [clip.clip_id for clip in clips if clip.speaker is None]
    if unknown:
        raise DatasetError(
            f"--protocol {protocol} keeps speakers apart, but {len(unknown)} of {len(clips)} clips have no known "
            f"speaker (the first is {unknown[0]}). Give their speakers in a manifest, or use --protocol random."
        )


def speakers_on_several_sides(split: Split, clips: Iterable[Clip]) -> dict[str, tuple[str, ...]]:
    """Returns the known speakers who stand on more than one side, sorted, with these sides."""
    sides, sides_of = split.sides, defaultdict(set)
    for clip in clips:
        if clip.speaker is not None:
            sides_of[clip.speaker].add(sides[clip.clip_id])
    return {
        speaker: tuple(side for side in SIDES if side in sides_of[speaker])
        for speaker in sorted(sides_of)
        if len(sides_of[speaker]) > 1
    }


def describe_split(split: Split, clips: Sequence[Clip], contents: Mapping[str, str] | None = None) -> str:
    """Returns the protocol in words, to stand beside every score: above all whether speakers were kept apart.

    ``contents`` are hashes of the clips' files by path; they show recordings on several sides.
    """
    if split.protocol in SPEAKER_INDEPENDENT:
        how = {"speaker": "", "kfold": ", k-fold", "loso": ", leave one speaker out"}
        return f"speaker-independent{how[split.protocol]} (seed {split.seed})"
    shared = speakers_on_several_sides(split, clips)
    speakers = {clip.speaker for clip in clips}
    facts, is_optimistic = [], split.protocol == "random"
    if shared:
        facts.append(f"{len(shared)} of {len(speakers - {None})} speakers on several sides")
        is_optimistic = True
    elif None in speakers:
        facts.append("not all speakers known" if len(speakers) > 1 else "speakers unknown")
    pairs = _recordings_on_several_sides(split, clips, contents or {})
    if pairs:
        facts.append(f"{len(pairs)} pairs of clips on different sides with the same recording")
        is_optimistic = True
    if split.protocol == "random":
        what = f"random clips (seed {split.seed})"
    else:
        drawn = sum(split.sides[clip.clip_id] != clip.split for clip in clips)
        what = "the data set's own split" + (f", {drawn} of its training clips set apart to validate" if drawn else "")
        if not facts:
            facts = ["speaker-independent"]
    return ", ".join([what, *facts]) + (": optimistic" if is_optimistic else "")


# ---- Parts ----


def check_protocol(protocol: str, where: str) -> None:
    """Raises a ConfigError for an unknown protocol."""
    if protocol not in PROTOCOLS:
        raise ConfigError(f"{where} names an unknown protocol, {protocol!r}. Known: {', '.join(PROTOCOLS)}.")


def split_of(side_of: Mapping[str, str], protocol: str, seed: int) -> Split:
    """Returns the split that puts each clip on the side named for its id, not checked."""
    ids = {side: tuple(sorted(clip_id for clip_id in side_of if side_of[clip_id] == side)) for side in SIDES}
    return Split(ids[TRAIN], ids[VALIDATION], ids[TEST], protocol, seed)


def _recordings_on_several_sides(
    split: Split, clips: Sequence[Clip], contents: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Returns pairs of clips on different sides that share a part of a file, known by its content or its path."""
    sides, stretches = split.sides, defaultdict(list)
    for clip in clips:
        end = math.inf if clip.end_seconds is None else clip.end_seconds
        for path in clip.paths:
            stretches[contents.get(path, path)].append((clip.start_seconds or 0.0, end, clip.clip_id))
    pairs = set()
    for shared in stretches.values():
        # Sorted by start, each need be compared only with those that have not ended when it begins.
        open_ones: list[tuple[float, str]] = []
        for start, end, clip_id in sorted(shared):
            open_ones = [(other_end, other) for other_end, other in open_ones if other_end > start]
            pairs |= {(other, clip_id) for _, other in open_ones if sides[other] != sides[clip_id]}
            open_ones.append((end, clip_id))
    return sorted(pairs)
