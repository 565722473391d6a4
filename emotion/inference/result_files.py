"""Analyses one clip and writes its video or picture, its tables and its plot as planned."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.console import SILENT, Progress, Reporter
from emotion.files import write_whole, written_whole
from emotion.inference.output_plan import STANDARD_OUTPUT, OutputPlan
from emotion.inputs.faces.hiding import find_faces_to_hide
from emotion.media.reading import MediaInfo
from emotion.media.writing import LARGE_PIXELS
from emotion.outputs.formats import TABLES
from emotion.outputs.tables import format_csv_metadata
from emotion.outputs.video.annotator import Annotator
from emotion.outputs.video.writing import pictures_of, write_annotated_image, write_annotated_video
from emotion.parallel import Stopwatch
from emotion.results import MediaPrediction

if TYPE_CHECKING:
    from emotion.inference.analysed_clip import AnalysedClip
    from emotion.inference.person_baseline import PersonBaseline
    from emotion.inference.predictor import EmotionPredictor


def process_file(
    predictor: "EmotionPredictor",
    clip: Path,
    info: MediaInfo,
    plan: OutputPlan,
    *,
    settings: dict[str, Any],
    drawing: dict[str, Any],
    stopwatch: Stopwatch | None = None,
    reporter: Reporter = SILENT,
    analysed: "AnalysedClip | None" = None,
    person: "PersonBaseline | None" = None,
    called: str | None = None,
) -> MediaPrediction:
    """Analyses one clip and writes what was planned.

    Args:
        settings: kept in the tables; from ``describe_run``.
        drawing: what ``Annotator`` takes besides the result.
        reporter: draws bars: "Watching", "Listening", "Blurring", "Drawing". An error that a bar raises stops the work.
        called: what results call the clip, if not by its path.
        analysed, person: the clip, if it was analysed before, and what is usual for its person, if that is known.

    Raises:
        MediaError: if the clip cannot be decoded.
        EmotionError: if something cannot be written.
    """
    stopwatch = stopwatch or Stopwatch()
    reporter = SILENT if info.is_still else reporter
    if info.has_video and info.width * info.height > LARGE_PIXELS:
        reporter.say(
            f"{called or clip}: its pictures of {info.width} x {info.height} pixels take long. A smaller copy is "
            "faster: ffmpeg -i FILE -vf scale=1920:-2 smaller.mp4"
        )
    if analysed is None:
        analysed = predictor.analyse(clip, info=info, progress=reporter.bar("Watching", "s"), stopwatch=stopwatch)
    if predictor.settings.transcribe is not None:
        analysed = predictor.transcribe(analysed, progress=reporter.bar("Listening", "s"), stopwatch=stopwatch)
    prediction = predictor.conclude(analysed, person)
    # The picture may turn out to be undecodable though its header is whole.
    if plan.picture is not None and prediction.has_video:
        hidden = None
        if drawing.get("blur_faces"):
            progress = _seconds_of(reporter.bar("Blurring", "s"), prediction)
            with stopwatch("blur"):
                found = find_faces_to_hide(pictures_of(prediction), progress=progress)
            prediction = dataclasses.replace(prediction, notes=(*prediction.notes, found.note))
            hidden = found.boxes
        annotator = Annotator(prediction, hidden=hidden, **drawing)
        if info.is_still:
            write_annotated_image(prediction, plan.picture, annotator=annotator)
        else:
            write_annotated_video(
                prediction, plan.picture, annotator=annotator, progress=reporter.bar("Drawing", "s"),
                stopwatch=stopwatch,
            )  # fmt: skip
    if called is not None:
        prediction = dataclasses.replace(prediction, path=called)
    # Last: if you stop while the video is drawn, no table stands in the way of the next try.
    with stopwatch("write"):
        told = {**settings, "window_seconds": prediction.window_seconds}
        write_tables(prediction, plan, told, are_in_place=called is None)
    return prediction


def _seconds_of(bar: Progress, prediction: MediaPrediction) -> Callable[[float], None]:
    start, _ = prediction.part or (0.0, None)
    return lambda seconds: bar(seconds - start, prediction.duration_seconds)


def write_tables(
    prediction: MediaPrediction, plan: OutputPlan, settings: dict[str, Any], *, are_in_place: bool = True
) -> None:
    """Writes, or prints, everything that was planned except the picture.

    Args:
        are_in_place: whether the files stay where they are written, so that they can link the clip from there.

    Raises:
        EmotionError: if something cannot be written.
    """
    if plan.csv_metadata is not None:
        write_whole(plan.csv_metadata, format_csv_metadata(prediction, plan.tables["csv"].name, settings))
    for kind, path in plan.tables.items():
        if path == STANDARD_OUTPUT:
            print(TABLES[kind].make(prediction, settings, None), end="", flush=True)
            continue
        content = TABLES[kind].make(prediction, settings, path if are_in_place else None)
        if isinstance(content, str):
            write_whole(path, content)
            continue
        with written_whole(path) as partial:
            partial.write_bytes(content)
    if plan.plot is not None:
        from emotion.outputs.plots.timeline import write_timeline  # matplotlib takes half a second

        write_timeline(prediction, plan.plot)


def describe_run(predictor: "EmotionPredictor", model: Path) -> dict[str, Any]:
    """Returns how a result is made, as tables keep it: the model, its hash, and the settings in force."""
    return {
        "model": str(model),
        "model_sha256": predictor.run.sha256,
        "runtime": predictor.run.runtime,
        **dataclasses.asdict(predictor.settings),
        "window_seconds": predictor.window_seconds,
        "step_seconds": predictor.step_seconds,
        "unsure_below": predictor.unsure_below,
        "references": [{"name": person.name, "clips": person.clips} for person in predictor.people],
    }
