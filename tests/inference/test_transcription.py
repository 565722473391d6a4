"""What is said is written down, on the clip's own clock, and stands in every output. Whisper is a stand-in."""

import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from marked_predictions import make_prediction
from programs import ROOT
from refusals import refused

import emotion.infer as run_inference
from emotion.errors import ConfigError, EmotionError
from emotion.inference.predictor import EmotionPredictor
from emotion.inference.transcription import MAX_PIECE_SECONDS, Transcriber, cut_pieces, plan_pieces
from emotion.media.arrays import ArrayRecording
from emotion.media.decoding import AudioChunk
from emotion.media.recordings import Recording
from emotion.media.tracks import TrackChoice
from emotion.results import Word, join_words
from emotion.settings import InferenceSettings

RATE = 16_000
STAND_INS = ROOT / "tests" / "support" / "stand_ins"
BEEPS = (0.5, 1.5, 3.0)


@pytest.fixture
def whisper(monkeypatch):
    """The stand-in, which keeps what it was given."""
    monkeypatch.syspath_prepend(STAND_INS)
    monkeypatch.delitem(sys.modules, "faster_whisper", raising=False)
    import faster_whisper

    yield faster_whisper
    monkeypatch.delitem(sys.modules, "faster_whisper")


def beeps(times=BEEPS, seconds=4.0, rate=RATE, level=0.5):
    """Sound ``(n_samples,)`` with a tone of 0.3 s at each time."""
    clock = np.arange(round(seconds * rate)) / rate
    is_on = np.any([(clock >= time) & (clock < time + 0.3) for time in times], axis=0)
    return (level * is_on * np.sin(2 * np.pi * 440 * clock)).astype(np.float32)


def starts(words):
    return [round(word.start_seconds, 1) for word in words]


def heard_by(size="base", language=None, speech=None, **sound):
    sound = {"samples": beeps(), "sample_rate": RATE, **sound}
    return Transcriber(size, language).write_down(ArrayRecording("<array>", **sound), speech)


def test_words_have_the_times_of_the_recording_and_the_language_that_was_heard(whisper):
    words, language = heard_by()
    assert [word.text for word in words] == ["one,", "two", "three"] and language == "en"
    assert starts(words) == list(BEEPS)
    assert all(word.start_seconds < word.end_seconds <= word.start_seconds + 0.35 for word in words)


def test_a_file_of_another_rate_with_two_channels_is_heard_in_part_and_by_channel(whisper, tmp_path):
    path = tmp_path / "call.wav"
    soundfile.write(path, np.column_stack([beeps(rate=44100), beeps((2.0,), rate=44100)]), 44100)
    part = Recording.of_part(path, TrackChoice(channel=1), (1.0, 3.5))
    assert starts(Transcriber("base").write_down(part, None)[0]) == [0.5, 2.0]
    other = Recording.of_file(path, TrackChoice(channel=2))
    assert starts(Transcriber("base").write_down(other, None)[0]) == [2.0]


def test_only_speech_is_given_to_whisper_in_pieces_of_one_language(whisper):
    speech = ((0.4, 0.9), (80.0, 80.5))
    sound = beeps((0.5, 40.0, 80.1), seconds=100.0)
    words, _ = heard_by(samples=sound, speech=speech)
    assert starts(words) == [0.5, 80.1]
    assert [length / RATE for length, _ in whisper.pieces] == [1.4, 1.5]
    assert [language for _, language in whisper.pieces] == [None, "en"]
    whisper.pieces.clear()
    assert heard_by(samples=sound, speech=()) == ((), None) and not whisper.pieces


def test_languages_without_spaces_are_written_without(whisper):
    words, language = heard_by(language="zh")
    assert join_words(words) == "一二三" and language == "zh"
    assert join_words([Word(0, 1, "Well,"), Word(1, 2, "no.")]) == "Well, no."


def test_pieces_hold_all_speech_part_at_pauses_and_are_never_much_too_long():
    speech = [(float(i), i + 0.8) for i in range(0, 2000)] + [(3000.0, 5000.0)]
    pieces = list(plan_pieces(speech))
    assert all(end - start <= MAX_PIECE_SECONDS + 1.0 for start, end in pieces)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(pieces))
    assert all(any(a <= start and end <= b for a, b in pieces) for start, end in speech[:-1])
    assert sum(min(b, 5000.0) - max(a, 3000.0) for a, b in pieces if b > 3000) == pytest.approx(2000.0)
    assert list(plan_pieces([])) == []


