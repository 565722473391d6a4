"""The options that several training commands share, and the records made of them: data to read, settings."""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.config import (
    CROPS,
    CROSS_VALIDATED,
    DEFAULT_ARCHITECTURE,
    FUSION_METHODS,
    MODALITIES,
    PRECISIONS,
    DataSource,
    RunConfig,
    TrainConfig,
    WindowConfig,
)
from emotion.config_files import from_dict, read_settings
from emotion.console import Reporter
from emotion.datasets import DATASETS
from emotion.datasets.clips import Clip
from emotion.errors import ConfigError
from emotion.labels import EIGHT_EMOTIONS, check_class_name
from emotion.models import ARCHITECTURES, LATE_FUSION, check_audio, find_design
from emotion.places import CLIP_CACHE_DIR, DATASET_DIR

EVERY_LABEL = "auto"
# For each option of a training the part of ``RunConfig`` and the setting in it.
SETTINGS = {
    "epochs": ("training", "epochs"),
    "batch_size": ("training", "batch_size"),
    "lr": ("training", "learning_rate"),
    "seed": ("training", "seed"),
    "protocol": ("training", "protocol"),
    "weight_decay": ("training", "weight_decay"),
    "pretrained": ("training", "pretrained"),
    "frozen_epochs": ("training", "frozen_epochs"),
    "layer_decay": ("training", "layer_decay"),
    "precision": ("training", "precision"),
    "window_sec": ("window", "window_seconds"),
    "crop": ("video", "crop"),
    "video_len": ("video", "n_frames"),
}
# Those that decide how a model is built or trained.
TRAINING_OPTIONS = ("model", "modality", "config", "labels", *SETTINGS)


@dataclass(frozen=True)
class DataRequest:
    """Which clips a command reads.

    Attributes:
        dataset: a key of ``DATASETS``; None to detect it from the folder layout.
        root: its folder, or the folder that a manifest's paths are relative to.
        manifest: a table of clips.
        cache_dir: where decoded clips are kept.
        choices: options of the data set, such as ``labels=perceived``.

    Raises:
        ConfigError: if two data sets are named, or a manifest is asked for and not named.
    """

    dataset: str | None = None
    root: Path | None = None
    manifest: Path | None = None
    cache_dir: Path = CLIP_CACHE_DIR
    choices: tuple[str, ...] = ()

    def __post_init__(self):
        if self.manifest is not None and self.dataset not in (None, "manifest"):
            raise ConfigError(f"--manifest and --dataset {self.dataset} name two data sets; leave one of them out.")
        if self.manifest is None and self.dataset == "manifest" and self.root is None:
            raise ConfigError("--dataset manifest needs its table: --manifest FILE.")

    def load(self, reporter: Reporter) -> tuple[list[Clip], DataSource]:
        """Finds the clips; returns them with the data set's name and licence.

        Raises:
            DatasetError: if there are none.
        """
        from emotion.datasets.loading import load_clips

        return load_clips(self.dataset, self.root, self.manifest, options=self.choices, reporter=reporter)

    def options(self) -> list[str]:
        """Returns the words of a command line that name the same data."""
        names = {"dataset": "dataset", "root": "dataset_dir", "manifest": "manifest", "cache_dir": "cache_dir"}
        given = {name: value for name, value in vars(self).items() if value != getattr(DataRequest, name)}
        choices = given.pop("choices", ())
        words = [word for name, value in given.items() for word in (f"--{names[name]}", str(value))]
        return [*words, *(("--dataset_option", *choices) if choices else ())]


# ---- Options ----


