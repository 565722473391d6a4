"""Finds every face in a clip, tells its emotion and that of the voice, and writes the clip with labelled boxes."""

import argparse
import sys
from pathlib import Path

from emotion.config import DEFAULT_RUN
from emotion.console import ProgressBar, quiet_import, run_program


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Exit codes: 0 done; 1 the clip cannot be used; 2 wrong settings or model."
    )
    add = parser.add_argument
    add("clip", nargs="?", type=Path, help="video, sound file or image (the same as --video_path)")
    add("--video_path", type=Path, metavar="CLIP", help="video, sound file or image")
    add(
        "--model", type=Path, default=DEFAULT_RUN, metavar="FOLDER", help="model folder (default: saved_models/default)"
    )
    add("--output", type=Path, metavar="FILE.mp4", help="annotated video to write (default: CLIP_emotion.mp4 in the "
        "current folder)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write everything found, as JSON")
    add("--save_plot", type=Path, metavar="FILE", help="also draw the probabilities over time, for every face and the "
        "voice (.png, .svg or .pdf)")  # fmt: skip
    add("--no_progress", action="store_true", help="no progress bars")
    return parser


def check_beside(path: Path, others: dict[str, Path | None]) -> None:
    """Refuses a file that cannot be written, or would replace the clip or another result, before any work is done."""
    from emotion.errors import ConfigError

    if path.is_dir():
        raise ConfigError(f"{path}: is a folder. Give the name of the file to write.")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist. Create it, or name a file in another.")
    for what, other in others.items():
        if other and (path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))):
            raise ConfigError(f"{path}: is {what}. Give another name.")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.clip and args.video_path:
        parser.error("name the clip once: either --video_path CLIP or CLIP alone")
    clip = args.video_path or args.clip
    if clip is None:
        parser.error("name a clip: --video_path clip.mp4")
    # Everything cheap that can be wrong is looked at before TensorFlow takes seconds to load.
    from emotion.errors import ConfigError
    from emotion.media.reading import probe_media
    from emotion.media.writing import check_output
    from emotion.outputs.figures import check_plot
    from emotion.runs import check_run

    info = probe_media(clip)
    check_run(args.model)
    if args.output and not info.has_video:
        raise ConfigError(f"{clip}: has no picture, so no video can be written of it. Leave out --output.")
    output = (args.output or Path(f"{clip.stem}_emotion.mp4")) if info.has_video else None
    if output:
        check_output(output, clip)
    others = {"the clip itself": clip, "the annotated video": output}
    if args.json:
        check_beside(args.json, others)
    if args.save_plot:
        check_beside(args.save_plot, {**others, "the table": args.json})
        check_plot(args.save_plot)

    from emotion.outputs.report import format_report
    from emotion.outputs.tables import write_json
    from emotion.outputs.video import write_annotated_video

    with quiet_import():
        from emotion.predictor import EmotionPredictor

        predictor = EmotionPredictor(args.model)
    shown = not args.no_progress
    prediction = predictor.predict(clip, progress=ProgressBar("Watching", "s", shown=shown))
    written = {}
    if args.json:
        write_json(prediction, args.json, settings={"model": str(args.model), "model_sha256": predictor.run.sha256})
        written["table"] = args.json
    if args.save_plot:
        from emotion.outputs.timeline_plots import write_timeline

        written["plot"] = write_timeline(prediction, args.save_plot)
    if output:
        write_annotated_video(prediction, output, progress=ProgressBar("Drawing", "s", shown=shown))
        written["annotated video"] = output
    print(format_report(prediction))
    for what, path in written.items():
        print(f"{what}: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
