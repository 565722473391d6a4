"""Many clips with one model: all are found, none stops the rest, and what is done is not done again."""

import csv
import errno
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import marked_predictions
import media_files
import numpy as np
import pytest
import soundfile
from recording import Recorder

import run_inference
from emotion.console import SOME_FILES_FAILED
from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import ConfigError, MediaError
from emotion.files import locked_folder, locked_names
from emotion.inference import batch as batch_module
from emotion.inference.batch import (
    DONE,
    FAILED,
    JOURNAL_FILE,
    SETTINGS_FILE,
    SUMMARY_FILE,
    Batch,
    ClipAnswer,
    Task,
)
from emotion.inference.batch_run import describe_failure, run_batch
from emotion.inference.clip_search import ClipFile, LeftOut, find_clips
from emotion.inference.output_plan import OutputPlan, OutputRequest, plan_clip
from emotion.media.writing import VideoWriter
from emotion.results import EmotionSummary

ROOT = Path(__file__).resolve().parents[2]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


# ---- Finding files ----


def test_a_folder_is_searched_with_all_that_is_in_it_in_order(tmp_path):
    touch(tmp_path, "b.mp4", "a.WAV", "deep/er/c.jpg", "deep/er/c_emotion.png", "notes.txt", ".hidden.mp4",
          ".hidden/d.mp4", "b_emotion_plot.png", "gone_emotion_plot.png", "sad_emotion.mp4")  # fmt: skip
    for name in ("gone_emotion.mp4", "b_emotion.mp4"):
        with VideoWriter(tmp_path / name, width=32, height=32) as writer:
            writer.write(0.0, np.zeros((32, 32, 3), np.uint8))
    # What this program made of another file there is no clip; what only looks like it is.
    clips = find_clips([str(tmp_path)])
    assert [clip.name for clip in clips] == ["a", "b", str(Path("deep/er/c")), "sad_emotion"]


def test_patterns_and_several_names_give_each_file_once(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.avi", "odd.xyz", "notes.txt", "a_emotion_plot.png")
    clips = find_clips([str(tmp_path / "*.mp4"), str(tmp_path / "a.mp4"), str(tmp_path / "odd.xyz")])
    assert [clip.path.name for clip in clips] == ["a.mp4", "b.mp4", "odd.xyz"]
    assert [clip.path.name for clip in find_clips([str(tmp_path / "*")])] == ["a.mp4", "b.mp4", "c.avi"]


def test_a_file_under_several_names_is_one_file(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    assert find_clips([str(tmp_path / "a.mp4"), str(tmp_path / "link.mp4")]) is None
    assert [clip.name for clip in find_clips([str(tmp_path)])] == ["a", "b"]
    with pytest.raises(ConfigError, match="empty"):
        find_clips(["a.mp4", ""])


def test_results_of_a_name_with_a_bar_in_it_are_found_again(tmp_path):
    touch(tmp_path, "a|b.mp4", "c.mp4")
    (clip, _) = find_clips([str(tmp_path)])
    batch = Batch(tmp_path / "out", {})
    (tmp_path / "out" / f"{clip.name}_emotion.json").write_text("{}")
    batch.note_done(clip, make_answer(), [tmp_path / "out" / f"{clip.name}_emotion.json"])
    assert Batch(tmp_path / "out", {}, resume=True).is_done(clip)


def test_one_file_is_no_batch_though_its_name_looks_like_a_pattern(tmp_path):
    touch(tmp_path, "a[1].mp4")
    assert find_clips([str(tmp_path / "a[1].mp4")]) is None
    assert find_clips([str(tmp_path / "absent.mp4")]) is None


def test_where_there_is_nothing_to_judge_the_place_is_named(tmp_path):
    for place in (str(tmp_path), str(tmp_path / "*.mp4")):
        with pytest.raises(MediaError, match=re.escape(place)):
            find_clips([place])


def test_files_of_one_name_get_outputs_of_different_names(tmp_path):
    touch(tmp_path, "clip.mp4", "Clip.wav", "clip.jpg", "sub/clip.mp4")
    names = [clip.name for clip in find_clips([str(tmp_path)])]
    assert len({name.casefold() for name in names}) == 4
    assert str(Path("sub/clip")) in names and "clip.mp4" in names


# ---- The record of what is done ----


def make_answer() -> ClipAnswer:
    answer = EmotionSummary.of(np.array([0.9, 0.1]), ("happy", "sad"), evidence="voice")
    return ClipAnswer.of(marked_predictions.make_prediction(class_names=("happy", "sad"), overall=answer))


def test_what_is_done_is_known_after_a_stop_and_what_failed_is_tried_again(tmp_path):
    clips = [ClipFile(Path(name), Path(name).stem) for name in ("a.mp4", "b, c.mp4", "d.mp4")]
    batch = Batch(tmp_path / "out", {"model": "m"})
    (tmp_path / "out" / "a.json").write_text("{}")
    batch.note_done(clips[0], make_answer(), [tmp_path / "out" / "a.json"])
    batch.note_failed(clips[1], "b, c.mp4: is empty")
    again = Batch(tmp_path / "out", {"model": "m"}, resume=True)
    assert [again.is_done(clip) for clip in clips] == [True, False, False]
    assert [row["message"] for row in again.rows.values()] == ["", "b, c.mp4: is empty"]
    (tmp_path / "out" / "a.json").unlink()
    assert not again.is_done(clips[0])


def test_files_of_one_name_from_different_folders_do_not_share_results(tmp_path):
    touch(tmp_path, "day1/clip.mp4", "day2/clip.mp4")
    batch = Batch(tmp_path / "out", {})
    (first,), (second,) = (find_clips([str(tmp_path / day)]) for day in ("day1", "day2"))
    (tmp_path / "out" / "clip.json").write_text("{}")
    batch.note_done(batch.claim(first), make_answer(), [tmp_path / "out" / "clip.json"])
    again = Batch(tmp_path / "out", {}, resume=True)
    assert again.is_done(first) and not again.is_done(second)
    assert again.claim(second).name == "clip 2" and again.claim(first).name == "clip"
    assert again.outputs(second) == []


def test_a_name_that_a_spreadsheet_would_compute_is_text_in_the_summary_and_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "=1+1.mp4"))
    (clip,) = find_clips(["."])
    batch = Batch(tmp_path / "out", {"model": "x"})
    batch.note_failed(clip, "=1+1.mp4: cannot be read.")
    batch.write()
    written = (tmp_path / "out" / "summary.csv").read_text()
    assert ",'=1+1," in written and ",'=1+1.mp4: cannot" in written and ",=" not in written
    (row,) = Batch(tmp_path / "out", {"model": "x"}, resume=True).rows.values()
    assert row["name"] == "=1+1" and row["message"].startswith("=1+1.mp4")


