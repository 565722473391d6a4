"""The JSON says what the result says, in the documented layout, strictly."""

import csv
import io
import json
import os
from pathlib import Path

import marked_predictions
import numpy as np
import pytest
from made_predictions import CLASS_NAMES, summarize

from emotion.errors import EmotionError
from emotion.files import write_whole
from emotion.outputs import tables
from emotion.outputs.tables import format_csv, format_json, to_json
from emotion.results import FaceTrack, Pose, WindowPrediction

HAPPY = np.array([0.7, 0.2, 0.1], np.float32)
SAD = np.array([0.25, 0.5, 0.25], np.float32)
SUMMARY_KEYS = {"emotion", "most_probable", "confidence", "evidence", "probabilities", "valence", "arousal"}
SCHEMA = Path(tables.__file__).with_name("result.schema.json")


def write_json_file(prediction, path, settings=None):
    write_whole(path, format_json(prediction, settings))


def make_prediction(**changes):
    tracks = (
        FaceTrack(
            1, (0.0, 1.23456), ((10, 10, 50, 50), (12, 10, 52, 50)), poses=(Pose(-10, 4, 0.25), Pose(-12.5, 4, 0.35))
        ),
        FaceTrack(2, (2.0,), ((100, 10, 150, 50),)),
    )
    windows = (
        WindowPrediction(0.0, 3.0, 1, "face+voice", HAPPY),
        WindowPrediction(0.0, 3.0, 2, "none", None),
        WindowPrediction(0.5, 3.5, None, "voice", SAD),
    )
    values = {
        "path": "clips/a.mp4",
        "class_names": CLASS_NAMES,
        "duration": 3.50049,
        "tracks": tracks,
        "windows": windows,
        "overall": summarize(HAPPY, evidence="face+voice"),
        "by_face": {1: summarize(HAPPY, evidence="face+voice"), 2: summarize(None)},
        "notes": ("The second face was seen too briefly.",),
    }
    return marked_predictions.make_prediction(**{**values, **changes})


def test_the_top_level_has_the_documented_names_and_the_version():
    table = to_json(make_prediction())
    assert list(table) == [
        "schema_version", "file", "part", "duration_seconds", "has_video", "has_audio", "speech", "class_names",
        "unsure_below", "valence_arousal", "headline", "story", "overall", "faces", "voice", "utterances",
        "windows", "baselines", "without_baseline", "notes", "settings",
    ]  # fmt: skip
    assert table["schema_version"] == 3
    assert table["file"] == "clips/a.mp4"
    assert table["duration_seconds"] == 3.5
    assert table["speech"] is None
    heard = make_prediction(speech=((0.5, 1.2345), (2.0, 3.0)))
    assert to_json(heard)["speech"] == [[0.5, 1.234], [2.0, 3.0]]
    assert table["class_names"] == ["happy", "sad", "angry"]
    assert table["notes"] == ["The second face was seen too briefly."]
    assert table["settings"] is None


def test_the_overall_answer_names_each_probability_and_so_does_a_voice_by_itself():
    table = to_json(make_prediction())
    assert table["voice"] is None
    voice = to_json(make_prediction(voice=summarize(SAD, evidence="voice")))["voice"]
    assert set(voice) == {"time_shares"} | SUMMARY_KEYS
    assert voice["emotion"] == "sad" and voice["time_shares"] == {"sad": 1}
    assert table["overall"] == {
        "emotion": "happy",
        "most_probable": "happy",
        "confidence": 0.7,
        "evidence": "face+voice",
        "probabilities": {"happy": 0.7, "sad": 0.2, "angry": 0.1},
        "valence": 0.39,
        "arousal": 0.362,
    }


def test_each_face_has_its_answer_and_the_time_it_was_seen():
    first, second = to_json(make_prediction())["faces"]
    assert set(first) == {"face", "time_shares", "first_seen_s", "last_seen_s", "pose", "boxes"} | SUMMARY_KEYS
    assert first["time_shares"] == {"happy": 1} and second["time_shares"] == {}
    assert all(first["first_seen_s"] <= time <= first["last_seen_s"] and x1 < x2 and y1 < y2
               for time, x1, y1, x2, y2 in first["boxes"])  # fmt: skip
    assert (first["face"], first["emotion"], first["first_seen_s"]) == ("face 1", "happy", 0)
    assert first["last_seen_s"] == 1.235
    assert first["pose"] == {"yaw": -11.2, "pitch": 4, "roll": 0.3} and second["pose"] is None
    assert (second["face"], second["first_seen_s"], second["last_seen_s"]) == ("face 2", 2.0, 2.0)


def test_without_evidence_emotion_and_probabilities_are_null_and_confidence_is_zero():
    table = to_json(make_prediction())
    for row in (table["faces"][1], table["windows"][1]):
        assert row["emotion"] is row["most_probable"] is row["probabilities"] is None
        assert (row["confidence"], row["evidence"]) == (0.0, "none")


def test_an_answer_below_the_threshold_is_unsure_and_the_most_probable_emotion_stands_beside_it():
    thirds = np.array([0.3, 0.4, 0.3])
    summary = summarize(thirds, 0.45)
    windows = WindowPrediction(0.0, 3.0, 1, "face", thirds), WindowPrediction(0.0, 3.0, None, "voice", SAD)
    prediction = make_prediction(overall=summary, by_face={1: summary, 2: summary}, windows=windows, unsure_below=0.45)
    table = to_json(prediction)
    assert table["unsure_below"] == 0.45
    for row in (table["overall"], table["faces"][0], table["windows"][0]):
        assert (row["emotion"], row["most_probable"], row["confidence"]) == ("unsure", "sad", 0.4)
        assert row["probabilities"] == {"happy": 0.3, "sad": 0.4, "angry": 0.3}
    assert (table["windows"][1]["emotion"], table["windows"][1]["most_probable"]) == ("sad", "sad")


