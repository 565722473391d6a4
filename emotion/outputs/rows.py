"""A result as the rows of tables: by window, by face, by utterance or by frame.

Times are seconds on the file's own clock, ``face`` is a face's name or ``voice``, and each emotion's probability has a
column of its name. What is unknown is None. ``valence`` and ``arousal`` are derived from the probabilities, see
``valence_arousal``. A row of a face, its ``box`` in four columns, is of pixels of the upright picture.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from emotion.errors import ConfigError
from emotion.outputs.timeline import timeline_rows
from emotion.outputs.utterances import find_utterances
from emotion.outputs.valence_arousal import derive_valence_arousal
from emotion.results import EmotionSummary, MediaPrediction, Pose

By = Literal["window", "face", "utterance", "frame"]
Row = dict[str, Any]
VOICE = "voice"  # the name of what is judged by the sound alone
PLACE_COLUMNS = ("time_s", "face", "x1", "y1", "x2", "y2", *Pose._fields)


def rows_by(prediction: MediaPrediction, by: By = "window") -> list[Row]:
    """Returns the rows of a table, all with the same columns.

    Args:
        by: ``window``: ``start_s, end_s, face`` and the answer. ``face``: a row for each face, and for the voice judged
            by itself: ``first_seen_s, last_seen_s, seconds_in_sight`` and the answer for all of it. ``utterance``:
            ``start_s, end_s, face`` of who speaks, the answer and the ``text``. ``frame``: for each picture and each
            face in sight in it, ``time_s, face, x1, y1, x2, y2``, ``yaw, pitch, roll`` (see ``emotion.results.Pose``)
            and the answer at that moment.

    Raises:
        ConfigError: if ``by`` is another word.
    """
    makers: dict[str, Callable[[MediaPrediction], Iterator[Row]]] = {
        "window": _by_window, "face": _by_face, "utterance": _by_utterance, "frame": _by_frame,
    }  # fmt: skip
    if by not in makers:
        raise ConfigError(f"by={by!r}: a table is by one of {', '.join(get_args(By))}.")
    return list(makers[by](prediction))


def columns_by(prediction: MediaPrediction, by: By = "window") -> list[str]:
    """Returns the names of the columns of ``rows_by``, also where there are no rows."""
    span = ["start_s", "end_s", "face"]
    answer = list(_answer(None, prediction))
    places = {
        "window": span + answer,
        "face": ["face", "first_seen_s", "last_seen_s", "seconds_in_sight", *answer],
        "utterance": [*span, *answer, "text"],
        "frame": [*PLACE_COLUMNS, *answer],
    }
    return places[by]


def _by_window(prediction: MediaPrediction) -> Iterator[Row]:
    names = {track.face_id: track.name for track in prediction.tracks}
    for window in prediction.windows:
        face = names[window.face_id] if window.face_id is not None else VOICE if window.evidence == VOICE else None
        span = {"start_s": window.start_seconds, "end_s": window.end_seconds, "face": face}
        yield span | _answer(prediction.answer(window), prediction)


def _by_face(prediction: MediaPrediction) -> Iterator[Row]:
    for track in prediction.tracks:
        seen = {
            "face": track.name,
            "first_seen_s": track.times_seconds[0],
            "last_seen_s": track.times_seconds[-1],
            "seconds_in_sight": track.seconds_in_sight,
        }
        yield seen | _answer(prediction.by_face[track.face_id], prediction)
    if prediction.voice is not None:
        unseen = {"face": VOICE, "first_seen_s": None, "last_seen_s": None, "seconds_in_sight": None}
        yield unseen | _answer(prediction.voice, prediction)


def _by_utterance(prediction: MediaPrediction) -> Iterator[Row]:
    for each in find_utterances(prediction):
        span = {"start_s": each.start_seconds, "end_s": each.end_seconds, "face": each.speaker}
        yield span | _answer(each.answer, prediction) | {"text": each.text}


def _by_frame(prediction: MediaPrediction) -> Iterator[Row]:
    times = prediction.frame_times_seconds
    rows = [(row, row.track) for row in timeline_rows(prediction) if row.track is not None]
    for time in () if times is None else times:
        for row, track in rows:
            box = track.box_at(float(time))
            if box is not None:
                pose = track.pose_at(float(time)) or (None,) * len(Pose._fields)
                places = (float(time), row.name, *box, *pose)
                yield dict(zip(PLACE_COLUMNS, places, strict=True)) | _answer(row.answer_at(float(time)), prediction)


def _answer(answer: EmotionSummary | None, prediction: MediaPrediction) -> Row:
    """Returns the columns that every kind of row has."""
    answer = answer or EmotionSummary.of(None, prediction.class_names, evidence="none")
    probabilities = [None] * len(prediction.class_names) if answer.probabilities is None else answer.probabilities
    valence, arousal = derive_valence_arousal(answer.probabilities, prediction.class_names, prediction.places)
    return {
        "emotion": answer.emotion,
        "most_probable": answer.most_probable,
        "confidence": answer.confidence,
        "evidence": answer.evidence,
        "valence": valence,
        "arousal": arousal,
        **{
            name: None if value is None else float(value)
            for name, value in zip(prediction.class_names, probabilities, strict=True)
        },
    }
