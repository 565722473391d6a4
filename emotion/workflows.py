"""Trainings from a folder of data to a run folder, as ``train_model.py`` offers them."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.config import CACHE_DIR, DataSource, RunConfig
from emotion.console import quiet_import
from emotion.datasets import DATASETS, summarize
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS

if TYPE_CHECKING:
    from emotion.training import TrainingResult

RECIPE_DIR = CACHE_DIR / "recipes"
DEMO_NAME = "synthetic demo"
DEMO_DIR = CACHE_DIR / "demo_dataset"
DEMO_EMOTIONS = ("neutral", "happy", "sad", "angry")
DEMO_SPEAKERS = 8
DEMO_REPETITIONS = 3


def train_on_ravdess(
    dataset_dir: Path, config: RunConfig, output: Path, *, say: Callable[[str], None], **settings
) -> "TrainingResult":
    """Trains on the RAVDESS speech clips below a folder, in any of the layouts that ``datasets.ravdess`` knows.

    Args:
        dataset_dir: the folder.
        config: all settings. Where its classes are RAVDESS's eight, those that the folder lacks are dropped.
        output: the run folder to write.
        say: takes messages meant for the user.
        **settings: passed to ``training.train``.
    """
    ravdess = DATASETS["ravdess"]
    clips = ravdess.load(dataset_dir)
    say(summarize(clips))
    config = _described(config, clips, DataSource("RAVDESS speech", ravdess.LICENCE, len(clips)))
    return _train(clips, config, output, say=say, **settings)


def train_on_demo(
    config: RunConfig,
    output: Path,
    draw_progress: Callable[[int, int], None],
    *,
    say: Callable[[str], None],
    **settings,
) -> "TrainingResult":
    """Draws a small synthetic data set, RAVDESS-shaped, and trains on it.

    Args:
        config: all settings.
        output: the run folder to write.
        draw_progress: called with the clips drawn and their total.
        say: takes messages meant for the user.
        **settings: passed to ``training.train``.
    """
    from emotion.synthetic import write_synthetic_dataset

    folder = DEMO_DIR / f"seed{config.training.seed}"
    if not folder.exists():
        say(f"Drawing faces and voices of {DEMO_SPEAKERS} synthetic speakers into {folder}.")
        unfinished = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_synthetic_dataset(
            unfinished,
            emotions=DEMO_EMOTIONS,
            n_speakers=DEMO_SPEAKERS,
            n_repetitions=DEMO_REPETITIONS,
            seed=config.training.seed,
            progress=draw_progress,
        )
        unfinished.rename(folder)
    clips = DATASETS["ravdess"].load(folder)
    say(summarize(clips))
    say("These faces and voices are drawn: the model learns to tell them apart, and nothing about people.")
    config = _described(config, clips, DataSource(DEMO_NAME, "made by this program", len(clips)))
    return _train(clips, config, output, say=say, **settings)


def make_recipe(name: str, data_root: Path, output: Path, *, verbose: int, say: Callable[[str], None] = print) -> int:
    """Makes a shipped model anew, stage by stage, and prints its scores on validation data.

    Args:
        name: of the recipe and of its work folder below ``.cache/``.
        data_root: folder of the data sets.
        output: the run folder to write.
        verbose: of Keras's progress bars.
        say: takes messages meant for the user.

    Returns:
        The program's exit code.
    """
    if not data_root.is_dir():
        raise DatasetError(f"{data_root}: no such folder. Name the folder of the data sets with --data_root.")
    with quiet_import():
        from emotion.recipes.default import make_default
    metrics = make_default(data_root, output, RECIPE_DIR / name, verbose=verbose, say=say)
    say(f"{metrics['protocol']}:")
    for evidence in ("face", "voice", "pair"):
        scores = metrics[evidence]
        low, high = scores["uar_interval"]
        say(
            f"{evidence:6} UAR {scores['uar']:.1%} (95 % interval {low:.1%} to {high:.1%}), accuracy "
            f"{scores['accuracy']:.1%}, n {scores['n']}"
        )
    say(f"model: {output}")
    return 0


def _described(config: RunConfig, clips: list[Clip], source: DataSource) -> RunConfig:
    """Notes the data in the configuration, and leaves classes out that it has no clip of, unless they were chosen."""
    names = config.class_names
    if names == EIGHT_EMOTIONS:
        present = {clip.emotion for clip in clips}
        names = tuple(name for name in EIGHT_EMOTIONS if name in present)
        if len(names) < 2:
            raise DatasetError(
                f"All {len(clips)} clips show the same emotion, {names[0]}: there is nothing to tell apart."
            )
    return dataclasses.replace(config, class_names=names, data=(source,))


def _train(*args, **settings) -> "TrainingResult":
    # Imported late: a wrong folder should be named at once, not after the seconds that TensorFlow takes to load.
    with quiet_import():
        from emotion.training import train
    return train(*args, **settings)
