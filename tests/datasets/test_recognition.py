"""Which data set a folder is taken for, and what all adapters do alike, whatever the names of their files."""

import logging
import os
import random

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import DATASETS
from emotion.datasets.recognition import load_dataset, read_options, recognize
from emotion.errors import ConfigError, DatasetError

MELD_LABELS = "Speaker,Emotion,Dialogue_ID,Utterance_ID\n" + "".join(f"Joey,joy,0,{i}\n" for i in range(6))

IEMOCAP_TURNS = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes0{i}F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
[7.5712 - 10.4750]\tSes0{i}F_impro01_M000\tfru\t[2.5000, 2.5000, 2.5000]
"""

TREES = {
    "ravdess": {f"{folder}/03-01-0{code}-01-01-01-01.wav": "" for folder in "ab" for code in range(1, 9)},
    "cremad": {f"{suffix}/100{i}_DFA_{code}_XX.{suffix}": "" for suffix in ("flv", "mp4", "wav") for i in (1, 2)
               for code in ("ANG", "SAD")},
    "meld": {"train_sent_emo.csv": MELD_LABELS, "copy/train_sent_emo.csv": MELD_LABELS}
            | {f"{folder}/dia0_utt{i}.mp4": "" for folder in ("train_splits", "old_train") for i in range(6)},
    "emodb": {f"{speaker}a01{letter}a.wav": "" for speaker in ("03", "08") for letter in "NFTWAE"},
    "savee": {f"AudioData/{speaker}/{code}0{i}.wav": "" for speaker in ("DC", "KL") for code in ("a", "n", "sa", "su")
              for i in (1, 2)},
    "tess": {f"{folder}/{speaker}_{emotion}/{speaker}_back_{emotion}.wav": "" for folder in ("TESS", "TESS/TESS")
             for speaker in ("OAF", "YAF") for emotion in ("angry", "fear", "ps")},
    "emovo": {f"EMOVO/{speaker}/{code}-{speaker}-{sentence}.wav": "" for speaker in ("f1", "m3")
              for code in ("dis", "gio", "tri") for sentence in ("b1", "d2")},
    "aesdd": {f"{emotion}/{emotion[0]}0{i} ({speaker}).wav": "" for emotion in ("anger", "fear", "sadness")
              for i in (1, 2) for speaker in (1, 5)},
    "enterface": {f"subject {i}/{emotion}/sentence {j}/s{i}_{emotion[:2]}_{j}.avi": "" for i in (1, 12)
                  for emotion in ("anger", "happiness") for j in (1, 5)},
    "mead": {f"{speaker}/video/{view}/{emotion}/level_{level}/00{i}.mp4": "" for speaker in ("M003", "W009")
             for view in ("front", "left_30") for emotion in ("angry", "contempt") for level in (1, 3) for i in (1, 2)},
    "iemocap": {f"Session{i}/dialog/EmoEvaluation/Ses0{i}F_impro01.txt": IEMOCAP_TURNS.format(i=i) for i in (1, 2)}
               | {f"Session{i}/sentences/wav/Ses0{i}F_impro01/Ses0{i}F_impro01_{turn}.wav": "" for i in (1, 2)
                  for turn in ("F000", "M000")},
    "mosei": {"CMU_MOSEI_Labels.csv": ",file,index,start,end,label2a,label2b,label6,label7,split\n"
              "0,-3g5yACwYnA,0,0.0,4.8,1,1,2,1,0\n1,-3g5yACwYnA,1,4.8,9.5,1,1,0,1,0\n",
              "Audio/-3g5yACwYnA_0.wav": "", "Audio/-3g5yACwYnA_1.wav": ""},
    "folder": {f"{side}/{emotion}/{i}.{suffix}": "" for side in ("train", "test") for i in range(3)
               for emotion in ("happy", "sad", "contempt") for suffix in ("jpg", "png", "wav", "mp3")},
    "manifest": {"manifest.csv": "path,emotion\n" + "".join(f"{i}.wav,sad\n" for i in range(9))},
}  # fmt: skip


class Listing:
    """What a folder holds, in another order than the disk's, as ``os.scandir`` gives it."""

    def __init__(self, entries):
        self._entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass


