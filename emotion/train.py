"""Trains an emotion recogniser on the clips in dataset/ and writes a model folder under saved_models/."""

import argparse
import shlex
import sys
from datetime import datetime
from pathlib import Path

from emotion.config import CROSS_VALIDATED, DEFAULT_FOLDS, MODALITIES, PROTOCOLS, RECIPE_NAMES, RunConfig, TrainConfig
from emotion.config_files import load_config
from emotion.console import SOME_FILES_FAILED, Reporter, add_version, called_as, quiet_import, run_program
from emotion.models import ARCHITECTURES
from emotion.places import is_installed, saved_models
from emotion.training.options import (
    add_data_options,
    add_fusion_options,
    add_training_options,
    build_config,
    check_data_options,
    program_name,
    reporter_for,
)

# The demo has few clips, so it takes smaller steps, and only as many epochs as it takes to see the curves turn.
DEMO_EPOCHS, DEMO_BATCH_SIZE = 15, 8
DATA_OPTIONS = {"dataset": "--dataset", "root": "--dataset_dir", "manifest": "--manifest", "cache_dir": "--cache_dir"}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called_as("train_model.py", "emotion-train"),
        description=__doc__,
        epilog="Exit codes: 0 done; 2 wrong settings or no data; 3 done, but some clips could not be read; "
        "130 stopped by Ctrl-C.",
    )
    add = parser.add_argument
    add_data_options(parser)
    add("--list_models", action="store_true", help="describe the networks for --model, each measured here, and stop")
    add(
        "--demo", action="store_true", help="make a small synthetic data set and train on it, four minutes on two cores"
    )
    add_training_options(parser)
    add("--protocol", choices=PROTOCOLS, help="how clips are split. 'speaker' keeps every speaker on one side; "
        "'random' does not, and flatters; 'official' is the data set's own; 'kfold' and 'loso' train one model a fold, "
        f"each tested on speakers it never met (default: {TrainConfig().protocol})")  # fmt: skip
    add("--folds", type=int, default=DEFAULT_FOLDS, help="folds of --protocol kfold (default: %(default)s)")
    add("--fusion", choices=("late",), help="train an expert for voices and one for faces apart, by --audio_model and "
        "--video_model (default: --model for both), and join their answers")  # fmt: skip
    for modality in MODALITIES:
        add(
            f"--{modality}_model",
            choices=sorted(ARCHITECTURES),
            help="with --fusion late: the network of this expert (default: --model)",
        )
    add_fusion_options(parser)
    add("--output", type=Path, help="folder to write, new or empty (default: saved_models/MODEL-DATE-TIME; with "
        "--recipe saved_models/RECIPE, whose model is replaced)")  # fmt: skip
    add("--resume", action="store_true", help="go on with the training in --output, or with the latest unfinished one")
    add("--recipe", choices=RECIPE_NAMES, help="make a shipped model anew from --data_root (docs/models_shipped.md)")
    add("--data_root", type=Path, default=Path("data"), help="folder of the data sets a recipe is made from "
        "(default: %(default)s)")  # fmt: skip
    add_version(parser)
    add("--no_folds", action="store_true", help="leave out the cross-validation of a recipe's voice branch")
    return parser


def latest_unfinished() -> Path:
    """Returns the training under saved_models/ that was interrupted last."""
    from emotion.errors import RunError
    from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE

    configs = saved_models().glob(f"*/{CONFIG_FILE}")
    unfinished = [path.parent for path in configs if not (path.parent / MODEL_FILE).exists()]
    if not unfinished:
        raise RunError(f"{saved_models()}: holds no unfinished training. Name its folder with --output.")
    return max(unfinished, key=lambda path: path.stat().st_mtime)


def what_to_resume(output: Path) -> tuple[RunConfig, bool]:
    """Returns a stopped training's own settings, and whether it was the demo."""
    from emotion.models.run_folder import CONFIG_FILE, check_resumable
    from emotion.training.workflows import DEMO_NAME

    check_resumable(output)  # before any data is looked for
    config = load_config(output / CONFIG_FILE)
    return config, any(source.name == DEMO_NAME for source in config.data)


def resume_command(args: argparse.Namespace, output: Path) -> str:
    """Returns the command that goes on with a training if it is stopped."""
    words = [program_name(), "train_model.py", "--resume", "--output", str(output)]
    for name, option in DATA_OPTIONS.items():
        if getattr(args, name) != build_parser().get_default(name):
            words += [option, str(getattr(args, name))]
    return shlex.join(words)


def prepare_output(args: argparse.Namespace, config: RunConfig) -> Path:
    """Returns the folder to write, after making sure that nothing in it would be overwritten."""
    from emotion.models.run_folder import check_new_folder

    output = args.output or saved_models() / f"{config.architecture}-{datetime.now():%Y%m%d-%H%M%S}"
    # A cross-validation goes on with what its folder holds, and checks by itself that it is its own; so does a fusion.
    is_begun = args.fusion and not (output / "config.json").exists() and (output / "audio_expert").is_dir()
    if config.training.protocol not in CROSS_VALIDATED and not is_begun:
        check_new_folder(output)
    return output


