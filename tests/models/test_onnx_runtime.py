"""Which runtime and which file a model is run with; windows of one kind are run together."""

import json
import os
import shutil
import signal
import time

import numpy as np
import onnx
import pytest
from onnx import parser
from small_models import small_config, write_small_run

from emotion.config_files import to_dict
from emotion.errors import ConfigError, RunError
from emotion.inference.predictor import EmotionPredictor
from emotion.models import onnx_runtime
from emotion.models.onnx_files import has_external_data
from emotion.models.onnx_runtime import HASH_SUFFIX, HEAD_FILE, ONNX_FILE, OnnxNetwork, choose_runtime, write_hash
from emotion.models.run_folder import CONFIG_FILE, MODEL_FILE, load_run
from emotion.models.trained_model import draw_inputs
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
        def run(self, outputs, batch, options=None):
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


# ---- Files from strangers ----

ENDLESS = """<ir_version: 9, opset_import: ["" : 17]>
g (float[n,4] audio) => (float[n,2] probabilities)
<float[4,2] w = {0,0,0,0,0,0,0,0}, int64 mx = {4611686018427387904}, bool t = {1}>
{
    z = MatMul (audio, w)
    y = Loop (mx, t, z) <body: graph = b (int64 i, bool c, float[n,2] x) => (bool c2, float[n,2] x2) {
        c2 = Identity (c)
        x2 = Add (x, x)
    }>
    probabilities = Softmax <axis: int = 1> (y)
}"""


@pytest.fixture
def endless(tmp_path):
    onnx.save(parser.parse_model(ENDLESS), tmp_path / ONNX_FILE)
    return OnnxNetwork(tmp_path / ONNX_FILE)


