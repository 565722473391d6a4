"""``python -m emotion.calibrate``: fits the confidence of a finished model to clips of your own people."""

import argparse
import sys
from pathlib import Path

from emotion.console import SOME_FILES_FAILED, add_progress_option, quiet_import, reporter_for, run_program
from emotion.models.names import resolve_model
from emotion.models.run_folder import check_new_folder, check_run, load_run
from emotion.training.options import add_data_options, read_data_options


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion.calibrate",
        description="Fits the temperatures and the threshold of the answer unsure to labelled clips that the model did "
        "not learn from. It prints how far the confidence could be trusted before and after. metrics.json keeps the "
        "old values.",
        epilog="Exit codes: 0 done; 2 wrong settings, or too few clips; 3 done, but some clips could not be read.",
    )
    add = parser.add_argument_group("model").add_argument
    add("--model", required=True, metavar="RUN", help="the model: a folder, default, accurate or hf://USER/NAME")
    add("--prior", action="store_true", help="also fit how frequent each emotion is among the clips; needs --output")
    add = add_data_options(parser).add_argument
    add("--include_seen", action="store_true", help="also use clips that the model was trained on; its confidence is "
        "too high then")  # fmt: skip
    group = parser.add_argument_group("output")
    group.add_argument("--output", type=Path, metavar="DIR", help="new folder for the calibrated model (default: "
        "the model is changed in its place; shipped models need a new folder)")  # fmt: skip
    add_progress_option(group)
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.prior and args.output is None:
        parser.error("--prior changes the network, so it needs --output: a new folder for the calibrated model")
    data, reporter = read_data_options(vars(args)), reporter_for(args)
    folder = resolve_model(args.model)
    check_run(folder)
    with quiet_import():
        from emotion.training import recalibrating

    if args.output is None:
        recalibrating.check_replaceable(folder)
    else:
        check_new_folder(args.output)
    clips, source = data.load(reporter)
    run = load_run(folder, runtime="auto")
    found = recalibrating.recalibrate(
        run, clips, data.cache_dir, fits_prior=args.prior, include_seen=args.include_seen, reporter=reporter
    )
    recalibrating.write_recalibrated(run, found, args.output, source.name, reporter)
    reporter.say(recalibrating.format_recalibration(found))
    shares = "; how frequent the emotions are was fitted to all" if args.prior else ""
    reporter.say(f"After: each speaker at the temperature that fits the others{shares}.")
    reporter.say(f"model: {args.output or folder}")
    for clip_id, reason in found.failures.items():
        reporter.warn(f"skipped {clip_id}: {reason}")
    return SOME_FILES_FAILED if found.failures else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
