"""Floods the web page with good and bad requests from one address while an honest user, at another, labels clips.

python tests/fuzz/flood.py --seconds 120 --seed 1

Prints how long the honest user waits for an answer before and during the flood, and how the flood's requests ended. It
fails if the user gets no answer, or if the page answers anything with a fault of its own. The user sits in Chromium.
Needs an operating system on which all of 127.0.0.0/8 is this computer, such as Linux.
"""

import argparse
import os
import random
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from media_files import make_clip  # noqa: E402

ATTACKER = "127.0.0.2"
N_THREADS = 8
N_QUIET = 10
PATIENCE_SECONDS = 120
API = "/gradio_api"
# A fault of the page: what it refuses for want of room or places has codes of its own.
FAULTS = {500, 501, 502, 504}


def serve(folder: Path) -> tuple[subprocess.Popen, str]:
    """Starts the page; returns its process and address."""
    log = folder / "log.txt"
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "emotion.web_demo", "--port", "0", "--max_seconds", "20", "--max_mb", "20"],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if address := re.search(r"http://\S+", log.read_text(encoding="utf-8")):
            return process, address.group().rstrip("/")
        time.sleep(0.2)
    raise SystemExit(f"The page does not start:\n{log.read_text(encoding='utf-8')}")


class Attacker:
    """Sends requests until it is told to stop, and counts how they end."""

    def __init__(self, address: str, clip: Path, seed: int):
        self.address, self.content = address, clip.read_bytes()
        self.ended: Counter[str] = Counter()
        self.faults: list[str] = []
        self._seed, self._stop, self._lock = seed, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(N_THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=PATIENCE_SECONDS)

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self._seed}-{number}")
        requests = [self._look, self._upload, self._upload_nonsense, self._claim, self._drip, self._press, self._probe]
        while not self._stop.is_set():
            request = rng.choice(requests)
            try:
                with self._client() as client:
                    code = str(request(client, rng))
            except Exception as error:  # refused in the middle of a body, or cut off
                code = type(error).__name__
            with self._lock:
                self.ended[f"{request.__name__.strip('_')}: {code}"] += 1
                if code.isdigit() and int(code) in FAULTS:
                    self.faults.append(f"{request.__name__.strip('_')}: {code}")

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=ATTACKER)
        return httpx.Client(transport=transport, base_url=self.address, timeout=20)

    def _look(self, client, rng) -> int:
        return client.get(rng.choice(["/", "/config", f"{API}/info"])).status_code

    def _upload(self, client, rng) -> int:
        return client.post(f"{API}/upload", files={"files": ("clip.mp4", self.content)}).status_code

    def _upload_nonsense(self, client, rng) -> int:
        name = rng.choice(["../../x.mp4", "x" * 500, "a\n.mp4", "clip.exe", ".mp4"])
        origin = rng.choice([{}, {"Origin": "http://elsewhere.example"}])
        files = {"files": (name, rng.randbytes(rng.randrange(200_000)))}
        return client.post(f"{API}/upload", files=files, headers=origin).status_code

    def _claim(self, client, rng) -> int:
        """An upload of a terabyte, or of a length that is not told."""
        body = (b"x" * 1000 for _ in range(20))
        headers = rng.choice([{"Content-Length": str(10**12)}, {}])
        return client.post(f"{API}/upload", content=body, headers=headers).status_code

    def _drip(self, client, rng) -> int:
        """A body that comes slowly."""

        def drip():
            for _ in range(20):
                if self._stop.is_set():
                    return
                time.sleep(0.2)
                yield b"x" * 50

        return client.post(f"{API}/upload", content=drip(), headers={"Content-Length": "1000"}).status_code

    def _press(self, client, rng) -> int:
        """Asks for work on a clip, as the page would."""
        session, uploaded = secrets.token_hex(5), client.post(f"{API}/upload", files={"files": ("c.mp4", self.content)})
        if uploaded.status_code != 200:
            return uploaded.status_code
        clip = {"path": uploaded.json()[0], "meta": {"_type": "gradio.FileData"}}
        functions = client.get("/config").json()["dependencies"]
        work = next(each for each in functions if each["queue"] is not False and each["backend_fn"])
        press = next(each for each in functions if each["queue"] is False and work["inputs"][0] in each["outputs"])
        asked = {"fn_index": press["id"], "session_hash": session, "data": [clip]}
        client.post(f"{API}/run/predict", json=asked)
        data = [None, clip, "default", "yunet", 0.5, True, rng.choice([1, 5, "many"]), False, False]
        asked = {"fn_index": work["id"], "session_hash": session, "data": data}
        return client.post(f"{API}/queue/join", json=asked).status_code

    def _probe(self, client, rng) -> int:
        """What nobody needs."""
        path = rng.choice(
            ["/login", "/monitoring", "/docs", f"{API}/file=/etc/passwd", f"{API}/file=../../etc/passwd", "/%00", "/x"
             * 2000, f"{API}/queue/data?session_hash=x", f"{API}/heartbeat/x"]
        )  # fmt: skip
        with client.stream("GET", path) as answer:  # some never end
            return answer.status_code


def time_honest_user(browser: Browser, address: str, clip: Path) -> float:
    """Opens the page, uploads a clip and waits for the answer; tries again where the page refuses. Returns seconds."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE_SECONDS:
        context = browser.new_context()
        try:
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector("#start")
            page.set_input_files("#clip input[type=file]", clip)
            page.wait_for_selector("#clip video", timeout=PATIENCE_SECONDS * 1000)
            page.click("#start")
            answered = page.wait_for_selector(
                "#annotated video, #status .problem, .toast-body.error", timeout=PATIENCE_SECONDS * 1000
            )
            if answered.evaluate("element => element.tagName") == "VIDEO":
                if not page.inner_text("#answer"):
                    raise SystemExit("The user got a video and no answer.")
                return time.monotonic() - start
        finally:
            context.close()
    raise SystemExit(f"The user got no answer within {PATIENCE_SECONDS} s.")


def describe(waits: list[float]) -> str:
    return f"{len(waits)} answers, median {statistics.median(waits):.1f} s, longest {max(waits):.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="length of the flood (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        clip = make_clip(folder / "clip.mp4", seconds=2.0)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        process, address = serve(folder)
        attacker = Attacker(address, clip, args.seed)
        try:
            quiet = [time_honest_user(browser, address, clip) for _ in range(N_QUIET)]
            print(f"quiet: {describe(quiet)}", flush=True)
            attacker.start()
            began, flooded = time.monotonic(), []
            while time.monotonic() - began < args.seconds:
                flooded.append(time_honest_user(browser, address, clip))
            attacker.stop()
            print(f"flood: {describe(flooded)}; {attacker.ended.total()} requests in {args.seconds:g} s")
            for ending, n in sorted(attacker.ended.items()):
                print(f"  {n:>6}  {ending}")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                code = -1
        said = (folder / "log.txt").read_text(encoding="utf-8")
    print(f"tracebacks in the page's log: {said.count('Traceback')}")  # of Gradio, about requests it cannot read
    problems = [*attacker.faults, *([f"the page ended with {code}"] if code else [])]
    if problems:
        print("problems: " + ", ".join(f"{n} x {what}" for what, n in Counter(problems).items()))
        print(said[-3000:])
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
