"""A result as JSON or CSV, for other programs.

JSON, schema version 3. Times are seconds (``_s``) on the file's own clock, rounded to milliseconds; probabilities are
rounded to four places. An unknown number is null::

    schema_version    3; rises when a name changes its meaning or is removed
    file              the media file
    duration_seconds  its length
    has_video, has_audio
    speech            [[start_s, end_s]] of speech; null if no speech detector ran
    class_names       the model's emotions, in the order of its outputs
    unsure_below      confidence below which an emotion is "unsure"; 0 if never
    overall           {emotion, most_probable, confidence, evidence, probabilities} of the face most in sight; of the
                      voice if no face was judged
    faces             [{face, emotion, most_probable, confidence, evidence, probabilities, time_shares, first_seen_s,
                      last_seen_s, boxes}]
    voice             {emotion, most_probable, confidence, evidence, probabilities, time_shares} of the windows that
                      judge the voice by itself; null if there are none
    windows           [{start_s, end_s, face, emotion, most_probable, confidence, evidence, probabilities}]
    baselines         [{face, kind, face_seconds, voice_seconds}] of people whose answers are relative to what is usual
                      for them; empty if everybody is judged alike
    without_baseline  {overall, faces, voice, windows}: the same answers with everybody judged alike; null if
                      ``baselines`` is empty
    notes             what a reader must know to judge the answer
    settings          what the caller wants kept with the result, or null

``face`` is "face 1", "face 2", ..., the name given with a person's reference, or null for a window that judges the
sound alone. ``evidence`` is "face+voice", "face", "voice" or "none"; a model of whole frames has "frame" instead of
"face". ``boxes`` holds ``[time_s, x1, y1, x2, y2]`` for each detection, in pixels of the upright frame, x2 and y2
exclusive. ``probabilities`` is {emotion: probability}, ``confidence`` the highest of them and ``most_probable`` its
emotion. ``emotion`` is the answer: the same emotion, or "unsure" if ``confidence`` is below ``unsure_below``.
``time_shares`` is {emotion: share of the judged time with that answer}, "unsure" included. ``kind`` is "reference",
"own clip" or "own clips"; ``face_seconds`` and ``voice_seconds`` say how much of the person it rests on. ``overall``,
``voice``, ``windows`` and ``faces`` in ``without_baseline`` are as above, the faces without their sightings. Without
evidence ``emotion``, ``most_probable`` and ``probabilities`` are null and ``confidence`` is 0. Version 2 had no
``voice`` and no ``time_shares``, and its ``overall`` mixed several people's voices with the main face; version 1 had no
"unsure" and no ``most_probable``.

CSV, UTF-8 with a header: a line for each window with ``start_s``, ``end_s``, ``face``, ``emotion``, ``confidence`` and
``evidence`` as above, and a probability column for each class. What is null in JSON is empty here, but the ``face`` of
a voice judged by itself is "voice". The last columns are the same in every line: ``schema_version``, ``model_sha256``,
and ``settings`` as JSON. A name that a spreadsheet would compute, such as ``=A1``, has an apostrophe before it.
"""

import io
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from emotion.csv_rows import write_rows
from emotion.files import displayable
from emotion.results import BaselineUse, EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction

SCHEMA_VERSION = 3
SECONDS_DIGITS = 3
PROBABILITY_DIGITS = 4


def to_json(prediction: MediaPrediction, *, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns a result as plain JSON types, in the schema above.

    ``settings`` are kept with it, such as the model's name. NumPy values, tuples and paths become plain JSON types.

    Raises:
        TypeError: if JSON cannot hold one of the settings.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "file": displayable(prediction.path),
        "duration_seconds": _number(prediction.duration_seconds, SECONDS_DIGITS),
        "has_video": bool(prediction.has_video),
        "has_audio": bool(prediction.has_audio),
        "speech": _speech(prediction),
        "class_names": list(prediction.class_names),
        "unsure_below": _number(prediction.unsure_below, PROBABILITY_DIGITS),
        "overall": _summary(prediction.overall, prediction.class_names),
        "faces": [_face(track, prediction) for track in prediction.tracks],
        "voice": _voice(prediction),
        "windows": [_window(window, prediction) for window in prediction.windows],
        "baselines": [_baseline(use, prediction) for use in prediction.baselines],
        "without_baseline": _without_baseline(prediction.without_baseline),
        "notes": list(prediction.notes),
        "settings": _plain(settings),
    }


