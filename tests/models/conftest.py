"""A small network with its ONNX file, exported once in a test session."""

import shutil
from pathlib import Path

import pytest
from shared import make_once
from small_models import small_config, write_small_run


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """The folder of a small run with its ``model.onnx``. Tests must not change it."""

    def make(folder: Path) -> Path:
        from emotion.models.export_onnx import export_onnx
        from emotion.models.run_folder import load_run

        export_onnx(load_run(write_small_run(folder / "run", small_config())))
        return folder / "run"

    return make_once(tmp_path_factory, "exported", make)


@pytest.fixture
def run(exported, tmp_path) -> Path:
    """A copy of ``exported``, for a test to change."""
    return shutil.copytree(exported, tmp_path / "run")
