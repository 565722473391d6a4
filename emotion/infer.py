"""Finds every face in a clip, recognises the emotion of each face and of the voice, and labels the video with them."""

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.console import (
    SOME_FILES_FAILED,
    Reporter,
    add_progress_option,
    add_version,
    called_as,
    run_program,
)
from emotion.models.names import resolve_model
from emotion.models.onnx_runtime import DEVICES, RUNTIMES
from emotion.outputs.formats import TABLES
from emotion.places import default_run
from emotion.settings import FACE_DETECTORS, InferenceSettings

if TYPE_CHECKING:
    from emotion.inference.request import InferenceRequest

EPILOG = """Exit codes: 0 done; 1 the clip cannot be used; 2 wrong options or model; 3 some of several clips failed;
129 the terminal was closed; 130 stopped with Ctrl-C; 143 terminated (SIGTERM)."""
DEFAULT_PORT = 8765
DEFAULT_WHISPER = "base"


def build_parser() -> argparse.ArgumentParser:
    prog = called_as("run_inference.py", "emotion-infer")
    usage = f"{prog} --video_path CLIP [CLIP ...] [options]; for all options: {prog} --help"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=EPILOG, usage=usage)
    add_version(parser)
    _add_input_options(parser)
    add = parser.add_argument_group("model").add_argument
    add("--model", "--model_path", dest="model", default=default_run(), metavar="FOLDER", help="model folder, or "
        "hf://USER/NAME on the Hugging Face hub (default: saved_models/default)")  # fmt: skip
    add("--window_sec", type=float, metavar="S", help="window length in seconds (default: the model's)")
    add("--step_sec", type=float, metavar="S", help="seconds from one window to the next (default: the model's, 0.5)")
    add("--unsure_below", type=float, metavar="P", help="answer \"unsure\" below this confidence, 0 to 1 (default: the "
        "model's)")  # fmt: skip
    add = parser.add_argument_group("output").add_argument
    add("--output", type=Path, metavar="FILE", help="annotated video (.mp4), or image for an image; the other files go "
        "beside it, under its name (default: CLIP_emotion.mp4 in the current folder)")  # fmt: skip
    add("--no_video", action="store_true", help="write no annotated video")
    add("--save_plot", type=Path, metavar="FILE", help="plot of the probabilities over time (.png, .svg or .pdf; "
        "default: CLIP_emotion_plot.png)")  # fmt: skip
    add("--no_plot", action="store_true", help="write no plot")
    for kind, table in TABLES.items():
        printed = "it" if table.what.startswith("a ") else "them"
        add(f"--{kind}", nargs="?", const="", metavar="FILE", help=f"also write {table.what} (- prints {printed}; "
            f"default name: CLIP_emotion{table.suffix})")  # fmt: skip
    add("--overwrite", action="store_true", help="replace existing files")
    add("--notice", action="store_true", help="state on the video that an emotion recognition system is at work (EU "
        "AI Act, Article 50)")  # fmt: skip
    add = parser.add_argument_group("faces").add_argument
    add("--face_detector", choices=FACE_DETECTORS, default="yunet", help="retinaface: needs TensorFlow, and python -m "
        "emotion.weights retinaface once; haar: tilted heads stay tilted; none: treat the centre square as a cropped "
        "face (default: yunet)")  # fmt: skip
    add("--max_faces", type=int, default=InferenceSettings.max_faces, metavar="N",
        help="judge the N most visible faces (default: %(default)s)")  # fmt: skip
    add("--min_face", type=int, default=InferenceSettings.min_face, metavar="PIXELS",
        help="ignore smaller faces (default: %(default)s)")  # fmt: skip
    add("--blur_faces", action="store_true", help="blur every face that is found; takes several times as long, "
        "because every frame is searched at full size")  # fmt: skip
    add = parser.add_argument_group("people compared with themselves").add_argument
    add("--reference", action="append", default=[], metavar="[NAME=]CLIP", help="a clip of the person when calm: some "
        "seconds of talk, or of the face alone. Answers are then relative to it. Give it several times for more clips "
        "of one person, or as NAME=CLIP for several people, who are recognised by their faces")  # fmt: skip
    add("--adapt", action="store_true", help="for several clips: compare the face most in sight with its mean over "
        "all clips of the same folder. Each folder must hold one person, with various emotions")  # fmt: skip
    add("--no_adapt", action="store_true", help="do not compare people with their own mean in a long clip")
    add = parser.add_argument_group("words").add_argument
    add("--transcribe", nargs="?", const=DEFAULT_WHISPER, metavar="SIZE", help="write down what is said, by Whisper: "
        "its size, such as tiny, small or turbo, or a folder with one (default size: base)")  # fmt: skip
    add("--language", metavar="CODE", help="which language --transcribe hears, such as en (default: found out)")
    add = parser.add_argument_group("speed").add_argument
    add("--device", type=device_name, choices=DEVICES, default="auto", help="where the model runs; cuda means gpu "
        "(default: %(default)s)")  # fmt: skip
    add("--runtime", choices=RUNTIMES, default="auto", help="auto: ONNX Runtime if the model folder holds model.onnx "
        "and no GPU is asked for, else Keras; int8: faster, with slightly different answers, see emotion.export "
        "(default: %(default)s)")  # fmt: skip
    add("--timings", action="store_true", help="print how long each step took")
    add = parser.add_argument_group("several clips").add_argument
    add("--output_dir", metavar="FOLDER", help="folder for all files that you do not name, also at an address, such as "
        "gs://bucket/results (default for several clips: emotion_results)")  # fmt: skip
    add("--resume", action="store_true", help="skip clips that are finished")
    add("--workers", type=int, default=1, metavar="N", help="label N clips at a time, each in a process with a model "
        "of its own (default: %(default)s)")  # fmt: skip
    add("--cluster", metavar="WHERE", help="label clips by Dask: local:N for N processes of this computer, or the "
        "address of a scheduler, such as tcp://10.0.0.1:8786, whose workers see the same paths")  # fmt: skip
    add("--shard", metavar="K/N", help="label part K of N of the clips; run the other parts elsewhere, at any time, "
        "into the same folder or another. Each part has a summary of its own")  # fmt: skip
    add = parser.add_argument_group("camera").add_argument
    add("--max_seconds", type=float, metavar="S", help="stop after S seconds (default: at Ctrl-C)")
    add("--port", type=int, default=DEFAULT_PORT, help="port of the page in the browser (default: %(default)s)")
    group = parser.add_argument_group("messages")
    group.add_argument("--quiet", action="store_true", help="print only errors")
    add_progress_option(group)
    return parser


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("input").add_argument
    media = (
        "video, sound file or image; several of them, a folder or a pattern; an address of these, such as "
        "s3://bucket/clips/; or a camera number"
    )
    add("media", nargs="*", metavar="CLIP", help=f"{media} (same as --video_path)")
    add("--video_path", "--media_path", nargs="+", metavar="CLIP", help=media)
    add("--video_track", type=int, metavar="N", help="which video track to judge, counted from 1 (default: the "
        "file's default track, unless it is a thumbnail)")  # fmt: skip
    add("--audio_track", type=int, metavar="N", help="which sound track to judge, counted from 1 (default: the "
        "file's default track, unless it is silent)")  # fmt: skip
    add("--start", type=read_time, metavar="T", help="judge from here on: seconds, or 1:30 (default: the beginning)")
    add("--end", type=read_time, metavar="T", help="judge up to here (default: the end)")
    add("--split_channels", action="store_true", help="judge each sound channel as a clip of its own, such as the "
        "two ends of a call")  # fmt: skip


