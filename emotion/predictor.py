"""From a media file to a ``MediaPrediction``, in one pass over the file and in flat memory."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion.config import DEFAULT_RUN, RunConfig
from emotion.errors import MediaError
from emotion.media.reading import MediaInfo, VideoFrame, iterate_media, probe_media
from emotion.preprocessing import WHOLE_FRAME, FrameSampler, Preprocessor, SoundBuffer
from emotion.results import EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction
from emotion.runs import Run, load_run
from emotion.windows import merge_probabilities

# How far one stream may run ahead of the other before the other is taken to have ended. Decoders with many threads hold
# back a dozen pictures, which at a picture a second is a dozen seconds; some files lay out their streams far apart.
MAX_LEAD_SECONDS = 60.0

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class WindowInputs:
    """One window as a model takes it.

    Attributes:
        start_seconds, end_seconds: the window.
        face: the sampler's number of the face, ``WHOLE_FRAME`` for whole frames, None for the voice alone.
        evidence: ``face+voice``, ``face``, ``voice`` or ``none``; ``frame`` instead of ``face`` for whole frames.
        inputs: by the names of the model's inputs, without the axis of the batch.
    """

    start_seconds: float
    end_seconds: float
    face: int | None
    evidence: str
    inputs: dict[str, np.ndarray]


class EmotionPredictor:
    """A trained model, ready to be shown media.

    Example:
        predictor = EmotionPredictor("saved_models/default")
        prediction = predictor.predict("clip.mp4")
        print(prediction.overall.emotion, prediction.overall.confidence)
    """

    def __init__(self, model: str | os.PathLike | Run = DEFAULT_RUN):
        """Loads a model folder.

        Args:
            model: the folder, or a run already loaded.

        Raises:
            RunError: if the folder is missing or incomplete.
        """
        self.run = model if isinstance(model, Run) else load_run(Path(model))

    @property
    def config(self) -> RunConfig:
        return self.run.config

    def predict(self, path: str | os.PathLike, *, progress: Progress | None = None) -> MediaPrediction:
        """Judges every face, and the voice, of a media file: a video, a sound file or an image.

        Where one face is in sight, the sound counts for it. Where there are several, it is not known whose voice it
        is: each face is judged by its looks alone, and the voice apart from them.

        Args:
            path: the file.
            progress: called with the seconds done and, where known, their total.

        Returns:
            The answer; its times are seconds on the file's own clock.

        Raises:
            MediaError: if the file is missing, broken, or no media.
        """
        path = os.fspath(path)
        info = probe_media(path)
        scanner = MediaScanner(self.config)
        # Only the answers are kept: a window's frames weigh a thousand times as much.
        windows: list[WindowPrediction] = []
        for batch in scanner.scan(path, info, progress=progress):
            windows += [
                WindowPrediction(window.start_seconds, window.end_seconds, window.face, window.evidence, probabilities)
                for window, probabilities in zip(batch, self._judge(batch), strict=True)
            ]
        if progress:
            progress(scanner.duration_seconds, scanner.duration_seconds)
        return self._conclude(path, scanner, windows)

    def _judge(self, windows: list[WindowInputs]) -> list[np.ndarray | None]:
        """Returns ``(n_classes,)`` probabilities for each window, or None where there is no evidence."""
        judged = [window for window in windows if window.evidence != "none"]
        if not judged:
            return [None] * len(windows)
        batch = {name: np.stack([window.inputs[name] for window in judged]) for name in judged[0].inputs}
        answers = iter(self.run.predict(batch))
        return [next(answers) if window.evidence != "none" else None for window in windows]

    def _conclude(self, path: str, scanner: "MediaScanner", windows: list[WindowPrediction]) -> MediaPrediction:
        """Puts the answer together; ``face_id`` of ``windows`` is still the sampler's number of the face."""
        tracks = scanner.sampler.tracks()
        predictions = [
            dataclasses.replace(window, face_id=tracks[window.face_id].face_id if window.face_id in tracks else None)
            for window in windows
        ]
        predictions.sort(key=lambda window: (window.start_seconds, window.face_id or 0))
        names, unsure_below = self.config.class_names, self.config.calibration.unsure_below
        faces = sorted(tracks.values(), key=lambda track: track.face_id)
        by_face = {
            track.face_id: _summarize([w for w in predictions if w.face_id == track.face_id], names, unsure_below)
            for track in faces
        }
        return MediaPrediction(
            path=path,
            class_names=names,
            duration_seconds=scanner.duration_seconds,
            has_video=scanner.has_video,
            has_audio=scanner.has_audio,
            tracks=tuple(faces),
            windows=tuple(predictions),
            overall=_summarize(_main_windows(predictions, faces), names, unsure_below),
            by_face=by_face,
            notes=tuple(_notes(scanner, predictions, faces, self.config)),
            unsure_below=unsure_below,
        )


