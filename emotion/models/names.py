"""What ``--model`` may name: a folder, one in ``saved_models/``, or a model on the Hugging Face hub."""

from pathlib import Path

from emotion.console import Reporter
from emotion.places import HUB_SCHEME, find_model


def resolve_model(name: str | Path) -> Path:
    """Returns the folder that a user means by ``--model``.

    Args:
        name: a path, the name of one in ``saved_models/``, or ``hf://USER/NAME``, with ``@REVISION`` if wanted: what of
            that has changed since is fetched; without a network it is what was fetched before.

    Raises:
        EmotionError: if it cannot be fetched, or is no model of this program.
    """
    if not str(name).startswith(HUB_SCHEME):
        return find_model(name)
    from emotion.models.hub import fetch

    repository, _, revision = name.removeprefix(HUB_SCHEME).partition("@")
    return fetch(repository, revision=revision or None, reporter=Reporter(aside=True))


def name_of(name: str | Path) -> str:
    """Returns what to call a model whose name was given as for ``resolve_model``: no path, and no hash of the hub's."""
    if str(name).startswith(HUB_SCHEME):
        return str(name).removeprefix(HUB_SCHEME)
    return find_model(name).resolve().name
