"""Serves the page: where it listens, who may ask, what is kept while it runs and deleted when it ends."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion.console import SILENT, Reporter, quiet_import
from emotion.errors import ConfigError
from emotion.files import named_errors
from emotion.inference.web.listening import LOCAL_HOST, Listening, check_positive, own_folder

SHARE = 0.25  # of the disk space for clips, that one address may fill in an hour


@dataclass(frozen=True, kw_only=True)
class PageRequest(Listening):
    """A page to serve.

    Attributes:
        model: the folder of the model that stands first.
        model_name: what the page calls it.
        runtime: see ``load_run``.
        auth: a file with a line ``USER:PASSWORD`` for everybody who may log in; None lets in everybody.
        max_seconds, max_mb: longer clips and larger uploads are refused.
        max_total_mb: of all uploads and results together.
        opens_browser: whether to open the page on this computer.
    """

    model: Path
    model_name: str
    runtime: str
    auth: Path | None
    max_seconds: float
    max_mb: float
    max_total_mb: float
    opens_browser: bool

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "max_seconds", "max_mb", "max_total_mb")


def serve(request: PageRequest, *, reporter: Reporter = SILENT) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        ConfigError: if Gradio is not installed, or the address cannot be used.
        RunError: if the model cannot be loaded.
    """
    users = read_users(request.auth) if request.auth else None
    with own_folder("web") as folder:
        # Gradio reads this when it is imported: uploads go to a folder that is deleted with this program.
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        os.environ["FORWARDED_ALLOW_IPS"] = "none"  # the guard decides whom to believe, not the server
        with _launched(request, folder, users) as address:
            if not request.is_local:
                reporter.warn(_warn_of_network(request))
            reporter.say(f"Open {address} in a browser. Ctrl-C ends it.")
            try:
                ended = threading.Event()
                while not ended.wait(1.0):  # without a limit Ctrl-C would not end it on Windows
                    pass
            except KeyboardInterrupt:
                reporter.say("\nClosed; all uploads are deleted.")


def read_users(path: Path) -> list[tuple[str, str]]:
    """Reads who may log in: a line ``USER:PASSWORD`` for each; empty ones are left out.

    Raises:
        ConfigError: if the file holds anything else, or nothing.
        FileError: if it cannot be read.
    """
    with named_errors(path):
        text = path.read_text(encoding="utf-8", errors="replace")
    users = []
    for number, line in enumerate(text.splitlines(), start=1):
        user, _, password = line.strip().partition(":")
        if line.strip() and not (user and password):
            raise ConfigError(f"--auth {path}: line {number} is not USER:PASSWORD.")
        if line.strip():
            users.append((user, password))
    if not users:
        raise ConfigError(f"--auth {path}: names nobody. Write a line USER:PASSWORD for each who may log in.")
    return users


def _warn_of_network(request: PageRequest) -> str:
    who = "who can log in" if request.auth else "on the network, without a password (see --auth),"
    return (
        f"warning: everybody {who} can use the page and upload to it, and others on the network can read along, as the "
        "page has no TLS. Put a server with TLS in front: see docs/web_demo.md."
    )


@contextlib.contextmanager
def _launched(request: PageRequest, folder: Path, users: list[tuple[str, str]] | None) -> Iterator[str]:
    """Launches the page, and lends its address."""
    request.free_port()  # before seconds go into building a page that nobody could reach
    try:
        with quiet_import():
            import gradio as gr
            import httpx
    except ImportError as error:
        raise ConfigError(f"The page needs Gradio ({error}): pip install -r requirements-web.txt") from error
    from emotion.inference.web.analysis import Analyst, find_models
    from emotion.inference.web.guard import middleware_for
    from emotion.inference.web.page import MEGABYTE, STYLE, Page

    models = find_models(request.model, request.model_name)
    analyst = Analyst(models, max_seconds=request.max_seconds, runtime=request.runtime)
    max_bytes = round(request.max_mb * MEGABYTE)
    max_total = request.max_total_mb * MEGABYTE
    max_share = max_total * (1.0 if request.is_local else SHARE)
    demo = Page(analyst, folder, max_bytes=max_bytes, max_total_bytes=max_total)
    demo.keep_swept()
    page = demo.build()
    # Gradio asks its own page whether it is up; a network's proxy cannot answer that.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost", LOCAL_HOST, request.host]))
    guards = middleware_for(
        [request.host, *request.allowed_hosts], request.trusted_proxies, has_room=demo.has_room,
        count_places=functools.partial(demo.count_places, page), max_share=max_share,
    )  # fmt: skip
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, address, _ = page.launch(
            server_name=request.host, server_port=request.free_port(), max_file_size=max_bytes,
            prevent_thread_lock=True, quiet=True, share=False, theme=theme, css=STYLE, footer_links=[],
            inbrowser=request.opens_browser, ssr_mode=False, run_history=False,
            app_kwargs={"middleware": guards, "docs_url": None, "redoc_url": None, "openapi_url": None}, auth=users,
            enable_monitoring=False,
        )  # fmt: skip
    except (OSError, ValueError, httpx.HTTPError) as error:  # the last two: Gradio cannot reach its own page
        raise request.cannot_listen() from error
    try:
        yield address
    finally:
        demo.close()
        page.close(verbose=False)
