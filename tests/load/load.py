"""Loads the service with good and bad requests of several clients, and checks every answer.

python tests/load/load.py --minutes 3 --clients 8

Starts a service of its own on 127.0.0.1. A good clip must get the same answer each time; a bad request must get its own
status and one line. Prints requests a second, how long they take, how they ended, and the service's memory at the
start, in the middle and at the end. Fails if any answer is wrong, or if the service does not end with 0 on SIGTERM.
"""

import argparse
import random
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from media_files import make_clip, make_still  # noqa: E402

START_SECONDS = 120
MAX_MEGABYTES = 4
MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)", re.MULTILINE)


class Server:
    """A service in a process of its own."""

    def __init__(self, folder: Path, *options: str):
        self.key = secrets.token_hex(16)
        (folder / "key").write_text(self.key)
        self.log = folder / "log.txt"
        with open(self.log, "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emotion.serve", "--port", "0", "--api_key_file", str(folder / "key"),
                 "--max_mb", str(MAX_MEGABYTES), *options],
                cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"Listening on (http://[\d.:]+)", self.log.read_text(encoding="utf-8")):
                self.address = found[1]
                return
            time.sleep(0.1)
        raise SystemExit(f"The service does not start:\n{self.log.read_text(encoding='utf-8')}")

    def memory(self) -> float:
        """Megabytes that are resident."""
        text = httpx.get(f"{self.address}/metrics", headers={"Authorization": f"Bearer {self.key}"}, timeout=30).text
        found = MEMORY.search(text)
        return float(found[1]) / 2**20 if found else float("nan")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return -1


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, server: Server, folder: Path, n_clients: int, seed: int):
        self.server, self._seed = server, seed
        clip = make_clip(folder / "clip.mp4", seconds=2.0)
        self.good = {
            "sample.mp4": (ROOT / "samples" / "astronaut.mp4").read_bytes(),
            "clip.mp4": clip.read_bytes(),
            "sound.mp4": make_clip(folder / "sound.mp4", seconds=2.0, video_codec=None).read_bytes(),
            "still.png": make_still(folder / "still.png").read_bytes(),
        }
        self.answers: dict[str, dict] = {}
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.ended: Counter[str] = Counter()
        self.faults: list[str] = []
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(n_clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self._seed}-{number}")
        kinds = [self._judge] * 6 + [self._draw, self._job, self._cut, self._words, self._empty, self._large,
                                     self._wrong_key, self._wrong_option, self._lost_job, self._leave]  # fmt: skip
        headers = {"Authorization": f"Bearer {self.server.key}"}
        with httpx.Client(base_url=self.server.address, headers=headers, timeout=120) as client:
            while not self._stop.is_set():
                kind, began = rng.choice(kinds), time.monotonic()
                name = kind.__name__.strip("_")
                try:
                    ended = kind(client, rng)
                except Exception as error:
                    ended = f"fault: {type(error).__name__} {error}"
                with self._lock:
                    self.seconds[name].append(time.monotonic() - began)
                    self.ended[f"{name}: {ended}"] += 1
                    if ended.startswith("fault"):
                        self.faults.append(f"{name}: {ended}")

    def _send(self, client, content, name="clip.mp4", to="/v1/predict", headers=None, **fields):
        answer = client.post(to, files={"file": (name, content)}, data=fields, headers=headers)
        if answer.status_code in (429, 503):
            assert int(answer.headers["retry-after"]) > 0 and answer.json()["error"]["message"]
            self._stop.wait(min(1.0, float(answer.headers["retry-after"])))
        return answer

    def _expect(self, answer, status: int, words: str = "") -> str:
        if answer.status_code in (429, 503):
            return str(answer.status_code)
        message = answer.json()["error"]["message"]
        is_right = answer.status_code == status and words in message and "\n" not in message and "/tmp" not in message
        return str(status) if is_right else f"fault: {answer.status_code} {message}"

    def _same(self, name: str, result: dict) -> str:
        with self._lock:
            first = self.answers.setdefault(name, result)
        return "200" if first == result else f"fault: another answer for {name}"

    def _judge(self, client, rng) -> str:
        name = rng.choice(list(self.good))
        answer = self._send(client, self.good[name], name)
        if answer.status_code != 200:
            return self._expect(answer, 200)
        return self._same(name, answer.json())

    def _draw(self, client, rng) -> str:
        answer = self._send(client, self.good["clip.mp4"], headers={"Accept": "video/mp4"})
        if answer.status_code != 200:
            return self._expect(answer, 200)
        return "200" if b"ftyp" in answer.content[:16] else "fault: no MP4"

    def _job(self, client, rng) -> str:
        name = rng.choice(list(self.good))
        taken = self._send(client, self.good[name], name, to="/v1/jobs")
        if taken.status_code != 202:
            return self._expect(taken, 202)
        place = taken.headers["location"]
        while (job := client.get(place).json())["status"] in ("waiting", "running"):
            time.sleep(0.2)
        if job["status"] != "done" or client.delete(place).status_code != 204 or client.get(place).status_code != 404:
            return f"fault: {job}"
        return self._same(name, job["result"]).replace("200", "202")

    def _cut(self, client, rng) -> str:
        # The index of an MP4 file stands at its end or, in the sample, at its beginning.
        content = self.good["clip.mp4"]
        return self._expect(self._send(client, content[: rng.randrange(1000, len(content) // 2)]), 422, "clip.mp4: ")

    def _words(self, client, rng) -> str:
        return self._expect(self._send(client, b"some words\n" * 100, "notes.txt"), 422, "notes.txt: ")

    def _empty(self, client, rng) -> str:
        return self._expect(self._send(client, b"", "empty.mp4"), 422, "empty.mp4: ")

    def _large(self, client, rng) -> str:
        return self._expect(self._send(client, bytes((MAX_MEGABYTES + 1) * 2**20)), 413, "larger than")

    def _wrong_key(self, client, rng) -> str:
        header = {"Authorization": f"Bearer {secrets.token_hex(16)}"}
        return self._expect(self._send(client, self.good["clip.mp4"], headers=header), 401, "key is wrong")

    def _wrong_option(self, client, rng) -> str:
        return self._expect(self._send(client, self.good["clip.mp4"], max_faces="0"), 422, "max_faces must lie")

    def _lost_job(self, client, rng) -> str:
        return self._expect(client.get(f"/v1/jobs/{secrets.token_urlsafe(16)}"), 404, "no such job")

    def _leave(self, client, rng) -> str:
        """Goes in the middle of an upload, or before the answer."""
        body = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
            + self.good["sample.mp4"] + b"\r\n--x--\r\n"
        )  # fmt: skip
        host, port = self.server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = (
                f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self.server.key}\r\n"
                f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[: rng.choice([100, len(body) // 2, len(body)])])
            time.sleep(rng.uniform(0.0, 0.5))
        return "left"


def describe(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return f"{len(seconds)} times"
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return (
        f"{len(seconds)} times, p50 {statistics.median(seconds):.2f} s, p95 {p95:.2f} s, longest {max(seconds):.2f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default: %(default)g)")
    parser.add_argument("--clients", type=int, default=8, help="at a time (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="of the service (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        server = Server(folder, "--workers", str(args.workers))
        load = Load(server, folder, args.clients, args.seed)
        memory, half = [server.memory()], 30 * args.minutes
        began = time.monotonic()
        load.start()
        time.sleep(half)
        memory.append(server.memory())
        time.sleep(max(0.0, began + 2 * half - time.monotonic()))
        load.stop()
        elapsed = time.monotonic() - began
        memory.append(server.memory())
        health = httpx.get(f"{server.address}/healthz", timeout=30).json()
        code = server.stop()
        said = server.log.read_text(encoding="utf-8")
    n_requests = load.ended.total()
    print(f"{n_requests} requests of {args.clients} clients in {elapsed:.0f} s: {n_requests / elapsed:.1f} a second")
    for name, seconds in sorted(load.seconds.items()):
        print(f"  {name}: {describe(seconds)}")
    for ending, n in sorted(load.ended.items()):
        print(f"  {n:>6}  {ending[:200]}")
    print("memory of the service at start, middle, end: " + ", ".join(f"{each:.0f} MB" for each in memory))
    problems = [*load.faults, *([f"the service ended with {code}"] if code else [])]
    problems += [f"{n} tracebacks in the log"] if (n := said.count("Traceback")) else []
    problems += [f"at the end: {health}"] if health["status"] != "ok" else []
    if problems:
        print("problems: " + "; ".join(f"{n} x {what}" for what, n in Counter(problems).items()))
        print(said[-3000:])
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