def add_data_options(
    parser: argparse.ArgumentParser, *, cached: bool = True, several: bool = False
) -> argparse._ArgumentGroup:
    """Adds the group "data", which ``read_data_options`` reads, and returns it.

    Args:
        several: whether to take several folders and manifests, which ``read_each_data_set`` reads.
    """
    many = {"nargs": "+"} if several else {}
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("--dataset", choices=sorted(DATASETS), help="the data set (default: detected from the folder layout)")
    add("--dataset_dir", "--root", dest="root", type=Path, metavar="DIR", **many, help="folder of the data set, or "
        f"the one that a manifest's paths are relative to (default: {DATASET_DIR}, or the manifest's own "
        "folder)")  # fmt: skip
    add("--manifest", type=Path, metavar="FILE", **many, help="your own table instead of --dataset: CSV with the "
        "columns path, emotion and, if known, speaker, audio_path, start_s, end_s, split, sex, "
        "reference; or a file of ELAN, Praat or Label Studio")  # fmt: skip
    add("--dataset_option", nargs="+", default=[], metavar="NAME=VALUE", help="options of the data set, such as "
        "labels=perceived (dataset/README.md lists them)")  # fmt: skip
    kept = "where decoded clips are kept (default: %(default)s)" if cached else argparse.SUPPRESS
    add("--cache_dir", type=Path, default=CLIP_CACHE_DIR, help=kept)
    return group


def add_training_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the groups "model", which it returns, and "training"; ``build_config`` reads both."""
    train, window = TrainConfig(), WindowConfig()
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--model", choices=sorted(ARCHITECTURES), help=f"network to train (default: {DEFAULT_ARCHITECTURE})")
    add("--modality", choices=("both", *MODALITIES), help="train on faces, voices or both (default: both)")
    add("--labels", nargs="+", metavar="EMOTION", help="the classes, in the order of the outputs, also words of your "
        f"own; {EVERY_LABEL}: all that the data has (default: those of {', '.join(EIGHT_EMOTIONS)} that it "
        "has)")  # fmt: skip
    add("--window_sec", type=float, help=f"window length in seconds (default: {window.window_seconds})")
    add("--video_len", type=int, metavar="FRAMES", help="frames per window (default: the network's own)")
    add("--crop", choices=CROPS, help="show the aligned face, the same stretched to fill the square, or the whole "
        "frame (default: the network's own)")  # fmt: skip
    add("--pretrained", nargs="+", metavar="NAME", help="start from weights fetched by python -m emotion.weights: "
        "resnet18 and ast for resnet18_ast, mobilefacenet for mobilefacenet_lstm, affectnet_mobilenet for "
        "whisper_mobilenet, efficientface for logmel_cnn, and wav2vec2, wav2vec2_large, hubert or wavlm for "
        "wav2vec2")  # fmt: skip
    add("--config", type=Path, metavar="FILE", help="JSON with any settings of a model folder's config.json; options "
        "override it")  # fmt: skip
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=int, help=f"largest number of passes over the training clips (default: {train.epochs})")
    add("--batch_size", type=int, help=f"clips per step (default: {train.batch_size})")
    add("--lr", type=float, help=f"Adam's initial learning rate (default: {train.learning_rate})")
    add("--weight_decay", type=float, help="AdamW's weight decay (default: 0, or the network's own)")
    add("--frozen_epochs", type=int, help="epochs during which pretrained parts stay fixed (default: 0)")
    add("--layer_decay", type=float, help="factor by which each pretrained block learns more slowly than the one after "
        "it (default: 1)")  # fmt: skip
    add("--precision", choices=PRECISIONS, help=f"number format during training (default: {train.precision}; "
        "mixed_bfloat16 is faster on processors and GPUs that support it)")  # fmt: skip
    add("--seed", type=int, help=f"seed of the split, the weights and the augmentation (default: {train.seed})")
    return group


def add_fusion_options(group) -> None:
    """Adds to a parser or group how two experts are joined."""
    group.add_argument("--method", choices=FUSION_METHODS, default="product", help="weighted average of the answers, "
        "product of the calibrated answers, or a linear classifier on both (default: %(default)s)")  # fmt: skip
    group.add_argument("--by_class", action="store_true", help="a weight for each class instead of one for all")


# ---- From options to records: each takes the options by name, ``vars(parser.parse_args())`` ----


def read_data_options(options: Mapping[str, Any]) -> DataRequest:
    given = (options[name] for name in ("dataset", "root", "manifest", "cache_dir"))
    return DataRequest(*given, tuple(options["dataset_option"]))


def read_each_data_set(options: Mapping[str, Any]) -> list[DataRequest]:
    """Returns a request for each manifest, or each folder, that options with ``several`` name.

    Raises:
        ConfigError: if folders and manifests do not go together.
    """
    manifests, roots = options["manifest"] or [None], options["root"] or [None]
    if len(roots) > 1 and manifests != [None]:
        raise ConfigError("Give several --dataset_dir or several --manifest, not both.")
    return [
        DataRequest(options["dataset"], root, manifest, options["cache_dir"], tuple(options["dataset_option"]))
        for manifest in manifests
        for root in roots
    ]


def read_labels(options: Mapping[str, Any]) -> list[str]:
    """Returns the classes you gave, with spaces or commas between them; ``[EVERY_LABEL]`` for all that the data has."""
    given = options["labels"] or ()
    words = [given] if isinstance(given, str) else given
    return [name.strip() for word in words for name in word.split(",") if name.strip()]


def wants_every_label(options: Mapping[str, Any]) -> bool:
    return read_labels(options) == [EVERY_LABEL]


def given_settings(options: Mapping[str, Any]) -> list[str]:
    """Returns the options you gave that decide how a model is built or trained."""
    return [f"--{name}" for name in TRAINING_OPTIONS if options.get(name) is not None]


def fill_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all options of a training, None where none was given.

    Raises:
        ConfigError: if there is no such option.
    """
    unknown = sorted(set(given) - set(TRAINING_OPTIONS))
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no such option. There are {', '.join(TRAINING_OPTIONS)}.")
    return dict.fromkeys(TRAINING_OPTIONS) | dict(given)