def test_a_stop_in_the_middle_of_a_clip_leaves_word_of_what_may_be_replaced(tmp_path):
    clip = ClipFile(tmp_path / "a.mp4", "a")
    Batch(tmp_path / "out", {}).note_begun(clip, [tmp_path / "out" / "a.json", tmp_path / "out" / "a.mp4"])
    again = Batch(tmp_path / "out", {}, resume=True)
    assert not again.is_done(clip)
    assert [path.name for path in again.outputs(clip)] == ["a.json", "a.mp4"]


def test_results_made_with_other_settings_are_not_mixed(tmp_path):
    Batch(tmp_path / "out", {"model": "m"})
    with pytest.raises(ConfigError, match=SETTINGS_FILE):
        Batch(tmp_path / "out", {"model": "n"}, resume=True)
    with pytest.raises(ConfigError, match="--resume"):
        Batch(tmp_path / "out", {"model": "m"})
    assert Batch(tmp_path / "out", {"model": "n"}, overwrite=True).rows == {}


def test_a_file_that_changed_is_judged_again(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    clips = find_clips([str(tmp_path)])
    batch = Batch(tmp_path / "out", {})
    for clip in clips:
        batch.note_done(clip, make_answer(), [])
    (tmp_path / "b.mp4").write_bytes(b"another one")
    again = Batch(tmp_path / "out", {}, resume=True)
    assert [again.is_done(clip) for clip in clips] == [True, False]


def test_names_that_differ_only_in_what_is_no_unicode_are_two_files(tmp_path):
    for byte in (b"\xe8", b"\xe9"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf" + byte + b".mp4")).write_bytes(b"x")
    clips = find_clips([str(tmp_path)])
    assert sorted(clip.name for clip in clips) == [r"caf\xe8", r"caf\xe9"]
    batch = Batch(tmp_path / "out", {})
    batch.note_done(clips[0], make_answer(), [])
    assert [batch.is_done(clip) for clip in clips] == [True, False]


@pytest.mark.parametrize("lock", [locked_folder, lambda path: locked_names([path, path.with_suffix(".json")])])
def test_two_programs_do_not_write_to_one_place(tmp_path, lock):
    with lock(tmp_path / "out"):
        with pytest.raises(ConfigError, match="out: "), lock(tmp_path / "out"):
            pass
        with lock(tmp_path / "other"):
            pass
    with lock(tmp_path / "out"):
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_fault_of_the_program_costs_one_file_and_not_the_batch(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    clips = find_clips([str(tmp_path)])
    batch, recorder = Batch(tmp_path / "out", {}), Recorder()

    def plan(clip):
        if clip.name == "b":
            raise OSError(errno.ENAMETOOLONG, "File name too long", "out/b")
        return Task(clip, None, OutputPlan())

    def label(tasks):
        for task in tasks:
            is_bad = task.clip.name == "a"
            yield task, describe_failure(task.clip, ZeroDivisionError("by zero")) if is_bad else make_answer()

    assert run_batch(clips, batch, plan, label, reporter=recorder) == 2
    assert len(recorder.said) == 1 and "c.mp4" in recorder.said[0]
    assert "a.mp4" in recorder.warned[0] and "ZeroDivisionError: by zero" in recorder.warned[0]
    assert "b.mp4" in recorder.warned[1] and "File name too long" in recorder.warned[1]
    assert [row["status"] for row in batch.rows.values()] == [FAILED, FAILED, DONE]


def test_a_long_batch_keeps_a_journal_between_two_summaries_and_goes_on_from_it(tmp_path, monkeypatch):
    clips = [ClipFile(Path(f"{number}.mp4"), str(number)) for number in range(4)]
    monkeypatch.setattr(batch_module, "WHOLE_SECONDS", 1e6)
    batch = Batch(tmp_path, {})
    before = (tmp_path / SUMMARY_FILE).read_bytes()
    for clip in clips[:3]:
        batch.note_begun(clip, [tmp_path / f"{clip.name}.json"])
    for clip in clips[:2]:
        (tmp_path / f"{clip.name}.json").write_text("{}")
        batch.note_done(clip, make_answer(), [tmp_path / f"{clip.name}.json"])
    assert (tmp_path / SUMMARY_FILE).read_bytes() == before  # a program that is killed now has written no more
    with open(tmp_path / JOURNAL_FILE, "a", encoding="utf-8") as file:
        file.write('{"file": "half')
    again = Batch(tmp_path, {}, resume=True)
    assert [again.is_done(clip) for clip in clips] == [True, True, False, False]
    assert again.outputs(clips[2]) == [tmp_path / "2.json"]
    assert not (tmp_path / JOURNAL_FILE).exists() and len(read_summary(tmp_path)) == 3


def test_a_file_is_not_taken_for_a_folder_of_results_nor_a_table_for_a_summary(tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(ConfigError, match="--output_dir"):
        Batch(tmp_path / "out", {})
    folder = tmp_path / "other"
    Batch(folder, {})
    (folder / SUMMARY_FILE).write_text("a;b\n1;2\n")
    with pytest.raises(ConfigError, match=SUMMARY_FILE):
        Batch(folder, {}, resume=True)


@pytest.mark.parametrize("name", ["../../up", "/abs"])
def test_a_summary_that_somebody_changed_leads_to_no_other_folder(tmp_path, name):
    clip = ClipFile(tmp_path / "a.mp4", "a")
    batch = Batch(tmp_path / "out", {})
    batch.note_begun(clip, [])
    batch.write()
    text = (tmp_path / "out" / SUMMARY_FILE).read_text()
    for changed in (
        text.replace(",a,begun", f",{name},begun"),
        text.replace("begun,,,,,,,", f"begun,,,,,,,{name}.json"),
    ):
        (tmp_path / "out" / SUMMARY_FILE).write_text(changed)
        with pytest.raises(ConfigError, match="lies in another folder"):
            Batch(tmp_path / "out", {}, resume=True)


# ---- The program ----


@pytest.fixture
def folder(tmp_path):
    """A voice, a face, and a file that is none of both."""
    import cv2

    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "voice.wav", synthesize_voice("sad", speaker_seed=2, sample_rate=22050), 22050)
    cv2.imwrite(str(clips / "face.png"), draw_face("happy", speaker_seed=3)[..., ::-1])
    media_files.make_empty(clips / "empty.mp4")
    return clips


@pytest.fixture
def run(call, trained):
    """Calls the program with a small model."""
    return functools.partial(call, run_inference, "--model", trained.path, "--no_progress")


def read_summary(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / SUMMARY_FILE, newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file)}


def test_a_bad_file_is_named_and_counted_and_the_rest_finished(folder, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("--video_path", folder, "--json")
    assert code == SOME_FILES_FAILED and err.count("\n") == 1 and "empty.mp4" in err
    assert "2 of 3" in out and "empty.mp4" in out
    results = tmp_path / "emotion_results"
    rows = read_summary(results)
    assert {name: row["status"] for name, row in rows.items()} == {
        "empty.mp4": FAILED, "face.png": DONE, "voice.wav": DONE,
    }  # fmt: skip
    assert rows["voice.wav"]["evidence"] == "voice" and rows["face.png"]["evidence"] == "face"
    assert sorted(path.name for path in results.iterdir()) == [
        "face_emotion.json", "face_emotion.png", SUMMARY_FILE, SETTINGS_FILE, "voice_emotion.json",
        "voice_emotion_plot.png",
    ]  # fmt: skip
    for row in (rows["face.png"], rows["voice.wav"]):
        assert all((results / name).is_file() for name in row["outputs"].split("|"))
    assert json.loads((results / "face_emotion.json").read_text())["overall"]["emotion"] == rows["face.png"]["emotion"]

    # Once more: refused, unless it is said what to do with what is there.
    code, _, err = run("--video_path", folder, "--json")
    assert code == 2 and "--resume" in err
    before = {path: path.stat().st_mtime_ns for path in results.glob("*_emotion*")}
    (folder / "empty.mp4").unlink()
    soundfile.write(folder / "more.wav", synthesize_voice("happy", speaker_seed=1, sample_rate=22050), 22050)
    code, out, _ = run("--video_path", folder, "--json", "--resume")
    assert code == 0 and "skipped: 2" in out and "3 of 3" in out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read_summary(results)["more.wav"]["status"] == DONE


def test_a_batch_replaces_nothing_of_others_unasked(folder, run, tmp_path):
    (folder / "empty.mp4").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "voice_emotion.json").write_text("precious")
    options = ("--video_path", folder, "--json", "--no_plot", "--output_dir", tmp_path / "out")
    code, _, err = run(*options)
    assert code == SOME_FILES_FAILED and "voice_emotion.json" in err and "--overwrite" in err
    assert (tmp_path / "out" / "voice_emotion.json").read_text() == "precious"
    assert (tmp_path / "out" / "face_emotion.json").is_file()
    code, out, _ = run(*options, "--overwrite", "--quiet")
    assert (code, out) == (0, "") and (tmp_path / "out" / "voice_emotion.json").read_text() != "precious"


def test_no_clip_of_a_batch_is_replaced_by_the_results_of_another(folder, run):
    (folder / "empty.mp4").unlink()
    (folder / "face.png").rename(folder / "voice_emotion.png")
    media_files.make_clip(folder / "voice.png.mp4")
    before = (folder / "voice_emotion.png").read_bytes()
    (folder / "voice.jpg").write_bytes(before)
    clips = [folder / "voice.jpg", folder / "voice_emotion.png"]
    code, _, err = run("--video_path", *clips, "--overwrite", "--output_dir", folder)
    assert code == SOME_FILES_FAILED and "voice_emotion.png" in err
    assert (folder / "voice_emotion.png").read_bytes() == before
    assert (folder / "voice_emotion_emotion.png").is_file()


def test_names_that_are_no_unicode_stop_nothing(folder, run, tmp_path):
    odd = os.fsencode(folder) + b"/odd\xff\nname.wav"
    os.rename(folder / "voice.wav", odd)
    options = ("--video_path", folder, "--json", "--csv", "--srt", "--output_dir", tmp_path / "out")
    code, out, err = run(*options)
    assert code == SOME_FILES_FAILED and err.count("\n") == 1 and "empty.mp4" in err  # which is bad
    assert "2 of 3" in out
    name = r"odd\xff\nname"
    assert json.loads((tmp_path / "out" / f"{name}_emotion.json").read_text())["file"].endswith(f"{name}.wav")
    assert (tmp_path / "out" / f"{name}_emotion_plot.png").is_file()
    (folder / "empty.mp4").unlink()
    code, out, _ = run(*options, "--resume")
    assert code == 0 and "skipped: 2" in out


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.thorough),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.thorough),
    ],
)
def test_a_stop_between_files_leaves_a_summary_to_go_on_from(folder, tmp_path, kind, code):
    for number in range(200):
        (folder / f"more{number:03d}.wav").write_bytes((folder / "voice.wav").read_bytes())
    command = [sys.executable, str(ROOT / "run_inference.py"), str(folder), "--no_plot", "--json", "--no_progress",
               "--output_dir", str(tmp_path / "out")]  # fmt: skip
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list((tmp_path / "out").glob("*_emotion.json"))) < 3:
        time.sleep(0.05)
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    assert "--resume" in out or kind != signal.SIGINT
    done = [row for row in read_summary(tmp_path / "out").values() if row["status"] == DONE]
    assert 2 <= len(done) < 200
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]


