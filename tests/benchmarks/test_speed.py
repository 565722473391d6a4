"""The speed benchmarks: what they print, what they keep, and that they measure what they claim."""

import sys

import numpy as np
import pytest
import soundfile
from small_models import small_config

from benchmarks import __main__ as program
from benchmarks import designs, growth, inference_speed, plain_design, precision, training_speed
from benchmarks.measures import HISTORY_FILE, Measure, append_history, format_measures, read_history, write_ratio_plot
from emotion.datasets import DATASETS
from emotion.datasets.synthetic.clips import write_clip, write_synthetic_dataset
from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import EmotionError, MediaError
from emotion.evaluation.judging import load_predictions
from emotion.labels import SEVEN_EMOTIONS
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media, probe_media


def test_a_target_is_met_from_the_right_side():
    assert Measure("time", 1.2, "x", 1.25).verdict == "met"
    assert Measure("time", 1.3, "x", 1.25).verdict == "missed"
    assert Measure("pictures", 26, "1/s", 25, is_limit=False).verdict == "met"
    assert Measure("pictures", 24, "1/s", 25, is_limit=False).verdict == "missed"
    assert Measure("time", 1.0, "s").verdict == ""


def test_the_table_sets_each_value_beside_its_target_and_the_run_before():
    table = format_measures([Measure("whole", 1.5, "x", 1.25), Measure("decoding", 1234.0, "s")], {"whole": 2.0})
    first, second = table.splitlines()[2:]
    assert [cell.strip() for cell in first.split("|")[1:-1]] == ["whole", "1.5 x", "at most 1.25 x", "missed", "2"]
    assert [cell.strip() for cell in second.split("|")[1:-1]] == ["decoding", "1,234 s", "-", "-", "-"]


def test_history_is_kept_by_machine_and_the_latest_counts(tmp_path):
    append_history(tmp_path, [Measure("a", 1.0, "s"), Measure("b", 5.0, "s")], {"machine": "mine"})
    append_history(tmp_path, [Measure("a", 2.0, "s")], {"machine": "mine"})
    append_history(tmp_path, [Measure("a", 9.0, "s")], {"machine": "another"})
    append_history(tmp_path, [Measure("a", 9.0, "s")], {"another": "mine"})
    with open(tmp_path / HISTORY_FILE, "a", encoding="utf-8") as file:
        file.write("cut off in the mid\n")
    assert read_history(tmp_path, {"machine": "mine"}) == {"a": 2.0, "b": 5.0}
    assert read_history(tmp_path / "nowhere", {"machine": "mine"}) == {}


def test_the_plot_shows_what_has_a_target(tmp_path):
    write_ratio_plot([Measure("whole", 1.5, "x", 1.25), Measure("decoding", 3.0, "s")], tmp_path / "plot.png")
    assert probe_media(tmp_path / "plot.png").is_still
    write_ratio_plot([Measure("decoding", 3.0, "s")], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_clip_is_made_as_long_and_large_as_asked_for_with_sound(tmp_path):
    clip = inference_speed.make_clip(tmp_path, inference_speed.SAMPLE, 1.0, size=(320, 180), n_across=2)
    info = probe_media(clip)
    assert (info.width, info.height, info.frame_rate) == (320, 180, 30)
    items = list(iterate_media(clip, sample_rate=16000))
    pictures = [item.image for item in items if isinstance(item, VideoFrame)]
    assert len(pictures) == 30
    assert sum(len(item.samples) for item in items if isinstance(item, AudioChunk)) == pytest.approx(16000, abs=1600)
    left, right = pictures[10][:, :160].astype(int), pictures[10][:, 160:].astype(int)
    assert np.abs(left - right).mean() < 3  # the same person twice


def test_a_clip_is_made_anew_of_another_source_and_not_of_the_same(tmp_path):
    clip = inference_speed.make_clip(tmp_path, inference_speed.SAMPLE, 0.2, size=(64, 36))
    assert inference_speed.make_clip(tmp_path, inference_speed.SAMPLE, 0.2, size=(64, 36)) == clip
    other = inference_speed.make_clip(tmp_path, clip, 0.2, size=(64, 36))
    assert other != clip and len(list(tmp_path.glob("*.mp4"))) == 2
    soundfile.write(tmp_path / "sound.wav", np.zeros(1000), 8000)
    with pytest.raises(MediaError, match=r"sound\.wav: has no pictures to make a clip of"):
        inference_speed.make_clip(tmp_path, tmp_path / "sound.wav", 0.2)


def test_what_a_program_takes_is_measured_and_a_failure_is_told(tmp_path):
    held = bytearray(b"x") * 300_000_000  # memory of the measuring process, which must not count
    work = "import time; x = bytearray(b'x') * 60_000_000; time.sleep(0.2); sum(range(3_000_000))"
    spent = inference_speed.spend([sys.executable, "-c", work], folder=tmp_path)
    assert spent.seconds >= 0.2 and 0 < spent.processor_seconds < spent.seconds + 1
    assert 60 < spent.megabytes < 150 < len(held) / 1e6
    with pytest.raises(EmotionError, match="ended with 3"):
        inference_speed.spend([sys.executable, "-c", "raise SystemExit(3)"], folder=tmp_path)


@pytest.mark.thorough  # tests/inputs/voice compares them, too
def test_our_features_are_measured_against_librosas_and_equal_them():
    measures = {each.name: each for each in training_speed.measure_features()}
    assert measures["MFCC: largest difference, in parts of the largest value"].value < 1e-5


def test_a_camera_is_measured_from_picture_to_label(monkeypatch):
    monkeypatch.setattr(inference_speed, "CAMERA_SECONDS", 1.0)
    rate, wait = inference_speed.measure_camera(inference_speed.SAMPLE)
    assert rate.value > 0 and 0 < wait.value < 10_000


def test_the_program_writes_table_plot_and_history(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_speed, "measure", lambda folder: [Measure("a thing", 2.0, "x", 1.0)])
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["benchmarks", "--parts", "training", "--output", str(tmp_path)])
        assert program.main() == 0
    assert "a thing" in capsys.readouterr().out
    assert len((tmp_path / HISTORY_FILE).read_text().splitlines()) == 2
    assert "| missed |         2 |" in (tmp_path / program.TABLE_FILE).read_text()
    assert (tmp_path / program.PLOT_FILE).is_file()


