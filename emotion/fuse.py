"""``python -m emotion.fuse``: joins a voice model and a face model into one."""

import argparse
import sys
from pathlib import Path

from emotion.console import SOME_FILES_FAILED, add_progress_option, quiet_import, reporter_for, run_program
from emotion.models.export_onnx import write_onnx
from emotion.models.names import resolve_model
from emotion.models.run_folder import check_new_folder, check_run, load_run
from emotion.training.options import (
    add_data_options,
    add_fusion_options,
    read_data_options,
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion.fuse",
        description="Joins a voice model and a face model, trained with train_model.py --modality audio and --modality "
        "video. Fusion weights are fitted on validation clips with voice and face that neither model learned from. "
        "Clips on the test side of both, if any, score the result.",
        epilog="Exit codes: 0 done; 2 wrong settings, models that do not go together, or no data; 3 done, but some "
        "clips could not be read.",
    )
    add = parser.add_argument_group("models").add_argument
    add("--audio", required=True, metavar="RUN", help="folder of the voice model")
    add("--video", required=True, metavar="RUN", help="folder of the face model")
    add_fusion_options(parser.add_argument_group("fusion"))
    add_data_options(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--out", "--output", dest="output", type=Path, required=True, metavar="RUN", help="folder to "
        "write")  # fmt: skip
    add_progress_option(group)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    data, reporter = read_data_options(vars(args)), reporter_for(args)
    check_new_folder(args.output)
    folders = [resolve_model(args.audio), resolve_model(args.video)]
    for folder in folders:
        check_run(folder)
    clips, _ = data.load(reporter)
    with quiet_import():
        from emotion.training.late_fusion import fuse_runs

        audio, video = (load_run(folder) for folder in folders)
    metrics = fuse_runs(
        audio, video, clips, args.output, method=args.method, by_class=args.by_class, cache_dir=data.cache_dir,
        reporter=reporter,
    )  # fmt: skip
    write_onnx(args.output, reporter)
    return SOME_FILES_FAILED if metrics["n_skipped"] else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