def test_what_a_folder_holds_beside_clips_is_counted_and_named(tmp_path):
    touch(tmp_path, "a.mp4", "b.f4v", "c.spx", "d.heic", ".DS_Store", "notes.txt", "half.mp4.part", "sub/n1.csv",
          "sub/n2.csv", "sub/n3.csv", "a_emotion_plot.png")  # fmt: skip
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    left_out = LeftOut()
    assert [clip.name for clip in find_clips([str(tmp_path)], left_out)] == ["a", "b", "c", "d"]
    assert {reason: len(paths) for reason, paths in left_out.by_reason.items()} == {
        "not media by name or content": 4, "unfinished downloads": 1, "made by this program": 1, "links to nothing": 1,
        "hidden": 1,
    }  # fmt: skip
    assert "4 not media by name or content (notes.txt, n1.csv, n2.csv, ...)" in str(left_out)


def test_a_part_of_a_pattern_that_is_a_folders_very_name_is_no_pattern(tmp_path):
    touch(tmp_path, "clips [2023]/a.mp4", "clips 2/b.mp4", "clips [2023]/in [x]/c.mp4")
    assert [clip.name for clip in find_clips([str(tmp_path / "clips [2023]" / "*.mp4")])] == ["a"]
    assert [clip.name for clip in find_clips([str(tmp_path / "clips [2023]/in [x]/*")])] == ["c"]
    assert [clip.name for clip in find_clips([str(tmp_path / "clips [0-9]" / "*.mp4")])] == ["b"]


