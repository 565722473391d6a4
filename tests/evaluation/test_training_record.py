"""What a model has met is known again by content, and speakers by name only where names mean the same people."""

import dataclasses

import pytest

from emotion.datasets import Clip
from emotion.datasets.split_files import check_contents, describe_contents, read_stretches, write_splits
from emotion.datasets.splits import Split
from emotion.errors import DatasetError
from emotion.evaluation.training_record import load_seen


def clip(name, table="train", speaker="ann", **details):
    return Clip(f"{table}:{name}", "happy", speaker and f"{table}:{speaker}", audio_path=f"/{table}/{name}", **details)


def write_and_load(tmp_path, clips, contents):
    """What a model met that was trained on the first clips and tested on the last."""
    ids = tuple(clip.clip_id for clip in clips)
    path = tmp_path / "splits.csv"
    write_splits(Split(ids[:-2], ids[-2:-1], ids[-1:], "random", 0), clips, path, contents)
    return load_seen(path)


TRAINED = [clip("1.wav"), clip("2.wav", speaker="ben"), clip("3.wav", speaker="cat")]
CONTENTS = {c.audio_path: f"hash{i}" for i, c in enumerate(TRAINED)}


@pytest.fixture
def seen(tmp_path):
    return write_and_load(tmp_path, TRAINED, CONTENTS)


def test_a_recording_is_met_by_its_content_whatever_it_is_called(seen):
    assert seen.has_met(clip("other.wav", "mine"), {"/mine/other.wav": "hash0"})
    assert not seen.has_met(clip("1.wav", "mine"), {"/mine/1.wav": "another"})
    # The test side was not met.
    assert not seen.has_met(TRAINED[2], CONTENTS)


def test_the_same_path_in_another_table_is_no_proof(seen):
    """Two tables called train.csv, with the same relative paths and other files."""
    assert not seen.has_met(TRAINED[0], {TRAINED[0].audio_path: "another"})


def test_an_id_of_a_published_data_set_names_the_recording_in_any_codec(tmp_path):
    trained = [clip(name, "ravdess") for name in ("01-01", "01-02", "01-03")]
    seen = write_and_load(tmp_path, trained, {c.audio_path: c.clip_id for c in trained})
    assert seen.has_met(trained[0], {trained[0].audio_path: "the flac of it"})


def test_of_a_file_only_the_stretches_that_overlap_were_met(tmp_path):
    whole = {"audio_path": "/long.wav"}
    parts = [
        dataclasses.replace(clip(f"long#{i}"), start_seconds=i * 2.0, end_seconds=i * 2.0 + 2.0, **whole)
        for i in range(3)
    ]
    contents = {"/long.wav": "h"}
    seen = write_and_load(tmp_path, parts, contents)
    assert seen.stretches == {"h": ((0.0, 2.0), (2.0, 4.0))}
    assert [seen.has_met(part, contents) for part in parts] == [True, True, False]
    assert seen.has_met(dataclasses.replace(parts[2], start_seconds=3.9), contents)
    assert seen.has_met(dataclasses.replace(parts[2], start_seconds=None, end_seconds=None), contents)


def test_stretches_are_read_as_they_were_written():
    part = dataclasses.replace(clip("a"), start_seconds=1.25)
    assert read_stretches(describe_contents(part, {part.audio_path: "h"})) == [("h", 1.25, float("inf"))]
    part = dataclasses.replace(part, end_seconds=2.5)
    assert read_stretches(describe_contents(part, {part.audio_path: "h"})) == [("h", 1.25, 2.5)]
    assert read_stretches(describe_contents(clip("a"), {part.audio_path: "h"})) == [("h", 0.0, float("inf"))]


@pytest.mark.parametrize(
    ("speakers", "words"),
    [
        (["train:dan", "train:eve"], "speaker-independent: the model met none of the 2 speakers"),
        (["train:ann", "train:eve"], "1 of the 2 speakers: optimistic"),
        (["test:ann", "test:eve"], "1 of the 2 speakers have the names of speakers"),
        (["test:dan"], "speakers is unknown"),
        (["train:dan", None], "speakers is unknown"),
        ([None], "speakers is unknown"),
        (["ravdess:01"], "speakers is unknown"),
    ],
)
def test_independence_is_claimed_only_where_names_can_prove_it(seen, speakers, words):
    assert words in seen.describe(speakers)
    assert ("speaker-independent" in seen.describe(speakers)) == words.startswith("speaker-independent")


def test_people_of_two_published_data_sets_are_different_people(tmp_path):
    trained = [clip(name, "ravdess", speaker) for name, speaker in (("1", "01"), ("2", "02"), ("3", "03"))]
    seen = write_and_load(tmp_path, trained, {})
    assert seen.describe(["cremad:1001"]).startswith("speaker-independent")
    assert seen.describe(["emodb:03"]).startswith("speaker-independent")
    assert not seen.describe(["mine:01"]).startswith("speaker-independent")


def test_where_training_did_not_know_its_speakers_nothing_is_claimed(tmp_path):
    trained = [clip(name, speaker=speaker) for name, speaker in (("1", "ann"), ("2", None), ("3", "ben"))]
    assert "speakers is unknown" in write_and_load(tmp_path, trained, {}).describe(["train:eve"])


def test_a_split_from_before_hashes_were_kept_still_tells_what_was_met(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(
        "clip_id,side,emotion,speaker,protocol,seed\na:1,train,happy,a:x,random,0\na:2,test,sad,a:y,random,0\n"
    )
    seen = load_seen(path)
    assert seen.has_met(Clip("a:1", "happy", audio_path="1.wav"), {"1.wav": "h"})
    assert not seen.has_met(Clip("a:2", "happy", audio_path="2.wav"), {"2.wav": "h"})


def test_clips_whose_files_have_changed_since_are_named(tmp_path, seen):
    check_contents(tmp_path / "splits.csv", TRAINED, CONTENTS)
    with pytest.raises(DatasetError, match=r"/train/2\.wav: "):
        check_contents(tmp_path / "splits.csv", TRAINED, {**CONTENTS, "/train/2.wav": "changed"})
