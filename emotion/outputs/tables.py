"""A result as JSON or CSV, for other programs.

JSON, schema version 3; ``result.schema.json`` beside this file is the same as a JSON Schema. Times are seconds (``_s``)
on the file's own clock, rounded to milliseconds; probabilities are rounded to four places. An unknown number is null::

    schema_version    3; rises when a name changes its meaning or is removed
    file              the media file
    part              [start_s, end_s] of what was judged; null for the whole file
    duration_seconds  its length
    has_video, has_audio
    speech            [[start_s, end_s]] of speech; null if no speech detector ran
    class_names       the model's emotions, in the order of its outputs
    unsure_below      confidence below which an emotion is "unsure"; 0 if never
    valence_arousal   "derived" from the probabilities by published places of the emotions, or "learned" if the model
                      learned these places from rated clips
    headline          what the face most in sight shows, one after the other; empty for one answer
    story             [{start_s, end_s, emotion}], the same
    overall           {emotion, most_probable, confidence, evidence, probabilities, valence, arousal} of the face most
                      in sight; of the voice if no face was judged
    faces             [{face, emotion, most_probable, confidence, evidence, probabilities, valence, arousal,
                      time_shares, first_seen_s, last_seen_s, pose, boxes}]
    voice             {emotion, most_probable, confidence, evidence, probabilities, valence, arousal, time_shares} of
                      the windows that judge the voice by itself; null if there are none
    utterances        [{start_s, end_s, face, emotion, most_probable, confidence, evidence, probabilities, valence,
                      arousal, text}]
    windows           [{start_s, end_s, face, emotion, most_probable, confidence, evidence, probabilities, valence,
                      arousal}]
    baselines         [{face, kind, face_seconds, voice_seconds}] of people whose answers are relative to what is usual
                      for them; empty if everybody is judged alike
    without_baseline  {overall, faces, voice, windows}: the same answers with everybody judged alike; null if
                      ``baselines`` is empty
    notes             what a reader must know to judge the answer
    settings          what the caller wants kept with the result, or null

``face`` is "face 1", "face 2", ..., the name given with a person's reference, or null where the sound alone is judged.
``evidence`` is "face+voice", "face", "voice" or "none"; a model of whole frames has "frame" instead of "face".
``boxes`` holds ``[time_s, x1, y1, x2, y2]`` for each detection, in pixels of the upright frame, x2 and y2 exclusive.
``pose`` is {yaw, pitch, roll}, the median of how the head is turned, in degrees: to the viewer's right, up, and
clockwise are positive. It is null for a detector without landmarks. ``probabilities`` is {emotion: probability},
``confidence`` the highest of them, over many windows their highest mean, and ``most_probable`` its emotion. ``emotion``
is the answer: the same emotion, or "unsure" if ``confidence`` is below ``unsure_below``. ``valence`` and ``arousal``
are derived from the probabilities (see ``valence_arousal``). ``time_shares`` is {emotion: share of the judged time with
that answer}, "unsure" included. ``text`` is null unless the words were written down. ``kind`` is "reference", "own
clip" or "own clips"; ``face_seconds`` and ``voice_seconds`` say how much of the person it rests on. In
``without_baseline`` the faces are without their sightings. Without evidence ``emotion``, ``most_probable``,
``probabilities``, ``valence`` and ``arousal`` are null and ``confidence`` is 0. Version 2 had no ``voice`` and no
``time_shares``, and its ``overall`` mixed several people's voices with the main face; version 1 had no "unsure" and no
``most_probable``.

CSV, UTF-8 with a header: a line for each window with the columns of ``rows``, rounded alike; what is null in JSON is
empty. A name that a spreadsheet would compute, such as ``=A1``, has an apostrophe before it. Model and settings stand
in a file beside it, ``NAME.csv-metadata.json``, where "CSV on the Web" (W3C 2015) looks for them.
"""

import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from emotion.csv_rows import write_rows
from emotion.files import displayable
from emotion.outputs.rows import Row, columns_by, rows_by
from emotion.outputs.story import tell_story, write_headline
from emotion.outputs.utterances import Utterance, find_utterances
from emotion.outputs.valence_arousal import derive_valence_arousal
from emotion.results import BaselineUse, EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction

SCHEMA_VERSION = 3
SECONDS_DIGITS = 3
PROBABILITY_DIGITS = 4
POSE_DIGITS = 1
NUMBERS_IN_LINES = re.compile(r"\[\n\s+(?:(?:-?[\d.e+-]+|null),?\s+)+\]")  # no JSON string holds a line break


