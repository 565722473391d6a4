"""Files for annotation tools, as the tools' own packages and Label Studio's format read them."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import marked_predictions
import numpy as np
import pytest
from made_predictions import HAPPY, SAD, TORN, make_prediction
from refusals import refused

from emotion.errors import ConfigError
from emotion.outputs.annotations import link_media, read_emotion_of
from emotion.outputs.elan import format_eaf
from emotion.outputs.formats import TABLES, check_packages
from emotion.outputs.label_studio import FRAME_RATE, format_label_studio
from emotion.outputs.stretches import stretches_by_row
from emotion.outputs.textgrid import format_textgrid

ODD = 'A & B\'s <"face">\n\x07 ü: 1'


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clips" / "a clip.mp4"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.fixture
def prediction(clip):
    """A face that is happy, then sad; one of an odd name, of which the model is unsure; and a voice afterwards."""
    made = make_prediction([([HAPPY] * 3 + [SAD] * 4, 0, 9), ([TORN] * 4, 2, 6)], path=str(clip))
    tracks = (made.tracks[0], replace(made.tracks[1], person=ODD))
    return replace(made, tracks=tracks)


@pytest.fixture
def rows(prediction):
    return stretches_by_row(prediction)


def test_a_stretch_lasts_as_long_as_its_answer_whatever_the_others_do(rows):
    assert [stretch.emotion for stretch in rows["face 1"]] == ["happy", "sad"]
    happy, sad = rows["face 1"]
    assert (happy.start_seconds, happy.end_seconds, sad.end_seconds) == (0.0, sad.start_seconds, 9.0)
    (unsure,) = rows[ODD]
    assert (unsure.emotion, unsure.most_probable, round(unsure.confidence, 2)) == ("unsure", "happy", 0.48)
    assert unsure.start_seconds == pytest.approx(2, abs=0.3) and unsure.end_seconds == pytest.approx(6, abs=0.3)


def test_a_voice_has_a_row_of_its_own():
    rows = stretches_by_row(make_prediction(voice=[HAPPY] * 4, duration=6.0))
    assert list(rows) == ["voice"] and rows["voice"][0].emotion == "happy"


# ---- ELAN ----


def test_elan_has_a_tier_for_each_face_with_a_vocabulary_and_the_media(prediction, rows, clip, tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    target = tmp_path / "results" / "a clip_emotion.eaf"
    target.parent.mkdir()
    target.write_text(format_eaf(prediction, target), encoding="utf-8")
    read = elan.Eaf(str(target), suppress_version_warning=True)
    odd = ODD.replace("\n", "\\n").replace("\x07", "\\x07")
    assert list(read.get_tier_names()) == ["face 1", "face 1: confidence", odd, f"{odd}: confidence"]
    assert sorted(read.get_annotation_data_for_tier("face 1")) == [
        (round(s.start_seconds * 1000), round(s.end_seconds * 1000), s.emotion) for s in rows["face 1"]
    ]
    behind = [entry[2] for entry in read.get_ref_annotation_data_for_tier(f"{odd}: confidence")]
    assert behind == ["0.48 happy"]
    words = [values[0][0] for values, _ in read.get_cv_entries("emotions").values()]
    assert words == ["happy", "sad", "angry", "unsure"]
    types = {kind.get("LINGUISTIC_TYPE_ID"): kind for kind in ET.parse(target).iter("LINGUISTIC_TYPE")}
    assert types["emotion"].get("CONTROLLED_VOCABULARY_REF") == "emotions"
    (media,) = read.get_linked_files()
    assert media["RELATIVE_MEDIA_URL"] == "./../clips/a clip.mp4" and media["MIME_TYPE"] == "video/mp4"
    assert (target.parent / media["RELATIVE_MEDIA_URL"]).samefile(clip)


# ---- Praat ----


def test_a_textgrid_has_a_tier_for_each_face_without_gaps(prediction, rows, tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid")
    target = tmp_path / "a.TextGrid"
    target.write_text(format_textgrid(prediction, target), encoding="utf-8")
    read = textgrid.openTextgrid(str(target), includeEmptyIntervals=True)
    assert read.tierNames == ("face 1", ODD.replace("\n", "\\n").replace("\x07", "\\x07"))
    tier = read.getTier("face 1")
    assert [entry.label for entry in tier.entries] == [f"{s.emotion} {s.confidence:.2f}" for s in rows["face 1"]]
    other = read.tiers[1]
    assert [entry.label for entry in other.entries] == ["", "unsure 0.48 happy", ""]
    assert [other.entries[0].start, *(entry.end for entry in other.entries)] == pytest.approx(
        [0.0, rows[ODD][0].start_seconds, rows[ODD][0].end_seconds, 9.0]
    )


def test_a_textgrid_of_a_clip_without_answers_has_an_empty_tier(tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid")
    target = tmp_path / "a.TextGrid"
    target.write_text(format_textgrid(make_prediction(duration=2.0)), encoding="utf-8")
    (tier,) = textgrid.openTextgrid(str(target), includeEmptyIntervals=True).tiers
    assert [(entry.start, entry.end, entry.label) for entry in tier.entries] == [(0.0, 2.0, "")]


# ---- Label Studio ----


def test_label_studio_gets_a_task_with_regions_on_a_grid_of_frames(prediction, rows, tmp_path):
    target = tmp_path / "a.json"
    settings = {"model": "saved_models/default", "model_sha256": "0123456789abcdef"}
    (task,) = json.loads(format_label_studio(prediction, settings, target))
    assert task["data"] == {
        "video": "clips/a clip.mp4", "labels": ["happy", "sad", "angry", "unsure"], "frame_rate": FRAME_RATE,
    }  # fmt: skip
    (answer,) = task["predictions"]
    assert answer["model_version"] == "default 01234567"
    first, second, third = answer["result"]
    assert (first["type"], first["from_name"], first["to_name"]) == ("timelinelabels", "emotion", "video")
    assert first["value"] == {
        "ranges": [{"start": 1, "end": round(rows["face 1"][0].end_seconds * FRAME_RATE)}], "timelinelabels": ["happy"],
    }  # fmt: skip
    assert second["value"]["ranges"][0]["start"] == first["value"]["ranges"][0]["end"] + 1
    assert first["meta"]["text"] == ["face 1", f"happy {first['score']:.2f}"]
    assert third["value"]["timelinelabels"] == ["unsure"]
    assert third["meta"]["text"] == [ODD.replace("\n", "\\n").replace("\x07", "\\x07"), "unsure 0.48 happy"]
    assert len({region["id"] for region in answer["result"]}) == 3


def test_of_a_sound_the_regions_are_in_seconds():
    made = replace(make_prediction(voice=[HAPPY] * 4, duration=6.0, path="call.wav"), has_video=False)
    (task,) = json.loads(format_label_studio(made))
    (region,) = task["predictions"][0]["result"]
    assert task["data"]["audio"] == "call.wav" and "frame_rate" not in task["data"]
    assert (region["type"], region["to_name"], region["original_length"]) == ("labels", "audio", 6.0)
    assert region["value"] == {"start": 0.0, "end": 6.0, "channel": 0, "labels": ["happy"]}


# ---- What they share ----


@pytest.mark.parametrize(
    ("label", "emotion"),
    [("happy", "happy"), ("happy 0.89", "happy"), (" unsure 0.45 sad ", "unsure"), ("very angry 1", "very angry"),
     ("act 2", "act 2"), ("", "")],
)  # fmt: skip
def test_a_label_is_read_without_its_confidence(label, emotion):
    assert read_emotion_of(label) == emotion


def test_media_are_linked_from_where_the_file_lies(clip, tmp_path):
    assert link_media(str(clip), clip.parent / "x.eaf") == "a clip.mp4"
    assert link_media(str(clip), tmp_path / "x.eaf") == "clips/a clip.mp4"
    assert link_media("s3://bucket/clip.mp4", tmp_path / "x.eaf") == "s3://bucket/clip.mp4"
    assert link_media("camera 0", tmp_path / "x.eaf") is None


def test_times_are_on_the_files_own_clock(tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    windows = [marked_predictions_window(start) for start in np.arange(3600, 3605, 0.5)]
    made = marked_predictions.make_prediction([], windows, class_names=("happy", "sad"), duration=6.0)
    target = tmp_path / "a.eaf"
    target.write_text(format_eaf(made), encoding="utf-8")
    ((start, end, word),) = elan.Eaf(str(target), suppress_version_warning=True).get_annotation_data_for_tier("voice")
    assert 3_600_000 <= start < end <= 3_606_000 and word == "happy"


def marked_predictions_window(start):
    from emotion.results import WindowPrediction

    return WindowPrediction(start, start + 1.0, None, "voice", np.array([0.9, 0.1]))


def test_a_missing_package_is_named_before_any_work(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_packages(["json", "label_studio"])
    for kind in ("eaf", "textgrid"):
        with refused(ConfigError, f"--{kind}", "annotations", "requirements-annotations.txt"):
            check_packages([kind])
    assert {kind for kind, table in TABLES.items() if not table.has_stills} == {
        "srt", "vtt", "eaf", "textgrid", "label_studio",
    }  # fmt: skip
