"""An item that brings its process down costs itself, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emotion.errors import EmotionError
from emotion.parallel import CRASHED, run_in_processes

DEADLY = 3


def double_or_die(number):
    if number == DEADLY:
        os._exit(9)
    if number < 0:
        raise EmotionError("negative")
    return 2 * number


def test_the_guilty_item_is_named_and_the_others_are_done():
    results = dict(run_in_processes(double_or_die, range(8), 2))
    assert results == {number: CRASHED if number == DEADLY else 2 * number for number in range(8)}


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(EmotionError, match="negative"):
        list(run_in_processes(double_or_die, [1, -1], 1))


PROGRAM = """
import signal
import time
from emotion.parallel import run_in_processes

if __name__ == "__main__":
    # What runs the tests may have told its children not to heed it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in run_in_processes(time.sleep, [0.2] * 500, 2):
            print("begun", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


def test_two_interruptions_in_a_row_end_it_as_one_does(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    program = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        start_new_session=True,
    )
    try:
        assert program.stdout.readline() == "begun\n"
        # To all processes, as a terminal sends it.
        for _ in range(2):
            os.killpg(program.pid, signal.SIGINT)
            time.sleep(0.05)
        said, _ = program.communicate(timeout=30)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
    assert program.returncode == 0
    assert said.splitlines()[-1] == "stopped"
