"""The options of a request: form fields, or the first message of a stream, named as on the command line."""

import dataclasses
from typing import Annotated, Any

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emotion.errors import ConfigError
from emotion.inference.request import LIVE_STEP_SECONDS, LIVE_WINDOW_SECONDS
from emotion.inference.service.clerk import MEDIA_TYPES, PICTURE, ClipOptions
from emotion.inputs.faces.detectors import check_detector
from emotion.settings import InferenceSettings

DEFAULTS = InferenceSettings()
# By what ``Accept`` asks for; of two that one type fits, the first.
ACCEPTED = {
    "video/mp4": PICTURE, "image/png": PICTURE,
    **{kind.split(";")[0]: output for output, kind in reversed(MEDIA_TYPES.items()) if output != "textgrid"},
}  # fmt: skip


class Options(BaseModel):
    """What clips and streams share."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="a name of GET /v1/models; by default the first", examples=["default"])
    window_sec: float | None = Field(None, description="window length in seconds; by default the model's")
    step_sec: float | None = Field(None, description="seconds from one window to the next; by default the model's")
    unsure_below: float | None = Field(None, description='answer "unsure" below this confidence, 0 to 1')
    face_detector: str = Field(DEFAULTS.face_detector, description="yunet, retinaface, haar or none")
    max_faces: int = Field(DEFAULTS.max_faces, description="judge the N most visible faces")
    min_face: int = Field(DEFAULTS.min_face, description="ignore faces of fewer pixels")

    def settings(self) -> InferenceSettings:
        """Returns the settings.

        Raises:
            EmotionError: if there are no such ones.
        """
        check_detector(self.face_detector)
        return InferenceSettings(
            window_seconds=self.window_sec, step_seconds=self.step_sec, unsure_below=self.unsure_below,
            face_detector=self.face_detector, max_faces=self.max_faces, min_face=self.min_face,
        )  # fmt: skip


class ClipForm(Options):
    """A clip and its options, as a form."""

    file: Annotated[UploadFile, Field(description="the clip: a video, a sound file or a picture")]
    start: float | None = Field(None, description="judge from here, in seconds", examples=[0])
    end: float | None = Field(None, description="judge until here, in seconds", examples=[30])
    no_adapt: bool = Field(False, description="do not compare people with their own mean in a long clip")
    video_track: int | None = Field(None, description="which video track, counted from 1")
    audio_track: int | None = Field(None, description="which sound track, counted from 1")
    output: str | None = Field(
        None, description=f"json (the default), {', '.join(kind for kind in MEDIA_TYPES if kind != 'json')}, or "
        f"{PICTURE}: the annotated video or picture; or ask by Accept", examples=["json"],
    )  # fmt: skip
    notice: bool = Field(False, description="state on the video that an emotion recognition system is at work")
    blur_faces: bool = Field(False, description="blur every face of the video that is found")

    def clip_options(self, accept: str | None, default_model: str) -> ClipOptions:
        """Returns the options.

        Args:
            accept: the header, which counts if ``output`` does not say what is wanted.

        Raises:
            EmotionError: if there are no such options.
        """
        settings = dataclasses.replace(
            self.settings(), adapts=not self.no_adapt, video_track=self.video_track, audio_track=self.audio_track,
            start_seconds=self.start, end_seconds=self.end,
        )  # fmt: skip
        return ClipOptions(
            self.model or default_model, settings, self.output or _accepted(accept), self.notice, self.blur_faces
        )


class StreamHello(Options):
    """The first message of a stream."""

    fps: float | None = Field(None, gt=0, le=1000, description="pictures a second; without it, they count as they come")
    sample_rate: int | None = Field(None, ge=1000, le=768_000, description="of the sound, in Hz; without it, no sound")
    channels: int = Field(1, ge=1, le=8, description="of the sound, interleaved")
    timestamps: bool = Field(False, description="each block begins with its time")
    live: bool = Field(True, description="leave out pictures that come too fast; if false, take them more slowly")
    api_key: str | None = Field(None, description="instead of the header Authorization")

    def settings(self) -> InferenceSettings:
        """As ``Options.settings``, with short windows as for a camera."""
        chosen = super().settings()
        return dataclasses.replace(
            chosen, window_seconds=chosen.window_seconds or LIVE_WINDOW_SECONDS,
            step_seconds=chosen.step_seconds or LIVE_STEP_SECONDS,
        )  # fmt: skip


def read_hello(text: str) -> StreamHello:
    """Reads the first message of a stream.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return StreamHello.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(explain_form(error.errors(), StreamHello)) from error


def explain_form(errors: list[dict[str, Any]], form: type[BaseModel]) -> str:
    """Returns the first fault of a form in one line."""
    error = errors[0]
    place = [str(part) for part in error["loc"] if part not in ("body", "query", "header", "path")]
    name, given = ".".join(place) or "the form", error.get("input")
    if error["type"] == "extra_forbidden":
        return f"{name}: no such option. Choose from {', '.join(form.model_fields)}."
    if name == "file":
        return "file: is missing. Send the clip as the form's field file, with its name: curl -F file=@clip.mp4"
    said = error["msg"][0].lower() + error["msg"][1:]
    shown = f", got {given!r}" if isinstance(given, str | int | float) and len(str(given)) <= 80 else ""
    return f"{name}: {said}{shown}."


def _accepted(accept: str | None) -> str:
    """Returns the output that ``Accept`` asks for first; JSON for anything else."""
    for wanted in (accept or "").split(","):
        output = ACCEPTED.get(wanted.split(";")[0].strip().lower())
        if output:
            return output
    return "json"
