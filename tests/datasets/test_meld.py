"""Which clips come out of MELD's label files and folders. The clips are empty: only their names are read."""

import logging

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.meld import load, read_meld_rows, recognizes
from emotion.errors import DatasetError

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
HOMEPAGE = "https://affective-meld.github.io"
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}


def row(dialogue=0, utterance=0, *, speaker="Joey", emotion="joy", words="Hi."):
    return f'1,"{words}",{speaker},{emotion},positive,{dialogue},{utterance},8,21,"00:16:16,059","00:16:21,731"'


def write_labels(root, side, *rows, header=HEADER, encoding="utf-8"):
    path = root / f"{side}_sent_emo.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *rows)) + "\n", encoding=encoding)
    return path


def test_a_row_and_its_file_make_a_clip(tmp_path):
    write_labels(tmp_path, "train", row(3, 14, words="Well, hello", speaker="The Interviewer", emotion="surprise"))
    make_tree(tmp_path, "train_splits/dia3_utt14.mp4")
    path = str(tmp_path / "train_splits" / "dia3_utt14.mp4")
    assert load(tmp_path) == [
        Clip(
            clip_id="meld:train:dia3_utt14",
            emotion="surprised",
            speaker="meld:The Interviewer",
            video_path=path,
            audio_path=path,
            split="train",
            details={
                "utterance": "Well, hello",
                "sentiment": "positive",
                "season": "8",
                "episode": "21",
                "dialogue": "3",
            },
        )
    ]


def test_the_same_numbers_on_three_sides_are_three_clips(tmp_path):
    for side, folder in FOLDERS.items():
        write_labels(tmp_path / side, side, row())
        make_tree(tmp_path, f"{side}/{folder}/dia0_utt0.mp4")
    clips = load(tmp_path)
    assert [clip.clip_id for clip in clips] == [f"meld:{side}:dia0_utt0" for side in ("test", "train", "validation")]
    assert [clip.split for clip in clips] == ["test", "train", "validation"]
    assert all(FOLDERS["test"] in path for path in clips[0].paths)


def test_folders_of_other_names_count_if_they_say_the_side(tmp_path):
    write_labels(tmp_path, "dev", row())
    write_labels(tmp_path, "test", row())
    make_tree(tmp_path, "MELD_dev/cut/dia0_utt0.avi", "latest/dia0_utt0.mp4", "meld-test/dia0_utt0.mp4")
    assert ["MELD_dev" in load(tmp_path)[1].video_path, "meld-test" in load(tmp_path)[0].video_path] == [True, True]


def test_a_side_alone_needs_no_folder_that_names_it(tmp_path):
    write_labels(tmp_path, "dev", row())
    make_tree(tmp_path, "clips/dia0_utt0.mp4")
    assert len(load(tmp_path)) == 1


def test_hidden_copies_and_cuts_left_behind_are_not_taken_for_clips(tmp_path, caplog):
    write_labels(tmp_path, "test", row(0, 0), row(101, 0))
    write_labels(tmp_path, "train", row(0, 0))
    make_tree(
        tmp_path,
        "final_videos_test/dia0_utt0.mp4",
        "output_repeated_splits_test/dia0_utt0.mp4",
        "output_repeated_splits_test/._dia101_utt0.mp4",
        "output_repeated_splits_test/final_videos_testdia101_utt0.mp4",
        "train_splits/dia0_utt0.mp4",
    )
    with caplog.at_level(logging.WARNING):
        test, _ = load(tmp_path)
    assert "output_repeated_splits_test" in test.video_path
    assert "left out 1 of 3 rows" in caplog.text
    assert "test:dia101_utt0" in caplog.text


def test_missing_clips_are_one_warning_that_counts_them_and_names_the_first(tmp_path, caplog):
    write_labels(tmp_path, "train", *(row(dialogue) for dialogue in range(10)))
    make_tree(tmp_path, "train_splits/dia4_utt0.mp4")
    with caplog.at_level(logging.WARNING):
        assert [clip.clip_id for clip in load(tmp_path)] == ["meld:train:dia4_utt0"]
    assert "left out 9 of 10 rows" in caplog.text
    assert "train:dia0_utt0" in caplog.text
    assert "dia9" not in caplog.text
    with refused(DatasetError, "9 of 10 clips", "train:dia0_utt0"):
        load(tmp_path, missing_ok=False)


