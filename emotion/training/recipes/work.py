"""The work folder of a recipe: where a stage finds what it made before, and goes on after a stop."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from emotion.console import Reporter
from emotion.files import make_folder, written_whole
from emotion.training.recipes.settings import Recipe

# Raise this whenever the same data and choices would give another result, so that no older one is taken for it.
STAGE_VERSION = 3


@dataclass(frozen=True)
class Work:
    """What to make, from which data, in which folder, and where messages go."""

    recipe: Recipe
    data_root: Path
    folder: Path
    reporter: Reporter


def fingerprint(data_root: Path, folders: tuple[str, ...], *choices) -> str:
    """A short hash of choices, and of the names and contents of all the files that a stage is made from."""
    digest = hashlib.sha256(repr((STAGE_VERSION, *choices)).encode())
    for name in folders:
        for path in sorted((data_root / name).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(data_root)}\n".encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def keep_network(work: Work, path: Path, make: Callable[[], keras.Model]) -> keras.Model:
    """Returns a stage's network: from its file if it is there, else made and saved without its optimizer."""
    if not path.is_file():
        make_folder(path.parent)
        work.reporter.say(f"Training {path.stem}.")
        network = make()
        with written_whole(path) as partial:
            network.save(partial, include_optimizer=False)
    return keras.saving.load_model(path, compile=False)
