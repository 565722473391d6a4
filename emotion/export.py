"""Writes a trained model in a format that runs without Keras, and checks its answers against Keras's.

python -m emotion.export saved_models/RUN
python -m emotion.export saved_models/RUN --precision int8 --calibrate_on CLIP [CLIP ...]
python -m emotion.export saved_models/RUN --format litert

The first two write into the model folder, for run_inference.py. --format writes a folder that runs without this
package: the network, its settings, an example, and inputs with the right answers.
"""

import argparse
import shlex
import sys
from pathlib import Path

from emotion.console import Reporter, run_program
from emotion.errors import ConfigError
from emotion.inference.clip_search import find_clips
from emotion.media.reading import probe_media
from emotion.models.export_onnx import export_onnx
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
    parser.add_argument("model", metavar="RUN", help="the model folder")
    add = parser.add_argument_group("for run_inference.py").add_argument
    add("--precision", choices=("float32", "int8"), default="float32", help="int8 is faster on processors with 8-bit "
        "arithmetic, and its answers differ slightly; run_inference.py --runtime int8 uses it (default: "
        "%(default)s)")  # fmt: skip
    add("--calibrate_on", nargs="+", metavar="CLIP", help="for int8: a few minutes of clips like those you will judge; "
        "files, folders or patterns")  # fmt: skip
    add = parser.add_argument_group("for other programs").add_argument
    add("--format", choices=FORMATS, help="write a folder for ONNX Runtime, TensorFlow or LiteRT")
    add("--output", type=Path, metavar="FOLDER", help=f"the folder for --format (default: RUN/{EXPORT_DIR}/FORMAT)")
    add("--check_on", type=Path, metavar="CLIP", help="a clip with a face and a voice to compare the answers on "
        "(default: the sample clip)")  # fmt: skip
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if (args.precision == "int8") != bool(args.calibrate_on):
        parser.error("--precision int8 and --calibrate_on CLIP go together")
    if args.format and args.precision == "int8":
        parser.error("--precision int8 is for run_inference.py only; leave out --format")
    if (args.output or args.check_on) and not args.format:
        parser.error("--output and --check_on go with --format")
    model = resolve_model(args.model)
    check_run(model)
    if model.resolve().is_relative_to(kept_dir().resolve()) and not args.output:
        raise ConfigError(
            f"{model}: was fetched from the hub, and the next fetch may replace it. First make your own copy: "
            "python -m emotion.hub pull USER/NAME. Or write elsewhere: --format FORMAT --output FOLDER."
        )
    reporter = Reporter()
    if args.format:
        _export_portable(model, args.format, args.output, args.check_on, reporter)
    elif args.precision == "int8":
        _export_int8(model, args.calibrate_on, reporter)
    else:
        difference = export_onnx(load_run(model))
        reporter.say(f"{_describe(model / ONNX_FILE)}, max abs difference {difference:.2g}")
    return 0


def _export_portable(model: Path, kind: str, output: Path | None, clip: Path | None, reporter: Reporter) -> None:
    from emotion.models.export_portable import EXAMPLE_FILE, export_portable
    from emotion.models.export_portable import FORMATS as PORTABLE

    if clip is None and not sample_clip().is_file():
        raise ConfigError("The sample clip is missing. Name a clip with a face and a voice: --check_on CLIP.")
    clip = clip or sample_clip()
    probe_media(clip)
    # Nobody looks into the folder in which pip puts the shipped model.
    is_shipped = is_installed() and model.resolve().is_relative_to(shipped_dir().resolve())
    folder = output or (Path(EXPORT_DIR) if is_shipped else model / EXPORT_DIR) / kind
    difference = export_portable(load_run(model), kind, folder, check_on=clip)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    reporter.say(
        f"{folder}: {size / 1e6:.1f} MB, max abs difference {difference:.2g} on windows of {clip.name}. "
        f"To try it where numpy and {PORTABLE[kind].needs} are installed: cd {shlex.quote(str(folder))} "
        f"&& python {EXAMPLE_FILE}"
    )


def _export_int8(model: Path, calibrate_on: list[str], reporter: Reporter) -> None:
    from emotion.models.export_int8 import export_int8

    found = find_clips(calibrate_on)
    clips = [Path(calibrate_on[0])] if found is None else [clip.path for clip in found]
    reporter.say(f"Calibrating on {len(clips)} clip(s), then converting: this takes about as long as the clips last.")
    report = export_int8(load_run(model), clips)
    reporter.say(
        f"{_describe(model / INT8_FILE)}; on {report.n_windows} windows of these clips probabilities differ from "
        f"float32's by {report.mean_difference:.2g} on average, {report.max_difference:.2g} at most; "
        f"{report.n_same} have the same most probable emotion. To use it: run_inference.py --runtime int8"
    )


def _describe(path: Path) -> str:
    return f"{path}: {path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(run_program(main))
