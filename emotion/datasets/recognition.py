"""Detects from its layout which data set lies in a folder, and loads it."""

import inspect
import logging
import os
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emotion.datasets import DATASETS, ravdess
from emotion.datasets.clips import Clip
from emotion.datasets.paths import is_table, read_table, walk_dataset
from emotion.errors import ConfigError, DatasetError
from emotion.files import named_errors
from emotion.media.kinds import kind_of

logger = logging.getLogger(__name__)


def recognize(root: str | os.PathLike[str]) -> str:
    """Returns the name of the data set in a folder or a CSV file, a key of ``DATASETS``.

    It reads only file names and the first lines of tables. If several layouts fit, the first in the order of
    ``DATASETS`` counts, and a warning names the others.

    Raises:
        DatasetError: if none fits.
    """
    with named_errors(root):
        found = [name for name, module in DATASETS.items() if os.path.exists(root) and module.recognizes(root)]
    if not found:
        raise _nothing_recognized(Path(root))
    # Recordings whose names say what they are may also be sorted into one folder for each emotion.
    others = [name for name in found[1:] if name != "folder"]
    if others:
        logger.warning(
            "%s is read as %s; it could also be %s. Name the one that is meant with --dataset.",
            root, found[0], " or ".join(others),
        )  # fmt: skip
    return found[0]


def load_dataset(
    root: str | os.PathLike[str],
    name: str | None = None,
    *,
    manifest_root: str | os.PathLike[str] | None = None,
    **options: Any,
) -> list[Clip]:
    """Loads a data set.

    Example:
        clips = load_dataset("dataset/cremad")
        clips = load_dataset("clips.csv")

    Args:
        root: its folder, or a manifest.
        name: a key of ``DATASETS``; by default it is detected from the layout.
        manifest_root: what a manifest's paths are relative to; None for its own folder.
        **options: of the data set's own ``load``, such as ``vocal_channels``.

    Returns:
        Its clips, sorted by ``clip_id``.

    Raises:
        ConfigError: for an unknown data set or option.
        DatasetError: if there is no such data set at ``root``.
    """
    if name is not None and name not in DATASETS:
        raise ConfigError(f"Unknown data set {name!r}. Known: {', '.join(DATASETS)}.")
    name = name or recognize(root)
    load = DATASETS[name].load
    if manifest_root is not None:
        if name != "manifest":
            raise ConfigError(f"Only a manifest has paths relative to another folder; {root} is read as {name}.")
        options["root"] = manifest_root
    known = list(inspect.signature(load).parameters)[1:]
    unknown = [option for option in options if option not in known]
    if unknown:
        has = f"has only {', '.join(known)}" if known else "has none"
        raise ConfigError(f"The data set {name} has no option {', '.join(unknown)}; it {has}.")
    with named_errors(root, of_many=True):
        clips: list[Clip] = load(root, **options)
    return clips


def read_options(name: str, written: Iterable[str]) -> dict[str, Any]:
    """Reads options of a data set as a command line has them: ``labels=perceived``, lists as ``views=front,top``.

    Raises:
        ConfigError: if one is not written like that, or the data set has no such option.
    """
    parameters = inspect.signature(DATASETS[name].load).parameters
    options = {}
    for text in written:
        option, sign, value = text.partition("=")
        if not sign or option not in list(parameters)[1:]:
            has = ", ".join(list(parameters)[1:]) or "none"
            raise ConfigError(
                f"--dataset_option must be NAME=VALUE with an option of the data set {name} ({has}), got {text!r}."
            )
        is_list = typing.get_origin(parameters[option].annotation) is Sequence
        options[option] = tuple(value.split(",")) if is_list else value
    return options


def _nothing_recognized(root: Path) -> DatasetError:
    if kind_of(root) and root.is_file():
        return DatasetError(f"{root}: is a single file. Give the folder of a data set, or a manifest that lists clips.")
    if not root.exists() or (root.is_dir() and not any(kind_of(path) or is_table(path) for path in walk_dataset(root))):
        # Most likely a first start: RAVDESS's own error says what to fetch, or that its archives are still packed.
        try:
            ravdess.load(root)
        except DatasetError as error:
            return error
    if is_table(root):
        try:
            columns = read_table(root).columns
        except DatasetError as error:
            return error
        return DatasetError(f"{root}: has no columns path and emotion; its columns are {', '.join(columns)}.")
    layouts = "; ".join(f"{name}: {module.LAYOUT}" for name, module in DATASETS.items())
    return DatasetError(
        f"{root} is not laid out like any known data set. List its clips in a manifest, or lay them out as one of "
        f"these: {layouts}."
    )
