"""Runs the program on one damaged file after the other and says how each ended; ``fuzz.py`` talks to it.

It stays alive, because to start costs more than to run. A line of JSON comes in for each case, and one goes out.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import traceback
from pathlib import Path


def run_case(case: dict) -> dict:
    """Calls a command's ``main`` as its script does."""
    import importlib

    from emotion.console import run_program

    program = importlib.import_module(case["program"])
    sys.argv = [program.__file__, *case["words"]]
    out, err, fault = io.StringIO(), io.StringIO(), None
    reset_peak()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run_program(program.main)
        except SystemExit as end:  # argparse ends so
            code = end.code or 0
        except BaseException:
            code, fault = 1, traceback.format_exc()
    return {"code": code, "out": out.getvalue()[-4000:], "err": err.getvalue()[-4000:], "fault": fault,
            "peak_mb": peak_mb(), "left": half_written(Path(case["output"]))}  # fmt: skip


def reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return 0.0


def half_written(folder: Path) -> list[str]:
    """Returns what is wrong with the files that a run left, and clears its folder."""
    faults = []
    for path in sorted(folder.rglob("*")):
        if ".partial" in path.name:
            faults.append(f"{path.name}: left unfinished")
        elif path.suffix == ".json":
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                faults.append(f"{path.name}: {error}")
        elif path.suffix == ".mp4":
            import av

            try:
                with av.open(str(path)) as container:
                    next(container.decode(video=0))
            except (av.FFmpegError, StopIteration) as error:
                faults.append(f"{path.name}: {error!r}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return faults


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the error stream
    for line in sys.stdin:
        answers.write(json.dumps(run_case(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
