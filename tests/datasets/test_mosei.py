"""Which clips come out of CMU-MOSEI's tables and files. Media are known by their names alone."""

import logging

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.mosei import load, recognizes
from emotion.errors import DatasetError

S3PRL = """,file,index,start,end,label2a,label2b,label6,label7,split
0,-3g5yACwYnA,0,0.5,4.8,1,1,2,1,0
1,-3g5yACwYnA,1,4.8,9.5,1,1,0,1,1
2,254298,0,0.0,7.0,0,-1,5,-1,2
3,99,0,0.0,7.0,0,-1,4,-1,3
"""
INTENSITIES = """video_id,clip_id,text,happy,sad,anger,surprise,disgust,fear,mode
abc,0,Hello,2,0.33,0,0,0,0,train
abc,1,,0,0,0,0,0,0,valid
abc,2,,1,1,0,0,0,0,test
"""


def test_segments_are_found_by_file_and_index(tmp_path):
    make_tree(tmp_path, "wav/-3g5yACwYnA_0.wav", "mp4/-3g5yACwYnA_0.mp4", "wav/-3g5yACwYnA_1.wav", "wav/254298_0.wav",
              "wav/99_0.wav", **{"CMU_MOSEI_Labels.csv": S3PRL})  # fmt: skip
    clips = {clip.clip_id: clip for clip in load(tmp_path)}
    assert clips["mosei:-3g5yACwYnA_0"] == Clip(
        clip_id="mosei:-3g5yACwYnA_0",
        emotion="angry",
        video_path=str(tmp_path / "mp4/-3g5yACwYnA_0.mp4"),
        audio_path=str(tmp_path / "wav/-3g5yACwYnA_0.wav"),
        split="train",
        details={"video": "-3g5yACwYnA", "language": "en"},
    )
    assert [(clip.emotion, clip.split) for clip in clips.values()] == [
        ("angry", "train"), ("happy", "validation"), ("fearful", "test"), ("disgust", None),
    ]  # fmt: skip


def test_of_whole_videos_the_part_is_read(tmp_path, caplog):
    make_tree(tmp_path, "-3g5yACwYnA.mp4", "other.mp4", **{"labels.csv": S3PRL})
    with caplog.at_level(logging.WARNING):
        first, second = load(tmp_path)
    assert (first.start_seconds, first.end_seconds) == (0.5, 4.8)
    assert first.video_path == second.video_path == str(tmp_path / "-3g5yACwYnA.mp4")
    assert "left out 2 rows" in caplog.text
    assert "other" in caplog.text
    assert "label6" in caplog.text


def test_by_intensities_the_strongest_counts(tmp_path, caplog):
    make_tree(tmp_path, *(f"abc_{i}.mp4" for i in range(3)), **{"label.csv": INTENSITIES})
    with caplog.at_level(logging.WARNING):
        clips = load(tmp_path / "label.csv")
    assert [clip.emotion for clip in clips] == ["happy", "neutral", "undecided"]
    assert [clip.split for clip in clips] == ["train", "validation", "test"]
    assert clips[0].details["text"] == "Hello"
    assert caplog.text == ""


def test_nobody_says_who_is_in_which_video(tmp_path):
    make_tree(tmp_path, "abc_0.mp4", **{"label.csv": INTENSITIES})
    assert {clip.speaker for clip in load(tmp_path)} == {None}


@pytest.mark.parametrize(
    ("row", "word"), [("a,x,0,1,1,1,1,1,0", "line 2"), ("a,0,0,1,1,1,9,1,0", "line 2"), ("a,0,0,1,1,1,1,1,7", "split")]
)
def test_rows_that_cannot_be_true_are_refused(tmp_path, row, word):
    head = "file,index,start,end,label2a,label2b,label6,label7,split\n"
    make_tree(tmp_path, "a_0.wav", **{"l.csv": head + row + "\n"})
    with refused(DatasetError, "l.csv", word):
        load(tmp_path)


def test_tables_of_sentiment_alone_are_not_taken_for_labels_of_emotions(tmp_path):
    make_tree(
        tmp_path, "a_0.mp4", **{"label.csv": "video_id,clip_id,text,label,annotation,mode\na,0,x,1,Positive,test\n"}
    )
    assert not recognizes(tmp_path)
