"""A network in ONNX Runtime gives Keras's answers, is bound to the one it was made from, and needs no TensorFlow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from shared import make_once
from small_models import small_config, small_design

from emotion import export
from emotion.config_files import to_dict
from emotion.datasets.synthetic.clips import write_clip, write_synthetic_dataset
from emotion.errors import ConfigError, MediaError, RunError
from emotion.inference.predictor import EmotionPredictor
from emotion.models import ARCHITECTURES, build_model
from emotion.models import export_onnx as onnx_export
from emotion.models.export_folding import NeighbouringFrames, fold_time
from emotion.models.export_int8 import collect_windows, export_int8
from emotion.models.export_onnx import compare, draw_inputs, export_onnx, skip_what_is_missing
from emotion.models.layers import FaceStandardization
from emotion.models.onnx_runtime import HASH_SUFFIX, INT8_FILE, ONNX_FILE, OnnxNetwork, choose_runtime, write_hash
from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE, load_run, write_run
from emotion.places import default_run, saved_models

ROOT = Path(__file__).resolve().parents[2]


def make_run(folder: Path, seed: int = 0, **changes) -> Path:
    keras.utils.set_random_seed(seed)
    config = small_config(**changes)
    write_run(folder, config, build_model(config))
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    def make(folder):
        export_onnx(load_run(make_run(folder / "run")))
        return folder / "run"

    return make_once(tmp_path_factory, "exported", make)


@pytest.fixture
def run(exported, tmp_path) -> Path:
    """A run folder with its ``model.onnx``, to be changed at will."""
    return shutil.copytree(exported, tmp_path / "run")


# ---- Eight bits ----


@pytest.mark.parametrize("name", ["mfcc_cnn_3d", "whisper_cnn_3d", "logmel_cnn"])
def test_a_network_over_time_is_the_same_over_pictures(name):
    keras.utils.set_random_seed(1)
    config = small_design(name)
    model = build_model(config)
    for layer in model.layers:
        layer.set_weights(
            [weights + 0.1 * np.random.default_rng(0).random(weights.shape) for weights in layer.get_weights()]
        )
    folded = fold_time(model)
    assert not [layer for layer in folded.layers if isinstance(layer, keras.layers.Conv3D)]
    inputs = draw_inputs(config, 6)
    np.testing.assert_allclose(np.asarray(folded(inputs)), np.asarray(model(inputs)), atol=1e-5)


@pytest.mark.parametrize(("n_frames", "n_taps", "stride"), [(20, 3, 2), (5, 3, 1), (7, 3, 2), (4, 2, 3), (1, 3, 1)])
def test_neighbouring_frames_are_those_that_a_convolution_over_time_takes(n_frames, n_taps, stride):
    clips = np.random.default_rng(0).random((2, n_frames, 2, 2, 3), np.float32)
    convolution = keras.layers.Conv3D(4, (n_taps, 1, 1), strides=(stride, 1, 1), padding="same", use_bias=False)
    expected = np.asarray(convolution(clips))
    kernel = np.concatenate(list(convolution.get_weights()[0][:, 0, 0]), axis=0)
    taken = np.asarray(NeighbouringFrames(n_frames, n_taps, stride)(clips.reshape(-1, 2, 2, 3)))
    np.testing.assert_allclose((taken @ kernel).reshape(expected.shape), expected, atol=1e-5)


def test_what_cannot_be_folded_is_named():
    frames = keras.Input((4, 8, 8, 3))
    x = FaceStandardization(name="standard")(frames)
    model = keras.Model(frames, keras.layers.Dense(3, name="between")(x))
    with pytest.raises(ValueError, match="between: a Dense over frames"):
        fold_time(model)
    model = keras.Model(frames, keras.layers.AveragePooling3D((1, 2, 2), name="pool")(x))
    with pytest.raises(ValueError, match="pool: only a mean over whole frames"):
        fold_time(model)


@pytest.fixture(scope="module")
def clips_to_look_at(tmp_path_factory) -> list[Path]:
    root = write_synthetic_dataset(
        tmp_path_factory.mktemp("clips"), emotions=("happy", "sad"), n_speakers=1, n_repetitions=1, duration_seconds=4.0
    )
    return sorted(root.rglob("01-*.mp4"))


@pytest.mark.trains
def test_a_network_in_eight_bits_is_made_used_and_told_from_the_other(run, clips_to_look_at, capsys):
    sys_argv = ["export", str(run), "--precision", "int8", "--calibrate_on", str(clips_to_look_at[0].parents[1])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys_argv)
        assert export.main() == 0
    assert "same most probable emotion" in capsys.readouterr().out
    whole, coarse = (load_run(run, runtime=runtime) for runtime in ("onnx", "int8"))
    assert (whole.runtime, coarse.runtime) == ("onnx", "int8")
    inputs = collect_windows(whole, clips_to_look_at)
    difference = np.abs(whole.predict(inputs) - coarse.predict(inputs)).max()
    assert 0 < difference < 0.1
    assert load_run(run, runtime="auto").predict(inputs) == pytest.approx(whole.predict(inputs))
    other = make_run(run.parent / "other", seed=1)
    for name in (INT8_FILE, f"{INT8_FILE}{HASH_SUFFIX}"):
        shutil.copy(run / name, other / name)
    with pytest.raises(RunError, match="made from another network.*--precision int8 --calibrate_on CLIP"):
        load_run(other, runtime="int8")
    (run / INT8_FILE).write_bytes((run / INT8_FILE).read_bytes()[:-9])
    with pytest.raises(RunError, match=r"model\.int8\.onnx: is damaged"):
        load_run(run, runtime="int8")


def test_eight_bits_need_clips_with_something_in_them(run, tmp_path):
    with pytest.raises(RunError, match=r"model\.int8\.onnx: no such file.*--calibrate_on CLIP"):
        load_run(run, runtime="int8")
    write_clip(tmp_path / "grey.mp4", np.full((20, 64, 64, 3), 90, np.uint8), 10.0)
    with pytest.raises(MediaError, match=r"grey\.mp4: windows .* in all: 0, and at least 8 are needed"):
        export_int8(load_run(run), [tmp_path / "grey.mp4"])
    with pytest.raises(MediaError, match=r"nowhere\.mp4"):
        export_int8(load_run(run), [tmp_path / "nowhere.mp4"])
    assert not (run / INT8_FILE).exists()


# ---- Equal answers ----


@pytest.mark.trains
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_design_answers_alike_in_both_runtimes(name, tmp_path):
    keras.utils.set_random_seed(1)
    config = small_design(name)
    write_run(tmp_path / name, config, build_model(config))
    assert export_onnx(load_run(tmp_path / name)) < 1e-5
    assert count_branches(tmp_path / name / ONNX_FILE) == 2
    both = [load_run(tmp_path / name, runtime=runtime) for runtime in ("keras", "onnx")]
    assert [run.runtime for run in both] == ["keras", "onnx"]
    inputs = draw_inputs(config, 6)
    for values in inputs.values():
        values[0, ..., : values.shape[2] // 2, :] = 0  # some of the evidence is missing
        values[2:4] = 0
    answers = [run.predict(inputs) for run in both]
    assert np.ptp(answers[0], axis=0).max() > 1e-4
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-5)


@pytest.mark.trains
@pytest.mark.parametrize("modalities", [("audio", "video"), ("audio",), ("video",)])
def test_the_branch_of_what_is_missing_is_left_out(modalities, tmp_path):
    config = small_config(modalities=modalities)
    write_run(tmp_path, config, build_model(config))
    export_onnx(load_run(tmp_path))
    graph = onnx.load(tmp_path / ONNX_FILE).graph
    branches = [node for node in graph.node if node.op_type == "If"]
    assert len(branches) == len(modalities)
    assert not [node for node in graph.node if node.op_type == "Conv"]
    within = [attribute.g for node in branches for attribute in node.attribute if attribute.name == "then_branch"]
    assert all(any(node.op_type == "Conv" for node in part.node) for part in within)


def test_windows_that_lack_the_same_go_together(run, monkeypatch):
    network = load_run(run, runtime="onnx").model
    inputs = draw_inputs(load_run(run, runtime="onnx").config, 9)
    expected = np.concatenate([network({name: values[i : i + 1] for name, values in inputs.items()}) for i in range(9)])
    asked = []

    class Session:
        def run(self, outputs, batch):
            asked.append({name: len({bool(row.any()) for row in values}) for name, values in batch.items()})
            return session.run(outputs, batch)

    session = network._session
    monkeypatch.setattr(network, "_session", Session())
    np.testing.assert_allclose(network(inputs), expected, atol=1e-6)
    assert asked == [{"audio": 1, "video": 1}] * 3  # both, a voice alone, a face alone


@pytest.mark.parametrize("name", ["default", "accurate"])
def test_a_shipped_model_brings_its_own_onnx_file_which_answers_alike(name):
    run = load_run(saved_models() / name)
    network = OnnxNetwork(saved_models() / name / ONNX_FILE)
    assert network.made_from == run.sha256
    assert load_run(saved_models() / name, runtime="onnx").runtime == "onnx"  # its own hash is right, too
    assert compare(run, network) < 1e-5
    assert count_branches(saved_models() / name / ONNX_FILE) == 2


def count_branches(path: Path) -> int:
    """How many branches a network leaves out where nothing is there for them."""
    return sum(node.op_type == "If" for node in onnx.load(path).graph.node)


def build_graph(fold_steps: bool) -> onnx.ModelProto:
    """A network of two inputs ``(n, 2, 3)`` whose branches go window by window, or by both steps of all windows."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = []
    for name in ("audio", "video"):
        nodes.append(helper.make_node("Reshape", [name, "shape"], [f"{name}/folded"]))
        nodes.append(helper.make_node("Exp", [f"{name}/folded"], [f"{name}/features"]))
    nodes.append(helper.make_node("Add", ["audio/features", "video/features"], ["answer"]))
    shape = onnx.numpy_helper.from_array(np.array([-1, 3] if fold_steps else [-1, 6]), "shape")
    inputs = [helper.make_tensor_value_info(name, kind, [None, 2, 3]) for name in ("audio", "video")]
    outputs = [helper.make_tensor_value_info("answer", kind, [None, None])]
    graph = helper.make_graph(nodes, "two", inputs, outputs, initializer=[shape])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("fold_steps", [False, True])
