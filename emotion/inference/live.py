"""Judging a camera's pictures while they are taken: shown in the browser, recorded, or both."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.inference.live_page import LivePage
from emotion.inference.predictor import EmotionPredictor
from emotion.inputs.frame_sampler import FrameSampler
from emotion.inputs.window_cutter import MediaScanner
from emotion.media.pictures import VideoFrame
from emotion.media.writing import VideoWriter
from emotion.outputs.video.annotator import Annotator
from emotion.results import EmotionSummary, MediaPrediction, WindowPrediction

MEMORY_SECONDS = 10.0  # of what was found, for what is drawn
RECENT_SECONDS = 2.0


@dataclass
class _Recording:
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
    scanner = MediaScanner(
        predictor.config, predictor.settings, has_audio=False, detector=predictor.detector,
        first_start_seconds=min(0.0, step - window),
    )  # fmt: skip
    ids = _Ids()
    found: list[WindowPrediction] = []
    recording = _Recording(output)

    with contextlib.ExitStack() as stack:

        def shown(pictures: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
            annotator = None
            for picture in pictures:
                yield picture
                # By now the scanner has looked at it, so its boxes are where the faces are.
                now = _present(predictor, scanner, ids, name, found, picture.time_seconds)
                if annotator is None:
                    annotator = Annotator(now, **drawing)
                annotator.show(now)
                drawn = annotator.annotate(picture.image, picture.time_seconds)
                recording.write(picture.time_seconds, drawn, stack)
                if page is not None:
                    page.show(drawn)

        with contextlib.suppress(KeyboardInterrupt):
            for answer in predictor.judge(scanner.scan(shown(frames)), batch_windows=1):
                found.append(answer)
    return predictor.conclude(name, scanner, found, ids=ids.known(scanner.sampler), expects_sound=False)


class _Ids:
    """Numbers faces in the order in which they prove to be real, and never anew."""

    def __init__(self):
        self._ids: dict[int, int] = {}

    def of(self, number: int) -> int:
        return self._ids.setdefault(number, len(self._ids) + 1)

    def known(self, sampler: FrameSampler) -> dict[int, int]:
        """The ids of all faces that proved to be real, by the number they go by in the end."""
        return {number: self.of(number) for number in sampler.tracks()}


def _present(
    predictor: EmotionPredictor,
    scanner: MediaScanner,
    ids: _Ids,
    name: str,
    found: list[WindowPrediction],
    time_seconds: float,
) -> MediaPrediction:
    """What is known at a moment of the faces that are in sight."""
    sampler = scanner.sampler
    since = time_seconds - RECENT_SECONDS
    tracks = sampler.tracks(since)
    chosen = sorted(tracks, key=lambda number: -sampler.face_area(number))[: predictor.settings.max_faces]
    passed_over = [track for number, track in tracks.items() if number not in chosen]
    tracks = {number: track for number, track in tracks.items() if number in chosen}
    # Windows are in order of time, so all that matter are the last ones.
    recent = itertools.takewhile(lambda w: w.end_seconds >= time_seconds - MEMORY_SECONDS, reversed(found))
    windows = [
        dataclasses.replace(window, face_id=ids.of(sampler.resolve(window.face_id)) if window.face_id else None)
        for window in recent
        if window.face_id is None or sampler.resolve(window.face_id) in tracks
    ]
    return MediaPrediction(
        path=name,
        class_names=predictor.config.class_names,
        duration_seconds=time_seconds,
        has_video=True,
        has_audio=False,
        tracks=tuple(dataclasses.replace(track, face_id=ids.of(number)) for number, track in tracks.items()),
        windows=tuple(windows),
        overall=EmotionSummary.of(None, predictor.config.class_names, evidence="none"),
        by_face={},
        unsure_below=predictor.unsure_below,
        passed_over=(*passed_over, *sampler.faces_passed_over(since)),
    )
