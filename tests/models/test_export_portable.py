"""An export runs without this package and answers as Keras does; docs/preprocessing.md makes the same inputs."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_files import cut_beginning, make_clip
from small_models import small_design, write_small_run

from emotion import export
from emotion.config import CalibrationConfig, DataSource
from emotion.errors import MediaError, RunError
from emotion.inputs.faces.crops import STRETCHES, crop_face
from emotion.models.export_portable import collect_checked, export_portable, make_vectors
from emotion.models.portable_formats import FORMATS
from emotion.models.run_folder import load_run
from emotion.places import default_run, project_dir, sample_clip

pytestmark = pytest.mark.trains

N_LINES = 15


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small model with temperatures, a card and a licence of its own."""
    calibration = CalibrationConfig(both=1.5, face=0.7, voice=2.0, unsure_below=0.4)
    data = (DataSource("Voices", "CC BY 4.0", 3), DataSource("An encoder", "MIT", 0))
    config = small_design("mfcc_cnn_3d", calibration=calibration, data=data)
    folder = write_small_run(tmp_path_factory.mktemp("runs") / "run", config)
    (folder / "MODEL_CARD.md").write_text("# What it can do")
    (folder / "LICENCE-encoder.txt").write_text("MIT")
    return load_run(folder)


@pytest.fixture(scope="module")
def network(run, tmp_path_factory):
    """The small model's ONNX file."""
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    FORMATS["onnx"].write(run, path)
    return path


@pytest.fixture
def converts_once(network, monkeypatch):
    """Takes the network that FORMATS["onnx"] has written: each conversion takes seconds."""
    kind = dataclasses.replace(FORMATS["onnx"], write=lambda run, path: shutil.copy(network, path))
    monkeypatch.setitem(FORMATS, "onnx", kind)


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    """The first two seconds of the sample, which hold a face and a voice."""
    return cut_beginning(sample_clip(), tmp_path_factory.mktemp("brief") / "brief.mp4", seconds=2)


def run_example(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "example.py"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if name == "savedmodel" else []) for name in FORMATS]
)
def test_an_export_answers_alike_and_its_example_runs_it_without_this_package(run, name, tmp_path, converts_once):
    folder = tmp_path / name
    difference = export_portable(run, name, folder)
    assert 0 <= difference < 1e-5
    if name == "litert":
        pytest.importorskip("ai_edge_litert", reason="has no wheel for this Python")
    said = run_example(folder)
    with np.load(folder / "test_vectors.npz") as vectors:
        names = [run.config.class_names[i] for i in vectors["probabilities"].argmax(axis=1)]
        np.testing.assert_allclose(
            vectors["probabilities"], run.predict({key: vectors[key] for key in ("audio", "video")}), atol=1e-6
        )
        # Face and voice, voice alone, face alone: each has its temperature.
        held = [(row.any(), frames.any()) for row, frames in zip(vectors["audio"], vectors["video"], strict=True)]
        assert held[:3] == [(True, True), (True, False), (False, True)]
    assert said.startswith(str(names)) and float(said.split()[-1]) < 1e-5
    program = (folder / "example.py").read_text(encoding="utf-8")
    assert len(program.splitlines()) <= N_LINES and "emotion" not in program
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert about["class_names"] == list(run.config.class_names) and about["temperatures"]["face"] == 0.7
    assert about["max_abs_difference"] == difference and (folder / "config.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_answers_otherwise_is_refused_and_an_earlier_export_stays(
    run, brief, tmp_path, monkeypatch, converts_once
):
    folder = tmp_path / "onnx"
    for _ in range(2):  # the second time it takes the place of the first
        export_portable(run, "onnx", folder, check_on=brief)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    kind = FORMATS["onnx"]

    def load(path):
        answer = kind.load(path)
        return lambda inputs: answer(inputs) + 2e-3

    monkeypatch.setitem(FORMATS, "onnx", dataclasses.replace(kind, load=load))
    with pytest.raises(RunError, match="not written.* 0.002"):
        export_portable(run, "onnx", folder, check_on=brief)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]


