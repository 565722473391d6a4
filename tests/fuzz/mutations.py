"""Ways to damage a file, each drawn from a random generator, so that a seed gives the same file again."""

import io
import json
import random
import zipfile

INTERESTING = (
    0, 1, -1, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 10**18, 10**400, 0.0, -0.0, 1e-300, 1e300,
)  # fmt: skip
STRANGE = (
    None, True, False, "", "é", "x" * 5000, "\0", "../../etc/passwd", [], {}, [[[[]]]], float("nan"), float("inf"),
)  # fmt: skip
WORDS = (
    b"\0", b"\xff", b"\n", b"\r\n", b",", b";", b"\t", b'"', b"sep=;\n", b"\xef\xbb\xbf", b"\xff\xfe", b"NaN", b"1e999",
    b"%s%n", b"../", b"-1", b"=", b"'", b"\xe2\x80\xae", b"\xcc\x88",
)  # fmt: skip
HOSTILE = (
    b"9" * 5000,
    b"[" * 100_000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b"1e999",
    b"-1e-999",
)  # in place of a value
HEAD_BYTES = 256


def flip_bits(content: bytearray, rng: random.Random, *, within: int | None = None) -> None:
    for _ in range(rng.choice((1, 2, 8, 64))):
        place = rng.randrange(min(len(content), within or len(content)))
        content[place] ^= 1 << rng.randrange(8)


def damage_head(content: bytearray, rng: random.Random) -> None:
    flip_bits(content, rng, within=HEAD_BYTES)


def set_number(content: bytearray, rng: random.Random) -> None:
    """Replaces four bytes by a number that programs stumble over."""
    place = rng.randrange(len(content))
    number = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(content)))
    content[place : place + 4] = number.to_bytes(4, rng.choice(("big", "little")))


def damage_atom(content: bytearray, rng: random.Random) -> None:
    """Changes the size or the name of a box of MP4, a chunk of RIFF or the like: four letters in a row."""
    starts = [i for i in range(4, min(len(content) - 4, 200_000)) if content[i : i + 4].isalpha()]
    if not starts:
        return flip_bits(content, rng)
    place = rng.choice(starts)
    if rng.random() < 0.5:
        content[place - 4 : place] = rng.randbytes(4)
    else:
        other = rng.choice(starts)
        content[place : place + 4] = content[other : other + 4]
    return None


