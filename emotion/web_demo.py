"""Serves a page in the browser: upload or record a clip, then see its labels, its timeline and its evidence.

python -m emotion.web_demo
"""

import argparse
import sys
from pathlib import Path

from emotion.console import Reporter, add_version, called_as, run_program
from emotion.inference.web.listening import LOCAL_HOST
from emotion.inference.web.server import PageRequest, serve
from emotion.models.names import name_of, resolve_model
from emotion.models.onnx_runtime import RUNTIMES
from emotion.models.run_folder import check_run
from emotion.places import default_run

PORT = 7860
MAX_SECONDS, MAX_MEGABYTES, MAX_TOTAL_MEGABYTES = 120.0, 200.0, 4000.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called_as("python -m emotion.web_demo", "emotion-demo"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    add = parser.add_argument_group("model").add_argument
    add("--model", default=default_run(), metavar="FOLDER", help="the model that stands first in the page's list, "
        "before those in saved_models/ (default: saved_models/default)")  # fmt: skip
    add("--runtime", choices=RUNTIMES, default="auto", help="as for run_inference.py (default: %(default)s)")
    add = parser.add_argument_group("address").add_argument
    add("--host", default=LOCAL_HOST, metavar="ADDRESS", help="where to listen; 0.0.0.0 lets in everybody on the "
        "network (default: %(default)s, this computer only)")  # fmt: skip
    add("--port", type=int, default=PORT, help="0 takes any free port (default: %(default)s)")
    add("--allowed_hosts", nargs="+", default=[], metavar="NAME", help="host names to accept besides this computer's "
        "own and numeric addresses, such as the name of a server in front of the page")  # fmt: skip
    add("--trusted_proxies", nargs="+", default=[], metavar="ADDRESS", help="addresses or networks of servers in front "
        "of the page, whose X-Forwarded-For, -Host and -Proto are believed; from others they are dropped")  # fmt: skip
    add("--auth", type=Path, metavar="FILE", help="ask for a name and a password: a file with a line USER:PASSWORD for "
        "each who may log in")  # fmt: skip
    add("--open", action="store_true", help="open the page in this computer's browser")
    add = parser.add_argument_group("limits").add_argument
    add("--max_seconds", type=float, default=MAX_SECONDS, metavar="S",
        help="refuse longer clips (default: %(default)g)")  # fmt: skip
    add("--max_mb", type=float, default=MAX_MEGABYTES, metavar="MB",
        help="refuse larger uploads (default: %(default)g)")  # fmt: skip
    add("--max_total_mb", type=float, default=MAX_TOTAL_MEGABYTES, metavar="MB",
        help="refuse uploads while all clips and results together are larger (default: %(default)g)")  # fmt: skip
    return parser


def main() -> int:
    args = build_parser().parse_args()
    request = PageRequest(
        model=resolve_model(args.model), model_name=name_of(args.model), runtime=args.runtime, host=args.host,
        port=args.port, allowed_hosts=tuple(args.allowed_hosts), trusted_proxies=tuple(args.trusted_proxies),
        auth=args.auth, max_seconds=args.max_seconds, max_mb=args.max_mb, max_total_mb=args.max_total_mb,
        opens_browser=args.open,
    )  # fmt: skip
    check_run(request.model)
    serve(request, reporter=Reporter())
    return 0


def run() -> int:
    """Runs the program, and returns its exit code."""
    return run_program(main)


if __name__ == "__main__":
    sys.exit(run())
