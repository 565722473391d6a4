"""What a user chooses at inference; everything else is fixed by training."""

import math
from dataclasses import dataclass, replace
from typing import Any

from emotion.config import MAX_WINDOW_SECONDS, MIN_STEP_SECONDS, RunConfig
from emotion.errors import ConfigError

FACE_DETECTORS = ("yunet", "retinaface", "haar", "none")
MIN_WINDOW_SECONDS = 0.2
MAX_TRACKS = 1000


@dataclass(frozen=True)
class InferenceSettings:
    """What a user chooses at inference. None means the model's own value.

    Attributes:
        window_seconds: window length of each answer. Below the model's own, the model gets only that much; above, the
            answers of the model's windows within it are averaged.
        step_seconds: from the start of one window to the start of the next.
        face_detector: one of ``FACE_DETECTORS``; ``none`` treats the whole frame as one cropped face.
        max_faces: at most this many faces are judged: those that fill most of the frame for most of the time.
        min_face: shorter side of a face's box, in pixels, below which the face is ignored.
        unsure_below: confidence, 0 to 1, below which the answer is "unsure".
        adapts: whether a person who is in a clip for long is compared with their own mean, if the model can.
        video_track, audio_track: of a file that has several, counted from 1; by default those that suit best.
        start_seconds, end_seconds: the part of a clip to judge; by default all of it.
        transcribe: the Whisper that writes down what is said in files, such as ``base``, or a folder with one; None
            for none.
        language: that is spoken, such as ``en``; by default Whisper finds out.
    """

    window_seconds: float | None = None
    step_seconds: float | None = None
    face_detector: str = "yunet"
    max_faces: int = 10
    min_face: int = 20
    unsure_below: float | None = None
    adapts: bool = True
    video_track: int | None = None
    audio_track: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    transcribe: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        _check_range("window_sec", self.window_seconds, MIN_WINDOW_SECONDS, MAX_WINDOW_SECONDS)
        _check_range("step_sec", self.step_seconds, MIN_STEP_SECONDS, MAX_WINDOW_SECONDS)
        _check_range("unsure_below", self.unsure_below, 0.0, 1.0)
        _check_range("max_faces", self.max_faces, 1, 1000)
        _check_range("min_face", self.min_face, 0, 100_000)
        _check_range("video_track", self.video_track, 1, MAX_TRACKS)
        _check_range("audio_track", self.audio_track, 1, MAX_TRACKS)
        check_span(self.start_seconds, self.end_seconds)
        if self.language is not None and self.transcribe is None:
            raise ConfigError(f"language {self.language}: is for words that are written down. Add transcribe, too.")
        if self.face_detector not in FACE_DETECTORS:
            raise ConfigError(f"face_detector must be one of {', '.join(FACE_DETECTORS)}, got {self.face_detector!r}.")

    @property
    def span(self) -> tuple[float, float | None]:
        """Start and end of the part to judge, in seconds; an end of None is that of the clip."""
        return check_span(self.start_seconds, self.end_seconds)

    def filled(self, config: RunConfig) -> "InferenceSettings":
        """Returns the same with the model's own values where you chose none."""
        own: dict[str, Any] = {
            "window_seconds": config.window.window_seconds,
            "step_seconds": config.window.step_seconds,
            "unsure_below": config.calibration.unsure_below,
        }
        return replace(self, **{name: value for name, value in own.items() if getattr(self, name) is None})


def check_span(start: float | None, end: float | None) -> tuple[float, float | None]:
    """Returns start and end of a part in seconds, 0 for no start.

    Raises:
        ConfigError: if there is no such part.
    """
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} must be seconds from the beginning of the clip, at least 0, got {value!r}.")
    if end is not None and end <= (start or 0.0):
        raise ConfigError(f"end must lie after start, got {start or 0.0:g} to {end:g} s.")
    return float(start or 0.0), None if end is None else float(end)


def _check_range(name: str, value: float | None, lowest: float, highest: float) -> None:
    if value is not None and not (math.isfinite(value) and lowest <= value <= highest):
        raise ConfigError(f"{name} must lie in {lowest:g} to {highest:g}, got {value:g}.")
