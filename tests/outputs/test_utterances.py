"""Speech becomes rows: who speaks, when, with which emotion and which words."""

import marked_predictions
import numpy as np
from made_predictions import CLASS_NAMES, HAPPY, SAD
from marked_predictions import make_track

from emotion.outputs.utterances import find_utterances
from emotion.results import WindowPrediction, Word


def make_call(speakers, *, speech, words=None):
    """Windows of a second, half a second apart, in each of which a face (or None) speaks with an emotion."""
    windows = [
        WindowPrediction(i / 2, i / 2 + 1, face, "voice" if face is None else "face+voice", row)
        for i, (face, row) in enumerate(speakers)
    ]
    tracks = [make_track(face, times=(0.0, 20.0)) for face in sorted({face for face, _ in speakers if face})]
    return marked_predictions.make_prediction(
        tracks, windows, class_names=CLASS_NAMES, duration=20.0, speech=speech, words=words
    )


def tell(prediction):
    return [
        (each.speaker, each.answer.emotion, each.start_seconds, each.end_seconds)
        for each in find_utterances(prediction)
    ]


def test_speech_is_parted_at_pauses_and_where_another_face_speaks():
    call = make_call([(1, SAD)] * 8 + [(2, HAPPY)] * 8, speech=((0.5, 2.0), (2.1, 6.0), (7.0, 8.0)))
    assert tell(call) == [
        ("face 1", "sad", 0.5, 4.25), ("face 2", "happy", 4.25, 6.0), ("face 2", "happy", 7.0, 8.0),
    ]  # fmt: skip


def test_a_voice_without_a_face_speaks_for_itself_and_a_moment_is_no_turn():
    assert tell(make_call([(None, SAD)] * 6, speech=((1.0, 2.0),))) == [("voice", "sad", 1.0, 2.0)]
    call = make_call([(1, SAD)] * 4 + [(2, HAPPY)] * 4, speech=((0.0, 2.3),))
    assert tell(call) == [("face 1", "sad", 0.0, 2.3)]


def test_the_answer_is_mostly_that_of_the_windows_within():
    rows = [(1, SAD)] * 8 + [(1, HAPPY)] * 2 + [(1, SAD)] * 8
    (each,) = find_utterances(make_call(rows, speech=((4.3, 5.2),)))
    assert each.answer.emotion == "happy" and np.isclose(each.answer.probabilities.sum(), 1)


def test_every_word_is_given_to_an_utterance():
    words = (Word(0.6, 0.9, "Well,"), Word(2.05, 2.1, "no."), Word(9.0, 9.5, "Yes!"))
    call = make_call([(1, SAD)] * 20, speech=((0.5, 2.0), (7.0, 8.0)), words=words)
    assert [each.text for each in find_utterances(call)] == ["Well, no.", "Yes!"]


def test_without_speech_detection_or_speech_there_are_none():
    assert find_utterances(make_call([(1, SAD)] * 4, speech=None)) == []
    assert find_utterances(make_call([(1, SAD)] * 4, speech=())) == []
