"""The two programs as a person uses them: what they print, what they write, how they end."""

import json

import av
import media_files
import numpy as np
import pytest
import soundfile
from PIL import Image
from programs import ROOT, run_apart
from small_models import SMALL_SETTINGS

import emotion
import run_inference
import train_model
from emotion.config_files import load_config
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media, probe_media


@pytest.mark.parametrize("program", [run_inference, train_model])
def test_the_version_is_told(program, call):
    assert call(program, "--version") == (0, f"{program.__name__}.py {emotion.__version__}\n", "")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "talking face.mp4"
    times = np.arange(0, 2, 0.1)
    mouth = 0.5 + 0.5 * np.sin(20 * times)
    frames = draw_clip("happy", times, mouth, speaker_seed=1, size=200)
    # The voice is loud where the mouth is open.
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=2.0, sample_rate=22050)
    loud = np.interp(np.arange(len(voice)) / 22050, times, mouth)
    write_clip(path, frames, 10.0, waveform=(voice * (0.1 + 0.9 * loud)).astype(np.float32), sample_rate=22050)
    return path


def test_inference_prints_the_answer_and_writes_the_annotated_video(clip, trained, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(
        run_inference, "--video_path", clip, "--model", trained.path, "--json", "all.json", "--save_plot", "plot.svg",
        "--no_progress",
    )  # fmt: skip
    assert (code, err) == (0, "")
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert lines["emotion"] in ("happy", "sad")
    assert lines["mean probability"].endswith("%")
    assert lines["evidence"] == "face+voice"
    assert lines["annotated video"] == "talking face_emotion.mp4"
    assert lines["face 1"].split(" ")[0] == lines["emotion"] and "of the time" in lines["face 1"]
    table = json.loads((tmp_path / "all.json").read_text())
    assert table["settings"]["window_seconds"] == 1.0 and table["settings"]["face_detector"] == "yunet"
    assert table["overall"]["emotion"] == lines["emotion"]
    assert len(table["settings"]["model_sha256"]) == 64
    assert lines["plot"] == "plot.svg"
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")

    info = probe_media(tmp_path / lines["annotated video"])
    assert (info.video_codec, info.audio_codec) == ("h264", "aac")
    with av.open(str(tmp_path / lines["annotated video"])) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    before = [item for item in iterate_media(clip, sample_rate=8000) if isinstance(item, VideoFrame)]
    after = [item for item in iterate_media(lines["annotated video"], sample_rate=8000) if isinstance(item, VideoFrame)]
    np.testing.assert_allclose([f.time_seconds for f in after], [f.time_seconds for f in before], atol=1e-4)
    changed = np.abs(after[10].image.astype(int) - before[10].image).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.4  # a box and a plate, not another picture


def make_photograph(path):
    frame = draw_clip("happy", np.zeros(1), np.zeros(1), speaker_seed=1, size=200)[0]
    Image.fromarray(frame).save(path)


def make_piped_wav(path):
    soundfile.write(path, synthesize_voice("sad", speaker_seed=2, sample_rate=16000), 16000)
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff" * 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "make", "limit"),
    [
        ("clip.mp4", lambda path: media_files.make_clip(path, seconds=0.6), 3),
        ("mute.ts", lambda path: media_files.make_clip(path, seconds=0.6, audio_codec=None), 3),
        ("tracks.mkv", media_files.make_two_sounds, 3),
        ("photo.jpg", make_photograph, 3),
        ("piped.wav", make_piped_wav, 2),
    ],
)
def test_a_file_is_opened_once_to_look_at_it_once_to_analyse_it_and_once_to_draw_on_it(
    name, make, limit, trained, tmp_path, monkeypatch, call
):
    opened, path, output = [], tmp_path / name, tmp_path / "out"
    make(path)

    def counting(open_file):
        def count(file, *args, **options):
            opened.append(str(getattr(file, "name", file)))
            return open_file(file, *args, **options)

        return count

    monkeypatch.setattr(av, "open", counting(av.open))
    monkeypatch.setattr(Image, "open", counting(Image.open))
    done = call(run_inference, path, "--model", trained.path, "--output_dir", output, "--no_plot", "--no_progress")
    assert done.code == 0
    assert 0 < len([file for file in opened if file.endswith(name)]) <= limit