class MediaScanner:
    """Reads a file once and cuts it into windows, holding no more of it than one window and what it overlaps."""

    def __init__(self, config: RunConfig):
        self._config = config
        self._preprocessor = Preprocessor(config)
        self.sampler = FrameSampler(config)
        self._sound = SoundBuffer(config.audio.sample_rate)
        self._crops: dict[int, dict[int, np.ndarray]] = {}
        self._shown: list[int] = []
        self.has_video = False
        self.has_audio = False
        self.duration_seconds = 0.0

    def scan(self, path: str, info: MediaInfo, *, progress: Progress | None = None) -> Iterator[list[WindowInputs]]:
        """Yields, in order of time, the windows of each stretch: one for each face, or one for the voice alone.

        Args:
            path: the media file.
            info: what ``probe_media`` says of it.
            progress: called with the seconds read and, where known, their total.
        """
        window, step = self._config.window.window_seconds, self._config.window.step_seconds
        n_done, said_seconds = 0, 0.0
        for item in iterate_media(path, sample_rate=self._config.audio.sample_rate):
            self._take(item)
            while self._is_read(n_done * step, info):
                yield self._cut(n_done * step)
                n_done += 1
                # The last window ends with the file, so it can begin up to a step before the next one would.
                self._forget_before((n_done - 1) * step)
            if progress and n_done * step - said_seconds > 0.5:
                said_seconds = n_done * step
                progress(said_seconds, info.duration_seconds)
        if not self.has_video and not self.has_audio:
            raise MediaError(f"{path}: neither a picture nor a sound could be decoded. Is the file whole?")
        self.duration_seconds = max(self._sound.end_seconds, self.sampler.end_seconds)
        while n_done * step + window <= self.duration_seconds + 1e-6:
            yield self._cut(n_done * step)
            n_done += 1
        last = max(0.0, self.duration_seconds - window)
        if n_done == 0 or last > (n_done - 1) * step + 1e-6:
            yield self._cut(last)

    def _take(self, item) -> None:
        if isinstance(item, VideoFrame):
            self.has_video = True
            n_before = len(self.sampler.moments)
            for crop in self.sampler.add(item):
                self._crops.setdefault(crop.face, {})[crop.moment] = crop.crop
            self._shown += self.sampler.moments[n_before:]
        else:
            self.has_audio = True
            self._sound.add(item)

    def _is_read(self, start: float, info: MediaInfo) -> bool:
        """Whether all that a window can hold has been read.

        Its last frame is known once a frame of its last moment, or a later one, has come. A stream that lags far behind
        the other has ended.
        """
        end = start + self._config.window.window_seconds
        last_moment = self._preprocessor.first_moment(start) + self._config.video.n_frames - 1
        has_sound = not info.has_audio or self._sound.end_seconds >= end
        has_frames = not info.has_video or self.sampler.moments[-1:] >= [last_moment]
        furthest = max(self._sound.end_seconds, self.sampler.last_frame_seconds)
        return (has_sound and has_frames and furthest >= end) or furthest >= end + MAX_LEAD_SECONDS

    def _cut(self, start: float) -> list[WindowInputs]:
        """Returns the windows of one stretch of time."""
        config = self._config
        end = start + config.window.window_seconds
        samples = self._sound.cut(start, config.window_samples)
        takes_audio, takes_video = "audio" in config.modalities, "video" in config.modalities
        audio = self._preprocessor.audio_input(samples) if takes_audio else None
        has_voice = audio is not None and bool(audio.any())
        moment = self._preprocessor.first_moment(start)
        faces: dict[int, np.ndarray] = {}
        if takes_video:
            for face, crops in self._crops.items():
                video = self._preprocessor.video_input(crops, moment, self._shown)
                if video.any() and self.sampler.is_real(face):
                    faces[face] = video

        def window(face: int | None, video: np.ndarray | None, hears: bool) -> WindowInputs:
            seen = "frame" if face == WHOLE_FRAME else "face"
            evidence = "+".join([seen] * (video is not None) + ["voice"] * hears) or "none"
            inputs = {}
            if takes_audio:
                inputs["audio"] = audio if hears else np.zeros_like(audio)
            if takes_video:
                size = config.video.image_size
                nothing = np.zeros((config.video.n_frames, size, size, 3), np.uint8)
                inputs["video"] = nothing if video is None else video
            return WindowInputs(start, end, face, evidence, inputs)

        # Of several faces any may be speaking, so the sound is evidence for none of them.
        shared = has_voice and len(faces) == 1
        windows = [window(face, video, shared) for face, video in faces.items()]
        if not shared and (has_voice or not windows):
            windows.append(window(None, None, has_voice))
        return windows

    def _forget_before(self, time_seconds: float) -> None:
        self._sound.forget_before(time_seconds)
        first = self._preprocessor.first_moment(time_seconds)
        self._shown = [moment for moment in self._shown if moment >= first]
        for face in list(self._crops):
            self._crops[face] = {moment: crop for moment, crop in self._crops[face].items() if moment >= first}
            if not self._crops[face]:
                del self._crops[face]


