"""Trains an emotion recogniser on the clips in dataset/ and writes a model folder under saved_models/."""

import argparse
import shlex
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from emotion.config import CROSS_VALIDATED, DEFAULT_FOLDS, MODALITIES, PROTOCOLS, RECIPE_NAMES, RunConfig, TrainConfig
from emotion.config_files import load_config
from emotion.console import (
    SILENT,
    SOME_FILES_FAILED,
    Reporter,
    add_progress_option,
    add_version,
    called_as,
    command_line,
    command_to_go_on,
    program_name,
    quiet_import,
    reporter_for,
    run_program,
)
from emotion.errors import ConfigError, RunError
from emotion.models import ARCHITECTURES
from emotion.models.names import resolve_model
from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE, check_new_folder, check_resumable, check_run
from emotion.places import is_installed, saved_models
from emotion.training import workflows
from emotion.training.devices import DATA_PARALLEL, STRATEGIES, Devices, Place, join_devices, leave
from emotion.training.options import (
    DataRequest,
    add_data_options,
    add_fusion_options,
    add_training_options,
    build_config,
    build_expert_configs,
    given_settings,
    read_data_options,
    wants_every_label,
)
from emotion.weights import fetch_weights

# The demo has few clips: small steps, and only enough epochs to see the curves turn.
DEMO_EPOCHS, DEMO_BATCH_SIZE = 15, 8
CHOSEN_WITH_INIT = ("--labels", "--protocol", "--seed")


@dataclass(frozen=True)
class Plan:
    """What to train: the settings, the folder to write, whether on the demo's clips, and from which model's folder."""

    config: RunConfig
    output: Path
    is_demo: bool
    initial: Path | None = None
    every_label: bool = False


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called_as("train_model.py", "emotion-train"),
        usage="%(prog)s [options]",
        description=__doc__,
        epilog="Exit codes: 0 done; 2 wrong settings or no data; 3 done, but some clips could not be read; "
        "130 stopped with Ctrl-C; 143 terminated (SIGTERM).",
    )
    add_version(parser)
    add = parser.add_argument_group("first steps").add_argument
    add("--demo", action="store_true", help="train on a small synthetic data set, four minutes on two cores")
    add("--list_models", action="store_true", help="list the networks for --model, with size and speed on this "
        "machine, and stop")  # fmt: skip
    add = add_data_options(parser).add_argument
    add("--protocol", choices=PROTOCOLS, help="how clips are split. 'speaker' keeps each speaker on one side; 'random' "
        "does not, so its scores are too high; 'official' is the data set's own split; 'kfold' and 'loso' (leave one "
        "speaker out) train a model per fold, each tested on new speakers (default: "
        f"{TrainConfig().protocol})")  # fmt: skip
    add("--folds", type=int, default=DEFAULT_FOLDS, help="number of folds for --protocol kfold (default: %(default)s)")
    group = add_training_options(parser)
    group.add_argument("--init", metavar="MODEL", help="start from a trained model: accurate, default, a folder or "
        "hf://USER/NAME. Its encoders stay, and its last layer is fitted anew, in about a minute")  # fmt: skip
    group.add_argument(
        "--efficientface_path", type=Path, metavar="FILE", help="the published EfficientFace checkpoint: short for "
        "python -m emotion.weights efficientface --file FILE, then --pretrained efficientface"
    )  # fmt: skip
    add = parser.add_argument_group("several devices").add_argument
    add("--strategy", type=strategy_name, metavar="NAME", help="mirrored: all GPUs of this computer, with TensorFlow; "
        "data_parallel: all devices of one or several processes, with KERAS_BACKEND=jax "
        "(docs/training_scale.md)")  # fmt: skip
    add("--coordinator", metavar="HOST:PORT", help="where process 0 of data_parallel waits for the others; with the "
        "next two (default: what Slurm or another scheduler says)")  # fmt: skip
    add("--num_processes", type=int, metavar="N", help="how many processes there are")
    add("--process_id", type=int, metavar="K", help="which of them this is, from 0")
    group = parser.add_argument_group("late fusion")
    group.add_argument("--fusion", choices=("late",), help="train one model on voices and one on faces, then join "
        "their answers")  # fmt: skip
    for modality, what in zip(MODALITIES, ("voice", "face"), strict=True):
        group.add_argument(f"--{modality}_model", choices=sorted(ARCHITECTURES), help=f"network of the {what} model "
            "(default: --model)")  # fmt: skip
    add_fusion_options(group)
    add = parser.add_argument_group("recipes of the shipped models").add_argument
    add("--recipe", choices=RECIPE_NAMES, help="make this model anew from --data_root (docs/models_shipped.md)")
    add("--data_root", type=Path, default=Path("data"), help="folder of the recipe's data sets (default: %(default)s)")
    add("--no_folds", action="store_true", help="skip the cross-validation of the recipe's voice branch")
    add("--leave_corpus_out", metavar="NAME", help="train only the recipe's voice branch, without this corpus, and "
        "score it on this corpus; see python -m emotion.evaluate corpora")  # fmt: skip
    group = parser.add_argument_group("output")
    group.add_argument("--output", type=Path, help="folder to write, new or empty (default: "
        "saved_models/MODEL-DATE-TIME; with --recipe saved_models/RECIPE, whose model is replaced)")  # fmt: skip
    group.add_argument("--resume", action="store_true", help="continue the training in --output, or the latest "
        "unfinished one")  # fmt: skip
    add_progress_option(group)
    return parser