def test_each_window_has_its_span_its_face_and_its_most_probable_emotion():
    windows = to_json(make_prediction())["windows"]
    assert all(set(window) == {"start_s", "end_s", "face"} | SUMMARY_KEYS for window in windows)
    assert [window["face"] for window in windows] == ["face 1", "face 2", None]
    voice = windows[2]
    assert (voice["start_s"], voice["end_s"], voice["emotion"], voice["confidence"]) == (0.5, 3.5, "sad", 0.5)
    thirds = WindowPrediction(1 / 3, 10 / 3, 1, "face", np.full(3, 1 / 3))
    (rounded,) = to_json(make_prediction(windows=(thirds,)))["windows"]
    assert rounded["start_s"] == 0.333 and rounded["end_s"] == 3.333
    assert set(rounded["probabilities"].values()) == {0.3333}


def test_permuting_the_classes_permutes_nothing_but_their_order():
    order = [2, 0, 1]
    prediction = make_prediction()
    permuted = make_prediction(
        class_names=tuple(CLASS_NAMES[i] for i in order),
        windows=tuple(
            WindowPrediction(w.start_seconds, w.end_seconds, w.face_id, w.evidence,
                             None if w.probabilities is None else w.probabilities[order])
            for w in prediction.windows
        ),
    )  # fmt: skip
    assert to_json(permuted)["windows"] == to_json(prediction)["windows"]


def test_a_clip_without_faces_and_windows_is_a_table_with_empty_lists():
    table = to_json(make_prediction(tracks=(), windows=(), by_face={}, overall=summarize(None)))
    assert table["faces"] == [] and table["windows"] == [] and table["overall"]["emotion"] is None


def test_the_file_is_strict_json_even_where_numbers_are_not(tmp_path):
    broken = WindowPrediction(0.0, 3.0, 1, "face", np.array([np.nan, 0.5, 0.5]))
    prediction = make_prediction(duration=float("nan"), windows=(broken,))
    write_json_file(prediction, tmp_path / "a.json", settings={"threshold": float("inf")})

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    table = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert table["duration_seconds"] is None
    assert table["windows"][0]["probabilities"]["happy"] is None
    assert table["settings"] == {"threshold": None}


def test_settings_of_numpy_tuples_and_paths_are_written_as_plain_json():
    settings = {"step": np.float32(0.5), "n": np.int64(3), "names": ("a", "b"), "run": Path("saved") / "run",
                "on": True, "grid": np.arange(3), "inner": {"none": None}}  # fmt: skip
    plain = to_json(make_prediction(), settings=settings)["settings"]
    run = os.path.join("saved", "run")
    assert plain == {
        "step": 0.5, "n": 3, "names": ["a", "b"], "run": run, "on": True, "grid": [0, 1, 2], "inner": {"none": None},
    }  # fmt: skip
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_settings_without_a_counterpart_in_json_are_refused():
    with pytest.raises(TypeError, match="settings"):
        to_json(make_prediction(), settings={"model": object()})


def test_writing_gives_the_same_table_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "Gefühl.json"
    path.write_text("old")
    write_json_file(make_prediction(path="Grüße.mp4"), path, settings={"run": "x"})
    assert json.loads(path.read_text(encoding="utf-8")) == to_json(
        make_prediction(path="Grüße.mp4"), settings={"run": "x"}
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["Gefühl.json"]


@pytest.mark.parametrize("name", ["nowhere/a.json", "file/a.json", "folder.json"])
def test_where_nothing_can_be_written_is_named_and_nothing_remains(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(EmotionError, match=name.split("/")[0]):
        write_json_file(make_prediction(), tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.json"]


def test_a_file_already_there_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(EmotionError, match=r"a\.json"):
        write_json_file(make_prediction(), path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def read_csv(prediction):
    return list(csv.DictReader(io.StringIO(format_csv(prediction))))


def test_csv_has_a_line_for_each_window_and_a_column_for_each_class():
    first, second, third = read_csv(make_prediction())
    assert list(first) == [
        "start_s", "end_s", "face", "emotion", "most_probable", "confidence", "evidence", "valence", "arousal",
        *CLASS_NAMES,
    ]  # fmt: skip
    assert (first["start_s"], first["end_s"], first["face"]) == ("0.0", "3.0", "face 1")
    assert (first["emotion"], first["confidence"], first["evidence"], first["sad"]) == (
        "happy", "0.7", "face+voice", "0.2",
    )  # fmt: skip
    assert (second["emotion"], second["confidence"], second["evidence"], second["happy"]) == ("", "0.0", "none", "")
    assert (third["face"], third["emotion"]) == ("voice", "sad")


def test_csv_and_json_say_the_same():
    prediction = make_prediction(unsure_below=0.6)
    rows, windows = read_csv(prediction), to_json(prediction)["windows"]
    assert [row["emotion"] for row in rows] == [window["emotion"] or "" for window in windows]
    assert rows[2]["emotion"] == "unsure"
    assert [float(rows[0][name]) for name in CLASS_NAMES] == list(windows[0]["probabilities"].values())
