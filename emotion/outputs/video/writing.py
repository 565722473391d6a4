"""Writes the annotated video, with the source's timing and sound, or the annotated image."""

import itertools
import math
import os
from collections.abc import Iterable, Iterator

import numpy as np

from emotion.config import AudioConfig
from emotion.console import Progress
from emotion.errors import EmotionError, MediaError
from emotion.files import written_whole
from emotion.media.opening import SharedSource
from emotion.media.pictures import RgbPicture, VideoFrame, YuvPicture
from emotion.media.reading import iterate_media
from emotion.media.streams import Damage
from emotion.media.tracks import TrackChoice
from emotion.media.writing import VideoWriter
from emotion.outputs.video.annotator import Annotator
from emotion.parallel import Stages, Stopwatch
from emotion.results import MediaPrediction

SOUND_LAG_SECONDS = 3.0  # a file may hold sound that much later than the pictures it goes with
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def write_annotated_video(
    prediction: MediaPrediction,
    output: str | os.PathLike,
    *,
    annotator: Annotator | None = None,
    progress: Progress | None = None,
    stopwatch: Stopwatch | None = None,
) -> None:
    """Draws a prediction onto the video it was made from.

    Args:
        prediction: the result; the media file at its ``path`` is read again. Of a part the video begins at 0.
        output: the MP4 file to write, H.264 and AAC, which browsers play.
        annotator: by default one with the default settings.
        progress: called with the seconds done and their total.
        stopwatch: measures decoding, drawing and encoding.

    Raises:
        MediaError: if the source has no frames, or the output cannot be written.
    """
    annotator = annotator or Annotator(prediction)
    stopwatch = stopwatch or Stopwatch()

    def draw(frames: Iterable[VideoFrame]) -> Iterator[tuple[float, RgbPicture | YuvPicture]]:
        for frame in frames:
            with stopwatch("draw"):
                canvas = frame.canvas()
                annotator.draw(canvas, frame.time_seconds)
            yield frame.time_seconds, canvas

    said_seconds = 0.0
    with SharedSource(prediction.path, judged_tracks(prediction), prediction.part) as source, Stages() as stages:
        frames = stopwatch.watch("decode", pictures_of(prediction, source))
        pictures = stages.ahead(draw(stages.ahead(frames)))
        first = next(pictures, None)
        if first is None:
            raise MediaError(f"{prediction.path}: has no picture to draw on.")
        height, width = first[1].shape[:2]
        # A frame decoded in a colour space that can be written keeps it.
        space = first[1].space if isinstance(first[1], YuvPicture) else None
        with VideoWriter(output, width=width, height=height, source=source, space=space) as writer:
            for time_seconds, drawn in itertools.chain([first], pictures):
                with stopwatch("encode"):
                    writer.write(
                        time_seconds - source.start_seconds, drawn if isinstance(drawn, YuvPicture) else drawn.image
                    )
                if progress and time_seconds - said_seconds > 0.5:
                    said_seconds = time_seconds
                    progress(time_seconds - source.start_seconds, prediction.duration_seconds)
    if progress:
        progress(prediction.duration_seconds, prediction.duration_seconds)


def write_annotated_image(
    prediction: MediaPrediction, output: str | os.PathLike, *, annotator: Annotator | None = None
) -> None:
    """Draws a prediction onto the image it was made from, and writes a file with one of ``IMAGE_SUFFIXES``.

    Raises:
        MediaError: if the source has no frame.
        EmotionError: if the output cannot be written.
    """
    frame = next(pictures_of(prediction), None)
    if frame is None:
        raise MediaError(f"{prediction.path}: has no picture to draw on.")
    annotator = annotator or Annotator(prediction)
    write_image(annotator.annotate(frame.image, frame.time_seconds), output)


def write_image(image: np.ndarray, output: str | os.PathLike) -> None:
    """Writes an RGB picture ``(height, width, 3)`` uint8, whole or not at all.

    Raises:
        EmotionError: if it cannot be written.
    """
    from PIL import Image

    try:
        with written_whole(output) as partial:
            Image.fromarray(image).save(partial, quality=92)
    except ValueError as error:  # an ending that Pillow does not know
        raise EmotionError(f"{output}: cannot be written ({error}). Choose another name.") from error


def pictures_of(prediction: MediaPrediction, source: SharedSource | None = None) -> Iterator[VideoFrame]:
    """Yields the pictures that a prediction was made from; ``source`` gets the sound. Raises as ``iterate_media``."""
    # Damage was reported when the prediction was made.
    silent = Damage(prediction.path, is_silent=True)
    start, end = prediction.part or (0.0, math.inf)
    for frame in iterate_media(
        prediction.path, sample_rate=AudioConfig().sample_rate, with_audio=False, start_seconds=start,
        choice=judged_tracks(prediction), damage=silent, shared=source,
    ):  # fmt: skip
        if frame.time_seconds >= end + SOUND_LAG_SECONDS:
            break
        if start <= frame.time_seconds < end:
            yield frame
    if source is not None and prediction.part is not None:
        last = math.inf if source.video_end_seconds is None else source.video_end_seconds
        source.video_end_seconds = min(end, last) - start


def judged_tracks(prediction: MediaPrediction) -> TrackChoice:
    """Returns the tracks that were judged."""
    return TrackChoice(prediction.video_track, prediction.audio_track)
