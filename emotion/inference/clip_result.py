"""Turns judged windows into a result: faces get their ids, the clip and each face one answer, and notes are added."""

import bisect
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from emotion.config import RunConfig
from emotion.inputs.frame_sampler import FrameSampler
from emotion.inputs.window_cutter import WindowCutter
from emotion.models.trained_model import WindowParts
from emotion.outputs.prediction import Prediction
from emotion.results import EmotionSummary, FaceTrack, WindowPrediction, join_evidence
from emotion.settings import InferenceSettings
from emotion.windows import merge_probabilities, sliding_windows

SHORTEST_COURSE_SECONDS = 1.0  # a shorter clip has no course to show
RECENT_SECONDS = 2.0  # a camera's faces seen within this time are in sight
UPSIDE_DOWN = 2  # turns of 90 degrees
MEMORY_SECONDS = 10.0  # of answers that a camera's picture may show


@dataclass(frozen=True)
class JudgedWindow:
    """What the model says of one window of one track.

    Attributes:
        start_seconds, end_seconds: the window.
        track: of the face, as in ``WindowInputs``; faces get ids once all of a clip is known.
        evidence: as in ``WindowPrediction``.
        probabilities: ``(n_classes,)``; None without evidence.
        parts: what a comparison with the person's baseline needs; None if the model cannot compare.
    """

    start_seconds: float
    end_seconds: float
    track: int | None
    evidence: str
    probabilities: np.ndarray | None
    parts: WindowParts | None = None


