"""Ctrl-C while modules are imported ends a program as it does later."""

import os
import signal
import subprocess
import sys
import time

import pytest
from programs import ROOT

from emotion import early_stop
from emotion.console import run_program
from emotion.early_stop import INTERRUPTED

# Stands for a module that takes long to import, of those that the programs import first.
SLOW_MODULE = "import sys, time\nprint('importing', flush=True)\nsys.stdout.flush()\ntime.sleep(20)\n"


@pytest.mark.parametrize(
    ("words", "slow"),
    [
        (["run_inference.py", "clip.mp4"], "argparse"),
        (["train_model.py"], "argparse"),
        (["-m", "emotion.evaluate", "model"], "argparse"),
        (["-m", "emotion.datasets", "check", "."], "argparse"),
        (["run_inference.py", "clip.mp4"], "av"),  # imported by ``main``
    ],
)
def test_a_program_that_is_stopped_while_it_is_imported_ends_with_one_line(tmp_path, words, slow):
    (tmp_path / f"{slow}.py").write_text(SLOW_MODULE)
    words = [str(ROOT / word) if word.endswith(".py") else word for word in words]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, *words], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as program:  # fmt: skip
        assert program.stdout.readline() == "importing\n"
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=15)
    assert (program.returncode, err.strip()) == (INTERRUPTED, "Stopped.")


@pytest.fixture
def forgetful(tmp_path, monkeypatch):
    """A module whose import turns Ctrl-C into something else, as packages written in C do."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, then: str) -> str:
        (tmp_path / f"{name}.py").write_text(
            "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n"
            f"except BaseException:\n    {then}\n"
        )
        return name

    return make


def test_an_import_that_forgets_ctrl_c_does_not_go_on(forgetful, capsys, monkeypatch):
    monkeypatch.setattr(early_stop, "AGAIN_SECONDS", 0.01)

    def main() -> int:
        __import__(forgetful("forgetting", "pass"))
        time.sleep(5)
        return 0

    assert run_program(main) == INTERRUPTED
    assert capsys.readouterr().err.strip() == "Stopped."


def test_an_import_that_fails_for_ctrl_c_is_no_missing_package(forgetful, capsys):
    def main() -> int:
        __import__(forgetful("failing", "raise ModuleNotFoundError('numpy', name='numpy')"))
        return 0

    assert run_program(main) == INTERRUPTED
    assert capsys.readouterr().err.strip() == "Stopped."


def test_nothing_changes_for_who_imports_the_package_and_after_a_program(capsys):
    assert run_program(lambda: 0) == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not early_stop._is_program()
