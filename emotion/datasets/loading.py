"""Loads the labelled clips that a command's data options name."""

from collections.abc import Sequence
from pathlib import Path

from emotion.config import DataSource
from emotion.console import SILENT, Reporter
from emotion.datasets import DATASETS, summarize
from emotion.datasets.clips import Clip
from emotion.datasets.recognition import load_dataset, read_options, recognize
from emotion.places import DATASET_DIR


def load_clips(
    dataset: str | None,
    root: Path | None,
    manifest: Path | None,
    *,
    options: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> tuple[list[Clip], DataSource]:
    """Loads the clips that the options name.

    Args:
        dataset: a key of ``DATASETS``, or None to detect it from the layout.
        root: the data set's folder, or what a manifest's paths are relative to.
        manifest: a manifest's file, or None.
        options: of the data set, such as ``labels=perceived``.

    Returns:
        The clips, and what to call the data set.

    Raises:
        ConfigError: for an option that the data set does not have.
        DatasetError: if there are none.
    """
    if manifest is not None:
        dataset, folder, manifest_root = "manifest", manifest, root
    else:
        folder, manifest_root = root or DATASET_DIR, None
        dataset = dataset or recognize(folder)
    chosen = read_options(dataset, options)
    clips = load_dataset(folder, dataset, manifest_root=manifest_root, **chosen)
    module = DATASETS[dataset]
    name = f"manifest {manifest.name}" if manifest is not None else module.NAME
    if options:  # other labels, or other people's: not what scores of this data set are compared with
        name = f"{name} ({', '.join(options)})"
    reporter.say(f"{name}, from {folder}")
    reporter.say(summarize(clips))
    return clips, DataSource(name, module.LICENCE, len(clips))
