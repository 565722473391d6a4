"""Which files an inference is to write, and whether it may, before any work is done for them."""

import dataclasses
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import ConfigError
from emotion.files import displayable
from emotion.media.reading import MEDIA_SUFFIXES
from emotion.media.writing import SUFFIXES
from emotion.outputs.plots.figures import FORMATS
from emotion.outputs.video.writing import IMAGE_SUFFIXES

STANDARD_OUTPUT = Path("-")
MARK = "_emotion"  # ends the names of all that is written
DEFAULT_NAME = ""  # stands for a table whose name follows from the clip's


@dataclass(frozen=True)
class OutputRequest:
    """What a user wants written.

    Attributes:
        output: the annotated video or image, None for the name that follows from the clip's.
        video: whether it is wanted at all.
        save_plot: the timeline plot, None for the name that follows from the clip's.
        plot: whether it is wanted at all.
        json, csv, srt: a file's name, ``-`` for the standard output, ``DEFAULT_NAME``, or None for none.
        folder: of the names that follow from the clip's.
        overwrite: whether files that are there already may be replaced.
    """

    output: Path | None = None
    video: bool = True
    save_plot: Path | None = None
    plot: bool = True
    json: str | None = None
    csv: str | None = None
    srt: str | None = None
    folder: Path = Path()
    overwrite: bool = False

    def __post_init__(self):
        for name, path in (("output", self.output), ("save_plot", self.save_plot)):
            if path is not None and not path.name:
                raise ConfigError(f"--{name} {path}: names no file. Is a variable not set?")
        for kind in ("json", "csv", "srt"):
            wanted = getattr(self, kind)
            if wanted and Path(wanted).suffix.lower() in MEDIA_SUFFIXES:
                raise ConfigError(
                    f"--{kind} {wanted}: has the ending of a clip, not of a table. Name clips before --{kind}, or give "
                    f"its file as --{kind} FILE.{kind}."
                )


@dataclass(frozen=True)
class OutputPlan:
    """Where everything goes; None for what is not written.

    Attributes:
        picture: the annotated video, or the annotated image of a still.
        plot, json, csv, srt: the other files; ``STANDARD_OUTPUT`` for a table that is printed.
    """

    picture: Path | None = None
    plot: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    srt: Path | None = None

    def files(self) -> dict[str, Path]:
        """What is written to disk, by what it is called on the console."""
        names = {"picture": "annotated picture", "plot": "plot", "json": "JSON", "csv": "CSV", "srt": "subtitles"}
        if self.picture is not None and self.picture.suffix.lower() in SUFFIXES:
            names["picture"] = "annotated video"
        paths = {name: getattr(self, field) for field, name in names.items()}
        return {name: path for name, path in paths.items() if path not in (None, STANDARD_OUTPUT)}

    @property
    def prints(self) -> bool:
        """Whether a table takes the standard output."""
        return STANDARD_OUTPUT in (self.json, self.csv, self.srt)


def plan_outputs(
    source: Path, request: OutputRequest, *, has_video: bool, is_still: bool, name: str | None = None
) -> OutputPlan:
    """Works out what is written for a clip.

    Args:
        source: the clip.
        request: what the user wants.
        has_video, is_still: what the clip holds.
        name: what default names begin with, by default the clip's without its ending.

    Raises:
        ConfigError: if a name has an ending that cannot be written, or asks for pictures of a sound.
    """
    base = request.folder / f"{name or displayable(source.stem)}{MARK}"
    if request.output is not None:
        base = request.output.with_suffix("")  # all of a clip's files lie together, under one name
    picture = plot = None
    if request.output is not None and not has_video:
        raise ConfigError(f"{source}: has no picture, so {request.output} cannot be made of it. Leave out --output.")
    if request.video and has_video:
        suffixes = IMAGE_SUFFIXES if is_still else SUFFIXES
        picture = request.output or base.with_name(base.name + suffixes[0])
        if picture.suffix.lower() not in suffixes:
            kind = "an image is written" if is_still else "MP4 is what is written"
            raise ConfigError(f"{picture}: the name must end in {', '.join(suffixes)}, since {kind}.")
    # A still has no course over time, so its plot is drawn only if it is asked for.
    if request.save_plot is not None or (request.plot and not is_still):
        plot = request.save_plot or base.with_name(f"{base.name}_plot.png")
        if plot.suffix.lower().lstrip(".") not in FORMATS:
            raise ConfigError(f"{plot}: a plot's name must end in one of {', '.join(FORMATS)}.")
    tables = {}
    for kind in ("json", "csv", "srt"):
        wanted = getattr(request, kind)
        if wanted is not None and kind == "srt" and is_still:
            if name is None:
                raise ConfigError(f"{source}: is a still picture, which takes no subtitles. Leave out --srt.")
            continue  # among other files
        if wanted is not None:
            tables[kind] = base.with_name(f"{base.name}.{kind}") if wanted == DEFAULT_NAME else Path(wanted)
    return OutputPlan(picture, plot, **tables)


def check_plan(
    plan: OutputPlan,
    source: Path | None,
    *,
    overwrite: bool,
    ours: Collection[Path] = (),
    clips: Collection[Path] = (),
) -> None:
    """Makes sure that everything can be written and nothing is lost by it.

    Args:
        plan: what is to be written.
        source: the clip, None for a camera.
        overwrite: whether files that are there already may be replaced.
        ours: files that may be replaced in any case.
        clips: resolved paths of the other files that are judged, which must never be replaced.

    Raises:
        ConfigError: if a file is there already, would replace the clip or another result, or cannot be written.
    """
    printed = [field.name for field in dataclasses.fields(plan) if getattr(plan, field.name) == STANDARD_OUTPUT]
    if len(printed) > 1:
        raise ConfigError(f"--{printed[0]} and --{printed[1]} cannot both go to the standard output. Name a file.")
    taken = {} if source is None else {source.resolve(): "the clip itself"}
    for what, path in plan.files().items():
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder. Give the name of the file to write.")
        same = taken.get(path.resolve())
        if same is None and source is not None and path.exists() and source.exists() and path.samefile(source):
            same = "the clip itself"
        if same is None and path.resolve() in clips:
            same = "another of the clips"
        if same is not None:
            raise ConfigError(f"{path}: is {same}. Give another name for the {what}.")
        taken[path.resolve()] = f"the {what}"
        if path.exists() and not overwrite and path not in ours:
            raise ConfigError(f"{path}: is there already. Replace it with --overwrite, or give another name.")
        _check_folder(path)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist. Create it, or name a file in another.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(
            f"{path}: its folder cannot be written to ({error.strerror}). Name a file in another."
        ) from error
