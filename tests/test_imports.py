"""Imports point down only, and nothing heavy is imported before it is needed."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Lowest first. A module may import from its own layer and from those below. A package stands for all of its modules.
LAYERS = (
    (
        "errors", "labels", "config", "config_files", "windows", "calibration", "results", "console", "scores",
        "processes", "files", "settings", "timing", "weights", "pipelines", "packaged", "version",
    ),
    ("media", "audio", "faces", "synthetic", "synthetic_faces", "synthetic_heads", "synthetic_voices"),
    (
        "frame_sampler", "preprocessing", "datasets", "splits", "split_files", "protocols", "folds", "cache", "outputs",
        "finding",
    ),
    ("models", "generators", "half_precision", "onnx_network", "runs", "model_list", "scanner", "seen"),
    (
        "options", "checkpoints", "norms", "evaluation", "copies", "preparation", "training", "crossvalidation",
        "comparison", "assessment", "devices", "fusing", "joining", "onnx_branches", "onnx_export", "quantization",
        "clip_windows", "portable", "hub", "model_names", "conclusions",
    ),
    ("predictor", "workflows", "recipes", "batch", "live", "processing", "jobs", "inference"),
    ("evaluate", "fuse", "web", "web_demo", "export"),
    ("programs",),
    ("__init__",),
)  # fmt: skip


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


def layer_of(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else "__init__"
    return next((height for height, layer in enumerate(LAYERS) if part in layer), None)


def find_arrows_up(modules: dict[str, str]) -> list[str]:
    return [
        f"{module} imports {other}"
        for module, source in modules.items()
        for other in sorted(find_imports(source, modules))
        if layer_of(other) > layer_of(module)
    ]


def test_every_module_has_a_layer():
    assert [module for module in read_modules() if layer_of(module) is None] == []


def test_every_name_in_a_layer_is_a_module():
    listed = {"emotion" if name == "__init__" else f"emotion.{name}" for layer in LAYERS for name in layer}
    assert listed - set(read_modules()) == set()


def test_imports_point_down_only():
    assert find_arrows_up(read_modules()) == []


def test_no_module_needs_itself():
    modules = read_modules()
    graph = {module: find_imports(source, modules) - {module} for module, source in modules.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert sorted(order) == sorted(modules)


def test_the_writers_of_results_know_results_and_media_and_no_model():
    modules = read_modules()
    outputs = [module for module in modules if module.startswith("emotion.outputs")]
    known = {other for module in outputs for other in find_imports(modules[module], modules)}
    assert [other for other in sorted(known) if layer_of(other) > 1 and not other.startswith("emotion.outputs")] == []


@pytest.mark.parametrize(
    "source",
    [
        "import emotion.training",
        "from emotion.training import train",
        "from emotion import training",
        "def late():\n    from emotion.training import train",
        "import importlib\nimportlib.import_module('emotion.training')",
    ],
)
def test_an_arrow_that_points_up_is_seen_wherever_it_stands(source):
    modules = {"emotion": "", "emotion.training": "", "emotion.faces.crops": source}
    assert "emotion.faces.crops imports emotion.training" in find_arrows_up(modules)


# ---- What is imported when ----

HEAVY = "print('heavy:', *sorted({'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)))"


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_parts_that_need_no_network_do_not_import_keras():
    parts = ("", ".config", ".console", ".results", ".preprocessing", ".cache", ".splits", ".runs", ".models")
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
from emotion.audio.augmentation import draw_variation, vary_voice
from emotion.audio.features import compute_mfcc
from emotion.config import RunConfig
from emotion.datasets.fingerprints import compute_sound_print

rng, config = np.random.default_rng(0), RunConfig()
voice = rng.normal(size=2 * config.window_samples).astype(np.float32)
for _ in range(20):
    compute_mfcc(vary_voice(voice, config.audio.sample_rate, draw_variation(rng), config.window_samples), config)
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