def test_what_cannot_be_run_is_refused_in_a_sentence(run, tmp_path, monkeypatch):
    def load(path):
        raise RuntimeError("node 84 (FlexAvgPool3D) failed to prepare\nmore")

    kind = dataclasses.replace(FORMATS["litert"], load=load, write=lambda run, path: path.touch())
    monkeypatch.setitem(FORMATS, "litert", kind)
    with pytest.raises(RunError, match=r"model.tflite.*\(node 84 .*prepare\)\.$"):
        export_portable(run, "litert", tmp_path / "litert")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for about in ("", '{"keras_sha256": "", "format_version": 1, "class_names": []}'):
        if about:  # a copy of an export's, beside
            (tmp_path / "mine" / "model.json").write_text(about)
        with pytest.raises(RunError, match="mine.*--output"):
            export_portable(run, "onnx", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_a_clip_without_the_evidence_that_a_model_takes_cannot_check_it(run, tmp_path):
    with av.open(str(sample_clip())) as clip:
        next(clip.decode(video=0)).to_image().save(tmp_path / "face.png")
    squares = make_clip(tmp_path / "squares.mp4", audio_codec=None)
    for path, words in ((tmp_path / "face.png", "no voice"), (squares, "no face and no voice")):
        with pytest.raises(MediaError, match=f"{path.name}: {words}.*--check_on"):
            export_portable(run, "onnx", tmp_path / "onnx", check_on=path)


def test_a_model_of_sound_alone_is_exported(tmp_path):
    config = small_design("mfcc_cnn_3d", modalities=("audio",))
    export_portable(load_run(write_small_run(tmp_path / "run", config)), "onnx", tmp_path / "onnx")
    assert "max abs difference" in run_example(tmp_path / "onnx")
    with np.load(tmp_path / "onnx" / "test_vectors.npz") as vectors:
        assert "video" not in vectors and "picture" not in vectors


def test_the_document_on_preprocessing_makes_the_inputs_that_the_program_makes(tmp_path, compiled_librosa):
    """Its code, run by itself on the shipped model's vectors."""
    run = load_run(default_run(), runtime="onnx")
    vectors = make_vectors(run, collect_checked(run, sample_clip()), sample_clip())
    np.savez(tmp_path / "test_vectors.npz", **vectors)
    (tmp_path / "config.json").write_bytes((default_run() / "config.json").read_bytes())
    document = (project_dir() / "docs" / "preprocessing.md").read_text(encoding="utf-8")
    (tmp_path / "code.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", document, re.DOTALL)))
    done = subprocess.run([sys.executable, "code.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sound, face = (float(line.split()[-1]) for line in done.stdout.splitlines())
    assert sound < 2e-3 and face < 1.0
    # And the numbers of its prose are those of the shipped model.
    config = run.config
    for words in (f"{config.window_samples:,} samples", f"{config.hop_length:,} samples", f"{config.n_fft:,} samples"):
        assert words in document
    assert f"{config.frame_interval_seconds:g} s apart" in document


def test_a_face_that_is_shrunk_is_cut_as_the_document_says(tmp_path):
    document = (project_dir() / "docs" / "preprocessing.md").read_text(encoding="utf-8")
    code = re.search(r"import cv2.*?(?=\n\nif )", document, re.DOTALL).group()
    names = {"np": np}
    exec(code, names)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(np.kron(coarse, np.ones((20, 20, 1), np.uint8)), (0, 0), 6)  # as smooth as skin
    landmarks = np.array([[250, 200], [450, 210], [350, 330], [270, 420], [430, 425]], np.float32)
    for kind in STRETCHES:
        difference = names["crop"](picture, landmarks, 112, kind).astype(int) - crop_face(picture, landmarks, 112, kind)
        assert np.abs(difference).mean() < 1.5  # of 255


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "onnx", "--precision", "int8", "--calibrate_on", "a.mp4"], "--precision int8"),
        (["--output", "out"], "--output"),
        (["--format", "tensorrt"], "tensorrt"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, words, call):
    done = call(export, default_run(), *options)
    assert done.code == 2 and words in done.err


def test_how_the_weights_may_be_used_travels_along(run, brief, tmp_path, converts_once):
    export_portable(run, "onnx", tmp_path / "out", check_on=brief)
    for name in ("MODEL_CARD.md", "LICENCE-encoder.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (run.path / name).read_bytes()
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert "MODEL_CARD.md" in about["terms"]
    assert about["licences"] == {"Voices": "CC BY 4.0", "An encoder": "MIT"}


def test_the_command_writes_the_folder_and_says_the_difference(run, tmp_path, call, converts_once):
    done = call(export, run.path, "--format", "onnx", "--output", tmp_path / "out")
    assert done.code == 0
    assert re.search(r"out: [\d.]+ MB, max abs difference \S+ .*astronaut.mp4", done.out) and "onnxruntime" in done.out
    done = call(export, run.path, "--format", "onnx", "--check_on", "nowhere.mp4")
    assert done.code == 1 and "nowhere.mp4" in done.err
    assert not (run.path / "export").exists()