def test_a_sound_file_gives_an_answer_and_no_video(trained, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("voice.wav", synthesize_voice("sad", speaker_seed=2, sample_rate=22050), 22050)
    code, out, _ = call(run_inference, "voice.wav", "--model", trained.path, "--no_progress")
    assert code == 0
    assert "evidence: voice" in out
    assert "annotated video" not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voice.wav", "voice_emotion_plot.png"]


def test_a_rotated_clip_keeps_its_upright_shape(trained, tmp_path, call):
    path = media_files.make_clip(tmp_path / "phone.mp4", rotation=90)
    done = call(run_inference, path, "--model", trained.path, "--output", tmp_path / "out.mp4", "--no_progress")
    assert done.code == 0
    upright, written = probe_media(path), probe_media(tmp_path / "out.mp4")
    assert (written.width, written.height) == (upright.width, upright.height)
    assert written.height > written.width


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--video_path", "absent.mp4"], ["absent.mp4"]),
        (["clip.mp4", "--model", "nowhere"], ["error: nowhere", "saved_models/"]),
        (["clip.mp4", "--output", "nowhere/out.mp4"], ["nowhere"]),
        (["clip.mp4", "--output", "clip.mp4"], ["clip.mp4", "itself"]),
        (["clip.mp4", "--json", "out.mp4"], ["--json out.mp4", "--json FILE.json"]),
        (["--overwrite", "--csv", "clip.mp4", "old.mp4"], ["--csv clip.mp4"]),
        (["--json", "clip.mp4"], ["--json clip.mp4"]),
        ([""], ["empty"]),
        (["clip.mp4", "--output", ""], ["--output"]),
        (["clip.mp4", "--no_video", "--blur_faces"], ["--no_video and --blur_faces"]),
        (["clip.mp4", "--save_plot", "a.svg", "--json", "a.svg"], ["a.svg", "plot", "JSON"]),
        (["clip.mp4", "--save_plot", "plot.jpg"], ["plot.jpg", "png"]),
        (["clip.mp4", "--output", "old.mp4"], ["old.mp4", "--overwrite"]),
        (["clip.mp4", "--json", "-", "--csv", "-"], ["--json", "--csv"]),
        (["clip.mp4", "--no_video", "--output", "a.mp4"], ["--no_video and --output"]),
        (["clip.mp4", "--resume"], ["--resume"]),
        (["clip.mp4", "--max_seconds", "3"], ["--max_seconds"]),
        (["clip.mp4", "--window_sec", "0"], ["window_sec"]),
        (["clip.mp4", "old.mp4", "--output", "a.mp4"], ["--output names one file", "--output_dir"]),
        (["clip.mp4", "old.mp4", "--json", "a.json"], ["--json a.json"]),
        (["nowhere://example.org/clip.mp4"], ["nowhere://example.org/clip.mp4", "unknown to fsspec"]),
        (["97"], ["camera 97"]),
        (["99999999999"], ["99999999999"]),
        (["clip.mp4", "--device", "gpu"], ["GPU"]),
        (["."], [".: ", "(old)"]),
        (["*.avi"], ["*.avi"]),
        ([], ["--video_path"]),
    ],
)
def test_a_wrong_path_is_named_and_nothing_is_written(arguments, words, trained, tmp_path, call):
    media_files.make_clip(tmp_path / "clip.mp4")
    (tmp_path / "old.mp4").write_bytes(b"precious")
    if arguments == ["."]:
        (tmp_path / "clip.mp4").unlink()
        (tmp_path / "old.mp4").rename(tmp_path / "old")
    before = {path: path.read_bytes() for path in tmp_path.glob("[!.]*")}
    model = [] if "--model" in arguments else ["--model", trained.path]
    done = call(run_inference, *arguments, *model, cwd=tmp_path)
    assert done.code in (1, 2) and "Traceback" not in done.err
    assert all(word in done.err for word in words), done.err
    assert {path: path.read_bytes() for path in tmp_path.glob("[!.]*")} == before


def test_a_finished_training_is_not_gone_on_with_and_no_data_is_asked_for(trained, tmp_path, call):
    done = call(train_model, "--resume", "--output", trained.path, cwd=tmp_path)
    assert done.code == 2
    assert done.err == f"error: {trained.path}: its training is finished; there is nothing to resume.\n"


