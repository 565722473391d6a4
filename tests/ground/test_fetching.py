"""Fetching from a real server on this machine that misbehaves on request."""

import threading
from pathlib import Path

import numpy as np
import pytest
from file_server import md5
from recording import Recorder
from refusals import refused

from emotion import fetching, https
from emotion.fetching import RemoteFile, fetch
from emotion.https import FetchError, check_address, read_json, read_retry_after, with_way_out

CONTENT = np.random.default_rng(0).bytes(300_000)
BROKEN = {"break_after": 100_000}


def get(server, folder: Path, *faults: dict, checksum: str | None = None) -> tuple[Path, list[str]]:
    """Fetches CONTENT from the server, which makes these faults one after the other; returns the notes, too."""
    server.files["/file"], server.faults["/file"] = CONTENT, list(faults)
    path, reporter = folder / "file.zip", Recorder()
    fetch(RemoteFile(f"{server.url}/file", len(CONTENT), checksum or md5(CONTENT)), path, reporter=reporter)
    return path, reporter.warned


def ranges(server) -> list[str | None]:
    return [request.range for request in server.asked("/file")]


def parts(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("*.part")]


REST = "bytes=100000-"


@pytest.mark.parametrize(
    ("faults", "asked", "words"),
    [
        pytest.param([], [None], [], id="nothing goes wrong"),
        pytest.param([{"break_after": 70_000}] * 4,
                     [None, *(f"bytes={n}0000-" for n in (7, 14, 21, 28))], ["broke off"] * 4, id="it breaks off"),
        pytest.param([BROKEN, {"no_ranges": True}], [None, REST], ["broke off"], id="no ranges"),
        pytest.param([{**BROKEN, "no_length": True}, {"no_length": True}], [None, REST], ["broke off"], id="no length"),
        pytest.param([BROKEN, {"status": 416}], [None, REST, None], ["broke off", "again"], id="range refused"),
        pytest.param([BROKEN, {"shift": 1}], [None, REST, None], ["broke off", "another part"], id="another range"),
        pytest.param([{"content": CONTENT[::-1]}], [None, None], ["wrong checksum"], id="other bytes"),
        pytest.param([{**BROKEN, "content": CONTENT[::-1]}], [None, REST, None], ["broke off", "wrong checksum"],
                     id="it changes on the way"),
        pytest.param([{**BROKEN, "stall_seconds": 0.6}], [None, REST], ["nothing came"], id="it stalls"),
    ],
)  # fmt: skip
def test_a_file_arrives_byte_for_byte_whatever_passes(server, tmp_path, monkeypatch, faults, asked, words):
    if any("stall_seconds" in fault for fault in faults):
        monkeypatch.setattr(https, "TIMEOUT_SECONDS", 0.2)
    path, notes = get(server, tmp_path, *faults)
    assert path.read_bytes() == CONTENT
    assert [item.name for item in tmp_path.iterdir()] == ["file.zip"]
    assert ranges(server) == asked
    assert len(notes) == len(words) and all(word in note for word, note in zip(words, notes, strict=True))


@pytest.mark.parametrize(
    ("faults", "checksum", "n_asked", "facts"),
    [
        ([], md5(b"else"), 2, ["/file"]),
        ([{"content": b"login"}], None, 1, ["/file", "5 bytes", "300000"]),
        ([{"content": CONTENT * 2, "no_length": True}], None, 1, ["/file", "300000 bytes"]),
        ([{"status": 404}], None, 1, ["404"]),
        ([{"status": 403, "body": b'{"message": "over budget"}'}], None, 1, ["403", "over budget"]),
        ([{"status": 429, "headers": {"Retry_After": "3600"}}], None, 1, ["60 minutes"]),
    ],
)
def test_what_does_not_pass_is_an_error_and_leaves_nothing(server, tmp_path, faults, checksum, n_asked, facts):
    with refused(FetchError, *facts):
        get(server, tmp_path, *faults, checksum=checksum)
    assert len(server.requests) == n_asked
    assert b"".join(parts(tmp_path)) == b"" and not (tmp_path / "file.zip").exists()


def test_a_second_call_asks_only_for_the_rest_and_a_third_for_nothing(server, tmp_path):
    with refused(FetchError, "/file", "5 attempts"):
        get(server, tmp_path, BROKEN, *[{"status": 503}] * 4)
    assert parts(tmp_path) == [CONTENT[:100_000]]
    server.requests.clear()
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    assert ranges(server) == [REST]
    get(server, tmp_path)
    assert ranges(server) == [REST]


