"""The annotated video: the source's pictures with their faces labelled, its timing, and its sound."""

import os
from collections.abc import Callable

from emotion.config import AudioConfig
from emotion.errors import MediaError
from emotion.media.reading import VideoFrame, iterate_media
from emotion.media.writing import VideoWriter
from emotion.outputs.annotation import Annotator
from emotion.results import MediaPrediction

Progress = Callable[[float, float | None], None]


def write_annotated_video(
    prediction: MediaPrediction, output: str | os.PathLike, *, progress: Progress | None = None
) -> None:
    """Draws a prediction onto the video it was made from.

    Args:
        prediction: what was found; its ``path`` is read once more.
        output: the file to write: H.264 and AAC in MP4, which browsers play.
        progress: called with the seconds done and their total.

    Raises:
        MediaError: if the source has no pictures, or the output cannot be written.
    """
    annotator = Annotator(prediction)
    # No sound is decoded here: the writer copies it from the source. The rate is that of nothing.
    frames = iterate_media(prediction.path, sample_rate=AudioConfig().sample_rate, with_audio=False)
    first = next(frames, None)
    if not isinstance(first, VideoFrame):
        raise MediaError(f"{prediction.path}: has no picture to draw on.")
    height, width = first.image.shape[:2]
    said_seconds = 0.0
    with VideoWriter(output, width=width, height=height, source_path=prediction.path) as writer:
        writer.write(first.time_seconds, annotator.annotate(first.image, first.time_seconds))
        for frame in frames:
            writer.write(frame.time_seconds, annotator.annotate(frame.image, frame.time_seconds))
            if progress and frame.time_seconds - said_seconds > 0.5:
                said_seconds = frame.time_seconds
                progress(frame.time_seconds, prediction.duration_seconds)
    if progress:
        progress(prediction.duration_seconds, prediction.duration_seconds)
