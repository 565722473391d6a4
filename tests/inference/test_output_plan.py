"""Which files a clip gets, and which names are refused, before any work is done for them."""

from pathlib import Path

import pytest
from refusals import refused

from emotion.errors import ConfigError
from emotion.inference.output_plan import OutputRequest, plan_outputs
from emotion.outputs.formats import TABLES

ALL = dict.fromkeys(TABLES, "")


def plan(clip="talk.mp4", *, is_still=False, name=None, **wanted):
    return plan_outputs(Path(clip), OutputRequest(**wanted), has_video=True, is_still=is_still, name=name)


def test_every_kind_of_table_has_a_name_of_its_own_beside_the_video():
    files = plan(tables=ALL, folder=Path("out")).files()
    assert len(set(files.values())) == len(TABLES) + 2
    assert {path.name for path in files.values()} == {
        "talk_emotion.mp4", "talk_emotion_plot.png", "talk_emotion.json", "talk_emotion.csv", "talk_emotion.srt",
        "talk_emotion.eaf", "talk_emotion.TextGrid", "talk_emotion.label_studio.json", "talk_emotion.parquet",
        "talk_emotion.vtt",
    }  # fmt: skip
    assert plan(tables={"eaf": "a.eaf"}, output=Path("x/b.mp4")).tables == {"eaf": Path("a.eaf")}
    assert plan(tables={"eaf": ""}, output=Path("x/b.mp4")).tables == {"eaf": Path("x/b.eaf")}


@pytest.mark.parametrize("kind", [kind for kind, table in TABLES.items() if not table.has_stills])
def test_a_still_has_no_course_over_time(kind):
    with refused(ConfigError, "photo.jpg", f"--{kind}"):
        plan("photo.jpg", is_still=True, tables={kind: ""})
    assert plan("photo.jpg", is_still=True, name="photo", tables=ALL).tables.keys() == {"json", "csv", "parquet"}


@pytest.mark.parametrize("kind", TABLES)
def test_a_clip_named_as_a_table_is_refused(kind):
    with refused(ConfigError, f"--{kind} talk.mp4", f"--{kind} FILE{TABLES[kind].suffix}"):
        OutputRequest(tables={kind: "talk.mp4"})


def test_a_csv_has_its_settings_beside_it_unless_a_json_file_holds_them():
    assert plan(tables={"csv": ""}).csv_metadata == Path("talk_emotion.csv-metadata.json")
    assert plan(tables={"csv": "", "json": "-"}).csv_metadata == Path("talk_emotion.csv-metadata.json")
    assert plan(tables={"csv": "", "json": ""}).csv_metadata is None is plan(tables={"csv": "-"}).csv_metadata
