"""Holds what you ask ``run_inference.py`` for, and checks that it makes sense before a model is loaded."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.errors import ConfigError
from emotion.inference.addresses import WEB_SCHEMES, Address, is_address
from emotion.inference.output_plan import DEFAULT_NAME, OutputRequest
from emotion.inference.transcription import check_transcription
from emotion.inputs.faces.detectors import check_detector
from emotion.media.reading import probe_media
from emotion.media.tracks import ANY_TRACKS, TrackChoice
from emotion.models.baseline_head import check_has_baseline
from emotion.outputs.formats import check_packages
from emotion.settings import InferenceSettings

MAX_CAMERA_DIGITS = 3
CLUSTER = re.compile(r"local:[1-9]\d*|(tcp|tls|ws|wss|ucx)://.+")
RESERVED_NAME = re.compile(r"face \d+|voice|clip")
LIVE_WINDOW_SECONDS, LIVE_STEP_SECONDS = 1.0, 0.25  # of a camera


@dataclass(frozen=True)
class InferenceRequest:
    """Clips or a camera, a model, and what to write.

    Attributes:
        media: files, folders and patterns, here or at addresses, or one camera number.
        model: its folder.
        settings: how the model is used, as you chose; ``settings_in_force`` adds what a camera needs.
        outputs: the files to write.
        results: the address of the folder for all of them; None for one of this computer.
        resume: whether to skip clips of a batch that are done.
        notice, blur_faces: as for ``Annotator``.
        references: neutral clips of people, ``CLIP`` or ``NAME=CLIP``.
        adapts_to_folders: whether the clips of a folder are one person's, who is compared with their mean over them.
        split_channels: whether to judge each channel of a sound by itself.
        n_workers: processes that label the clips of a batch.
        cluster: that labels them instead: ``local:N``, or the address of a Dask scheduler.
        shard: ``(k, n)`` for part k of n of the clips; None for all.
        runtime, device: as for ``choose_runtime``.
        max_seconds, port: for a camera: when to stop, and where to serve the page.
        reporter, timings: what to say, and whether also where the time went.
    """

    media: tuple[str, ...]
    model: Path
    settings: InferenceSettings
    outputs: OutputRequest
    results: Address | None = None
    resume: bool = False
    notice: bool = False
    blur_faces: bool = False
    references: tuple[str, ...] = ()
    adapts_to_folders: bool = False
    split_channels: bool = False
    n_workers: int = 1
    cluster: str | None = None
    shard: tuple[int, int] | None = None
    runtime: str = "auto"
    device: str = "auto"
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

    @property
    def tracks(self) -> TrackChoice:
        """The tracks to judge."""
        return TrackChoice(self.settings.video_track, self.settings.audio_track)

    def check(self, config: RunConfig) -> None:
        """Makes sure that the options fit each other and the model.

        Raises:
            ConfigError: if they do not.
            EmotionError: if the face detector is not installed.
        """
        check_detector(self.settings.face_detector)
        check_packages(self.outputs.tables)
        if self.settings.transcribe is not None:
            check_transcription()
        wanted = self.outputs
        contradictions = (
            ("no_video", "output", not wanted.video and wanted.output),
            ("no_video", "notice", not wanted.video and self.notice),
            ("no_video", "blur_faces", not wanted.video and self.blur_faces),
            ("no_plot", "save_plot", not wanted.plot and wanted.save_plot),
            ("resume", "overwrite", self.resume and wanted.overwrite),
            ("adapt", "split_channels", self.adapts_to_folders and self.split_channels),
            ("adapt", "no_adapt", self.adapts_to_folders and not self.settings.adapts),
            ("adapt", "reference", self.adapts_to_folders and self.references),
            ("adapt", "workers", self.adapts_to_folders and self.n_workers > 1),
            ("adapt", "cluster", self.adapts_to_folders and self.cluster),
            ("workers", "cluster", self.n_workers > 1 and self.cluster),
            ("adapt", "shard", self.adapts_to_folders and self.shard),
        )
        for one, other, are_both in contradictions:
            if are_both:
                raise ConfigError(f"--{one} and --{other} contradict each other. Leave one out.")
        if self.n_workers < 1:
            raise ConfigError(f"--workers must be 1 or more, got {self.n_workers}.")
        if self.cluster is not None and not CLUSTER.fullmatch(self.cluster):
            raise ConfigError(
                f"--cluster {self.cluster}: must be local:N, such as local:4, or a scheduler's address, such as "
                "tcp://10.0.0.1:8786."
            )
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"--max_seconds must be above 0, got {self.max_seconds:g}.")
        if self.blur_faces and not config.looks_for_faces:
            raise ConfigError(f"--blur_faces: {self.model} does not detect faces, so it cannot blur them.")
        self._check_addresses()
        if self.camera is None and self.max_seconds is not None:
            raise ConfigError("--max_seconds is for cameras; files are always analysed to their end.")
        of_files = (
            self.tracks != ANY_TRACKS,
            self.split_channels,
            self.settings.span != (0.0, None),
            self.settings.transcribe,
        )
        if self.camera is not None and any(of_files):
            raise ConfigError(
                "--start, --end, --video_track, --audio_track, --split_channels and --transcribe are for files, not "
                "for a camera. Leave them out."
            )
        self._check_baseline()

    def _check_addresses(self) -> None:
        for option, needs_files in (("adapt", self.adapts_to_folders), ("split_channels", self.split_channels)):
            if needs_files and any(map(is_address, self.media)):
                raise ConfigError(f"--{option} is for clips of this computer, not at addresses. Fetch them first.")
        for word in self.references:
            if is_address(word.rpartition("=")[2]) or is_address(word):
                raise ConfigError("--reference: takes clips of this computer, not an address. Fetch them first.")
        if self.results is not None and self.results.scheme in WEB_SCHEMES:
            raise ConfigError(f"--output_dir {self.results}: nothing can be put on a web server. Name another place.")
        if self.camera is not None and self.results is not None:
            raise ConfigError(f"--output_dir {self.results}: is for files, not for a camera. Name a folder here.")

    def _check_baseline(self) -> None:
        """Makes sure that people can be compared with themselves, if that is asked for."""
        option = "--reference" if self.references else "--adapt" if self.adapts_to_folders else None
        if option is None:
            return
        if self.camera is not None:
            raise ConfigError(
                f"{option} is for files, not for a camera. Record it with --output, then analyse the file."
            )
        check_has_baseline(self.model, option)
        for paths in read_references(self.references).values():
            for path in paths:
                probe_media(path)

    @property
    def part(self) -> str:
        """What the names of a shard's summary end with; empty for all clips."""
        return "" if self.shard is None else "{}-of-{}".format(*self.shard)

    def check_names(self, n_clips: int) -> None:
        """Refuses names of single files where there are several clips.

        Raises:
            ConfigError: if there is one.
        """
        for option in ("output", "save_plot"):
            if getattr(self.outputs, option):
                raise ConfigError(f"--{option} names one file, but there are {n_clips} clips. Use --output_dir FOLDER.")
        for kind, name in self.outputs.tables.items():
            if name != DEFAULT_NAME:
                raise ConfigError(
                    f"--{kind} {name} names one file, but there are {n_clips} clips. Use --{kind} without a name: each "
                    "clip gets its own."
                )


