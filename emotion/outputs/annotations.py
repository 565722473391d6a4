"""What the formats of annotation tools share: how a label is written, how the media are linked, and what is needed.

A label is the emotion, and behind it the confidence, 0 to 1: ``happy 0.89``. Behind ``unsure`` also stands the most
probable emotion: ``unsure 0.45 sad``. Whoever corrects labels writes the emotion alone.
"""

import importlib
import os
import re
from pathlib import Path
from types import ModuleType

from emotion.errors import ConfigError
from emotion.files import displayable
from emotion.outputs.stretches import Stretch
from emotion.results import UNSURE

PACKAGES = {"pympi": "ELAN's files", "praatio": "Praat's files"}
MARK = "_emotion"  # ends the names of results
LEAST_SECONDS = 0.001  # shorter stretches are no intervals in these formats

_LABEL = re.compile(r"\s*(.*?)(?:\s+([01](?:\.[0-9]+)?)(?:\s+(.*?))?)?\s*", re.DOTALL)


def load_package(name: str) -> ModuleType:
    """Imports the package that reads and writes a format.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{PACKAGES[name.partition('.')[0]]} need the extra annotations ({error}): pip install -r "
            "requirements-annotations.txt"
        ) from error


def write_confidence(stretch: Stretch) -> str:
    """Returns what stands behind the emotion of a label."""
    guess = f" {stretch.most_probable}" if stretch.emotion == UNSURE else ""
    return f"{stretch.confidence:.2f}{guess}"


def write_label(stretch: Stretch) -> str:
    return f"{stretch.emotion} {write_confidence(stretch)}"


def read_emotion_of(label: str) -> str:
    """Returns the emotion of a label, as written, without what stands behind it."""
    return _LABEL.fullmatch(label)[1]


def link_media(media: str, target: Path | None) -> str | None:
    """Returns the way from an annotation file to its media, with slashes; an address as it is.

    None if there is no such file, as for a camera. Without a target, as for what is printed, it starts here.
    """
    if "://" in media:
        return media
    if not os.path.isfile(media):
        return None
    folder = Path() if target is None else target.parent
    try:
        way = os.path.relpath(os.path.realpath(media), os.path.realpath(folder))
    except ValueError:  # on another drive
        way = os.path.abspath(media)
    return displayable(Path(way).as_posix())


def lane_name(name: str) -> str:
    """Returns the name of a face or the voice so that any of these formats can hold it: printable, on one line."""
    return displayable(name).strip() or "?"
