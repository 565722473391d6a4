"""Finds every face in a clip, tells its emotion and that of the voice, and writes the clip with labelled boxes."""

import argparse
import time
from pathlib import Path

from emotion.console import SOME_FILES_FAILED, add_version, called_as, quiet_import, run_program
from emotion.models.names import resolve_model
from emotion.models.onnx_runtime import DEVICES, RUNTIMES
from emotion.places import default_run
from emotion.settings import FACE_DETECTORS, InferenceSettings

EPILOG = """Exit codes: 0 done; 1 the clip cannot be used; 2 wrong settings or model; 3 some files of several failed;
130 stopped by Ctrl-C, 143 by a request to end."""
DEFAULT_PORT = 8765


def build_parser() -> argparse.ArgumentParser:
    prog = called_as("run_inference.py", "emotion-infer")
    usage = f"{prog} --video_path CLIP [CLIP ...] [options]; all of them: {prog} --help"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=EPILOG, usage=usage)
    media = "video, sound file or image; several of them, a folder or a pattern; or a camera's number"
    parser.add_argument("media", nargs="*", metavar="CLIP", help=f"{media} (the same as --video_path)")
    parser.add_argument("--video_path", "--media_path", nargs="+", metavar="CLIP", help=media)
    add_version(parser)
    add = parser.add_argument_group("model").add_argument
    add("--model", default=default_run(), metavar="FOLDER", help="or hf://USER/NAME, from the "
        "Hugging Face hub (default: saved_models/default)")  # fmt: skip
    add("--device", choices=DEVICES, default="auto", help="what the model runs on (default: %(default)s)")
    add("--runtime", choices=RUNTIMES, default="auto", help="auto: ONNX Runtime where the model folder holds a "
        "model.onnx, unless a GPU is asked for, else Keras; int8: faster, not quite alike, see emotion.export "
        "(default: %(default)s)")  # fmt: skip
    add("--window_sec", type=float, metavar="S", help="stretch of time each answer is about (default: the model's)")
    add("--step_sec", type=float, metavar="S", help="from one to the next (default: the model's, 0.5)")
    add("--unsure_below", type=float, metavar="P", help="confidence, 0 to 1, under which the answer is \"unsure\" "
        "(default: the model's)")  # fmt: skip
    add = parser.add_argument_group("faces").add_argument
    add("--face_detector", choices=FACE_DETECTORS, default="yunet", help="retinaface is fetched once by python -m "
        "emotion.weights retinaface; none takes the square in the middle for one face (default: yunet)")  # fmt: skip
    add("--max_faces", type=int, default=InferenceSettings.max_faces, metavar="N",
        help="judge the N faces most in sight (default: %(default)s)")  # fmt: skip
    add("--min_face", type=int, default=InferenceSettings.min_face, metavar="PIXELS",
        help="pass over smaller faces (default: %(default)s)")  # fmt: skip
    add = parser.add_argument_group("output").add_argument
    add("--output", type=Path, metavar="FILE", help="annotated video (.mp4), or image of an image; other files go "
        "beside it, under its name (default: CLIP_emotion.mp4 in the current folder)")  # fmt: skip
    add("--no_video", action="store_true", help="write no annotated video")
    add("--save_plot", type=Path, metavar="FILE", help="plot of the probabilities over time (.png, .svg or .pdf; "
        "default: CLIP_emotion_plot.png)")  # fmt: skip
    add("--no_plot", action="store_true", help="draw no plot")
    for kind, what in (("json", "everything found, as JSON"), ("csv", "a line for each window"), ("srt", "subtitles")):
        add(f"--{kind}", nargs="?", const="", metavar="FILE", help=f"also write {what} (- prints it; default name: "
            f"CLIP_emotion.{kind})")  # fmt: skip
    add("--output_dir", type=Path, metavar="FOLDER", help="where default names go; for several files: emotion_results")
    add("--overwrite", action="store_true", help="replace files that are there already")
    add("--resume", action="store_true", help="several files: skip those done before")
    add("--notice", action="store_true", help="state on the video that an emotion recognition system is at work (EU "
        "AI Act, Article 50)")  # fmt: skip
    add("--blur_faces", action="store_true", help="make all faces unrecognisable")
    add = parser.add_argument_group("camera").add_argument
    add("--max_seconds", type=float, metavar="S", help="stop by itself (default: at Ctrl-C)")
    add("--port", type=int, default=DEFAULT_PORT, help="of the page in the browser (default: %(default)s)")
    add = parser.add_argument_group("console").add_argument
    add("--quiet", action="store_true", help="print nothing but errors")
    add("--no_progress", action="store_true", help="no progress bars")
    add("--timings", action="store_true", help="say where the time went")
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.media and args.video_path:
        parser.error("name the clip once: either --video_path CLIP or CLIP alone")
    args.media = args.media or args.video_path
    if not args.media:
        tables = [f"--{kind} {value}" for kind in ("json", "csv", "srt") if (value := getattr(args, kind))]
        hint = f" ({tables[0]} names a table, no clip: put the clip before it)" if tables else ""
        parser.error(f"name a clip: --video_path clip.mp4{hint}")
    # Everything cheap that can be wrong is looked at before TensorFlow takes seconds to load.
    from emotion.inference.request import choose_settings, plan_job
    from emotion.models.run_folder import check_run

    settings = choose_settings(args)
    args.model = resolve_model(args.model)
    job = plan_job(args, settings, check_run(args.model))
    started = time.perf_counter()
    with quiet_import():
        from emotion.inference.predictor import EmotionPredictor
        from emotion.models.onnx_runtime import choose_runtime
    predictor = EmotionPredictor(args.model, settings, runtime=choose_runtime(args.runtime, args.device))
    _ = predictor.detector  # now, and not when the first clip is shown
    return SOME_FILES_FAILED if job.run(predictor, loading_seconds=time.perf_counter() - started) else 0


def run() -> int:
    """Runs the program, and returns its exit code."""
    return run_program(main)
