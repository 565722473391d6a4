"""Trainings from a folder of data to a run folder, as ``train_model.py`` offers them."""

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.config import DataSource, RunConfig
from emotion.config_files import load_config
from emotion.console import SILENT, Reporter, quiet_import
from emotion.datasets import DATASETS, summarize
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError, RunError
from emotion.labels import EIGHT_EMOTIONS, class_index
from emotion.places import CACHE_DIR, saved_models

if TYPE_CHECKING:
    from emotion.training.fitting import TrainingResult

RECIPE_DIR = CACHE_DIR / "recipes"
DEMO_NAME = "synthetic demo"
DEMO_DIR = CACHE_DIR / "demo_dataset"
DEMO_EMOTIONS = ("neutral", "happy", "sad", "angry")
DEMO_SPEAKERS = 8
DEMO_REPETITIONS = 3


def train_on_clips(
    clips: list[Clip], source: DataSource, config: RunConfig, output: Path, **settings
) -> "TrainingResult":
    """Trains one model on clips.

    Args:
        clips: labelled recordings.
        source: what to call them.
        config: all settings. Where its classes are all eight emotions, those that no clip shows are dropped.
        output: the run folder to write.
        **settings: passed to ``training.train``.
    """
    return _train(clips, describe_data(config, clips, source), output, **settings)


def train_experts(
    clips: list[Clip],
    source: DataSource,
    configs: dict[str, RunConfig],
    output: Path,
    *,
    method: str,
    by_class: bool,
    reporter: Reporter = SILENT,
    **settings,
) -> int:
    """Trains an expert for voices and one for faces apart, and joins them late.

    Args:
        clips: labelled recordings.
        source: what to call them.
        configs: of the experts, by modality.
        output: the run folder to write; the experts lie in it, in ``audio_expert/`` and ``video_expert/``. Those that
            are finished are taken as they are.
        method, by_class: as in ``joining.fuse_runs``.
        **settings: passed to ``training.train``.

    Returns:
        How many clips could not be read.
    """
    from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE, load_run
    from emotion.training.late_fusion import fuse_runs

    configs = {modality: describe_data(config, clips, source) for modality, config in configs.items()}
    failures: dict[str, str] = {}
    sides = None
    for modality, config in configs.items():
        folder = output / f"{modality}_expert"
        begun = (folder / CONFIG_FILE).is_file()
        if begun:
            check_same_settings(load_config(folder / CONFIG_FILE), config, folder)
        if (folder / MODEL_FILE).is_file():
            reporter.say(f"{folder} is finished already.")
            continue
        if sides is None:
            # One split for both, drawn from all clips, whatever of them each expert can use.
            with quiet_import():
                from emotion.training.fitting import draw_split
            covered = [clip for clip in clips if class_index(clip.emotion, config.class_names) is not None]
            sides = draw_split(covered, config).sides
        result = _train(clips, config, folder, reporter=reporter, resume=begun, sides=sides, **settings)
        failures |= result.failures
    experts = [load_run(output / f"{modality}_expert") for modality in configs]
    fuse_runs(
        *experts, clips, output, method=method, by_class=by_class, cache_dir=settings["cache_dir"],
        reporter=reporter,
    )  # fmt: skip
    for clip_id, reason in failures.items():
        reporter.say(f"left out {clip_id}: {reason}")
    return len(failures)


def check_same_settings(begun: RunConfig, wanted: RunConfig, folder: Path) -> None:
    """Makes sure that a training goes on as it was begun.

    Raises:
        RunError: if it was begun with other settings.
    """
    names = ("architecture", "class_names", "audio", "video", "window", "training", "model")
    differing = [name for name in names if getattr(begun, name) != getattr(wanted, name)]
    if differing:
        raise RunError(
            f"{folder}: was begun with other settings ({', '.join(differing)}). Give the same ones, or name another "
            "--output."
        )


def train_on_demo(
    config: RunConfig,
    output: Path,
    *,
    reporter: Reporter = SILENT,
    **settings,
) -> "TrainingResult":
    """Draws a small synthetic data set, RAVDESS-shaped, and trains on it.

    Args:
        config: all settings.
        output: the run folder to write.
        **settings: passed to ``training.train``.
    """
    from emotion.datasets.synthetic.clips import write_synthetic_dataset

    folder = DEMO_DIR / f"seed{config.training.seed}"
    if not folder.exists():
        reporter.say(f"Drawing faces and voices of {DEMO_SPEAKERS} synthetic speakers into {folder}.")
        unfinished = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_synthetic_dataset(
            unfinished,
            emotions=DEMO_EMOTIONS,
            n_speakers=DEMO_SPEAKERS,
            n_repetitions=DEMO_REPETITIONS,
            seed=config.training.seed,
            reporter=reporter,
        )
        unfinished.rename(folder)
    clips = DATASETS["ravdess"].load(folder)
    reporter.say(summarize(clips))
    reporter.say("These faces and voices are drawn: the model learns to tell them apart, and nothing about people.")
    config = describe_data(config, clips, DataSource(DEMO_NAME, "made by this program", len(clips)))
    return _train(clips, config, output, reporter=reporter, **settings)


def make_recipe(
    name: str,
    data_root: Path,
    output: Path | None,
    *,
    with_folds: bool,
    reporter: Reporter = SILENT,
) -> int:
    """Makes a shipped model anew, stage by stage, and prints its scores on validation data.

    Args:
        name: of the recipe, one of ``RECIPE_NAMES``.
        data_root: folder of the data sets.
        output: the run folder to write: new, empty, or this recipe's own; None for that under ``saved_models/``.
        with_folds: whether to cross-validate the voice branch, too.

    Returns:
        The program's exit code.
    """
    if not data_root.is_dir():
        raise DatasetError(f"{data_root}: no such folder. Name the folder of the data sets with --data_root.")
    output = output or saved_models() / name
    with quiet_import():
        from emotion.training.recipes.card import is_made_by
        from emotion.training.recipes.recipe import make_shipped
        from emotion.training.recipes.settings import RECIPES
        from emotion.training.recipes.table import format_table
    if output.exists() and not is_made_by(output, name) and (output.is_file() or any(output.iterdir())):
        raise RunError(f"{output}: holds something else than this recipe's model. Name a new or empty --output.")
    metrics = make_shipped(RECIPES[name], data_root, output, RECIPE_DIR, with_folds=with_folds, reporter=reporter)
    reporter.say(format_table(metrics))
    reporter.say(f"model: {output}")
    return 0


def describe_data(config: RunConfig, clips: list[Clip], source: DataSource) -> RunConfig:
    """Notes the data in the configuration, and leaves classes out that it has no clip of, unless they were chosen.

    Raises:
        DatasetError: if less than two classes are left.
    """
    names = config.class_names
    if names == EIGHT_EMOTIONS:
        present = {clip.emotion for clip in clips}
        names = tuple(name for name in EIGHT_EMOTIONS if name in present)
        if len(names) < 2:
            shown = ", ".join(names) or "none of " + ", ".join(EIGHT_EMOTIONS)
            raise DatasetError(f"The {len(clips)} clips show {shown}: two emotions are needed to tell apart.")
    return dataclasses.replace(config, class_names=names, data=(source,))


def _train(*args, **settings) -> "TrainingResult":
    # Imported late: a wrong folder should be named at once, not after the seconds that TensorFlow takes to load.
    with quiet_import():
        from emotion.training.fitting import train
    return train(*args, **settings)
