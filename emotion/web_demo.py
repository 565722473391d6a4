"""Serves a page in the browser: upload a clip or record one, see it with its labels, its timeline and its evidence.

python -m emotion.web_demo
"""

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path

from emotion.console import Reporter, add_version, called_as, quiet_import, run_program
from emotion.errors import ConfigError
from emotion.models.names import name_of, resolve_model
from emotion.models.onnx_runtime import RUNTIMES
from emotion.models.run_folder import check_run
from emotion.places import default_run

HOST, PORT = "127.0.0.1", 7860
MAX_PORT = 65535
MAX_SECONDS, MAX_MEGABYTES = 120.0, 200.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called_as("python -m emotion.web_demo", "emotion-demo"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default=default_run(), metavar="FOLDER", help="which stands first in the list of "
        "models; those in saved_models/ follow (default: saved_models/default)")  # fmt: skip
    add("--runtime", choices=RUNTIMES, default="auto", help="as for run_inference.py (default: %(default)s)")
    add("--host", default=HOST, metavar="ADDRESS", help="where to listen; 0.0.0.0 lets in everybody on the network "
        "(default: %(default)s, this computer alone)")  # fmt: skip
    add("--port", type=int, default=PORT, help="default: %(default)s; 0 takes any that is free")
    add("--allowed_hosts", nargs="+", default=[], metavar="NAME", help="by which a server in front of it passes on "
        "what it is asked, besides localhost and the address")  # fmt: skip
    add("--max_seconds", type=float, default=MAX_SECONDS, metavar="S",
        help="longer clips are refused (default: %(default)g)")  # fmt: skip
    add("--max_mb", type=float, default=MAX_MEGABYTES, metavar="MB",
        help="larger uploads are refused (default: %(default)g)")  # fmt: skip
    add_version(parser)
    add("--open", action="store_true", help="open the page in this computer's browser")
    return parser


def main() -> int:
    args = build_parser().parse_args()
    for name in ("max_seconds", "max_mb"):
        if not 0 < getattr(args, name) < float("inf"):
            raise ConfigError(f"--{name} must be above 0, got {getattr(args, name):g}.")
    if not 0 <= args.port <= MAX_PORT:
        raise ConfigError(f"--port must lie in 0 to {MAX_PORT}, got {args.port}.")
    if ":" in args.host:
        raise ConfigError(f"--host {args.host}: an address of version 6, at which the page cannot listen.")
    args.name, args.model = name_of(args.model), resolve_model(args.model)
    check_run(args.model)
    with tempfile.TemporaryDirectory(prefix="emotion-web-") as folder:
        # Gradio reads it when it is imported: uploads go to a folder that is gone when this program is.
        os.environ["GRADIO_TEMP_DIR"] = folder
        return _serve(args, Path(folder))


def _serve(args: argparse.Namespace, folder: Path) -> int:
    try:
        with quiet_import():
            import gradio as gr
            import httpx
    except ImportError as error:
        raise ConfigError(f"The page needs Gradio ({error}): pip install -r requirements-web.txt") from error
    from emotion.inference.web.analysis import Analyst, find_models
    from emotion.inference.web.page import MEGABYTE, STYLE, Page

    analyst = Analyst(find_models(args.model, args.name), max_seconds=args.max_seconds, runtime=args.runtime)
    max_bytes = round(args.max_mb * MEGABYTE)
    demo = Page(analyst, folder, max_bytes=max_bytes)
    demo.keep_swept()
    page = demo.build()
    # Gradio asks its own page whether it is there, which no proxy of the network's knows.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost", HOST, args.host]))
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, address, _ = page.launch(
            server_name=args.host, server_port=args.port or _free_port(args.host), max_file_size=max_bytes,
            prevent_thread_lock=True, quiet=True, share=False, theme=theme, css=STYLE, footer_links=[],
            inbrowser=args.open, ssr_mode=False, run_history=False, app_kwargs={"middleware": _guards(args)},
        )  # fmt: skip
    except (OSError, ValueError, httpx.HTTPError) as error:  # the last two where Gradio cannot reach its own page
        raise ConfigError(
            f"--host {args.host} --port {args.port}: cannot be listened at. Is the address this computer's, and "
            "the port free? Choose another port, or 0 for any."
        ) from error
    if not _is_own(args.host):
        Reporter().say("Everybody who reaches this computer can use the page, and upload to it.")
    Reporter().say(f"Open {address} in a browser. Ctrl-C ends it.")
    try:
        ended = threading.Event()
        while not ended.wait(1.0):  # without a limit Ctrl-C would not end it on Windows
            pass
    except KeyboardInterrupt:
        Reporter().say("\nClosed; what was uploaded is deleted.")
    finally:
        demo.close()
        page.close(verbose=False)
    return 0


def _is_own(host: str) -> bool:
    """Whether an address to listen at is reached from this computer alone."""
    return host == "localhost" or host.startswith("127.")


def _guards(args: argparse.Namespace) -> list:
    """What looks at each request first: by another name than its own, it is a website's that was led here."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    if not _is_own(args.host):
        return []  # by what names others reach this computer is not known
    names = ["localhost", HOST, args.host, *args.allowed_hosts]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)]


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def run() -> int:
    """Runs the program, and returns its exit code."""
    return run_program(main)


if __name__ == "__main__":
    sys.exit(run())
