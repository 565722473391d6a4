"""How a trained model is put to use on media: what a user chooses at inference, apart from what training fixed."""

import math
from dataclasses import dataclass, replace

from emotion.config import MAX_WINDOW_SECONDS, RunConfig
from emotion.errors import ConfigError

FACE_DETECTORS = ("yunet", "retinaface", "haar", "none")
MIN_WINDOW_SECONDS = 0.2
MIN_STEP_SECONDS = 0.05


@dataclass(frozen=True)
class InferenceSettings:
    """What is chosen at inference. None stands for what the model brings.

    Attributes:
        window_seconds: the stretch of time that one answer is about. Shorter than the model's own, and the model sees
            and hears no more than that; longer, and the answers of the model's windows in it are averaged.
        step_seconds: from one window to the next.
        face_detector: one of ``FACE_DETECTORS``; with ``none`` the whole picture is taken for one face, cut out
            already.
        max_faces: the faces that are most in sight are judged, this many at most.
        min_face: pixels; smaller faces, by the shorter side of their box, are passed over.
        unsure_below: the confidence, 0 to 1, under which the answer is "unsure".
    """

    window_seconds: float | None = None
    step_seconds: float | None = None
    face_detector: str = "yunet"
    max_faces: int = 10
    min_face: int = 20
    unsure_below: float | None = None

    def __post_init__(self):
        _check_range("window_sec", self.window_seconds, MIN_WINDOW_SECONDS, MAX_WINDOW_SECONDS)
        _check_range("step_sec", self.step_seconds, MIN_STEP_SECONDS, MAX_WINDOW_SECONDS)
        _check_range("unsure_below", self.unsure_below, 0.0, 1.0)
        _check_range("max_faces", self.max_faces, 1, 1000)
        _check_range("min_face", self.min_face, 0, 100_000)
        if self.face_detector not in FACE_DETECTORS:
            raise ConfigError(f"face_detector must be one of {', '.join(FACE_DETECTORS)}, got {self.face_detector!r}.")

    def filled(self, config: RunConfig) -> "InferenceSettings":
        """Returns the same with the model's own values where you chose none."""
        own = {
            "window_seconds": config.window.window_seconds,
            "step_seconds": config.window.step_seconds,
            "unsure_below": config.calibration.unsure_below,
        }
        return replace(self, **{name: value for name, value in own.items() if getattr(self, name) is None})


def _check_range(name: str, value: float | None, lowest: float, highest: float) -> None:
    if value is not None and not (math.isfinite(value) and lowest <= value <= highest):
        raise ConfigError(f"{name} must lie in {lowest:g} to {highest:g}, got {value:g}.")