def _main_windows(windows: list[WindowPrediction], faces: list[FaceTrack]) -> list[WindowPrediction]:
    """The windows that speak for the clip: of the face most in sight that was judged, and of the voice judged apart."""
    judged = {window.face_id for window in windows if window.probabilities is not None}
    faces = [track for track in faces if track.face_id in judged]
    if not faces:
        return windows
    main = max(faces, key=lambda track: sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in track.boxes))
    return [window for window in windows if window.face_id in (main.face_id, None)]


def _summarize(windows: list[WindowPrediction], class_names: tuple[str, ...], unsure_below: float) -> EmotionSummary:
    judged = [window for window in windows if window.probabilities is not None]
    if not judged:
        return EmotionSummary.of(None, class_names, evidence="none")
    probabilities = merge_probabilities([window.probabilities for window in judged])
    parts = {part for window in judged for part in window.evidence.split("+")}
    evidence = "+".join(part for part in ("face", "frame", "voice") if part in parts)
    return EmotionSummary.of(probabilities, class_names, evidence=evidence, unsure_below=unsure_below)


def _notes(scanner: MediaScanner, windows, faces: list[FaceTrack], config: RunConfig) -> Iterator[str]:
    """What a reader must know to judge the answer."""
    seen = "picture" if config.video.crop == "frame" else "face"
    if config.modalities == ("audio",):
        yield "the model judges by the voice alone"
    elif config.modalities == ("video",):
        yield f"the model judges by the {seen} alone"
    if "audio" in config.modalities and not any("voice" in window.evidence for window in windows):
        yield "no voice was heard in the sound" if scanner.has_audio else "the file has no sound"
    if "video" in config.modalities and all(window.evidence in ("voice", "none") for window in windows):
        if not scanner.has_video:
            yield "the file has no picture"
        else:
            yield "no face was in sight long enough to be judged" if faces else "no face was found"
    if len(faces) > 1 and any(window.evidence == "voice" for window in windows):
        yield "several faces: where more than one is in sight, the voice is judged apart from them"