def test_a_branch_that_goes_step_by_step_is_left_as_it_is(fold_steps):
    network = build_graph(fold_steps)
    nothing = {name: np.zeros((1, 2, 3), np.float32) for name in ("audio", "video")}
    session = onnxruntime.InferenceSession(network.SerializeToString())
    skip_what_is_missing(network, nothing)
    skip_what_is_missing(network, nothing)  # a second time there is nothing left to do
    onnx.checker.check_model(network)
    assert sum(node.op_type == "If" for node in network.graph.node) == (0 if fold_steps else 2)
    rewritten = onnxruntime.InferenceSession(network.SerializeToString())
    values = np.random.default_rng(0).random((3, 2, 3), np.float32)
    for audio in (values, 0 * values):
        for video in (values, 0 * values):
            inputs = {"audio": audio, "video": video}
            np.testing.assert_array_equal(rewritten.run(None, inputs)[0], session.run(None, inputs)[0])


@pytest.mark.trains
def test_what_cannot_be_rewritten_is_written_as_it_was(run, monkeypatch):
    def fail(network, nothing):
        raise ValueError("no such thing")

    monkeypatch.setattr(onnx_export, "skip_what_is_missing", fail)
    assert export_onnx(load_run(run)) < 1e-5
    assert count_branches(run / ONNX_FILE) == 0
    assert sorted(path.name for path in run.glob("*.onnx")) == [ONNX_FILE]


