"""Finds files that hold the same recording: by their bytes, their sound or their frames.

``find_same_recordings`` serves the check of a data set; ``name_recordings`` keeps a recording and its copies on one
side of a training's split. ``fingerprints`` does the comparing.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.check import fingerprints
from emotion.datasets.clips import Clip
from emotion.errors import MediaError
from emotion.inputs.voice.features import has_sound

if TYPE_CHECKING:
    from emotion.datasets.check.examination import Examination
    from emotion.datasets.check.memory import ExaminationMemory

# Copies are as long as each other, give or take what codecs add.
MAX_LENGTH_DIFFERENCE_SECONDS = 1.0
# Waveforms compared, the likeliest pairs first: 200 a second were measured.
MAX_COMPARISONS = 20_000  # in a check
MAX_TRAINING_COMPARISONS = 5_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SameRecording:
    """Files that hold one recording: their paths, sorted, and what they share, such as ``same bytes``."""

    paths: tuple[str, ...]
    how: tuple[str, ...]


# ---- In a check: among all files of a data set ----


def find_same_recordings(
    examinations: Mapping[str, "Examination"],
    owners: Mapping[str, Hashable],
    *,
    memory: "ExaminationMemory | None" = None,
    reporter: Reporter = SILENT,
) -> list[SameRecording]:
    """Groups the files that hold the same recording but belong to different clips.

    Args:
        examinations: by path.
        owners: the clips that each file belongs to; files of equal owners are not compared.
        memory: of earlier comparisons.

    Returns:
        The groups, sorted by their first path.
    """
    paths = sorted(path for path in examinations if examinations[path].fault is None)
    groups = _Groups(owners)
    # Of files with the same bytes one stands for all: there may be thousands.
    by_bytes = _group_by(paths, lambda path: examinations[path].sha256)
    for same in by_bytes.values():
        for other in same[1:]:
            groups.join(same[0], other, "same bytes")
    firsts = [same[0] for same in by_bytes.values()]

    stills = [path for path in firsts if examinations[path].is_still and examinations[path].picture_print]
    for same in _group_by(stills, lambda path: examinations[path].picture_print).values():
        for other in same[1:]:
            groups.join(same[0], other, "same pictures")
    _join_videos([path for path in firsts if not examinations[path].is_still], examinations, groups)
    _join_sounds(firsts, examinations, groups, memory, reporter)
    return groups.read()


class _Groups:
    """Paths joined into groups, with the reasons (a union-find forest)."""

    def __init__(self, owners: Mapping[str, Hashable]):
        self._owners = owners
        self._parents: dict[str, str] = {}
        self._reasons: dict[str, set[str]] = defaultdict(set)

    def root(self, path: str) -> str:
        while (parent := self._parents.setdefault(path, path)) != path:
            self._parents[path] = self._parents[parent]
            path = parent
        return path

    def belong_together(self, one: str, other: str) -> bool:
        return self._owners[one] == self._owners[other] or self.root(one) == self.root(other)

    def join(self, one: str, other: str, how: str) -> None:
        if self._owners[one] == self._owners[other]:
            return
        one, other = sorted((self.root(one), self.root(other)))
        self._parents[other] = one
        self._reasons[one] |= self._reasons.pop(other, set()) | {how} if one != other else {how}

    def read(self) -> list[SameRecording]:
        members = _group_by(sorted(self._parents), self.root)
        return [SameRecording(tuple(m), tuple(sorted(self._reasons[r]))) for r, m in members.items() if len(m) > 1]


def _join_videos(paths: list[str], examinations: Mapping[str, "Examination"], groups: _Groups) -> None:
    paths = [path for path in paths if examinations[path].picture_print]
    thumbs = [fingerprints.read_thumbs(examinations[path].picture_print) for path in paths]
    if len(paths) < 2:
        return
    motions = np.stack([fingerprints.compute_motion(each) for each in thumbs])
    for one, other, likeness in fingerprints.find_alike(motions, fingerprints.MIN_MOTION_LIKENESS):
        is_long = min(len(thumbs[one]), len(thumbs[other])) >= fingerprints.N_THUMBS_FOR_THAT
        is_sure = likeness >= fingerprints.SURE_MOTION_LIKENESS
        if not (is_sure or (is_long and _may_sound_alike(examinations[paths[one]], examinations[paths[other]]))):
            continue
        if _as_long(examinations, paths[one], paths[other]) and fingerprints.is_same_scene(thumbs[one], thumbs[other]):
            groups.join(paths[one], paths[other], "same pictures")


def _may_sound_alike(one: "Examination", other: "Examination") -> bool:
    """Whether two files' sounds could be the same; of silent files nothing is known."""
    if one.sound_print is None or other.sound_print is None:
        return True
    a, b = (np.frombuffer(each.sound_print, np.float16).astype(np.float32) for each in (one, other))
    return float(a @ b) >= fingerprints.MIN_PRINT_LIKENESS


