"""Text labels become class indices: what is added, what is kept, what is said, and that nothing is replaced."""

import csv
import dataclasses
import functools

import pytest

from emotion.config import RunConfig
from emotion.config_files import write_config
from emotion.datasets import __main__ as program
from emotion.datasets.check.label_conversion import convert
from emotion.datasets.paths import read_table
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS


def write(path, *lines, encoding="utf-8", newline="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    return path


@pytest.fixture
def command(call):
    """Runs ``python -m emotion.datasets convert-labels`` and returns exit code, output and errors."""
    return functools.partial(call, program, "convert-labels")


def rows(path, encoding="utf-8", delimiter=","):
    with open(path, newline="", encoding=encoding) as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_two_columns_are_added_and_all_else_is_kept(tmp_path, command):
    table = write(
        tmp_path / "train.csv", "Utterance,Emotion,Season", '"Hi, you",joy,1', "Oh,Surprise,2", "Hm,disgust,3"
    )
    before = table.read_bytes()
    code, output, _ = command(table)
    assert code == 0
    assert rows(tmp_path / "train_classes.csv") == [
        ["Utterance", "Emotion", "Season", "emotion", "class_index"],
        ["Hi, you", "joy", "1", "happy", "1"],
        ["Oh", "Surprise", "2", "surprised", "6"],
        ["Hm", "disgust", "3", "disgust", "5"],
    ]
    assert table.read_bytes() == before
    assert [line.split() for line in output.splitlines()[:3]] == [
        ["index", "emotion", "train.csv"],
        ["0", "neutral", "0"],
        ["1", "happy", "1"],
    ]


def test_several_tables_are_counted_side_by_side_and_keep_their_names_in_another_folder(tmp_path, command):
    tables = [write(tmp_path / name, "label", *words) for name, words in (("a.csv", ["sad"]), ("b.csv", ["sad"] * 12))]
    code, output, _ = command(*tables, "--output", tmp_path / "new" / "folder")
    assert code == 0
    assert [line.split() for line in output.splitlines() if "sad" in line] == [["2", "sad", "1", "12"]]
    assert rows(tmp_path / "new" / "folder" / "b.csv")[12] == ["sad", "sad", "2"]


def test_the_models_own_order_of_classes_counts(tmp_path, command):
    config = dataclasses.replace(RunConfig(), class_names=("sad", "neutral", "happy"))
    (tmp_path / "run").mkdir()
    write_config(config, tmp_path / "run" / "config.json")
    table = write(tmp_path / "a.csv", "emotion", "happy", "sad", "calm", "angry")
    code, output, _ = command(table, "--model", tmp_path / "run")
    assert code == 0
    assert [row[-1] for row in rows(tmp_path / "a_classes.csv")] == ["class_index", "2", "0", "1", ""]
    assert "no class_index for 1 rows: 'angry' (1)" in output


def test_calm_has_its_own_class_where_the_model_has_one(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "emotion", "calm"))
    assert convert(table, EIGHT_EMOTIONS).rows == (("calm", "calm", "1"),)
    assert convert(table, SEVEN_EMOTIONS).rows == (("calm", "calm", "0"),)


def test_words_without_a_class_stay_empty_and_are_counted(tmp_path, command):
    table = write(tmp_path / "a.csv", "emotion", "Contempt", "contempt", "contempt", "", "sad")
    code, output, _ = command(table)
    assert code == 0
    assert rows(tmp_path / "a_classes.csv")[1:3] == [["contempt", "Contempt", ""], ["contempt", "contempt", ""]]
    assert "no class_index for 3 rows: 'contempt' (2), 'Contempt' (1)" in output
    assert output.splitlines()[8].split() == ["-", "(no", "class)", "3"]


def test_a_column_called_emotion_becomes_canonical_and_keeps_what_stood_there(tmp_path):
    conversion = convert(read_table(write(tmp_path / "a.csv", "path,emotion", "a.wav,Joy")), SEVEN_EMOTIONS)
    assert conversion.columns == ("path", "emotion", "emotion_as_written", "class_index")
    assert conversion.rows == (("a.wav", "happy", "Joy", "1"),)


def test_any_column_may_hold_the_emotions(tmp_path, command):
    table = write(tmp_path / "a.csv", "file;Feeling", "a.wav;joy", newline="\r\n")
    code, _, errors = command(table)
    assert code == 2
    assert "--column: file, Feeling" in errors
    assert command(table, "--column", "feeling")[0] == 0
    content = (tmp_path / "a_classes.csv").read_bytes()
    assert content == b"file;Feeling;emotion;class_index\r\na.wav;joy;happy;1\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_tables_are_read_in_their_own_encoding_and_written_in_utf_8(tmp_path, command, encoding):
    table = write(tmp_path / "a.csv", "words,emotion", "café’s,joy", encoding=encoding)
    code, output, _ = command(table)
    assert code == 0
    assert f"read as {encoding};" in output
    written = "utf-8-sig" if encoding == "utf-8-sig" else "utf-8"
    assert rows(tmp_path / "a_classes.csv", written)[1] == ["café’s", "happy", "joy", "1"]


def test_punctuation_of_the_wrong_code_page_is_mended_and_counted(tmp_path, command):
    table = write(tmp_path / "a.csv", "words,Emotion", '"he\x92s\r",joy', "fine,sad")
    assert "1 fields with punctuation of another code page mended" in command(table)[1]
    assert rows(tmp_path / "a_classes.csv")[1][0] == "he’s\r"


def test_nothing_is_replaced_and_nothing_is_written_if_one_table_fails(tmp_path, command):
    good = write(tmp_path / "good.csv", "emotion", "sad")
    bad = write(tmp_path / "bad.csv", "feeling", "sad")
    assert command(good, bad)[0] == 2
    assert command(good, "--output", tmp_path)[0] == 2
    assert command(good, good)[0] == 2
    assert good.read_text(encoding="utf-8") == "emotion\nsad\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "good.csv"]
    assert command(good)[0] == 0
    code, _, errors = command(good)
    assert code == 2
    assert "good_classes.csv: is there already and is not replaced" in errors


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("emotion,class_index", "sad,1"), "has a column class_index already"),
        (("Emotion,label,emotion_as_written,emotion", "a,b,c,sad"), "has a column emotion_as_written already"),
        (("emotion", "sad", "sad,happy"), "line 3: has 2 fields for 1 columns"),
        (("emotion,emotion", "sad,sad"), "the column emotion stands there twice"),
    ],
)
def test_tables_that_cannot_be_converted_say_why_in_one_line(tmp_path, command, lines, words):
    code, _, errors = command(write(tmp_path / "a.csv", *lines))
    assert code == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert words in errors


def test_a_missing_table_or_model_is_named(tmp_path, command):
    assert "nothing.csv: cannot be read" in command(tmp_path / "nothing.csv")[2]
    assert "config.json: no such file" in command(tmp_path / "nothing.csv", "--model", tmp_path)[2]
