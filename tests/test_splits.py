"""No clip on two sides, no speaker on two sides, the same split every time."""

import csv
import dataclasses
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emotion.datasets import Clip
from emotion.errors import ConfigError, DatasetError
from emotion.labels import EIGHT_EMOTIONS
from emotion.splits import (
    COLUMNS,
    PROTOCOLS,
    SIDES,
    Split,
    check_split,
    folds_by_speaker,
    leave_one_speaker_out,
    load_splits,
    split_by_speaker,
    split_clips,
    split_random,
    write_splits,
)

FRACTIONS_AND_SEED = {"validation_fraction": 0.15, "test_fraction": 0.15, "seed": 0}

# Derandomised and without a deadline: the suite must give the same answer on a busy machine. Without a database, which
# would leave a folder behind in the project.
properties = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def make_clip(speaker, number, emotion="happy", sex=None):
    return Clip(f"toy:{speaker}-{number:03d}", emotion, f"toy:{speaker}", audio_path="a.wav", sex=sex)


def make_clips(sexes, clips_each=8):
    return [
        make_clip(f"{index:02d}", number, EIGHT_EMOTIONS[number % 8], sex)
        for index, sex in enumerate(sexes)
        for number in range(clips_each)
    ]


RAVDESS_LIKE = make_clips(["male", "female"] * 12, clips_each=60)

sexes = st.lists(st.sampled_from(["female", "male", None]), min_size=3, max_size=26)
fractions = st.floats(0.0, 0.45)
seeds = st.integers(0, 2**32)


@st.composite
def clip_lists(draw, sexes=sexes):
    """Speakers with unequal numbers of clips and emotions."""
    return [
        make_clip(f"{index:02d}", number, draw(st.sampled_from(EIGHT_EMOTIONS)), sex)
        for index, sex in enumerate(draw(sexes))
        for number in range(draw(st.integers(1, 4)))
    ]


def speakers(split, side, clips):
    wanted = set(getattr(split, side))
    return {clip.speaker for clip in clips if clip.clip_id in wanted}


def count_sides_with_both_sexes(split, clips):
    sex_of = {clip.speaker: clip.sex for clip in clips}
    return sum({"female", "male"} <= {sex_of[s] for s in speakers(split, side, clips)} for side in SIDES)


def assert_speakers_apart(split, clips):
    sets = [speakers(split, side, clips) for side in SIDES]
    assert sum(map(len, sets)) == len(set().union(*sets))


# ---- Properties of every protocol ----


@pytest.mark.parametrize("protocol", PROTOCOLS)
@properties
@given(clips=clip_lists(), validation=fractions, test=fractions, seed=seeds)
def test_every_clip_stands_on_one_side(protocol, clips, validation, test, seed):
    split = split_clips(clips, protocol, validation_fraction=validation, test_fraction=test, seed=seed)
    placed = split.train + split.validation + split.test
    assert sorted(placed) == sorted(clip.clip_id for clip in clips)
    assert split.train
    assert bool(split.validation) == (validation > 0)
    assert bool(split.test) == (test > 0)
    assert (split.protocol, split.seed) == (protocol, seed)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@properties
@given(clips=clip_lists(), seed=seeds, data=st.data())
def test_the_order_of_the_clips_changes_nothing(protocol, clips, seed, data):
    shuffled = data.draw(st.permutations(clips))
    kwargs = {**FRACTIONS_AND_SEED, "seed": seed}
    assert split_clips(shuffled, protocol, **kwargs) == split_clips(clips, protocol, **kwargs)
    assert folds_by_speaker(shuffled, 3, seed) == folds_by_speaker(clips, 3, seed)


@properties
@given(clips=clip_lists(), validation=fractions, test=fractions, seed=seeds)
def test_no_speaker_stands_on_two_sides(clips, validation, test, seed):
    split = split_by_speaker(clips, validation_fraction=validation, test_fraction=test, seed=seed)
    assert_speakers_apart(split, clips)


