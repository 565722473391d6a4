"""Writes docs/reference/ from the programs' options and the package's docstrings: python docs/make_reference.py

A test fails when the pages in docs/reference/ are out of date.
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TARGET = ROOT / "docs" / "reference"
NOTE = "<!-- Written by docs/make_reference.py. Do not edit: change the program, and run it again. -->"

MAX_LETTERS = 100
PROGRAMS = {
    "run_inference.py": "run_inference",
    "train_model.py": "train_model",
    "python -m emotion.evaluate": "emotion.evaluate",
    "python -m emotion.evaluate folds": "emotion.evaluate:build_folds_parser",
    "python -m emotion.evaluate protocols": "emotion.evaluate:build_protocols_parser",
    "python -m emotion.evaluate corpora": "emotion.evaluate:build_corpora_parser",
    "python -m emotion.datasets": "emotion.datasets.__main__",
    "python -m emotion.fuse": "emotion.fuse",
    "python -m emotion.calibrate": "emotion.calibrate",
    "python -m emotion.export": "emotion.export",
    "python -m emotion.hub": "emotion.hub",
    "python -m emotion.web_demo": "emotion.web_demo",
    "python -m emotion.serve": "emotion.serve",
    "python -m emotion.weights": "emotion.weights",
    "python -m benchmarks": "benchmarks.__main__",
}
# The public Python interface.
PUBLIC = {
    "emotion.inference.predictor": ("EmotionPredictor",),
    "emotion.settings": ("InferenceSettings",),
    "emotion.results": ("MediaPrediction", "EmotionSummary", "WindowPrediction", "FaceTrack", "BaselineUse"),
    "emotion.outputs.video.writing": ("write_annotated_video", "write_annotated_image"),
    "emotion.outputs.plots.timeline": ("write_timeline",),
    "emotion.outputs.tables": ("format_json", "format_csv"),
    "emotion.outputs.subtitles": ("format_srt",),
    "emotion.inference.web.fragments": ("cut_portraits",),
    "emotion.config": ("RunConfig", "AudioConfig", "VideoConfig", "WindowConfig", "TrainConfig", "CalibrationConfig"),
    "emotion.datasets.clips": ("Clip",),
    "emotion.datasets.recognition": ("load_dataset", "recognize"),
    "emotion.models": ("build_model",),
    "emotion.training.fitting": ("train",),
    "emotion.models.run_folder": ("load_run",),
    "emotion.models.trained_model": ("Run",),
    "emotion.models.calibration": ("fit_temperature", "choose_threshold"),
    "emotion.errors": ("EmotionError", "MediaError", "ConfigError", "DatasetError", "RunError"),
}
# The folders of ``emotion/`` in the order of the story: a clip to results, then clips to a model and its scores.
ROOMS = ("media", "inputs", "models", "inference", "outputs", "datasets", "training", "evaluation")


def write_commands() -> str:
    """Returns the page of commands: a table of options for each program."""
    parts = [NOTE, "# Commands", "", "`--help` shows the same. Run the commands in the project's folder."]
    for name, module in PROGRAMS.items():
        parser = build_parser(module)
        parts += ["", f"## {name}", "", _flow(parser.description)]
        parts += _tables(parser, f"{name}")
    return "\n".join(parts) + "\n"


def build_parser(place: str) -> argparse.ArgumentParser:
    """Returns the parser for a value of ``PROGRAMS``: a module, whose ``build_parser`` counts, or MODULE:FUNCTION."""
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function or "build_parser")()


def _tables(parser: argparse.ArgumentParser, name: str) -> list[str]:
    lines, rows = [], []
    for group in parser._action_groups:
        shown = [
            action
            for action in group._group_actions
            if not isinstance(action, argparse._HelpAction) and action.help is not argparse.SUPPRESS
        ]
        if shown and group not in (parser._positionals, parser._optionals, parser._subparsers):
            rows.append(f"| **{group.title}** | |")
        for action in shown:
            if isinstance(action, argparse._SubParsersAction):
                described = {choice.dest: choice.help for choice in action._choices_actions}
                for command, inner in action.choices.items():
                    lines += ["", f"### {name} {command}", "", _flow(described.get(command) or inner.description)]
                    lines += _tables(inner, f"{name} {command}")
            else:
                rows.append(f"| {_spell(action)} | {_cell(_explain(action, parser))} |")
    table = ["", "| option | what |", "|---|---|", *rows] if rows else []
    return table + lines


def _spell(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
        value = " ".join(value) if isinstance(value, tuple) else value
        if action.choices is not None and action.metavar is None:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        if action.nargs in ("+", "*"):
            value = f"{value} ..."
        elif action.nargs == "?" and action.option_strings:
            value = f"[{value}]"
    names = ", ".join(action.option_strings)
    return f"`{f'{names} {value}'.strip()}`".replace("|", "\\|")


def _explain(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    default = str(action.default)
    values = {**vars(action), "prog": parser.prog}
    # Paths are relative to the project's folder.
    values["default"] = action.default if str(ROOT) not in default else default.replace(f"{ROOT}/", "")
    text = (action.help or "") % values if action.help else ""
    return text.replace(f"{ROOT}/", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _flow(text: str | None) -> str:
    """Returns a description as Markdown, with its commands in code blocks."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    shown = []
    for block in blocks:
        lines = block.splitlines()
        if all(line.startswith("python ") for line in lines):
            shown.append("```\n" + "\n".join(lines) + "\n```")
        else:
            shown.append(" ".join(lines))
    return "\n\n".join(shown)


