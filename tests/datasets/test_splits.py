"""No clip on two sides, no speaker on two sides, the same split every time."""

import csv
import dataclasses
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.protocols import (
    FOLD_PROTOCOLS,
    SPLITTERS,
    folds_at_random,
    folds_by_speaker,
    leave_one_speaker_out,
    split_by_speaker,
    split_clips,
    split_folds,
    split_random,
)
from emotion.datasets.split_files import COLUMNS, load_splits, write_splits
from emotion.datasets.splits import SIDES, Split, check_split, describe_split
from emotion.errors import ConfigError, DatasetError
from emotion.evaluation.training_record import load_seen
from emotion.labels import EIGHT_EMOTIONS

# Those that choose the sides themselves.
DRAWN = tuple(name for name in SPLITTERS if name != "official")
FRACTIONS_AND_SEED = {"validation_fraction": 0.15, "test_fraction": 0.15, "seed": 0}

# Derandomised and without a deadline: the suite must give the same answer on a busy machine. Without a database, which
# would leave a folder behind in the project.
properties = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def make_clip(speaker, number, emotion="happy", sex=None):
    return Clip(
        f"toy:{speaker}-{number:03d}", emotion, f"toy:{speaker}", audio_path=f"{speaker}-{number:03d}.wav", sex=sex
    )


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


@pytest.mark.parametrize("protocol", DRAWN)
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


@pytest.mark.parametrize("protocol", DRAWN)
@properties
@given(clips=clip_lists(), seed=seeds, data=st.data())
def test_the_order_of_the_clips_changes_nothing(protocol, clips, seed, data):
    shuffled = data.draw(st.permutations(clips))
    kwargs = {**FRACTIONS_AND_SEED, "seed": seed}
    assert split_clips(shuffled, protocol, **kwargs) == split_clips(clips, protocol, **kwargs)
    assert folds_by_speaker(shuffled, 3, seed) == folds_by_speaker(clips, 3, seed)


@properties
@given(clips=clip_lists(), validation=fractions, test=fractions, seed=seeds)
def test_no_speaker_stands_on_two_sides_and_both_sexes_on_as_many_as_their_numbers_allow(clips, validation, test, seed):
    split = split_by_speaker(clips, validation_fraction=validation, test_fraction=test, seed=seed)
    assert_speakers_apart(split, clips)
    by_sex = Counter({clip.speaker: clip.sex for clip in clips}.values())
    sides_with_room = sum(len(speakers(split, side, clips)) >= 2 for side in SIDES)
    assert count_sides_with_both_sexes(split, clips) == min(sides_with_room, by_sex["female"], by_sex["male"])


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


@pytest.mark.parametrize(
    ("split_them", "clips"),
    [(split_random, make_clips(["male"], clips_each=2)), (split_by_speaker, make_clips(["male", "female"]))],
)
def test_two_clips_or_speakers_train_and_validate_and_the_empty_test_side_is_warned_of(split_them, clips, caplog):
    split = split_them(clips, **FRACTIONS_AND_SEED)
    n_each = len(clips) // 2
    assert (len(split.train), len(split.validation), len(split.test)) == (n_each, n_each, 0)
    assert split_them is split_random or len(speakers(split, "train", clips)) == 1
    assert "test side" in caplog.text


def test_one_clip_cannot_be_split():
    with refused(DatasetError, "1 clip "):
        split_random(make_clips(["male"], clips_each=1), **FRACTIONS_AND_SEED)


# ---- The speaker protocol ----


def test_ravdess_is_split_into_sixteen_four_and_four_speakers_with_as_many_women_as_men():
    split = split_by_speaker(RAVDESS_LIKE, **FRACTIONS_AND_SEED)
    sex_of = {clip.speaker: clip.sex for clip in RAVDESS_LIKE}
    for side, n in (("train", 8), ("validation", 2), ("test", 2)):
        assert Counter(sex_of[s] for s in speakers(split, side, RAVDESS_LIKE)) == {"female": n, "male": n}


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


