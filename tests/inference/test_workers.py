"""Clips labelled in several processes, and in parts: nothing is lost, nothing is done twice."""

import csv
import errno
import functools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import run_inference
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.files import written_whole
from emotion.inference.batch import DONE, FAILED, SUMMARY_FILE

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 8000  # of a file, on a disk that is full: more than a table of a short clip, less than one of a long one
# Ends a worker, which has a parent of its own kind, as soon as it opens a certain file.
POISON = """
import multiprocessing, os, sys

def end(event, arguments):
    if event == "open" and "poison" in str(arguments[0]) and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), 9)

sys.addaudithook(end)
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    voice = synthesize_voice("sad", speaker_seed=2, sample_rate=16000)
    for name in ("a", "b", "c", "d", "poison"):
        soundfile.write(folder / f"{name}.wav", voice, 16000)
    return folder


def read_summary(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {Path(row["file"]).stem: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("engine", [("--workers", "2"), ("--cluster", "local:2")])
def test_a_clip_that_ends_its_process_is_named_and_all_others_are_labelled_once(folder, trained, tmp_path, engine):
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(POISON)
    words = [str(folder), "--model", str(trained.path), "--no_plot", "--json", "--no_progress", *engine,
             "--output_dir", str(tmp_path / "out")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'hook'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_inference.py"), *words],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 3 and "poison.wav: ended the process" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    rows = read_summary(tmp_path / "out" / SUMMARY_FILE)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": DONE, "b": DONE, "c": DONE, "d": DONE, "poison": FAILED,
    }  # fmt: skip
    answers = {row["confidence"] for name, row in rows.items() if name != "poison"}
    assert len(answers) == 1  # one voice, one answer
    assert done.stdout.count(": ") >= 4 and "4 of 5 clips analysed, 1 failed" in done.stdout
    tables = sorted(path.name for path in (tmp_path / "out").glob("*_emotion.json"))
    assert tables == [f"{name}_emotion.json" for name in "abcd"]
    assert not list((tmp_path / "out").glob("*journal*"))


def test_parts_of_a_folder_are_labelled_at_any_time_into_one_folder(folder, trained, tmp_path, call):
    options = ("--model", trained.path, "--no_progress", "--no_plot", "--json", "--output_dir", tmp_path / "out")
    run = functools.partial(call, run_inference, folder, *options)
    names = []
    for part in ("2/3", "1/3", "3/3"):
        done = run("--shard", part)
        assert done.code == 0, done.err
        rows = read_summary(tmp_path / "out" / f"summary_{part.replace('/', '-of-')}.csv")
        assert {row["status"] for row in rows.values()} == {DONE}
        names += rows
    assert sorted(names) == ["a", "b", "c", "d", "poison"]
    assert len(list((tmp_path / "out").glob("*_emotion.json"))) == 5
    again = run("--shard", "1/3", "--resume")
    assert again.code == 0 and "skipped: 2" in again.out
    for other in ((), ("--shard", "1/2")):
        mixed = run(*other, "--resume")
        assert mixed.code == 2 and "not in the same parts (summary_1-of-3.csv)" in mixed.err
    settings = json.loads((tmp_path / "out" / "summary_settings_1-of-3.json").read_text())
    assert settings["model"] == str(trained.path)
    # What replaces all results forgets the parts that they were made in, and goes on by itself.
    for options, records in ((("--shard", "2/2"), ["summary_2-of-2.csv"]), ((), [SUMMARY_FILE])):
        assert run(*options, "--overwrite").code == 0
        assert [path.name for path in (tmp_path / "out").glob("summary*.csv")] == records
        assert len(list((tmp_path / "out").glob("summary_settings*"))) == 1
        again = run(*options, "--resume")
        assert again.code == 0 and "skipped" in again.out


@pytest.mark.parametrize("engine", [("--workers", "2"), ("--cluster", "local:2")])
def test_a_full_disk_costs_the_clips_that_need_more_and_they_are_labelled_once_there_is_room(
    folder, trained, tmp_path, engine
):
    """The system lets no file grow beyond some bytes, as a full disk does not: the table of a long clip is cut off."""
    for name in ("d", "poison"):
        (folder / f"{name}.wav").unlink()
    voice = synthesize_voice("sad", speaker_seed=2, duration_seconds=40.0, sample_rate=16000)
    soundfile.write(folder / "long.wav", voice, 16000)
    command = [sys.executable, str(ROOT / "run_inference.py"), str(folder), "--model", str(trained.path), "--no_plot",
               "--json", "--no_progress", *engine, "--output_dir", str(tmp_path / "out")]  # fmt: skip
    run = functools.partial(
        subprocess.run, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    done = run(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES)))
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
    assert "out/long_emotion.json: file too large. Make room there, or choose another place." in done.stderr
    assert {name: row["status"] for name, row in read_summary(tmp_path / "out" / SUMMARY_FILE).items()} == {
        "a": DONE, "b": DONE, "c": DONE, "long": FAILED,
    }  # fmt: skip
    tables = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("summary"))
    assert tables == [f"{name}_emotion.json" for name in "abc"]  # and nothing that is half written
    done = run([*command, "--resume"])
    assert done.returncode == 0 and "skipped: 3" in done.stdout and "4 of 4" in done.stdout
    assert (tmp_path / "out" / "long_emotion.json").stat().st_size > MOST_BYTES


def test_a_disk_too_full_for_the_record_ends_the_program_in_a_line(folder, trained, call, tmp_path, monkeypatch):
    def write_to_a_full_disk(path, text):
        with written_whole(path) as partial:
            partial.write_text(text[:10])
            if len(text.splitlines()) > 2 and Path(path).name == SUMMARY_FILE:
                raise OSError(errno.ENOSPC, "No space left on device")
            partial.write_text(text)

    options = ("--model", trained.path, "--no_progress", "--no_plot", "--json", "--output_dir", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("emotion.inference.batch.write_whole", write_to_a_full_disk)
        done = call(run_inference, folder, *options, "--workers", "2")
    assert done.code == 1 and "summary.csv: no space left on device. Make room there" in done.err
    assert done.err.count("\n") == 1
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]
    again = call(run_inference, folder, *options, "--resume")
    assert again.code == 0 and "5 of 5" in again.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "3/2"), "--shard 3/2"),
        (("--shard", "x"), "--shard x"),
        (("--workers", "0"), "--workers"),
        (("--workers", "2", "--adapt"), "--adapt and --workers"),
        (("--workers", "2", "--cluster", "local:2"), "--workers and --cluster"),
        (("--cluster", "local:0"), "--cluster local:0"),
        (("--cluster", "10.0.0.1"), "--cluster 10.0.0.1"),
        (("--shard", "1/2", "--adapt"), "--adapt and --shard"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(folder, trained, call, options, words):
    done = call(run_inference, folder, "--model", trained.path, *options)
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1


def test_one_clip_has_no_parts_and_needs_no_workers(folder, trained, call):
    for options in (("--shard", "1/2"), ("--workers", "2"), ("--cluster", "local:2")):
        done = call(run_inference, folder / "a.wav", "--model", trained.path, *options)
        assert done.code == 2 and options[0] in done.err


def test_a_cluster_without_a_scheduler_is_told_with_the_way_out(folder, trained, call, tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.inference.cluster.PATIENCE_SECONDS", 0.2)
    options = ("--cluster", "tcp://127.0.0.1:9", "--output_dir", tmp_path / "out")
    done = call(run_inference, folder, "--model", trained.path, *options)
    assert done.code == 2 and "no scheduler" in done.err and "dask worker" in done.err
