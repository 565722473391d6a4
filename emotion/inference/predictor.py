"""From a media file to a ``MediaPrediction``: the windows of a ``MediaScanner``, judged by a model and put together."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from emotion.config import RunConfig
from emotion.errors import MediaError
from emotion.inference.clip_result import conclude
from emotion.inputs.faces.detectors import FaceDetector, build_detector
from emotion.inputs.voice.speech import holds_speech
from emotion.inputs.window_cutter import MediaScanner, WindowInputs
from emotion.media.reading import AudioChunk, MediaInfo, iterate_media, probe_media
from emotion.media.streams import Damage
from emotion.models.run_folder import Run, load_run
from emotion.parallel import Stages, Stopwatch
from emotion.places import default_run
from emotion.results import MediaPrediction, WindowPrediction
from emotion.settings import MIN_WINDOW_SECONDS, InferenceSettings

# So many windows are judged at once, which takes less time than one by one.
BATCH_WINDOWS = 8
MAX_PREVIEW_SECONDS = 60.0  # files up to this long are listened to before they are judged

Progress = Callable[[float, float | None], None]


class EmotionPredictor:
    """A trained model, ready to be shown media.

    Example:
        predictor = EmotionPredictor("saved_models/default")
        prediction = predictor.predict("clip.mp4")
        print(prediction.overall.emotion, prediction.overall.confidence)
    """

    def __init__(
        self,
        model: str | os.PathLike | Run | None = None,
        settings: InferenceSettings | None = None,
        *,
        runtime: str = "auto",
    ):
        """Loads a model folder.

        Args:
            model: the folder, or a run already loaded; by default the model that comes with the program.
            settings: how it is used; by default as the model brings it.
            runtime: what computes, if the run is not loaded yet; see ``load_run``.

        Raises:
            RunError: if the folder is missing or incomplete.
        """
        self.run = model if isinstance(model, Run) else load_run(Path(model or default_run()), runtime=runtime)
        self.settings = settings or InferenceSettings()

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @functools.cached_property
    def detector(self) -> FaceDetector | None:
        """The face detector, which is built once; None if this model looks for no faces."""
        return build_detector(self.settings.face_detector) if self.config.looks_for_faces else None

    @property
    def window_seconds(self) -> float:
        """The stretch of time that one answer is about."""
        return self.settings.window_seconds or self.config.window.window_seconds

    @property
    def step_seconds(self) -> float:
        return self.settings.step_seconds or self.config.window.step_seconds

    @property
    def unsure_below(self) -> float:
        chosen = self.settings.unsure_below
        return self.config.calibration.unsure_below if chosen is None else chosen

    def predict(
        self,
        path: str | os.PathLike,
        *,
        info: MediaInfo | None = None,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> MediaPrediction:
        """Judges every face, and the voice, of a media file: a video, a sound file or an image.

        The sound counts for the face whose mouth moves with it; every other face is judged by its looks alone. Where
        no face in sight is known to be speaking, the voice is judged apart from the faces.

        Args:
            path: the file.
            info: what ``probe_media`` says of it, if that is known already.
            progress: called with the seconds done and, where known, their total.
            stopwatch: told how long each part of the work takes.

        Returns:
            The answer; its times are seconds on the file's own clock.

        Raises:
            MediaError: if the file is missing, broken, or no media.
        """
        path = os.fspath(path)
        stopwatch = stopwatch or Stopwatch()
        info = info or probe_media(path)
        with stopwatch("listen"):
            is_mute = self._is_mute(info)
        chosen = self._face_settings if is_mute and info.has_video else self.settings
        scanner = MediaScanner(
            self.config, chosen, has_video=info.has_video, has_audio=info.has_audio, is_mute=is_mute,
            detector=self.detector, stopwatch=stopwatch,
        )  # fmt: skip
        damage = Damage(path, is_silent=True)
        media = iterate_media(path, sample_rate=self.config.audio.sample_rate, damage=damage)
        items = stopwatch.watch("decode", media)
        with Stages() as stages:
            stretches = stages.ahead(scanner.scan(stages.ahead(scanner.prepare(items))))
            # Only the answers are kept: a window's frames weigh a thousand times as much.
            windows = list(self.judge(_telling(stretches, progress, info.duration_seconds), stopwatch=stopwatch))
        if not scanner.has_video and not scanner.has_audio:
            raise MediaError(f"{path}: neither a picture nor a sound could be decoded. Is the file whole?")
        if progress:
            progress(scanner.duration_seconds, scanner.duration_seconds)
        prediction = self.conclude(path, scanner, windows, expects_sound=not info.is_still)
        if not damage.count:
            return prediction
        note = f"the file is damaged{damage.words}: only what could be decoded was judged"
        return dataclasses.replace(prediction, notes=(note, *prediction.notes))

    @property
    def _face_settings(self) -> InferenceSettings:
        """The settings for media in which faces are the only evidence."""
        is_chosen = self.settings.window_seconds is not None
        if is_chosen or not self.config.looks_for_faces or self.config.window.face_share == 1:
            return self.settings
        window_seconds = max(self.config.window.face_window_seconds, MIN_WINDOW_SECONDS)
        return dataclasses.replace(self.settings, window_seconds=window_seconds)

    def _is_mute(self, info: MediaInfo) -> bool:
        """Whether a file is known to hold no voice. Long ones are listened to only while they are judged."""
        if not info.has_audio or "audio" not in self.config.modalities:
            return True
        if self._face_settings == self.settings or info.duration_seconds is None:
            return False
        if not info.has_video or info.duration_seconds > MAX_PREVIEW_SECONDS:
            return False
        rate, unheard = self.config.audio.sample_rate, Damage(info.path, is_silent=True)
        sound = iterate_media(info.path, sample_rate=rate, with_video=False, damage=unheard)
        try:
            return not holds_speech((chunk for chunk in sound if isinstance(chunk, AudioChunk)), rate)
        except MediaError:
            return True  # none of it can be decoded, as the pass that judges will say

    def judge(
        self,
        stretches: Iterable[list[WindowInputs]],
        *,
        batch_windows: int = BATCH_WINDOWS,
        stopwatch: Stopwatch | None = None,
    ) -> Iterator[WindowPrediction]:
        """Judges windows as they come; ``face_id`` of the answers is still the sampler's number of the face.

        Args:
            stretches: from ``MediaScanner.scan``.
            batch_windows: how many windows to gather before the model is asked.
            stopwatch: told how long the model takes.
        """
        stopwatch = stopwatch or Stopwatch()
        waiting: list[WindowInputs] = []
        for stretch in stretches:
            waiting += stretch
            if len(waiting) >= batch_windows:
                with stopwatch("model"):
                    judged = self._judge(waiting)
                yield from judged
                waiting = []
        with stopwatch("model"):
            judged = self._judge(waiting)
        yield from judged

    def _judge(self, windows: list[WindowInputs]) -> list[WindowPrediction]:
        judged = [window for window in windows if window.evidence != "none"]
        answers = iter(())
        if judged:
            batch = {name: np.stack([window.inputs[name] for window in judged]) for name in judged[0].inputs}
            answers = iter(self.run.predict(batch))
        return [
            WindowPrediction(
                window.start_seconds,
                window.end_seconds,
                window.face,
                window.evidence,
                None if window.evidence == "none" else next(answers),
            )
            for window in windows
        ]

    def conclude(
        self,
        path: str,
        scanner: MediaScanner,
        windows: list[WindowPrediction],
        *,
        ids: dict[int, int] | None = None,
        expects_sound: bool = True,
    ) -> MediaPrediction:
        """Puts the answer together from what ``judge`` gave; see ``emotion.inference.clip_result.conclude``."""
        return conclude(
            path, scanner, windows, config=self.config, max_faces=self.settings.max_faces,
            window_seconds=self.window_seconds, step_seconds=self.step_seconds, unsure_below=self.unsure_below, ids=ids,
            expects_sound=expects_sound,
        )  # fmt: skip


def _telling(
    stretches: Iterable[list[WindowInputs]], progress: Progress | None, duration_seconds: float | None
) -> Iterator[list[WindowInputs]]:
    for stretch in stretches:
        if progress is not None:
            progress(stretch[0].start_seconds, duration_seconds)
        yield stretch
