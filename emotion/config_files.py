"""Reads and writes configuration records as strict JSON: no unknown or missing names, no wrong types."""

import dataclasses
import json
import os
import typing
from pathlib import Path
from typing import Any

from emotion.config import FORMAT_VERSION, MAX_SHOWN, CalibrationConfig, RunConfig, shown
from emotion.errors import ConfigError
from emotion.files import write_json

MAX_BYTES = 10_000_000
MAX_DEPTH = 20
LARGEST = 10**12


def to_dict(config) -> dict[str, Any]:
    """Returns a configuration record as plain JSON types."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(record_type, values: dict[str, Any], *, complete: bool = True, where: str = "config", defaults=None):
    """Builds a configuration record from plain JSON types.

    Args:
        record_type: the dataclass to build, such as ``RunConfig``.
        complete: whether every name must be there, or may take its default.
        where: what to call ``values`` in error messages.
        defaults: a record to take missing values from, if not ``complete``.

    Raises:
        ConfigError: for an unknown name, a missing one, or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be a JSON object, got {type(values).__name__}.")
    types = typing.get_type_hints(record_type)
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise ConfigError(f"{where} holds unknown names: {_listed(unknown)}. Known: {', '.join(types)}.")
    needed = types if complete else [f.name for f in dataclasses.fields(record_type) if _has_no_default(f)]
    missing = sorted(set(needed) - set(values))
    if missing:
        raise ConfigError(f"{where} lacks: {', '.join(missing)}.")
    built = {
        name: _convert(value, types[name], f"{where}.{name}", complete, getattr(defaults, name, None))
        for name, value in values.items()
    }
    return record_type(**built) if defaults is None else dataclasses.replace(defaults, **built)


def _listed(names: list[str]) -> str:
    text = ", ".join(name if name.isprintable() else repr(name) for name in names)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _has_no_default(item: dataclasses.Field) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _convert(value, wanted, where: str, complete: bool, default=None):
    if dataclasses.is_dataclass(wanted):
        return from_dict(wanted, value, complete=complete, where=where, defaults=default)
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, got {shown(value)}.")
        inner = typing.get_args(wanted)[0]
        return tuple(_convert(item, inner, f"{where}[{i}]", complete) for i, item in enumerate(value))
    if typing.get_origin(wanted) is dict:
        wanted = dict
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{where} must be a number of up to {LARGEST:g}, got {shown(value)}.")
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{where} must be of type {wanted.__name__}, got {shown(value)}.")
    return value


def load_config(path: str | os.PathLike, *, complete: bool = True) -> RunConfig:
    """Reads a ``RunConfig`` from a JSON file.

    Args:
        complete: whether every setting must be there (a model folder) or may take its default (a file for training).

    Raises:
        ConfigError: if the file is missing, is not JSON, or holds unknown, missing or invalid settings.
    """
    values = read_settings(path, complete=complete)
    try:
        return from_dict(RunConfig, values, complete=complete, where=str(path))
    except ConfigError as error:
        raise error if str(error).startswith(str(path)) else ConfigError(f"{path}: {error}") from error


def read_settings(path: str | os.PathLike, *, complete: bool = True) -> dict[str, Any]:
    """Reads a configuration file, unchecked, in the present format.

    Raises:
        ConfigError: if the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: has more than {MAX_BYTES} bytes, so it is no configuration.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except (OSError, ValueError) as error:  # no UTF-8, no JSON, a number of thousands of digits
        raise ConfigError(f"{path}: not a readable JSON file ({str(error).split(';')[0]}).") from error
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: it is nested too deeply.") from None
    _check_values(values, str(path))
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:  # its other names may be unknown here
        raise ConfigError(
            f"{path}: has format_version {version}, made by a newer program than this, which knows {FORMAT_VERSION}. "
            "Update the program."
        )
    return upgrade_settings(values, complete=complete)


def _check_values(values, where: str, depth: int = 0) -> None:
    """Refuses what no setting holds, wherever it stands: it may be part of a design's own settings."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"{where}: not a configuration: it is nested too deeply.")
    if isinstance(values, dict):
        for item in values.values():
            _check_values(item, where, depth + 1)
    elif isinstance(values, list):
        for item in values:
            _check_values(item, where, depth + 1)
    elif isinstance(values, int) and abs(values) > LARGEST:
        raise ConfigError(f"{where}: holds {shown(values)}; the largest number allowed is {LARGEST:g}.")


def upgrade_settings(values, *, complete: bool = True):
    """Updates settings of an earlier format; of a ``complete`` configuration, adds what that format did not have.

    Format 1 had MFCCs only, unnamed; 1 and 2 no calibration; 1 to 3 no face_share, fill, pretrained weights or weight
    decay; 1 to 4 no precision.
    """
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, bool) or version not in (1, 2, 3, 4):
        return values
    if not complete:
        return {**values, "format_version": FORMAT_VERSION}
    upgraded = {"calibration": to_dict(CalibrationConfig()), **values, "format_version": FORMAT_VERSION}
    if version == 1 and isinstance(values.get("audio"), dict):
        upgraded["audio"] = {"features": "mfcc", **values["audio"]}
    added = {"training": {"precision": "float32"}}
    if version < 4:
        added["training"] |= {"weight_decay": 0.0, "pretrained": [], "frozen_epochs": 0, "layer_decay": 1.0}
        added |= {"window": {"face_share": 1.0}, "video": {"fill": "nearest"}}
    for part, names in added.items():
        if isinstance(values.get(part), dict):
            upgraded[part] = {**names, **values[part]}
    return upgraded


def write_config(config: RunConfig, path: str | os.PathLike) -> None:
    """Writes a ``RunConfig`` as JSON."""
    write_json(path, to_dict(config))
