"""Which clips the clean-up tool keeps, and the reason it gives for the others."""

import csv
import dataclasses

import numpy as np
import pytest
import soundfile
from media_files import make_clip, make_empty
from programs import run_words
from refusals import refused

from emotion.datasets import __main__ as program
from emotion.datasets.check import cleaning, memory
from emotion.datasets.check.examination import Examination
from emotion.datasets.check.survey import MissingRow, Survey
from emotion.datasets.clips import Clip
from emotion.errors import ConfigError, DatasetError

FACE = Examination(has_video=True, n_frames_looked=6, n_faces=6, seconds=3.0)
VOICE = Examination(has_audio=True, is_audible=True, seconds=3.0)
NO_FACE = Examination(has_video=True, n_frames_looked=6, n_faces=1, seconds=3.0)
SILENCE = Examination(has_audio=True, seconds=3.0)
BROKEN = Examination(fault="broken", words="moov atom not found")


def reason(tmp_path, video, audio, *, keep_faceless=False, **stretch):
    files = {name: found for name, found in (("v.mp4", video), ("a.wav", audio)) if found}
    clip = Clip("x:1", "happy", video_path="v.mp4" if video else None, audio_path="a.wav" if audio else None, **stretch)
    kept, dropped = cleaning.sort_clips(Survey(tmp_path, "folder", [clip], files), keep_faceless=keep_faceless)
    assert len(kept) + len(dropped) == 1
    return dropped[0][2] if dropped else None


@pytest.mark.parametrize(
    ("video", "audio", "expected"),
    [
        (FACE, VOICE, None),
        (None, VOICE, None),
        (FACE, None, None),
        (FACE, SILENCE, None),
        (NO_FACE, VOICE, "no face"),
        (NO_FACE, None, "no face"),
        (NO_FACE, SILENCE, "neither a face nor a sound"),
        (None, SILENCE, "silent"),
        (FACE, BROKEN, "cannot be decoded: moov atom not found"),
        (None, Examination(fault="missing", words="no such file"), "missing: no such file"),
        (None, Examination(has_audio=True, is_audible=True, seconds=0.2), "absurd length: 0.20 s"),
        (None, Examination(has_audio=True, is_audible=True, seconds=90.0), "absurd length: 90.00 s"),
    ],
)
def test_a_clip_is_kept_if_what_is_expected_of_it_is_there(tmp_path, video, audio, expected):
    assert reason(tmp_path, video, audio) == expected


def test_of_clips_with_the_same_bytes_one_is_kept(tmp_path):
    files = {f"{name}.wav": dataclasses.replace(VOICE, sha256=digest) for name, digest in ("a1", "b1", "c2")}
    clips = [Clip(f"x:{name}", "happy", audio_path=f"{name}.wav") for name in "abc"]
    clips.append(Clip("x:d", "happy", audio_path="c.wav", start_seconds=0.5))  # another stretch
    kept, dropped = cleaning.sort_clips(Survey(tmp_path, "folder", clips, files))
    assert [clip.clip_id for clip in kept] == ["x:a", "x:c", "x:d"]
    assert [(clip_id, reason) for clip_id, _, reason in dropped] == [("x:b", "the same bytes as another clip: x:a")]


def test_faceless_clips_with_a_voice_are_kept_if_asked_for(tmp_path):
    assert reason(tmp_path, NO_FACE, VOICE, keep_faceless=True) is None
    assert reason(tmp_path, NO_FACE, None, keep_faceless=True) == "no face"


def test_a_stretch_is_as_long_as_it_says_and_not_as_its_file(tmp_path):
    long = Examination(has_audio=True, is_audible=True, seconds=900.0)
    assert reason(tmp_path, None, long, start_seconds=100.0, end_seconds=104.0) is None
    assert reason(tmp_path, None, long, start_seconds=100.0) == "absurd length: 800.00 s"
    assert reason(tmp_path, None, VOICE, start_seconds=2.9, end_seconds=9.0) == "absurd length: 0.10 s"


def test_rows_of_the_labels_without_a_file_are_missing(tmp_path):
    survey = Survey(
        tmp_path, "meld", [], {}, missing_rows=[MissingRow("meld:1", "train/dia1_utt1.mp4", "line 2 has no file")]
    )
    assert cleaning.sort_clips(survey)[1] == [("meld:1", "train/dia1_utt1.mp4", "missing: line 2 has no file")]


# ---- The command ----


def run_clean(root, output, *options):
    return run_words(program, "clean", root, "--output", output, *options)


@pytest.fixture
def small_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMORY_FILE", tmp_path / "memory.sqlite")
    root = tmp_path / "data"
    root.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(22050)
    soundfile.write(root / "03-01-03-01-01-01-01.wav", noise, 22050)
    soundfile.write(root / "03-01-04-01-01-01-01.wav", 0 * noise, 22050)
    make_empty(root / "03-01-05-01-01-01-01.wav")
    make_clip(root / "01-01-06-01-01-01-01.mp4")
    return root


def test_both_tables_are_written_and_the_manifest_can_be_loaded(small_tree, tmp_path, capsys):
    from emotion.datasets.recognition import load_dataset

    output = tmp_path / "clean"
    assert run_clean(small_tree, output) == 0
    (clip,) = load_dataset(output / "manifest.csv", "manifest")
    assert clip.audio_path.endswith("03-01-03-01-01-01-01.wav")
    assert clip.emotion == "happy"
    with open(output / "dropped.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert {row["reason"].split(":")[0] for row in rows} == {"silent", "cannot be decoded", "no face"}
    lines = capsys.readouterr().out.splitlines()
    assert "1 dropped: silent" in lines[0] + lines[1] + lines[2]
    assert "1 kept, 3 dropped" in lines[3]
    with refused(DatasetError, output, "--output"):
        run_clean(small_tree, output)


def test_impossible_lengths_are_refused(small_tree, tmp_path):
    with refused(ConfigError, "--min_seconds", "--max_seconds"):
        run_clean(small_tree, tmp_path / "clean", "--min_seconds", "9", "--max_seconds", "3")
    assert not (tmp_path / "clean").exists()


def test_melds_rows_without_a_clip_are_listed_even_if_there_is_no_clip_at_all(small_tree, tmp_path):
    root = tmp_path / "meld"
    root.mkdir()
    (root / "train_sent_emo.csv").write_text(
        "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\nHi,Ross,joy,0,0\nNo,Joey,anger,0,1\n"
    )
    with refused(DatasetError, root):
        run_clean(root, tmp_path / "clean")
    with open(tmp_path / "clean" / "dropped.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == ["meld:train:dia0_utt0", "meld:train:dia0_utt1"]
    assert rows[0]["reason"] == "missing: train_sent_emo.csv, line 2 has no file"
