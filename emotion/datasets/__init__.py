"""Labelled clips: found, split, cached, checked and fetched. Each data set has one module.

Each module has ``NAME``, ``LICENCE``, ``LAYOUT`` (how its files lie, in words), ``recognizes(root) -> bool``, which
looks at names alone, and ``load(root, **options) -> list[Clip]``. ``EXAMPLE`` is a file name, where names count.
"""

from types import ModuleType

from emotion.datasets import (
    aesdd,
    audb,
    cremad,
    emodb,
    emovo,
    enterface,
    folder,
    iemocap,
    manifest,
    mead,
    meld,
    mosei,
    ravdess,
    savee,
    tess,
)
from emotion.datasets.clips import Clip, summarize

# In the order in which they are asked whether a folder is theirs.
DATASETS: dict[str, ModuleType] = {
    "ravdess": ravdess,
    "cremad": cremad,
    "meld": meld,
    "emodb": emodb,
    "savee": savee,
    "tess": tess,
    "emovo": emovo,
    "aesdd": aesdd,
    "enterface": enterface,
    "mead": mead,
    "iemocap": iemocap,
    "mosei": mosei,
    "audb": audb,
    "folder": folder,
    "manifest": manifest,
}

# Their ids and speakers mean the same recordings and people everywhere; those of a manifest or a folder do not.
PUBLISHED = (
    "ravdess", "cremad", "meld", "emodb", "savee", "tess", "emovo", "aesdd", "enterface", "mead", "iemocap", "mosei",
)  # fmt: skip


def human_accuracy(name: str) -> dict[str, float]:
    """Returns the accuracy of human raters on a data set, such as ``CREMA-D``, by modality; empty if it is unknown."""
    module = next((module for module in DATASETS.values() if name == module.NAME), None)
    return dict(getattr(module, "HUMAN_ACCURACY", {}))


__all__ = ["DATASETS", "PUBLISHED", "Clip", "human_accuracy", "summarize"]
