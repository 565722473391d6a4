"""``python -m emotion.evaluate``: scores a trained model on labelled clips, with the protocol beside every number."""

import argparse
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from emotion.config import DEFAULT_FOLDS, MODALITIES, RunConfig
from emotion.console import SOME_FILES_FAILED, Reporter, quiet_import, run_program
from emotion.errors import ConfigError, DatasetError
from emotion.files import write_json
from emotion.models.names import resolve_model
from emotion.places import default_run, saved_models
from emotion.training.options import (
    add_data_options,
    add_training_options,
    build_config,
    check_data_options,
    command_line,
    reporter_for,
)

PROGRAM = "python -m emotion.evaluate"
EPILOG = f"""
{PROGRAM} folds ...       k-fold cross-validation, resumable fold by fold
{PROGRAM} protocols ...   the same model under a random and a speaker-independent protocol, side by side

Exit codes: 0 done; 2 wrong settings or no data; 3 done, but some clips were skipped.
"""


def main() -> int:
    command = {"folds": run_folds, "protocols": run_protocols}.get(next(iter(sys.argv[1:]), ""))
    return command(sys.argv[2:]) if command else run_evaluation(sys.argv[1:])


# ---- One model on one set of clips ----------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__.split(": ", 1)[1],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        default=default_run(),
        metavar="DIR",
        help="model folder (default: saved_models/default)",
    )
    add_data_options(parser)
    add("--modality", choices=("both", *MODALITIES), default="both", help="what to judge by (default: %(default)s)")
    add("--include_seen", action="store_true", help="score clips that the model met in training, too: flatters")
    add("--json", type=Path, metavar="FILE", help="write all scores")
    add("--predictions", type=Path, metavar="FILE", help="write the answer for every clip, as CSV")
    add("--plots", type=Path, metavar="DIR", help="write the plots")
    return parser


def run_evaluation(arguments: list[str]) -> int:
    """Evaluates a model folder; returns the exit code."""
    args = build_parser().parse_args(arguments)
    check_data_options(args)
    outputs = [path for path in (args.json, args.predictions) if path is not None]
    for path in outputs:
        check_writable(path)
    if args.plots is not None:
        make_folder(args.plots)

    from emotion.datasets import human_accuracy
    from emotion.datasets.loading import load_clips
    from emotion.models.run_folder import check_run, load_run

    args.model = resolve_model(args.model)
    check_run(args.model)
    clips, source = load_clips(args.dataset, args.root, args.manifest, reporter=reporter_for(args))
    run = load_run(args.model, runtime="auto")
    with quiet_import():
        from emotion.evaluation.model_report import assess
    from emotion.evaluation.judging import write_predictions
    from emotion.outputs.score_tables import format_report

    result = assess(
        run,
        clips,
        modality=args.modality,
        include_seen=args.include_seen,
        each_modality=args.plots is not None,
        reporter=reporter_for(args),
    )
    human = human_accuracy(source.name)
    command = command_line()
    report = {**result.report, "data": source.name, "human_accuracy": human, "command": command}
    print(format_report(report))
    if args.json:
        write_json(args.json, report)
    if args.predictions:
        write_predictions(result.judgements, run.config.class_names, args.predictions)
    if args.plots:
        write_plots(report, result.by_modality, args.plots, human)
        print(f"plots: {args.plots}")
    nothing = dict.fromkeys(report["skipped"]["without_evidence"], "holds neither a face nor a voice that is judged")
    name_skipped({**report["skipped"]["unreadable"], **nothing})
    return SOME_FILES_FAILED if report["n_skipped"] else 0


def write_plots(report: dict[str, Any], by_modality: dict[str, Any], folder: Path, human: dict[str, float]) -> None:
    """Draws an evaluation's plots into a folder."""
    from emotion.outputs.plots.comparison import write_recall_by_modality
    from emotion.outputs.plots.confidence import write_coverage_accuracy, write_reliability_diagram
    from emotion.outputs.plots.training import write_report_matrix

    own = judged_by(report)
    write_report_matrix(report, folder / "confusion_matrix.png")
    write_reliability_diagram(report, folder / "reliability.png")
    write_coverage_accuracy(report, folder / "coverage_accuracy.png", human.get(own))
    write_recall_by_modality({own or "both": report, **by_modality}, folder / "recall_by_modality.png", human)


def judged_by(report: dict[str, Any]) -> str | None:
    """Returns ``both``, ``audio`` or ``video`` where all clips were judged by the same, None where they were not."""
    names = [name for name, n in report["evidence"].items() if n]
    return names[0].removesuffix("_only") if len(names) == 1 else None


# ---- Trainings under one or two protocols ---------------------------------------------------------------------------


