"""Writes a run's network for ONNX Runtime, after comparing its answers with Keras's."""

import contextlib
import dataclasses
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter, quiet_import, run_program
from emotion.errors import FileError, RunError, first_line
from emotion.files import written_whole
from emotion.models.half_precision import MIN_VALUES
from emotion.models.onnx_runtime import HEAD_FILE, MADE_FROM, ONNX_FILE, PROBABILITIES, OnnxNetwork, written_with_hash
from emotion.models.run_folder import MODEL_FILE, load_run
from emotion.models.trained_model import Run, draw_inputs

if TYPE_CHECKING:
    import onnx

logger = logging.getLogger(__name__)

MAX_DIFFERENCE = 1e-4  # of a probability, between Keras and the export
N_COMPARED = 6  # windows
LARGEST_UNASKED = 60_000_000  # bytes of model.keras


def export_onnx(run: Run) -> float:
    """Writes ``model.onnx`` beside the ``model.keras`` of a run that Keras loaded, and ``head.onnx`` if it has a head.

    Returns:
        The largest difference between its probabilities and Keras's.

    Raises:
        RunError: if the network cannot be converted, or answers differently; nothing is written then.
    """
    path = run.path / ONNX_FILE
    _import_converter(path)
    from emotion.models.tracks import split_network  # imports Keras

    split = split_network(run.model)
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(written_with_hash(path))
        convert_to_onnx(run, partial, split.encoder if split else None)
        skip_missing_modalities(run.config, partial)
        network = OnnxNetwork(partial)
        difference = compare(run, network)
        if split:
            head = stack.enter_context(written_with_hash(run.path / HEAD_FILE))
            convert_to_onnx(run, head, split.head)
            network.head = OnnxNetwork(head)
            difference = max(difference, compare_parts(run, network))
        if not difference <= MAX_DIFFERENCE:
            raise RunError(
                f"{path}: not written, because its probabilities differ from Keras's by {difference:.1g}; at most "
                f"{MAX_DIFFERENCE:g} is allowed."
            )
    return difference


def write_onnx(folder: Path, reporter: Reporter = SILENT) -> None:
    """Exports a finished run and says so. If that fails, inference uses Keras, with the same answers.

    Large networks are left for the user to export: the converter takes 14 GB for 100 million weights.
    """
    if (folder / MODEL_FILE).stat().st_size > LARGEST_UNASKED:
        command = f"python -m emotion.export {shlex.quote(str(folder))}"
        reporter.say(f"To have inference load this large model faster: {command}")
        return
    import keras

    try:
        if keras.backend.backend() != "tensorflow":
            _export_by_tensorflow(folder)
            reporter.say(f"{folder / ONNX_FILE}: written by TensorFlow, loads in a tenth of the time.")
            return
        difference = export_onnx(load_run(folder))
    except (RunError, FileError, OSError) as error:
        reporter.say(f"{error} Inference will use Keras.")
        return
    reporter.say(f"{folder / ONNX_FILE}: equal to {MODEL_FILE} within {difference:.1g}, loads in a tenth of the time.")


