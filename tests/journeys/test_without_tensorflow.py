"""Inference runs with its own requirements alone; what needs TensorFlow says so in a line."""

import json
from pathlib import Path

import pytest
from programs import ROOT, run_apart
from small_models import small_config, write_small_run

from emotion.models.onnx_runtime import ONNX_FILE, write_hash
from emotion.models.run_folder import MODEL_FILE

SAMPLE = ROOT / "samples" / "astronaut.mp4"
WITHOUT = """
import sys
for name in ("tensorflow", "keras", "librosa", "audiomentations", "sklearn", "h5py", "tf2onnx", "onnx", "safetensors",
             "scipy"):
    sys.modules[name] = None
sys.argv[0] = "run_inference.py"
import run_inference
from emotion.console import run_program
sys.exit(run_program(run_inference.main))
"""


def run_without(*arguments, folder: Path, program: str = "run_inference"):
    return run_apart("-c", WITHOUT.replace("run_inference", program), *arguments, cwd=folder)


def test_inference_runs_where_nothing_but_its_own_requirements_is_installed(tmp_path):
    done = run_without(SAMPLE, "--json", "answer.json", "--no_progress", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "astronaut_emotion.mp4").is_file()
    found = json.loads((tmp_path / "answer.json").read_text())
    assert found["settings"]["runtime"] == "onnx"


def test_without_keras_a_run_without_an_onnx_file_is_refused_with_the_way_out(tmp_path):
    folder = write_small_run(tmp_path / "run", small_config())
    done = run_without(SAMPLE, "--model", folder, folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "requirements.txt" in done.stderr and "emotion.export" in done.stderr
    (folder / ONNX_FILE).write_bytes(b"")
    write_hash(folder / MODEL_FILE, folder / ONNX_FILE)  # of another file
    done = run_without(SAMPLE, "--model", folder, folder=tmp_path)
    assert done.returncode == 2 and "model.onnx" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "options",
    [
        ("--device", "gpu"), ("--runtime", "keras"), ("--runtime", "keras", "--device", "cpu"),
        ("--face_detector", "retinaface"),
    ],
)  # fmt: skip
def test_without_tensorflow_what_needs_it_is_refused_in_a_line(options, tmp_path):
    done = run_without(SAMPLE, *options, folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install -r requirements.txt" in done.stderr


def test_training_without_its_packages_is_refused_in_a_line(tmp_path):
    done = run_without("--list_models", folder=tmp_path, program="train_model")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("pip install -r requirements.txt")
    assert "Traceback" not in done.stderr


def test_the_requirements_of_inference_are_among_those_of_everything():
    def requirements(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return {line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()}

    assert requirements("requirements-inference.txt") <= requirements("requirements.txt")
