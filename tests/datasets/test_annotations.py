"""Clips out of files of annotation tools: those that the tools write, and those that this program writes."""

import json
import logging

import pytest
from data_trees import make_tree
from made_predictions import HAPPY, SAD, make_prediction
from refusals import refused

from emotion.datasets.clips import Clip
from emotion.datasets.manifest import load, recognizes, write_manifest
from emotion.datasets.recognition import load_dataset
from emotion.errors import ConfigError, DatasetError
from emotion.outputs.elan import format_eaf
from emotion.outputs.label_studio import format_label_studio
from emotion.outputs.textgrid import format_textgrid

FORMATS = {".eaf": format_eaf, ".TextGrid": format_textgrid,
           ".label_studio.json": lambda made, target: format_label_studio(made, None, target)}  # fmt: skip
PACKAGES = {".eaf": "pympi", ".TextGrid": "praatio"}


def stretches(clips):
    return [(clip.start_seconds, clip.end_seconds, clip.emotion) for clip in clips]


def write(path, tiers, media=(), participants=()):
    """Writes an ELAN file of tiers of (start, end, label) in milliseconds."""
    elan = pytest.importorskip("pympi.Elan")
    document = elan.Eaf()
    document.remove_tier("default")
    for link in media:
        document.add_linked_file(link, relpath=None, mimetype="video/mp4")
    for name, entries in tiers.items():
        document.add_tier(name, part=dict(participants).get(name))
        for entry in entries:
            document.add_annotation(name, *entry)
    document.to_file(str(path))
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_this_program_wrote_reads_back_as_clips(tmp_path, suffix):
    pytest.importorskip(PACKAGES.get(suffix, "json"))
    make_tree(tmp_path, "clip.mp4")
    faces = [([HAPPY] * 3 + [SAD] * 4, 0, 9), ([SAD] * 7, 0, 9)]
    made = make_prediction(faces, path=str(tmp_path / "clip.mp4"))
    target = tmp_path / f"clip_emotion{suffix}"
    target.write_text(FORMATS[suffix](made, target), encoding="utf-8")
    assert recognizes(target)
    with refused(DatasetError, "face 1, face 2", "tier='face 1'"):
        load(target)
    clips = load_dataset(target, tier="face 1")
    (start, change, first), (again, end, second) = stretches(clips)
    assert (first, second, start, change) == ("happy", "sad", 0.0, again)
    assert change == pytest.approx(4, abs=1) and end == pytest.approx(9)
    assert {(clip.video_path, clip.audio_path) for clip in clips} == {(str(tmp_path / "clip.mp4"),) * 2}
    assert stretches(load(target, tier="face 2")) == [(0.0, pytest.approx(9), "sad")]


# ---- ELAN ----


def test_annotations_are_clips_of_the_linked_file_and_participants_speakers(tmp_path, caplog):
    make_tree(tmp_path, "media/talk.mp4")
    path = write(tmp_path / "ann.eaf", {"emotion": [(2500, 4000, "Joy"), (0, 1500, "anger"), (5000, 6000, "bored")]},
                 ["file:///elsewhere/talk.mp4"], {"emotion": "ann"})  # fmt: skip
    with caplog.at_level(logging.WARNING):
        clips = load(path, tmp_path / "media")
    assert clips[0] == Clip(
        clip_id="ann:talk.mp4#0-1.5",
        emotion="angry",
        speaker="ann:ann",
        video_path=str(tmp_path / "media/talk.mp4"),
        audio_path=str(tmp_path / "media/talk.mp4"),
        start_seconds=0.0,
        end_seconds=1.5,
        details={"tier": "emotion"},
    )
    assert [clip.emotion for clip in clips] == ["angry", "happy", "bored"]
    assert "none of the known emotions: bored (1)" in caplog.text


def test_tiers_of_words_stand_beside_the_one_that_is_chosen(tmp_path):
    make_tree(tmp_path, "talk.mp4")
    path = write(tmp_path / "a.eaf", {"words": [(0, 900, "hello")], "mood": [(0, 900, "sad")]}, ["talk.mp4"])
    assert [clip.emotion for clip in load(path, tier="mood")] == ["sad"]
    with refused(DatasetError, "'face'", "words, mood"):
        load(path, tier="face")


def test_missing_media_and_empty_files_say_so(tmp_path):
    path = write(tmp_path / "a.eaf", {"mood": [(0, 900, "sad")]}, ["gone.mp4"])
    with refused(DatasetError, path, "gone.mp4"):
        load(path)
    with refused(DatasetError, "b.eaf", "no labelled intervals"):
        load(write(tmp_path / "b.eaf", {"mood": []}, ["gone.mp4"]))
    make_tree(tmp_path, **{"c.eaf": "<html></html>", "d.eaf": "no XML"})
    for name in ("c.eaf", "d.eaf"):
        with refused(DatasetError, name):
            load(tmp_path / name)


# ---- Praat ----


