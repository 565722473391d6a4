"""Which clips come out of a manifest, what is said of rows that cannot be true, and that writing undoes reading."""

import csv
import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from emotion.datasets import Clip
from emotion.datasets.manifest import load, recognizes, write_manifest
from emotion.errors import DatasetError


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def only_clip(tmp_path, header, row, **kwargs):
    (clip,) = load(write(tmp_path / "own.csv", header, row), **kwargs)
    return clip


# ---- What a row says ----


def test_two_columns_are_enough(tmp_path):
    path = str(tmp_path / "a" / "b.mp4")
    assert only_clip(tmp_path, "path,emotion", "a/b.mp4,Joy") == Clip(
        "own:a/b.mp4", "happy", video_path=path, audio_path=path
    )


def test_every_known_column_has_its_place_and_others_go_to_the_details(tmp_path):
    clip = only_clip(
        tmp_path,
        "speaker,sex,split,start_s,end_s,audio_path,emotion,path,Camera,note",
        "ann,F,dev,1.50,2,b.wav,Contempt,a.mp4,left,",
    )
    assert clip == Clip(
        clip_id="own:a.mp4#1.5-2",
        emotion="contempt",
        speaker="own:ann",
        video_path=str(tmp_path / "a.mp4"),
        audio_path=str(tmp_path / "b.wav"),
        sex="female",
        split="validation",
        start_seconds=1.5,
        end_seconds=2.0,
        details={"Camera": "left"},
    )


@pytest.mark.parametrize(
    ("path", "audio", "expected"),
    [
        ("a.mp4", "", ("a.mp4", "a.mp4")),
        ("a.MP4", "b.wav", ("a.MP4", "b.wav")),
        ("a.mp4", "none", ("a.mp4", None)),
        ("a.wav", "", (None, "a.wav")),
        ("a.png", "", ("a.png", None)),
        ("a.jpg", "b.wav", ("a.jpg", "b.wav")),
    ],
)
def test_the_suffix_tells_picture_from_sound(tmp_path, path, audio, expected):
    clip = only_clip(tmp_path, "path,emotion,audio_path", f"{path},sad,{audio}")
    assert (clip.video_path, clip.audio_path) == tuple(name and str(tmp_path / name) for name in expected)


def test_a_speaker_that_names_its_data_set_keeps_it(tmp_path):
    assert only_clip(tmp_path, "path,emotion,speaker", "a.wav,sad,ravdess:01").speaker == "ravdess:01"


def test_paths_are_relative_to_the_root_given_or_to_the_manifest_and_may_be_absolute(tmp_path):
    absolute = str(tmp_path / "x" / "c.wav")
    manifest = write(tmp_path / "lists" / "own.csv", "path,emotion", "c.wav,sad", f"{absolute},sad")
    assert [clip.audio_path for clip in load(manifest, tmp_path / "media")] == [
        absolute,
        str(tmp_path / "media" / "c.wav"),
    ]
    assert load(manifest)[1].audio_path == str(tmp_path / "lists" / "c.wav")


@pytest.mark.skipif(os.sep != "/", reason="backslashes are slashes here")
def test_paths_with_backslashes_are_understood(tmp_path):
    assert only_clip(tmp_path, "path,emotion", r"a\b.wav,sad").audio_path == str(tmp_path / "a" / "b.wav")


@pytest.mark.parametrize("word", ["train", "validation", "valid", "val", "dev", "test", "Test"])
def test_sides_are_known_by_all_their_names(tmp_path, word):
    side = {"t": word.lower(), "v": "validation", "d": "validation"}[word[0].lower()]
    assert only_clip(tmp_path, "path,emotion,split", f"a.wav,sad,{word}").split == side


def test_stretches_of_one_file_are_clips_apart(tmp_path):
    rows = ("a.wav,sad,,1", "a.wav,sad,1,2", "a.wav,sad,2,", "a.wav,sad,,")
    clips = load(write(tmp_path / "own.csv", "path,emotion,start_s,end_s", *rows))
    assert [clip.clip_id for clip in clips] == ["own:a.wav", "own:a.wav#-1", "own:a.wav#1-2", "own:a.wav#2-"]


# ---- How it is written ----


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_delimiter_and_encoding_will_do(tmp_path, encoding, delimiter):
    lines = ("path,emotion,speaker", "é.wav,sad,Zoë", "", ",,")
    clips = load(write(tmp_path / "own.csv", *(line.replace(",", delimiter) for line in lines), encoding=encoding))
    assert [(clip.clip_id, clip.speaker) for clip in clips] == [("own:é.wav", "own:Zoë")]


