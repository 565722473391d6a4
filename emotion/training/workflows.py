"""Leads whole trainings, from labelled clips to a finished folder and its scores; one function for each command."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.config import CROSS_VALIDATED, DataSource, RunConfig
from emotion.config_files import load_config
from emotion.console import SILENT, Reporter, quiet_import
from emotion.datasets import DATASETS, human_accuracy, summarize
from emotion.datasets.clips import Clip
from emotion.errors import ConfigError, DatasetError, RunError
from emotion.files import folder_written_whole
from emotion.labels import EIGHT_EMOTIONS, HOW_TO_USE_OTHERS, check_class_name, class_index, emotions_in
from emotion.models.export_onnx import write_onnx
from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE, check_new_folder, load_run
from emotion.outputs.score_tables import format_evaluation, format_folds, format_protocols, format_training
from emotion.places import CACHE_DIR, CLIP_CACHE_DIR, saved_models

if TYPE_CHECKING:
    from emotion.training.devices import Devices
    from emotion.training.fitting import TrainingResult

RECIPE_DIR = CACHE_DIR / "recipes"
DEMO_NAME = "synthetic demo"
DEMO_DIR = CACHE_DIR / "demo_dataset"
DEMO_EMOTIONS = ("neutral", "happy", "sad", "angry")
DEMO_SPEAKERS = 8
DEMO_REPETITIONS = 3


# ---- One model ----


def train_on_clips(
    clips: list[Clip],
    source: DataSource,
    config: RunConfig,
    output: Path,
    *,
    initial: Path | None = None,
    every_label: bool = False,
    reporter: Reporter = SILENT,
    **settings,
) -> "TrainingResult | None":
    """Trains one model, prints its scores and writes its ONNX file.

    Args:
        source: name and licence of the data set.
        config: if its classes are all eight emotions, those that no clip shows are dropped.
        output: the run folder to write.
        initial: the folder of the model to start from; None to start from nothing.
        every_label: as for ``describe_data``.
        **settings: passed to ``fitting.train``.

    Returns:
        None in a process other than the first.
    """
    config, started = _start_from(describe_data(config, clips, source, every_label=every_label), initial)
    result = _train(clips, config, output, **started, reporter=reporter, **settings)
    if result is None:
        return None
    _warn_of_skipped(result.failures, reporter)
    reporter.say(format_training(result.metrics))
    reporter.say(f"model: {output}")
    write_onnx(output, reporter)
    _say_comparison(result.metrics, output, reporter)
    return result


def train_on_demo(
    config: RunConfig, output: Path, *, devices: "Devices", reporter: Reporter = SILENT, **settings
) -> "TrainingResult | None":
    """Draws a small synthetic data set in the layout of RAVDESS, and trains on it as ``train_on_clips`` does."""
    from emotion.datasets.synthetic.clips import write_synthetic_dataset

    folder = DEMO_DIR / f"seed{config.training.seed}"
    with devices.leader_first():
        if not folder.exists():
            reporter.say(f"Drawing faces and voices of {DEMO_SPEAKERS} synthetic speakers into {folder}.")
            with folder_written_whole(folder) as unfinished:
                write_synthetic_dataset(
                    unfinished,
                    emotions=DEMO_EMOTIONS,
                    n_speakers=DEMO_SPEAKERS,
                    n_repetitions=DEMO_REPETITIONS,
                    seed=config.training.seed,
                    reporter=reporter,
                )
    clips = DATASETS["ravdess"].load(folder)
    reporter.say(summarize(clips))
    reporter.say("Faces and voices are synthetic: the model learns to tell them apart, and nothing about people.")
    source = DataSource(DEMO_NAME, "made by this program", len(clips))
    return train_on_clips(clips, source, config, output, devices=devices, reporter=reporter, **settings)


def train_from_python(
    clips: list[Clip],
    source: DataSource,
    output: Path | None,
    options: Mapping[str, Any],
    *,
    initial: Path | None = None,
    cache_dir: Path = CLIP_CACHE_DIR,
    reporter: Reporter = SILENT,
) -> Path:
    """Trains one model as ``train_model.py`` does, and returns its folder.

    Args:
        clips, source: as for ``train_on_clips``.
        output: the run folder to write; None names it after the network and the time.
        options: by name, those that decide how a model is built or trained.
        initial: the folder of the model to start from; None to start from nothing.

    Raises:
        ConfigError: for an unknown option, an impossible value, or a cross-validation.
        RunError: if the folder is neither new nor empty.
    """
    from emotion.training.options import build_config, fill_options, wants_every_label

    filled = fill_options(options)
    config = build_config(filled)
    if config.training.protocol in CROSS_VALIDATED:
        raise ConfigError(f"protocol={config.training.protocol}: trains several models. Run train_model.py for that.")
    folder = output or saved_models() / f"{config.architecture}-{datetime.now():%Y%m%d-%H%M%S}"
    check_new_folder(folder)
    train_on_clips(
        clips, source, config, folder, initial=initial, every_label=wants_every_label(filled), cache_dir=cache_dir,
        reporter=reporter,
    )  # fmt: skip
    return folder


# ---- Several models ----


def cross_validate_on_clips(
    clips: list[Clip], source: DataSource, config: RunConfig, output: Path, *, resume_command: str,
    initial: Path | None = None, every_label: bool = False, reporter: Reporter = SILENT, **settings,
) -> dict[str, str]:  # fmt: skip
    """Cross-validates, then prints and plots the scores.

    Args:
        clips, source, config, output: as for ``train_on_clips``; ``output`` may hold the same
            cross-validation, unfinished.
        initial, every_label: as for ``train_on_clips``.
        resume_command: the command to go on with after a stop.
        **settings: passed to ``crossvalidation.cross_validate``.

    Returns:
        The clips that could not be used, with the reasons.
    """
    config, started = _start_from(describe_data(config, clips, source, every_label=every_label), initial)
    with quiet_import():
        from emotion.outputs.plots.training import write_fold_scores
        from emotion.training.crossvalidation import cross_validate

    reporter.say(f"If it is stopped, go on with: {resume_command}")
    result = cross_validate(clips, config, output, **started, reporter=reporter, **settings)
    folds = result.report["folds"]
    reporter.say(format_folds(folds))
    reporter.say(format_evaluation(result.report))
    _say_comparison(result.report, None, reporter)
    title = f"{config.architecture} ({' + '.join(result.modalities)}), {result.report['protocol']}"
    write_fold_scores(folds, result.report, output / "folds.png", title)
    reporter.say(f"written: {output}")
    _warn_of_skipped(result.failures, reporter)
    return result.failures


def compare_on_clips(
    clips: list[Clip], source: DataSource, config: RunConfig, output: Path, *, resume_command: str,
    every_label: bool = False, reporter: Reporter = SILENT, **settings,
) -> dict[str, str]:  # fmt: skip
    """Cross-validates under a random and a speaker-independent protocol, and prints the scores side by side.

    Arguments and result are those of ``cross_validate_on_clips``; settings go to ``crossvalidation.compare_protocols``.
    """
    config = describe_data(config, clips, source, every_label=every_label)
    with quiet_import():
        from emotion.training.crossvalidation import compare_protocols

    if all(clip.speaker is None for clip in clips):
        raise DatasetError("No clip names its speaker, so there is no speaker-independent protocol to compare with.")
    reporter.say(f"If it is stopped, go on with: {resume_command}")
    human = human_accuracy(source.name)
    report, failures = compare_protocols(clips, config, output, human_accuracy=human, reporter=reporter, **settings)
    reporter.say(format_protocols(report["rows"]))
    reporter.say(f"written: {output}")
    _warn_of_skipped(failures, reporter)
    return failures


def train_experts(
    clips: list[Clip],
    source: DataSource,
    configs: Mapping[str, RunConfig],
    output: Path,
    *,
    method: str,
    by_class: bool,
    cache_dir: Path,
    every_label: bool = False,
    reporter: Reporter = SILENT,
    **settings,
) -> dict[str, str]:
    """Trains an expert for voices and one for faces on one split, and joins them by late fusion.

    Args:
        clips, source: as for ``train_on_clips``.
        configs: of the experts, by modality.
        output: the run folder to write. The experts lie in its ``audio_expert/`` and ``video_expert/``; finished ones
            are taken as they are, an unfinished one is resumed.
        method, by_class: as for ``late_fusion.fuse_runs``.
        **settings: passed to ``fitting.train``.

    Returns:
        The clips that could not be used, with the reasons.

    Raises:
        RunError: if an expert was begun with other settings.
    """
    settings = {"cache_dir": cache_dir, "reporter": reporter, **settings}
    failures: dict[str, str] = {}
    sides = None
    configs = {
        modality: describe_data(config, clips, source, every_label=every_label) for modality, config in configs.items()
    }
    for modality, config in configs.items():
        folder = output / f"{modality}_expert"
        begun = (folder / CONFIG_FILE).is_file()
        if begun:
            check_same_settings(load_config(folder / CONFIG_FILE), config, folder)
        if (folder / MODEL_FILE).is_file():
            reporter.say(f"{folder} is finished already.")
            continue
        if sides is None:
            # One split for both, drawn from all clips, whichever of them each expert can use.
            with quiet_import():
                from emotion.training.fitting import draw_split
            covered = [clip for clip in clips if class_index(clip.emotion, config.class_names) is not None]
            sides = draw_split(covered, config).sides
        failures |= _train(clips, config, folder, resume=begun, sides=sides, **settings).failures
    with quiet_import():
        from emotion.training.late_fusion import fuse_runs
    experts = [load_run(output / f"{modality}_expert") for modality in configs]
    metrics = fuse_runs(
        *experts, clips, output, method=method, by_class=by_class, cache_dir=cache_dir, reporter=reporter
    )
    skipped = metrics["skipped"]  # ``fuse_runs`` has reported these
    _warn_of_skipped({clip_id: reason for clip_id, reason in failures.items() if clip_id not in skipped}, reporter)
    write_onnx(output, reporter)
    return failures | skipped


def check_same_settings(begun: RunConfig, wanted: RunConfig, folder: Path) -> None:
    """Makes sure that a training is resumed with its own settings.

    Raises:
        RunError: if it was begun with others.
    """
    names = ("architecture", "class_names", "audio", "video", "window", "training", "model")
    differing = [name for name in names if getattr(begun, name) != getattr(wanted, name)]
    if differing:
        raise RunError(
            f"{folder}: was begun with other settings ({', '.join(differing)}). Give the same ones, or name another "
            "--output."
        )


def make_recipe(
    name: str, data_root: Path, output: Path | None, *, with_folds: bool, reporter: Reporter = SILENT
) -> None:
    """Makes a shipped model anew, stage by stage, and prints its scores on validation data.

    Args:
        name: one of ``RECIPE_NAMES``.
        data_root: folder of the data sets.
        output: the run folder to write: new, empty, or this recipe's own; None for the one under ``saved_models/``.
        with_folds: whether to cross-validate the voice branch as well.

    Raises:
        DatasetError: if data is missing.
        RunError: if ``output`` holds another model.
    """
    if not data_root.is_dir():
        raise DatasetError(f"{data_root}: no such folder. Name the folder of the data sets with --data_root.")
    output = output or saved_models() / name
    with quiet_import():
        from emotion.training.recipes.card import format_scores, is_made_by
        from emotion.training.recipes.recipe import make_shipped
        from emotion.training.recipes.settings import RECIPES
    if output.exists() and not is_made_by(output, name) and (output.is_file() or any(output.iterdir())):
        raise RunError(f"{output}: holds something other than this recipe's model. Name a new or empty --output.")
    metrics = make_shipped(RECIPES[name], data_root, output, RECIPE_DIR, with_folds=with_folds, reporter=reporter)
    reporter.say(format_scores(metrics))
    reporter.say(f"model: {output}")


def report_new_corpora(
    name: str, data_root: Path, *, left_out: str | None = None, reporter: Reporter = SILENT
) -> dict[str, Any]:
    """Trains a recipe's voice branch without a corpus, or without each in turn, and prints its scores on them.

    Raises:
        DatasetError: if data is missing, or there is no corpus of that name.
    """
    if not data_root.is_dir():
        raise DatasetError(f"{data_root}: no such folder. Name the folder of the data sets with --data_root.")
    with quiet_import():
        from emotion.training.recipes.new_corpora import format_corpora
        from emotion.training.recipes.recipe import measure_new_corpora
        from emotion.training.recipes.settings import RECIPES
    scores = measure_new_corpora(RECIPES[name], data_root, RECIPE_DIR, left_out=left_out, reporter=reporter)
    reporter.say(f"{scores['protocol']}:\n{format_corpora(scores)}")
    return scores


# ---- Parts ----


def describe_data(config: RunConfig, clips: list[Clip], source: DataSource, *, every_label: bool = False) -> RunConfig:
    """Notes the data set in the settings; of eight default classes it keeps those that a clip shows.

    Args:
        every_label: whether all emotions that clips show become classes, instead.

    Raises:
        ConfigError: if a label cannot name a class.
        DatasetError: if fewer than two classes are left, or no clip shows a class that is no known emotion.
    """
    names = config.class_names
    unseen = [name for name in names if name not in EIGHT_EMOTIONS and all(clip.emotion != name for clip in clips)]
    if unseen and not every_label:
        shown = ", ".join(emotions_in(clip.emotion for clip in clips))
        raise DatasetError(f"No clip shows {' or '.join(unseen)}. Is it misspelt? The clips show: {shown}.")
    if names == EIGHT_EMOTIONS or every_label:
        present = emotions_in(clip.emotion for clip in clips)
        names = tuple(name for name in present if every_label or name in EIGHT_EMOTIONS)
        for name in names:
            check_class_name(name)
        if len(names) < 2:
            shown = ", ".join(names) or "none of " + ", ".join(EIGHT_EMOTIONS)
            way_out = f" {HOW_TO_USE_OTHERS}" if len(present) > 1 else ""
            raise DatasetError(f"The {len(clips)} clips show {shown}; training needs at least two emotions.{way_out}")
    return dataclasses.replace(config, class_names=names, data=(source,))


def _start_from(config: RunConfig, initial: Path | None) -> tuple[RunConfig, dict[str, Any]]:
    """Returns the settings of a training that starts from a model, and that model, loaded."""
    if initial is None:
        return config, {}
    with quiet_import():
        from emotion.training.starting import inherit_settings
    run = load_run(initial)
    return inherit_settings(run, config), {"initial": run}


def _say_comparison(metrics: Mapping[str, Any], output: Path | None, reporter: Reporter) -> None:
    """Says whether a model is better than the one that it was started from, if any."""
    if "initial" in metrics:
        from emotion.training.starting import format_comparison

        reporter.say(format_comparison(metrics["initial"], str(output) if output else None))


def _train(*args, **settings) -> "TrainingResult":
    # Imported late: a wrong folder should be named at once, not after the seconds that TensorFlow takes to load.
    with quiet_import():
        from emotion.training.fitting import train
    return train(*args, **settings)


def _warn_of_skipped(failures: Mapping[str, str], reporter: Reporter) -> None:
    for clip_id, reason in failures.items():
        reporter.warn(f"skipped {clip_id}: {reason}")
