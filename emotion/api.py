"""What ``import emotion`` offers beside the predictor: each function does what a command does."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.console import SILENT, Reporter
from emotion.errors import ConfigError, EmotionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from emotion.datasets.clips import Clip
    from emotion.inference.predictor import EmotionPredictor
    from emotion.outputs.prediction import Prediction

Data = str | os.PathLike[str] | Sequence["Clip"]


def annotate(
    clip: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    model: "str | os.PathLike[str] | EmotionPredictor | None" = None,
    overwrite: bool = False,
    **drawing: Any,
) -> "Prediction":
    """Judges a clip and writes it with every face boxed and labelled, its sound kept; returns what was found.

    Args:
        output: the video (.mp4), or the image for a still; by default the clip's name with ``_emotion`` behind it, in
            the folder you work in.
        model: a folder, a name such as ``accurate``, or a predictor; by default the model that comes with the program.
        overwrite: whether a file of that name may be replaced.
        drawing: see ``emotion.outputs.video.annotator.Annotator``, such as ``notice=True``.

    Raises:
        MediaError: if the clip cannot be read, or has no picture.
        ConfigError: if the file exists, or cannot be written.
    """
    from emotion.inference.output_plan import OutputRequest, check_plan, plan_outputs
    from emotion.media.reading import probe_media

    info = probe_media(clip)
    wanted = OutputRequest(output=None if output is None else Path(output), plot=False, overwrite=overwrite)
    plan = plan_outputs(Path(clip), wanted, has_video=info.has_video, is_still=info.is_still)
    if plan.picture is None:
        raise ConfigError(f"{os.fspath(clip)}: has no picture to draw on. EmotionPredictor().predict judges its sound.")
    check_plan(plan, Path(clip), overwrite=overwrite)
    prediction = _predictor(model).predict(clip, info=info)
    prediction.annotate(plan.picture, **drawing)
    return prediction


def plot(
    clip: "str | os.PathLike[str] | Prediction",
    output: str | os.PathLike[str] | None = None,
    *,
    model: "str | os.PathLike[str] | EmotionPredictor | None" = None,
) -> "Figure":
    """Returns the plot of a clip's emotions over time as a matplotlib figure.

    Args:
        clip: a path, or what a predictor found.
        output: a file to write, too: .png, .svg or .pdf.
        model: as for ``annotate``.

    Raises:
        MediaError: if the clip cannot be read.
        EmotionError: if the file cannot be written.
    """
    from emotion.outputs.prediction import Prediction

    prediction = clip if isinstance(clip, Prediction) else _predictor(model).predict(clip)
    return prediction.plot(output)


def train_model(
    data: Data,
    output: str | os.PathLike[str] | None = None,
    *,
    init: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    **options: Any,
) -> Path:
    """Trains a model as ``train_model.py`` does, and returns its folder, which ``EmotionPredictor`` takes.

    Example:
        folder = train_model("clips.csv", init="accurate", labels="auto")
        folder = train_model("dataset/cremad", epochs=30, modality="audio")

    Args:
        data: a data set's folder, a manifest, or clips from ``load_dataset``.
        output: the folder to write, new or empty; by default ``saved_models/MODEL-DATE-TIME``.
        init: the model to start from, a folder or a name such as ``accurate``; by default none.
        quiet: whether to say nothing on the way.
        options: those of ``train_model.py`` that say what to train and how, by name.

    Raises:
        ConfigError: for an unknown option or an impossible value.
        DatasetError: if there is too little to train on.
    """
    from emotion.models.names import resolve_model
    from emotion.training.workflows import train_from_python

    clips, source = _load(data)
    return train_from_python(
        clips, source, None if output is None else Path(output), options,
        initial=None if init is None else resolve_model(init), reporter=SILENT if quiet else Reporter(),
    )  # fmt: skip


def evaluate_model(
    model: str | os.PathLike[str], data: Data, *, modality: str = "both", adapt: str | None = None, quiet: bool = True
) -> dict[str, Any]:
    """Scores a model on labelled clips as ``python -m emotion.evaluate`` does; returns the report as JSON types.

    Args:
        model: a folder, or a name such as ``accurate``.
        data: a data set's folder, a manifest, or clips from ``load_dataset``.
        modality: ``audio``, ``video`` or ``both``.
        adapt: how speakers are compared with themselves: ``clips`` (the mean of their clips) or ``reference``; by
            default not at all.
        quiet: whether to say nothing on the way.

    Raises:
        RunError: if there is no such model.
        DatasetError: if no clip is left to score.
    """
    from emotion.evaluation.model_report import assess
    from emotion.models.names import resolve_model
    from emotion.models.run_folder import load_run

    clips, source = _load(data)
    run = load_run(resolve_model(model), runtime="auto")
    found = assess(run, clips, modality=modality, adapt=adapt, reporter=SILENT if quiet else Reporter())
    return {**found.report, "data": source.name}


def _predictor(model: "str | os.PathLike[str] | EmotionPredictor | None") -> "EmotionPredictor":
    from emotion.inference.predictor import EmotionPredictor

    return model if isinstance(model, EmotionPredictor) else EmotionPredictor(model)


def _load(data: Data) -> "tuple[list[Clip], Any]":
    from emotion.config import DataSource
    from emotion.datasets.loading import load_clips

    if isinstance(data, str | os.PathLike):
        path = Path(data)
        is_table = path.is_file()
        return load_clips(None, None if is_table else path, path if is_table else None)
    clips = list(data)
    if not clips:
        raise EmotionError("There are no clips: load_dataset returned none, or you left all out.")
    return clips, DataSource(f"{len(clips)} clips", "unknown", len(clips))
