"""Data sets as audb gives them, with packages that stand in for audb and audformat: nothing is fetched."""

import logging
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.audb import load, recognizes
from emotion.errors import ConfigError, DatasetError

NAN = float("nan")


class Column(dict):
    def get(self):
        return self


class Table(dict):
    @property
    def columns(self):
        return list(self)


class Database(dict):
    """Tables of columns of values by file, or by file, start and end."""

    def __init__(self, root, tables, people=None):
        super().__init__({
            name: Table({column: Column(values) for column, values in columns.items()})
            for name, columns in tables.items()
        })  # fmt: skip
        self.root, self.name, self.languages, self.license = str(root), "emodb", ["deu"], "CC0-1.0"
        self.tables = self
        self.schemes = {"speaker": SimpleNamespace(labels=people)} if people else {}


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """Puts a database in the packages' place; returns the arguments of the calls."""
    calls = []

    def provide(tables, people=None):
        database = Database(tmp_path / "emodb", tables, people)
        given = lambda *args, **options: calls.append((args, options)) or database  # noqa: E731
        monkeypatch.setitem(sys.modules, "audb", SimpleNamespace(load=given))
        monkeypatch.setitem(sys.modules, "audformat", SimpleNamespace(Database=SimpleNamespace(load=given)))
        return calls

    return provide


def test_a_data_set_is_loaded_by_name_and_version(tmp_path, packages):
    path = str(tmp_path / "emodb/wav/03a01Fa.wav")
    calls = packages(
        {"emotion": {"emotion": {path: "happiness"}}, "files": {"speaker": {path: 3}}}, {3: {"gender": "male"}}
    )
    assert load(tmp_path, name="emodb", version="1.4.1") == [
        Clip(
            clip_id="audb:emodb/wav/03a01Fa.wav",
            emotion="happy",
            speaker="audb:emodb/3",
            audio_path=path,
            sex="male",
            details={"language": "deu", "licence": "CC0-1.0"},
        )
    ]
    assert calls == [(("emodb",), {"version": "1.4.1", "cache_root": str(tmp_path), "verbose": False})]


def test_a_folder_in_its_format_is_read_without_a_name(tmp_path, packages):
    packages({"test": {"emotion": {"a.wav": "anger"}, "gender": {"a.wav": "female"}, "speaker": {"a.wav": "ann"}}})
    make_tree(tmp_path, "a.wav", **{"db.yaml": "name: x\n"})
    assert recognizes(tmp_path)
    (clip,) = load(tmp_path)
    assert (clip.audio_path, clip.sex, clip.split) == (str(tmp_path / "a.wav"), "female", "test")
    assert clip.speaker == "audb:emodb/ann"


def test_segments_are_parts_of_files_and_tables_may_be_sides(tmp_path, packages):
    first, rest = ("a.wav", timedelta(seconds=0.5), timedelta(seconds=2)), ("a.wav", timedelta(seconds=2), None)
    packages({"emotion.train": {"emotion": {first: "sadness"}}, "emotion.dev": {"emotion": {rest: "boredom"}}})
    clips = load(tmp_path, name="x")
    assert [(clip.start_seconds, clip.end_seconds, clip.split) for clip in clips] == [
        (0.5, 2.0, "train"), (2.0, None, "validation"),
    ]  # fmt: skip
    assert [clip.emotion for clip in clips] == ["sad", "boredom"]
    assert [clip.clip_id for clip in clips] == ["audb:x/a.wav#0.5-2", "audb:x/a.wav#2-"]


def test_what_has_no_label_is_counted(tmp_path, packages, caplog):
    packages({"emotion": {"emotion": {"a.wav": "anger", "b.wav": NAN, "c.wav": None}}})
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path, name="x")) == 1
    assert "left out 2 " in caplog.text
    assert "b.wav" in caplog.text


def test_tables_that_disagree_have_to_be_chosen(tmp_path, packages):
    packages({"acted": {"emotion": {"a.wav": "anger"}}, "heard": {"emotion": {"a.wav": "fear"}}})
    with refused(DatasetError, "a.wav", "acted", "heard", "--dataset_option tables=acted"):
        load(tmp_path, name="x")
    assert load(tmp_path, name="x", tables=("heard",))[0].emotion == "fearful"
    with refused(DatasetError, "seen", "acted, heard"):
        load(tmp_path, name="x", tables=("seen",))
    with refused(DatasetError, "mood", "emotion"):
        load(tmp_path, name="x", column="mood")


def test_without_a_name_or_the_package_it_says_what_to_do(tmp_path, monkeypatch):
    with refused(DatasetError, tmp_path, "name=emodb"):
        load(tmp_path)
    monkeypatch.setitem(sys.modules, "audb", None)
    with refused(ConfigError, "audb", "requirements-audb.txt"):
        load(tmp_path, name="x")


def test_a_failure_of_the_package_is_one_line_with_the_name(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("Cannot find version '9'.\nTraceback")

    monkeypatch.setitem(sys.modules, "audb", SimpleNamespace(load=fail))
    with refused(DatasetError, "x 9", "Cannot find version '9'"):
        load(tmp_path, name="x", version="9")