def read_shard(word: str) -> tuple[int, int]:
    """Reads ``K/N``.

    Raises:
        ConfigError: unless K lies between 1 and N.
    """
    k, mark, n = word.partition("/")
    if not (mark and k.isascii() and k.isdecimal() and n.isascii() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise ConfigError(f"--shard {word}: must be K/N, such as 2/4 for the second of four parts.")
    return int(k), int(n)


def read_references(words: Sequence[str]) -> dict[str | None, list[Path]]:
    """Returns the reference clips of each person that ``--reference`` names, by name; None for a person without one.

    Raises:
        ConfigError: if a word names no person or no clip, or some have a name and some have none.
    """
    people: dict[str | None, list[Path]] = {}
    for word in words:
        name, mark, path = word.partition("=")
        if not mark or Path(word).exists():
            name, path = None, word
        elif not name.strip() or not path:
            raise ConfigError(f"--reference {word}: must be CLIP or NAME=CLIP.")
        elif RESERVED_NAME.fullmatch(name.strip().lower()):
            raise ConfigError(
                f"--reference {word}: {name} is what faces without a name are called. Choose another name."
            )
        people.setdefault(name and name.strip(), []).append(Path(path))
    if None in people and len(people) > 1:
        raise ConfigError(f"--reference {people[None][0]}: give all people a name, NAME=CLIP, or none of them.")
    return people