def _export_by_tensorflow(folder: Path) -> None:
    """Exports a run by a process of its own: the converter knows TensorFlow only.

    Raises:
        RunError: if that fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, folder], capture_output=True, text=True, check=False,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it was killed."]
        raise RunError(words[-1].removeprefix("error: "))


def convert_to_onnx(run: Run, path: Path, network=None) -> None:
    """Writes a run's network as an ONNX file, unchecked. Kernels that fit 16 bits exactly are stored in 16 bits.

    Args:
        network: a part of the run's network, instead of the whole.

    Raises:
        RunError: if a package is missing, or the network cannot be converted.
    """
    _import_converter(path)
    import onnx

    network = network or run.model
    # Keras exports only networks that were called.
    network({x.name: np.ones((1, *(side or 2 for side in x.shape[1:])), x.dtype) for x in network.inputs})
    try:
        with quiet_import(), _unmerged(), _uncopied():
            network.export(path, format="onnx", verbose=False)
        written = onnx.load(path)
    except Exception as error:  # the converter raises anything for an operation it does not know
        raise RunError(f"{run.path}: cannot be written as ONNX ({first_line(error)}).") from error
    # The probabilities come first, for programs that look at nothing else.
    outputs = sorted(written.graph.output, key=lambda each: each.name != PROBABILITIES)
    del written.graph.output[:]
    written.graph.output.extend(outputs)
    halve_exact_kernels(written)
    onnx.helper.set_model_props(written, {MADE_FROM: run.sha256})
    onnx.save(written, path)


def _import_converter(path: Path) -> None:
    try:
        with quiet_import():
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401  (the export is run right after)
            import tf2onnx  # noqa: F401
    except ImportError as error:
        raise RunError(
            f"{path.parent}: cannot be written as ONNX ({error}). pip install -r requirements.txt"
        ) from error


@contextlib.contextmanager
def _unmerged() -> Iterator[None]:
    """Keeps TensorFlow from multiplying batch norms into the kernels before them.

    The trained kernels may fit 16 bits exactly; such products do not. ONNX Runtime merges them when it loads the file.
    """
    from tf2onnx import tf_loader

    optimize = tf_loader.tf_optimize_grappler
    tf_loader.tf_optimize_grappler = lambda input_names, output_names, graph_def: graph_def
    try:
        yield
    finally:
        tf_loader.tf_optimize_grappler = optimize


@contextlib.contextmanager
def _uncopied() -> Iterator[None]:
    """Keeps the converter from copying the network before each of its many simplifications, a fifth of its time.

    The copies would take the place of what a simplification fails on; here such a failure is an error.
    """
    from tf2onnx import optimizer

    optimize = optimizer.optimize_graph
    optimizer.optimize_graph = lambda graph, *_, optimizers: optimize(graph, False, optimizers)
    try:
        yield
    finally:
        optimizer.optimize_graph = optimize


def halve_exact_kernels(network: "onnx.ModelProto") -> None:
    """Stores kernels in 16 bits where that is exact; changes the network in place."""
    import onnx

    for number, value in enumerate(network.graph.initializer):
        array = onnx.numpy_helper.to_array(value)
        if array.dtype != np.float32 or array.size < MIN_VALUES:
            continue
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if np.array_equal(half.astype(np.float32), array):
            name = value.name
            network.graph.initializer[number].CopyFrom(onnx.numpy_helper.from_array(half, f"{name}/half"))
            cast = onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=onnx.TensorProto.FLOAT)
            network.graph.node.insert(0, cast)


def compare(run: Run, network: OnnxNetwork) -> float:
    """Returns the largest difference between a run's probabilities and its export's, on random windows."""
    inputs = draw_inputs(run.config, N_COMPARED)
    expected = run.without_calibration().predict(inputs)
    one_by_one = [network({name: values[i : i + 1] for name, values in inputs.items()}) for i in range(N_COMPARED)]
    return max(float(np.abs(expected - answers).max()) for answers in (network(inputs), np.concatenate(one_by_one)))


def compare_parts(run: Run, network: OnnxNetwork) -> float:
    """Returns the largest difference between a run's probabilities and those that its export's head gives."""
    inputs, exported = draw_inputs(run.config, N_COMPARED), dataclasses.replace(run, model=network)
    encoded: dict[str, np.ndarray] = {}
    for name, values in inputs.items():
        encoded |= exported.encode({name: values})
    answers = exported.without_calibration().predict_encoded(encoded)
    return float(np.abs(run.without_calibration().predict(inputs) - answers).max())


# ---- Graph surgery: skip a modality's branch where no window of the batch holds that modality ----


def skip_missing_modalities(config: RunConfig, path: Path) -> None:
    """Rewrites an ONNX file so that sound files cost no video branch, and silent clips no audio branch.

    If the file cannot be rewritten, or answers differently then, it is left as it is: slower, but right.
    """
    import onnx

    nothing = {name: values[:1] * 0 for name, values in draw_inputs(config, 1).items()}
    inputs = draw_inputs(config, N_COMPARED)
    try:
        network = onnx.load(path)
        skip_branches(network, nothing)
        onnx.checker.check_model(network)
        with written_whole(path) as rewritten:
            onnx.save(network, rewritten)
            np.testing.assert_allclose(OnnxNetwork(rewritten)(inputs), OnnxNetwork(path)(inputs), atol=MAX_DIFFERENCE)
    except Exception as error:  # onnx and ONNX Runtime raise anything
        logger.info("%s: is left as it is (%s).", path, first_line(error))


def skip_branches(network: "onnx.ModelProto", nothing: Mapping[str, np.ndarray]) -> None:
    """Puts each branch, the nodes that depend on one input alone, behind an If; changes the network in place.

    A branch whose results do not belong to one window each is left as it is.

    Args:
        nothing: by the input's name, one window without that modality, ``(1, ...)``.
    """
    for name in nothing:
        inside, results = _find_branch(network.graph, name)
        if not results or f"{name}/is_any" in {value for node in network.graph.node for value in node.output}:
            continue
        values = _compute(network, results, nothing)
        two = {other: np.concatenate([value] * 2) for other, value in nothing.items()}
        if all(
            value.shape[:1] == (1,)
            and twice.shape == (2, *value.shape[1:])
            and np.allclose(value, twice, atol=MAX_DIFFERENCE)  # sums of two windows may be rounded otherwise
            for value, twice in zip(values, _compute(network, results, two), strict=True)
        ):
            _put_into_if(network, name, inside, dict(zip(results, values, strict=True)))


def _find_branch(graph: "onnx.GraphProto", name: str) -> tuple[list["onnx.NodeProto"], list[str]]:
    """Returns the nodes that depend on one input alone, with their constants, and the values that other nodes use."""
    depends: dict[str, frozenset[str]] = {each.name: frozenset([each.name]) for each in graph.input}
    for node in graph.node:
        found = frozenset().union(*(depends.get(value, frozenset()) for value in _taken_by(node)))
        depends.update(dict.fromkeys(node.output, found))
    chosen = {node.output[0] for node in graph.node if depends[node.output[0]] == {name}}
    # Constants used by this branch alone belong to it. Nodes are sorted, so users are seen before what they use.
    takers: dict[str, list[str]] = {}
    for node in graph.node:
        for value in _taken_by(node):
            takers.setdefault(value, []).append(node.output[0])
    shown = {each.name for each in graph.output}
    for node in reversed(graph.node):
        taken_by = [taker for value in node.output for taker in takers.get(value, [])]
        if not depends[node.output[0]] and taken_by and chosen.issuperset(taken_by):
            chosen.add(node.output[0])
    inside = [node for node in graph.node if node.output[0] in chosen]
    results = [
        value
        for node in inside
        for value in node.output
        if value in shown or any(taker not in chosen for taker in takers.get(value, []))
    ]
    return inside, results


def _taken_by(node: "onnx.NodeProto") -> set[str]:
    """A node's inputs, and those of the nodes within it."""
    parts = [each.g for each in node.attribute if each.HasField("g")]
    return {*node.input, *(value for part in parts for inner in part.node for value in _taken_by(inner))}


