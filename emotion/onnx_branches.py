"""Has an ONNX network leave out the branch of a modality that no window of a batch holds.

What a branch makes of nothing, a silent sound or frames of zeros, is the same every time. So it is computed once, when
the file is written, and the branch put into an ``If``: of a sound file no frames are worked through, of a silent clip
no sound, and the answers stay what they were.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def skip_what_is_missing(network: "onnx.ModelProto", nothing: Mapping[str, np.ndarray]) -> None:
    """Changes a network in place.

    A branch is what depends on one input alone. One whose results do not go window by window is left as it is.

    Args:
        network: with an input for each modality.
        nothing: by the input's name, its values in one window without that modality, ``(1, ...)``.
    """
    for name in nothing:
        inside, results = _find_branch(network.graph, name)
        if not results or f"{name}/is_any" in {value for node in network.graph.node for value in node.output}:
            continue
        values = _compute(network, results, nothing)
        two = {other: np.concatenate([value] * 2) for other, value in nothing.items()}
        if all(
            value.shape[:1] == (1,) and np.array_equal(np.concatenate([value] * 2), twice)
            for value, twice in zip(values, _compute(network, results, two), strict=True)
        ):
            _put_into_if(network, name, inside, dict(zip(results, values, strict=True)))


def _find_branch(graph: "onnx.GraphProto", name: str) -> tuple[list["onnx.NodeProto"], list[str]]:
    """Returns the nodes that depend on one input alone, with the constants of theirs, and what others take of them."""
    depends: dict[str, frozenset[str]] = {each.name: frozenset([each.name]) for each in graph.input}
    for node in graph.node:
        found = frozenset().union(*(depends.get(value, frozenset()) for value in _taken_by(node)))
        depends.update(dict.fromkeys(node.output, found))
    chosen = {node.output[0] for node in graph.node if depends[node.output[0]] == {name}}
    # Constants, too, that nothing else takes; those of constants come after them, so the last ones are looked at first.
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
    """What a node takes, and what the nodes within it take from outside."""
    parts = [each.g for each in node.attribute if each.HasField("g")]
    return {*node.input, *(value for part in parts for inner in part.node for value in _taken_by(inner))}


def _compute(network: "onnx.ModelProto", results: list[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns what stands at some places of a network."""
    import onnx
    import onnxruntime

    looked_at = onnx.ModelProto()
    looked_at.CopyFrom(network)
    del looked_at.graph.output[:]
    looked_at.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in results)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(looked_at.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {each.name for each in session.get_inputs()}
    return session.run(results, {name: value for name, value in inputs.items() if name in wanted})


def _put_into_if(
    network: "onnx.ModelProto", name: str, inside: list["onnx.NodeProto"], nothing: dict[str, np.ndarray]
) -> None:
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
    # The question stands before the first node that takes its answer; the others stay where they were.
    first = next((i for i, node in enumerate(rest) if not _taken_by(node).isdisjoint(nothing)), len(rest))
    graph.node.extend([*rest[:first], *ask, *rest[first:]])
    graph.initializer.extend(kept)


def _declare(name: str, array: np.ndarray) -> "onnx.ValueInfoProto":
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None, *array.shape[1:]])
