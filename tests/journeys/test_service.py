"""The service as a program: it starts, answers, and ends on SIGTERM when its work is done."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from media_files import make_clip
from programs import ROOT

httpx = pytest.importorskip("httpx")
for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
    pytest.importorskip(package)

from emotion import serve  # noqa: E402
from emotion.inference.service import server  # noqa: E402

KEY = "a-key-of-more-than-16-letters"


class Started:
    """A service in a process of its own, in a folder for its files."""

    def __init__(self, folder, *options, **environment):
        self.place, self.log = folder / "tmp", folder / "log.txt"
        self.place.mkdir()
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emotion.serve", "--port", "0", *options], cwd=ROOT, stdout=output,
                stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(self.place), **environment},
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (found := re.search(r"Listening on (\S+);", self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.address = found[1]

    def files(self):
        return [path for path in self.place.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*options, **environment):
        started.append(Started(tmp_path, *options, **environment))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_it_answers_streams_and_finishes_its_work_on_sigterm(start, tmp_path):
    service = start(EMOTION_API_KEY=KEY)
    sample = (ROOT / "samples" / "astronaut.mp4").read_bytes()
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=service.address, headers=headers, timeout=60, trust_env=False) as client:
        assert client.get("/healthz").json()["status"] == "ok"
        assert client.get("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
        good = client.post("/v1/predict", files={"file": ("clip.mp4", sample)})
        assert good.json()["overall"]["emotion"] == "happy"
        assert client.post("/v1/predict", files={"file": ("a.txt", b"words")}).status_code == 422
        assert "process_resident_memory_bytes" in client.get("/metrics").text or sys.platform != "linux"
    from websockets.sync.client import connect

    with connect(f"{service.address.replace('http', 'ws')}/v1/stream", proxy=None) as socket:
        socket.send(json.dumps({"fps": 10, "api_key": KEY}))
        assert json.loads(socket.recv())["type"] == "ready"
        socket.send('{"type": "end"}')
        assert json.loads(socket.recv())["type"] == "end"
    assert service.files() == []
    answers = []

    def ask():
        files, url = {"file": ("clip.mp4", sample)}, f"{service.address}/v1/predict"
        answers.append(httpx.post(url, files=files, headers=headers, timeout=60, trust_env=False))

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 30
    while not httpx.get(f"{service.address}/healthz", trust_env=False).json()["running"]:
        assert time.monotonic() < deadline
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=60) == 0
    asking.join()
    assert answers[0].status_code == 200 and answers[0].json() == good.json()
    assert service.files() == [] and "Traceback" not in service.log.read_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_two_processes_judge_and_work_that_takes_too_long_is_ended_with_the_service(start, tmp_path):
    service = start("--workers", "2", "--grace_seconds", "0.2")
    clip = make_clip(tmp_path / "clip.mp4", seconds=20.0, width=640, height=480).read_bytes()
    with httpx.Client(base_url=service.address, timeout=60, trust_env=False) as client:
        jobs = [client.post("/v1/jobs", files={"file": ("clip.mp4", clip)}).headers["location"] for _ in range(3)]
        deadline = time.monotonic() + 60
        while client.get("/healthz").json()["running"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get(jobs[2]).json()["status"] == "waiting"
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=60) == 0
    assert service.files() == [] and "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", "0"), "--workers must be 1 or more"),
        (("--max_mb", "nan"), "--max_mb must be above 0"),
        (("--max_streams", "-1"), "--max_streams must be 0 or more"),
        (("--port", "70000"), "--port must lie in"),
        (("--host", "::1"), "IPv6"),
        (("--host", "192.0.2.1"), "cannot listen there"),
        (("--model", "nowhere"), "nowhere"),
        (("--api_key_file", "nowhere"), "nowhere"),
    ],
)
def test_impossible_options_are_one_line(call, options, words):
    done = call(serve, *options)
    assert done.code in (1, 2) and words in done.err and done.err.count("\n") == 1


def test_whoever_opens_it_to_the_network_is_warned():
    assert "without an API key (see --api_key_file)" in server._warn_of_everybody(False)
    assert "TLS" in server._warn_of_everybody(True) and "--api_key_file" not in server._warn_of_everybody(True)
