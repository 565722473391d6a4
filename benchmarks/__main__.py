"""Measures how fast the program is, and compares the results with targets and the previous run.

python -m benchmarks
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measures import Measure, append_history, format_measures, read_history, write_ratio_plot
from emotion.console import SOME_FILES_FAILED, Reporter, command_line, quiet_import, run_program
from emotion.errors import ConfigError
from emotion.places import CACHE_DIR

PARTS = ("inference", "training", "plain", "designs", "growth", "workers")
MIN_LONGEST = 300.0  # seconds; growth compares two lengths
PEERS = ("fer", "facial_emotion_recognition")  # in ``benchmarks/peers``
TABLE_FILE, PLOT_FILE, GROWTH_FILE = "speed.md", "speed.png", "growth.png"
ROOT = Path(__file__).resolve().parents[1]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    add("--clip", type=Path, default=ROOT / "samples" / "astronaut.mp4", help="the clip whose frames and sound "
        "the test clips are made of (default: the sample)")  # fmt: skip
    add("--seconds", type=float, default=60.0, help="length of the clip for inference (default: %(default)g)")
    add("--longest", type=float, default=3600.0, metavar="SECONDS", help="length of the longest clip of the part "
        "growth, at least 300 (default: %(default)g)")  # fmt: skip
    add("--data_dir", type=Path, metavar="DIR", help="folder with ravdess/; the part plain then also trains on its "
        "voices")  # fmt: skip
    add("--runs", type=int, default=3, help="runs of each program, of which the median counts (default: %(default)s)")
    add("--peer", nargs=2, action="append", default=[], metavar=("NAME", "PYTHON"), help="another package to compare "
        f"with ({', '.join(PEERS)}), and the Python of a virtual environment with the packages of "
        "benchmarks/peers/requirements-NAME.txt; may be repeated")  # fmt: skip
    add("--output", type=Path, default=CACHE_DIR / "speed", help="folder to write, with the history of all runs "
        "(default: %(default)s)")  # fmt: skip
    return parser


def measure(args: argparse.Namespace, folder: Path) -> Iterator[Measure]:
    """Measures the chosen parts."""
    with quiet_import():
        from benchmarks import design_speed, growth, inference_speed, plain_design, training_speed, workers
    makers = {
        "inference": lambda: inference_speed.measure(
            folder, args.clip, seconds=args.seconds, n_runs=args.runs, peers=args.peers, failed=args.failed
        ),
        "training": lambda: training_speed.measure(folder),
        "designs": design_speed.measure,
        "plain": lambda: plain_design.measure(folder, args.data_dir),
        "workers": lambda: workers.measure(folder, args.clip),
        "growth": lambda: growth.measure(folder, args.clip, longest=args.longest, plot=args.output / GROWTH_FILE),
    }
    for part in args.parts:
        yield from makers[part]()


def main() -> int:
    args = build_parser().parse_args()
    folder = (args.output / "work").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    args.clip = args.clip.resolve()
    args.peers = {name: Path(python).absolute() for name, python in args.peer}
    unknown = sorted(set(args.peers) - set(PEERS))
    if unknown:
        raise ConfigError(f"--peer: {', '.join(unknown)} is none of {', '.join(PEERS)}.")
    for path in (args.clip, *args.peers.values()):
        if not path.is_file():
            raise ConfigError(f"{path}: no such file.")
    if args.data_dir is not None and not (args.data_dir / "ravdess").is_dir():
        raise ConfigError(f"{args.data_dir / 'ravdess'}: no such folder. Name the one that holds it with --data_dir.")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    alike = {"machine": machine, "clip": f"{args.clip.name}, {args.seconds:g} s, growth to {args.longest:g} s"}
    for name in ("runs", "seconds"):
        if not getattr(args, name) >= 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(args, name):g}.")
    if args.longest < MIN_LONGEST:
        raise ConfigError(f"--longest must be at least {MIN_LONGEST:g}, got {args.longest:g}.")
    measures, args.failed = [], []
    try:
        for each in measure(args, folder):
            measures.append(each)
            Reporter().say(f"{each.name}: {each.value:.4g} {each.unit}")
    finally:  # keep what was measured before an error or Ctrl-C
        if measures:
            write_results(args.output, measures, alike)
    return SOME_FILES_FAILED if args.failed else 0


def write_results(output: Path, measures: list[Measure], alike: dict[str, str]) -> None:
    """Prints the table, and writes it, the plot and a line of the history.

    Args:
        alike: what two runs must share to be compared.
    """
    before = read_history(output, alike)
    about = {
        **alike, "date": time.strftime("%Y-%m-%d %H:%M"), "commit": find_commit(), "command": command_line(),
    }  # fmt: skip
    append_history(output, measures, about)
    table = f"{format_measures(measures, before)}\n\n{about['date']}, commit {about['commit']}, {alike['machine']}\n"
    (output / TABLE_FILE).write_text(table, encoding="utf-8")
    write_ratio_plot(measures, output / PLOT_FILE)
    print(f"\n{table}\nwritten: {output}")


def find_commit() -> str:
    """Returns the short hash of the commit, with a + if files have changed since; or "unknown"."""
    try:
        name = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip()


if __name__ == "__main__":
    sys.exit(run_program(main))
