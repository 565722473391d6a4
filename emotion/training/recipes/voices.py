"""Speech for the recipes: corpora, and their speakers set apart.

RAVDESS and EmoDB are read as they come; every other corpus is rows of ``voices/manifest.csv``, which may have the
columns ``corpus``, ``votes`` (``angry=6 disgust=2``), ``language`` and ``licence``. To add a corpus, add its rows.
"""

from dataclasses import dataclass
from pathlib import Path

from emotion.config import DataSource
from emotion.datasets import emodb, manifest, ravdess
from emotion.datasets.clips import Clip
from emotion.datasets.protocols import split_by_speaker
from emotion.labels import class_index

LANGUAGES = {"ravdess": "en", "emodb": "de"}  # of corpora without a column for it
KNOWN_CORPORA = {"ravdess": ("RAVDESS speech", ravdess.LICENCE), "emodb": ("EmoDB", emodb.LICENCE)}


def corpus_of(clip: Clip) -> str:
    """Returns the name of the corpus a clip is from: its manifest's, or its data set's."""
    return clip.details.get("corpus") or clip.clip_id.partition(":")[0]


def language_of(clip: Clip) -> str:
    """Returns the language a clip is in, as far as known."""
    return clip.details.get("language") or LANGUAGES.get(corpus_of(clip), "")


def describe_corpora(clips: list[Clip]) -> tuple[DataSource, ...]:
    """Returns the corpora of some clips, with their licences, languages and numbers of people."""
    corpora: dict[str, list[Clip]] = {}
    for clip in clips:
        corpora.setdefault(corpus_of(clip), []).append(clip)
    sources = []
    for name, members in corpora.items():
        title, licence = KNOWN_CORPORA.get(name, (name, ""))
        licences = sorted({clip.details.get("licence", licence) for clip in members} - {""})
        languages = "+".join(sorted({language_of(clip) for clip in members} - {""}))
        n_speakers = len({clip.speaker for clip in members} - {None})
        words = ", ".join([title, *([languages] if languages else []), f"{n_speakers} speakers"])
        sources.append(DataSource(words, "; ".join(licences) or "not stated", len(members)))
    return tuple(sources)


@dataclass(frozen=True)
class Voices:
    """Clips of speech, speakers apart.

    Attributes:
        train, validation: clips whose emotion is one of the classes.
        unlabelled: other clips of the speakers trained on.
        clips: all clips by their ids, those of other emotions among them.
    """

    train: list[Clip]
    validation: list[Clip]
    unlabelled: list[Clip]
    clips: list[Clip]


def load_voices(
    data_root: Path,
    class_names: tuple[str, ...],
    *,
    validation_fraction: float,
    seed: int,
    only_tested: tuple[str, ...] = (),
    without_labels: tuple[str, ...] = (),
) -> Voices:
    """Reads all corpora and sets a share of the speakers of each apart, as many women as men.

    Args:
        data_root: folder with ``ravdess/``, ``emodb/`` and ``voices/manifest.csv``.
        only_tested: corpora whose clips are on no side.
        without_labels: corpora whose labels are not believed: all their clips are unlabelled.

    Raises:
        DatasetError: if a folder is missing.
    """
    corpora: dict[str, list[Clip]] = {}
    for name, load in (("ravdess", ravdess.load), ("emodb", emodb.load), ("voices", manifest.load)):
        for clip in load(data_root / name):
            corpora.setdefault(corpus_of(clip), []).append(clip)
    all_clips = sorted((clip for clips in corpora.values() for clip in clips), key=lambda clip: clip.clip_id)
    voices = Voices([], [], [], all_clips)
    for name, every_clip in corpora.items():
        if name in only_tested:
            continue
        if name in without_labels:
            voices.unlabelled.extend(every_clip)
            continue
        clips = [clip for clip in every_clip if class_index(clip.emotion, class_names) is not None]
        split = split_by_speaker(clips, validation_fraction=validation_fraction, test_fraction=0.0, seed=seed)
        voices.train.extend(clip for clip in clips if split.sides[clip.clip_id] == "train")
        voices.validation.extend(clip for clip in clips if split.sides[clip.clip_id] == "validation")
        validated = {clip.speaker for clip in voices.validation}
        voices.unlabelled.extend(
            clip
            for clip in every_clip
            if class_index(clip.emotion, class_names) is None and clip.speaker not in validated
        )
    return voices