def read_time(text: str) -> float:
    """Returns the seconds of a time such as ``90``, ``1:30`` or ``1:02:30.5``."""
    parts = text.split(":")
    if not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", part) for part in parts) or len(parts) > 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no time. Give seconds, such as 90, or 1:30.")
    return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))


def device_name(text: str) -> str:
    """Returns the device that ``--device`` names; PyTorch's users call a GPU cuda."""
    return "gpu" if text == "cuda" else text


def main() -> int:
    parser = build_parser()
    args, others = parser.parse_known_args()
    if any(word.startswith("-") for word in others):
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    args.media += others  # clips behind an option
    if args.media and args.video_path:
        parser.error("name the clip once: either --video_path CLIP or CLIP alone")
    args.media = args.media or args.video_path
    if not args.media:
        from emotion.inference.addresses import Address, is_address

        taken = [
            f"--{name} {Address(value) if is_address(value) else value} names {what}, not a clip"
            for name, what in {**dict.fromkeys(TABLES, "a table"), "transcribe": "a size"}.items()
            if (value := getattr(args, name)) and (name, value) != ("transcribe", DEFAULT_WHISPER)
        ]
        hint = f" ({taken[0]}: put the clip before it)" if taken else ""
        parser.error(f"name a clip: --video_path clip.mp4{hint}")
    # Everything cheap that can be wrong is checked before TensorFlow takes seconds to load.
    from emotion.inference.jobs import plan_job
    from emotion.inference.workers import make_predictor
    from emotion.models.run_folder import check_run

    request = _build_request(args)
    job = plan_job(request, check_run(request.model))
    started = time.perf_counter()
    predictor = make_predictor(request)
    return SOME_FILES_FAILED if job.run(predictor, loading_seconds=time.perf_counter() - started) else 0


def _build_request(args: argparse.Namespace) -> "InferenceRequest":
    from emotion.inference.addresses import Address, is_address
    from emotion.inference.output_plan import OutputRequest
    from emotion.inference.request import InferenceRequest, read_shard

    folder, results = None if args.output_dir is None else Path(args.output_dir), None
    if args.output_dir and is_address(args.output_dir):
        folder, results = None, Address(args.output_dir)
    return InferenceRequest(
        media=tuple(args.media),
        settings=InferenceSettings(
            window_seconds=args.window_sec, step_seconds=args.step_sec, face_detector=args.face_detector,
            max_faces=args.max_faces, min_face=args.min_face, unsure_below=args.unsure_below,
            adapts=not args.no_adapt, video_track=args.video_track, audio_track=args.audio_track,
            start_seconds=args.start, end_seconds=args.end, transcribe=args.transcribe, language=args.language,
        ),
        outputs=OutputRequest(
            output=args.output, video=not args.no_video, save_plot=args.save_plot, plot=not args.no_plot,
            tables={kind: value for kind in TABLES if (value := getattr(args, kind)) is not None},
            folder=folder, overwrite=args.overwrite,
        ),
        results=results,
        references=tuple(args.reference), adapts_to_folders=args.adapt, split_channels=args.split_channels,
        n_workers=args.workers, cluster=args.cluster, shard=read_shard(args.shard) if args.shard else None,
        model=resolve_model(args.model), runtime=args.runtime, device=args.device, resume=args.resume,
        notice=args.notice, blur_faces=args.blur_faces,
        max_seconds=args.max_seconds, port=args.port, timings=args.timings,
        reporter=Reporter(shows_text=not args.quiet, shows_bars=not (args.quiet or args.no_progress)),
    )  # fmt: skip


def run() -> int:
    """Runs the program, and returns its exit code."""
    return run_program(main)
