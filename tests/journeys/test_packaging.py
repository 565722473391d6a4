"""What pip installs works away from the project's folder, with the default model and the commands."""

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from programs import run_apart
from small_models import SMALL_SETTINGS

import emotion
from emotion.places import project_dir, saved_models


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Path:
    """What docker build sends of the project, and what somebody has exported there."""
    folder = tmp_path_factory.mktemp("context")
    lines = (project_dir() / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    for name in [line.removeprefix("!") for line in lines if line.startswith("!")]:
        source, copy = project_dir() / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "export"))
        else:
            shutil.copy(source, copy)
    exported = folder / "saved_models" / "default" / "export" / "savedmodel"
    exported.mkdir(parents=True)
    for path in (exported / "saved_model.pb", folder / "saved_models" / "default" / "model.int8.onnx"):
        path.write_bytes(b"of no use to others")
    return folder


@pytest.fixture(scope="module")
def wheel(context, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), "."],
        cwd=context, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the package alone; what it needs comes from this environment."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target",
         str(folder), str(wheel)],
        capture_output=True, timeout=300, check=True,
    )  # fmt: skip
    return folder


def call(installed: Path, cwd: Path, command: str, *options: str):
    return run_apart(installed / "bin" / command, *options, cwd=cwd, PYTHONPATH=installed)


def test_the_wheel_holds_the_package_both_models_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        text = next(archive.read(name).decode() for name in names if name.endswith("METADATA"))
    assert "emotion/shipped/samples/astronaut.mp4" in names
    assert {name.split("/licenses/")[1] for name in names if "/licenses/" in name} == {"LICENSE", "LICENCES.md"}
    for model in ("default", "accurate"):
        shipped = f"emotion/shipped/saved_models/{model}/"
        kept = {path.name for path in (saved_models() / model).iterdir() if ".int8." not in path.name}
        assert {name.removeprefix(shipped) for name in names if name.startswith(shipped)} == kept
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"emotion", "audio_visual_emotion"}
    assert wheel.stat().st_size < 60e6
    for needed in ("tensorflow-cpu", "onnxruntime", "gradio", "librosa"):
        assert f"Requires-Dist: {needed}" in text


def test_the_commands_label_a_clip_where_the_user_works(installed, tmp_path):
    shutil.copy(project_dir() / "samples" / "astronaut.mp4", tmp_path / "clip.mp4")
    done = call(installed, tmp_path, "emotion-infer", "--video_path", "clip.mp4")
    assert done.returncode == 0 and "happy" in done.stdout, done.stderr
    assert (tmp_path / "clip_emotion.mp4").is_file()
    done = call(installed, tmp_path, "emotion-infer", "clip.mp4", "--model", "accurate", "--no_video", "--no_plot")
    assert done.returncode == 0 and "happy" in done.stdout, done.stderr
    done = call(installed, tmp_path, "emotion-infer", "nowhere.mp4")
    assert done.returncode == 1 and done.stderr.startswith("error: nowhere.mp4")
    done = call(installed, tmp_path, "emotion-infer", "--help")
    assert done.stdout.startswith("usage: emotion-infer --video_path CLIP")
    assert not [path for path in installed.rglob("*") if path.is_file() and ".cache" in path.parts]


@pytest.mark.thorough
def test_the_commands_train_where_the_user_works(installed, dataset_dir, tmp_path):
    (tmp_path / "small.json").write_text(json.dumps(SMALL_SETTINGS))
    options = ("--config", "small.json", "--dataset_dir", str(dataset_dir), "--epochs", "1", "--no_progress")
    done = call(installed, tmp_path, "emotion-train", *options)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "saved_models").iterdir()
    assert (run / "model.keras").is_file()
    assert f"try it: emotion-infer --video_path CLIP --model saved_models/{run.name}" in done.stdout
    assert not [path for path in installed.rglob("*") if path.is_file() and ".cache" in path.parts]


def test_the_page_is_there_and_what_is_wrong_is_told(installed, tmp_path):
    assert call(installed, tmp_path, "emotion-demo", "--help").stdout.startswith("usage: emotion-demo ")
    done = call(installed, tmp_path, "emotion-demo", "--model", "nowhere")
    assert done.returncode == 2 and "nowhere" in done.stderr and "Traceback" not in done.stderr


def test_the_image_installs_what_the_files_it_names_say(context):
    """No Docker is needed to see that it copies files that are there, and starts commands that exist."""
    lines = (project_dir() / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied and all((context / name).exists() for name in copied)
    scripts = tomllib.loads((project_dir() / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert any(f'CMD ["{name}"' in lines[-1] for name in scripts)
    assert any("USER emotion" in line for line in lines)


def test_versions_agree():
    assert f"\nversion: {emotion.__version__}\n" in (project_dir() / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {emotion.__version__} - " in (project_dir() / "CHANGELOG.md").read_text(encoding="utf-8")
