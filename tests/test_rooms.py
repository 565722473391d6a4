"""Imports point down only, and nothing heavy is imported before it is needed."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A room may import from itself and from those below it.
ROOMS = ("media", "inputs", "outputs", "models", "inference", "datasets", "evaluation", "training")
# Commands. They stand above all rooms, and no room imports one.
DOORS = ("api", "train", "infer", "evaluate", "export", "fuse", "calibrate", "hub", "web_demo", "serve")
# What else reads a command line: two more commands, and the options that doors share.
ALSO_PARSE = {"emotion.weights", "emotion.datasets.__main__", "emotion.training.options"}
# Functions that every design, data set or command has, under one name and with one meaning.
CONTRACTS = {"build_model", "build_voice_network", "build_face_network", "audio_branch", "video_branch",
             "default_config", "load", "recognizes", "build_parser", "main", "run"}  # fmt: skip


def read_modules() -> dict[str, str]:
    """The source text of every module of the package, by dotted name."""
    modules = {}
    for path in sorted((ROOT / "emotion").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return modules


def find_imports(source: str, modules) -> set[str]:
    """The modules of the package that a source imports anywhere, also inside functions.

    A string that is a module's dotted name counts as well: it is there for ``importlib``.
    """
    named = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where an arrow points"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module; the package's own names need the package.
            named |= {name if name in modules else node.module for name in inner}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            named.add(node.value)
    return named & set(modules)


def floor_of(module: str) -> int:
    """0 for the words and numbers on the ground, then the rooms, then the doors, then the package itself."""
    part = module.split(".")[1] if "." in module else ""
    if not part:
        return len(ROOMS) + 2
    return len(ROOMS) + 1 if part in DOORS else ROOMS.index(part) + 1 if part in ROOMS else 0


def find_arrows_up(modules: dict[str, str]) -> list[str]:
    return [
        f"{module} imports {other}"
        for module, source in modules.items()
        for other in sorted(find_imports(source, modules))
        if floor_of(other) > floor_of(module)
    ]


def test_every_folder_is_a_room_and_every_door_is_there():
    folders = {path.name for path in (ROOT / "emotion").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    assert {f"emotion.{door}" for door in DOORS} <= set(read_modules())


def test_imports_point_down_only():
    assert find_arrows_up(read_modules()) == []


def test_no_door_imports_another():
    modules = read_modules()
    doors = {f"emotion.{door}" for door in DOORS}
    found = {door: find_imports(modules[door], modules) & doors - {door} for door in sorted(doors)}
    assert {door: others for door, others in found.items() if others} == {}


def test_only_doors_parse_a_command_line():
    modules = read_modules()
    parse = {
        module
        for module, source in modules.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import) and any(alias.name == "argparse" for alias in node.names)
    }
    assert parse <= {f"emotion.{door}" for door in DOORS} | ALSO_PARSE


def test_a_public_name_means_one_thing():
    found = {}
    for module, source in read_modules().items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    assert {name: places for name, places in found.items() if len(places) > 1 and name not in CONTRACTS} == {}


def test_no_module_needs_itself():
    modules = read_modules()
    graph = {module: find_imports(source, modules) - {module} for module, source in modules.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert sorted(order) == sorted(modules)


def calls_at_import(source: str) -> set[str]:
    """The names of functions and methods that a module calls while it is imported."""
    found, pending = set(), [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call):
            found.add(getattr(node.func, "attr", getattr(node.func, "id", "")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            defaults = [*node.args.defaults, *node.args.kw_defaults, *getattr(node, "decorator_list", [])]
            pending.extend(each for each in defaults if each)
        else:
            pending.extend(ast.iter_child_nodes(node))
    return found


def test_no_module_asks_the_disk_for_anything_when_it_is_imported():
    asking = {"exists", "is_file", "is_dir", "isfile", "isdir", "stat", "iterdir", "listdir", "glob", "rglob", "open",
              "read_text", "read_bytes", "mkdir", "makedirs", "cwd", "getcwd"}  # fmt: skip
    found = {module: calls_at_import(source) & asking for module, source in read_modules().items()}
    assert {module: calls for module, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import emotion.training.fitting",
        "from emotion.training.fitting import train",
        "from emotion.training import fitting",
        "def late():\n    from emotion.training.fitting import train",
        "import importlib\nimportlib.import_module('emotion.training.fitting')",
    ],
)
def test_an_arrow_that_points_up_is_seen_wherever_it_stands(source):
    modules = {"emotion": "", "emotion.training.fitting": "", "emotion.inputs.faces.crops": source}
    assert "emotion.inputs.faces.crops imports emotion.training.fitting" in find_arrows_up(modules)


# ---- What is imported when ----

HEAVY = "print('heavy:', *sorted({'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)))"


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_parts_that_need_no_network_do_not_import_keras():
    parts = (
        "",
        ".config",
        ".console",
        ".results",
        ".inputs.preprocessing",
        ".datasets.cache",
        ".datasets.splits",
        ".models.run_folder",
        ".models",
    )
    imports = ", ".join(f"emotion{part}" for part in parts)
    assert run_python(f"import sys, {imports}; {HEAVY}").splitlines() == ["heavy:"]


@pytest.mark.parametrize("program", ["train_model.py", "run_inference.py"])
def test_help_is_printed_before_anything_heavy_is_imported(program):
    lines = run_python(
        f"import runpy, sys\nsys.argv = [{program!r}, '--help']\n"
        f"try:\n    runpy.run_path({program!r}, run_name='__main__')\n"
        f"except SystemExit as end:\n    assert not end.code\n{HEAVY}"
    ).splitlines()
    assert lines[0].startswith(f"usage: {program}")
    assert lines[-1] == "heavy:"


def test_no_program_waits_for_numba():
    """What Numba compiles for librosa takes 20 s at first; two processes that do so at once can leave broken files."""
    code = """
import sys, numpy as np
from emotion.inputs.voice.augmentation import draw_voice_variation, vary_voice
from emotion.inputs.voice.features import compute_mfcc
from emotion.config import RunConfig
from emotion.datasets.check.fingerprints import compute_sound_print

rng, config = np.random.default_rng(0), RunConfig()
voice = rng.normal(size=2 * config.window_samples).astype(np.float32)
for _ in range(20):
    compute_mfcc(vary_voice(voice, config.audio.sample_rate, draw_voice_variation(rng), config.window_samples), config)
assert compute_sound_print(voice, config.audio.sample_rate)
print('numba' in sys.modules)
"""
    assert run_python(code).strip() == "False"


def test_the_programs_report_to_nobody(tmp_path):
    """ONNX Runtime names the computer in a file before it reports: none is there after a run that loads networks."""
    quiet = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "GRADIO_ANALYTICS_ENABLED")
    in_tests = (*quiet, "CI", "GITHUB_ACTIONS", "GITLAB_CI", "PYTEST_CURRENT_TEST")  # where it would not report anyway
    env = {name: value for name, value in os.environ.items() if name not in in_tests and not name.startswith("XDG_")}
    done = subprocess.run(
        [sys.executable, "run_inference.py", "samples/astronaut.mp4", "--output_dir", str(tmp_path), "--no_video"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env={**env, "HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not [path for path in (tmp_path / "home").rglob("*") if "microsoft" in str(path).lower()]
    code = f"import emotion, os; print([os.environ[name] for name in {quiet}])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    assert shown.stdout.strip() == "['1', '1', 'False']"
