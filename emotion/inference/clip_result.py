"""Puts one answer together for a file: windows under their faces' final ids, each face's sum, and what must be said."""

import bisect
import dataclasses
from collections.abc import Iterator

from emotion.config import RunConfig
from emotion.inputs.window_cutter import MediaScanner
from emotion.results import EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction, join_evidence
from emotion.windows import merge_probabilities, sliding_windows

SHORTEST_COURSE_SECONDS = 1.0  # what is shorter has no course to speak of


def conclude(
    path: str,
    scanner: MediaScanner,
    windows: list[WindowPrediction],
    *,
    config: RunConfig,
    max_faces: int,
    window_seconds: float,
    step_seconds: float,
    unsure_below: float,
    ids: dict[int, int] | None = None,
    expects_sound: bool = True,
) -> MediaPrediction:
    """Puts the answer together from judged windows.

    Args:
        path: of the file, or the camera's name.
        scanner: that cut the windows.
        windows: judged; their ``face_id`` is still the sampler's number of the face.
        config: of the model.
        max_faces: how many to keep, those most in sight.
        window_seconds, step_seconds: that one answer is to be about, and from one to the next. Longer than the model's
            own windows, these are averaged.
        unsure_below: the confidence under which an answer is ``unsure``.
        ids: by the sampler's numbers, under which faces were shown already; by default 1, 2, ... in order of
            appearance.
        expects_sound: whether to note that there is none; nobody expects one of a single picture.
    """
    followed = scanner.sampler.tracks()
    tracks = _most_in_sight(followed, max_faces, ids)
    passed_over = [track for number, track in followed.items() if number not in tracks]
    windows = _under_ids(windows, scanner, tracks)
    shown_seconds = scanner.window_seconds
    if window_seconds > config.window.window_seconds:
        shown_seconds = window_seconds
        windows = widen_windows(windows, window_seconds, step_seconds)
    windows = [_within(window, scanner.duration_seconds) for window in windows]
    windows.sort(key=lambda window: (window.start_seconds, window.end_seconds, window.face_id or 0))
    names = config.class_names
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
        notes=tuple(_notes(scanner, windows, faces, config, expects_sound=expects_sound)),
        unsure_below=unsure_below,
        window_seconds=shown_seconds,
        speech=scanner.speech,
        voice=_summarize(voices, names, unsure_below) if voices else None,
        passed_over=(*passed_over, *scanner.sampler.faces_passed_over()),
    )


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