class ClipResult:
    """Makes a ``Prediction`` of judged windows, for a whole clip or for a moment of a camera.

    Args:
        name: of the file or the camera.
        cutter: that cut the windows.
        places: valence and arousal of each class, if they were learned.
        settings: with no value left open. Windows longer than the model's are averages of the model's.
    """

    def __init__(
        self,
        name: str,
        cutter: WindowCutter,
        config: RunConfig,
        settings: InferenceSettings,
        places: Mapping[str, tuple[float, float]] | None = None,
    ):
        self._name = name
        self._places = places
        self._cutter = cutter
        self._config = config
        self._settings = settings
        self._ids: dict[int, int] = {}  # by track; a camera shows faces before all of them are known

    def faces(self) -> dict[int, FaceTrack]:
        """Returns the faces of the clip that are judged, by track, in order of appearance."""
        followed = self._cutter.sampler.tracks()
        return self._with_ids(self._largest(followed, {track: face.total_area for track, face in followed.items()}))

    def of_clip(
        self,
        windows: list[JudgedWindow],
        *,
        expects_sound: bool = True,
        undecodable: Mapping[str, str] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> Prediction:
        """Returns the answer for all that was cut.

        Args:
            windows: judged.
            expects_sound: whether to note that there is no sound; nobody expects any of a single picture.
            undecodable: by kind, ``video`` or ``audio``, the codec of what is in the file but cannot be decoded.
            names: of persons, by track.
        """
        cutter, settings = self._cutter, self._settings
        tracks = self.faces()
        passed_over = [face for track, face in cutter.sampler.tracks().items() if track not in tracks]
        for track, name in (names or {}).items():
            tracks[track] = dataclasses.replace(tracks[track], person=name)
        named = self._under_ids(windows, tracks)
        shown_seconds = cutter.window_seconds
        if settings.window_seconds > self._config.window.window_seconds:
            shown_seconds = settings.window_seconds
            named = widen_windows(named, settings.window_seconds, settings.step_seconds)
        named = [_within(window, cutter.duration_seconds) for window in named]
        named.sort(key=lambda window: (window.start_seconds, window.end_seconds, window.face_id or 0))
        faces = sorted(tracks.values(), key=lambda face: face.face_id)
        voices = [window for window in named if window.evidence == "voice" and window.face_id is None]
        return Prediction(
            path=self._name,
            class_names=self._config.class_names,
            places=self._places,
            duration_seconds=cutter.duration_seconds,
            has_video=cutter.has_video,
            has_audio=cutter.has_audio,
            tracks=tuple(faces),
            windows=tuple(named),
            overall=self._summarize(_main_windows(named, faces)),
            by_face={f.face_id: self._summarize([w for w in named if w.face_id == f.face_id]) for f in faces},
            notes=(
                *_notes(cutter, named, faces, self._config, undecodable or {}, expects_sound=expects_sound),
                *_notes_on_faces(cutter.sampler, tracks, len(passed_over), settings),
            ),
            unsure_below=settings.unsure_below,
            window_seconds=shown_seconds,
            speech=cutter.speech,
            voice=self._summarize(voices) if voices else None,
            passed_over=(*passed_over, *cutter.sampler.faces_passed_over()),
            frame_times_seconds=np.array(cutter.sampler.frame_times_seconds) if cutter.has_video else None,
        )

    def at_moment(self, windows: list[JudgedWindow], time_seconds: float) -> Prediction:
        """Returns what a camera's picture shows: the faces in sight with their latest answers, and none for the clip.

        Args:
            windows: judged so far, in order of time.
        """
        sampler, since = self._cutter.sampler, time_seconds - RECENT_SECONDS
        in_sight = sampler.tracks(since)
        tracks = self._with_ids(self._largest(in_sight, {track: sampler.face_area(track) for track in in_sight}))
        first = bisect.bisect_left(windows, time_seconds - MEMORY_SECONDS, key=lambda window: window.end_seconds)
        recent = [
            _named(window, tracks[sampler.resolve(window.track)].face_id if window.track else None)
            for window in windows[first:]
            if not window.track or sampler.resolve(window.track) in tracks
        ]
        others = [face for track, face in in_sight.items() if track not in tracks]
        return Prediction(
            path=self._name,
            class_names=self._config.class_names,
            places=self._places,
            duration_seconds=time_seconds,
            has_video=self._cutter.has_video,
            has_audio=self._cutter.has_audio,
            tracks=tuple(tracks.values()),
            windows=tuple(reversed(recent)),
            overall=self._summarize(_latest(recent, list(tracks.values()))),
            by_face={
                face.face_id: self._summarize(_latest([w for w in recent if w.face_id == face.face_id], [face]))
                for face in tracks.values()
            },
            unsure_below=self._settings.unsure_below,
            passed_over=(*others, *sampler.faces_passed_over(since)),
        )

    def _largest(self, tracks: dict[int, FaceTrack], areas: dict[int, int]) -> dict[int, FaceTrack]:
        """The faces that are judged, in order of appearance."""
        main = sorted(tracks, key=lambda track: -areas[track])[: self._settings.max_faces]
        return {track: face for track, face in tracks.items() if track in main}

    def _with_ids(self, tracks: dict[int, FaceTrack]) -> dict[int, FaceTrack]:
        """Gives faces their ids, 1, 2, ... in order of appearance; a face that was shown before keeps its own."""
        for track in tracks:
            self._ids.setdefault(track, len(self._ids) + 1)
        return {track: dataclasses.replace(face, face_id=self._ids[track]) for track, face in tracks.items()}

    def _under_ids(self, windows: list[JudgedWindow], tracks: dict[int, FaceTrack]) -> list[WindowPrediction]:
        """Puts ids in place of tracks. Two tracks may turn out to be one face, whose windows are then joined."""
        by_place: dict[tuple, list[WindowPrediction]] = {}
        for window in windows:
            face = tracks.get(self._cutter.sampler.resolve(window.track)) if window.track else None
            if window.track and face is None:
                continue  # a face that is not judged
            named = _named(window, face.face_id if face else None)
            by_place.setdefault((named.start_seconds, named.end_seconds, named.face_id), []).append(named)
        left = {(start, end) for start, end, _ in by_place}
        spans = dict.fromkeys((window.start_seconds, window.end_seconds) for window in windows)
        nothing = [WindowPrediction(*span, None, "none", None) for span in spans if span not in left]
        return nothing + [
            group[0] if len(group) == 1 else _merge(group, start, end) for (start, end, _), group in by_place.items()
        ]

    def _summarize(self, windows: list[WindowPrediction]) -> EmotionSummary:
        names = self._config.class_names
        judged = [window for window in windows if window.probabilities is not None]
        if not judged:
            return EmotionSummary.of(None, names, evidence="none")
        probabilities = merge_probabilities([window.probabilities for window in judged])
        evidence = join_evidence(window.evidence for window in judged)
        return EmotionSummary.of(probabilities, names, evidence=evidence, unsure_below=self._settings.unsure_below)


def _named(window: JudgedWindow, face_id: int | None) -> WindowPrediction:
    return WindowPrediction(window.start_seconds, window.end_seconds, face_id, window.evidence, window.probabilities)


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
    """Ends a window with the clip: the only window of a short clip reaches past its end."""
    end = min(window.end_seconds, max(duration_seconds, 1e-3))
    return dataclasses.replace(window, start_seconds=max(0.0, min(window.start_seconds, end)), end_seconds=end)


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


def _latest(windows: list[WindowPrediction], faces: list[FaceTrack]) -> list[WindowPrediction]:
    """The latest window that speaks for a moment: of the face most in sight that was judged, or of the voice."""
    main = _main_windows(windows, faces)
    return [window for window in main if window.probabilities is not None][-1:]


def _notes(
    cutter: WindowCutter,
    windows,
    faces: list[FaceTrack],
    config: RunConfig,
    undecodable: Mapping[str, str],
    *,
    expects_sound: bool,
) -> Iterator[str]:
    """What a reader must know to judge the answer."""
    seen = "picture" if config.video.crop == "frame" else "face"
    if config.modalities == ("audio",):
        yield "the model judges by the voice alone"
    elif config.modalities == ("video",):
        yield f"the model judges by the {seen} alone"
    is_mute = "audio" in config.modalities and not any("voice" in window.evidence for window in windows)
    if cutter.n_voices_passed_over:
        yield "the voice of a face that is not judged was passed over; raise --max_faces to judge it"
    elif is_mute and expects_sound:
        lacks = _describe_lack("sound", undecodable.get("audio"))
        yield "no voice was heard in the sound" if cutter.has_audio else lacks
    if "video" in config.modalities and all(window.evidence in ("voice", "none") for window in windows):
        if not cutter.has_video:
            yield _describe_lack("picture", undecodable.get("video"))
        else:
            yield "no face was in sight long enough to be judged" if faces else "no face was found"
    spans = {(window.start_seconds, window.end_seconds) for window in windows}
    is_seen = any(window.evidence not in ("voice", "none") for window in windows)
    if is_seen and len(spans) == 1 and cutter.duration_seconds >= SHORTEST_COURSE_SECONDS:
        yield "no longer than one window, so there is one answer for all of it; shorter windows show its course"
    if faces and any(window.evidence == "voice" for window in windows):
        yield "where a voice is heard and no face in sight moves its mouth with it, the voice is judged by itself"


def _describe_lack(what: str, codec: str | None) -> str:
    return f"the file has no {what}" if codec is None else f"the {what} cannot be decoded (codec {codec})"


def _notes_on_faces(
    sampler: FrameSampler, tracks: dict[int, FaceTrack], n_left_out: int, settings: InferenceSettings
) -> Iterator[str]:
    """What a reader must know of faces that lie, and of those that are not judged."""
    for track, face in tracks.items():
        quarters = sampler.quarters(track)
        if quarters:
            how = "stands on its head" if quarters == UPSIDE_DOWN else "lies on its side"
            yield f"{face.name} {how} in the picture; it was judged upright"
    if n_left_out:
        yield f"{_count(n_left_out, 'face was', 'faces were')} passed over: --max_faces is {settings.max_faces}"
    n_small = sampler.count_small_faces()
    if n_small:
        words = _count(n_small, "face was", "faces were")
        yield f"{words} passed over as smaller than --min_face, {settings.min_face} pixels"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