def make_shipped_model(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Makes the model of ``--recipe``."""
    from emotion.training.workflows import make_recipe

    taken = ("recipe", "data_root", "no_folds", "output", "no_progress")
    given = [name for name, value in vars(args).items() if name not in taken and value != parser.get_default(name)]
    if "resume" in given:
        parser.error("a recipe goes on by itself where it was stopped: leave out --resume")
    if given:
        options = ", ".join(DATA_OPTIONS.get(name, f"--{name}") for name in given)
        parser.error(f"a recipe has settings of its own (emotion/training/recipes/settings.py); leave out {options}")
    return make_recipe(
        args.recipe,
        args.data_root,
        args.output,
        with_folds=not args.no_folds,
        reporter=reporter_for(args),
    )


def list_designs(reporter: Reporter) -> int:
    """Prints what each design is and costs, as it is measured here."""
    with quiet_import():
        import emotion.models.catalogue  # noqa: F401  (with it TensorFlow, which would write into the progress bar)
        from emotion.models.catalogue import measure_designs

    print(measure_designs(reporter))
    return 0


def check_fusion(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses what does not go with late fusion, and what is for it alone."""
    if not args.fusion:
        for name in ("audio_model", "video_model", "by_class"):
            if getattr(args, name):
                parser.error(f"--{name} is for --fusion late")
        return
    for name in ("resume", "demo", "modality"):
        if getattr(args, name):
            parser.error(f"--fusion late and --{name} do not go together")


def settle(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[RunConfig, Path]:
    """Returns the settings of a training, new or gone on with, and the folder it is to write."""
    if args.resume:
        ignored = (
            "model", "modality", "config", "batch_size", "lr", "seed", "window_sec", "crop", "protocol",
            "weight_decay", "pretrained", "frozen_epochs", "layer_decay", "precision", "video_len", "labels",
        )  # fmt: skip
        given = [f"--{name}" for name in ignored if getattr(args, name) is not None]
        if given:
            parser.error(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")
        output = args.output or latest_unfinished()
        config, args.demo = what_to_resume(output)
    else:
        if args.demo:
            args.epochs = DEMO_EPOCHS if args.epochs is None else args.epochs
            args.batch_size = DEMO_BATCH_SIZE if args.batch_size is None else args.batch_size
        config = build_config(args, protocol=args.protocol)
        output = prepare_output(args, config)
    return config, output


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.list_models or args.recipe:
        return list_designs(reporter_for(args)) if args.list_models else make_shipped_model(parser, args)
    for name in ("data_root", "no_folds"):
        if getattr(args, name) != parser.get_default(name):
            parser.error(f"--{name} is for --recipe; other trainings read --dataset_dir or --manifest")
    check_data_options(args)
    check_fusion(parser, args)
    if args.demo and args.protocol not in (None, "speaker", "random"):
        parser.error("--demo trains one model on synthetic speakers: --protocol speaker or random")
    config, output = settle(parser, args)
    from emotion.datasets.loading import load_clips
    from emotion.training.workflows import train_on_clips, train_on_demo

    reporter = reporter_for(args)
    if args.fusion:
        from emotion.fuse import train_late_fusion

        return train_late_fusion(args, output)
    if config.training.protocol in CROSS_VALIDATED and not args.demo:
        from emotion.evaluate import cross_validate_clips

        return cross_validate_clips(args, config, output)
    settings = {
        "resume": args.resume,
        "epochs": args.epochs,
        "resume_command": resume_command(args, output),
        "cache_dir": args.cache_dir,
        "reporter": reporter,
    }
    try:
        if args.demo:
            result = train_on_demo(config, output, **settings)
        else:
            clips, source = load_clips(args.dataset, args.root, args.manifest, reporter=reporter)
            result = train_on_clips(clips, source, config, output, **settings)
    except KeyboardInterrupt:
        from emotion.models.run_folder import CONFIG_FILE

        if (output / CONFIG_FILE).is_file():
            print(f"\nTo go on: {settings['resume_command']}", file=sys.stderr)
        raise
    for clip_id, reason in result.failures.items():
        print(f"left out {clip_id}: {reason}", file=sys.stderr)
    side = "test" if "test" in result.metrics else "validation"
    scores = result.metrics[side]
    low, high = scores["intervals"]["uar"]
    print(
        f"{side}: UAR (recall averaged over the emotions) {scores['uar']:.1%}, accuracy {scores['accuracy']:.1%}, "
        f"clips: {scores['n']}, speakers: {scores['n_speakers']}, protocol: {result.metrics['protocol']}"
    )
    print(f"95 % interval of the UAR: {low:.1%} to {high:.1%}, over {scores['intervals']['unit']}")
    from emotion.outputs.score_tables import warn_of_few

    if warning := warn_of_few(scores):
        print(warning)
    print(f"model: {result.path}", flush=True)
    from emotion.models.export_onnx import write_onnx

    write_onnx(result.path, reporter)
    infer = "emotion-infer" if is_installed() else f"{program_name()} run_inference.py"
    print(f"try it: {infer} --video_path CLIP --model {result.path}")
    return SOME_FILES_FAILED if result.failures else 0


def run() -> int:
    """Runs the program, and returns its exit code."""
    return run_program(main)