@properties
@given(clips=clip_lists(), validation=fractions, test=fractions, seed=seeds)
def test_both_sexes_stand_on_as_many_sides_as_their_numbers_allow(clips, validation, test, seed):
    split = split_by_speaker(clips, validation_fraction=validation, test_fraction=test, seed=seed)
    sex_of = {clip.speaker: clip.sex for clip in clips}
    by_sex = Counter(sex_of.values())
    sides_with_room = sum(len(speakers(split, side, clips)) >= 2 for side in SIDES)
    expected = min(sides_with_room, by_sex["female"], by_sex["male"])
    assert count_sides_with_both_sexes(split, clips) == expected


@properties
@given(clips=clip_lists(), seed=seeds, data=st.data())
def test_folds_test_every_speaker_once_and_keep_speakers_apart(clips, seed, data):
    n_folds = data.draw(st.integers(2, len({clip.speaker for clip in clips})))
    splits = folds_by_speaker(clips, n_folds, seed)
    assert len(splits) == n_folds
    assert sorted(clip_id for split in splits for clip_id in split.test) == sorted(clip.clip_id for clip in clips)
    sizes = [len(speakers(split, "test", clips)) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for split in splits:
        check_split(split, clips)
        assert_speakers_apart(split, clips)
        assert split.train


@properties
@given(clips=clip_lists(), seed=seeds)
def test_leave_one_out_tests_each_speaker_alone_and_validates_on_others(clips, seed):
    splits = leave_one_speaker_out(clips, seed)
    tested = [speakers(split, "test", clips) for split in splits]
    assert tested == [{speaker} for speaker in sorted({clip.speaker for clip in clips})]
    for split in splits:
        assert_speakers_apart(split, clips)
        assert split.train and split.validation


@properties
@given(clips=clip_lists(), seed=seeds)
def test_a_written_split_comes_back_the_same(tmp_path_factory, clips, seed):
    path = tmp_path_factory.mktemp("splits") / "splits.csv"
    split = split_by_speaker(clips, **{**FRACTIONS_AND_SEED, "seed": seed})
    write_splits(split, clips, path)
    assert load_splits(path) == split


# ---- The random protocol ----


def test_a_random_split_has_the_same_mixture_of_emotions_on_each_side():
    split = split_random(RAVDESS_LIKE, **FRACTIONS_AND_SEED)
    emotion_of = {clip.clip_id: clip.emotion for clip in RAVDESS_LIKE}
    overall = Counter(emotion_of.values())
    for side, share in zip(SIDES, (0.7, 0.15, 0.15), strict=True):
        here = Counter(emotion_of[clip_id] for clip_id in getattr(split, side))
        assert abs(sum(here.values()) - share * len(RAVDESS_LIKE)) <= 1
        assert all(abs(here[emotion] - share * overall[emotion]) <= 1.5 for emotion in EIGHT_EMOTIONS)


@properties
@given(clips=clip_lists(sexes=st.lists(st.none(), min_size=12, max_size=26)), seed=seeds)
def test_a_random_split_leaves_every_emotion_something_to_train_on(clips, seed):
    # With fewer clips of the commonest emotion, a side would have to take another's last one or stay empty.
    assume(max(Counter(clip.emotion for clip in clips).values()) >= 3)
    split = split_random(clips, **{**FRACTIONS_AND_SEED, "seed": seed})
    trained = {clip.emotion for clip in clips if clip.clip_id in set(split.train)}
    assert trained == {clip.emotion for clip in clips}


def test_two_clips_are_one_to_train_on_and_one_to_validate_with(caplog):
    split = split_random(make_clips(["male"], clips_each=2), **FRACTIONS_AND_SEED)
    assert (len(split.train), len(split.validation), len(split.test)) == (1, 1, 0)
    assert "test side" in caplog.text


def test_one_clip_cannot_be_split():
    with pytest.raises(DatasetError, match="add clips"):
        split_random(make_clips(["male"], clips_each=1), **FRACTIONS_AND_SEED)


# ---- The speaker protocol ----


def test_ravdess_is_split_into_sixteen_four_and_four_speakers_with_as_many_women_as_men():
    split = split_by_speaker(RAVDESS_LIKE, **FRACTIONS_AND_SEED)
    sex_of = {clip.speaker: clip.sex for clip in RAVDESS_LIKE}
    counts = {side: Counter(sex_of[s] for s in speakers(split, side, RAVDESS_LIKE)) for side in SIDES}
    assert counts == {
        "train": {"female": 8, "male": 8},
        "validation": {"female": 2, "male": 2},
        "test": {"female": 2, "male": 2},
    }


def test_another_seed_gives_another_split():
    tests = {split_by_speaker(RAVDESS_LIKE, **{**FRACTIONS_AND_SEED, "seed": seed}).test for seed in range(8)}
    assert len(tests) > 1


def test_the_split_of_a_seed_is_the_same_in_every_python():
    clips = make_clips(["male", "female"] * 3, clips_each=1)
    split = split_by_speaker(clips, **FRACTIONS_AND_SEED)
    assert (split.validation, split.test) == (("toy:02-000",), ("toy:05-000",))


@pytest.mark.parametrize("n_speakers", [3, 4, 5, 6])
def test_few_speakers_still_give_every_side_at_least_one(n_speakers):
    clips = make_clips(["male", "female", None, "female", "male", None][:n_speakers])
    split = split_by_speaker(clips, **FRACTIONS_AND_SEED)
    assert all(speakers(split, side, clips) for side in SIDES)


def test_two_speakers_train_and_validate_and_the_empty_test_side_is_warned_of(caplog):
    clips = make_clips(["male", "female"])
    split = split_by_speaker(clips, **FRACTIONS_AND_SEED)
    assert [len(speakers(split, side, clips)) for side in SIDES] == [1, 1, 0]
    assert "test side" in caplog.text


def test_one_speaker_is_refused_with_the_way_out():
    with pytest.raises(DatasetError, match="--protocol random"):
        split_by_speaker(make_clips(["male"]), **FRACTIONS_AND_SEED)


def test_one_speaker_may_train_when_no_other_side_is_asked_for():
    split = split_by_speaker(make_clips(["male"]), validation_fraction=0.0, test_fraction=0.0, seed=0)
    assert len(split.train) == 8


# ---- Folds ----


def test_folds_of_ravdess_hold_both_sexes_on_every_side():
    for split in folds_by_speaker(RAVDESS_LIKE, 5, 0):
        assert count_sides_with_both_sexes(split, RAVDESS_LIKE) == 3
        assert split.protocol == "kfold"


def test_leave_one_out_of_ravdess_does_not_always_validate_on_the_same_people():
    splits = leave_one_speaker_out(RAVDESS_LIKE)
    assert len({split.validation for split in splits}) > 12


@pytest.mark.parametrize("n_folds", [0, 1, 4])
def test_an_impossible_number_of_folds_is_refused(n_folds):
    with pytest.raises(ConfigError, match="between 2 and the number of speakers \\(3\\)"):
        folds_by_speaker(make_clips([None] * 3), n_folds, 0)


def test_folds_need_three_speakers():
    with pytest.raises(DatasetError, match="three or more speakers"):
        folds_by_speaker(make_clips([None] * 2), 2, 0)
    with pytest.raises(DatasetError, match="three or more speakers"):
        leave_one_speaker_out(make_clips([None] * 2))


# ---- Refusals ----


def test_an_unknown_protocol_lists_the_choices():
    with pytest.raises(ConfigError, match="'actor'.*random, speaker"):
        split_clips(RAVDESS_LIKE, "actor", **FRACTIONS_AND_SEED)


@pytest.mark.parametrize("pair", [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0), (float("nan"), 0.1)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_impossible_fractions_are_refused(protocol, pair):
    with pytest.raises(ConfigError, match="together below 1"):
        split_clips(RAVDESS_LIKE, protocol, validation_fraction=pair[0], test_fraction=pair[1], seed=0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_clips_and_the_same_clip_twice_are_refused(protocol):
    with pytest.raises(DatasetError, match="no clips"):
        split_clips([], protocol, **FRACTIONS_AND_SEED)
    with pytest.raises(DatasetError, match="Two clips are called"):
        split_clips(RAVDESS_LIKE + RAVDESS_LIKE[:1], protocol, **FRACTIONS_AND_SEED)


# ---- check_split ----

THREE = [make_clip("00", 0), make_clip("00", 1), make_clip("01", 0)]
IDS = tuple(clip.clip_id for clip in THREE)


def test_a_clip_on_two_sides_is_found():
    with pytest.raises(DatasetError, match=f"two sides.*{IDS[0]}"):
        check_split(Split(IDS, IDS[:1], (), "random", 0), THREE)
    with pytest.raises(DatasetError, match="two sides"):
        check_split(Split(IDS + IDS[:1], (), (), "random", 0), THREE)


def test_a_missing_clip_and_an_unknown_clip_are_found():
    with pytest.raises(DatasetError, match=f"missing.*{IDS[2]}"):
        check_split(Split(IDS[:2], (), (), "random", 0), THREE)
    with pytest.raises(DatasetError, match="not in the data.*stranger"):
        check_split(Split((*IDS, "stranger"), (), (), "random", 0), THREE)


@pytest.mark.parametrize("protocol", ["speaker", "kfold", "loso"])
def test_a_speaker_on_two_sides_is_found(protocol):
    leak = Split(IDS[:1], IDS[1:2], IDS[2:], protocol, 0)
    with pytest.raises(DatasetError, match="Speaker toy:00"):
        check_split(leak, THREE)
    check_split(dataclasses.replace(leak, protocol="random"), THREE)


def test_an_unknown_protocol_is_found():
    with pytest.raises(ConfigError, match="kfold"):
        check_split(Split(IDS, (), (), "magic", 0), THREE)


# ---- Files ----


def test_a_written_split_is_a_table_of_one_row_a_clip(tmp_path):
    write_splits(Split(IDS[:2], IDS[2:], (), "speaker", 7), THREE, tmp_path / "splits.csv")
    with open(tmp_path / "splits.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS == ("clip_id", "side", "emotion", "speaker", "protocol", "seed")
    assert rows[2] == ["toy:01-000", "validation", "happy", "toy:01", "speaker", "7"]
    assert len(rows) == 3


def test_a_leaking_split_is_not_written(tmp_path):
    with pytest.raises(DatasetError):
        write_splits(Split(IDS[:1], IDS[1:2], IDS[2:], "speaker", 0), THREE, tmp_path / "splits.csv")
    assert not (tmp_path / "splits.csv").exists()


HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a readable table"),
        ("clip,side\na,train\n", "columns must be"),
        (f"{HEADER}\n", "one protocol"),
        (f"{HEADER}\na,trian,happy,s,random,0\n", "row 2.*train, validation, test"),
        (f"{HEADER}\na,train,happy,s,random,0\na,test,happy,s,random,0\n", "row 3"),
        (f"{HEADER}\na,train,happy\n", "row 2"),
        (f"{HEADER}\na,train,happy,s,random,0\nb,train,happy,s,random,1\n", "one seed"),
        (f"{HEADER}\na,train,happy,s,random,zero\n", "whole number"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, text, complaint):
    path = tmp_path / "splits.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=f"(?s)splits.csv.*{complaint}"):
        load_splits(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(DatasetError, match="absent.csv: no such file"):
        load_splits(tmp_path / "absent.csv")
