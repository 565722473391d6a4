"""Serves the page: where it listens, who may ask, what is kept while it runs and deleted when it ends."""

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion.console import SILENT, Reporter, quiet_import
from emotion.errors import ConfigError

LOCAL_HOST = "127.0.0.1"
MAX_PORT = 65535


@dataclass(frozen=True)
class PageRequest:
    """A page to serve.

    Attributes:
        model: the folder of the model that stands first.
        model_name: what the page calls it.
        runtime: see ``load_run``.
        host, port: where to listen; port 0 takes any free one.
        allowed_hosts: names under which a proxy in front of the page forwards requests.
        max_seconds, max_mb: longer clips and larger uploads are refused.
        opens_browser: whether to open the page on this computer.
    """

    model: Path
    model_name: str
    runtime: str
    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    max_seconds: float
    max_mb: float
    opens_browser: bool

    def __post_init__(self):
        for name in ("max_seconds", "max_mb"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"--{name} must be above 0, got {getattr(self, name):g}.")
        if not 0 <= self.port <= MAX_PORT:
            raise ConfigError(f"--port must lie in 0 to {MAX_PORT}, got {self.port}.")
        if ":" in self.host:
            raise ConfigError(f"--host {self.host}: IPv6 is not supported; give an IPv4 address or a name.")

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach the page."""
        return self.host == "localhost" or self.host.startswith("127.")


def serve(request: PageRequest, *, reporter: Reporter = SILENT) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        ConfigError: if Gradio is not installed, or the address cannot be used.
        RunError: if the model cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="emotion-web-") as folder:
        # Gradio reads this when it is imported: uploads go to a folder that is deleted with this program.
        os.environ["GRADIO_TEMP_DIR"] = folder
        with _launched(request, Path(folder)) as address:
            if not request.is_local:
                reporter.say("Everybody who can reach this computer can use the page and upload to it.")
            reporter.say(f"Open {address} in a browser. Ctrl-C ends it.")
            try:
                ended = threading.Event()
                while not ended.wait(1.0):  # without a limit Ctrl-C would not end it on Windows
                    pass
            except KeyboardInterrupt:
                reporter.say("\nClosed; all uploads are deleted.")


@contextlib.contextmanager
def _launched(request: PageRequest, folder: Path) -> Iterator[str]:
    """Launches the page, and lends its address."""
    try:
        with quiet_import():
            import gradio as gr
            import httpx
    except ImportError as error:
        raise ConfigError(f"The page needs Gradio ({error}): pip install -r requirements-web.txt") from error
    from emotion.inference.web.analysis import Analyst, find_models
    from emotion.inference.web.page import MEGABYTE, STYLE, Page

    models = find_models(request.model, request.model_name)
    analyst = Analyst(models, max_seconds=request.max_seconds, runtime=request.runtime)
    max_bytes = round(request.max_mb * MEGABYTE)
    demo = Page(analyst, folder, max_bytes=max_bytes)
    demo.keep_swept()
    page = demo.build()
    # Gradio asks its own page whether it is up; a network's proxy cannot answer that.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost", LOCAL_HOST, request.host]))
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, address, _ = page.launch(
            server_name=request.host, server_port=request.port or _free_port(request.host), max_file_size=max_bytes,
            prevent_thread_lock=True, quiet=True, share=False, theme=theme, css=STYLE, footer_links=[],
            inbrowser=request.opens_browser, ssr_mode=False, run_history=False,
            app_kwargs={"middleware": _guards(request)},
        )  # fmt: skip
    except (OSError, ValueError, httpx.HTTPError) as error:  # the last two: Gradio cannot reach its own page
        raise ConfigError(
            f"--host {request.host} --port {request.port}: cannot listen there. Is the address this computer's, and "
            "the port free? Choose another port, or 0 for any."
        ) from error
    try:
        yield address
    finally:
        demo.close()
        page.close(verbose=False)


def _guards(request: PageRequest) -> list:
    """Middleware that refuses requests under a foreign name: some website may have led the browser here."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    if not request.is_local:
        return []  # nobody knows under which names others reach this computer
    names = ["localhost", LOCAL_HOST, request.host, *request.allowed_hosts]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)]


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
