"""Finds the model that ``--model`` names: a folder, a folder in ``saved_models/``, or one on the Hugging Face hub."""

import os
from pathlib import Path

from emotion.console import Reporter
from emotion.places import HUB_SCHEME, find_model


def resolve_model(name: str | os.PathLike[str]) -> Path:
    """Returns the folder that ``--model`` names; a model on the hub is fetched first.

    Args:
        name: a path, the name of a folder in ``saved_models/``, or ``hf://USER/NAME`` or ``hf://USER/NAME@REVISION``.
            Without a network, the copy fetched before is used.

    Raises:
        EmotionError: if it cannot be fetched, or is not a model of this program.
    """
    if not str(name).startswith(HUB_SCHEME):
        return find_model(Path(name))
    from emotion.models.hub import fetch_model

    repository, _, revision = str(name).removeprefix(HUB_SCHEME).partition("@")
    return fetch_model(repository, revision=revision or None, reporter=Reporter(aside=True))


def name_of(name: str | Path) -> str:
    """Returns a short name for a model given as for ``resolve_model``: without path or hub scheme."""
    if str(name).startswith(HUB_SCHEME):
        return str(name).removeprefix(HUB_SCHEME)
    return find_model(name).resolve().name