EXCEL = "path;emotion;speaker;start_s;end_s\r\né 1.wav;Happy ;a;0,2;1,5\r\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(("\ufeff" + EXCEL).encode(), id="decimal commas"),
        pytest.param(("\ufeffsep=;\r\n" + EXCEL).encode(), id="a line that names the delimiter"),
        pytest.param(('"sep=|"\n' + EXCEL.replace(";", "|")).encode("cp1252"), id="a delimiter that must be named"),
        pytest.param(EXCEL.replace(";", "\t").encode("utf-16"), id="Excel's Unicode text"),
        pytest.param(EXCEL.encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(EXCEL.encode("utf-16-be"), id="UTF-16 without a mark, the other way round"),
        pytest.param(EXCEL.replace(",", '","').replace(";", ",").replace('0","2', '"0,2"').replace('1","5', '"1,5"')
                     .encode(), id="decimal commas in quotation marks"),
        pytest.param(re.sub(r"[^;\r\n]+", r'"\g<0>"', EXCEL).encode(), id="everything in quotation marks"),
    ],
)  # fmt: skip
def test_tables_are_read_as_excel_writes_them(tmp_path, content):
    (tmp_path / "own.csv").write_bytes(content)
    (clip,) = load(tmp_path / "own.csv")
    assert (clip.emotion, clip.start_seconds, clip.end_seconds) == ("happy", 0.2, 1.5)
    assert clip.audio_path == str(tmp_path / "é 1.wav")


def test_lines_are_counted_with_the_one_that_names_the_delimiter(tmp_path):
    with refused(DatasetError, "line 4"):
        load(write(tmp_path / "own.csv", "sep=;", "path;emotion", "a.wav;sad", "b.wav;"))


def test_a_number_that_may_mean_two_things_is_refused(tmp_path):
    with refused(DatasetError, "start_s", "1,500"):
        load(write(tmp_path / "own.csv", "path,emotion,start_s", 'a.wav,sad,"1,500"'))
    assert only_clip(tmp_path, "path;emotion;start_s", "a.wav;sad;1,500").start_seconds == 1.5


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_may_be_composed_or_not_in_files_and_tables(tmp_path, on_disk, in_table):
    name, folder = "Zoë_café.wav", "Été"
    disk, table = (unicodedata.normalize(form, f"{folder}/{name}") for form in (on_disk, in_table))
    (tmp_path / disk).parent.mkdir()
    (tmp_path / disk).write_bytes(b"sound")
    rows = [f"{table},fear,{unicodedata.normalize('NFC', 'Zoë')}", f"a.wav,sad,{unicodedata.normalize('NFD', 'Zoë')}"]
    clips = load(write(tmp_path / "own.csv", "path,emotion,speaker", *rows))
    assert {clip.audio_path for clip in clips} == {str(tmp_path / disk), str(tmp_path / "a.wav")}
    assert len({clip.speaker for clip in clips}) == 1


def test_one_file_under_two_spellings_is_one_clip(tmp_path):
    (tmp_path / "é.wav").write_bytes(b"sound")
    with refused(DatasetError, "line 3", "line 2"):
        load(write(tmp_path / "own.csv", "path,emotion", "é.wav,sad", f"{unicodedata.normalize('NFD', 'é.wav')},sad"))


def test_a_header_with_blanks_and_capitals_is_understood(tmp_path):
    clip = only_clip(tmp_path, " Path , EMOTION,  Start_S", "a.wav , sad, 1")
    assert (clip.clip_id, clip.emotion) == ("own:a.wav#1-", "sad")


def test_a_folder_stands_for_the_manifest_inside(tmp_path):
    write(tmp_path / "manifest.csv", "path,emotion", "a.wav,sad")
    assert [clip.clip_id for clip in load(tmp_path)] == ["manifest:a.wav"]
    assert recognizes(tmp_path)
    assert recognizes(tmp_path / "manifest.csv")
    assert not recognizes(write(tmp_path / "other.csv", "file,emotion", "a.wav,sad"))


# ---- Rows that cannot be true ----

HEADER = "path,emotion,start_s,end_s,split,sex,audio_path"


