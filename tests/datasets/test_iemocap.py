"""Which clips come out of which tree of IEMOCAP's files. Media are known by their names alone."""

import logging

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.iemocap import load
from emotion.errors import ConfigError, DatasetError

TABLE = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
TURNS = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t()
C-E4:\tAnger;\t(and more)
C-F1:\tHappiness;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[2.5000, 3.0000, 2.5000]
[12.0000 - 13.5000]\tSes01F_impro01_M001\txxx\t[2.5000, 3.0000, 2.5000]
"""
SENTENCES = [f"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{turn}.wav" for turn in ("F000", "M000", "M001")]
FILM, SOUND = "Session1/dialog/avi/DivX/Ses01F_impro01.avi", "Session1/dialog/wav/Ses01F_impro01.wav"


def test_turns_are_sentences_of_the_person_whose_turn_it_is(tmp_path):
    make_tree(tmp_path, *SENTENCES, FILM, SOUND, **{TABLE: TURNS})
    clips = load(tmp_path)
    assert clips[0] == Clip(
        clip_id="iemocap:Ses01F_impro01_F000",
        emotion="neutral",
        speaker="iemocap:1F",
        audio_path=str(tmp_path / SENTENCES[0]),
        sex="female",
        details={"dialog": "Ses01F_impro01", "language": "en", "votes": "angry=2 neutral=2"},
    )
    assert [(clip.speaker, clip.sex, clip.emotion) for clip in clips[1:]] == [
        ("iemocap:1M", "male", "excited"), ("iemocap:1M", "male", "undecided"),
    ]  # fmt: skip


@pytest.mark.parametrize("sound", [SOUND, None])
def test_turns_may_be_parts_of_the_dialogs_videos(tmp_path, sound):
    make_tree(tmp_path, *SENTENCES, FILM, *([sound] if sound else []), **{TABLE: TURNS})
    clip = load(tmp_path, media="dialogs")[0]
    assert (clip.start_seconds, clip.end_seconds) == (6.2901, 8.2357)
    assert (clip.video_path, clip.audio_path) == (str(tmp_path / FILM), str(tmp_path / (sound or FILM)))


def test_excited_turns_may_count_as_happy(tmp_path):
    make_tree(tmp_path, *SENTENCES, **{TABLE: TURNS})
    assert [clip.emotion for clip in load(tmp_path, excited="happy")] == ["neutral", "happy", "undecided"]
    for wrong in ({"media": "films"}, {"excited": "sad"}):
        with refused(ConfigError, *wrong.values()):
            load(tmp_path, **wrong)


def test_other_tables_of_the_raters_are_not_taken_for_labels(tmp_path):
    make_tree(tmp_path, *SENTENCES, **{TABLE: TURNS}, **{
        "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt": "Ses01F_impro01_F000 :Sadness; ()",
        "Session1/dialog/transcriptions/Ses01F_impro01.txt": "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.",
    })  # fmt: skip
    assert len(load(tmp_path)) == 3


def test_missing_and_unlisted_sentences_are_counted(tmp_path, caplog):
    make_tree(tmp_path, *SENTENCES[:2], SENTENCES[0].replace("F000", "F099"), **{TABLE: TURNS})
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 2
    assert "Ses01F_impro01_M001" in caplog.text
    assert "Ses01F_impro01_F099" in caplog.text


def test_what_cannot_be_true_is_refused_with_its_line(tmp_path):
    make_tree(tmp_path, *SENTENCES, **{TABLE: TURNS.replace("\tneu\t", "\tbored\t")})
    with refused(DatasetError, TABLE, "line 3", "bored"):
        load(tmp_path)
    make_tree(tmp_path, **{TABLE: "no turns\n"})
    with refused(DatasetError, TABLE):
        load(tmp_path)


def test_labels_without_media_say_so(tmp_path):
    make_tree(tmp_path, *SENTENCES, **{TABLE: TURNS})
    with refused(DatasetError, "dialogs"):
        load(tmp_path, media="dialogs")
