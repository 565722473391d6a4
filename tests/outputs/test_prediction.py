"""A result gives itself as dicts, tables, figures, cards and drawn clips."""

import dataclasses
import json
import pickle
import sys

import marked_predictions
import numpy as np
import pandas
import pytest
from made_predictions import CLASS_NAMES, HAPPY, SAD
from marked_predictions import make_track

from emotion.errors import EmotionError, MediaError
from emotion.outputs.prediction import Prediction
from emotion.outputs.tables import to_json
from emotion.outputs.valence_arousal import derive_valence_arousal
from emotion.results import EmotionSummary, Pose, WindowPrediction


def make_prediction(path="clips/<b>.mp4"):
    answer = EmotionSummary.of(HAPPY, CLASS_NAMES, evidence="face+voice")
    plain = marked_predictions.make_prediction(
        [make_track(1, (0, 0, 10, 10), np.arange(9) / 4, poses=(Pose(10, -5, 2), None, *[Pose(20, -5, 2)] * 7))],
        [WindowPrediction(0.0, 2.0, 1, "face+voice", HAPPY), WindowPrediction(2.0, 4.0, None, "voice", SAD)],
        path=path, class_names=CLASS_NAMES, duration=4.0, overall=answer, by_face={1: answer}, speech=((0.0, 4.0),),
        frame_times_seconds=np.arange(100) / 25, notes=("a <note>",),
    )  # fmt: skip
    return Prediction(**{item.name: getattr(plain, item.name) for item in dataclasses.fields(plain)})


def test_it_says_in_a_line_what_it_is():
    assert repr(make_prediction()) == "Prediction('clips/<b>.mp4': happy 90% by face+voice, 1 face, 4.0 s)"
    assert len(repr(make_prediction().tracks)) < 100


def test_it_compares_hashes_and_pickles():
    one, other = make_prediction(), make_prediction()
    assert one == other and hash(one) == hash(other) and pickle.loads(pickle.dumps(one)) == one
    assert one != dataclasses.replace(other, duration_seconds=5.0)


def test_dict_and_json_are_those_of_the_tables(tmp_path):
    prediction = make_prediction()
    assert prediction.to_dict() == to_json(prediction)
    text = prediction.to_json(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == text and json.loads(text) == prediction.to_dict()
    assert prediction.to_csv().count("\n") == 3


@pytest.mark.parametrize(("by", "n_rows"), [("window", 2), ("face", 1), ("utterance", 2), ("frame", 55)])
def test_every_table_has_its_rows_and_columns(by, n_rows):
    prediction = make_prediction()
    frame = prediction.to_dataframe(by=by)
    assert isinstance(frame, pandas.DataFrame) and len(frame) == n_rows
    assert list(frame.columns) == list(prediction.to_rows(by)[0]) and set(CLASS_NAMES) <= set(frame.columns)
    empty = Prediction(**vars(marked_predictions.make_prediction(class_names=CLASS_NAMES)))
    assert list(empty.to_dataframe(by=by).columns) == list(frame.columns) and len(empty.to_dataframe(by=by)) == 0


def test_a_frame_has_its_boxes_and_the_answer_of_that_moment():
    frame = make_prediction().to_dataframe(by="frame")
    assert frame["time_s"].is_monotonic_increasing and set(frame["face"]) == {"face 1"}
    assert frame.iloc[10][["x1", "y1", "x2", "y2"]].tolist() == [0, 0, 10, 10]
    assert frame.iloc[0][["yaw", "pitch", "roll"]].tolist() == [10, -5, 2] and frame.iloc[20]["yaw"] == 20
    assert frame.iloc[10]["happy"] == pytest.approx(0.9)


def test_a_missing_library_and_a_wrong_word_are_told(monkeypatch):
    prediction = make_prediction()
    with pytest.raises(EmotionError, match="window, face, utterance, frame"):
        prediction.to_rows("hour")
    with pytest.raises(EmotionError, match="pandas or polars"):
        prediction.to_dataframe(library="excel")
    for name in ("pandas", "polars", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EmotionError, match="pip install pandas"):
        prediction.to_dataframe()
    with pytest.raises(EmotionError, match="pip install pyarrow"):
        prediction.to_parquet("a.parquet")


def test_the_card_shows_the_story_and_escapes_what_it_is_told():
    card = make_prediction()._repr_html_()
    assert "&lt;b&gt;.mp4" in card and "<b>.mp4" not in card and "a &lt;note&gt;" in card
    assert card.count("<svg") == 2 and "happy" in card and "<script" not in card


def test_plot_and_drawing_are_files_if_you_name_them(tmp_path):
    prediction = make_prediction()
    figure = prediction.plot(tmp_path / "a.svg")
    assert figure.axes and (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(MediaError, match="source="):
        prediction.annotate(tmp_path / "a.mp4")


def test_valence_and_arousal_are_the_mean_place_of_the_emotions():
    assert derive_valence_arousal(np.array([1.0, 0, 0]), CLASS_NAMES) == (0.81, 0.51)
    valence, arousal = derive_valence_arousal(np.array([0.5, 0.5, 0]), CLASS_NAMES)
    assert (valence, arousal) == (pytest.approx(0.09), pytest.approx(0.12))
    assert derive_valence_arousal(None, CLASS_NAMES) == (None, None)
    assert derive_valence_arousal(np.array([0.8, 0.2]), ("engaged", "happy")) == (None, None)
