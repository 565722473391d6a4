"""What is done with one media file: look at it and at where its outputs go, judge it, write them, say where."""

from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.errors import ConfigError
from emotion.inference.output_plan import STANDARD_OUTPUT, OutputPlan, OutputRequest, check_plan, plan_outputs
from emotion.media.reading import MediaInfo, probe_media
from emotion.outputs.subtitles import format_srt
from emotion.outputs.tables import format_csv, format_json, write_text
from emotion.outputs.video.annotator import Annotator
from emotion.outputs.video.writing import Progress, write_annotated_image, write_annotated_video
from emotion.parallel import Stopwatch
from emotion.results import MediaPrediction
from emotion.settings import InferenceSettings

if TYPE_CHECKING:
    from emotion.inference.predictor import EmotionPredictor

PARTS = ("decode", "detect", "listen", "features", "model", "draw", "encode", "write")


def make_folder(folder: Path) -> None:
    """Makes a folder, and those it lies in.

    Raises:
        ConfigError: if that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}). Name another folder.") from error


def prepare(
    source: Path,
    request: OutputRequest,
    *,
    name: str | None = None,
    ours: Collection[Path] = (),
    clips: Collection[Path] = (),
) -> tuple[MediaInfo, OutputPlan]:
    """Looks at a clip and at the places of what is to be written, which takes no model.

    Args:
        source: the clip.
        request: what is to be written.
        name: what default names begin with, by default the clip's.
        ours: files that may be replaced in any case.
        clips: resolved paths of all files that are judged, which must never be replaced.

    Raises:
        MediaError: if the clip cannot be read.
        ConfigError: if something cannot be written, or is there already.
    """
    info = probe_media(source)
    plan = plan_outputs(source, request, has_video=info.has_video, is_still=info.is_still, name=name)
    check_plan(plan, source, overwrite=request.overwrite, ours=ours, clips=clips)
    return info, plan


def describe_run(predictor: "EmotionPredictor", model: Path) -> dict[str, Any]:
    """What a table keeps of how a result came about: the model, its hash, and the settings in force."""
    settings: InferenceSettings = predictor.settings
    in_force = {
        "window_seconds": predictor.window_seconds,
        "step_seconds": predictor.step_seconds,
        "unsure_below": predictor.unsure_below,
    }
    return {
        "model": str(model),
        "model_sha256": predictor.run.sha256,
        "runtime": predictor.run.runtime,
        **asdict(settings),
        **in_force,
    }


def process_file(
    predictor: "EmotionPredictor",
    source: Path,
    info: MediaInfo,
    plan: OutputPlan,
    *,
    settings: dict[str, Any],
    drawing: dict[str, Any],
    progress: Callable[[str], Progress] | None = None,
    stopwatch: Stopwatch | None = None,
) -> MediaPrediction:
    """Judges one clip and writes what was planned.

    Args:
        predictor: the model.
        source: the clip.
        info: what it holds.
        plan: where everything goes.
        settings: kept in the JSON.
        drawing: what ``Annotator`` takes besides the result.
        progress: called with what is about to be done, "Watching" or "Drawing"; what it returns is told the seconds
            done and their total. An error that it raises stops the work.
        stopwatch: told how long each part takes.

    Raises:
        MediaError: if the clip cannot be decoded.
        EmotionError: if something cannot be written.
    """
    stopwatch = stopwatch or Stopwatch()
    begin = progress if progress and not info.is_still else lambda what: None
    prediction = predictor.predict(source, info=info, progress=begin("Watching"), stopwatch=stopwatch)
    # The picture may turn out to be undecodable, though its header is whole.
    if plan.picture is not None and prediction.has_video:
        annotator = Annotator(prediction, **drawing)
        if info.is_still:
            write_annotated_image(prediction, plan.picture, annotator=annotator)
        else:
            write_annotated_video(
                prediction, plan.picture, annotator=annotator, progress=begin("Drawing"), stopwatch=stopwatch
            )
    # Last, so that a stop while the video is drawn leaves nothing that would be in the way of another try.
    with stopwatch("write"):
        write_tables(prediction, plan, {**settings, "window_seconds": prediction.window_seconds})
    return prediction


def write_tables(prediction: MediaPrediction, plan: OutputPlan, settings: dict[str, Any]) -> None:
    """Writes, or prints, everything that was planned but the picture.

    Args:
        prediction: what was found.
        plan: where everything goes.
        settings: kept in the tables.

    Raises:
        EmotionError: if something cannot be written.
    """
    makers = (
        (plan.json, lambda: format_json(prediction, settings)),
        (plan.csv, lambda: format_csv(prediction, settings)),
        (plan.srt, lambda: format_srt(prediction)),
    )
    for path, make in makers:
        if path == STANDARD_OUTPUT:
            print(make(), end="", flush=True)
        elif path is not None:
            write_text(make(), path)
    if plan.plot is not None:
        from emotion.outputs.plots.timeline import write_timeline  # matplotlib takes half a second

        write_timeline(prediction, plan.plot)


def format_timings(stopwatch: Stopwatch, duration_seconds: float, total_seconds: float, loading_seconds: float) -> str:
    """Returns a line on where the time went, part by part."""
    parts = [(name, stopwatch.seconds[name]) for name in PARTS if name in stopwatch.seconds]
    words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts)
    speed = f", {duration_seconds / total_seconds:.1f} times as fast as it plays" if duration_seconds else ""
    words = f"{words}; parts overlap" if sum(seconds for _, seconds in parts) > total_seconds else words
    return f"time: {total_seconds:.1f} s{speed} ({words}), after {loading_seconds:.1f} s of loading"


def list_written(plan: OutputPlan) -> list[str]:
    """Returns a line for each planned file that is there now."""
    return [f"{what}: {path}" for what, path in plan.files().items() if path.exists()]