# ---- Checks ----


def strategy_name(text: str) -> str:
    """Returns the name of a strategy that ``--strategy`` gives."""
    if "multi" in text.lower():
        raise argparse.ArgumentTypeError(
            "TensorFlow's multi-worker training does not work in Keras 3 (issue 20585 of Keras): use data_parallel"
        )
    if text not in STRATEGIES:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(STRATEGIES)})")
    return text


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses options that do not go together."""
    for name in ("data_root", "no_folds", "leave_corpus_out"):
        if getattr(args, name) != parser.get_default(name):
            parser.error(f"--{name} is for --recipe; other trainings read --dataset_dir or --manifest")
    if args.fusion:
        for name in ("resume", "demo", "modality"):
            if getattr(args, name):
                parser.error(f"--fusion late and --{name} do not go together")
    else:
        for name in ("audio_model", "video_model", "by_class"):
            if getattr(args, name):
                parser.error(f"--{name} is for --fusion late")
    if args.init:
        given = [option for option in given_settings(vars(args)) if option not in CHOSEN_WITH_INIT]
        given += [
            f"--{name}"
            for name in ("efficientface_path", "fusion", "demo", "resume", "strategy")
            if getattr(args, name)
        ]
        if given:
            parser.error(f"--init takes all settings but the classes from the model; leave out {', '.join(given)}")
    if args.demo and args.protocol not in (None, "speaker", "random"):
        parser.error("--demo takes only --protocol speaker or random")
    given = [option for option in given_settings(vars(args)) if option != "--epochs"]
    given += ["--efficientface_path"] if args.efficientface_path else []
    if args.resume and given:
        parser.error(f"--resume uses the settings that the run began with; leave out {', '.join(given)}")


def take_efficientface(args: argparse.Namespace, reporter: Reporter) -> None:
    """Keeps the weights in ``--efficientface_path`` and asks for them, as the two options it is short for do."""
    if args.efficientface_path is not None:
        fetch_weights("efficientface", file=args.efficientface_path, reporter=reporter)
        args.pretrained = [*dict.fromkeys([*(args.pretrained or ()), "efficientface"])]


def check_devices(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Place:
    """Refuses devices that do not go with the other options; returns which process this is."""
    place = Place(args.coordinator, args.num_processes, args.process_id)
    if args.strategy != DATA_PARALLEL and place != Place():
        parser.error(f"--coordinator, --num_processes and --process_id are for --strategy {DATA_PARALLEL}")
    if args.strategy == DATA_PARALLEL and not args.output:
        parser.error(f"--strategy {DATA_PARALLEL} needs --output: all processes share one folder")
    if args.strategy and (args.fusion or args.protocol in CROSS_VALIDATED):
        parser.error("--strategy trains one model: leave out --fusion, and --protocol kfold or loso")
    return place


def make_plan(args: argparse.Namespace) -> Plan:
    """Returns the plan of a training, new or resumed, after checking that its folder can be written."""
    if args.resume:
        output = args.output or latest_unfinished()
        check_resumable(output)
        config = load_config(output / CONFIG_FILE)
        return Plan(config, output, any(source.name == workflows.DEMO_NAME for source in config.data))
    if args.demo:
        args.epochs = DEMO_EPOCHS if args.epochs is None else args.epochs
        args.batch_size = DEMO_BATCH_SIZE if args.batch_size is None else args.batch_size
    config = build_config(vars(args))
    initial = resolve_model(args.init) if args.init else None
    if initial is not None:
        check_run(initial)
    if args.strategy and config.training.protocol in CROSS_VALIDATED:
        raise ConfigError(f"--strategy trains one model, not one for each fold: leave out one of them ({args.config}).")
    name = initial.name if initial else config.architecture
    output = args.output or saved_models() / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    # Cross-validations and fusions go on with what their folder holds, and check that it is their own.
    is_begun = args.fusion and not (output / CONFIG_FILE).exists() and (output / "audio_expert").is_dir()
    if config.training.protocol not in CROSS_VALIDATED and not is_begun:
        check_new_folder(output)
    return Plan(config, output, args.demo, initial, wants_every_label(vars(args)))


def latest_unfinished() -> Path:
    """Returns the training under saved_models/ that was interrupted last."""
    configs = saved_models().glob(f"*/{CONFIG_FILE}")
    unfinished = [path.parent for path in configs if not (path.parent / MODEL_FILE).exists()]
    if not unfinished:
        raise RunError(f"{saved_models()}: no unfinished training is here. Name its folder with --output.")
    return max(unfinished, key=lambda path: path.stat().st_mtime)


# ---- What the command does ----


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    reporter = reporter_for(args)
    if args.list_models:
        return list_designs(reporter)
    if args.recipe:
        return make_shipped_model(parser, args)
    check_options(parser, args)
    place = check_devices(parser, args)
    data = read_data_options(vars(args))
    take_efficientface(args, reporter)
    plan = make_plan(args)
    if args.fusion:
        configs = build_expert_configs(vars(args))
        clips, source = data.load(reporter)
        reporter.say(
            f"Run folder: {plan.output}. To continue after a stop, give the same command with --output "
            f"{shlex.quote(str(plan.output))}."
        )
        failures = workflows.train_experts(
            clips, source, configs, plan.output, method=args.method, by_class=args.by_class, cache_dir=data.cache_dir,
            every_label=wants_every_label(vars(args)),
            reporter=reporter,
        )  # fmt: skip
    elif plan.config.training.protocol in CROSS_VALIDATED and not plan.is_demo:
        failures = workflows.cross_validate_on_clips(
            *data.load(reporter), plan.config, plan.output, n_folds=args.folds, cache_dir=data.cache_dir,
            command=command_line(), resume_command=command_to_go_on(plan.output), initial=plan.initial,
            every_label=plan.every_label, reporter=reporter,
        )  # fmt: skip
    else:
        devices = join_devices(args.strategy, place)
        failures = train_one(
            plan, data, resume=args.resume, epochs=args.epochs, strategy=args.strategy, devices=devices,
            reporter=reporter,
        )  # fmt: skip
    return SOME_FILES_FAILED if failures else 0


def train_one(
    plan: Plan, data: DataRequest, *, resume: bool, epochs: int | None, strategy: str | None, devices: Devices,
    reporter: Reporter,
) -> dict[str, str]:  # fmt: skip
    """Trains one model; returns the clips that could not be read, with the reasons."""
    reporter = reporter if devices.leads else SILENT
    words = ["train_model.py", "--resume", "--output", str(plan.output), *data.options()]
    words += ["--strategy", strategy] if strategy else []
    go_on = shlex.join([program_name(), *words])
    settings = {
        "resume": resume, "epochs": epochs, "resume_command": go_on, "cache_dir": data.cache_dir, "devices": devices,
        "reporter": reporter,
    }  # fmt: skip
    try:
        if plan.is_demo:
            result = workflows.train_on_demo(plan.config, plan.output, **settings)
        else:
            result = workflows.train_on_clips(
                *data.load(reporter), plan.config, plan.output, initial=plan.initial, every_label=plan.every_label,
                **settings,
            )  # fmt: skip
    except KeyboardInterrupt:
        if devices.leads and (plan.output / CONFIG_FILE).is_file():
            print(f"\nTo go on: {go_on}", file=sys.stderr)
        raise
    if result is None:
        return {}
    infer = "emotion-infer" if is_installed() else f"{program_name()} run_inference.py"
    reporter.say(f"try it: {infer} --video_path CLIP --model {shlex.quote(str(plan.output))}")
    return result.failures


def make_shipped_model(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Makes the model of ``--recipe``."""
    taken = ("recipe", "data_root", "no_folds", "leave_corpus_out", "output", "no_progress")
    given = [name for name, value in vars(args).items() if name not in taken and value != parser.get_default(name)]
    if "resume" in given:
        parser.error("a recipe continues by itself where it was stopped; leave out --resume")
    if given:
        options = ", ".join("--dataset_dir" if name == "root" else f"--{name}" for name in given)
        parser.error(f"a recipe has fixed settings (emotion/training/recipes/settings.py); leave out {options}")
    if args.leave_corpus_out:
        if args.no_folds or args.output:
            parser.error("--leave_corpus_out only prints scores and writes no model; leave out --output and --no_folds")
        workflows.report_new_corpora(
            args.recipe, args.data_root, left_out=args.leave_corpus_out, reporter=reporter_for(args)
        )
        return 0
    workflows.make_recipe(
        args.recipe, args.data_root, args.output, with_folds=not args.no_folds, reporter=reporter_for(args)
    )
    return 0


def list_designs(reporter: Reporter) -> int:
    """Prints what each network is and costs, measured on this machine."""
    with quiet_import():  # TensorFlow would write into the progress bar
        from emotion.models.catalogue import measure_designs

    print(measure_designs(reporter))
    return 0


def run() -> int:
    """Runs the program, and returns its exit code."""
    try:
        return leave(run_program(main))
    except SystemExit as end:
        raise SystemExit(leave(end.code)) from None
