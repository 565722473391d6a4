"""What ``--model`` may name: a folder, one in ``saved_models/``, or a model on the Hugging Face hub."""

from pathlib import Path

from emotion.config import HUB_SCHEME, find_model


def resolve_model(name: str) -> Path:
    """Returns the folder that a user means by ``--model``.

    Args:
        name: a path, the name of one in ``saved_models/``, or ``hf://USER/NAME``, with ``@REVISION`` if wanted, which
            is fetched unless it is here already.

    Raises:
        EmotionError: if it cannot be fetched, or is no model of this program.
    """
    if not name.startswith(HUB_SCHEME):
        return find_model(name)
    from emotion.hub import fetch  # and the packages it needs, for who asks for it

    repository, _, revision = name.removeprefix(HUB_SCHEME).partition("@")
    return fetch(repository, revision=revision or None)
