"""Programs called as a person calls them: within this process, where possible, for another costs seconds to start."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from emotion.console import run_program

ROOT = Path(__file__).resolve().parents[2]


def run_apart(*command, cwd: Path, **environment) -> subprocess.CompletedProcess:
    """Runs Python as a process of its own that knows the package, and of this one's environment nothing."""
    environment = {"PYTHONPATH": ROOT, "PATH": "/usr/bin:/bin", "HOME": cwd, **environment}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env={name: str(value) for name, value in environment.items()},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


class Ended(NamedTuple):
    """How a program ended: its exit code, and what it wrote to the standard output and to the error stream."""

    code: int
    out: str
    err: str


def run_words(program, *words) -> int:
    """Runs a program of several commands with words, numbers and paths, and shows no bars; its errors are raised."""
    args = program.build_parser().parse_args([*map(str, words), "--no_progress"])
    return args.run(args)


def call_program(program, *arguments, monkeypatch, capsys, cwd: Path | None = None) -> Ended:
    """Runs a program's ``main``; tests have this as the fixture ``call``.

    Args:
        program: a module with a ``main``.
        arguments: words of the command line; numbers and paths are turned into such.
        cwd: the folder to run in; by default the present one.
    """
    capsys.readouterr()  # of whatever ran before
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [program.__file__, *map(str, arguments)])
        if cwd is not None:
            patch.chdir(cwd)
        try:
            code = run_program(program.main)
        except SystemExit as end:  # argparse ends so, also after --help
            code = end.code or 0
    return Ended(code, *capsys.readouterr())
