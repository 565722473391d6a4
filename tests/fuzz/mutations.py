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
