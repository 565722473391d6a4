"""The kinds of tables that inference writes beside the picture and the plot: names, options, and what makes each."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.errors import ConfigError
from emotion.results import MediaPrediction

Maker = Callable[[MediaPrediction, dict[str, Any], Path | None], str | bytes]
"""Takes a result, how it was made, and where the file will lie (None if it is printed); returns the file's content."""


@dataclass(frozen=True)
class TableFormat:
    """A kind of table.

    Attributes:
        suffix: ends the file's name.
        title: what the console calls it.
        what: what the option writes, for its help.
        make: writes it.
        has_stills: whether stills have one, which have no course over time.
        package: that it needs besides the program's own; None for none.
        requirements: the file that lists it.
        is_binary: whether it cannot be printed.
    """

    suffix: str
    title: str
    what: str
    make: Maker
    has_stills: bool = True
    package: str | None = None
    requirements: str = "requirements-annotations.txt"
    is_binary: bool = False


def _json(prediction, settings, target):
    from emotion.outputs.tables import format_json

    return format_json(prediction, settings)


def _csv(prediction, settings, target):
    from emotion.outputs.tables import format_csv

    return format_csv(prediction)


def _parquet(prediction, settings, target):
    from emotion.outputs.parquet import format_parquet

    return format_parquet(prediction, settings=settings)


def _srt(prediction, settings, target):
    from emotion.outputs.subtitles import format_srt

    return format_srt(prediction)


def _vtt(prediction, settings, target):
    from emotion.outputs.subtitles import format_vtt

    return format_vtt(prediction)


def _eaf(prediction, settings, target):
    from emotion.outputs.elan import format_eaf

    return format_eaf(prediction, target)


def _textgrid(prediction, settings, target):
    from emotion.outputs.textgrid import format_textgrid

    return format_textgrid(prediction)


def _label_studio(prediction, settings, target):
    from emotion.outputs.label_studio import format_label_studio

    return format_label_studio(prediction, settings, target)


# By the name of the option.
TABLES: dict[str, TableFormat] = {
    "json": TableFormat(".json", "JSON", "all results as JSON", _json),
    "csv": TableFormat(".csv", "CSV", "one line per window", _csv),
    "parquet": TableFormat(
        ".parquet",
        "Parquet",
        "the same as Parquet",
        _parquet,
        package="pyarrow",
        requirements="pyarrow",
        is_binary=True,
    ),
    "srt": TableFormat(".srt", "subtitles", "subtitles", _srt, has_stills=False),
    "vtt": TableFormat(".vtt", "WebVTT subtitles", "subtitles for web pages", _vtt, has_stills=False),
    "eaf": TableFormat(".eaf", "ELAN file", "a file for ELAN", _eaf, has_stills=False, package="pympi"),
    "textgrid": TableFormat(
        ".TextGrid", "TextGrid", "a TextGrid for Praat", _textgrid, has_stills=False, package="praatio"
    ),
    "label_studio": TableFormat(
        ".label_studio.json", "Label Studio task", "a task for Label Studio", _label_studio, has_stills=False
    ),
}


def check_packages(kinds: Iterable[str]) -> None:
    """Makes sure that the packages are there that these kinds of tables need.

    Raises:
        ConfigError: if one is not.
    """
    for kind in kinds:
        package, needed = TABLES[kind].package, TABLES[kind].requirements
        if package and importlib.util.find_spec(package) is None:
            how = f"-r {needed}" if needed.endswith(".txt") else needed
            raise ConfigError(f"--{kind} needs {package}: pip install {how}")
