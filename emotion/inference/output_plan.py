"""Plans which files an inference writes, and checks that it may, before any work is done for them."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emotion.errors import ConfigError
from emotion.files import check_writable, displayable, shorten_name
from emotion.inference.addresses import is_address
from emotion.media.reading import MediaInfo, probe_media
from emotion.media.suffixes import MEDIA_SUFFIXES
from emotion.media.tracks import ANY_TRACKS, TrackChoice
from emotion.media.writing import SUFFIXES
from emotion.outputs.formats import TABLES
from emotion.outputs.plots.figures import FORMATS
from emotion.outputs.video.writing import IMAGE_SUFFIXES

STANDARD_OUTPUT = Path("-")
MARK = "_emotion"  # ends the name of everything that is written
LONGEST_ENDING = f"{MARK}_plot.png"
DEFAULT_NAME = ""  # of a table: named after the clip


@dataclass(frozen=True)
class OutputRequest:
    """What a user wants written.

    Attributes:
        output: the annotated video or image; None names it after the clip.
        video: whether to write it.
        save_plot: the timeline plot; None names it after the clip.
        plot: whether to draw it.
        tables: by kind, a key of ``TABLES``: a file name, ``-`` for the standard output, or ``DEFAULT_NAME``.
        folder: for files named after the clip; None for the current one.
        overwrite: whether existing files may be replaced.
    """

    output: Path | None = None
    video: bool = True
    save_plot: Path | None = None
    plot: bool = True
    tables: Mapping[str, str] = field(default_factory=dict, hash=False)
    folder: Path | None = None
    overwrite: bool = False

    def __post_init__(self):
        named = {"output": self.output, "save_plot": self.save_plot}
        for name, path in (named | dict(self.tables)).items():
            if path and is_address(Path(path)):
                raise ConfigError(
                    f"--{name}: takes a file of this computer. To have results at an address, use --output_dir ADDRESS."
                )
        for name, path in named.items():
            if path is not None and not path.name:
                raise ConfigError(f"--{name} {path}: is not a file name. Is a variable empty?")
        for kind, name in self.tables.items():
            if name and Path(name).suffix.lower() in MEDIA_SUFFIXES:
                raise ConfigError(
                    f"--{kind} {name}: looks like a clip, not a table. Put clips before --{kind}, or name the table: "
                    f"--{kind} FILE{TABLES[kind].suffix}"
                )


@dataclass(frozen=True)
class OutputPlan:
    """Where each file goes; None for what is not written.

    Attributes:
        picture: the annotated video, or image.
        tables: by kind, a key of ``TABLES``; ``STANDARD_OUTPUT`` for one that is printed.
    """

    picture: Path | None = None
    plot: Path | None = None
    tables: Mapping[str, Path] = field(default_factory=dict, hash=False)

    @property
    def csv_metadata(self) -> Path | None:
        """Model and settings of a CSV file, where no JSON file holds them."""
        csv, json = (self.tables.get(kind, STANDARD_OUTPUT) for kind in ("csv", "json"))
        return None if csv == STANDARD_OUTPUT or json != STANDARD_OUTPUT else csv.with_name(f"{csv.name}-metadata.json")

    def files(self) -> dict[str, Path]:
        """Returns what goes to disk, by what the console calls it."""
        is_video = self.picture is not None and self.picture.suffix.lower() in SUFFIXES
        paths = {"annotated video" if is_video else "annotated picture": self.picture, "plot": self.plot}
        paths |= {TABLES[kind].title: path for kind, path in self.tables.items()}
        paths["CSV's settings"] = self.csv_metadata
        return {name: path for name, path in paths.items() if path not in (None, STANDARD_OUTPUT)}

    def written(self) -> dict[str, Path]:
        """Returns those of ``files`` that exist now."""
        return {name: path for name, path in self.files().items() if path.exists()}

    @property
    def prints(self) -> bool:
        """Whether a table goes to the standard output."""
        return STANDARD_OUTPUT in self.tables.values()


def plan_clip(
    clip: Path,
    request: OutputRequest,
    *,
    choice: TrackChoice = ANY_TRACKS,
    name: str | None = None,
    ours: Collection[Path] = (),
    clips: Collection[Path] = (),
) -> tuple[MediaInfo, OutputPlan]:
    """Looks at a clip and plans its files; see ``plan_outputs`` and ``check_plan`` for the arguments.

    ``choice`` is of the clip's tracks.

    Raises:
        MediaError: if the clip cannot be read, or has no such track.
        ConfigError: if something cannot be written, or exists.
    """
    info = probe_media(clip, choice)
    plan = plan_outputs(clip, request, has_video=info.has_video, is_still=info.is_still, name=name)
    check_plan(plan, clip, overwrite=request.overwrite, ours=ours, clips=clips)
    return info, plan


def shorten_stem(stem: str) -> str:
    """Returns a clip's name as the names of its results begin, which must not become too long."""
    return shorten_name(stem, len(LONGEST_ENDING))