def test_all_rows_can_be_had_with_the_path_where_the_file_should_lie(tmp_path):
    write_labels(tmp_path, "dev", row(0, 0), row(0, 1))
    make_tree(tmp_path, "dev_splits_complete/dia0_utt1.mp4")
    missing, there = read_meld_rows(tmp_path)
    assert (missing.exists, there.exists) == (False, True)
    assert missing.clip.video_path == str(tmp_path / "dev_splits_complete" / "dia0_utt0.mp4")
    assert (missing.clip.clip_id, missing.where) == ("meld:validation:dia0_utt0", "dev_sent_emo.csv, line 2")
    assert [there.clip] == load(tmp_path)


def test_several_speakers_at_once_are_nobody_in_particular(tmp_path):
    names = ["All", "Both", "Ross and Rachel", "Joey/Drake", "The Guys", "Everybody", "Sandy", "Allesandro"]
    write_labels(tmp_path, "train", *(row(0, i, speaker=name) for i, name in enumerate(names)))
    assert [row.clip.speaker for row in read_meld_rows(tmp_path)] == [None] * 6 + ["meld:Sandy", "meld:Allesandro"]


def test_one_speaker_stays_one_however_the_name_is_written(tmp_path):
    names = ("Phoebe Sr", "Phoebe  Sr.", " PHOEBE SR", "phoebe sr", "Richard’s Date", "Richard's Date", "TV Announcer")
    write_labels(tmp_path, "train", *(row(0, i, speaker=name) for i, name in enumerate(names)), row(0, 9, speaker=""))
    speakers = [row.clip.speaker for row in read_meld_rows(tmp_path)]
    assert speakers == ["meld:Phoebe Sr"] * 4 + ["meld:Richard's Date"] * 2 + ["meld:TV Announcer", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_label_files_are_read_in_the_encodings_they_come_in(tmp_path, encoding):
    write_labels(tmp_path, "train", row(words="You’re late…"), encoding=encoding)
    assert read_meld_rows(tmp_path)[0].clip.details["utterance"] == "You’re late…"


def test_punctuation_of_the_wrong_code_page_is_put_right(tmp_path):
    write_labels(tmp_path, "dev", row(words="he\x92s lost it\x85"))
    assert read_meld_rows(tmp_path)[0].clip.details["utterance"] == "he’s lost it…"


def test_headers_in_any_case_and_utterances_over_several_lines_are_read(tmp_path):
    write_labels(tmp_path, "train", row(words="one\ntwo"), row(0, 1), header=HEADER.upper().replace(",", " ,"))
    assert [row.where.split(", ")[1] for row in read_meld_rows(tmp_path)] == ["lines 2-3", "line 4"]


@pytest.mark.parametrize("bad", [row("x"), row(0, 0), row(5, emotion="")])
def test_a_row_that_cannot_be_true_is_named_by_its_line(tmp_path, bad):
    write_labels(tmp_path, "train", row(), bad)
    with refused(DatasetError, "train_sent_emo.csv: 1 of 2 rows", "line 3: "):
        load(tmp_path)


def test_a_label_file_without_its_columns_says_which(tmp_path):
    write_labels(tmp_path, "train", "a,b", header="Speaker,Emotion")
    with refused(DatasetError, "train_sent_emo.csv", "dialogue_id, utterance_id"):
        load(tmp_path)


def test_labels_without_clips_and_folders_without_labels_say_where_the_data_is(tmp_path):
    with refused(DatasetError, tmp_path, "train_sent_emo.csv", HOMEPAGE):
        load(tmp_path)
    write_labels(tmp_path, "train", row())
    with refused(DatasetError, tmp_path, "1 clips", HOMEPAGE):
        load(tmp_path)
    with refused(DatasetError, tmp_path / "nowhere"):
        load(tmp_path / "nowhere")


def test_a_folder_is_recognised_by_a_label_file(tmp_path):
    make_tree(tmp_path, "train_splits/dia0_utt0.mp4", "train_sent_emo_dya.csv")
    assert not recognizes(tmp_path)
    write_labels(tmp_path / "deep", "dev", row())
    assert recognizes(tmp_path)
