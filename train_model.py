"""Trains an emotion recogniser on the clips in dataset/ and writes a model folder under saved_models/."""

import argparse
import dataclasses
import shlex
import sys
from datetime import datetime
from pathlib import Path

from emotion.config import (
    CLIP_CACHE_DIR,
    CROPS,
    DEFAULT_ARCHITECTURE,
    PROTOCOLS,
    SAVED_MODELS,
    RunConfig,
    TrainConfig,
    VideoConfig,
    WindowConfig,
    load_config,
)
from emotion.console import SOME_FILES_FAILED, ProgressBar, run_program
from emotion.models import ARCHITECTURES

# The demo has few clips, so it takes smaller steps, and only as many epochs as it takes to see the curves turn.
DEMO_EPOCHS, DEMO_BATCH_SIZE = 15, 8


def build_parser() -> argparse.ArgumentParser:
    train, video, window = TrainConfig(), VideoConfig(), WindowConfig()
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit codes: 0 done; 2 wrong settings or no data; 3 done, but some clips could not be read.",
    )
    add = parser.add_argument
    add("--dataset_dir", type=Path, default=Path("dataset"), help="folder of RAVDESS clips (default: %(default)s)")
    add("--demo", action="store_true", help="make a small synthetic data set and train on it for a minute or two")
    add("--model", default=None, choices=sorted(ARCHITECTURES), help=f"the network (default: {DEFAULT_ARCHITECTURE})")
    add("--output", type=Path, help="folder to write, new or empty (default: saved_models/MODEL-DATE-TIME)")
    add("--config", type=Path, metavar="FILE", help="JSON with any of the settings in a model folder's config.json; "
        "options given here come before it")  # fmt: skip
    add("--resume", action="store_true", help="go on with the training in --output, or with the latest unfinished one")
    add("--epochs", type=int, help=f"passes over the training clips, at most (default: {train.epochs})")
    add("--batch_size", type=int, help=f"clips a step (default: {train.batch_size})")
    add("--lr", type=float, help=f"Adam's first learning rate (default: {train.learning_rate})")
    add("--seed", type=int, help=f"of split, weights and augmentation (default: {train.seed})")
    add("--window_sec", type=float, help=f"seconds a model judges at once (default: {window.window_seconds})")
    add("--crop", choices=CROPS, help=f"cut out the aligned face, or use whole frames (default: {video.crop})")
    add("--protocol", choices=PROTOCOLS, help="'speaker' keeps every speaker on one side; 'random' does "
        f"not, and flatters (default: {train.protocol})")  # fmt: skip
    add("--cache_dir", type=Path, default=CLIP_CACHE_DIR, help="decoded clips (default: %(default)s)")
    add("--recipe", choices=("default",), help="make a shipped model anew from --data_root (docs/models_shipped.md)")
    add("--data_root", type=Path, default=Path("data"), help="folder of the data sets a recipe is made from "
        "(default: %(default)s)")  # fmt: skip
    add("--no_progress", action="store_true", help="no progress bars")
    return parser


def build_config(args: argparse.Namespace) -> RunConfig:
    """Returns the settings: the options given, else those of --config, else the defaults."""
    config = load_config(args.config, complete=False) if args.config else RunConfig()
    epochs, batch_size = args.epochs, args.batch_size
    if args.demo:
        epochs = DEMO_EPOCHS if epochs is None else epochs
        batch_size = DEMO_BATCH_SIZE if batch_size is None else batch_size
    given = {
        "training": {"epochs": epochs, "batch_size": batch_size, "learning_rate": args.lr,
                     "seed": args.seed, "protocol": args.protocol},
        "window": {"window_seconds": args.window_sec},
        "video": {"crop": args.crop},
    }  # fmt: skip
    for part, values in given.items():
        chosen = {name: value for name, value in values.items() if value is not None}
        config = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **chosen)})
    return dataclasses.replace(config, architecture=args.model or config.architecture)