@pytest.mark.parametrize(
    ("row", "facts"),
    [
        (",sad", ["path"]),
        ("b.wav,", ["emotion"]),
        ("b.wav", ["emotion"]),
        ("happy,b.wav", ["happy", "not there"]),
        *((f"b.wav,sad,{start}", ["start_s", f"got {start}"]) for start in ("soon", "-1")),
        *((f"b.wav,sad,,{end}", ["end_s", f"got {end}"]) for end in ("nan", "inf")),
        ("b.wav,sad,2,2", ["end_s", "start_s", "2 and 2"]),
        ("b.wav,sad,,0", ["end_s", "start_s", "0 and 0"]),
        ("b.wav,sad,,,later", ["split", "train, validation, test", "later"]),
        ("b.wav,sad,,,,x", ["sex", "f, female, m, male", "got x"]),
        ("b.wav,sad,,,,,c.wav", ["audio_path"]),
        ("b.wav,sad,,,,,,more", ["8 fields", "7 columns"]),
        ("a.wav,happy", ["line 2"]),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, row, facts):
    with refused(DatasetError, f"{tmp_path / 'own.csv'}: 1 of 2 rows") as caught:
        load(write(tmp_path / "own.csv", HEADER, "a.wav,sad", row))
    about_the_row = str(caught.value).partition("line 3: ")[2]
    assert all(fact in about_the_row for fact in facts)


def test_lines_are_counted_in_the_file_where_fields_span_several(tmp_path):
    rows = ('a.wav,sad,"one', 'two"', "", "b.wav,", '"c', '.xyz",sad,')
    with refused(DatasetError, "line 5: ", "lines 6-7: "):
        load(write(tmp_path / "own.csv", "path,emotion,note", *rows))


def test_many_bad_rows_are_one_error_with_the_first_twenty_and_their_number(tmp_path):
    rows = (f"{number}.wav," for number in range(29))
    with refused(DatasetError, "29 of 30 rows", "line 3: ", "line 22: ", "9 more") as caught:
        load(write(tmp_path / "own.csv", "path,emotion", "a.wav,sad", *rows))
    assert "line 23" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"file,emotion\na.wav,sad\n", ["path", "file, emotion"]),
        (b"file,feeling\n", ["path", "emotion", "file, feeling"]),
        (b"path,emotion,path\na.wav,sad,b.wav\n", ["path"]),
        (b"path,emotion\n", []),
        (b"\n", []),
        (b'path,emotion\na.wav,sad\nb.wav,"sad\n', ["line 3: "]),
        (bytes(range(256)), ["UTF-8"]),
        (None, []),
    ],
)
def test_what_is_no_manifest_is_named_and_says_why(tmp_path, content, facts):
    path = tmp_path / "own.csv"
    if content is not None:
        path.write_bytes(content)
    with refused(DatasetError, f"{path}: ", *facts):
        load(path)


# ---- Writing ----

words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Z")), min_size=1, max_size=6)
texts = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8).filter(str.strip)
stems = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="/\\\0"), min_size=1, max_size=6)
seconds = st.floats(0, 1e6, allow_nan=False)


@st.composite
def lists_of_clips(draw):
    """Clips below /media, of names and words that are hard on a table."""
    clips = {}
    for stem in draw(st.lists(stems.filter(lambda stem: stem.strip(". ") == stem), max_size=4, unique_by=str.lower)):
        name, sound = f"/media/{stem}", f"/sounds/{stem}.wav"
        video, audio = draw(
            st.sampled_from(
                [(f"{name}.mp4", f"{name}.mp4"), (f"{name}.mp4", sound), (f"{name}.mp4", None)]
                + [(None, f"{name}.wav"), (f"{name}.png", None), (f"{name}.png", sound)]
            )
        )
        start = draw(st.none() | seconds)
        details = draw(st.dictionaries(words.map(lambda word: f"k{word}"), texts, max_size=2))
        clips[stem] = Clip(
            clip_id=f"any:{stem}",
            emotion=draw(st.sampled_from(["happy", "calm", "contempt", 'two "words", quoted'])),
            speaker=draw(st.none() | words.map(lambda word: f"set:{word}")),
            video_path=video,
            audio_path=audio,
            sex=draw(st.sampled_from([None, "female", "male"])),
            split=draw(st.sampled_from([None, "train", "validation", "test"])),
            start_seconds=start,
            end_seconds=draw(st.none() | st.floats((start or 0.0) + 1.0, 3e6)),
            details=details,
        )
    return list(clips.values())


def facts(clip):
    """All of a clip but its id, which follows from the manifest."""
    return {**vars(clip), "clip_id": None, "details": sorted(clip.details.items())}