def test_every_data_set_has_a_layout_and_a_way_to_be_recognised():
    assert set(DATASETS) == {*TREES, "audb"}  # which test_audb.py tests with a package that stands in for it


@pytest.mark.parametrize("name", TREES)
def test_each_data_set_is_known_by_its_layout(tmp_path, name):
    make_tree(tmp_path, **TREES[name])
    assert recognize(tmp_path) == name
    clips = load_dataset(tmp_path)
    assert clips == DATASETS[name].load(tmp_path)
    assert [clip.clip_id for clip in clips] == sorted({clip.clip_id for clip in clips})


@pytest.mark.parametrize("name", TREES)
def test_no_data_set_is_taken_for_another(tmp_path, name):
    root = make_tree(tmp_path, **TREES[name])
    taken = {other for other, module in DATASETS.items() if module.recognizes(root)}
    # AESDD's folders are called like emotions. Its names count first.
    assert taken == {name} | ({"folder"} if name == "aesdd" else set())


@pytest.mark.parametrize("name", TREES)
def test_hidden_files_are_skipped_and_a_hidden_folder_above_does_no_harm(tmp_path, caplog, name):
    root = make_tree(tmp_path / ".data", **TREES[name])
    clips, notes = load_dataset(root, name), caplog.text
    caplog.clear()
    for path in [path for path in root.rglob("*") if path.is_file() and path.suffix not in (".csv", ".txt")]:
        path.with_name(f"._{path.name}").touch()
        make_tree(root / ".trash", str(path.relative_to(root)))
    make_tree(root, ".DS_Store", "README.md", "__MACOSX/._notes.wav")
    assert load_dataset(root, name) == clips
    assert caplog.text == notes
    assert load_dataset(str(root), name) == clips


@pytest.mark.parametrize("name", sorted(TREES.keys() - {"folder"}))  # there every folder is an emotion
def test_linked_folders_are_followed_and_circles_left(tmp_path, name):
    disk, root = make_tree(tmp_path / "disk", **TREES[name]), tmp_path / "root"
    root.mkdir()
    try:
        for item in disk.iterdir():
            (root / item.name).symlink_to(item, target_is_directory=item.is_dir())
            if item.is_dir():
                (item / "round").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    assert [clip.clip_id for clip in load_dataset(root, name)] == [clip.clip_id for clip in load_dataset(disk, name)]


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("present", [False, True])
def test_a_missing_or_empty_folder_says_where_the_data_is(tmp_path, name, present):
    root = tmp_path / "data"
    if present:
        root.mkdir()
    with refused(DatasetError, root, DATASETS[name].HOW_TO_GET_IT):
        load_dataset(root, name)
    assert not DATASETS[name].recognizes(root)


@pytest.mark.parametrize("name", TREES)
def test_the_order_in_which_a_disk_lists_its_files_changes_nothing(tmp_path, monkeypatch, name):
    make_tree(tmp_path, **TREES[name])
    clips = load_dataset(tmp_path, name)
    scandir = os.scandir
    for seed in range(4):

        def shuffled(path=".", seed=seed):
            with scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
            random.Random(f"{seed}{path}").shuffle(listed)
            return Listing(listed)

        monkeypatch.setattr(os, "scandir", shuffled)
        assert load_dataset(tmp_path, name) == clips
        assert recognize(tmp_path) == name


def test_the_first_layout_stands_and_a_warning_names_the_others(tmp_path, caplog):
    make_tree(tmp_path, **TREES["emodb"], **TREES["ravdess"], **{"manifest.csv": "path,emotion\na.wav,sad\n"})
    with caplog.at_level(logging.WARNING):
        assert recognize(tmp_path) == "ravdess"
    assert "is read as ravdess; it could also be emodb or manifest" in caplog.text


def test_recordings_sorted_into_folders_of_emotions_are_still_known_by_their_names(tmp_path, caplog):
    make_tree(tmp_path, **{"happy/03-01-03-01-01-01-01.wav": "", "sad/03-01-04-01-01-01-01.wav": ""})
    with caplog.at_level(logging.WARNING):
        assert recognize(tmp_path) == "ravdess"
    assert caplog.text == ""