def test_one_speaker_is_refused_with_the_way_out():
    with refused(DatasetError, "toy:00", "--protocol random"):
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


@pytest.mark.parametrize(
    ("make_folds", "clips", "n_folds"),
    [
        *((folds_by_speaker, make_clips([None] * 3), n_folds) for n_folds in (0, 1, 4)),
        *((folds_at_random, RAVDESS_LIKE[:4], n_folds) for n_folds in (1, 5)),
    ],
)
def test_an_impossible_number_of_folds_is_refused(make_folds, clips, n_folds):
    most = 3 if make_folds is folds_by_speaker else 4
    with refused(ConfigError, "n_folds", f"({most})", f"got {n_folds}"):
        make_folds(clips, n_folds)


@pytest.mark.parametrize("protocol", ["kfold", "loso"])
def test_folds_need_three_speakers(protocol):
    with refused(DatasetError, f"--protocol {protocol}", "have 2", "--protocol random"):
        split_folds(make_clips([None] * 2), protocol, n_folds=2, validation_fraction=0.1, seed=0)


@properties
@given(clips=clip_lists(), seed=seeds, data=st.data())
def test_random_folds_test_every_clip_once_with_the_emotions_spread_evenly(clips, seed, data):
    assume(len(clips) >= 4)
    n_folds = data.draw(st.integers(2, min(6, len(clips) // 2)))
    folds = folds_at_random(clips, n_folds, seed)
    assert folds == folds_at_random(list(reversed(clips)), n_folds, seed)
    assert sorted(clip_id for fold in folds for clip_id in fold.test) == sorted(clip.clip_id for clip in clips)
    emotion_of = {clip.clip_id: clip.emotion for clip in clips}
    counts = [Counter(emotion_of[clip_id] for clip_id in fold.test) for fold in folds]
    for emotion in set(emotion_of.values()):
        assert max(count[emotion] for count in counts) - min(count[emotion] for count in counts) <= 1
    for fold in folds:
        assert fold.train
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(clips)


@pytest.mark.parametrize("protocol", FOLD_PROTOCOLS)
def test_folds_by_name_are_those_of_their_function(protocol):
    folds = split_folds(RAVDESS_LIKE, protocol, n_folds=4, validation_fraction=0.1, seed=3)
    assert len(folds) == (24 if protocol == "loso" else 4)
    assert {(fold.protocol, fold.seed) for fold in folds} == {(protocol, 3)}
    with refused(ConfigError, "kfold, loso, random"):
        split_folds(RAVDESS_LIKE, "speaker", n_folds=4, validation_fraction=0.1, seed=3)


# ---- Refusals ----


def test_an_unknown_protocol_lists_the_choices():
    with refused(ConfigError, "'actor'", "random, speaker, official"):
        split_clips(RAVDESS_LIKE, "actor", **FRACTIONS_AND_SEED)


@pytest.mark.parametrize("pair", [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0), (float("nan"), 0.1)])
@pytest.mark.parametrize("protocol", SPLITTERS)
def test_impossible_fractions_are_refused(protocol, pair):
    with refused(ConfigError, "validation_fraction", "test_fraction", *pair):
        split_clips(RAVDESS_LIKE, protocol, validation_fraction=pair[0], test_fraction=pair[1], seed=0)


@pytest.mark.parametrize("protocol", SPLITTERS)
def test_no_clips_and_the_same_clip_twice_are_refused(protocol):
    for clips, named in (([], "no clips"), (RAVDESS_LIKE + RAVDESS_LIKE[:1], RAVDESS_LIKE[0].clip_id)):
        with refused(DatasetError, named):
            split_clips(clips, protocol, **FRACTIONS_AND_SEED)


# ---- check_split ----

THREE = [make_clip("00", 0), make_clip("00", 1), make_clip("01", 0)]
IDS = tuple(clip.clip_id for clip in THREE)
LEAK = (IDS[:1], IDS[1:2], IDS[2:])
TWO = (THREE[0], THREE[2], Split(IDS[:1], IDS[2:], (), "speaker", 0))


@pytest.mark.parametrize(
    ("sides", "protocol", "error", "named"),
    [
        ((IDS, IDS[:1], ()), "random", DatasetError, IDS[0]),
        ((IDS + IDS[:1], (), ()), "random", DatasetError, IDS[0]),
        ((IDS[:2], (), ()), "random", DatasetError, IDS[2]),
        (((*IDS, "stranger"), (), ()), "random", DatasetError, "stranger"),
        *((LEAK, protocol, DatasetError, "Speaker toy:00") for protocol in ("speaker", "kfold", "loso")),
        ((IDS, (), ()), "magic", ConfigError, "'magic'"),
    ],
)
def test_a_clip_or_speaker_on_two_sides_a_clip_too_few_or_too_many_and_an_unknown_protocol_are_found(
    sides, protocol, error, named
):
    with refused(error, named):
        check_split(Split(*sides, protocol, 0), THREE)


def test_a_random_split_may_have_a_speaker_on_two_sides():
    check_split(Split(*LEAK, "random", 0), THREE)


def test_an_unknown_speaker_is_refused_where_speakers_are_kept_apart():
    clips = [*RAVDESS_LIKE[:-1], dataclasses.replace(RAVDESS_LIKE[-1], speaker=None)]
    with refused(DatasetError, clips[-1].clip_id, "--protocol random"):
        split_by_speaker(clips, **FRACTIONS_AND_SEED)
    with refused(DatasetError, clips[-1].clip_id):
        check_split(Split(tuple(clip.clip_id for clip in clips), (), (), "speaker", 0), clips)
    assert split_random(clips, **FRACTIONS_AND_SEED).test


def same_file(clip, other, **stretch):
    return dataclasses.replace(clip, audio_path=other.audio_path, **stretch)


def test_one_recording_on_two_sides_is_found_by_its_path_and_by_its_content():
    first, second, split = TWO
    check_split(split, [first, second], {first.audio_path: "1", second.audio_path: "2"})
    with refused(DatasetError, f"{first.clip_id} and {second.clip_id}", "emotion.datasets check"):
        check_split(split, [first, same_file(second, first)])
    with refused(DatasetError, f"{first.clip_id} and {second.clip_id}"):
        check_split(split, [first, second], {first.audio_path: "1", second.audio_path: "1"})


def test_stretches_of_one_file_are_the_same_recording_only_where_they_overlap():
    first, second, split = TWO
    first = dataclasses.replace(first, end_seconds=2.0)
    check_split(split, [first, same_file(second, first, start_seconds=2.0)])
    with refused(DatasetError, f"{first.clip_id} and {second.clip_id}"):
        check_split(split, [first, same_file(second, first, start_seconds=1.9, end_seconds=1.95)])


def test_a_random_split_only_warns_of_a_recording_on_two_sides(caplog):
    first, second, split = TWO
    check_split(dataclasses.replace(split, protocol="random"), [first, same_file(second, first)])
    assert f"{first.clip_id} and {second.clip_id}" in caplog.text


# ---- The data set's own split ----


def with_sides(clips, side_of_speaker):
    return [dataclasses.replace(clip, split=side_of_speaker[clip.speaker]) for clip in clips]


OWN = with_sides(
    make_clips(["male", "female"] * 3),
    {f"toy:{i:02d}": side for i, side in enumerate(["train", "train", "train", "train", "validation", "test"])},
)


def test_the_own_split_is_taken_as_it_is():
    split = split_clips(OWN, "official", **FRACTIONS_AND_SEED)
    assert split.sides == {clip.clip_id: clip.split for clip in OWN}
    assert describe_split(split, OWN) == "the data set's own split, speaker-independent"


def test_validation_speakers_are_taken_from_training_where_the_authors_chose_none():
    clips = [dataclasses.replace(c, split="test" if c.split == "test" else "train") for c in OWN]
    split = split_clips(clips, "official", **FRACTIONS_AND_SEED)
    assert set(split.test) == {clip.clip_id for clip in clips if clip.split == "test"}
    assert split.validation
    assert_speakers_apart(split, clips)


def test_an_own_split_that_shares_speakers_says_so():
    clips = [dataclasses.replace(c, split=SIDES[i % 3]) for i, c in enumerate(OWN)]
    split = split_clips(clips, "official", **FRACTIONS_AND_SEED)
    assert describe_split(split, clips).endswith("6 of 6 speakers on several sides: optimistic")


def test_an_own_split_that_is_missing_or_trains_nothing_is_refused():
    with refused(DatasetError, "--protocol official", "48 of 48", OWN[0].clip_id):
        split_clips([dataclasses.replace(clip, split=None) for clip in OWN], "official", **FRACTIONS_AND_SEED)
    with refused(DatasetError, "--protocol official"):
        split_clips(OWN[-8:], "official", **FRACTIONS_AND_SEED)


def test_an_own_split_that_shares_recordings_says_so():
    double = same_file(OWN[-1], OWN[0])
    clips = [*OWN[:-1], double]
    split = split_clips(clips, "official", **FRACTIONS_AND_SEED)
    assert describe_split(split, clips).endswith(
        "1 pairs of clips on different sides with the same recording: optimistic"
    )
    unknown = [dataclasses.replace(clip, speaker=None) for clip in OWN]
    split = split_clips(unknown, "official", **FRACTIONS_AND_SEED)
    assert describe_split(split, unknown) == "the data set's own split, speakers unknown"


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("speaker", "speaker-independent (seed 0)"),
        ("random", "random clips (seed 0), 6 of 6 speakers on several sides: optimistic"),
    ],
)
def test_the_protocol_in_words_says_whether_speakers_were_kept_apart(protocol, words):
    assert describe_split(split_clips(OWN, protocol, **FRACTIONS_AND_SEED), OWN) == words


