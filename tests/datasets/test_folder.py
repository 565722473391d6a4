"""Which clips come out of one folder for each emotion. The files are empty: only their names are read."""

import logging

import numpy as np
import pytest
import soundfile
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.folder import load, recognizes
from emotion.errors import DatasetError


def test_the_folder_names_the_emotion(tmp_path):
    make_tree(tmp_path, "Joy/a.mp4", "anger/b.wav", "sad/deep/c.png")
    path = str(tmp_path / "Joy" / "a.mp4")
    assert load(tmp_path) == [
        Clip("folder:Joy/a", "happy", video_path=path, audio_path=path),
        Clip("folder:anger/b", "angry", audio_path=str(tmp_path / "anger" / "b.wav")),
        Clip("folder:sad/deep/c", "sad", video_path=str(tmp_path / "sad" / "deep" / "c.png")),
    ]


@pytest.mark.parametrize(
    ("folder", "side"),
    [("train", "train"), ("Training", "train"), ("valid", "validation"), ("dev", "validation"), ("test", "test")]
    + [("PublicTest", "validation"), ("PrivateTest", "test")],
)
def test_a_folder_above_the_emotions_names_the_side(tmp_path, folder, side):
    make_tree(tmp_path, f"{folder}/happy/1.jpg")
    (clip,) = load(tmp_path)
    assert (clip.clip_id, clip.emotion, clip.split) == (f"folder:{folder}/happy/1", "happy", side)


def test_picture_and_sound_of_one_name_are_one_clip(tmp_path):
    make_tree(tmp_path, "sad/a.mp4", "sad/a.wav", "sad/b.jpg", "sad/b.flac", "happy/a.wav")
    clips = load(tmp_path)
    assert [clip.clip_id for clip in clips] == ["folder:happy/a", "folder:sad/a", "folder:sad/b"]
    assert [[path.rsplit(".", 1)[1] for path in clip.paths] for clip in clips] == [
        ["wav"],
        ["mp4", "wav"],
        ["jpg", "flac"],
    ]


def test_a_second_picture_of_one_name_is_left_out_and_counted(tmp_path, caplog):
    make_tree(tmp_path, "sad/a.avi", "sad/a.mp4", "sad/a.jpg")
    with caplog.at_level(logging.WARNING):
        (clip,) = load(tmp_path)
    assert clip.video_path.endswith("a.avi")
    assert "left out 2 files beside another of the same name: a.mp4, a.jpg" in caplog.text


def test_folders_of_unknown_emotions_keep_their_word_and_are_counted(tmp_path, caplog):
    make_tree(tmp_path, "happy/1.jpg", "Contempt/1.jpg", "Contempt/2.jpg", "0_angry/1.jpg", "notes/readme.txt")
    with caplog.at_level(logging.WARNING):
        assert [clip.emotion for clip in load(tmp_path)] == ["0_angry", "contempt", "contempt", "happy"]
    assert "0_angry (1 clips), contempt (2 clips)" in caplog.text
    assert "notes" not in caplog.text


def test_media_outside_the_folders_are_no_clips(tmp_path):
    with refused(DatasetError, tmp_path):
        load(make_tree(tmp_path, "1.jpg", "happy/readme.txt"))


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (("happy/1.jpg", "sad/1.jpg"), True),
        (("train/happy/1.jpg", "test/sad/deep/1.jpg"), True),
        (("happy/1.jpg", "contempt/1.jpg"), False),
        (("happy/1.jpg", "Joy/1.jpg"), False),
        (("happy/1.jpg", "sad/notes.txt"), False),
        (("clips/happy/1.jpg", "clips/sad/1.jpg"), False),
    ],
)
def test_two_emotions_with_media_are_needed_to_believe_in_the_layout(tmp_path, names, is_one):
    assert recognizes(make_tree(tmp_path, *names)) is is_one


def test_a_file_without_an_ending_is_known_by_its_content(tmp_path):
    make_tree(tmp_path, "sad/a.wav")
    soundfile.write(tmp_path / "sad" / "b", np.zeros(800), 8000, format="WAV")
    assert [clip.clip_id for clip in load(tmp_path)] == ["folder:sad/a", "folder:sad/b"]
