"""``python -m emotion.fuse``: joins a model of voices and a model of faces, trained apart, into one."""

import argparse
import sys
from pathlib import Path

from emotion.config import find_model
from emotion.console import SOME_FILES_FAILED, ProgressBar, quiet_import, run_program
from emotion.options import add_data_options, add_fusion_options, check_data_options, say_now
from emotion.runs import check_new_folder, check_run, load_run

PROGRAM = "python -m emotion.fuse"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Joins a model of voices and a model of faces, trained apart by train_model.py --modality audio "
        "and --modality video. The weights are found on clips with both that neither model learned from: those of "
        "their validation sides. The clips of their test sides, if any, score the result.",
        epilog="Exit codes: 0 done; 2 wrong settings, models that do not go together, or no data.",
    )
    add = parser.add_argument
    add("--audio", type=find_model, required=True, metavar="RUN", help="model folder of the voices' expert")
    add("--video", type=find_model, required=True, metavar="RUN", help="model folder of the faces' expert")
    add("--out", "--output", dest="output", type=Path, required=True, metavar="RUN", help="folder to write")
    add_fusion_options(parser)
    add_data_options(parser)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    check_data_options(args)
    check_new_folder(args.output)
    for path in (args.audio, args.video):
        check_run(path)
    from emotion.joining import fuse_runs
    from emotion.workflows import load_clips

    clips, _ = load_clips(args.dataset, args.root, args.manifest, say=say_now)
    with quiet_import():
        audio, video = load_run(args.audio), load_run(args.video)
    metrics = fuse_runs(
        audio, video, clips, args.output, method=args.method, by_class=args.by_class, cache_dir=args.cache_dir,
        progress=ProgressBar("Decoding", "clip", shown=not args.no_progress), say=say_now,
    )  # fmt: skip
    return SOME_FILES_FAILED if metrics["n_skipped"] else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
