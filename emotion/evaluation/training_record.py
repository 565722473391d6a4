"""Tells which clips and speakers a model was trained on, and which of the clips at hand are among them.

A recording is recognised by its content; by its id only within a published data set, whose ids name recordings. A
speaker is recognised by name within one data set or table. The same name in two tables may or may not be one person,
and the protocol says so.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emotion.datasets import PUBLISHED
from emotion.datasets.clips import SIDES, TEST, Clip
from emotion.datasets.split_files import UNLISTED, read_split_rows, read_stretches


@dataclass(frozen=True)
class SeenClips:
    """What a model was trained and validated on.

    Attributes:
        speakers: those that are known.
        all_speakers_known: whether every clip names its speaker.
        stretches: by a file's hash, the stretches of it that were met, ``(start, end)`` in seconds.
        unlisted: further data, too much to be listed clip by clip.
    """

    clip_ids: frozenset[str]
    speakers: frozenset[str]
    all_speakers_known: bool
    stretches: Mapping[str, tuple[tuple[float, float], ...]]
    unlisted: tuple[str, ...] = ()

    def has_met(self, clip: Clip, contents: Mapping[str, str]) -> bool:
        """Returns whether the model met a clip or a part of it; ``contents`` maps paths to files' hashes."""
        if clip.clip_id in self.clip_ids and (_table(clip.clip_id) in PUBLISHED or not self.stretches):
            return True
        start, end = clip.start_seconds or 0.0, math.inf if clip.end_seconds is None else clip.end_seconds
        return any(
            start < met_end and met_start < end
            for path in clip.paths
            for met_start, met_end in self.stretches.get(contents.get(path, ""), ())
        )

    def describe(self, speakers: Iterable[str | None]) -> str:
        """Returns the protocol for clips of which the model met no file, by their speakers (None if unknown)."""
        also = f" (also trained on, but not listed and so not compared: {', '.join(self.unlisted)})"
        return self._describe_listed(set(speakers)) + (also if self.unlisted else "")

    def _describe_listed(self, speakers: set[str | None]) -> str:
        known = sorted(speakers - {None})
        met = [speaker for speaker in known if speaker in self.speakers]
        beginning = "the model met no file of these clips"
        if met:
            return f"{beginning} in training, but {len(met)} of the {len(known)} speakers: optimistic"
        tables = {_table(speaker) for speaker in self.speakers}
        strangers = [s for s in known if _table(s) in tables or {_table(s), *tables} <= set(PUBLISHED)]
        names = {speaker.partition(":")[2] for speaker in self.speakers}
        namesakes = [s for s in known if s not in strangers and s.partition(":")[2] in names]
        if namesakes:
            return (
                f"{beginning} in training, but {len(namesakes)} of the {len(known)} speakers have the names of "
                "speakers in its training table, and may be the same people: probably optimistic"
            )
        if None in speakers or len(strangers) < len(known) or not self.all_speakers_known:
            return f"{beginning} in training; whether it met their speakers is unknown"
        return f"speaker-independent: the model met none of the {len(known)} speakers in training or validation"


def load_seen(*paths: str | os.PathLike) -> SeenClips:
    """Reads what a model was trained and validated on from its ``splits.csv``, and those of models before it.

    Errors are those of ``load_splits``.
    """
    return _gather([row for path in paths for row in read_split_rows(path) if row["side"] != TEST])


def load_sides(path: str | os.PathLike) -> dict[str, SeenClips]:
    """Reads what stands on each side of a ``splits.csv``; errors are those of ``load_splits``."""
    rows = read_split_rows(path)
    return {side: _gather([row for row in rows if row["side"] == side]) for side in SIDES}


def _gather(rows: Iterable[Mapping[str, str]]) -> SeenClips:
    rows = list(rows)
    unlisted = tuple(row["clip_id"].partition(":")[2] for row in rows if _table(row["clip_id"]) == UNLISTED)
    rows = [row for row in rows if _table(row["clip_id"]) != UNLISTED]
    stretches = defaultdict(list)
    for row in rows:
        for digest, start, end in read_stretches(row["sha256"]):
            stretches[digest].append((start, end))
    return SeenClips(
        frozenset(row["clip_id"] for row in rows),
        frozenset(row["speaker"] for row in rows if row["speaker"]),
        all(row["speaker"] for row in rows),
        {digest: tuple(met) for digest, met in stretches.items()},
        unlisted,
    )


def _table(name: str) -> str:
    """Returns the data set or table that an id or a speaker belongs to."""
    return name.partition(":")[0]
