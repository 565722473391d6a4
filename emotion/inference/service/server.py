"""Serves clips and streams over HTTP until it is told to end; then takes no new work, and ends what is at work."""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.console import SILENT, Reporter, quiet_import
from emotion.errors import ConfigError
from emotion.inference.web.listening import Listening, check_positive, own_folder
from emotion.parallel import run_one_by_one

if TYPE_CHECKING:
    from emotion.inference.service.app import Service

MEGABYTE = 2**20
MAX_MESSAGE_BYTES = 4 * MEGABYTE  # of a stream
CLOSE_SECONDS = 10.0  # that connections and workers have to end once all work has
KEY_VARIABLE = "EMOTION_API_KEY"


@dataclass(frozen=True, kw_only=True)
class ServiceRequest(Listening):
    """A service to run.

    Attributes:
        model, model_name: the folder of the model that stands first, and what it is called.
        runtime: see ``load_run``.
        n_workers: clips that are judged at a time; more than one in a process each.
        api_key_file: holds a key on each line; None for the environment's, or none.
        logs_requests: whether to print a line for each request.
        max_seconds, max_mb: longer clips and larger uploads are refused.
        max_total_mb: of all clips and answers together.
        max_work_seconds, max_upload_seconds: that judging and uploading a clip may take.
        max_waiting, max_per_address: clips that wait; clips of one address that are on their way.
        max_streams, max_stream_seconds: streams that are open, and how long one may last.
        keep_minutes: how long the answer to a job is kept.
        grace_seconds: how long work may go on after the service is told to end.
    """

    model: Path
    model_name: str
    runtime: str
    n_workers: int
    api_key_file: Path | None
    logs_requests: bool
    max_seconds: float
    max_mb: float
    max_total_mb: float
    max_work_seconds: float
    max_upload_seconds: float
    max_waiting: int
    max_per_address: int
    max_streams: int
    max_stream_seconds: float
    keep_minutes: float
    grace_seconds: float

    def __post_init__(self):
        super().__post_init__()
        check_positive(
            self, "max_seconds", "max_mb", "max_total_mb", "max_work_seconds", "max_upload_seconds", "max_waiting",
            "max_per_address", "max_stream_seconds", "keep_minutes", "grace_seconds",
        )  # fmt: skip
        if self.n_workers < 1:
            raise ConfigError(f"--workers must be 1 or more, got {self.n_workers}.")
        if self.max_streams < 0:
            raise ConfigError(f"--max_streams must be 0 or more, got {self.max_streams}.")


def serve_clips(request: ServiceRequest, *, reporter: Reporter = SILENT) -> None:
    """Runs the service until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: if a package is missing, or the address or the key cannot be used.
        RunError: if the model cannot be loaded.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"The service needs another package ({error}): pip install -r requirements-web.txt"
        ) from error
    from emotion.inference.service.entrance import read_keys

    keys = read_keys(request.api_key_file, os.environ.get(KEY_VARIABLE))
    listening = request.bound()  # before seconds go into loading a model that nobody could reach
    with listening, own_folder("service") as folder:
        service = build_service(request, folder, keys=keys)
        from emotion.inference.service.app import build_app

        address = "http://{}:{}".format(*listening.getsockname())
        if not request.is_local:
            reporter.warn(_warn_of_everybody(bool(keys)))
        server = _make_server(request, service, build_app(service), reporter, address)
        server.run(sockets=[listening])
        is_over = service.clips.is_over
    reporter.say("Ended; all clips and answers are deleted.")
    if not is_over:  # a worker hangs in a file, and would hold this process
        sys.stdout.flush()
        os._exit(0)


def build_service(request: ServiceRequest, folder: Path, *, keys) -> "Service":
    """Loads the model, and puts together what the routes share; see ``serve_clips`` for errors."""
    with quiet_import():
        from emotion.inference.service.app import Service
        from emotion.inference.service.clerk import Clerk, clerk_maker, judge_task
        from emotion.inference.service.clip_queue import ClipQueue, QueueLimits
        from emotion.inference.service.metrics import ServiceMetrics
        from emotion.inference.web.analysis import find_models
        from emotion.inference.web.guard import own_names

    models = find_models(request.model, request.model_name)
    options = {"max_seconds": request.max_seconds, "runtime": request.runtime}
    clerk, metrics = Clerk(models, **options), ServiceMetrics()
    if request.n_workers == 1:
        workers = [lambda tasks: ((task, clerk.judge(task)) for task in tasks)]
    else:
        begin = clerk_maker(models, **options, n_processes=request.n_workers)
        workers = [functools.partial(run_one_by_one, judge_task, initializer=begin)] * request.n_workers
    limits = QueueLimits(
        max_work_seconds=request.max_work_seconds, max_waiting=request.max_waiting,
        max_per_address=request.max_per_address, max_total_bytes=request.max_total_mb * MEGABYTE,
        keep_seconds=60 * request.keep_minutes,
    )  # fmt: skip
    return Service(
        clerk=clerk, clips=ClipQueue(folder, workers, limits, tell=metrics.count_clip), metrics=metrics, keys=keys,
        names={name.lower() for name in (request.host, "localhost", *request.allowed_hosts, *own_names())},
        max_bytes=round(request.max_mb * MEGABYTE), max_upload_seconds=request.max_upload_seconds,
        max_streams=request.max_streams, max_stream_seconds=request.max_stream_seconds, close_seconds=CLOSE_SECONDS,
    )  # fmt: skip


def _make_server(request: ServiceRequest, service: "Service", app, reporter: Reporter, address: str):
    import uvicorn
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    from emotion.inference.web.guard import Forwarded

    class Server(uvicorn.Server):
        """Ends on a signal once the work is done, or its time is over; on a second signal at once."""

        deadline: float | None = None

        async def startup(self, sockets=None) -> None:
            await super().startup(sockets=sockets)
            reporter.say(f"Listening on {address}; see {address}/docs. Ctrl-C ends it.")

        def ask_to_end(self, number: int, frame) -> None:
            if service.is_stopping:
                self.deadline = 0.0
                return
            service.is_stopping = True
            self.deadline = time.monotonic() + request.grace_seconds

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            signals = (signal.SIGINT, signal.SIGTERM)
            before = {each: signal.signal(each, self.ask_to_end) for each in signals}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

        async def on_tick(self, counter: int) -> bool:
            is_over = await super().on_tick(counter)
            if self.deadline is None:
                return is_over
            is_late = time.monotonic() > self.deadline
            if is_late:
                service.clips.stop_all()
            return is_over or is_late or service.is_idle

    proxies = list(request.trusted_proxies)
    front = Forwarded(ProxyHeadersMiddleware(app, trusted_hosts=proxies), proxies=proxies)
    config = uvicorn.Config(
        front, log_level="info" if request.logs_requests else "error", access_log=request.logs_requests,
        log_config=None, server_header=False, proxy_headers=False, lifespan="on", ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES, timeout_graceful_shutdown=round(CLOSE_SECONDS), timeout_keep_alive=30,
    )  # fmt: skip
    return Server(config)


def _warn_of_everybody(has_key: bool) -> str:
    who = "who has the API key" if has_key else "on the network, without an API key (see --api_key_file),"
    return (
        f"warning: everybody {who} can use the service and upload to it, and others on the network can read along, as "
        "it has no TLS. Put a server with TLS in front: see docs/service.md."
    )