def test_no_windows_give_no_answers(run):
    loaded = load_run(run, runtime="onnx")
    inputs = {name: values[:0] for name, values in draw_inputs(loaded.config, 1).items()}
    assert loaded.predict(inputs).shape == (0, 2)


def test_calibration_works_on_either(run):
    values = json.loads((run / CONFIG_FILE).read_text())
    values["calibration"].update(both=2.0, face=0.5, voice=3.0)
    (run / CONFIG_FILE).write_text(json.dumps(values))
    both = [load_run(run, runtime=runtime) for runtime in ("keras", "onnx")]
    inputs = draw_inputs(both[0].config, 6)
    np.testing.assert_allclose(both[1].predict(inputs), both[0].predict(inputs), atol=1e-6)
    assert not np.allclose(both[1].predict(inputs), both[1].without_calibration().predict(inputs), atol=1e-3)


@pytest.mark.trains
def test_kernels_that_16_bits_hold_take_half_the_space(tmp_path):
    config = small_config(model={**small_config().model, "fusion_units": 512})
    for halved in (False, True):
        write_run(tmp_path / str(halved), config, build_model(config), half_precision=halved)
        assert export_onnx(load_run(tmp_path / str(halved))) < 1e-5
    sizes = [(tmp_path / str(halved) / ONNX_FILE).stat().st_size for halved in (False, True)]
    assert sizes[1] < 0.8 * sizes[0]  # the graph itself takes the rest


