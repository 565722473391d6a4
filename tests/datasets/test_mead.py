"""Which clips come out of which tree of MEAD's files. Only names are read."""

import logging

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.mead import VIEWS, load, recognizes
from emotion.errors import ConfigError, DatasetError

VIDEO, SOUND = "M003/video/front/angry/level_2/001.mp4", "M003/audio/angry/level_2/001.m4a"


def test_a_video_and_its_sound_are_one_clip(tmp_path):
    make_tree(tmp_path, VIDEO, SOUND)
    assert load(tmp_path) == [
        Clip(
            clip_id="mead:M003-front-angry-2-001",
            emotion="angry",
            speaker="mead:M003",
            video_path=str(tmp_path / VIDEO),
            audio_path=str(tmp_path / SOUND),
            sex="male",
            details={"view": "front", "level": "2", "sentence": "001", "language": "en"},
        )
    ]


@pytest.mark.parametrize(
    ("file", "emotion", "speaker", "sex"),
    [
        ("W009/front/fear/level_1/003.mp4", "fearful", "W009", "female"),
        ("MEAD/M011/video/front/disgusted_level_3/010.mp4", "disgust", "M011", "male"),
        ("w015/video/front/contempt/level_3/010.MP4", "contempt", "W015", "female"),
        ("W009/audio/neutral/level_1/003.m4a", "neutral", "W009", "female"),
    ],
)
def test_other_forms_of_the_tree_are_read(tmp_path, file, emotion, speaker, sex):
    (clip,) = load(make_tree(tmp_path, file))
    assert (clip.emotion, clip.speaker, clip.sex) == (emotion, f"mead:{speaker}", sex)
    assert clip.audio_path == str(tmp_path / file)


def test_views_are_chosen_and_share_their_sound(tmp_path):
    make_tree(tmp_path, *(VIDEO.replace("front", view) for view in VIEWS), SOUND)
    assert len(load(tmp_path)) == 1
    both = load(tmp_path, views=("front", "left_30"))
    assert [clip.details["view"] for clip in both] == ["front", "left_30"]
    assert {clip.audio_path for clip in both} == {str(tmp_path / SOUND)}
    with refused(ConfigError, "back", *VIEWS):
        load(tmp_path, views=("back",))


def test_a_folder_of_other_views_alone_says_so(tmp_path):
    make_tree(tmp_path, VIDEO.replace("front", "top"))
    with refused(DatasetError, tmp_path, "front"):
        load(tmp_path)


def test_what_lies_otherwise_is_counted_and_left_out(tmp_path, caplog):
    make_tree(tmp_path, VIDEO, "M003/video/front/bored/level_1/001.mp4")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 1
    assert "left out 1 " in caplog.text


def test_the_folder_given_may_be_one_speakers(tmp_path):
    make_tree(tmp_path, VIDEO)
    assert recognizes(tmp_path / "M003")
    assert load(tmp_path / "M003")[0].speaker == "mead:M003"