def latest_unfinished() -> Path:
    """Returns the training under saved_models/ that was interrupted last."""
    from emotion.errors import RunError
    from emotion.runs import CONFIG_FILE, MODEL_FILE

    configs = SAVED_MODELS.glob(f"*/{CONFIG_FILE}")
    unfinished = [path.parent for path in configs if not (path.parent / MODEL_FILE).exists()]
    if not unfinished:
        raise RunError(f"{SAVED_MODELS}: holds no unfinished training. Name its folder with --output.")
    return max(unfinished, key=lambda path: path.stat().st_mtime)


def what_to_resume(output: Path) -> tuple[RunConfig, bool]:
    """Returns a stopped training's own settings, and whether it was the demo."""
    from emotion.errors import RunError
    from emotion.runs import CONFIG_FILE
    from emotion.workflows import DEMO_NAME

    if not (output / CONFIG_FILE).is_file():
        raise RunError(f"{output}: holds no training to resume. Start one without --resume.")
    config = load_config(output / CONFIG_FILE)
    return config, any(source.name == DEMO_NAME for source in config.data)


def program_name() -> str:
    """Returns how to call the Python that is running, as short as it can be said from the current folder."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def resume_command(args: argparse.Namespace, output: Path) -> str:
    """Returns the command that goes on with a training if it is stopped."""
    words = [program_name(), "train_model.py", "--resume", "--output", str(output)]
    for name in ("dataset_dir", "cache_dir"):
        if getattr(args, name) != build_parser().get_default(name):
            words += [f"--{name}", str(getattr(args, name))]
    return shlex.join(words)


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    config = build_config(args)
    if args.resume:
        ignored = ("model", "config", "batch_size", "lr", "seed", "window_sec", "crop", "protocol")
        given = [f"--{name}" for name in ignored if getattr(args, name) is not None]
        if given:
            parser.error(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")
        output = args.output or latest_unfinished()
        config, args.demo = what_to_resume(output)
    else:
        output = args.output or SAVED_MODELS / f"{config.architecture}-{datetime.now():%Y%m%d-%H%M%S}"
        if not args.recipe:
            from emotion.runs import check_new_folder

            check_new_folder(output)
    from emotion.workflows import make_recipe, train_on_demo, train_on_ravdess

    shown = not args.no_progress
    if args.recipe:
        return make_recipe(
            args.recipe, args.data_root, args.output or SAVED_MODELS / args.recipe, verbose=1 if shown else 2
        )
    settings = {
        "resume": args.resume,
        "epochs": args.epochs,
        "resume_command": resume_command(args, output),
        "cache_dir": args.cache_dir,
        "progress": ProgressBar("Decoding", "clip", shown=shown),
        "verbose": 1 if shown else 2,
        "say": lambda message: print(message, flush=True),
    }
    if args.demo:
        result = train_on_demo(config, output, ProgressBar("Drawing clips", "clip", shown=shown), **settings)
    else:
        result = train_on_ravdess(args.dataset_dir, config, output, **settings)
    for clip_id, reason in result.failures.items():
        print(f"left out {clip_id}: {reason}", file=sys.stderr)
    side = "test" if "test" in result.metrics else "validation"
    scores = result.metrics[side]
    low, high = scores["intervals"]["uar"]
    print(
        f"{side}: UAR (recall averaged over the emotions) {scores['uar']:.1%}, accuracy {scores['accuracy']:.1%}, "
        f"clips: {scores['n']}, speakers: {scores['n_speakers']}, protocol: {result.metrics['protocol']}"
    )
    print(
        f"95 % interval of the UAR: {low:.1%} to {high:.1%}, "
        + (f"over {scores['intervals']['unit']}")
    )
    print(f"model: {result.path}")
    print(f"try it: {program_name()} run_inference.py --video_path CLIP --model {result.path}")
    return SOME_FILES_FAILED if result.failures else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