def to_json(prediction: MediaPrediction, *, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns a result as plain JSON types, in the schema above.

    ``settings`` are kept with it, such as the model's name. NumPy values, tuples and paths become plain JSON types.

    Raises:
        TypeError: if JSON cannot hold one of the settings.
    """
    story = tell_story(prediction)
    return {
        "schema_version": SCHEMA_VERSION,
        "file": displayable(prediction.path),
        "part": None if prediction.part is None else [_number(time, SECONDS_DIGITS) for time in prediction.part],
        "duration_seconds": _number(prediction.duration_seconds, SECONDS_DIGITS),
        "has_video": bool(prediction.has_video),
        "has_audio": bool(prediction.has_audio),
        "speech": _speech(prediction),
        "class_names": list(prediction.class_names),
        "unsure_below": _number(prediction.unsure_below, PROBABILITY_DIGITS),
        "valence_arousal": "derived" if prediction.places is None else "learned",
        "headline": write_headline(prediction, story),
        "story": [
            {
                "start_s": _number(chapter.start_seconds, SECONDS_DIGITS),
                "end_s": _number(chapter.end_seconds, SECONDS_DIGITS),
                "emotion": chapter.emotion,
            }
            for chapter in story
        ],
        "overall": _summary(prediction.overall, prediction),
        "faces": [_face(track, prediction) for track in prediction.tracks],
        "voice": _voice(prediction),
        "utterances": [_utterance(each, prediction) for each in find_utterances(prediction)],
        "windows": [_window(window, prediction) for window in prediction.windows],
        "baselines": [_baseline(use, prediction) for use in prediction.baselines],
        "without_baseline": _without_baseline(prediction.without_baseline),
        "notes": list(prediction.notes),
        "settings": plain_json(settings),
    }


def format_json(prediction: MediaPrediction, settings: dict[str, Any] | None = None) -> str:
    """Returns a result as the text of a JSON file; ``settings`` as in ``to_json``."""
    text = json.dumps(to_json(prediction, settings=settings), indent=2, ensure_ascii=False, allow_nan=False)
    return (
        NUMBERS_IN_LINES.sub(lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)
        + "\n"
    )


def format_csv(prediction: MediaPrediction) -> str:
    """Returns the windows of a result as the text of a CSV file."""
    text = io.StringIO()
    rows = rounded(rows_by(prediction))
    columns = columns_by(prediction)
    write_rows(text, [columns, *([row[name] for name in columns] for row in rows)])
    return text.getvalue()


def format_csv_metadata(prediction: MediaPrediction, csv_name: str, settings: dict[str, Any]) -> str:
    """Returns what a reader of a CSV file must know: the clip, the columns, and ``settings`` as in ``to_json``."""
    numbers = {name for name in columns_by(prediction) if name not in ("face", "emotion", "most_probable", "evidence")}
    described = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": csv_name,
        "dc:source": displayable(prediction.path),
        "tableSchema": {
            "columns": [
                {"name": name, "titles": name, "datatype": "number" if name in numbers else "string"}
                for name in columns_by(prediction)
            ]
        },
        "notes": [{"schema_version": SCHEMA_VERSION, "settings": plain_json(settings)}, *prediction.notes],
    }
    return json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def rounded(rows: Iterable[Row]) -> list[Row]:
    """Returns rows as they stand in files: times in milliseconds, other fractions to four places."""
    return [
        {
            name: _number(
                value, SECONDS_DIGITS if name.endswith(("_s", "_seconds", "in_sight")) else PROBABILITY_DIGITS
            )
            if isinstance(value, float)
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _speech(prediction: MediaPrediction) -> list[list[float | None]] | None:
    if prediction.speech is None:
        return None
    return [[_number(time, SECONDS_DIGITS) for time in stretch] for stretch in prediction.speech]


def _summary(summary: EmotionSummary, prediction: MediaPrediction) -> dict[str, Any]:
    names = prediction.class_names
    valence, arousal = derive_valence_arousal(summary.probabilities, names, prediction.places)
    return {
        "emotion": summary.emotion,
        "most_probable": summary.most_probable,
        "confidence": _number(summary.confidence, PROBABILITY_DIGITS),
        "evidence": summary.evidence,
        "probabilities": _probabilities(summary.probabilities, names),
        "valence": None if valence is None else _number(valence, PROBABILITY_DIGITS),
        "arousal": None if arousal is None else _number(arousal, PROBABILITY_DIGITS),
    }


def _face(track: FaceTrack, prediction: MediaPrediction) -> dict[str, Any]:
    pose = track.median_pose
    return {
        **_face_answer(track, prediction),
        "first_seen_s": _number(track.times_seconds[0], SECONDS_DIGITS),
        "last_seen_s": _number(track.times_seconds[-1], SECONDS_DIGITS),
        "pose": None if pose is None else {name: _number(angle, POSE_DIGITS) for name, angle in pose._asdict().items()},
        "boxes": [
            [_number(time, SECONDS_DIGITS), *box] for time, box in zip(track.times_seconds, track.boxes, strict=True)
        ],
    }


def _face_answer(track: FaceTrack, prediction: MediaPrediction) -> dict[str, Any]:
    return {
        "face": track.name,
        **_summary(prediction.by_face[track.face_id], prediction),
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
        "overall": _summary(plain.overall, plain),
        "faces": [_face_answer(track, plain) for track in plain.tracks],
        "voice": _voice(plain),
        "windows": [_window(window, plain) for window in plain.windows],
    }


def _voice(prediction: MediaPrediction) -> dict[str, Any] | None:
    voice = prediction.voice
    if voice is None:
        return None
    return {**_summary(voice, prediction), "time_shares": _shares(prediction, None)}


def _utterance(utterance: Utterance, prediction: MediaPrediction) -> dict[str, Any]:
    return {
        "start_s": _number(utterance.start_seconds, SECONDS_DIGITS),
        "end_s": _number(utterance.end_seconds, SECONDS_DIGITS),
        "face": None if utterance.face_id is None else utterance.speaker,
        **_summary(utterance.answer, prediction),
        "text": None if prediction.words is None else utterance.text,
    }


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
        **_summary(summary, prediction),
    }


def _probabilities(probabilities: np.ndarray | None, class_names: tuple[str, ...]) -> dict[str, float | None] | None:
    if probabilities is None:
        return None
    return {name: _number(value, PROBABILITY_DIGITS) for name, value in zip(class_names, probabilities, strict=True)}


def _number(value: float, digits: int) -> float | None:
    # JSON has no NaN and no infinity. Adding 0.0 turns -0.0 into 0.0.
    return round(float(value), digits) + 0.0 if math.isfinite(value) else None


def plain_json(value: Any) -> Any:
    """Returns nested settings as what strict JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"settings must hold JSON types, NumPy values or paths, got {type(value).__name__} {value!r}.")
