"""What CONTRIBUTING.md promises until version 2 is still there: tests/data/promises.json lists it.

Something new becomes a promise by ``python tests/journeys/test_promises.py``, which writes the list anew.
"""

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

import make_reference
import numpy as np
from made_predictions import CLASS_NAMES, HAPPY, SAD, make_prediction

import emotion
from emotion.config import RunConfig
from emotion.config_files import to_dict
from emotion.datasets import DATASETS, split_files
from emotion.inference import batch
from emotion.models import ARCHITECTURES
from emotion.outputs.tables import format_csv

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "data" / "promises.json"
SCHEMA = ROOT / "emotion" / "outputs" / "result.schema.json"


def read_promises() -> dict[str, list[str]]:
    """Returns the names that others may rely on, kind by kind, as they are now."""
    columns = format_csv(make_prediction([(np.array([HAPPY, SAD]), 0.0, 4.0)])).splitlines()[0].split(",")
    for name in ("emotion.models.late_fusion", *(design.module for design in ARCHITECTURES.values())):
        importlib.import_module(name)
    from keras.saving import get_custom_objects

    found = {
        "commands and options": _options(),
        "JSON of results": _schema_fields(json.loads(SCHEMA.read_text(encoding="utf-8"))),
        "columns of tables of results": {*columns} - {*CLASS_NAMES},
        "columns of summary.csv": batch.COLUMNS,
        "columns of splits.csv": split_files.COLUMNS,
        "config.json": _fields(to_dict(RunConfig())),
        "network designs": ARCHITECTURES,
        "layouts of data sets": DATASETS,
        "layers in saved models": [name for name in get_custom_objects() if name.startswith("emotion>")],
        "Python": [*(f"emotion.{name}" for name in (*emotion.__all__, "__version__")), *_python()],
    }
    return {kind: sorted(set(names)) for kind, names in found.items()}


def _options() -> Iterator[str]:
    for name, place in make_reference.PROGRAMS.items():
        if "benchmarks" not in name:
            yield from _options_of(make_reference.build_parser(place), name)


def _options_of(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    yield name
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, inner in action.choices.items():
                yield from _options_of(inner, f"{name} {command}")
            continue
        if isinstance(action, argparse._HelpAction):
            continue
        for option in action.option_strings or [str(action.metavar or action.dest)]:
            yield f"{name} {option}"
            yield from (f"{name} {option} {choice}" for choice in action.choices or ())


def _fields(value, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}".lstrip(".")
            yield from _fields(inner, f"{path}.{name}")


def _schema_fields(schema, path: str = "result") -> Iterator[str]:
    for name, part in schema.items() if isinstance(schema, dict) else ():
        if name in ("properties", "$defs"):
            for field, inner in part.items():
                named = field if name == "$defs" else f"{path}.{field}"
                yield from [named] if name == "properties" else []
                yield from _schema_fields(inner, named)
        elif isinstance(part, list):
            for choice in part:
                yield from _schema_fields(choice, path)
        else:
            yield from _schema_fields(part, path)


def _python() -> Iterator[str]:
    for module, names in make_reference.PUBLIC.items():
        loaded = importlib.import_module(module)
        for name in names:
            value, called = getattr(loaded, name), f"{module}.{name}"
            yield called
            if inspect.isclass(value) and issubclass(value, Exception):
                continue
            yield from (f"{called}({parameter})" for parameter in inspect.signature(value).parameters)
            methods = vars(value).items() if inspect.isclass(value) else ()
            yield from (f"{called}.{name}" for name, method in methods if name[0] != "_" and method.__doc__)


def test_nothing_that_is_promised_is_missing():
    promised, found = json.loads(LIST.read_text(encoding="utf-8")), read_promises()
    assert {kind: missing for kind, names in promised.items() if (missing := sorted({*names} - {*found[kind]}))} == {}


def test_the_list_holds_what_users_rely_on():
    promised = json.loads(LIST.read_text(encoding="utf-8"))
    assert "run_inference.py --video_path" in promised["commands and options"]
    assert "python -m emotion.hub pull USER/NAME" in promised["commands and options"]
    assert "summary.confidence" in promised["JSON of results"]
    assert "training.learning_rate" in promised["config.json"]
    assert "emotion.inference.predictor.EmotionPredictor.predict" in promised["Python"]
    assert len(promised["layers in saved models"]) > 10


if __name__ == "__main__":
    LIST.write_text(json.dumps(read_promises(), indent=1) + "\n", encoding="utf-8")
    print(f"{LIST.relative_to(ROOT)}: {sum(map(len, read_promises().values()))} names")