def test_split_channels_makes_a_clip_of_each_channel(tmp_path, call, trained):
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=1.0, sample_rate=16000)
    soundfile.write(tmp_path / "call.wav", np.stack([voice, 0 * voice], axis=1), 16000)
    options = ("--model", trained.path, "--split_channels", "--no_plot", "--json", "--output_dir", tmp_path / "out")
    done = call(run_inference, tmp_path / "call.wav", *options, cwd=tmp_path)
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json") if path.name != SETTINGS_FILE) == [
        "call_channel_1_emotion.json",
        "call_channel_2_emotion.json",
    ]
    assert "call.wav, channel 2" in (tmp_path / "out" / SUMMARY_FILE).read_text()
    assert "done before, skipped: 2" in call(run_inference, tmp_path / "call.wav", *options, "--resume").out


def test_a_track_that_is_not_there_is_one_line_that_lists_the_tracks(tmp_path, call, trained):
    media_files.make_clip(tmp_path / "clip.mp4")
    done = call(run_inference, tmp_path / "clip.mp4", "--model", trained.path, "--audio_track", 2, cwd=tmp_path)
    assert done.code == 1
    assert "has no sound track 2. Its sound tracks are: 1 (aac, mono)." in done.err


def test_the_longest_names_give_results_that_are_known_as_such(tmp_path):
    names = [stem + ".png" for stem in ("a" * 250 + "1", "a" * 250 + "2", "ü" * 125)]
    plans = []
    for name in names:
        make = media_files.make_still(tmp_path / "short.png")
        clip = make.rename(tmp_path / name)
        info, plan = plan_clip(clip, OutputRequest(folder=tmp_path, tables={"json": ""}, save_plot=None))
        assert info.is_still
        plans += plan.files().values()
    assert len(set(plans)) == 2 * len(names)
    for path in plans:
        path.write_bytes(b"x")
    left_out = LeftOut()
    assert len(find_clips([str(tmp_path)], left_out)) == len(names)
    assert len(left_out.by_reason["made by this program"]) == len(names)
