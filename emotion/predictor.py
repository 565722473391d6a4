"""From a media file to a ``MediaPrediction``: the windows of a ``MediaScanner``, judged by a model and put together."""

import bisect
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from emotion.audio.speech import holds_speech
from emotion.config import DEFAULT_RUN, RunConfig
from emotion.errors import MediaError
from emotion.faces.detectors import FaceDetector, build_detector
from emotion.media.reading import AudioChunk, MediaInfo, iterate_media, probe_media
from emotion.media.streams import Damage
from emotion.pipelines import Stages
from emotion.results import EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction, join_evidence
from emotion.runs import Run, load_run
from emotion.scanner import MediaScanner, WindowInputs
from emotion.settings import MIN_WINDOW_SECONDS, InferenceSettings
from emotion.timing import Stopwatch
from emotion.windows import merge_probabilities, sliding_windows

# So many windows are judged at once, which takes less time than one by one.
BATCH_WINDOWS = 8
SHORTEST_COURSE_SECONDS = 1.0  # what is shorter has no course to speak of
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
        model: str | os.PathLike | Run = DEFAULT_RUN,
        settings: InferenceSettings | None = None,
        *,
        runtime: str = "auto",
    ):
        """Loads a model folder.

        Args:
            model: the folder, or a run already loaded.
            settings: how it is used; by default as the model brings it.
            runtime: what computes, if the run is not loaded yet; see ``load_run``.

        Raises:
            RunError: if the folder is missing or incomplete.
        """
        self.run = model if isinstance(model, Run) else load_run(Path(model), runtime=runtime)
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
            stretches = stages.ahead(scanner.scan(stages.ahead(items)))
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
        """Puts the answer together from what ``judge`` gave.

        Args:
            path: of the file, or the camera's name.
            scanner: that cut the windows.
            windows: judged.
            ids: by the sampler's numbers, under which faces were shown already; by default 1, 2, ... in order of
                appearance.
            expects_sound: whether to note that there is none; nobody expects one of a single picture.
        """
        followed = scanner.sampler.tracks()
        tracks = _most_in_sight(followed, self.settings.max_faces, ids)
        passed_over = [track for number, track in followed.items() if number not in tracks]
        windows = _under_ids(windows, scanner, tracks)
        window_seconds = scanner.window_seconds
        if self.window_seconds > self.config.window.window_seconds:
            window_seconds = self.window_seconds
            windows = widen_windows(windows, window_seconds, self.step_seconds)
        windows = [_within(window, scanner.duration_seconds) for window in windows]
        windows.sort(key=lambda window: (window.start_seconds, window.end_seconds, window.face_id or 0))
        names, unsure_below = self.config.class_names, self.unsure_below
        faces = sorted(tracks.values(), key=lambda track: track.face_id)
        by_face = {
            track.face_id: _summarize([w for w in windows if w.face_id == track.face_id], names, unsure_below)
            for track in faces
        }
        voices = [window for window in windows if window.evidence == "voice" and window.face_id is None]
        return MediaPrediction(
            path=path,
            class_names=names,
            duration_seconds=scanner.duration_seconds,
            has_video=scanner.has_video,
            has_audio=scanner.has_audio,
            tracks=tuple(faces),
            windows=tuple(windows),
            overall=_summarize(_main_windows(windows, faces), names, unsure_below),
            by_face=by_face,
            notes=tuple(_notes(scanner, windows, faces, self.config, expects_sound=expects_sound)),
            unsure_below=unsure_below,
            window_seconds=window_seconds,
            speech=scanner.speech,
            voice=_summarize(voices, names, unsure_below) if voices else None,
            passed_over=(*passed_over, *scanner.sampler.faces_passed_over()),
        )


def _telling(
    stretches: Iterable[list[WindowInputs]], progress: Progress | None, duration_seconds: float | None
) -> Iterator[list[WindowInputs]]:
    for stretch in stretches:
        if progress is not None:
            progress(stretch[0].start_seconds, duration_seconds)
        yield stretch


def widen_windows(
    windows: list[WindowPrediction], window_seconds: float, step_seconds: float
) -> list[WindowPrediction]:
    """Averages the windows of each face, and of the voice, over longer windows.

    Args:
        windows: of one length, shorter than ``window_seconds``.
        window_seconds, step_seconds: of the windows to be made.
    """
    start = min((window.start_seconds for window in windows), default=0.0)
    end = max((window.end_seconds for window in windows), default=0.0)
    windows = sorted(windows, key=lambda window: window.start_seconds)
    starts = [window.start_seconds for window in windows]
    widened = []
    for first, last in sliding_windows(end - start, window_seconds, step_seconds, start):
        # Of hours of windows only those that begin in this one are looked at.
        near = windows[bisect.bisect_left(starts, first - 1e-6) : bisect.bisect_right(starts, last)]
        inside = [window for window in near if window.end_seconds <= last + 1e-6]
        # Where there is any evidence, stretches without say nothing.
        inside = [window for window in inside if window.probabilities is not None] or inside
        for face_id in dict.fromkeys(window.face_id for window in inside):
            widened.append(_merge([w for w in inside if w.face_id == face_id], first, min(last, end)))
    return widened