def _compute(network: "onnx.ModelProto", results: list[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the named values inside a network."""
    import onnx
    import onnxruntime

    part = onnx.ModelProto()
    part.CopyFrom(network)
    del part.graph.output[:]
    part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in results)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {each.name for each in session.get_inputs()}
    return session.run(results, {name: value for name, value in inputs.items() if name in wanted})


def _put_into_if(
    network: "onnx.ModelProto", name: str, inside: list["onnx.NodeProto"], nothing: dict[str, np.ndarray]
) -> None:
    """Replaces a branch by an If, whose other side repeats ``nothing``, the branch's results without evidence."""
    from onnx import TensorProto, helper, numpy_helper

    graph = network.graph
    moved = {node.output[0] for node in inside}
    rest = [node for node in graph.node if node.output[0] not in moved]
    needed = {value for node in rest for value in _taken_by(node)}
    own = {value for node in inside for value in _taken_by(node)} - needed
    within = helper.make_graph(
        [*inside, *(helper.make_node("Identity", [value], [f"{value}/seen"]) for value in nothing)],
        f"{name}_branch", [], [_declare(f"{value}/seen", array) for value, array in nothing.items()],
        initializer=[each for each in graph.initializer if each.name in own],
    )  # fmt: skip
    constants, outputs = [numpy_helper.from_array(np.array([0], np.int64), f"{name}/first")], []
    nodes = [
        helper.make_node("Shape", [name], [f"{name}/shape"]),
        helper.make_node("Gather", [f"{name}/shape", f"{name}/first"], [f"{name}/n_windows"]),
    ]
    for value, array in nothing.items():
        constants += [
            numpy_helper.from_array(array, f"{value}/nothing"),
            numpy_helper.from_array(np.array(array.shape[1:], np.int64), f"{value}/rest"),
        ]
        nodes += [
            helper.make_node("Concat", [f"{name}/n_windows", f"{value}/rest"], [f"{value}/wanted"], axis=0),
            helper.make_node("Expand", [f"{value}/nothing", f"{value}/wanted"], [f"{value}/unseen"]),
        ]
        outputs.append(_declare(f"{value}/unseen", array))
    without = helper.make_graph(nodes, f"no_{name}", [], outputs, initializer=constants)
    ask = [
        helper.make_node("Abs", [name], [f"{name}/sizes"]),
        helper.make_node("ReduceMax", [f"{name}/sizes"], [f"{name}/most"], keepdims=0),
        helper.make_node("Cast", [f"{name}/most"], [f"{name}/is_any"], to=TensorProto.BOOL),
        helper.make_node("If", [f"{name}/is_any"], list(nothing), then_branch=within, else_branch=without),
    ]
    kept = [each for each in graph.initializer if each.name not in own]
    del graph.node[:], graph.initializer[:]
    # The If goes before the first node that uses its results; the others stay in order.
    first = next((i for i, node in enumerate(rest) if not _taken_by(node).isdisjoint(nothing)), len(rest))
    graph.node.extend([*rest[:first], *ask, *rest[first:]])
    graph.initializer.extend(kept)


def _declare(name: str, array: np.ndarray) -> "onnx.ValueInfoProto":
    from onnx import helper

    # Windows of other lengths have other numbers of moments.
    shape = [None, *([None] * (array.ndim - 2)), array.shape[-1]]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)


# ---- As a program, where Keras computes without TensorFlow ----


def _main() -> int:
    export_onnx(load_run(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(run_program(_main))
