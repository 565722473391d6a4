"""Which clips come out of which tree of CREMA-D files, and of a table that lists them. Only names are read."""

import logging

import numpy as np
import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.cremad import SENTENCES, SPLIT_SPEAKERS, load, recognizes
from emotion.errors import ConfigError, DatasetError
from emotion.labels import CREMAD_EMOTIONS

KEY = "1001_DFA_ANG_XX"


def only_clip(root):
    (clip,) = load(root)
    return clip


def below(path, root):
    return path and path.removeprefix(str(root)).replace("\\", "/").lstrip("/")


# ---- Names and layouts ----


def test_sound_and_picture_of_one_name_are_one_clip_and_the_name_says_the_rest(tmp_path):
    make_tree(tmp_path, f"AudioWAV/{KEY}.wav", f"VideoFlash/{KEY}.flv")
    (tmp_path / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n", encoding="utf-8"
    )
    assert only_clip(tmp_path) == Clip(
        clip_id=f"cremad:{KEY}",
        emotion="angry",
        speaker="cremad:1001",
        video_path=str(tmp_path / "VideoFlash" / f"{KEY}.flv"),
        audio_path=str(tmp_path / "AudioWAV" / f"{KEY}.wav"),
        sex="male",
        split="train",
        details={"sentence": "Don't forget a jacket", "intensity": "unspecified", "age": "51"},
    )


def test_all_sentences_emotions_and_intensities_are_known(tmp_path):
    assert len(SENTENCES) == 12
    names = [f"1002_{sentence}_{code}_LO.wav" for sentence in SENTENCES for code in CREMAD_EMOTIONS]
    make_tree(tmp_path, *names, "1002_IEO_ANG_MD.wav", "1002_IEO_ANG_HI.wav", "1040_ITH_SAD_X.wav")
    clips = load(tmp_path)
    assert len(clips) == len(names) + 3
    assert {clip.details["intensity"] for clip in clips} == {"low", "medium", "high", "unspecified"}
    assert {clip.emotion for clip in clips} == set(CREMAD_EMOTIONS.values())


@pytest.mark.parametrize(
    ("files", "picture", "sound"),
    [
        pytest.param([f"{KEY}.flv"], f"{KEY}.flv", f"{KEY}.flv", id="without a sound file the sound is in the video"),
        pytest.param([f"mp3/{KEY}.mp3", f"wav/{KEY}.wav"], None, f"wav/{KEY}.wav", id="sound alone, WAV before MP3"),
        pytest.param(["a/b/c/1001_dfa_ang_xx.MP4"], *["a/b/c/1001_dfa_ang_xx.MP4"] * 2, id="deep, in any case"),
    ],
)
def test_picture_and_sound_come_from_the_files_that_have_them(tmp_path, files, picture, sound):
    clip = only_clip(make_tree(tmp_path, *files))
    assert clip.clip_id == f"cremad:{KEY}"
    assert (below(clip.video_path, tmp_path), below(clip.audio_path, tmp_path)) == (picture, sound)


@pytest.mark.parametrize(
    "name", ["1092_DFA_ANG_XX", "1000_DFA_ANG_XX", "1001_XYZ_ANG_XX", "1001_DFA_SUR_XX", "holiday"]
)
def test_files_of_other_names_are_counted_and_left_out(tmp_path, caplog, name):
    make_tree(tmp_path, f"{KEY}.wav", f"{name}.wav", ".cache/1002_DFA_ANG_XX.wav", f"._{KEY}.wav", "note.txt")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 1
    assert "left out 1 " in caplog.text
    assert f"{name}.wav" in caplog.text


def test_a_broken_table_of_actors_costs_their_sex_and_no_clips(tmp_path, caplog):
    make_tree(tmp_path, f"{KEY}.wav")
    (tmp_path / "VideoDemographics.csv").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert only_clip(tmp_path).sex is None
    assert "without the actors' sex and age" in caplog.text


def test_a_folder_is_recognised_by_one_name(tmp_path):
    assert not recognizes(make_tree(tmp_path, "1001_holiday.wav", f"{KEY}.txt"))
    assert recognizes(make_tree(tmp_path, f"deep/{KEY}.flv"))


