"""Sends a model folder, with its card, to the Hugging Face hub, or fetches one.

python -m emotion.hub push saved_models/RUN USER/NAME
python -m emotion.hub pull USER/NAME

Only the files of a model folder are fetched, and no code in them runs: Keras's safe mode refuses networks that carry
code, and ONNX files hold only arithmetic. To push, you need a token that may write: hf auth login, or the variable
HF_TOKEN.
"""

import argparse
import shlex
import sys
from pathlib import Path

from emotion.console import run_program
from emotion.models.hub import LICENCE, check_name, pull, push
from emotion.places import HUB_SCHEME, find_model, saved_models


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion.hub", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{push,pull}")
    of_push = commands.add_parser("push", help="send a model folder", description="Sends a model folder to the hub.")
    of_push.add_argument("model", type=find_model, metavar="RUN", help="the model folder")
    of_push.add_argument("repository", metavar="USER/NAME", help="where to; created if it does not exist")
    of_push.add_argument("--private", action="store_true", help="make a new repository visible only to you")
    of_push.add_argument("--license", metavar="ID", help="licence by the hub's name, such as cc-by-nc-sa-4.0 if it was "
        f"trained on RAVDESS (default: that of the model it was pulled from, or {LICENCE})")  # fmt: skip
    of_push.add_argument("--message", help="commit message")
    of_pull = commands.add_parser("pull", help="fetch a model folder", description="Fetches a model from the hub.")
    of_pull.add_argument("repository", metavar="USER/NAME", help="the model on the hub")
    of_pull.add_argument("--revision", metavar="NAME", help="branch, tag or commit (default: the newest)")
    of_pull.add_argument("--output", type=Path, metavar="FOLDER", help="folder to write (default: saved_models/NAME)")
    return parser


def main() -> int:
    args = build_parser().parse_args()
    if args.command == "push":
        address = push(args.model, args.repository, private=args.private, licence=args.license, message=args.message)
        print(f"sent: {address}")
        return 0
    repository = args.repository.removeprefix(HUB_SCHEME)
    check_name(repository)
    output = pull(repository, args.output or saved_models() / repository.split("/")[1], revision=args.revision)
    print(f"model: {output}\ntry it: python run_inference.py --video_path CLIP --model {shlex.quote(str(output))}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
