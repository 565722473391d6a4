"""Command-line options that several programs share: the data, and the settings of a training."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

from emotion.config import (
    CROPS,
    DEFAULT_ARCHITECTURE,
    FUSION_METHODS,
    MODALITIES,
    PRECISIONS,
    RunConfig,
    TrainConfig,
    VideoConfig,
    WindowConfig,
)
from emotion.config_files import from_dict, read_settings
from emotion.console import Reporter
from emotion.datasets import DATASETS
from emotion.errors import ConfigError
from emotion.labels import canonical_emotion
from emotion.models import ARCHITECTURES, LATE_FUSION, check_audio, find_design
from emotion.places import CLIP_CACHE_DIR, DATASET_DIR


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which clips to read."""
    add = parser.add_argument
    add("--dataset", choices=sorted(DATASETS), help="the data set (default: told by the folder's layout)")
    add("--dataset_dir", "--root", dest="root", type=Path, metavar="DIR", help="its folder, or what a manifest's paths "
        f"are relative to (default: {DATASET_DIR}, or the manifest's own folder)")  # fmt: skip
    add("--manifest", type=Path, metavar="FILE", help="CSV with the columns path, emotion and, as far as known, "
        "speaker, audio_path, start_s, end_s, split, sex; instead of --dataset")  # fmt: skip
    add("--cache_dir", type=Path, default=CLIP_CACHE_DIR, help="decoded clips (default: %(default)s)")
    add("--no_progress", action="store_true", help="no progress bars")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that ``build_config`` reads."""
    train, video, window = TrainConfig(), VideoConfig(), WindowConfig()
    add = parser.add_argument
    add("--model", default=None, choices=sorted(ARCHITECTURES), help=f"the network (default: {DEFAULT_ARCHITECTURE})")
    add("--modality", choices=("both", *MODALITIES), help="what to learn from (default: both)")
    add("--config", type=Path, metavar="FILE", help="JSON with any of the settings in a model folder's config.json; "
        "options given here come before it")  # fmt: skip
    add("--epochs", type=int, help=f"passes over the training clips, at most (default: {train.epochs})")
    add("--batch_size", type=int, help=f"clips a step (default: {train.batch_size})")
    add("--lr", type=float, help=f"Adam's first learning rate (default: {train.learning_rate})")
    add("--weight_decay", type=float, help="AdamW's (default: 0, or the model's own)")
    add("--pretrained", nargs="+", metavar="NAME", help="begin with weights that python -m emotion.weights fetched: "
        "resnet18 and ast for resnet18_ast, mobilefacenet for mobilefacenet_lstm")  # fmt: skip
    add("--frozen_epochs", type=int, help="epochs for which pretrained parts stay as they are (default: 0)")
    add("--layer_decay", type=float, help="factor by which each block of them learns slower than the next (default: 1)")
    add("--precision", choices=PRECISIONS, help=f"in which the network computes while it learns (default: "
        f"{train.precision}; mixed_bfloat16 is faster on processors and GPUs that know it)")  # fmt: skip
    add("--video_len", type=int, metavar="FRAMES", help="frames a window (default: the model's own)")
    add(
        "--labels", nargs="+", metavar="EMOTION", help="the classes, in the order of the outputs (default: those found)"
    )
    add("--seed", type=int, help=f"of split, weights and augmentation (default: {train.seed})")
    add("--window_sec", type=float, help=f"seconds a model judges at once (default: {window.window_seconds})")
    add("--crop", choices=CROPS, help=f"cut out the aligned face, or use whole frames (default: {video.crop})")


def add_fusion_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how answers are joined."""
    add = parser.add_argument
    add("--method", choices=FUSION_METHODS, default="product", help="weighted average of the answers, product of the "
        "calibrated answers, or a linear classifier on both (default: %(default)s)")  # fmt: skip
    add("--by_class", action="store_true", help="weights for each class, not one for all")


def build_config(args: argparse.Namespace, *, protocol: str | None = None) -> RunConfig:
    """Returns the settings: the options given, else those of ``--config``, else the architecture's defaults.

    Args:
        args: what ``add_training_options`` asked for.
        protocol: of the split; None for that of ``--config`` or the default.

    Raises:
        ConfigError: for a setting that is impossible.
    """
    values = read_settings(args.config, complete=False) if args.config else {}
    named = values.get("architecture") if isinstance(values, dict) else None
    if args.model is None and named == LATE_FUSION:
        raise ConfigError(f"{args.config}: {LATE_FUSION} is made of two models: train_model.py --fusion late.")
    base = find_design(args.model or str(named or DEFAULT_ARCHITECTURE)).default_config()
    config = from_dict(RunConfig, values, complete=False, where=str(args.config), defaults=base)
    given = {
        "training": {"epochs": args.epochs, "batch_size": args.batch_size, "learning_rate": args.lr,
                     "seed": args.seed, "protocol": protocol, "weight_decay": args.weight_decay,
                     "pretrained": None if args.pretrained is None else tuple(args.pretrained),
                     "frozen_epochs": args.frozen_epochs, "layer_decay": args.layer_decay,
                     "precision": args.precision},
        "window": {"window_seconds": args.window_sec},
        "video": {"crop": args.crop, "n_frames": args.video_len},
    }  # fmt: skip
    for part, values in given.items():
        chosen = {name: value for name, value in values.items() if value is not None}
        config = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **chosen)})
    if args.modality is not None:
        config = dataclasses.replace(config, modalities=MODALITIES if args.modality == "both" else (args.modality,))
    if args.labels is not None:
        config = dataclasses.replace(config, class_names=tuple(canonical_emotion(name) for name in args.labels))
    config = dataclasses.replace(config, architecture=args.model or config.architecture)
    check_audio(config)
    return config


def check_data_options(args: argparse.Namespace) -> None:
    """Makes sure that the data is named once.

    Raises:
        ConfigError: if it is not.
    """
    if args.manifest is not None and args.dataset not in (None, "manifest"):
        raise ConfigError(f"--manifest and --dataset {args.dataset} name two data sets; leave one of them out.")
    if args.manifest is None and args.dataset == "manifest" and args.root is None:
        raise ConfigError("--dataset manifest needs its table: --manifest FILE.")


def program_name() -> str:
    """Returns how to call the Python that is running, as short as it can be said from the current folder."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def command_line() -> str:
    """Returns the command that was given, to be kept beside what it made."""
    # Python gives a module that it runs with -m as the path of its file.
    program = Path(sys.argv[0])
    is_module = program.parent.name == "emotion"
    return shlex.join(
        [program_name(), *(["-m", f"emotion.{program.stem}"] if is_module else [sys.argv[0]]), *sys.argv[1:]]
    )


def reporter_for(args: argparse.Namespace) -> Reporter:
    """Returns what a program with ``--no_progress`` reports through."""
    return Reporter(shows_bars=not args.no_progress)
