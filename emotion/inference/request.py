"""What the arguments of ``run_inference.py`` ask for, checked before a model is loaded."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.inference.batch import check_folder
from emotion.inference.clip_search import find_sources
from emotion.inference.jobs import BatchJob, CameraJob, Console, FileJob
from emotion.inference.output_plan import DEFAULT_NAME, OutputRequest
from emotion.inference.processing import make_folder, prepare
from emotion.inputs.faces.detectors import check_detector
from emotion.settings import InferenceSettings

if TYPE_CHECKING:
    from emotion.inference.predictor import EmotionPredictor

DEFAULT_FOLDER = Path("emotion_results")  # of several files' results
MAX_CAMERA_DIGITS = 3
LIVE_WINDOW_SECONDS, LIVE_STEP_SECONDS = 1.0, 0.25  # of a camera


class Job(Protocol):
    """Something to be done with a model, all of whose settings have been checked."""

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        """Does it and returns how many files failed."""


def choose_settings(args: argparse.Namespace) -> InferenceSettings:
    """Makes the settings that the arguments ask for; a camera gets short windows, since it can only look back.

    Raises:
        ConfigError: if one of them is impossible.
    """
    settings = InferenceSettings(
        window_seconds=args.window_sec, step_seconds=args.step_sec, face_detector=args.face_detector,
        max_faces=args.max_faces, min_face=args.min_face, unsure_below=args.unsure_below,
    )  # fmt: skip
    if _camera_number(args.media) is None:
        return settings
    return dataclasses.replace(
        settings,
        window_seconds=settings.window_seconds or LIVE_WINDOW_SECONDS,
        step_seconds=settings.step_seconds or LIVE_STEP_SECONDS,
    )


def plan_job(args: argparse.Namespace, settings: InferenceSettings, config: RunConfig) -> Job:
    """Works out what the arguments of ``run_inference.py`` ask for, and whether it can be done, without a model.

    Args:
        args: as its parser gives them; ``media`` is a list.
        settings: made of them.
        config: of the model.

    Raises:
        MediaError: if the clip cannot be read.
        ConfigError: if arguments contradict each other, or something cannot be written.
        EmotionError: if the face detector is not here.
    """
    check_detector(settings.face_detector)
    _check_contradictions(args)
    if args.blur_faces and not config.looks_for_faces:
        raise ConfigError(
            f"--blur_faces: {args.model} does not look for faces, so it cannot hide them. Use another model."
        )
    request = OutputRequest(
        output=args.output, video=not args.no_video, save_plot=args.save_plot, plot=not args.no_plot, json=args.json,
        csv=args.csv, srt=args.srt, folder=args.output_dir or Path(), overwrite=args.overwrite,
    )  # fmt: skip
    console = Console(quiet=args.quiet, progress=not (args.no_progress or args.quiet), timings=args.timings)
    drawing = {"notice": args.notice, "blur_faces": args.blur_faces}
    for place in args.media:
        if "://" in place:
            raise ConfigError(f"{place}: is an address. Download the file first and give its name.")
    number = _camera_number(args.media)
    if number is not None:
        camera = CameraJob(number, request, drawing, console, args.max_seconds, args.port, args.model)
        camera.check()
        return camera
    if args.max_seconds is not None:
        raise ConfigError("--max_seconds is for cameras; a file is judged to its end.")
    sources = find_sources(args.media)
    if sources is not None:
        _check_names(args, len(sources))
        folder = args.output_dir or DEFAULT_FOLDER
        check_folder(folder, resume=args.resume, overwrite=args.overwrite)
        return BatchJob(sources, request, drawing, console, folder, args.resume, args.model)
    if args.resume:
        raise ConfigError("--resume is for several files. Leave it out, or name a folder.")
    source = Path(args.media[0])
    if args.output_dir:
        make_folder(args.output_dir)
    return FileJob(source, *prepare(source, request), drawing, console, args.model, args.overwrite)


def _check_contradictions(args: argparse.Namespace) -> None:
    contradictions = (
        ("no_video", "output"), ("no_video", "notice"), ("no_video", "blur_faces"), ("no_plot", "save_plot"),
        ("resume", "overwrite"),
    )  # fmt: skip
    for one, other in contradictions:
        if getattr(args, one) and getattr(args, other):
            raise ConfigError(f"--{one} and --{other} contradict each other. Leave one of them out.")
    if args.max_seconds is not None and not args.max_seconds > 0:
        raise ConfigError(f"--max_seconds must be above 0, got {args.max_seconds:g}.")


def _check_names(args: argparse.Namespace, n_clips: int) -> None:
    """Refuses names of single files where there are several clips."""
    for name in ("output", "save_plot"):
        if getattr(args, name):
            raise ConfigError(f"--{name} names one file, but there are {n_clips} clips. Use --output_dir FOLDER.")
    for name in ("json", "csv", "srt"):
        if getattr(args, name) not in (None, DEFAULT_NAME):
            raise ConfigError(
                f"--{name} {getattr(args, name)} names one file, but there are {n_clips} clips. Give --{name} by "
                "itself: each clip gets its own."
            )


def _camera_number(media: list[str]) -> int | None:
    is_number = len(media) == 1 and media[0].isdecimal() and len(media[0]) <= MAX_CAMERA_DIGITS
    return int(media[0]) if is_number and not Path(media[0]).exists() else None
