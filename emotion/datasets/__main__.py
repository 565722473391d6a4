"""``python -m emotion.datasets``: fetch data sets, check them, and clean up their tables."""

import argparse
import importlib
import sys

from emotion.console import run_program

# Each module has add_arguments(parser) and run(args) -> exit code, and imports what is heavy only when it runs.
COMMANDS = {
    "download": ("fetch a data set from its owner", "emotion.datasets.download.download"),
    "check": ("find everything that is wrong with a data set, and how to mend it", "emotion.datasets.check.report"),
    "clean": ("list the usable clips, and the others with the reason", "emotion.datasets.check.cleaning"),
    "convert-labels": ("add class indices to a table of labels", "emotion.datasets.check.label_conversion"),
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emotion.datasets", description=__doc__.split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (what, module_name) in COMMANDS.items():
        module = importlib.import_module(module_name)
        module.add_arguments(commands.add_parser(name, help=what, description=module.__doc__.strip().split("\n\n")[0]))
    return parser


def main() -> int:
    args = build_parser().parse_args()
    return importlib.import_module(COMMANDS[args.command][1]).run(args)


if __name__ == "__main__":
    sys.exit(run_program(main))