def test_a_part_of_another_content_is_not_continued(server, tmp_path):
    server.files["/file"], server.faults["/file"] = b"old" * 90_000, [BROKEN, *[{"status": 503}] * 4]
    with pytest.raises(FetchError):
        fetch(RemoteFile(f"{server.url}/file", 270_000, md5(b"old" * 90_000)), tmp_path / "file.zip")
    server.requests.clear()
    assert get(server, tmp_path)[0].read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_file_that_is_there_but_wrong_is_fetched_anew(server, tmp_path):
    (tmp_path / "file.zip").write_bytes(CONTENT[::-1])
    path, notes = get(server, tmp_path)
    assert path.read_bytes() == CONTENT and str(path) in notes[0]


def test_progress_tells_what_is_here(server, tmp_path):
    server.files["/file"], server.faults["/file"], told = CONTENT, [BROKEN, {"no_ranges": True}], []
    path = tmp_path / "file"
    fetch(RemoteFile(f"{server.url}/file", len(CONTENT), md5(CONTENT)), path, tell=lambda *call: told.append(call))
    assert told[0] == (path, 0) and told[-1] == (path, len(CONTENT)) and (path, 100_000) in told


def test_pauses_grow_and_a_server_that_names_a_pause_is_obeyed(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds=None: pauses.append(seconds))
    monkeypatch.setattr(https, "FIRST_PAUSE_SECONDS", 1.0)
    get(server, tmp_path, {"status": 500}, {"status": 502}, {"status": 429, "headers": {"Retry_After": "7"}})
    assert [pause for pause in pauses if pause in (1.0, 2.0, 7.0)] == [1.0, 2.0, 7.0]
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert read_retry_after("soon") is None


def test_redirects_are_followed_with_the_range_but_without_private_headers(server, tmp_path):
    server.files["/elsewhere"] = CONTENT
    away = {"status": 302, "headers": {"Location": f"{server.url}/elsewhere"}}
    server.faults["/file"], server.faults["/elsewhere"] = [away, away], [{"break_after": 1000}]
    remote = RemoteFile(f"{server.url}/file", len(CONTENT), md5(CONTENT), {"Authorization": "Basic c2VjcmV0"})
    fetch(remote, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [request.headers["Authorization"] for request in server.asked("/file")] == ["Basic c2VjcmV0"] * 2
    assert [request.headers["Authorization"] for request in server.asked("/elsewhere")] == [None] * 2
    assert [request.range for request in server.asked("/elsewhere")] == [None, "bytes=1000-"]


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "https://", "a"])
def test_only_https_is_fetched_and_only_https_is_followed(server, tmp_path, url):
    with refused(FetchError, url, "https"):
        fetch(RemoteFile(url, 1, md5(b"a")), tmp_path / "a")
    if ":" in url:
        with pytest.raises(FetchError):
            get(server, tmp_path, {"status": 302, "headers": {"Location": url}})


def test_a_redirect_from_outside_to_this_machine_is_refused():
    with refused(FetchError, "http://127.0.0.1/a", "https"):
        check_address("http://127.0.0.1/a", may_be_local=False)


def test_a_full_disk_is_an_error_of_the_disk_and_keeps_the_part(server, tmp_path, monkeypatch):
    def write(file, chunk, path, real=fetching.write_chunk):
        if path.stat().st_size > 100_000:
            raise OSError(28, "No space left on device", str(path))
        real(file, chunk, path)

    monkeypatch.setattr(fetching, "write_chunk", write)
    with refused(OSError, "file.zip", "No space left"):
        get(server, tmp_path)
    assert 0 < len(parts(tmp_path)[0]) < len(CONTENT)
    monkeypatch.undo()
    assert get(server, tmp_path)[0].read_bytes() == CONTENT


def test_an_answer_that_is_no_json_or_too_long_is_named_with_the_way_out(server, monkeypatch):
    server.files["/record"] = b"<html>"
    with refused(FetchError, "/record", "JSON", "By hand."), with_way_out("By hand."):
        read_json(f"{server.url}/record")
    monkeypatch.setattr(https, "MAX_JSON_BYTES", 3)
    with refused(FetchError, "/record", "3 bytes"):
        read_json(f"{server.url}/record")
