"""Serves clips and streams over HTTP: send a file, get the same JSON, tables or video that run_inference.py writes.

python -m emotion.serve
"""

import argparse
import sys
from pathlib import Path

from emotion.console import Reporter, add_version, called_as, run_program
from emotion.inference.service.server import ServiceRequest, serve_clips
from emotion.inference.web.listening import LOCAL_HOST
from emotion.models.names import name_of, resolve_model
from emotion.models.onnx_runtime import RUNTIMES
from emotion.models.run_folder import check_run
from emotion.places import default_run

PORT = 8000


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called_as("python -m emotion.serve", "emotion-serve"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    add = parser.add_argument_group("model").add_argument
    add("--model", default=default_run(), metavar="FOLDER", help="the model that is used where a request names none; "
        "those in saved_models/ can be named, too (default: saved_models/default)")  # fmt: skip
    add("--runtime", choices=RUNTIMES, default="auto", help="as for run_inference.py (default: %(default)s)")
    add("--workers", type=int, default=1, metavar="N", help="judge N clips at a time, each in a process with a model "
        "of its own (default: %(default)s, in this process)")  # fmt: skip
    add = parser.add_argument_group("address").add_argument
    add("--host", default=LOCAL_HOST, metavar="ADDRESS", help="where to listen; 0.0.0.0 lets in everybody on the "
        "network (default: %(default)s, this computer only)")  # fmt: skip
    add("--port", type=int, default=PORT, help="0 takes any free port (default: %(default)s)")
    add("--allowed_hosts", nargs="+", default=[], metavar="NAME", help="host names to accept besides this computer's "
        "own and numeric addresses, such as the name of a server in front")  # fmt: skip
    add("--trusted_proxies", nargs="+", default=[], metavar="ADDRESS", help="addresses or networks of servers in "
        "front, whose X-Forwarded-For, -Host and -Proto are believed; from others they are dropped")  # fmt: skip
    add("--api_key_file", type=Path, metavar="FILE", help="ask for a key: a file with one on each line; without it, "
        "the environment variable EMOTION_API_KEY, if set")  # fmt: skip
    add("--log_requests", action="store_true", help="print a line for each request")
    add = parser.add_argument_group("limits").add_argument
    add("--max_seconds", type=float, default=600.0, metavar="S", help="refuse longer clips, or parts of clips "
        "(default: %(default)g)")  # fmt: skip
    add("--max_mb", type=float, default=200.0, metavar="MB", help="refuse larger uploads (default: %(default)g)")
    add("--max_total_mb", type=float, default=4000.0, metavar="MB",
        help="refuse uploads while all clips and answers together are larger (default: %(default)g)")  # fmt: skip
    add("--max_work_seconds", type=float, default=600.0, metavar="S",
        help="stop judging a clip after S seconds (default: %(default)g)")  # fmt: skip
    add("--max_upload_seconds", type=float, default=300.0, metavar="S",
        help="stop receiving a clip after S seconds (default: %(default)g)")  # fmt: skip
    add("--max_waiting", type=int, default=32, metavar="N",
        help="refuse clips while N wait (default: %(default)s)")  # fmt: skip
    add("--max_per_address", type=int, default=8, metavar="N",
        help="refuse clips of an address of which N are on their way (default: %(default)s)")  # fmt: skip
    add("--max_streams", type=int, default=2, metavar="N", help="streams that may be open (default: %(default)s)")
    add("--max_stream_seconds", type=float, default=3600.0, metavar="S",
        help="end a stream after S seconds (default: %(default)g)")  # fmt: skip
    add("--keep_minutes", type=float, default=60.0, metavar="M",
        help="delete the answer to a job after M minutes (default: %(default)g)")  # fmt: skip
    add("--grace_seconds", type=float, default=30.0, metavar="S",
        help="after SIGTERM, let work go on for S seconds (default: %(default)g)")  # fmt: skip
    return parser


def main() -> int:
    args = build_parser().parse_args()
    request = ServiceRequest(
        model=resolve_model(args.model), model_name=name_of(args.model), runtime=args.runtime, n_workers=args.workers,
        host=args.host, port=args.port, allowed_hosts=tuple(args.allowed_hosts),
        trusted_proxies=tuple(args.trusted_proxies), api_key_file=args.api_key_file, logs_requests=args.log_requests,
        max_seconds=args.max_seconds, max_mb=args.max_mb, max_total_mb=args.max_total_mb,
        max_work_seconds=args.max_work_seconds, max_upload_seconds=args.max_upload_seconds,
        max_waiting=args.max_waiting, max_per_address=args.max_per_address, max_streams=args.max_streams,
        max_stream_seconds=args.max_stream_seconds, keep_minutes=args.keep_minutes, grace_seconds=args.grace_seconds,
    )  # fmt: skip
    check_run(request.model)
    serve_clips(request, reporter=Reporter())
    return 0


def run() -> int:
    """Runs the program, and returns its exit code."""
    return run_program(main)


if __name__ == "__main__":
    sys.exit(run())
