"""Which runtime and which file a model is run with; windows of one kind are run together."""

import json
import os
import shutil

import numpy as np
import pytest
from small_models import small_config, write_small_run

from emotion.config_files import to_dict
from emotion.errors import ConfigError, RunError
from emotion.inference.predictor import EmotionPredictor
from emotion.models.onnx_runtime import HASH_SUFFIX, ONNX_FILE, choose_runtime, write_hash
from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE, draw_inputs, load_run
from emotion.places import default_run


def test_inference_takes_the_onnx_file_where_there_is_one(run):
    assert EmotionPredictor(run).run.runtime == "onnx"
    assert EmotionPredictor(run, runtime="keras").run.runtime == "keras"


def damage_a_weight(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"XXXXXXXX" + content[middle + 8 :]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (ONNX_FILE, lambda content: b"", r"model\.onnx: "),
        (ONNX_FILE, lambda content: content[:1000], r"model\.onnx: "),
        (ONNX_FILE, damage_a_weight, r"model\.onnx: "),
        (f"{ONNX_FILE}{HASH_SUFFIX}", None, r"model\.onnx\.sha256"),
        (f"{ONNX_FILE}{HASH_SUFFIX}", lambda content: b"", r"model\.onnx\.sha256"),
        (f"{ONNX_FILE}{HASH_SUFFIX}", lambda content: b"\xff\xfe", r"model\.onnx\.sha256"),
        (ONNX_FILE, None, r"model\.onnx: .*emotion\.export"),
    ],
)
def test_a_damaged_or_missing_file_costs_nothing_unless_it_is_insisted_on(run, name, change, words, caplog):
    content = (run / name).read_bytes()
    (run / name).unlink()
    if change is not None:
        (run / name).write_bytes(change(content))
    assert EmotionPredictor(run).run.runtime == "keras"
    assert ("Keras" in caplog.text) == (run / ONNX_FILE).is_file()
    with pytest.raises(RunError, match=words):
        load_run(run, runtime="onnx")


def test_an_onnx_file_of_another_network_is_never_used(run, tmp_path, caplog):
    shutil.copy(write_small_run(tmp_path / "other", small_config(), seed=5) / MODEL_FILE, run / MODEL_FILE)
    assert load_run(run, runtime="auto").runtime == "keras"
    assert ONNX_FILE in caplog.text
    with pytest.raises(RunError, match=r"model\.onnx.*emotion\.export"):
        load_run(run, runtime="onnx")


def test_a_file_that_is_no_onnx_model_is_named_whatever_its_hash(run):
    (run / ONNX_FILE).write_bytes(b"no model at all")
    write_hash(run / ONNX_FILE, run / ONNX_FILE)
    with pytest.raises(RunError, match=r"model\.onnx.*emotion\.export"):
        load_run(run, runtime="onnx")


def test_an_onnx_file_must_fit_the_configuration(run):
    config = to_dict(load_run(run).config)
    (run / CONFIG_FILE).write_text(json.dumps({**config, "class_names": ["neutral", "happy", "sad"]}))
    with pytest.raises(RunError, match=r" 2 .*config\.json.* 3"):
        load_run(run, runtime="onnx")


def test_a_run_in_onnx_runtime_is_no_way_around_the_checks_of_its_files(run):
    (run / MODEL_FILE).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(RunError, match=f"{MODEL_FILE}.*git lfs pull"):
        load_run(run, runtime="auto")


@pytest.mark.parametrize(
    ("runtime", "device", "chosen"),
    [("auto", "auto", "auto"), ("auto", "cpu", "auto"), ("onnx", "cpu", "onnx"), ("keras", "auto", "keras")],
)
def test_the_runtime_follows_what_is_asked_for(runtime, device, chosen, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert choose_runtime(runtime, device) == chosen
    # Keras may still run, and RetinaFace always uses TensorFlow.
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == ("-1" if device == "cpu" else None)


def test_a_gpu_and_onnx_runtime_contradict_each_other():
    with pytest.raises(ConfigError, match="--runtime onnx.*--device gpu"):
        choose_runtime("onnx", "gpu")
    with pytest.raises(ConfigError, match="tensorrt"):
        load_run(default_run(), runtime="tensorrt")


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


def test_no_windows_give_no_answers(run):
    loaded = load_run(run, runtime="onnx")
    inputs = {name: values[:0] for name, values in draw_inputs(loaded.config, 1).items()}
    assert loaded.predict(inputs).shape == (0, 2)