@pytest.mark.trains
def test_training_trains_on_a_folder_and_says_how_well(dataset_dir, cache_dir, tmp_path, call, eagerly):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SMALL_SETTINGS))
    code, out, _ = call(
        train_model, "--dataset_dir", dataset_dir, "--output", tmp_path / "run", "--config", settings,
        "--epochs", 1, "--batch_size", 4, "--lr", 0.002, "--seed", 5, "--window_sec", 1,
        "--cache_dir", cache_dir, "--no_progress",
    )  # fmt: skip
    assert code == 0
    assert "test: UAR (recall averaged over the emotions)" in out
    assert "speaker-independent (seed 5)" in out
    config = load_config(tmp_path / "run" / "config.json")
    assert config.class_names == ("happy", "sad")
    assert (config.training.epochs, config.training.batch_size, config.training.learning_rate) == (1, 4, 0.002)
    assert (config.training.seed, config.window.window_seconds, config.video.n_frames) == (5, 1.0, 4)
    assert config.data[0].licence == "CC BY-NC-SA 4.0"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_data_is_answered_with_where_to_get_it_and_exit_code_2(make, tmp_path, call):
    make(tmp_path / "dataset")
    done = call(train_model, "--dataset_dir", "dataset", cwd=tmp_path)
    assert done.code == 2
    for words in ("1188976", "Video_Speech_Actor_01.zip", "dataset", "--demo"):
        assert words in done.err


@pytest.mark.parametrize("options", [("--resume",), ("--seed", 5, "--dataset_dir", "x", "--demo")])
def test_a_recipe_refuses_options_it_would_not_heed(options, call):
    done = call(train_model, "--recipe", "default", *options)
    named = {option for option in options if str(option).startswith("--")}
    assert done.code == 2 and all(option in done.err for option in named)


@pytest.mark.parametrize("options", [("--data_root", "x"), ("--no_folds",), ("--leave_corpus_out", "x")])
def test_options_of_recipes_are_refused_without_one(options, call):
    done = call(train_model, *options)
    assert done.code == 2 and f"{options[0]} is for --recipe" in done.err


def test_a_recipe_overwrites_no_other_model_and_says_what_data_it_lacks(tmp_path, call):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.keras").write_bytes(b"precious")
    options = ("--recipe", "default", "--data_root", tmp_path, "--output")
    code, _, err = call(train_model, *options, tmp_path / "mine")
    assert code == 2 and str(tmp_path / "mine") in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["model.keras"]
    code, _, err = call(train_model, *options, tmp_path / "new")
    assert code == 2 and "ferplus_train.npz: no such file" in err


def test_an_unknown_setting_in_a_file_is_named(tmp_path, call):
    (tmp_path / "settings.json").write_text('{"training": {"epoch": 3}}')
    done = call(train_model, "--config", "settings.json", cwd=tmp_path)
    assert done.code == 2 and "epoch" in done.err


def test_clips_may_follow_an_option(call, tmp_path):
    code, _, err = call(run_inference, "a.mp4", "--no_plot", "b.mp4", "--output", "c.mp4", cwd=tmp_path)
    assert code == 2 and "there are 2 clips" in err
    code, _, err = call(run_inference, "a.mp4", "--foo", "b.mp4", cwd=tmp_path)
    assert code == 2 and "unrecognized arguments: --foo" in err


def test_every_option_is_explained_with_its_default():
    for program in (train_model, run_inference):
        for action in program.build_parser()._actions:
            assert action.help
    help_of = {action.dest: action.help for action in train_model.build_parser()._actions}
    for name in ("root", "epochs", "batch_size", "lr", "seed", "model", "output", "window_sec", "cache_dir"):
        assert "(default: " in help_of[name]


def test_a_training_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch, call):
    def stop(config, output, *args, **kwargs):
        output.mkdir()
        (output / "config.json").write_text("{}", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr("emotion.training.workflows.train_on_demo", stop)
    done = call(train_model, "--demo", "--output", tmp_path / "run")
    assert done.code == 130
    assert "To go on: " in done.err and "--resume" in done.err and str(tmp_path / "run") in done.err


# ---- As processes of their own ----


@pytest.mark.parametrize("program", ["run_inference.py", "train_model.py"])
def test_a_process_ends_with_its_programs_code_and_one_line(program, tmp_path):
    option = {"run_inference.py": "--video_path", "train_model.py": "--config"}[program]
    done = run_apart(ROOT / program, option, "nowhere.mp4", cwd=tmp_path)
    assert done.returncode == {"run_inference.py": 1, "train_model.py": 2}[program]
    assert done.stderr.startswith("error: nowhere.mp4") and done.stderr.count("\n") == 1
    assert done.stdout == "" and not list(tmp_path.iterdir())