def build_folds_parser() -> argparse.ArgumentParser:
    from emotion.datasets.protocols import FOLD_PROTOCOLS

    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} folds",
        description="Cross-validation: one model a fold, every clip judged once by a model that never met it. Give the "
        "same command again to go on after a stop.",
    )
    parser.add_argument("--protocol", choices=FOLD_PROTOCOLS, default="kfold", help="folds by speaker, one speaker a "
        "fold, or clip by clip, which flatters (default: %(default)s)")  # fmt: skip
    _add_fold_options(parser, DEFAULT_FOLDS)
    return parser


def run_folds(arguments: list[str]) -> int:
    """Cross-validates; returns the exit code."""
    args = build_folds_parser().parse_args(arguments)
    check_data_options(args)
    return cross_validate_clips(
        args, build_config(args, protocol=args.protocol), args.output or new_folder(args.protocol)
    )


def cross_validate_clips(args: argparse.Namespace, config: RunConfig, output: Path) -> int:
    """Cross-validates on the data that the options name, prints and draws the scores, and returns the exit code."""
    clips, config, settings, _ = _load_training(args, config)
    with quiet_import():
        from emotion.training.crossvalidation import cross_validate
    from emotion.outputs.plots.training import write_fold_scores
    from emotion.outputs.score_tables import format_folds, format_report

    say_how_to_go_on(output)
    result = cross_validate(clips, config, output, n_folds=args.folds, **settings)
    print(format_folds(result.report["folds"]))
    print(format_report(result.report))
    title = f"{config.architecture} ({' + '.join(result.modalities)}), {result.report['protocol']}"
    write_fold_scores(result.report["folds"], result.report, output / "folds.png", title)
    print(f"written: {output}")
    name_skipped(result.failures)
    return SOME_FILES_FAILED if result.failures else 0


def build_protocols_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} protocols",
        description="Trains and tests the same model, with the same budget, under a random and under a "
        "speaker-independent protocol. Give the same command again to go on after a stop.",
    )
    _add_fold_options(parser, 1)
    return parser


def run_protocols(arguments: list[str]) -> int:
    """Compares a random with a speaker-independent protocol; returns the exit code."""
    args = build_protocols_parser().parse_args(arguments)
    check_data_options(args)
    output = args.output or new_folder("protocols")
    clips, config, settings, human = _load_training(args, build_config(args))
    with quiet_import():
        from emotion.training.crossvalidation import compare_protocols
    from emotion.outputs.score_tables import format_protocols

    if any(clip.speaker is not None for clip in clips):
        say_how_to_go_on(output)
    else:
        raise DatasetError("The clips do not say whose they are, so there is no protocol to hold against a random one.")
    report, failures = compare_protocols(clips, config, output, n_folds=args.folds, human_accuracy=human, **settings)
    print(format_protocols(report["rows"]))
    print(f"written: {output}")
    name_skipped(failures)
    return SOME_FILES_FAILED if failures else 0


def say_how_to_go_on(output: Path) -> None:
    """Prints the command that goes on after a stop: the one that was given, with the folder it writes to."""
    named = "" if any(word.startswith("--output") for word in sys.argv) else f" --output {shlex.quote(str(output))}"
    Reporter().say(f"If it is stopped, go on with: {command_line()}{named}")


def _add_fold_options(parser: argparse.ArgumentParser, n_folds: int) -> None:
    add_data_options(parser)
    add_training_options(parser)
    parser.add_argument("--folds", type=int, default=n_folds, help="how many; 1 for a single test side, where the "
        "protocol has one (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--output", type=Path, help="folder to write, or to go on with (default: saved_models/NAME-DATE)"
    )


def _load_training(args: argparse.Namespace, config: RunConfig):
    from emotion.datasets import human_accuracy
    from emotion.datasets.loading import load_clips
    from emotion.training.workflows import describe_data

    clips, source = load_clips(args.dataset, args.root, args.manifest, reporter=reporter_for(args))
    settings = {
        "cache_dir": args.cache_dir,
        "reporter": reporter_for(args),
        "command": command_line(),
    }
    return clips, describe_data(config, clips, source), settings, human_accuracy(source.name)


# ---- Parts ----------------------------------------------------------------------------------------------------------


def new_folder(name: str) -> Path:
    return saved_models() / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def make_folder(path: Path) -> None:
    """Makes a folder before hours of work depend on it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made a folder ({error.strerror}). Name another.") from error


def check_writable(path: Path) -> None:
    """Makes sure, before hours of work, that a file can be written there."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder. Name a file.")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist. Make it first, or name another.")


def name_skipped(failures: dict[str, str]) -> None:
    """Names clips that could not be used, with their reasons."""
    for clip_id, reason in failures.items():
        print(f"skipped {clip_id}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_program(main))
