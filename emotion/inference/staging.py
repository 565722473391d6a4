"""Lends a clip that lies at an address, or whose results go to one: fetched and planned here, its results put there."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import ConfigError, EmotionError, FileError
from emotion.files import lent_folder, make_folder
from emotion.inference.addresses import Address
from emotion.inference.clip_search import ClipFile
from emotion.inference.output_plan import OutputPlan, OutputRequest, plan_clip, plan_outputs
from emotion.media.reading import MediaInfo
from emotion.media.tracks import ANY_TRACKS, TrackChoice


@dataclass(frozen=True)
class Staging:
    """How a clip is planned once it is here.

    Attributes:
        outputs: what to write; its folder is used if results stay on this computer.
        results: the address of the folder they go to; None if they stay.
        choice, name: as for ``plan_clip``.
        ours: names of files in the folder that may be replaced in any case.
        clips: names of files in the folder that are clips, and are never replaced.
    """

    outputs: OutputRequest
    results: Address | None = None
    choice: TrackChoice = ANY_TRACKS
    name: str | None = None
    ours: frozenset[str] = frozenset()
    clips: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StagedClip:
    """A clip that is here for a while.

    Attributes:
        path: where.
        plan: of files in ``folder``.
        folder: of the results.
        called: what results call the clip.
        results: the address that results are put to when it goes; None if they stay.
    """

    path: Path
    info: MediaInfo
    plan: OutputPlan
    folder: Path
    called: str
    results: Address | None

    def names(self) -> tuple[str, ...]:
        """Returns the names of the results that were written to their folder; others you named by a path."""
        written = self.plan.written().values()
        return tuple(str(path.relative_to(self.folder)) for path in written if path.is_relative_to(self.folder))

    def rename(self, text: str) -> str:
        """Returns a text that names the clip and its results as a user knows them."""
        text = text.replace(str(self.path), self.called)
        return text if self.results is None else text.replace(str(self.folder), str(self.results).rstrip("/"))


@contextlib.contextmanager
def staged(clip: ClipFile, staging: Staging) -> Iterator[StagedClip]:
    """Lends a clip that was fetched and planned. If the block succeeds, its results are put to their address.

    Raises:
        MediaError: if the clip cannot be read.
        ConfigError: if something exists, or cannot be written.
        FileError: if an address cannot be reached, or the disk is full.
    """
    with lent_folder("clips") as place:
        path, results = clip.path, staging.results
        if isinstance(path, Address):
            make_folder(place / "fetched")
            path = place / "fetched" / path.name
            clip.path.fetch(path)
        folder = staging.outputs.folder or Path()
        if results is not None:
            folder = place / "results"
        make_folder((folder / (staging.name or "")).parent if staging.name else folder)
        try:
            info, plan = plan_clip(
                path, dataclasses.replace(staging.outputs, folder=folder), choice=staging.choice, name=staging.name,
                ours=[folder / name for name in staging.ours],
                clips=[(folder / name).resolve() for name in staging.clips],
            )  # fmt: skip
            clip_here = StagedClip(path, info, plan, folder, clip.file, results)
            if results is not None:
                _check_absent(clip_here, staging)
            yield clip_here
        except FileError as error:
            if str(place) in str(error):  # it is this disk that is full, so its path is told, too
                error.args = (f"{clip.label}: {error}",)
            raise
        except EmotionError as error:
            error.args = (str(error).replace(str(path), clip.file),)
            raise
        if results is not None:
            for name in clip_here.names():
                results.below(name).put(folder / name)


def _check_absent(clip: StagedClip, staging: Staging) -> None:
    for path in clip.plan.files().values():
        if not path.is_relative_to(clip.folder):
            continue
        name = str(path.relative_to(clip.folder))
        if staging.outputs.overwrite or name in staging.ours:
            continue
        address = clip.results.below(name)
        if address.exists():
            raise ConfigError(f"{address}: exists. Replace it with --overwrite, or choose another --output_dir.")


def possible_names(name: str, outputs: OutputRequest) -> tuple[str, ...]:
    """Returns the names of all files that a clip may give, whatever it turns out to be.

    Args:
        name: begins them, as for ``plan_outputs``.
    """
    wanted = dataclasses.replace(outputs, folder=Path())
    plans = (plan_outputs(Path(name), wanted, has_video=True, is_still=still, name=name) for still in (False, True))
    return tuple(dict.fromkeys(str(path) for plan in plans for path in plan.files().values()))
