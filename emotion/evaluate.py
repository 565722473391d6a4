"""``python -m emotion.evaluate``: scores a trained model on labelled clips, with the protocol beside every number."""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from emotion.config import DEFAULT_FOLDS, MODALITIES, RECIPE_NAMES
from emotion.console import (
    SOME_FILES_FAILED,
    Reporter,
    add_progress_option,
    command_line,
    command_to_go_on,
    quiet_import,
    reporter_for,
    run_program,
)
from emotion.datasets import human_accuracy
from emotion.datasets.clips import Clip
from emotion.datasets.protocols import FOLD_PROTOCOLS
from emotion.errors import ConfigError
from emotion.evaluation.adaptation import ADAPTATIONS, BY_CLIPS, N_REFERENCES
from emotion.files import check_writable, make_folder, write_json
from emotion.models.baseline_head import check_has_baseline
from emotion.models.names import resolve_model
from emotion.models.run_folder import check_run, load_run
from emotion.models.trained_model import Run
from emotion.outputs.score_tables import format_corpora_scores, format_evaluation
from emotion.places import default_run, saved_models
from emotion.training import workflows
from emotion.training.options import (
    add_data_options,
    add_training_options,
    build_config,
    read_data_options,
    read_each_data_set,
    wants_every_label,
)

PROGRAM = "python -m emotion.evaluate"
EPILOG = f"""
{PROGRAM} folds ...       k-fold cross-validation, resumable fold by fold
{PROGRAM} protocols ...   the same model under a random and a speaker-independent protocol, side by side
{PROGRAM} corpora ...     a recipe's voice branch on each corpus, trained without it

Exit codes: 0 done; 2 wrong settings or no data; 3 done, but some clips were skipped.
"""


def main() -> int:
    command = {"folds": run_folds, "protocols": run_protocols, "corpora": run_corpora}.get(next(iter(sys.argv[1:]), ""))
    return command(sys.argv[2:]) if command else run_evaluation(sys.argv[1:])


# ---- One model on one set of clips ----


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Scores a trained model on labelled clips, with the protocol beside every number.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("model").add_argument
    add("--model", default=default_run(), metavar="DIR", help="model folder (default: saved_models/default)")
    add("--modality", choices=("both", *MODALITIES), default="both", help="judge the face, the voice or both (default: "
        "%(default)s)")  # fmt: skip
    add("--adapt", nargs="?", choices=ADAPTATIONS, const=BY_CLIPS, help="compare each known speaker with themselves. "
        "clips (default): with their mean over all their clips; reference: with the file in the manifest's column "
        f"reference, else with up to {N_REFERENCES} of their neutral clips, which are not scored then")  # fmt: skip
    add = add_data_options(parser, cached=False, several=True).add_argument
    add(
        "--include_seen",
        action="store_true",
        help="also score clips that the model was trained on; scores are too high then",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--json", type=Path, metavar="FILE", help="write all scores")
    group.add_argument("--predictions", type=Path, metavar="FILE", help="write the answer for each clip, as CSV")
    group.add_argument("--plots", type=Path, metavar="DIR", help="write the plots")
    add_progress_option(group)
    return parser


def run_evaluation(arguments: list[str]) -> int:
    """Evaluates a model folder; returns the exit code."""
    args = build_parser().parse_args(arguments)
    data, reporter = read_each_data_set(vars(args)), reporter_for(args)
    if args.plots is not None and len(data) > 1:
        raise ConfigError("--plots draws one set of clips. Leave it out, or name one --manifest or --dataset_dir.")
    for path in (args.json, args.predictions):
        if path is not None:
            check_writable(path)
    if args.plots is not None:
        make_folder(args.plots)
    folder = resolve_model(args.model)
    check_run(folder)
    if args.adapt:
        check_has_baseline(folder, "--adapt")
    loaded = [each.load(reporter) for each in data]
    run = load_run(folder, runtime="auto")
    with quiet_import():
        from emotion.evaluation.judging import write_predictions
        from emotion.evaluation.model_report import assess, write_plots

    how = {
        "modality": args.modality, "include_seen": args.include_seen, "adapt": args.adapt, "reporter": reporter,
    }  # fmt: skip
    if len(loaded) > 1:
        from emotion.evaluation.corpora import name_corpora

        corpora = name_corpora([(source.name, clips) for clips, source in loaded])
        return evaluate_corpora(run, corpora, args.json, args.predictions, **how)
    (clips, source), *_ = loaded
    result = assess(run, clips, each_modality=args.plots is not None, **how)
    human = human_accuracy(source.name)
    report = {**result.report, "data": source.name, "human_accuracy": human, "command": command_line()}
    reporter.say(format_evaluation(report))
    if args.json:
        write_json(args.json, report)
    if args.predictions:
        write_predictions(result.judgements, run.config.class_names, args.predictions)
    if args.plots:
        write_plots(report, result.by_modality, args.plots, human)
        reporter.say(f"plots: {args.plots}")
    skipped = report["skipped"]
    for clip_id, reason in skipped["unreadable"].items():
        reporter.warn(f"skipped {clip_id}: {reason}")
    for clip_id in skipped["without_evidence"]:
        reporter.warn(f"skipped {clip_id}: holds neither a face nor a voice to judge")
    return SOME_FILES_FAILED if report["n_skipped"] else 0


def evaluate_corpora(
    run: Run, corpora: dict[str, list[Clip]], json: Path | None, predictions: Path | None, *, reporter: Reporter, **how
) -> int:
    """Evaluates a model on several corpora, in one table; returns the exit code."""
    from emotion.evaluation.corpora import assess_corpora
    from emotion.evaluation.judging import write_predictions

    result = assess_corpora(run, corpora, reporter=reporter, **how)
    report = {**result.report, "command": command_line()}
    reporter.say(format_corpora_scores(report))
    if json:
        write_json(json, report)
    if predictions:
        write_predictions(result.judgements, run.config.class_names, predictions)
    return SOME_FILES_FAILED if result.n_skipped else 0


# ---- Trainings under one or two protocols ----


def build_folds_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} folds",
        usage="%(prog)s [options]",
        description="Cross-validation: trains one model per fold, so that each clip is judged once, by a model that "
        "was not trained on it. To continue after a stop, give the same command again.",
    )
    add = add_fold_options(parser, DEFAULT_FOLDS).add_argument
    add("--protocol", choices=FOLD_PROTOCOLS, default="kfold", help="kfold: by speaker; loso: one speaker per fold; "
        "random: by clip, which makes scores too high (default: %(default)s)")  # fmt: skip
    return parser