def plan_outputs(
    clip: Path, request: OutputRequest, *, has_video: bool, is_still: bool, name: str | None = None
) -> OutputPlan:
    """Works out where the files of a clip go.

    Args:
        name: begins the default names; by default the clip's own, without its extension. Given for one of several
            clips, which then get no subtitles and the like where they are stills, instead of an error.

    Raises:
        ConfigError: if an extension cannot be written, or pictures of a sound are asked for.
    """
    folder, own = os.path.split(name or displayable(clip.stem))
    base = (request.folder or Path()) / folder / (shorten_stem(own) + MARK)
    if request.output is not None:
        base = request.output.with_suffix("")  # all files of a clip lie together, under one name
    picture = plot = None
    if request.output is not None and not has_video:
        raise ConfigError(f"{clip}: has no picture, so {request.output} cannot be made from it. Leave out --output.")
    if request.video and has_video:
        suffixes = IMAGE_SUFFIXES if is_still else SUFFIXES
        picture = request.output or base.with_name(base.name + suffixes[0])
        if picture.suffix.lower() not in suffixes:
            kind = "an annotated image" if is_still else "an annotated video"
            raise ConfigError(f"{picture}: the name of {kind} must end in one of {', '.join(suffixes)}.")
    # A still has no course over time: its plot is drawn only if it is asked for.
    if request.save_plot is not None or (request.plot and not is_still):
        plot = request.save_plot or base.with_name(f"{base.name}_plot.png")
        if plot.suffix.lower().lstrip(".") not in FORMATS:
            raise ConfigError(f"{plot}: the name of a plot must end in one of {', '.join(FORMATS)}.")
    tables = {}
    for kind, wanted in request.tables.items():
        if is_still and not TABLES[kind].has_stills:
            if name is None:
                raise ConfigError(f"{clip}: is a still picture, which has no {TABLES[kind].title}. Leave out --{kind}.")
            continue
        named = base.with_name(f"{base.name}{TABLES[kind].suffix}") if wanted == DEFAULT_NAME else Path(wanted)
        tables[kind] = named
    return OutputPlan(picture, plot, tables)


def check_plan(
    plan: OutputPlan,
    clip: Path | None,
    *,
    overwrite: bool,
    ours: Collection[Path] = (),
    clips: Collection[Path] = (),
) -> None:
    """Makes sure that everything can be written and nothing gets lost.

    Args:
        clip: None for a camera.
        overwrite: whether existing files may be replaced.
        ours: files that may be replaced in any case.
        clips: resolved paths of all clips of the batch, which must never be replaced.

    Raises:
        ConfigError: if a file exists, would replace a clip or another result, or cannot be written.
    """
    printed = [kind for kind, path in plan.tables.items() if path == STANDARD_OUTPUT]
    for kind in printed:
        if TABLES[kind].is_binary:
            raise ConfigError(f"--{kind} -: cannot be printed. Name a file.")
    if len(printed) > 1:
        raise ConfigError(f"--{printed[0]} - and --{printed[1]} -: only one table can be printed. Name a file.")
    taken = {} if clip is None else {clip.resolve(): "the clip itself"}
    for what, path in plan.files().items():
        check_writable(path)
        same = taken.get(path.resolve())
        if same is None and clip is not None and path.exists() and clip.exists() and path.samefile(clip):
            same = "the clip itself"
        if same is None and path.resolve() in clips:
            same = "another of the clips"
        if same is not None:
            raise ConfigError(f"{path}: is {same}. Choose another name for the {what}.")
        taken[path.resolve()] = f"the {what}"
        if path.exists() and not overwrite and path not in ours:
            raise ConfigError(f"{path}: exists. Replace it with --overwrite, or choose another name.")
