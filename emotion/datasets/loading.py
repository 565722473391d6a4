"""Loads the labelled clips that a command's data options name."""

from pathlib import Path

from emotion.config import DataSource
from emotion.console import SILENT, Reporter
from emotion.datasets import DATASETS, summarize
from emotion.datasets.clips import Clip
from emotion.datasets.recognition import load_dataset, recognize
from emotion.places import DATASET_DIR


def load_clips(
    dataset: str | None, root: Path | None, manifest: Path | None, *, reporter: Reporter = SILENT
) -> tuple[list[Clip], DataSource]:
    """Loads the clips that the options name.

    Args:
        dataset: a key of ``DATASETS``, or None to detect it from the layout.
        root: the data set's folder, or what a manifest's paths are relative to.
        manifest: a manifest's CSV file, or None.

    Returns:
        The clips, and what to call the data set.

    Raises:
        DatasetError: if there are none.
    """
    if manifest is not None:
        dataset, folder, manifest_root = "manifest", manifest, root
    else:
        folder, manifest_root = root or DATASET_DIR, None
        dataset = dataset or recognize(folder)
    clips = load_dataset(dataset, folder, manifest_root=manifest_root)
    module = DATASETS[dataset]
    name = f"manifest {manifest.name}" if manifest is not None else module.NAME
    reporter.say(f"{name}, from {folder}")
    reporter.say(summarize(clips))
    return clips, DataSource(name, module.LICENCE, len(clips))