def write_grid(path, intervals):
    textgrid = pytest.importorskip("praatio.textgrid")
    grid = textgrid.Textgrid(0, 10)
    grid.addTier(textgrid.IntervalTier("mood", intervals, 0, 10))
    grid.addTier(textgrid.PointTier("clicks", [(1.0, "x")], 0, 10))
    grid.save(str(path), "short_textgrid", includeBlankSpaces=True)
    return path


def test_intervals_are_clips_of_the_file_of_that_name(tmp_path):
    make_tree(tmp_path, "talk.wav", "talk.txt")
    clips = load(write_grid(tmp_path / "talk.TextGrid", [(1.0, 2.5, "neutral"), (3.0, 4.0, "fear 0.9")]))
    assert stretches(clips) == [(1.0, 2.5, "neutral"), (3.0, 4.0, "fearful")]
    assert {(clip.video_path, clip.audio_path) for clip in clips} == {(None, str(tmp_path / "talk.wav"))}


def test_a_video_with_drawings_is_not_taken_for_the_clip(tmp_path):
    make_tree(tmp_path, "talk_emotion.mp4")
    with refused(DatasetError, "called talk in"):
        load(write_grid(tmp_path / "talk_emotion.TextGrid", [(1.0, 2.5, "neutral")]))


# ---- Label Studio ----


def export(path, tasks):
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def region(label, start, end, name="emotion"):
    return {"id": "r", "from_name": name, "to_name": "video", "type": "timelinelabels",
            "value": {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]}}  # fmt: skip


def test_an_export_has_what_people_corrected(tmp_path):
    make_tree(tmp_path, "talk.mp4", "call.wav")
    sound = {"id": "s", "from_name": "emotion", "to_name": "audio", "type": "labels",
             "value": {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["Sadness"]}}  # fmt: skip
    tasks = [
        {"id": 1, "data": {"video": "/data/upload/3/0a1b2c3d-talk.mp4", "frame_rate": 10},
         "annotations": [{"was_cancelled": False, "result": [region("happy", 1, 15), region("angry", 16, 20)]},
                         {"was_cancelled": True, "result": [region("sad", 1, 15)]}],
         "predictions": [{"result": [region("fearful", 1, 15)]}]},
        {"id": 2, "data": {"audio": "/data/local-files/?d=call.wav"}, "annotations": [{"result": [sound]}]},
    ]  # fmt: skip
    clips = load(export(tmp_path / "export.json", tasks))
    assert stretches(clips) == [(0.5, 2.0, "sad"), (0.0, 1.5, "happy"), (1.5, 2.0, "angry")]
    assert [clip.paths for clip in clips] == [(str(tmp_path / "call.wav"),), *[(str(tmp_path / "talk.mp4"),)] * 2]


def test_predictions_are_read_with_a_word_that_nobody_corrected_them(tmp_path, caplog):
    make_tree(tmp_path, "talk.mp4")
    task = {"data": {"video": "talk.mp4"}, "predictions": [{"result": [region("happy", 1, 25)]}]}
    with caplog.at_level(logging.WARNING):
        assert stretches(load(export(tmp_path / "a.json", [task]))) == [(0.0, 1.0, "happy")]
    assert "nobody corrected" in caplog.text


@pytest.mark.parametrize("content", ["{}", "[]", '[{"data": 1}]', "no JSON", '{"schema_version": 3}'])
def test_other_json_is_no_manifest(tmp_path, content):
    make_tree(tmp_path, **{"a.json": content})
    assert not recognizes(tmp_path / "a.json")


def test_a_broken_task_is_named(tmp_path):
    task = {"id": 7, "data": {"video": "a.mp4"}, "annotations": [{"result": [{"type": "timelinelabels"}]}]}
    with refused(DatasetError, "a.json", "task 7"):
        load(export(tmp_path / "a.json", [task]))


# ---- All ----


def test_clips_go_on_as_a_manifest(tmp_path):
    make_tree(tmp_path, "talk.mp4")
    tasks = [{"data": {"video": "talk.mp4"}, "annotations": [{"result": [region("happy", 1, 25)]}]}]
    clips = load(export(tmp_path / "a.json", tasks))
    write_manifest(clips, tmp_path / "manifest.csv", tmp_path)
    assert stretches(load(tmp_path)) == stretches(clips)


def test_a_table_has_no_tiers(tmp_path):
    make_tree(tmp_path, **{"manifest.csv": "path,emotion\na.wav,sad\n"})
    with refused(DatasetError, "tier=voice"):
        load(tmp_path, tier="voice")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    make_tree(tmp_path, **{"a.eaf": "<x/>", "a.TextGrid": ""})
    monkeypatch.setitem(__import__("sys").modules, "pympi.Elan", None)
    monkeypatch.setitem(__import__("sys").modules, "praatio.textgrid", None)
    for name in ("a.eaf", "a.TextGrid"):
        with refused(ConfigError, "annotations", "requirements-annotations.txt"):
            load(tmp_path / name)