def _join_sounds(
    paths: list[str], examinations: Mapping[str, "Examination"], groups: _Groups, memory, reporter: Reporter
) -> None:
    paths = [path for path in paths if examinations[path].sound_print]
    if len(paths) < 2:
        return
    prints = np.stack([np.frombuffer(examinations[path].sound_print, np.float16) for path in paths]).astype(np.float32)
    pairs = [
        (one, other, likeness)
        for one, other, likeness in fingerprints.find_alike(prints, fingerprints.MIN_PRINT_LIKENESS)
        if not groups.belong_together(paths[one], paths[other]) and _as_long(examinations, paths[one], paths[other])
    ]
    pairs = _likeliest(pairs, MAX_COMPARISONS, key=lambda pair: -pair[2])
    bar = reporter.bar("Comparing", "pairs")
    # In the order of their first file, whose waveform is then read once.
    for n_done, (one, other, _) in enumerate(sorted(pairs), start=1):
        is_open = not groups.belong_together(paths[one], paths[other])
        if is_open and _is_same_wave(paths[one], paths[other], examinations, memory):
            groups.join(paths[one], paths[other], "same sound")
        bar(n_done, len(pairs))


def _is_same_wave(one: str, other: str, examinations: Mapping[str, "Examination"], memory) -> bool:
    pair = " ".join(sorted((examinations[one].sha256, examinations[other].sha256)))
    likeness = memory.recall_likeness(pair) if memory else None
    if likeness is None:
        likeness = _compare(one, other)
        if memory and likeness is not None:
            memory.keep_likeness(pair, likeness)
    return likeness is not None and likeness >= fingerprints.MIN_WAVE_LIKENESS


def _as_long(examinations: Mapping[str, "Examination"], one: str, other: str) -> bool:
    lengths = examinations[one].seconds or 0.0, examinations[other].seconds or 0.0
    return abs(lengths[0] - lengths[1]) <= MAX_LENGTH_DIFFERENCE_SECONDS


def _group_by(paths: list[str], key: Callable[[str], Hashable]) -> dict[Hashable, list[str]]:
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return groups


# ---- Before a training: among clips that are said to be of different people ----


def name_recordings(clips: Sequence[Clip], cache: ClipCache, contents: Mapping[str, str]) -> dict[str, str]:
    """Names the recording in each file; copies of one sound under different speakers get the same name.

    Two takes of a sentence are not copies: their waveforms differ. Copies under the same speaker do no harm where
    speakers are kept apart, so they are not looked for.

    Args:
        cache: holds the clips.
        contents: hashes of their files by path.

    Returns:
        By path: the file's hash, or that of the file that it is a copy of.
    """
    names = dict(contents)
    heard, prints = [], []
    for clip in clips:
        if clip.audio_path is None or clip.start_seconds is not None or clip.end_seconds is not None:
            continue
        media = cache.load(clip)
        if has_sound(media.samples, cache.config.audio):
            sound_print = fingerprints.compute_sound_print(np.asarray(media.samples), cache.config.audio.sample_rate)
            if sound_print is not None:
                heard.append((clip, media.duration_seconds))
                prints.append(np.frombuffer(sound_print, np.float16))
    if len(prints) < 2:
        return names
    pairs = [
        (likeness, heard[one][0], heard[other][0])
        for one, other, likeness in fingerprints.find_alike(
            np.stack(prints).astype(np.float32), fingerprints.MIN_PRINT_LIKENESS
        )
        if heard[one][0].speaker != heard[other][0].speaker
        and abs(heard[one][1] - heard[other][1]) <= MAX_LENGTH_DIFFERENCE_SECONDS
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1].clip_id, pair[2].clip_id))
    for _, one, other in _likeliest(pairs, MAX_TRAINING_COMPARISONS, key=lambda pair: -pair[0]):
        first, second = names[one.audio_path], names[other.audio_path]
        likeness = None if first == second else _compare(one.audio_path, other.audio_path)
        if likeness is not None and likeness >= fingerprints.MIN_WAVE_LIKENESS:
            names |= {path: first for path, name in names.items() if name == second}
    return names


# ---- Shared ----


def _likeliest(pairs: list[tuple], n_pairs: int, *, key: Callable[[tuple], float]) -> list[tuple]:
    """Returns the pairs that are compared: all, or the likeliest with a warning."""
    if len(pairs) <= n_pairs:
        return pairs
    logger.warning("%d pairs of sounds are alike; the %d likeliest are compared.", len(pairs), n_pairs)
    return sorted(pairs, key=key)[:n_pairs]


def _compare(one: str, other: str) -> float | None:
    """Returns how alike two files' waveforms are; None, with a warning, if one cannot be decoded."""
    try:
        return fingerprints.compare_waveforms(one, other)
    except MediaError as error:
        logger.warning("Not compared: %s", error)
        return None