def _merge(windows: list[WindowPrediction], start: float, end: float) -> WindowPrediction:
    judged = [window for window in windows if window.probabilities is not None]
    evidence = join_evidence(window.evidence for window in judged)
    probabilities = merge_probabilities([window.probabilities for window in judged]) if judged else None
    return WindowPrediction(start, end, windows[0].face_id, evidence, probabilities)


def _within(window: WindowPrediction, duration_seconds: float) -> WindowPrediction:
    """A window no longer than what there is to judge; one of a clip that is shorter reaches past its end."""
    end = min(window.end_seconds, max(duration_seconds, 1e-3))
    return dataclasses.replace(window, start_seconds=max(0.0, min(window.start_seconds, end)), end_seconds=end)


def _most_in_sight(tracks: dict[int, FaceTrack], max_faces: int, ids: dict[int, int] | None) -> dict[int, FaceTrack]:
    """The faces that fill most of the picture for most of the time, numbered anew in order of appearance."""
    main = sorted(tracks, key=lambda number: -tracks[number].total_area)[:max_faces]
    kept = {number: track for number, track in tracks.items() if number in main}
    if ids is None:
        ids = {number: face_id for face_id, number in enumerate(kept, start=1)}
    return {number: dataclasses.replace(track, face_id=ids[number]) for number, track in kept.items() if number in ids}


def _under_ids(
    windows: list[WindowPrediction], scanner: MediaScanner, tracks: dict[int, FaceTrack]
) -> list[WindowPrediction]:
    """Puts the faces' final ids in place of the sampler's numbers, of which two may turn out to be one face."""
    by_place: dict[tuple, list[WindowPrediction]] = {}
    spans = dict.fromkeys((window.start_seconds, window.end_seconds) for window in windows)
    for window in windows:
        face_id = None
        if window.face_id and scanner.sampler.resolve(window.face_id) in tracks:
            face_id = tracks[scanner.sampler.resolve(window.face_id)].face_id
        elif window.face_id:
            continue  # a face that is not among those kept
        named = dataclasses.replace(window, face_id=face_id)
        by_place.setdefault((named.start_seconds, named.end_seconds, face_id), []).append(named)
    left = {(start, end) for start, end, _ in by_place}
    nothing = [WindowPrediction(*span, None, "none", None) for span in spans if span not in left]
    return nothing + [
        group[0] if len(group) == 1 else _merge(group, start, end) for (start, end, _), group in by_place.items()
    ]


def _main_windows(windows: list[WindowPrediction], faces: list[FaceTrack]) -> list[WindowPrediction]:
    """The windows that speak for the clip: of the face most in sight that was judged.

    Where no face was judged at all, the voice speaks for the clip.
    """
    judged = [window for window in windows if window.probabilities is not None]
    judged_faces = {window.face_id for window in judged}
    faces = [track for track in faces if track.face_id in judged_faces]
    if not faces:
        return windows
    main = max(faces, key=lambda track: track.total_area)
    with_face = {(window.start_seconds, window.end_seconds) for window in judged if window.face_id is not None}
    return [
        window
        for window in judged
        if window.face_id == main.face_id
        or (window.face_id is None and (window.start_seconds, window.end_seconds) not in with_face)
    ]


def _summarize(windows: list[WindowPrediction], class_names: tuple[str, ...], unsure_below: float) -> EmotionSummary:
    judged = [window for window in windows if window.probabilities is not None]
    if not judged:
        return EmotionSummary.of(None, class_names, evidence="none")
    probabilities = merge_probabilities([window.probabilities for window in judged])
    evidence = join_evidence(window.evidence for window in judged)
    return EmotionSummary.of(probabilities, class_names, evidence=evidence, unsure_below=unsure_below)


def _notes(
    scanner: MediaScanner, windows, faces: list[FaceTrack], config: RunConfig, *, expects_sound: bool
) -> Iterator[str]:
    """What a reader must know to judge the answer."""
    seen = "picture" if config.video.crop == "frame" else "face"
    if config.modalities == ("audio",):
        yield "the model judges by the voice alone"
    elif config.modalities == ("video",):
        yield f"the model judges by the {seen} alone"
    is_mute = "audio" in config.modalities and not any("voice" in window.evidence for window in windows)
    if scanner.n_voices_passed_over:
        yield "the voice of a face that is not judged was passed over; raise --max_faces to judge it"
    elif is_mute and expects_sound:
        yield "no voice was heard in the sound" if scanner.has_audio else "the file has no sound"
    if "video" in config.modalities and all(window.evidence in ("voice", "none") for window in windows):
        if not scanner.has_video:
            yield "the file has no picture"
        else:
            yield "no face was in sight long enough to be judged" if faces else "no face was found"
    spans = {(window.start_seconds, window.end_seconds) for window in windows}
    is_seen = any(window.evidence not in ("voice", "none") for window in windows)
    if is_seen and len(spans) == 1 and scanner.duration_seconds >= SHORTEST_COURSE_SECONDS:
        yield "no longer than one window, so there is one answer for all of it; shorter windows show its course"
    if faces and any(window.evidence == "voice" for window in windows):
        yield "where a voice is heard and no face in sight moves its mouth with it, the voice is judged by itself"
