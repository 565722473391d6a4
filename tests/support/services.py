"""Services for tests: with the shipped model, or with workers that do as they are told."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

from starlette.testclient import TestClient

from emotion.inference.service.app import Service, build_app
from emotion.inference.service.clerk import ClipDone, ClipTask, Problem
from emotion.inference.service.clip_queue import ClipQueue, QueueLimits
from emotion.inference.service.entrance import Keys
from emotion.inference.service.metrics import ServiceMetrics

KEY = "a-key-of-more-than-16-letters"
LIMITS = {
    "max_work_seconds": 60.0,
    "max_waiting": 4,
    "max_per_address": 8,
    "max_total_bytes": 1e9,
    "keep_seconds": 60.0,
}


class ObedientWorker:
    """Takes clips, and answers each once it is let go; ``fails`` is raised instead of the first answer."""

    def __init__(self, answer=None, fails: Exception | None = None):
        self.go_on, self.has_begun = threading.Event(), threading.Event()
        self.seen: list[ClipTask] = []
        self._answer, self._fails = answer, fails

    def __call__(self, tasks: Iterator[ClipTask]):
        for task in tasks:
            self.seen.append(task)
            self.has_begun.set()
            while not (self.go_on.wait(0.01) or task.stop_file.exists()):
                pass
            if self._fails:
                raise self._fails
            if task.stop_file.exists():
                yield task, Problem(503, "WorkStopped", "was stopped.")
                continue
            path = task.folder / "answer.json"
            path.write_text(json.dumps({"bytes": task.clip.stat().st_size}))
            yield task, self._answer or ClipDone(path, "application/json", 1.0, 2)


def make_queue(folder: Path, *workers, tell=lambda job: None, **limits) -> ClipQueue:
    return ClipQueue(folder, list(workers), QueueLimits(**{**LIMITS, **limits}), tell=tell)


def make_service(folder: Path, clerk, *workers, keys=(), limits=None, **options) -> Service:
    """Returns a service; without ``workers`` the clerk judges in a thread."""
    metrics = ServiceMetrics()
    workers = workers or (lambda tasks: ((task, clerk.judge(task)) for task in tasks),)
    values = {
        "names": {"testserver"}, "max_bytes": 10 * 2**20, "max_upload_seconds": 30.0, "max_streams": 2,
        "max_stream_seconds": 60.0, **options,
    }  # fmt: skip
    clips = make_queue(folder, *workers, tell=metrics.count_clip, **(limits or {}))
    return Service(clerk=clerk, clips=clips, metrics=metrics, keys=Keys(keys), **values)


@contextlib.contextmanager
def asked(service: Service, **headers: str) -> Iterator[TestClient]:
    """Lends what asks a service that runs."""
    with TestClient(build_app(service), headers=headers, raise_server_exceptions=False) as client:
        yield client