def test_what_was_measured_before_something_failed_is_kept(tmp_path, monkeypatch):
    def fail(folder):
        yield Measure("a thing", 2.0, "x")
        raise EmotionError("no more")

    monkeypatch.setattr(training_speed, "measure", fail)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--parts", "training", "--output", str(tmp_path)])
    with pytest.raises(EmotionError, match="no more"):
        program.main()
    assert "a thing" in (tmp_path / program.TABLE_FILE).read_text()
    assert len((tmp_path / HISTORY_FILE).read_text().splitlines()) == 1


def test_a_peer_that_fails_spoils_nothing_of_ours(tmp_path, monkeypatch, capsys):
    for name in ("measure_clip", "measure_start"):
        monkeypatch.setattr(inference_speed, name, lambda *_: [Measure("whole program: time", 2.0, "s")])
    monkeypatch.setattr(inference_speed, "measure_camera", lambda source: [])
    peer = tmp_path / "peer"
    peer.write_text("#!/bin/sh\necho a fault of its own; exit 1\n")
    peer.chmod(0o755)
    options = ["--parts", "inference", "--seconds", "1", "--output", str(tmp_path / "out"), "--peer", "fer", str(peer)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    assert program.main() == 3
    said = capsys.readouterr().out
    assert "fer: not measured, since" in said and "a fault of its own" in said
    assert said.count("whole program: time") >= 2


# ---- The scores of the designs ----


@pytest.mark.trains
@pytest.mark.thorough
def test_designs_are_trained_alike_scored_apart_and_gone_on_with(tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    write_synthetic_dataset(data / "ravdess", n_speakers=6, n_repetitions=1, duration_seconds=1.0, with_video=False,
                            emotions=("happy", "sad"))  # fmt: skip
    (data / "ferplus").mkdir()
    for part, n in (("train", 24), ("valid", 12)):
        names = ("neutral", "happy", "surprised")
        faces = [draw_face(names[i % 3], speaker_seed=1 + i, size=48)[..., 0] for i in range(n)]
        votes = np.eye(10, dtype=np.uint8)[np.arange(n) % 3] * 10
        np.savez(data / "ferplus" / f"ferplus_{part}.npz", images=np.stack(faces), votes=votes,
                 fer2013_label=np.full(n, -1, np.int8))  # fmt: skip
    monkeypatch.setattr(designs, "N_FOLDS", 2)
    monkeypatch.setattr(designs, "N_VARIANTS", 1)
    monkeypatch.setattr(designs, "PICTURES_AT_ONCE", 8)
    arguments = ["--data_dir", str(data), "--models", "logmel_cnn", "--voice_epochs", "1", "--face_epochs", "1",
                 "--output", str(tmp_path / "out")]  # fmt: skip
    assert designs.main(arguments) == 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.splitlines()[-1].startswith("| logmel_cnn |") and "%" in table
    tested = [load_predictions(path)[0] for path in sorted((tmp_path / "out").glob("ears_*/predictions.csv"))]
    speakers = [{judgement.speaker for judgement in fold} for fold in tested]
    assert len(speakers) == 2 and not speakers[0] & speakers[1]  # everybody is tested once
    assert sum(len(fold) for fold in tested) == 12

    def fail(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(designs, "judge_fold", fail)
    monkeypatch.setattr(designs, "score_eyes", fail)
    assert designs.main(arguments) == 0
    assert (tmp_path / "out" / "table.md").read_text() == table


def test_a_clip_is_repeated_without_encoding_it_anew_and_keeps_its_sound(tmp_path):
    write_clip(
        tmp_path / "clip.mp4", np.full((20, 64, 64, 3), 90, np.uint8), 10.0,
        waveform=np.zeros(44100, np.float32), sample_rate=22050,
    )  # fmt: skip
    path = inference_speed.loop_clip(tmp_path, tmp_path / "clip.mp4", 3)
    times = [item.time_seconds for item in iterate_media(path, sample_rate=22050, with_audio=False)]
    assert len(times) == 60 and times == sorted(times)
    assert probe_media(path).duration_seconds == pytest.approx(6.0, abs=0.3)
    assert probe_media(path).has_audio
    assert inference_speed.loop_clip(tmp_path, tmp_path / "clip.mp4", 1) == tmp_path / "clip.mp4"
    assert path.stat().st_size < 4 * (tmp_path / "clip.mp4").stat().st_size


def test_courses_are_drawn_beside_growth_in_proportion(tmp_path):
    course = growth.Course("length", "s", [10, 20, 40], [5.0, 9.0, 16.0], [300, 300, 310])
    assert course.growth == pytest.approx(16 / 5 / 4)
    growth.write_growth_plot([course] * 3 + [growth.Course("clips", "clips", [1, 10], [1.0, 9.0])], tmp_path / "g.png")
    assert probe_media(tmp_path / "g.png").is_still


@pytest.mark.thorough
def test_the_plain_design_reads_varies_and_learns_clips(dataset_dir):
    clips = DATASETS["ravdess"].load(dataset_dir)[:4]
    batches = plain_design.PlainGenerator(clips, SEVEN_EMOTIONS, augment=True)
    inputs, classes = batches[0]
    assert inputs["audio"].shape == (4, 40, 44, 1) and inputs["video"].shape == (4, 20, 112, 112, 3)
    assert 0.2 < inputs["video"].mean() < 0.8 and classes.tolist() == [SEVEN_EMOTIONS.index(c.emotion) for c in clips]
    plain = plain_design.PlainGenerator(clips, SEVEN_EMOTIONS, augment=False)
    np.testing.assert_array_equal(plain[0][0]["audio"], plain[0][0]["audio"])
    assert plain_design.build_plain_model(7).output_shape == (None, 7)


@pytest.mark.thorough
def test_both_designs_are_trained_until_they_are_as_good(dataset_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(plain_design, "N_EPOCHS", 2)
    config = small_config(modalities=("audio",))
    measures = {
        each.name.partition(": ")[2]: each.value
        for each in plain_design._compare(DATASETS["ravdess"].load(dataset_dir), 1, config, tmp_path, "voices")
    }
    own, theirs = (
        measures["time to that score, ours, decoding included"],
        measures["time to that score, the plain design"],
    )
    assert measures["time to that score, the plain design's beside ours"] == pytest.approx(theirs / own)
    assert own > next(value for name, value in measures.items() if name.startswith("decoding"))


def test_a_score_is_reached_by_the_first_epoch_that_has_it():
    watch = plain_design._ScoreWatch(None)
    watch.seconds, watch.recalls = [3.0, 2.0, 2.0, 2.0], [0.1, 0.5, 0.4, 0.6]
    assert [watch.seconds_to(goal) for goal in (0.1, 0.5, 0.6, 0.9)] == [3.0, 5.0, 9.0, 9.0]


def test_runtimes_are_compared_with_the_first_of_them():
    exact = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    coarse = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    table = precision.format_answers(
        {"keras": exact, "onnx": exact, "int8": coarse}, dict.fromkeys(precision.RUNTIMES, 2.0), np.array([0, 1, 0])
    )
    last = [cell.strip() for cell in table.splitlines()[-1].split("|")[1:-1]]
    assert last == ["int8", "2.0", "66.7", "75.0", "66.7", "0.0667", "0.2000"]
