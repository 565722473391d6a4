"""Judging a camera's pictures while they are taken: shown in the browser, recorded, or both."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.inference.clip_result import JudgedWindow
from emotion.inference.live_page import LivePage
from emotion.inference.predictor import EmotionPredictor
from emotion.inputs.window_cutter import WindowCutter
from emotion.media.pictures import VideoFrame
from emotion.media.writing import VideoWriter
from emotion.outputs.video.annotator import Annotator
from emotion.results import MediaPrediction


@dataclass
class _VideoFile:
    """A video begun with the first picture, whose size is not known before."""

    path: Path | None
    writer: VideoWriter | None = None

    def write(self, time_seconds: float, image, stack: contextlib.ExitStack) -> None:
        if self.path is None:
            return
        if self.writer is None:
            height, width = image.shape[:2]
            self.writer = stack.enter_context(VideoWriter(self.path, width=width, height=height))
        self.writer.write(time_seconds, image)


def run_live(
    predictor: EmotionPredictor,
    frames: Iterable[VideoFrame],
    *,
    name: str,
    page: LivePage | None = None,
    output: Path | None = None,
    drawing: dict[str, Any] | None = None,
) -> MediaPrediction:
    """Judges pictures as they come and shows each with what is known by then.

    Ctrl-C ends it as the end of the pictures does: the recording is complete and playable.

    Args:
        predictor: the model.
        frames: the camera's pictures.
        name: of the camera, for the result.
        page: where they are shown, if anywhere.
        output: the MP4 file they are recorded to, if any.
        drawing: what ``Annotator`` takes besides the result.

    Returns:
        What was found over all of the time.
    """
    drawing = {"timeline": False, **(drawing or {})}
    step = predictor.step_seconds
    window = min(predictor.window_seconds, predictor.config.window.window_seconds)
    cutter = WindowCutter(
        predictor.config, predictor.settings, has_audio=False, detector=predictor.detector,
        first_start_seconds=min(0.0, step - window),
    )  # fmt: skip
    result = predictor.build_result(name, cutter)
    judged: list[JudgedWindow] = []
    recording = _VideoFile(output)

    with contextlib.ExitStack() as stack:

        def shown(pictures: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
            annotator = None
            for picture in pictures:
                yield picture
                # By now the cutter has looked at it, so its boxes are where the faces are.
                now = result.at_moment(judged, picture.time_seconds)
                if annotator is None:
                    annotator = Annotator(now, **drawing)
                annotator.show(now)
                drawn = annotator.annotate(picture.image, picture.time_seconds)
                recording.write(picture.time_seconds, drawn, stack)
                if page is not None:
                    page.show(drawn)

        with contextlib.suppress(KeyboardInterrupt):
            for answer in predictor.judge(cutter.cut(shown(frames)), batch_windows=1):
                judged.append(answer)
    return result.of_clip(judged, expects_sound=False)
