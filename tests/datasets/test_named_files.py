"""Data sets whose files say by their names what they hold. Only names are read."""

import logging

import pytest
from data_trees import make_tree

from emotion.datasets import DATASETS, Clip


def load_one(name, root, *files):
    (clip,) = DATASETS[name].load(make_tree(root, *files))
    return clip


@pytest.mark.parametrize(
    ("name", "file", "key", "emotion", "speaker", "sex", "language"),
    [
        ("savee", "ALL/DC_a01.wav", "DC_a01", "angry", "DC", "male", "en"),
        ("savee", "AudioData/KL/sa15.wav", "KL_sa15", "sad", "KL", "male", "en"),
        ("savee", "je/su3.wav", "JE_su03", "surprised", "JE", "male", "en"),
        ("savee", "JK/n30.wav", "JK_n30", "neutral", "JK", "male", "en"),
        ("tess", "OAF_Fear/OAF_back_fear.wav", "OAF_back_fear", "fearful", "OAF", "female", "en"),
        ("tess", "YAF_youth_ps.wav", "YAF_youth_ps", "surprised", "YAF", "female", "en"),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "OAF_bite_neutral", "neutral", "OAF", "female", "en"),
        ("emovo", "m3/rab-m3-l4.wav", "rab-m3-l4", "angry", "m3", "male", "it"),
        ("emovo", "pau-f2-d2.wav", "pau-f2-d2", "fearful", "f2", "female", "it"),
        ("emovo", "sor-f1-n5.wav", "sor-f1-n5", "surprised", "f1", "female", "it"),
        ("aesdd", "fear/f18 (5).wav", "f18 (5)", "fearful", "5", None, "el"),
        ("aesdd", "fear/f18 (5)b.wav", "f18 (5)b", "fearful", "5", None, "el"),
        ("aesdd", "happiness/h01(10).wav", "h01 (10)", "happy", "10", None, "el"),
        ("enterface", "subject 1/anger/sentence 1/s1_an_1.avi", "s1_an_1", "angry", "1", None, "en"),
        ("enterface", "s42_su_5.avi", "s42_su_5", "surprised", "42", None, "en"),
        ("enterface", "subject 3/sadness/sentence 2/s_3_sa_2.avi", "s3_sa_2", "sad", "3", None, "en"),
        ("enterface", "x/subject 16/fear/sentence 3/odd.avi", "s16_fe_3", "fearful", "16", None, "en"),
    ],
)
def test_the_name_says_who_speaks_and_how(tmp_path, name, file, key, emotion, speaker, sex, language):
    clip = load_one(name, tmp_path, file)
    assert (clip.clip_id, clip.emotion) == (f"{name}:{key}", emotion)
    assert (clip.speaker, clip.sex) == (f"{name}:{speaker}", sex)
    assert clip.details["language"] == language
    assert clip.audio_path == str(tmp_path / file)
    assert (clip.video_path is None) == file.endswith(".wav")


def test_the_folder_given_may_be_one_speakers(tmp_path):
    make_tree(tmp_path / "DC", "a01.wav", "h02.wav")
    assert [clip.clip_id for clip in DATASETS["savee"].load(tmp_path / "DC")] == ["savee:DC_a01", "savee:DC_h02"]
    assert DATASETS["savee"].recognizes(tmp_path / "DC")


def test_a_video_and_a_sound_of_one_sentence_are_one_clip(tmp_path):
    clip = load_one("savee", tmp_path, "AudioVisualClip/DC/a1.avi", "AudioData/DC/a01.wav")
    assert clip == Clip(
        clip_id="savee:DC_a01",
        emotion="angry",
        speaker="savee:DC",
        video_path=str(tmp_path / "AudioVisualClip/DC/a1.avi"),
        audio_path=str(tmp_path / "AudioData/DC/a01.wav"),
        sex="male",
        details={"sentence": "01", "language": "en"},
    )


@pytest.mark.parametrize(
    ("name", "file", "other"),
    [
        ("savee", "DC_a01.wav", "XY_a01.wav"),
        ("tess", "OAF_back_angry.wav", "OAF_back_bored.wav"),
        ("emovo", "dis-f1-b1.wav", "dis-f9-b1.wav"),
        ("aesdd", "a01 (1).wav", "x01 (1).wav"),
        ("enterface", "s1_an_1.avi", "subject 6/anger/anger.avi"),
    ],
)
def test_what_is_named_otherwise_is_counted_and_left_out(tmp_path, caplog, name, file, other):
    with caplog.at_level(logging.WARNING):
        load_one(name, tmp_path, file, other, "readme.txt")
    assert "left out 1 " in caplog.text
    assert other.rpartition("/")[2] in caplog.text


def test_of_copies_the_first_counts_and_the_others_are_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        clip = load_one("tess", tmp_path, "a/OAF_back_sad.wav", "b/OAF_back_sad.wav", "c/OAF_back_sad.mp3")
    assert clip.audio_path == str(tmp_path / "a/OAF_back_sad.wav")
    assert "left out 1 further copies of recordings: OAF_back_sad.wav" in caplog.text


def test_a_copy_that_windows_made_of_savee_is_no_aesdd(tmp_path):
    make_tree(tmp_path, "DC/a01.wav", "DC/a01 (1).wav")
    assert not DATASETS["aesdd"].recognizes(tmp_path)
