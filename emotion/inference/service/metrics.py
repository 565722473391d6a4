"""What the service counts, as Prometheus reads it. Each service has a registry of its own."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from emotion.inference.service.clerk import ClipDone
from emotion.inference.service.clip_queue import RUNNING, WAITING, ClipJob, ClipQueue

REQUEST_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class ServiceMetrics:
    """Counters of one service; memory and processor time of its process are among them where the system tells them."""

    def __init__(self):
        disable_created_metrics()  # a time for each counter, which nobody asks for
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        labels = ("route", "method", "status")
        self._requests = Counter("emotion_requests", "Requests by route and status.", labels, registry=registry)
        self._seconds = Histogram(
            "emotion_request_seconds", "From a request's first byte to the answer's last.", ("route",),
            buckets=REQUEST_SECONDS, registry=registry,
        )  # fmt: skip
        self._clips = Counter("emotion_clips", "Clips that ended, by model and state.", ("model", "state"),
                              registry=registry)  # fmt: skip
        self._judging = Histogram("emotion_judging_seconds", "That a worker spent on a clip.", ("model",),
                                  buckets=REQUEST_SECONDS, registry=registry)  # fmt: skip
        self._judged = Counter("emotion_judged_seconds", "Length of all clips judged.", ("model",), registry=registry)
        self._windows = Counter("emotion_windows", "Windows judged, of clips and of streams.", ("model",),
                                registry=registry)  # fmt: skip
        self._frames = Counter("emotion_stream_pictures", "Pictures of streams, by what became of them.", ("fate",),
                               registry=registry)  # fmt: skip
        self.streams = Gauge("emotion_streams_open", "Streams that are open.", registry=registry)
        self._waiting = Gauge("emotion_queue_length", "Clips that wait for a worker.", registry=registry)
        self._running = Gauge("emotion_clips_running", "Clips that are being judged.", registry=registry)

    def watch(self, clips: ClipQueue) -> None:
        """Tells the length of a queue whenever it is asked for."""
        self._waiting.set_function(lambda: clips.count(WAITING))
        self._running.set_function(lambda: clips.count(RUNNING))

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route).observe(seconds)

    def count_clip(self, job: ClipJob) -> None:
        """Counts a clip that ended."""
        model, answer = job.task.options.model, job.answer
        self._clips.labels(model, job.state).inc()
        if job.began_at is not None:
            self._judging.labels(model).observe(max(0.0, job.ended_at - job.began_at))
        if isinstance(answer, ClipDone):
            self._judged.labels(model).inc(answer.judged_seconds)
            self._windows.labels(model).inc(answer.n_windows)

    def count_window(self, model: str) -> None:
        """Counts a window of a stream."""
        self._windows.labels(model).inc()

    def count_pictures(self, **fates: int) -> None:
        """Counts pictures of a stream: ``judged``, ``dropped`` or ``unreadable``."""
        for fate, number in fates.items():
            self._frames.labels(fate).inc(number)

    def text(self) -> bytes:
        return generate_latest(self._registry)