def write_python() -> str:
    """Returns the page of the Python interface: signatures and docstrings."""
    example = """```python
from emotion import EmotionPredictor

prediction = EmotionPredictor("saved_models/default").predict("samples/astronaut.mp4")
print(prediction.overall.emotion, prediction.overall.confidence, prediction.overall.evidence)
```"""
    parts = [NOTE, "# Python", "", example]
    for module, names in PUBLIC.items():
        loaded = importlib.import_module(module)
        parts += ["", f"## {module}"]
        for name in names:
            value = getattr(loaded, name)
            parts += ["", f"### {name}", "", f"```python\n{_signature(name, value)}\n```", "", _doc(value)]
            if inspect.isclass(value) and not issubclass(value, Exception):
                parts += _methods(value)
    return "\n".join(parts) + "\n"


def _methods(owner: type) -> list[str]:
    parts = []
    for name, value in vars(owner).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if name == "__init__" and not dataclasses.is_dataclass(owner) and function.__doc__:
            parts += ["", _doc(function)]
        elif not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            parts += ["", f"#### {owner.__name__}.{name}", "", f"```python\n{_signature(name, function)}\n```", "",
                      _doc(function)]  # fmt: skip
    return parts


def _signature(name: str, value) -> str:
    if inspect.isclass(value) and issubclass(value, Exception):
        return f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
    signature = inspect.signature(value)
    marks, parts = [], []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in marks:
            marks.append("*")
            parts.append("*")
        parts.append(_plain(str(parameter)))
    result = (
        ""
        if signature.return_annotation is signature.empty or inspect.isclass(value)
        else "-> " + _plain(inspect.formatannotation(signature.return_annotation))
    )
    start = f"{'class' if inspect.isclass(value) else 'def'} {name}"
    line = f"{start}({', '.join(parts)}) {result}".strip()
    if len(line) <= MAX_LETTERS:
        return line
    return "\n".join([f"{start}(", *(f"    {part}," for part in parts), f") {result}".strip()])


def _plain(text: str) -> str:
    """Returns a parameter or annotation in the same short form on every machine and Python version."""
    text = re.sub(r"<factory>", "...", text)
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"(?:Posix|Windows)?Path\('[^']*/(saved_models/\w+)'\)", r'"\1"', text)
    text = re.sub(r"(?<=[:>] )'([^']*)'", r"\1", text)  # an annotation in quotes
    text = re.sub(r"\b(?:pathlib\.(?:_local\.)?|numpy\.|collections\.abc\.|typing\.|emotion\.[\w.]*\.)", "", text)
    return re.sub(r"^'|'$", "", text) if text.count("'") == 2 and text[0] == text[-1] == "'" else text


def _doc(value) -> str:
    """Returns a docstring as Markdown, with its sections (Args, Returns, ...) as lists."""
    lines, shown, in_section = inspect.cleandoc(value.__doc__ or "").splitlines(), [], False
    in_code = False
    for line in lines:
        if found := re.fullmatch(r"(Args|Returns|Raises|Attributes|Yields|Shape|Example):", line):
            if in_code:
                shown = [*shown[:-1], "```"] if not shown[-1] else [*shown, "```"]
            shown += ["", f"**{found.group(1)}**", ""]
            in_section, in_code = True, found.group(1) == "Example"
            shown += ["```python"] if in_code else []
        elif in_code:
            shown.append(line.removeprefix("    "))
        elif in_section and (found := re.match(r"    ([\w*, .]+?): (.*)", line)):
            shown.append(f"- `{found.group(1)}`: {found.group(2)}")
        elif in_section and line.startswith("        "):
            shown.append(f"  {line.strip()}")
        else:
            shown.append(line.removeprefix("    ") if in_section else line)
    if in_code:
        shown.append("```")
    text = re.sub(r"(?<!`)``([^`]+)``(?!`)", r"`\1`", "\n".join(shown))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def write_files() -> str:
    """Returns the page of files: the tree of ``emotion/``, with the first line of each module's docstring."""
    package = ROOT / "emotion"
    parts = {name: [] for name in ("doors", *ROOMS, "ground")}
    for path in sorted(package.rglob("*.py"), key=lambda path: (path.parent, path.name)):
        if path.name == "__init__.py" and path.parent.parent == package:
            continue  # says what the room is for, above its table
        room = path.relative_to(package).parts[0]
        if path.parent == package:
            room = "doors" if "\ndef build_parser(" in path.read_text(encoding="utf-8") else "ground"
        parts[room].append(path)
    about = {room: summary_of(package / room / "__init__.py") for room in ROOMS}
    about["doors"] = "One module for each command. `datasets/__main__.py` is another; rooms import `weights.py`, too."
    about["ground"] = "What every room may import."
    lines = [NOTE, "# Files", "", "What each file of `emotion/` is for, room by room."]
    for room, paths in parts.items():
        lines += ["", f"## {room}", "", about[room], "", "| file | what |", "|---|---|"]
        lines += [f"| `{path.relative_to(package)}` | {_cell(summary_of(path))} |" for path in paths]
    return "\n".join(lines) + "\n"


def summary_of(path: Path) -> str:
    """Returns the first line of a module's docstring.

    Raises:
        ValueError: if it has none, or if the line is not a whole sentence.
    """
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = text.partition("\n")[0]
    if not line.endswith("."):
        raise ValueError(f"{path}: its docstring must begin with a sentence, on one line, that says what it is for.")
    return line.replace("``", "`")


PAGES = {"commands.md": write_commands, "python.md": write_python, "files.md": write_files}

if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for page, write in PAGES.items():
        (TARGET / page).write_text(write(), encoding="utf-8")
        print(TARGET / page)
