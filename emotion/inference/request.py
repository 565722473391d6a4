"""What you ask ``run_inference.py`` for, and whether it makes sense: checked before a model is loaded."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.errors import ConfigError
from emotion.inference.output_plan import DEFAULT_NAME, TABLES, OutputRequest
from emotion.inputs.faces.detectors import check_detector
from emotion.settings import InferenceSettings

MAX_CAMERA_DIGITS = 3
LIVE_WINDOW_SECONDS, LIVE_STEP_SECONDS = 1.0, 0.25  # of a camera


@dataclass(frozen=True)
class InferenceRequest:
    """Clips or a camera, a model, and what to write.

    Attributes:
        media: files, folders and patterns, or one camera number.
        model: its folder.
        settings: how the model is used, as you chose; ``settings_in_force`` adds what a camera needs.
        outputs: the files to write.
        resume: whether to skip clips of a batch that are done.
        notice, blur_faces: as for ``Annotator``.
        max_seconds, port: for a camera: when to stop, and where to serve the page.
        reporter, timings: what to say, and whether also where the time went.
    """

    media: tuple[str, ...]
    model: Path
    settings: InferenceSettings
    outputs: OutputRequest
    resume: bool = False
    notice: bool = False
    blur_faces: bool = False
    max_seconds: float | None = None
    port: int = 0
    reporter: Reporter = SILENT
    timings: bool = False

    @property
    def camera(self) -> int | None:
        """The number of the camera, if one is meant and not a file of that name."""
        first = self.media[0]
        is_number = len(self.media) == 1 and first.isdecimal() and len(first) <= MAX_CAMERA_DIGITS
        return int(first) if is_number and not Path(first).exists() else None

    @property
    def settings_in_force(self) -> InferenceSettings:
        """The settings; a camera gets short windows, since it cannot look ahead."""
        if self.camera is None:
            return self.settings
        return dataclasses.replace(
            self.settings,
            window_seconds=self.settings.window_seconds or LIVE_WINDOW_SECONDS,
            step_seconds=self.settings.step_seconds or LIVE_STEP_SECONDS,
        )

    @property
    def drawing(self) -> dict[str, bool]:
        """What ``Annotator`` takes besides the result."""
        return {"notice": self.notice, "blur_faces": self.blur_faces}

    def check(self, config: RunConfig) -> None:
        """Makes sure that the options fit each other and the model.

        Raises:
            ConfigError: if they do not.
            EmotionError: if the face detector is not installed.
        """
        check_detector(self.settings.face_detector)
        wanted = self.outputs
        contradictions = (
            ("no_video", "output", not wanted.video and wanted.output),
            ("no_video", "notice", not wanted.video and self.notice),
            ("no_video", "blur_faces", not wanted.video and self.blur_faces),
            ("no_plot", "save_plot", not wanted.plot and wanted.save_plot),
            ("resume", "overwrite", self.resume and wanted.overwrite),
        )
        for one, other, are_both in contradictions:
            if are_both:
                raise ConfigError(f"--{one} and --{other} contradict each other. Leave one out.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"--max_seconds must be above 0, got {self.max_seconds:g}.")
        if self.blur_faces and not config.looks_for_faces:
            raise ConfigError(f"--blur_faces: {self.model} does not detect faces, so it cannot blur them.")
        for place in self.media:
            if "://" in place:
                raise ConfigError(f"{place}: is a URL; download it and pass the file.")
        if self.camera is None and self.max_seconds is not None:
            raise ConfigError("--max_seconds is for cameras; files are always analysed to their end.")

    def check_names(self, n_clips: int) -> None:
        """Refuses names of single files where there are several clips.

        Raises:
            ConfigError: if there is one.
        """
        for option in ("output", "save_plot"):
            if getattr(self.outputs, option):
                raise ConfigError(f"--{option} names one file, but there are {n_clips} clips. Use --output_dir FOLDER.")
        for kind in TABLES:
            name = getattr(self.outputs, kind)
            if name not in (None, DEFAULT_NAME):
                raise ConfigError(
                    f"--{kind} {name} names one file, but there are {n_clips} clips. Use --{kind} without a name: each "
                    "clip gets its own."
                )