def test_a_csv_file_with_path_and_emotion_is_a_manifest(tmp_path):
    make_tree(tmp_path, **{"own.csv": "Emotion;Path\nsad;a.wav\n"})
    assert recognize(tmp_path / "own.csv") == "manifest"
    assert load_dataset(tmp_path / "own.csv")[0].audio_path == str(tmp_path / "a.wav")


def test_a_table_of_cremad_paths_is_cremad(tmp_path):
    make_tree(tmp_path, **{"1001_DFA_ANG_XX.wav": "", "cremad_paths.csv": "path,emotion\nx/1001_DFA_ANG_XX.wav,ANG\n"})
    assert recognize(tmp_path / "cremad_paths.csv") == "cremad"
    assert load_dataset(tmp_path / "cremad_paths.csv")[0].clip_id == "cremad:1001_DFA_ANG_XX"


def test_a_csv_file_of_other_columns_says_which_it_has(tmp_path):
    make_tree(tmp_path, **{"own.csv": "file,feeling\na.wav,sad\n", "broken.csv": '"path,emotion\n'})
    with refused(DatasetError, "own.csv", "path and emotion", "file, feeling"):
        recognize(tmp_path / "own.csv")
    with refused(DatasetError, "broken.csv", "line 1"):
        recognize(tmp_path / "broken.csv")


# ---- Nothing to recognise ----


@pytest.mark.parametrize("files", [None, {}, {"README.md": "", ".gitignore": ""}, {"Video_Speech_Actor_01.zip": ""}])
def test_a_missing_or_empty_folder_gets_the_words_of_ravdess(tmp_path, caplog, files):
    root = tmp_path / "dataset"
    if files is not None:
        root.mkdir()
        make_tree(root, **files)
    with pytest.raises(DatasetError) as caught:
        recognize(root)
    with pytest.raises(DatasetError) as of_ravdess:
        DATASETS["ravdess"].load(root)
    assert str(caught.value) == str(of_ravdess.value)
    assert "Zenodo record 1188976" in str(caught.value)
    assert caught.value.exit_code == 2
    assert caplog.text == ""


def test_media_in_no_known_layout_get_a_list_of_the_layouts(tmp_path):
    make_tree(tmp_path, **{"holiday.mp4": ""})
    with refused(DatasetError, tmp_path, "manifest", *(module.LAYOUT for module in DATASETS.values())):
        recognize(tmp_path)
    with refused(DatasetError, tmp_path / "holiday.mp4"):
        recognize(tmp_path / "holiday.mp4")


# ---- Loading by name ----


def test_a_manifest_may_be_read_against_another_folder(tmp_path):
    make_tree(tmp_path, **TREES["manifest"])
    clips = load_dataset(tmp_path / "manifest.csv", "manifest", manifest_root=tmp_path / "media")
    assert clips[0].audio_path == str(tmp_path / "media" / "0.wav")
    make_tree(tmp_path / "other", **TREES["ravdess"])
    with refused(ConfigError, "manifest", tmp_path / "other", "ravdess"):
        load_dataset(tmp_path / "other", manifest_root=tmp_path)


def test_options_reach_the_data_set_that_has_them(tmp_path):
    make_tree(tmp_path, **{"03-02-03-01-01-01-01.wav": ""})
    assert len(load_dataset(tmp_path, "ravdess", vocal_channels=("song",))) == 1
    with refused(ConfigError, "cremad", "vocal_channels"):
        load_dataset(tmp_path, "cremad", vocal_channels=("song",))


def test_an_unknown_name_lists_the_choices(tmp_path):
    with refused(ConfigError, "'msp'", ", ".join(DATASETS)):
        load_dataset(tmp_path, "msp")


def test_options_are_read_as_a_command_line_has_them():
    assert read_options("mead", ["views=front,top"]) == {"views": ("front", "top")}
    assert read_options("cremad", ["labels=perceived", "raters=voice"]) == {"labels": "perceived", "raters": "voice"}
    for wrong in ("labels", "views=front"):
        with refused(ConfigError, repr(wrong), "labels, raters"):
            read_options("cremad", [wrong])
