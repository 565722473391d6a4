"""The data sets this project reads: one module each, with ``load(root) -> list[Clip]`` and ``LICENCE``."""

from types import ModuleType

from emotion.datasets import ravdess
from emotion.datasets.clips import Clip, summarize

DATASETS: dict[str, ModuleType] = {"ravdess": ravdess}

__all__ = ["DATASETS", "Clip", "summarize"]
