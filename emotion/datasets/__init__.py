"""The data sets this project reads: one module each, with ``load(root) -> list[Clip]``, ``NAME`` and ``LICENCE``."""

from types import ModuleType

from emotion.datasets import cremad, emodb, folder, manifest, meld, ravdess
from emotion.datasets.clips import Clip, summarize

DATASETS: dict[str, ModuleType] = {
    "ravdess": ravdess,
    "cremad": cremad,
    "meld": meld,
    "emodb": emodb,
    "manifest": manifest,
    "folder": folder,
}

__all__ = ["DATASETS", "Clip", "summarize"]
