"""Reads and writes ``valence_arousal.json`` of a model folder: where each class lies, learned from rated clips.

A model folder without the file has the published places of ``emotion.outputs.valence_arousal``.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emotion.config import RunConfig
from emotion.errors import RunError
from emotion.files import named_errors, write_json

PLACES_FILE = "valence_arousal.json"

Places = dict[str, tuple[float, float]]


def load_places(folder: str | os.PathLike[str], config: RunConfig) -> Places | None:
    """Returns valence and arousal of each class, from -1 to 1; None if the folder has none.

    Raises:
        RunError: if the file does not go with the model.
    """
    path = Path(folder) / PLACES_FILE
    if not path.is_file():
        return None
    with named_errors(path):
        text = path.read_text(encoding="utf-8")
    try:
        held = json.loads(text)["places"]
        places = {str(name): (float(valence), float(arousal)) for name, (valence, arousal) in held.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: is damaged. Delete it, or train the model again.") from error
    is_within = all(-1 <= value <= 1 for place in places.values() for value in place)
    if set(places) != set(config.class_names) or not is_within:
        raise RunError(f"{path}: does not go with {path.with_name('config.json')}. Delete it, or train again.")
    return places


def write_places(
    folder: str | os.PathLike[str], places: Mapping[str, tuple[float, float]], about: dict[str, Any]
) -> None:
    """Writes the file; ``about`` says how the places were found and how well they do."""
    write_json(Path(folder) / PLACES_FILE, {"places": {name: list(place) for name, place in places.items()}, **about})