def test_pieces_are_cut_to_the_sample_from_chunks_of_any_length():
    sound = np.arange(10 * RATE, dtype=np.float32)
    edges = [0, 100, 7 * RATE, 7 * RATE + 1, 10 * RATE]
    chunks = [AudioChunk(2.0 + a / RATE, sound[a:b]) for a, b in itertools.pairwise(edges)]
    pieces = [(0.0, 1.0), (1.5, 2.5), (3.0, 9.5), (9.5, 9.6), (11.9, 20.0), (30.0, 31.0)]
    cut = list(cut_pieces(iter(chunks), pieces))
    assert [start for start, _ in cut] == [2.0, 3.0, 9.5, 11.9]
    for (start, samples), end in zip(cut, (2.5, 9.5, 9.6, 12.0), strict=True):
        assert np.array_equal(samples, sound[round((start - 2) * RATE) : round((end - 2) * RATE)])


def test_what_cannot_be_done_is_said_in_a_line(whisper):
    with refused(ConfigError, "basis", "tiny, base"):
        Transcriber("basis")
    with refused(ConfigError, "--language xx", "en, zh"):
        Transcriber("base", "xx")
    with refused(EmotionError, "Whisper tiny", "no network", "--transcribe FOLDER"):
        Transcriber("tiny")
    with refused(EmotionError, "out of memory", "--device cpu"):
        heard_by(samples=beeps(level=20.0))
    with refused(ConfigError, "transcribe"):
        InferenceSettings(language="en")


def test_without_the_package_the_way_to_it_is_named(call, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", beeps(), RATE)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faster_whisper" else find(name))
    ended = call(run_inference, tmp_path / "a.wav", "--transcribe")
    assert ended.code == 2 and "pip install -r requirements-transcribe.txt" in ended.err


def test_a_word_after_the_option_is_a_size_and_no_clip(call):
    ended = call(run_inference, "--transcribe", "clip.mp4")
    assert ended.code == 2 and "--transcribe clip.mp4 names a size, not a clip" in ended.err


def test_a_prediction_holds_the_words_also_of_bytes_parts_and_several_clips(whisper, trained, tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    soundfile.write(path, beeps(seconds=6.0), RATE)
    monkeypatch.setattr("emotion.inputs.window_cutter.WindowCutter.speech", ((0.0, 6.0),))
    predictor = EmotionPredictor(trained.path, InferenceSettings(transcribe="base"))
    assert starts(predictor.predict(path).words) == list(BEEPS)
    assert starts(predictor.predict(path.read_bytes(), start=1.0).words) == [1.5, 3.0]
    assert starts(predictor.predict(samples=beeps(), sample_rate=RATE).words) == list(BEEPS)
    (one,) = predictor.predict_many([path])
    assert "Whisper base wrote down what is said (language: en); words may be wrong" in one.notes
    assert EmotionPredictor(trained.path).predict(path).words is None
    silent = predictor.predict(np.full((1, 40, 40, 3), 90, np.uint8)[0])
    assert silent.words == ()


def test_words_move_with_the_rest():
    prediction = make_prediction(words=(Word(1.0, 2.0, "Yes."),))
    assert prediction.moved(60.0).words == (Word(61.0, 62.0, "Yes."),)


def test_a_batch_of_several_processes_writes_words_and_goes_on_only_with_the_same(trained, tmp_path):
    from emotion.datasets.synthetic.voices import synthesize_voice

    for name in ("a", "b"):
        voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=3.0, sample_rate=RATE)
        soundfile.write(tmp_path / f"{name}.wav", voice, RATE)
    command = [sys.executable, ROOT / "run_inference.py", tmp_path, "--model", trained.path, "--output_dir", "out",
               "--no_plot", "--json", "--srt", "--vtt", "--workers", "2", "--no_progress"]  # fmt: skip
    run = functools.partial(
        subprocess.run, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{STAND_INS}:{ROOT}"},
    )  # fmt: skip
    done = run([*command, "--transcribe"])
    assert done.returncode == 0, done.stderr
    for name in ("a", "b"):
        told = json.loads((tmp_path / "out" / f"{name}_emotion.json").read_text())
        assert (
            "one" in " ".join(each["text"] for each in told["utterances"]) and told["settings"]["transcribe"] == "base"
        )
        for kind in ("srt", "vtt"):
            assert "one" in (tmp_path / "out" / f"{name}_emotion.{kind}").read_text()
    again = run([*command, "--transcribe", "--resume"])
    assert again.returncode == 0 and "skipped: 2" in again.stdout
    other = run([*command, "--resume"])
    assert other.returncode == 2 and "other settings" in other.stderr
