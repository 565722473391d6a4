"""What a check finds in a tree with every fault, what it says of it, and that no file brings it down."""

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from crashes import crash_on_poison
from media_files import make_clip, make_corrupt, make_empty, make_lfs_pointer, make_renamed_text, make_truncated
from programs import run_words

from emotion.datasets import __main__ as program
from emotion.datasets.check import examination, faults, memory
from emotion.datasets.check import report as check
from emotion.datasets.check.examination import Examination, examine_file, examine_files
from emotion.datasets.check.memory import ExaminationMemory
from emotion.datasets.check.survey import Survey
from emotion.datasets.clips import Clip
from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.errors import ConfigError, DatasetError

RATE = 22050


def wav(root, emotion, actor, *, channel=1, folder="audios"):
    return root / folder / f"Actor_{actor:02d}" / f"03-{channel:02d}-{emotion:02d}-01-01-01-{actor:02d}.wav"


def mp4(root, emotion, actor):
    return root / "videos" / f"Actor_{actor:02d}" / f"01-01-{emotion:02d}-01-01-01-{actor:02d}.mp4"


def write_faulty_tree(root: Path) -> Path:
    """Writes a small RAVDESS tree, whole at first, and puts every fault into it that a folder can have."""
    write_synthetic_dataset(
        root, emotions=("happy", "sad", "angry"), n_speakers=4, n_repetitions=1, duration_seconds=1.2, frame_rate=10
    )
    happy, sad, angry, fearful = 3, 4, 5, 6
    make_lfs_pointer(wav(root, happy, 1))
    make_empty(wav(root, sad, 1))
    make_renamed_text(wav(root, angry, 1))
    whole = wav(root, happy, 2).read_bytes()
    wav(root, happy, 2).write_bytes(whole[: len(whole) // 2])
    soundfile.write(wav(root, sad, 2), np.zeros(RATE), RATE)
    mp4(root, angry, 2).unlink()
    wav(root, angry, 2).unlink()
    make_clip(mp4(root, happy, 3), audio_codec=None)
    wav(root, happy, 3).unlink()
    soundfile.write(wav(root, fearful, 3), 0.1 * np.random.default_rng(0).standard_normal(RATE // 5), RATE)
    # The same bytes as another emotion of another speaker, the same sound in another codec, the same pictures.
    shutil.copy(wav(root, sad, 4), wav(root, sad, 3))
    samples, _ = soundfile.read(wav(root, angry, 4))
    soundfile.write(wav(root, fearful, 4).with_suffix(".flac"), 0.5 * samples, RATE)
    shutil.copy(mp4(root, happy, 4), mp4(root, fearful, 4))
    song = wav(root, happy, 4, channel=2, folder="songs")
    song.parent.mkdir(parents=True)
    soundfile.write(song, 0.1 * np.random.default_rng(1).standard_normal(RATE), RATE)
    copy = wav(root, angry, 4, folder="audios_copy")
    copy.parent.mkdir(parents=True)
    shutil.copy(wav(root, angry, 4), copy)
    shutil.copy(wav(root, angry, 4), root / "happy take one.wav")
    with zipfile.ZipFile(root / "Video_Speech_Actor_05.zip", "w") as archive:
        archive.writestr("Actor_05/01-01-03-01-01-01-05.mp4", b"packed")
    return root


FAULTS = {
    "pointer": ["Actor_01/03-01-03"],
    "empty": ["Actor_01/03-01-04"],
    "broken": ["Actor_01/03-01-05"],
    "damaged": ["Actor_02/03-01-03-01-01-01-02.wav: it ends after 0.6 of 1.2 seconds"],
    "silent": ["Actor_02/03-01-04"],
    "no_sound": ["videos/Actor_03/01-01-03"],
    "no_face": ["videos/Actor_03/01-01-03"],
    "odd_length": ["03-01-06-01-01-01-03.wav: 0.20 s"],
    "same_recording": ["(same bytes", "same sound"],
    "song_beside_speech": ["songs/"],
    "missing_classes": ["ravdess:02: no angry"],
    "unused_files": ["happy take one.wav"],
    "second_copies": ["audios_copy/Actor_04/03-01-05-01-01-01-04.wav = audios/"],
    "archives": ["Video_Speech_Actor_05.zip: 1 of its 1 files are not here"],
}


def run_check(root, *options):
    return run_words(program, "check", root, *options)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    return write_faulty_tree(tmp_path_factory.mktemp("faulty") / "data")


@pytest.fixture(scope="module")
def memory_file(tmp_path_factory):
    return tmp_path_factory.mktemp("memory") / "examinations.sqlite"


@pytest.fixture(autouse=True)
def remember_elsewhere(memory_file, monkeypatch):
    monkeypatch.setattr(memory, "MEMORY_FILE", memory_file)


@pytest.fixture(scope="module")
def report(faulty, memory_file, tmp_path_factory):
    """Exit code and JSON report of a check of the faulty tree."""
    path = tmp_path_factory.mktemp("report") / "report.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "MEMORY_FILE", memory_file)
        code = run_check(faulty, "--json", path)
    return code, json.loads(path.read_text())


# ---- What is found ----


@pytest.mark.parametrize("key", FAULTS)
def test_each_fault_of_the_tree_is_found_and_its_file_named(report, key):
    code, content = report
    found = {finding["key"]: finding for finding in content["findings"]}
    assert code == 3
    for words in FAULTS[key]:
        assert any(words in item for item in found[key]["items"]), found[key]["items"]
    assert found[key]["fix"]


def test_nothing_is_found_that_is_not_there(report):
    _, content = report
    assert {finding["key"] for finding in content["findings"]} == set(FAULTS)
    count = {finding["key"]: finding["count"] for finding in content["findings"]}
    single = ("pointer", "empty", "broken", "damaged", "silent", "no_sound", "no_face", "second_copies", "unused_files")
    assert {key: count[key] for key in single} == dict.fromkeys(single, 1)


def test_the_same_recording_is_found_by_bytes_sound_and_pictures(report):
    _, content = report
    items = next(f["items"] for f in content["findings"] if f["key"] == "same_recording")
    assert len(items) == 3
    assert sum("same bytes" in item for item in items) == 2
    assert sum("same sound" in item and ".flac" in item for item in items) == 1
    assert sum("labelled" in item for item in items) == 2


def test_a_second_run_reads_no_file_again(faulty, report, monkeypatch, capsys):
    monkeypatch.setattr(examination, "run_in_processes", None)
    began = time.monotonic()
    assert run_check(faulty) == 3
    assert time.monotonic() - began < 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("in all.")
    assert max(map(len, lines)) <= 120


def test_a_whole_data_set_passes(dataset_dir, capsys):
    assert run_check(dataset_dir) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("nothing found.")


def test_an_empty_folder_is_no_data_set(tmp_path):
    with pytest.raises(DatasetError):
        run_check(tmp_path)


@pytest.mark.parametrize("options", [["--min_seconds", 5, "--max_seconds", 4], ["--jobs", -1], ["--json", "."]])
def test_impossible_arguments_are_refused_before_any_work(tmp_path, options):
    with pytest.raises(ConfigError):
        run_check(tmp_path, *options)


def test_misspelt_labels_get_a_guess_and_clips_without_speaker_are_counted(tmp_path):
    clips = [
        Clip(clip_id="x:1", emotion="suprised", audio_path="a.wav"),
        Clip(clip_id="x:2", emotion="boredom", audio_path="a.wav"),
    ]
    survey = Survey(tmp_path, "manifest", clips, {"a.wav": Examination(has_audio=True, is_audible=True, seconds=2.0)})
    found = {finding.key: finding.items for finding in faults.find_faults(survey)}
    assert found["strange_labels"] == ("boredom (1 clip)", "suprised (1 clip), perhaps surprised?")
    assert len(found["unknown_speakers"]) == 2
    assert found["used_twice"] == ("a.wav: x:1 (suprised), x:2 (boredom)",)


def test_very_many_speakers_give_a_short_table():
    clips = [Clip(clip_id=f"x:{i}", emotion="happy", speaker=f"x:{i // 2}", audio_path="a") for i in range(200)]
    lines = list(check.format_speakers(clips))
    assert len(lines) == 13
    assert lines[-2].split() == ["90", "others", "180", "180"]
    assert lines[-1].split() == ["total", "200", "200"]


# ---- Files that do harm ----


def test_a_file_that_kills_its_process_is_named_and_the_others_go_on():
    paths = ["a", "b", "poison", "c", "d", "e", "f"]
    found = examine_files(paths, n_jobs=2, examine=crash_on_poison)
    assert list(found) == paths
    assert [path for path, each in found.items() if each.fault] == ["poison"]
    assert "crashed" in found["poison"].words


def test_a_file_that_keeps_its_reader_busy_ends_the_process(tmp_path):
    code = (
        "import time\nfrom emotion.datasets.check import examination as e\n"
        "e.DEADLINE_SECONDS = 0.3\ne._examine = lambda path: time.sleep(30)\ne.examine_file('x')"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=Path(__file__).resolve().parents[3],
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr == ""
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("make", [make_truncated, make_corrupt])
def test_a_damaged_video_is_readable_and_said_to_be_damaged(tmp_path, make):
    found = examine_file(str(make(tmp_path / "clip.mp4", seconds=2.0)))
    assert found.fault is None
    assert found.is_damaged
    assert found.words


def test_a_missing_file_is_told_from_a_broken_one(tmp_path):
    assert examine_file(str(tmp_path / "none.wav")).fault == "missing"
    assert examine_file(str(make_renamed_text(tmp_path / "text.mp4"))).fault == "broken"
    (tmp_path / "folder.wav").mkdir()
    assert examine_file(str(tmp_path / "folder.wav")).fault == "broken"


# ---- What is remembered ----


def test_a_changed_file_is_examined_again(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.zeros(100), RATE)
    with ExaminationMemory(tmp_path / "memory") as kept:
        kept.keep(str(path), Examination(words="as it was", sound_print=b"\0\xff"))
        assert kept.recall(str(path)) == Examination(words="as it was", sound_print=b"\0\xff")
        soundfile.write(path, np.zeros(200), RATE)
        assert kept.recall(str(path)) is None


def test_a_memory_of_another_version_or_full_of_noise_is_started_anew(tmp_path, monkeypatch):
    path, known = tmp_path / "memory", str(make_empty(tmp_path / "a.wav"))
    with ExaminationMemory(path) as kept:
        kept.keep(known, Examination())
    with ExaminationMemory(path) as kept:
        assert kept.recall(known) == Examination()
    monkeypatch.setattr(memory, "CONTENT_VERSION", 999)
    with ExaminationMemory(path) as kept:
        assert kept.recall(known) is None
    path.write_bytes(b"noise" * 1000)
    with ExaminationMemory(path) as kept:
        kept.keep(known, Examination())
        assert kept.recall(known) == Examination()