# ---- Files ----


def test_what_a_model_has_seen_is_read_from_its_split(tmp_path):
    split = Split(IDS[:1], IDS[1:2], IDS[2:], "random", 0)
    write_splits(split, THREE, tmp_path / "splits.csv", {THREE[0].audio_path: "aa", THREE[2].audio_path: "cc"})
    seen = load_seen(tmp_path / "splits.csv")
    assert seen.clip_ids == set(IDS[:2])
    assert seen.speakers == {"toy:00"}
    assert set(seen.stretches) == {"aa"}
    assert seen.all_speakers_known


def test_a_written_split_is_a_table_of_one_row_a_clip(tmp_path):
    write_splits(Split(IDS[:2], IDS[2:], (), "speaker", 7), THREE, tmp_path / "splits.csv")
    with open(tmp_path / "splits.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS == ("clip_id", "side", "emotion", "speaker", "protocol", "seed", "sha256")
    assert rows[2] == ["toy:01-000", "validation", "happy", "toy:01", "speaker", "7", ""]
    assert len(rows) == 3


def test_a_leaking_split_is_not_written(tmp_path):
    with pytest.raises(DatasetError):
        write_splits(Split(IDS[:1], IDS[1:2], IDS[2:], "speaker", 0), THREE, tmp_path / "splits.csv")
    assert not (tmp_path / "splits.csv").exists()


HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (None, ()),
        ("", ()),
        ("clip,side\na,train\n", (HEADER, "clip,side")),
        (f"{HEADER}\n", ("[]",)),
        (f"{HEADER}\na,trian,happy,s,random,0,\n", ("row 2", "trian", "train, validation, test")),
        (f"{HEADER}\na,train,happy,s,random,0,\na,test,happy,s,random,0,\n", ("row 3", "clip_id")),
        (f"{HEADER}\na,train,happy\n", ("row 2", "a,train,happy")),
        (f"{HEADER}\na,train,happy,s,random,0,\nb,train,happy,s,random,1,\n", ("('random', '0'), ('random', '1')",)),
        (f"{HEADER}\na,train,happy,s,random,zero,\n", ("'zero'",)),
    ],
)
def test_a_missing_or_damaged_file_is_refused_with_its_name(tmp_path, text, facts):
    path = tmp_path / "splits.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with refused(DatasetError, path, *facts):
        load_splits(path)