def cut(content: bytearray, rng: random.Random) -> None:
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    else:
        start = rng.randrange(len(content))
        del content[start : start + rng.randrange(1, 1 + len(content) // 2)]


def insert(content: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(content))
    content[place:place] = rng.choice((rng.choice(WORDS), rng.randbytes(rng.randrange(1, 400)), bytes(1000)))


def swap(content: bytearray, rng: random.Random) -> None:
    size = rng.randrange(1, 1 + max(1, len(content) // 4))
    one, other = (rng.randrange(len(content)) for _ in range(2))
    content[one : one + size], content[other : other + size] = content[other : other + size], content[one : one + size]


WAYS = (flip_bits, damage_head, set_number, damage_atom, cut, insert, swap)


def damage(content: bytes, rng: random.Random) -> bytes:
    """Returns a file's content, damaged in one to three ways."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if damaged:
            rng.choice(WAYS)(damaged, rng)
    return bytes(damaged)


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """Returns JSON with strange values, names or nesting; or damaged as any other file."""
    if rng.random() < 0.3:
        return damage(content, rng)
    if rng.random() < 0.05:
        place = rng.choice([at for at, byte in enumerate(content) if byte == ord(":")]) + 1
        return content[:place] + rng.choice(HOSTILE) + content[place:].lstrip().lstrip(b"0123456789.")
    values = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        inner = values
        while True:
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            if not keys:
                break
            key = rng.choice(list(keys))
            if isinstance(inner[key], dict | list) and rng.random() < 0.8:
                inner = inner[key]
                continue
            way = rng.random()
            if way < 0.5 and isinstance(inner[key], int | float):
                inner[key] = rng.choice((*INTERESTING, inner[key] * 1000, -inner[key], inner[key] + 1))
            elif way < 0.8:
                inner[key] = rng.choice((*INTERESTING, *STRANGE))
            elif isinstance(inner, dict) and way < 0.9:
                del inner[key]
            elif isinstance(inner, dict):
                inner[rng.choice(("new", "\ud800", "x" * 3000))] = inner[key]
            else:
                inner.append(rng.choice((*INTERESTING, *STRANGE)))
            break
    return json.dumps(values).encode()


def damage_zip(content: bytes, rng: random.Random) -> bytes:
    """Returns a ZIP file one of whose members is damaged, with the right checksum; or damaged as any other file."""
    if rng.random() < 0.2:
        return damage(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    way = damage_json if name.endswith(".json") else damage
    members[name] = way(members[name], rng)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for member, inner in members.items():
            archive.writestr(member, inner)
    return written.getvalue()


def damage_graph(content: bytes, rng: random.Random) -> bytes:
    """Returns an ONNX file that can be read and computes something else; or damaged as any other file."""
    import onnx

    if rng.random() < 0.3:
        return damage(content, rng)
    model = onnx.load_from_string(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice((_swap_operators, _set_attribute, _set_values, _drop_node, _ask_for_memory, _loop, _point_outside))(
            model.graph, rng
        )
    return model.SerializeToString()


def _swap_operators(graph, rng: random.Random) -> None:
    one, other = rng.choice(graph.node), rng.choice(graph.node)
    one.op_type, other.op_type = other.op_type, one.op_type


def _set_attribute(graph, rng: random.Random) -> None:
    import onnx

    attributes = [each for node in graph.node for each in node.attribute if each.type == onnx.AttributeProto.INT]
    if attributes:
        rng.choice(attributes).i = rng.choice((0, -1, 2**31, 2**62, 1000))


def _set_values(graph, rng: random.Random) -> None:
    """Gives a constant, such as a shape or a weight, other values."""
    import numpy as np
    from onnx import numpy_helper

    tensor = rng.choice(graph.initializer)
    values = np.array(numpy_helper.to_array(tensor))
    if np.issubdtype(values.dtype, np.integer):
        values[...] = rng.choice((0, -1, 1000, 10**6, 100))
    else:
        values[...] = rng.choice((np.nan, np.inf, 0.0, 1e30))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _drop_node(graph, rng: random.Random) -> None:
    """Hands a node's input on as its output."""
    node = rng.choice(graph.node)
    node.op_type = "Identity"
    del node.input[1:], node.output[1:], node.attribute[:]


def _before_the_answer(graph) -> tuple[str, str]:
    """Cuts the graph before its first output; returns the names to join again."""
    answer = graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{answer}_before" if name == answer else name for name in node.output]
    return f"{answer}_before", answer


def _ask_for_memory(graph, rng: random.Random) -> None:
    from onnx import TensorProto, helper

    before, answer = _before_the_answer(graph)
    graph.initializer.append(helper.make_tensor("much", TensorProto.INT64, [1], [rng.choice((10**8, 10**10, 2**62))]))
    graph.node.extend([
        helper.make_node("ConstantOfShape", ["much"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", [before, "sum"], [answer]),
    ])  # fmt: skip


def _loop(graph, rng: random.Random) -> None:
    from onnx import TensorProto, helper

    before, answer = _before_the_answer(graph)
    graph.initializer.extend([
        helper.make_tensor("often", TensorProto.INT64, [], [rng.choice((10, 2**62))]),
        helper.make_tensor("always", TensorProto.BOOL, [], [True]),
    ])  # fmt: skip
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Add", ["x", "x"], ["x2"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
         helper.make_tensor_value_info("x2", TensorProto.FLOAT, None)],
    )  # fmt: skip
    graph.node.append(helper.make_node("Loop", ["often", "always", before], [answer], body=body))


def _point_outside(graph, rng: random.Random) -> None:
    import onnx

    tensor = rng.choice(graph.initializer)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../x", "model.keras")))