@pytest.mark.trains
def test_what_answers_otherwise_is_not_written(run, monkeypatch):
    (run / ONNX_FILE).unlink()
    monkeypatch.setattr(onnx_export, "compare", lambda run, network: float("nan"))
    with pytest.raises(RunError, match=r"model\.onnx: not written, since its probabilities differ"):
        export_onnx(load_run(run))
    assert not list(run.glob("*.onnx"))


def test_a_network_that_cannot_be_written_is_left_to_keras(run, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such operation")

    monkeypatch.setattr(keras.Model, "export", fail)
    said = []
    onnx_export.write_onnx(run, said.append)
    assert "cannot be written as ONNX (no such operation). Inference will use Keras." in said[0]
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    onnx_export.write_onnx(run, said.append)
    assert "pip install -r requirements.txt Inference will use Keras." in said[1]


def test_a_large_network_is_exported_only_when_asked_for(run, monkeypatch):
    (run / ONNX_FILE).unlink()
    monkeypatch.setattr(onnx_export, "LARGEST_UNASKED", 1000)
    said = []
    onnx_export.write_onnx(run, said.append)
    assert said == [f"To have inference load this large model faster: python -m emotion.export {run}"]
    assert not (run / ONNX_FILE).exists()


# ---- Which one runs ----


def test_inference_takes_the_onnx_file_where_there_is_one(run):
    assert EmotionPredictor(run).run.runtime == "onnx"
    assert EmotionPredictor(run, runtime="keras").run.runtime == "keras"
    (run / ONNX_FILE).unlink()
    assert EmotionPredictor(run).run.runtime == "keras"


def test_an_onnx_file_of_another_network_is_never_used(run, tmp_path, caplog):
    shutil.copy(make_run(tmp_path / "other", seed=5) / MODEL_FILE, run / MODEL_FILE)
    assert load_run(run, runtime="auto").runtime == "keras"
    assert "was made from another network" in caplog.text and "Keras is used instead" in caplog.text
    with pytest.raises(RunError, match=r"model\.onnx: was made from another network\. .*emotion\.export"):
        load_run(run, runtime="onnx")


def damage_a_weight(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"XXXXXXXX" + content[middle + 8 :]


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:1000], damage_a_weight])
def test_a_damaged_onnx_file_costs_nothing_unless_it_is_insisted_on(run, damage, caplog):
    (run / ONNX_FILE).write_bytes(damage((run / ONNX_FILE).read_bytes()))
    assert load_run(run, runtime="auto").runtime == "keras"
    assert "model.onnx: is damaged" in caplog.text
    with pytest.raises(RunError, match=r"model\.onnx: is damaged, or another file than model\.onnx\.sha256 says"):
        load_run(run, runtime="onnx")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_without_its_hash_an_onnx_file_is_not_trusted(run, content):
    (run / f"{ONNX_FILE}{HASH_SUFFIX}").unlink()
    if content is not None:
        (run / f"{ONNX_FILE}{HASH_SUFFIX}").write_bytes(content)
    assert load_run(run, runtime="auto").runtime == "keras"
    with pytest.raises(RunError, match=r"model\.onnx\.sha256: missing or unreadable"):
        load_run(run, runtime="onnx")


def test_a_file_that_is_no_onnx_model_is_named_whatever_its_hash(run):
    (run / ONNX_FILE).write_bytes(b"no model at all")
    write_hash(run / ONNX_FILE, run / ONNX_FILE)
    with pytest.raises(RunError, match=r"model\.onnx: not a loadable ONNX model"):
        load_run(run, runtime="onnx")