def format_json(prediction: MediaPrediction, settings: dict[str, Any] | None = None) -> str:
    """Returns a result as the text of a JSON file; ``settings`` as in ``to_json``."""
    return json.dumps(to_json(prediction, settings=settings), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def format_csv(prediction: MediaPrediction, settings: dict[str, Any] | None = None) -> str:
    """Returns the windows of a result as the text of a CSV file; ``settings`` as in ``to_json``."""
    plain = _plain(settings) or {}
    told = [SCHEMA_VERSION, plain.get("model_sha256", ""), json.dumps(plain) if plain else ""]
    names = ("start_s", "end_s", "face", "emotion", "confidence", "evidence")
    rows = [[*names, *prediction.class_names, "schema_version", "model_sha256", "settings"]]
    for window in prediction.windows:
        row = _window(window, prediction)
        probabilities = row["probabilities"] or dict.fromkeys(prediction.class_names)
        if window.face_id is None and window.evidence == "voice":
            row["face"] = "voice"
        rows.append([*(row[name] for name in names), *probabilities.values(), *told])
    text = io.StringIO()
    write_rows(text, rows)
    return text.getvalue()


def _speech(prediction: MediaPrediction) -> list[list[float | None]] | None:
    if prediction.speech is None:
        return None
    return [[_number(time, SECONDS_DIGITS) for time in stretch] for stretch in prediction.speech]


def _summary(summary: EmotionSummary, class_names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "emotion": summary.emotion,
        "most_probable": summary.most_probable,
        "confidence": _number(summary.confidence, PROBABILITY_DIGITS),
        "evidence": summary.evidence,
        "probabilities": _probabilities(summary.probabilities, class_names),
    }


def _face(track: FaceTrack, prediction: MediaPrediction) -> dict[str, Any]:
    return {
        **_face_answer(track, prediction),
        "first_seen_s": _number(track.times_seconds[0], SECONDS_DIGITS),
        "last_seen_s": _number(track.times_seconds[-1], SECONDS_DIGITS),
        "boxes": [
            [_number(time, SECONDS_DIGITS), *box] for time, box in zip(track.times_seconds, track.boxes, strict=True)
        ],
    }


def _face_answer(track: FaceTrack, prediction: MediaPrediction) -> dict[str, Any]:
    return {
        "face": track.name,
        **_summary(prediction.by_face[track.face_id], prediction.class_names),
        "time_shares": _shares(prediction, track.face_id),
    }


def _baseline(use: BaselineUse, prediction: MediaPrediction) -> dict[str, Any]:
    names = {track.face_id: track.name for track in prediction.tracks}
    return {
        "face": names.get(use.face_id),
        "kind": use.kind,
        "face_seconds": _number(use.face_seconds, SECONDS_DIGITS),
        "voice_seconds": _number(use.voice_seconds, SECONDS_DIGITS),
    }


def _without_baseline(plain: MediaPrediction | None) -> dict[str, Any] | None:
    if plain is None:
        return None
    return {
        "overall": _summary(plain.overall, plain.class_names),
        "faces": [_face_answer(track, plain) for track in plain.tracks],
        "voice": _voice(plain),
        "windows": [_window(window, plain) for window in plain.windows],
    }


def _voice(prediction: MediaPrediction) -> dict[str, Any] | None:
    voice = prediction.voice
    if voice is None:
        return None
    return {**_summary(voice, prediction.class_names), "time_shares": _shares(prediction, None)}


def _shares(prediction: MediaPrediction, face_id: int | None) -> dict[str, float | None]:
    shares = prediction.time_shares(face_id)
    return {name: _number(share, PROBABILITY_DIGITS) for name, share in shares.items()}


def _window(window: WindowPrediction, prediction: MediaPrediction) -> dict[str, Any]:
    names = {track.face_id: track.name for track in prediction.tracks}
    summary = prediction.answer(window)
    return {
        "start_s": _number(window.start_seconds, SECONDS_DIGITS),
        "end_s": _number(window.end_seconds, SECONDS_DIGITS),
        "face": None if window.face_id is None else names[window.face_id],
        **_summary(summary, prediction.class_names),
    }


def _probabilities(probabilities: np.ndarray | None, class_names: tuple[str, ...]) -> dict[str, float | None] | None:
    if probabilities is None:
        return None
    return {name: _number(value, PROBABILITY_DIGITS) for name, value in zip(class_names, probabilities, strict=True)}


def _number(value: float, digits: int) -> float | None:
    # JSON has no NaN and no infinity. Adding 0.0 turns -0.0 into 0.0.
    return round(float(value), digits) + 0.0 if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Returns nested settings as what strict JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"settings must hold JSON types, NumPy values or paths, got {type(value).__name__} {value!r}.")