def build_config(options: Mapping[str, Any]) -> RunConfig:
    """Returns a training's settings: the options you gave, else those of ``--config``, else the network's defaults.

    Raises:
        ConfigError: for an impossible setting.
    """
    file, model = options["config"], options["model"]
    values = read_settings(file, complete=False) if file else {}
    named = values.get("architecture") if isinstance(values, dict) else None
    if model is None and named == LATE_FUSION:
        raise ConfigError(f"{file}: {LATE_FUSION} joins two models: train it with train_model.py --fusion late.")
    pretrained = options["pretrained"] or _pretrained_of(values)
    base = find_design(model or str(named or DEFAULT_ARCHITECTURE)).default_config(pretrained)
    if isinstance(values, dict) and isinstance(values.get("model"), dict):
        values = {**values, "model": {**base.model, **values["model"]}}
    config = from_dict(RunConfig, values, complete=False, where=str(file), defaults=base)
    for part in ("training", "window", "video"):
        chosen = {
            setting: tuple(options[name]) if name == "pretrained" else options[name]
            for name, (where, setting) in SETTINGS.items()
            if where == part and options.get(name) is not None
        }
        config = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **chosen)})
    if (modality := options["modality"]) is not None:
        config = dataclasses.replace(config, modalities=MODALITIES if modality == "both" else (modality,))
    if (labels := read_labels(options)) and labels != [EVERY_LABEL]:
        config = dataclasses.replace(config, class_names=tuple(check_class_name(name) for name in labels))
    config = dataclasses.replace(config, architecture=model or config.architecture)
    check_audio(config)
    return config


def _pretrained_of(values) -> list[str]:
    """The weights that a configuration file names; what it holds otherwise is checked later."""
    training = values.get("training") if isinstance(values, dict) else None
    names = training.get("pretrained") if isinstance(training, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def build_expert_configs(options: Mapping[str, Any]) -> dict[str, RunConfig]:
    """Returns the settings of the two experts of ``--fusion late``, by modality.

    Raises:
        ConfigError: for an impossible setting, a cross-validation, or pretrained weights that no expert takes.
    """
    from emotion.models.pretrained import known_weights

    wanted, configs = options["pretrained"], {}
    for modality in MODALITIES:
        model = options[f"{modality}_model"] or options["model"]
        known = known_weights(model or DEFAULT_ARCHITECTURE) if wanted else {}
        weights = wanted and [name for name in wanted if known.get(name, "").startswith(f"{modality}_")]
        configs[modality] = build_config({**options, "model": model, "modality": modality, "pretrained": weights})
        if configs[modality].training.protocol in CROSS_VALIDATED:
            raise ConfigError(
                "--fusion late trains one pair of experts: choose --protocol speaker, random or official."
            )
    taken = {name for config in configs.values() for name in config.training.pretrained}
    if spare := sorted(set(wanted or ()) - taken):
        raise ConfigError(f"Neither expert takes the weights {', '.join(spare)}. Leave them out of --pretrained.")
    return configs