def test_a_missing_onnx_file_is_named(tmp_path):
    folder = make_run(tmp_path / "run")
    with pytest.raises(RunError, match=r"model\.onnx: no such file\. Make it with: python -m emotion\.export"):
        load_run(folder, runtime="onnx")


def test_an_onnx_file_must_fit_the_configuration(run):
    config = to_dict(load_run(run).config)
    (run / CONFIG_FILE).write_text(json.dumps({**config, "class_names": ["neutral", "happy", "sad"]}))
    with pytest.raises(RunError, match="tells 2 classes apart, config.json names 3"):
        load_run(run, runtime="onnx")


def test_a_run_in_onnx_runtime_is_no_way_around_the_checks_of_its_files(run):
    (run / MODEL_FILE).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(RunError, match="Git LFS pointer"):
        load_run(run, runtime="auto")


@pytest.mark.parametrize(
    ("runtime", "device", "chosen"),
    [("auto", "auto", "auto"), ("auto", "cpu", "auto"), ("onnx", "cpu", "onnx"), ("keras", "auto", "keras")],
)
def test_the_runtime_follows_what_is_asked_for(runtime, device, chosen, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert choose_runtime(runtime, device) == chosen
    # Keras may still be what runs, and RetinaFace is TensorFlow's in any case.
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == ("-1" if device == "cpu" else None)


def test_a_gpu_and_onnx_runtime_contradict_each_other():
    with pytest.raises(ConfigError, match="Leave one of them out"):
        choose_runtime("onnx", "gpu")
    with pytest.raises(ConfigError, match="runtime must be one of"):
        load_run(default_run(), runtime="tensorrt")


# ---- Without TensorFlow ----

WITHOUT = """
import sys
for name in ("tensorflow", "keras", "librosa", "audiomentations", "sklearn", "h5py", "tf2onnx", "onnx", "safetensors"):
    sys.modules[name] = None
sys.argv[0] = "run_inference.py"
import run_inference
from emotion.console import run_program
sys.exit(run_program(run_inference.main))
"""


def run_without(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False
    )


def test_inference_runs_where_nothing_but_its_own_requirements_is_installed(tmp_path):
    clip = ROOT / "samples" / "astronaut.mp4"
    done = run_without(str(clip), "--json", "answer.json", "--no_progress", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "astronaut_emotion.mp4").is_file()
    found = json.loads((tmp_path / "answer.json").read_text())
    assert found["settings"]["runtime"] == "onnx"


@pytest.mark.trains
def test_without_keras_a_run_without_an_onnx_file_is_refused_with_the_way_out(tmp_path):
    folder = make_run(tmp_path / "run")
    done = run_without(str(ROOT / "samples" / "astronaut.mp4"), "--model", str(folder), folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "requirements.txt" in done.stderr and "emotion.export" in done.stderr
    export_onnx(load_run(folder))
    (folder / ONNX_FILE).write_bytes(b"")
    done = run_without(str(ROOT / "samples" / "astronaut.mp4"), "--model", str(folder), folder=tmp_path)
    assert done.returncode == 2 and "model.onnx: is damaged" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "options",
    [
        ("--device", "gpu"), ("--runtime", "keras"), ("--runtime", "keras", "--device", "cpu"),
        ("--face_detector", "retinaface"),
    ],
)  # fmt: skip
def test_without_tensorflow_what_needs_it_is_refused_in_a_line(options, tmp_path):
    done = run_without(str(ROOT / "samples" / "astronaut.mp4"), *options, folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install -r requirements.txt" in done.stderr


def test_training_without_its_packages_is_refused_in_a_line(tmp_path):
    script = WITHOUT.replace("run_inference", "train_model")
    command = [sys.executable, "-c", script, "--list_models"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("pip install -r requirements.txt")
    assert "Traceback" not in done.stderr


def test_the_requirements_of_inference_are_among_those_of_everything():
    def requirements(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return {line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()}

    assert requirements("requirements-inference.txt") <= requirements("requirements.txt")


# ---- The command ----


@pytest.mark.trains
def test_the_command_writes_the_file_and_says_how_equal_it_is(tmp_path, monkeypatch, capsys):
    folder = make_run(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["export", str(folder)])
    assert export.main() == 0
    assert "max abs difference" in capsys.readouterr().out
    assert load_run(folder, runtime="onnx").runtime == "onnx"
