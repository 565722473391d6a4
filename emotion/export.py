"""Writes a trained model in a format that runs without Keras, after comparing its answers with Keras's.

python -m emotion.export saved_models/RUN
python -m emotion.export saved_models/RUN --precision int8 --calibrate_on CLIP [CLIP ...]
python -m emotion.export saved_models/RUN --format litert

The first two write what run_inference.py takes into the model folder. With --format a folder is written that runs
without this package: the network, its settings, an example, and inputs with the answers that belong to them.
"""

import argparse
import sys
from pathlib import Path

from emotion.console import Reporter, run_program
from emotion.errors import ConfigError
from emotion.inference.clip_search import find_clips
from emotion.media.reading import probe_media
from emotion.models.names import resolve_model
from emotion.models.onnx_runtime import INT8_FILE, ONNX_FILE
from emotion.models.run_folder import check_run, load_run
from emotion.places import is_installed, kept_dir, sample_clip, shipped_dir

FORMATS = ("onnx", "savedmodel", "litert")
EXPORT_DIR = "export"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="RUN", help="the model folder")
    add("--precision", choices=("float32", "int8"), default="float32", help="int8: faster on processors that know such "
        "sums, and not quite alike; run_inference.py --runtime int8 takes it (default: %(default)s)")  # fmt: skip
    add("--calibrate_on", nargs="+", metavar="CLIP", help="for int8: media of the kind that the model will judge, some "
        "minutes in all; also folders and patterns")  # fmt: skip
    add("--format", choices=FORMATS, help="write a folder that runs elsewhere, by ONNX Runtime, TensorFlow or LiteRT")
    add("--output", type=Path, metavar="FOLDER", help=f"which folder that is (default: RUN/{EXPORT_DIR}/FORMAT)")
    add("--check_on", type=Path, metavar="CLIP", help="with --format: a clip with a face and a voice, on whose windows "
        "the answers are compared (default: the sample's)")  # fmt: skip
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if (args.precision == "int8") != bool(args.calibrate_on):
        parser.error("--precision int8 and --calibrate_on CLIP go together")
    if args.format and args.precision == "int8":
        parser.error("--precision int8 is for run_inference.py alone; leave it or --format out")
    if (args.output or args.check_on) and not args.format:
        parser.error("--output and --check_on go with --format")
    args.model = resolve_model(args.model)
    check_run(args.model)
    if args.model.resolve().is_relative_to(kept_dir().resolve()) and not args.output:
        raise ConfigError(
            f"{args.model}: is what was fetched from the hub, which the next fetch may replace. Make a folder of it "
            "first: python -m emotion.hub pull USER/NAME; or name another for --format with --output."
        )
    if args.format:
        return _export_portable(args)
    if args.precision == "int8":
        return _export_int8(args)
    from emotion.models.export_onnx import export_onnx

    difference = export_onnx(load_run(args.model))
    path = args.model / ONNX_FILE
    Reporter().say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, max abs difference {difference:.2g}")
    return 0


def _export_portable(args: argparse.Namespace) -> int:
    from emotion.models.export_portable import EXAMPLE_FILE, export_portable
    from emotion.models.export_portable import FORMATS as PORTABLE

    clip = args.check_on or sample_clip()
    if args.check_on is None and not sample_clip().is_file():
        raise ConfigError("The sample clip is not here. Name a clip with a face and a voice: --check_on CLIP.")
    probe_media(clip)
    # Into the folder in which pip put the model that came along nobody looks.
    is_shipped = is_installed() and args.model.resolve().is_relative_to(shipped_dir().resolve())
    folder = args.output or (Path(EXPORT_DIR) if is_shipped else args.model / EXPORT_DIR) / args.format
    difference = export_portable(load_run(args.model), args.format, folder, check_on=clip)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    Reporter().say(
        f"{folder}: {size / 1e6:.1f} MB, max abs difference {difference:.2g} on windows of {clip.name}. "
        f"To try it, where numpy and {PORTABLE[args.format].needs} are installed: cd {folder} && python {EXAMPLE_FILE}"
    )
    return 0


def _export_int8(args: argparse.Namespace) -> int:
    from emotion.models.export_int8 import export_int8

    found = find_clips(args.calibrate_on)
    clips = [Path(args.calibrate_on[0])] if found is None else [clip.path for clip in found]
    Reporter().say(
        f"Looking at {len(clips)} clip(s), then turning the network: this takes about as long as the clips last."
    )
    report = export_int8(load_run(args.model), clips)
    path = args.model / INT8_FILE
    Reporter().say(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; on {report.n_windows} windows of these clips probabilities "
        f"differ from float32's by {report.mean_difference:.2g} on average, {report.max_difference:.2g} at most; "
        f"{report.n_same} have the same most probable emotion. To use it: run_inference.py --runtime int8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