def build_protocols_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} protocols",
        usage="%(prog)s [options]",
        description="Trains and tests the same network, with the same budget, under a random and a speaker-independent "
        "protocol. To continue after a stop, give the same command again.",
    )
    add_fold_options(parser, 1)
    return parser


def build_corpora_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} corpora",
        usage="%(prog)s [options]",
        description="Scores the voice branch of a shipped model's recipe on every corpus of speech, each time trained "
        "without it, by language and sex. To continue after a stop, give the same command again.",
    )
    parser.add_argument("--recipe", choices=RECIPE_NAMES, default=RECIPE_NAMES[0], help="the recipe (default: "
        "%(default)s)")  # fmt: skip
    parser.add_argument("--data_root", type=Path, default=Path("data"), help="folder of the recipe's data sets "
        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores")
    add_progress_option(parser)
    return parser


def add_fold_options(parser: argparse.ArgumentParser, n_folds: int) -> argparse._ArgumentGroup:
    """Adds the options of both commands; returns the group "data"."""
    data = add_data_options(parser)
    data.add_argument("--folds", type=int, default=n_folds, help="number of folds; 1 for a single test side, where the "
        "protocol has one (default: %(default)s)")  # fmt: skip
    add_training_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, help="folder to write or to continue (default: "
        "saved_models/NAME-DATE)")  # fmt: skip
    add_progress_option(output)
    return data


def run_folds(arguments: list[str]) -> int:
    """Cross-validates; returns the exit code."""
    args = build_folds_parser().parse_args(arguments)
    return _run_trainings(args, workflows.cross_validate_on_clips, args.protocol)


def run_protocols(arguments: list[str]) -> int:
    """Compares a random with a speaker-independent protocol; returns the exit code."""
    return _run_trainings(build_protocols_parser().parse_args(arguments), workflows.compare_on_clips, "protocols")


def run_corpora(arguments: list[str]) -> int:
    """Leaves every corpus out once; returns the exit code."""
    args = build_corpora_parser().parse_args(arguments)
    if args.json is not None:
        check_writable(args.json)
    scores = workflows.report_new_corpora(args.recipe, args.data_root, reporter=reporter_for(args))
    if args.json:
        write_json(args.json, {**scores, "command": command_line()})
    return 0


def _run_trainings(args: argparse.Namespace, workflow, name: str) -> int:
    data, config, reporter = read_data_options(vars(args)), build_config(vars(args)), reporter_for(args)
    output = args.output or saved_models() / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    failures = workflow(
        *data.load(reporter), config, output, n_folds=args.folds, cache_dir=data.cache_dir, command=command_line(),
        resume_command=command_to_go_on(output), every_label=wants_every_label(vars(args)), reporter=reporter,
    )  # fmt: skip
    return SOME_FILES_FAILED if failures else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