@pytest.mark.skipif(os.sep != "/", reason="the paths drawn are POSIX's")
@settings(max_examples=60, deadline=None)
@given(lists_of_clips())
def test_what_is_written_is_read_back(tmp_path_factory, clips):
    path = tmp_path_factory.mktemp("round") / "own.csv"
    write_manifest(clips, path, "/media")
    if not clips:
        with refused(DatasetError, path):
            load(path, "/media")
        return
    read = load(path, "/media")
    assert sorted(map(repr, map(facts, read))) == sorted(map(repr, map(facts, clips)))
    again = path.with_name("copy") / "own.csv"
    again.parent.mkdir()
    write_manifest(read, again, "/media")
    assert load(again, "/media") == read


def test_paths_below_the_root_are_written_relative_and_others_absolute(tmp_path):
    clips = [
        Clip("x:1", "sad", audio_path=str(tmp_path / "data" / "in" / "a.wav")),
        Clip("x:2", "sad", audio_path=str(tmp_path / "out" / "b.wav")),
    ]
    write_manifest(clips, tmp_path / "m.csv", tmp_path / "data")
    with open(tmp_path / "m.csv", newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["in/a.wav", str(tmp_path / "out" / "b.wav")]


def test_paths_given_from_the_current_folder_are_written_so_that_they_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest([Clip("x:1", "sad", audio_path="data/a.wav")], "lists.csv", "elsewhere")
    assert load("lists.csv")[0].audio_path == str(tmp_path / "data" / "a.wav")
    write_manifest([Clip("x:1", "sad", audio_path="data/a.wav")], "m.csv", ".")
    assert load("m.csv")[0].audio_path == "data/a.wav"


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path):
    path = tmp_path / "m.csv"
    for name in ("Split", " side", ""):
        with refused(DatasetError, path, f"these column names are reserved: {name!r}"):
            write_manifest([Clip("x:1", "sad", audio_path="a.wav", details={name: "left"})], path, tmp_path)
    with refused(DatasetError, path, "x:1", "UTF-8"):
        write_manifest([Clip("x:1", "sad", audio_path="\udcff.wav")], path, tmp_path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp1251", ["клип.wav", "песня.wav"]),
        ("shift_jis", ["動画.wav", "歌声ソ.wav"]),
        ("gb18030", ["视频.wav", "声音.wav"]),
        ("cp949", ["영상.wav", "목소리.wav"]),
        ("cp1250", ["žluť.wav", "řeka.wav"]),
        ("cp1252", ["café.wav", "Zoë.wav"]),
    ],
)
def test_a_table_of_an_old_encoding_is_read_so_that_its_files_exist(tmp_path, encoding, names, caplog):
    text = "path,emotion\n" + "".join(f"{name},happy\n" for name in names)
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert sorted(Path(clip.audio_path).name for clip in load(tmp_path / "table.csv")) == sorted(names)
    assert not caplog.records


def test_where_no_encoding_gives_files_that_exist_this_is_said(tmp_path, caplog):
    (tmp_path / "table.csv").write_bytes("path,emotion\nпесня.wav,happy\n".encode("cp1251"))
    load(tmp_path / "table.csv")
    assert "is not UTF-8" in caplog.text and "Save the table as CSV in UTF-8" in caplog.text
    (tmp_path / "table.csv").write_bytes(b"path,emotion\n\x81\x40.wav,happy\n")  # which is no Windows-1252
    with pytest.raises(DatasetError, match="Save the table as CSV in UTF-8"):
        load(tmp_path / "table.csv")


@pytest.mark.parametrize("head", [b"PK\x03\x04", bytes.fromhex("d0cf11e0a1b11ae1")])
def test_a_workbook_called_csv_is_called_a_workbook(tmp_path, head):
    (tmp_path / "table.csv").write_bytes(head + bytes(600))
    with pytest.raises(DatasetError, match="is a workbook.*save it there as CSV") as caught:
        load(tmp_path / "table.csv")
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ":"])
def test_columns_may_be_separated_in_five_ways(tmp_path, delimiter):
    (tmp_path / "table.csv").write_text("path,emotion\na.wav,happy\n".replace(",", delimiter))
    (clip,) = load(tmp_path / "table.csv")
    assert clip.emotion == "happy"
    assert only_clip(tmp_path, "path,emotion,a:b:c|d|e|f", "a.wav,sad,x").emotion == "sad"
