"""A network in ONNX Runtime answers as Keras does, leaves out missing branches, and is written only if it does."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from recording import Recorder
from small_models import list_designs, small_config, small_design, write_small_run

from emotion import export
from emotion.errors import RunError
from emotion.models import export_onnx as onnx_export
from emotion.models.export_onnx import compare, export_onnx, skip_branches, write_onnx
from emotion.models.onnx_runtime import HEAD_FILE, ONNX_FILE, OnnxNetwork
from emotion.models.run_folder import CONFIG_FILE, load_run
from emotion.models.trained_model import draw_inputs
from emotion.places import saved_models


@pytest.mark.trains
@pytest.mark.parametrize("name", list_designs())
def test_every_design_answers_alike_in_both_runtimes(name, tmp_path):
    config = small_design(name)
    write_small_run(tmp_path / name, config, seed=1)
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
@pytest.mark.parametrize("modality", ["audio", "video"])
def test_the_branch_of_what_is_missing_is_left_out(modality, tmp_path):
    folder = write_small_run(tmp_path, small_config(modalities=(modality,)))
    export_onnx(load_run(folder))
    graph = onnx.load(folder / ONNX_FILE).graph
    (branch,) = [node for node in graph.node if node.op_type == "If"]
    assert not [node for node in graph.node if node.op_type == "Conv"]
    (within,) = [attribute.g for attribute in branch.attribute if attribute.name == "then_branch"]
    assert any(node.op_type == "Conv" for node in within.node)


@pytest.mark.trains
@pytest.mark.parametrize("name", ["default", pytest.param("accurate", marks=pytest.mark.thorough)])
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
    skip_branches(network, nothing)
    skip_branches(network, nothing)  # a second time there is nothing left to do
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

    monkeypatch.setattr(onnx_export, "skip_branches", fail)
    assert export_onnx(load_run(run)) < 1e-5
    assert count_branches(run / ONNX_FILE) == 0
    assert sorted(path.name for path in run.glob("*.onnx")) == [HEAD_FILE, ONNX_FILE]


def test_calibration_works_on_either(run):
    values = json.loads((run / CONFIG_FILE).read_text())
    values["calibration"].update(both=2.0, face=0.5, voice=3.0)
    (run / CONFIG_FILE).write_text(json.dumps(values))
    both = [load_run(run, runtime=runtime) for runtime in ("keras", "onnx")]
    inputs = draw_inputs(both[0].config, 6)
    np.testing.assert_allclose(both[1].predict(inputs), both[0].predict(inputs), atol=1e-6)
    assert not np.allclose(both[1].predict(inputs), both[1].without_calibration().predict(inputs), atol=1e-3)


@pytest.mark.thorough
@pytest.mark.trains
def test_kernels_that_16_bits_hold_take_half_the_space(tmp_path):
    config = small_config(model={**small_config().model, "fusion_units": 512})
    for halved in (False, True):
        folder = write_small_run(tmp_path / str(halved), config, half_precision=halved)
        assert export_onnx(load_run(folder)) < 1e-5
    sizes = [(tmp_path / str(halved) / ONNX_FILE).stat().st_size for halved in (False, True)]
    assert sizes[1] < 0.8 * sizes[0]  # the graph itself takes the rest


@pytest.mark.trains
def test_what_answers_otherwise_is_not_written(run, monkeypatch):
    contents = [(run / name).read_bytes() for name in (ONNX_FILE, HEAD_FILE)]
    for path in run.glob("*.onnx"):
        path.unlink()
    # Converted as they were before, which takes seconds.
    monkeypatch.setattr(onnx_export, "convert_to_onnx", lambda run, path, part: path.write_bytes(contents.pop(0)))
    monkeypatch.setattr(onnx_export, "compare", lambda run, network: float("nan"))
    with pytest.raises(RunError, match=r"model\.onnx: not written"):
        export_onnx(load_run(run))
    assert not contents and not list(run.glob("*.onnx"))


def test_a_network_that_cannot_be_written_is_left_to_keras(run, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such operation")

    monkeypatch.setattr(keras.Model, "export", fail)
    reporter = Recorder()
    onnx_export.write_onnx(run, reporter)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    onnx_export.write_onnx(run, reporter)
    assert "no such operation" in reporter.said[0] and "requirements.txt" in reporter.said[1]
    assert all("Keras" in text for text in reporter.said)


def test_a_large_network_is_exported_only_when_asked_for(run, monkeypatch):
    (run / ONNX_FILE).unlink()
    monkeypatch.setattr(onnx_export, "LARGEST_UNASKED", 1000)
    reporter = Recorder()
    onnx_export.write_onnx(run, reporter)
    assert f"python -m emotion.export {run}" in reporter.said[0]
    assert not (run / ONNX_FILE).exists()


@pytest.mark.trains
def test_the_command_writes_the_file_and_says_how_equal_it_is(tmp_path, call):
    folder = write_small_run(tmp_path / "run", small_config(modalities=("audio",)))
    done = call(export, folder)
    assert done.code == 0 and "max abs difference" in done.out
    assert load_run(folder, runtime="onnx").runtime == "onnx"


@pytest.mark.trains
def test_a_model_trained_on_another_backend_is_exported_by_tensorflow(tmp_path, monkeypatch):
    run = write_small_run(tmp_path / "run", small_config())
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    write_onnx(run)
    monkeypatch.undo()
    assert load_run(run, runtime="onnx").runtime == "onnx"
