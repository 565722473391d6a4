"""Examines all files of a data set, for ``check`` and ``clean``."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.console import SILENT, Reporter
from emotion.datasets.clips import Clip
from emotion.errors import ConfigError

if TYPE_CHECKING:  # examining takes heavy libraries; asking for help does not
    from emotion.datasets.check.examination import Examination
    from emotion.datasets.check.memory import ExaminationMemory

MIN_SECONDS = 0.3
MAX_SECONDS = 60.0
# All there is to examine, also what training leaves out unless it is asked for.
LOAD_OPTIONS = {
    "ravdess": ("vocal_channels=speech,song",),
    "mead": ("views=front,down,top,left_30,left_60,right_30,right_60",),
}


@dataclass(frozen=True)
class MissingRow:
    """A row of a data set's label files for which there is no file."""

    clip_id: str
    path: str
    words: str


@dataclass(frozen=True)
class Survey:
    """All that is known of a data set once its files have been examined.

    Attributes:
        root: its folder, or the manifest.
        name: of the layout, such as ``ravdess``.
        clips: as the adapter gives them.
        examinations: of the clips' files, by path.
        min_seconds, max_seconds: the lengths that are plausible.
        missing_rows: clips that the labels list and no file holds.
    """

    root: Path
    name: str
    clips: Sequence[Clip]
    examinations: Mapping[str, "Examination"]
    min_seconds: float = MIN_SECONDS
    max_seconds: float = MAX_SECONDS
    missing_rows: Sequence[MissingRow] = ()

    @property
    def folder(self) -> Path:
        """The folder that reports show paths from."""
        return self.root if self.root.is_dir() else self.root.parent

    def show(self, path: str | os.PathLike) -> str:
        """Returns a path as reports show it: relative to the data set's folder if it lies there."""
        try:
            return Path(path).relative_to(self.folder).as_posix()
        except ValueError:
            return str(path)

    def examine(self, path: str | None) -> "Examination | None":
        """Returns what was found in one of a clip's files; None for a file the clip does not have."""
        return None if path is None else self.examinations[path]

    def clip_seconds(self, clip: Clip) -> float | None:
        """Returns a clip's length in seconds; None for stills and for what cannot be read."""
        lengths = [self.examinations[path].seconds for path in clip.paths]
        whole = max((length for length in lengths if length is not None), default=None)
        if whole is None:
            return None
        return max(0.0, min(whole, clip.end_seconds or whole) - (clip.start_seconds or 0.0))

    def has_odd_length(self, clip: Clip) -> bool:
        seconds = self.clip_seconds(clip)
        return seconds is not None and not self.min_seconds <= seconds <= self.max_seconds


@dataclass(frozen=True)
class SurveyRequest:
    """A data set to survey.

    Attributes:
        root: its folder, or a manifest.
        dataset: the name of its layout; None to detect it.
        min_seconds, max_seconds: the lengths that are plausible.
        n_jobs: processes; 0 for one per core.
        choices: options of the data set, such as ``labels=perceived``.

    Raises:
        ConfigError: for impossible lengths or a negative number of processes.
    """

    root: Path
    dataset: str | None
    min_seconds: float
    max_seconds: float
    n_jobs: int
    choices: tuple[str, ...] = ()

    def __post_init__(self):
        shortest, longest = self.min_seconds, self.max_seconds
        if not 0 <= shortest < longest:
            raise ConfigError(
                f"--min_seconds must be 0 or above and below --max_seconds, got {shortest} and {longest}."
            )
        if self.n_jobs < 0:
            raise ConfigError(f"--jobs must be 0 (one per core) or above, got {self.n_jobs}.")


def survey_dataset(request: SurveyRequest, memory: "ExaminationMemory", reporter: Reporter = SILENT) -> Survey:
    """Loads a data set and examines all of its files.

    Raises:
        ConfigError: if there is no layout of the name given.
        DatasetError: if there is no such data set.
    """
    from emotion.datasets.check.examination import examine_files

    name, clips, missing_rows = _load(request.root, request.dataset, request.choices)
    paths = (path for clip in clips for path in clip.paths)
    examinations = examine_files(paths, memory=memory, n_jobs=request.n_jobs, reporter=reporter)
    return Survey(request.root, name, clips, examinations, request.min_seconds, request.max_seconds, missing_rows)


def _load(root: Path, name: str | None, choices: tuple[str, ...]) -> tuple[str, list[Clip], list[MissingRow]]:
    """Returns the layout's name, the clips, and the rows of label files for which there is no file."""
    from emotion.datasets import meld
    from emotion.datasets.recognition import load_dataset, read_options, recognize

    name = name or recognize(root)
    # The adapters warn of files that they skip; the report names them, with the way out.
    adapters = logging.getLogger("emotion.datasets")
    level = adapters.level
    adapters.setLevel(logging.ERROR)
    try:
        if name == "meld":
            rows = meld.read_meld_rows(root)  # its load refuses labels without a single clip, which are worth a report
            missing = [
                MissingRow(row.clip.clip_id, row.clip.video_path, f"{row.where} has no file")
                for row in rows
                if not row.exists
            ]
            return name, [row.clip for row in rows if row.exists], missing
        options = read_options(name, (*LOAD_OPTIONS.get(name, ()), *choices))
        return name, load_dataset(root, name, **options), []
    finally:
        adapters.setLevel(level)