# ---- The published split ----


def test_the_split_is_the_one_of_tensorflow_datasets():
    speakers = sorted(str(speaker) for speaker in range(1001, 1092))
    np.random.RandomState(0).shuffle(speakers)
    derived = {"train": speakers[:63], "validation": speakers[63:72], "test": speakers[72:]}
    assert {side: sorted(map(str, numbers)) for side, numbers in SPLIT_SPEAKERS.items()} == {
        side: sorted(numbers) for side, numbers in derived.items()
    }


def test_clips_carry_the_side_of_their_speaker(tmp_path):
    make_tree(tmp_path, "1003_DFA_ANG_XX.wav", "1015_DFA_ANG_XX.wav", "1086_DFA_ANG_XX.wav")
    assert [clip.split for clip in load(tmp_path)] == ["train", "validation", "test"]


# ---- The table of paths ----


def write_table(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_table_of_paths_selects_the_clips(tmp_path):
    other = "1002_IEO_SAD_HI"
    make_tree(tmp_path, f"AudioWAV/{KEY}.wav", f"VideoFlash/{KEY}.flv", f"AudioWAV/{other}.wav")
    table = write_table(
        tmp_path / "cremad_paths.csv",
        "audio_path,video_path,emotion",
        f"AudioWAV/{KEY}.wav,VideoFlash/{KEY}.flv,ANG",
    )
    for root in (tmp_path, table):
        clip = only_clip(root)
        assert clip.clip_id == f"cremad:{KEY}"
        assert [below(path, tmp_path) for path in clip.paths] == [f"VideoFlash/{KEY}.flv", f"AudioWAV/{KEY}.wav"]


def test_paths_of_another_machine_and_folders_of_frames_are_looked_for_by_name(tmp_path):
    make_tree(tmp_path, f"AudioWAV/{KEY}.wav", f"VideoFlash/{KEY}.flv", "AudioWAV/1002_IEO_SAD_HI.wav")
    write_table(
        tmp_path / "cremad_paths.csv",
        "audio_path,video_frame_dir,emotion",
        rf"D:\data\AudioWAV\{KEY}.wav,../cremad/Image-01-FPS/{KEY},anger",
        "/kaggle/input/AudioWAV/1002_IEO_SAD_HI.wav,,sad",
    )
    first, second = load(tmp_path)
    assert [below(path, tmp_path) for path in first.paths] == [f"VideoFlash/{KEY}.flv", f"AudioWAV/{KEY}.wav"]
    assert second.video_path is None


def test_a_row_for_the_picture_and_one_for_the_sound_make_one_clip(tmp_path):
    make_tree(tmp_path, f"{KEY}.wav", f"{KEY}.flv")
    write_table(tmp_path / "cremad_paths.csv", "path,emotion", f"{KEY}.wav,ANG", f"{KEY}.flv,angry")
    assert len(only_clip(tmp_path).paths) == 2


def test_the_file_named_comes_before_another_of_the_same_clip(tmp_path):
    make_tree(tmp_path, f"a/{KEY}.flv", f"b/{KEY}.mp4")
    write_table(tmp_path / "cremad_paths.csv", "video_path,emotion", f"elsewhere/{KEY}.mp4,ANG")
    assert below(only_clip(tmp_path).video_path, tmp_path) == f"b/{KEY}.mp4"


def test_rows_whose_files_are_gone_are_counted(tmp_path, caplog):
    make_tree(tmp_path, f"{KEY}.wav")
    write_table(tmp_path / "cremad_paths.csv", "audio_path,emotion", f"{KEY}.wav,ANG", "1002_IEO_SAD_HI.wav,SAD")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 1
    assert "left out 1 rows whose files are not there: 1002_IEO_SAD_HI" in caplog.text


@pytest.mark.parametrize(
    ("row", "facts"),
    [
        (f"{KEY}.wav,{KEY}.flv,HAP", ("HAP", KEY, "angry")),
        (f"{KEY}.wav,{KEY}.flv,5", ("5",)),
        (f"{KEY}.wav,1001_DFA_SAD_XX.flv,ANG", ("1001_DFA_ANG_XX and 1001_DFA_SAD_XX",)),
        ("holiday.wav,,ANG", ("HOLIDAY",)),
        (",,ANG", ("no file",)),
        (f"{KEY}.wav,{KEY}.flv,ANG,more", ("4 fields", "3 columns")),
    ],
)
def test_a_row_that_cannot_be_true_is_named_by_its_line(tmp_path, row, facts):
    make_tree(tmp_path, f"{KEY}.wav", f"{KEY}.flv")
    write_table(tmp_path / "cremad_paths.csv", "audio_path,video_path,emotion", f"{KEY}.wav,{KEY}.flv,ANG", row)
    with refused(DatasetError, "cremad_paths.csv: 1 of 2 rows") as caught:
        load(tmp_path)
    about_the_row = str(caught.value).partition("line 3: ")[2]
    assert all(fact in about_the_row for fact in facts)


def test_a_table_is_recognised_by_its_name_or_by_its_columns_and_first_row(tmp_path):
    assert recognizes(write_table(tmp_path / "a.csv", "audio_path,emotion", f"x/{KEY}.wav,ANG"))
    assert recognizes(write_table(tmp_path / "cremad_paths.csv", "path,emotion", f"x/{KEY}.wav,ANG"))
    assert not recognizes(write_table(tmp_path / "b.csv", "path,emotion", f"x/{KEY}.wav,ANG"))
    assert not recognizes(write_table(tmp_path / "c.csv", "audio_path,emotion", "x/holiday.wav,ANG"))


# ---- What raters heard and saw ----

SUMMARY = (
    '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'
    f'"1","{KEY}","N",60,"A",70,"A:D",80\n'
)
VOTES = (
    '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"\n'
    f'"100062",2,1,0,0,6,0,"{KEY}",9,0.66,"N"\n'
    f'"200062",5,1,0,0,1,0,"{KEY}",7,0.71,"A"\n'
    f'"300062",4,4,0,0,1,0,"{KEY}",9,0.44,"A:D"\n'
)
TABLES = {"processedResults/summaryTable.csv": SUMMARY, "processedResults/tabulatedVotes.csv": VOTES}


@pytest.mark.parametrize(
    ("files", "raters", "perceived", "votes"),
    [
        ([f"{KEY}.wav"], None, "neutral", "angry=2 disgust=1 neutral=6"),
        ([f"{KEY}.flv"], None, "undecided", "angry=4 disgust=4 neutral=1"),
        ([f"{KEY}.flv"], "voice", "neutral", "angry=2 disgust=1 neutral=6"),
        ([f"{KEY}.flv"], "face", "angry", "angry=5 disgust=1 neutral=1"),
    ],
)
def test_labels_are_what_was_intended_or_perceived(tmp_path, files, raters, perceived, votes):
    make_tree(tmp_path, *files, **TABLES)
    (intended,) = load(tmp_path, raters=raters)
    assert (intended.emotion, intended.details["votes"]) == ("angry", votes)
    (heard,) = load(tmp_path, labels="perceived", raters=raters)
    assert (heard.emotion, heard.details["votes"], heard.details["intended"]) == (perceived, votes, "angry")


@pytest.mark.parametrize("name", TABLES)
def test_one_of_the_tables_is_enough_for_what_was_perceived(tmp_path, name):
    make_tree(tmp_path, f"{KEY}.wav", **{name: TABLES[name]})
    assert load(tmp_path, labels="perceived")[0].emotion == "neutral"


def test_without_the_tables_nobody_perceived_anything(tmp_path, caplog):
    make_tree(tmp_path, f"{KEY}.wav", **{"processedResults/tabulatedVotes.csv": "A,B\n1,2\n"})
    with caplog.at_level(logging.WARNING):
        assert "votes" not in only_clip(tmp_path).details
    assert "tabulatedVotes.csv" in caplog.text
    with refused(DatasetError, tmp_path, "summaryTable.csv"):
        load(tmp_path, labels="perceived")
    for wrong in ({"labels": "felt"}, {"raters": "ears"}):
        with refused(ConfigError, *wrong.values()):
            load(tmp_path, **wrong)
