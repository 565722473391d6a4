"""A small network with its ONNX file."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def exported(trained) -> Path:
    """The folder of a small run with its ``model.onnx``. Tests must not change it."""
    return trained.path


@pytest.fixture
def run(exported, tmp_path) -> Path:
    """A copy of ``exported``, for a test to change."""
    return shutil.copytree(exported, tmp_path / "run")