def test_a_network_that_never_answers_is_ended(endless, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(onnx_runtime, "WINDOW_SECONDS", 0.0)
    with pytest.raises(RunError, match=r"model\.onnx: did not answer within"):
        endless({"audio": np.ones((1, 4), np.float32)})


def test_signals_are_heard_while_a_network_computes(endless):
    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            endless({"audio": np.ones((1, 4), np.float32)})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - start < 10


GREEDY = """<ir_version: 9, opset_import: ["" : 17]>
g (float[n,4] audio) => (float[n,2] probabilities)
<int64[1] side = {2500000000}, float[4,2] w = {0,0,0,0,0,0,0,0}>
{
    z = MatMul (audio, w)
    big = ConstantOfShape (side)
    sum = ReduceSum <keepdims: int = 0> (big)
    probabilities = Add (z, sum)
}"""


def test_a_network_that_asks_for_too_much_memory_fails_in_a_line(tmp_path):
    onnx.save(parser.parse_model(GREEDY), tmp_path / ONNX_FILE)
    with pytest.raises(RunError, match=r"model\.onnx: needs more than 2 GiB of memory"):
        OnnxNetwork(tmp_path / ONNX_FILE)({"audio": np.ones((1, 4), np.float32)})


MODEST = """<ir_version: 9, opset_import: ["" : 17]>
g (float[n,4] audio) => (float[n,2] probabilities)
<int64[2] sides = {1, 150000000}, float[4,2] w = {1,0,0,1,0,0,0,0}>
{
    z = MatMul (audio, w)
    shape = Shape (z)
    large = Mul (shape, sides)
    zeros = ConstantOfShape (large)
    sum = ReduceSum <keepdims: int = 0> (zeros)
    probabilities = Add (z, sum)
}"""


def test_windows_that_are_too_many_at_once_are_judged_in_parts(tmp_path):
    """Each window takes 1.2 GB in this network."""
    onnx.save(parser.parse_model(MODEST), tmp_path / ONNX_FILE)
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(OnnxNetwork(tmp_path / ONNX_FILE)({"audio": inputs}), inputs[:, :2])


LIAR = """<ir_version: 9, opset_import: ["" : 17]>
g (float[n,4] audio) => (float[n,2] probabilities)
<float[4,3] w = {0,0,0,0,0,0,0,0,0,0,0,0}>
{
    probabilities = MatMul (audio, w)
}"""


def test_answers_of_another_shape_than_the_file_says_are_refused(tmp_path):
    onnx.save(parser.parse_model(LIAR), tmp_path / ONNX_FILE)
    with pytest.raises(RunError, match=r"model\.onnx"):
        OnnxNetwork(tmp_path / ONNX_FILE)({"audio": np.ones((1, 4), np.float32)})


@pytest.mark.parametrize("answers", [[[np.nan, 1.0]], [[np.inf, 0.0]], [[0.2, 0.3, 0.5]], [0.5, 0.5], [["0", "1"]]])
def test_what_is_no_probability_is_an_error_that_names_the_model_and_never_an_answer(run, monkeypatch, answers):
    loaded = load_run(run, runtime="onnx")
    monkeypatch.setattr(loaded.model, "_compute", lambda names, inputs: [np.array(answers)])
    with pytest.raises(RunError, match=str(run)):
        loaded.predict(draw_inputs(loaded.config, 1))


def test_an_encoder_that_hands_out_no_numbers_is_an_error(run, monkeypatch):
    loaded = load_run(run, runtime="onnx")
    monkeypatch.setattr(loaded.model, "encode", lambda inputs: {"audio_vector": np.full((1, 3), np.nan)})
    with pytest.raises(RunError, match=f"{run}: .*audio"):
        loaded.encode({"audio": draw_inputs(loaded.config, 1)["audio"]})


def test_an_encoder_that_hands_out_fewer_moments_than_it_was_given_is_an_error(run, monkeypatch):
    """As where config.json was changed to more frames than the network was built for."""
    loaded = load_run(run, runtime="onnx")
    frames = draw_inputs(loaded.config, 1)["video"]
    few = {"video_moments": np.zeros((1, 2, 3)), "video_signs": np.zeros((1, 2, 2))}
    monkeypatch.setattr(loaded.model, "encode", lambda inputs: few)
    with pytest.raises(RunError, match=f"{run}: .*video"):
        loaded.encode({"video": frames})


def test_a_head_that_is_a_whole_network_is_refused(run):
    shutil.copyfile(run / ONNX_FILE, run / HEAD_FILE)
    write_hash(run / HEAD_FILE, run / HEAD_FILE)
    with pytest.raises(RunError, match=r"head\.onnx: is not a head"):
        load_run(run, runtime="onnx")


@pytest.mark.parametrize("where", ["/etc/hostname", "weights.bin"])
@pytest.mark.parametrize("inside", [False, True])
def test_weights_in_other_files_are_refused_before_they_are_opened(tmp_path, where, inside):
    model = parser.parse_model(ENDLESS)
    graph = model.graph
    if inside:  # in the graph of the loop, as an attribute of a node
        graph = next(node for node in model.graph.node if node.op_type == "Loop").attribute[0].g
        graph.initializer.add().CopyFrom(model.graph.initializer[0])
    tensor = graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=where)
    content = model.SerializeToString()
    assert has_external_data(content)
    (tmp_path / ONNX_FILE).write_bytes(content)
    with pytest.raises(RunError, match="other files"):
        OnnxNetwork(tmp_path / ONNX_FILE)


def test_what_this_program_writes_holds_all_its_weights():
    assert not has_external_data((default_run() / ONNX_FILE).read_bytes())


@pytest.mark.parametrize("content", [b"", b"\x3a", b"\x3a\xff", b"\xff" * 20, b"\x3b"])
def test_no_content_is_taken_for_more_than_it_is(content):
    try:
        assert not has_external_data(content)
    except ValueError:
        assert content


class SlowSession:
    """Computes for a quarter of a second."""

    def run(self, names, inputs, options):
        for _ in range(25):
            time.sleep(0.01)
        return [np.ones((1, 2), np.float32)]


def test_time_for_which_the_program_is_stopped_is_no_time_to_answer(endless, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "LIMIT_SECONDS", 0.7)
    monkeypatch.setattr(onnx_runtime, "WINDOW_SECONDS", 0.0)
    endless._session = SlowSession()
    child = os.fork()
    if not child:
        try:
            endless({"audio": np.ones((1, 4), np.float32)})
            os._exit(0)
        except BaseException:
            os._exit(1)
    time.sleep(0.1)
    os.kill(child, signal.SIGSTOP)  # as Ctrl-Z does
    time.sleep(1.0)
    os.kill(child, signal.SIGCONT)
    assert os.waitpid(child, 0)[1] == 0
