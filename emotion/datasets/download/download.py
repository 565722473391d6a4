"""Fetches RAVDESS or CREMA-D from their owners, checks every file, and unpacks it where the programs look for it.

It first says how much it will take. You can stop it at any time: the same command goes on from there, and does nothing
once all is there.
"""

import contextlib
import shlex
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.console import Reporter, counted
from emotion.datasets.download import owners
from emotion.datasets.download.archives import Ledger, unpack
from emotion.datasets.download.owners import CREMAD_MIRROR, CREMAD_TABLE, SOURCES, CremadIndex
from emotion.errors import ConfigError
from emotion.fetching import RemoteFile, bytes_here, fetch, fetch_all, is_right
from emotion.files import make_folder, write_whole, written_whole
from emotion.https import FetchError, with_way_out

SPARE_BYTES = 100_000_000  # left free on the disk
CREMAD_FOLDER = "CREMA-D"
INDEX = ".index.json"


@dataclass(frozen=True)
class DownloadRequest:
    """What to fetch, from where, and where it goes.

    Attributes:
        data_set: a key of ``SOURCES``.
        actors: their numbers, from 1.
        modality: one of ``owners.MODALITY_CHOICES``.
        song: whether RAVDESS's sung recordings are wanted, too.
        output: the folder to write.
        keep_archives: whether RAVDESS's zip files stay after unpacking.
        dry_run: whether only to say what would be fetched.
        zenodo_url, github_url: RAVDESS's record, CREMA-D's repository.
        lfs_urls: CREMA-D's Git LFS servers, in the order to try.

    Raises:
        ConfigError: for songs of a data set that has none.
    """

    data_set: str
    actors: Sequence[int]
    modality: str
    song: bool
    output: Path
    keep_archives: bool
    dry_run: bool
    zenodo_url: str
    github_url: str
    lfs_urls: Sequence[str]

    def __post_init__(self):
        if self.song and self.data_set != "ravdess":
            raise ConfigError("--song is for RAVDESS: CREMA-D has no sung recordings.")


def fetch_dataset(request: DownloadRequest, reporter: Reporter) -> None:
    """Fetches, checks and unpacks what was requested, as far as it is not there yet.

    Raises:
        FetchError: if something cannot be fetched or written; what has arrived is kept.
    """
    source = SOURCES[request.data_set]
    reporter.say(f"{source.title}\nLicence: {source.licence}\nPlease cite: {source.citation}")
    try:
        {"ravdess": fetch_ravdess, "cremad": fetch_cremad}[request.data_set](request, reporter)
    except KeyboardInterrupt:
        reporter.say("What has arrived is kept: give the same command again to go on.")
        raise
    except OSError as error:
        raise FetchError(
            f"{error.filename or request.output}: {error.strerror or error}. Mend that or choose another --output; "
            "what has arrived is kept."
        ) from None


class Meter:
    """A progress bar in megabytes over several files, which several threads may move."""

    def __init__(self, what: str, total_bytes: int, reporter: Reporter):
        self._bar, self._total = reporter.bar(what, "MB"), total_bytes
        self._here, self._done, self._lock = {}, 0, threading.Lock()

    def __call__(self, path: Path, n_bytes: int) -> None:
        """Notes how many bytes of a file are here."""
        with self._lock:
            self._done += n_bytes - self._here.get(path, 0)
            self._here[path] = n_bytes
            # Never quite full: a file that must be fetched again would move a bar that has closed.
            self._bar(min(self._done, self._total - 1) / 1e6, self._total / 1e6)

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_) -> None:
        self._bar(self._total / 1e6, self._total / 1e6)


def announce(request: DownloadRequest, reporter: Reporter, *, n_files: int, fetched: int, needed: int) -> None:
    """Says what the download takes and what the disk has; refuses what does not fit, except in a dry run."""
    folder = request.output.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    reporter.say(
        f"To fetch: {counted(n_files, 'file')}, {show(fetched)}. Disk: up to {show(needed)} needed, "
        f"{show(free)} free at {folder}."
    )
    if not request.dry_run and needed + SPARE_BYTES > free:
        raise FetchError(
            f"It needs {show(needed)} of disk, and {folder} has {show(free)} free. Make room, or choose another "
            "--output, fewer --actors or one --modality."
        )


def show(n_bytes: float) -> str:
    """Returns a number of bytes in words: ``0.52 GB``, ``3.1 MB``."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


# ---- RAVDESS ----


def fetch_ravdess(request: DownloadRequest, reporter: Reporter) -> None:
    ledger, output = Ledger(request.output), request.output
    names = owners.name_archives(request.actors, modality=request.modality, song=request.song)
    parts = {name: its for name in names if (its := owners.actors_within(name, request.actors))}
    todo = [name for name in parts if not ledger.holds(name, map(str, parts[name]))]
    if not todo:
        reporter.say(f"All of it lies in {output} already; nothing to do.")
        return
    by_hand = (
        f"Or fetch {', '.join(todo[:2])}{' and so on' if todo[2:] else ''} by hand from {SOURCES['ravdess'].page} into "
        f"{output}, and unpack each into a folder of its own there."
    )
    with with_way_out(by_hand):
        files = owners.read_zenodo_record(request.zenodo_url, todo, reporter=reporter)
    here = {name: bytes_here(output / name, files[name]) for name in todo}
    for name in todo:
        reporter.say(f"  {name}  {show(files[name].size)}" + (f", {show(here[name])} of it here" if here[name] else ""))
    missing = [files[name].size - here[name] for name in todo]
    # An archive is deleted once it is unpacked, so there is one at a time.
    archives = sum(missing) if request.keep_archives else max(missing)
    unpacked = sum(files[name].size * owners.growth(name, parts[name]) for name in todo)
    announce(request, reporter, n_files=len(todo), fetched=sum(missing), needed=int(unpacked + archives))
    if request.dry_run:
        return
    with Meter("Fetching", sum(files[name].size for name in todo), reporter) as meter:
        for name in todo:
            was_here = is_right(output / name, files[name])
            with with_way_out(by_hand):
                fetch(files[name], output / name, tell=meter, reporter=reporter)
            ledger.add(name, files[name].checksum, unpack_ravdess(output, name, parts[name]))
            if was_here and not request.keep_archives:
                reporter.warn(f"note: {output / name} lay there before and is kept; it is no longer needed.")
            elif not request.keep_archives:
                (output / name).unlink()
    reporter.say(f"Done: {counted(len(todo), 'file')} fetched, checked and unpacked into {output}.")
    reporter.say(f"To train on them: python train_model.py --dataset_dir {shlex.quote(str(output))}")


def unpack_ravdess(output: Path, name: str, actors: Sequence[int]) -> dict[str, dict[str, int]]:
    """Unpacks these actors' files into a folder with the archive's name; returns actor -> path -> size in bytes."""
    folder = name.removesuffix(".zip")
    unpacked = unpack(output / name, output / folder, wanted=lambda member: owners.actor_of_member(member) in actors)
    parts = {str(actor): {} for actor in actors}
    for member, size in unpacked.items():
        parts[str(owners.actor_of_member(member))][f"{folder}/{member}"] = size
    without = [actor for actor, files in parts.items() if not files]
    if without:
        raise FetchError(f"{output / name} holds no recordings of actor {without[0]}.")
    return parts


# ---- CREMA-D ----


def fetch_cremad(request: DownloadRequest, reporter: Reporter) -> None:
    folder = request.output / CREMAD_FOLDER
    by_hand = f"Or clone {CREMAD_MIRROR} with Git LFS, and put AudioWAV, VideoFlash and {CREMAD_TABLE} into {folder}."
    with with_way_out(by_hand):
        index = read_index(folder, request, reporter)
    wanted = {folder / path: RemoteFile("", size, f"sha256:{oid}")
              for path, (oid, size) in index.select(request.actors, request.modality).items()}  # fmt: skip
    todo = {}
    with Meter("Checking what is here", sum(file.size for file in wanted.values()), reporter) as meter:
        for path, file in wanted.items():
            if not is_right(path, file):
                todo[path] = file
            meter(path, file.size)
    if not todo:
        reporter.say(f"All of it lies in {folder} already; nothing to do.")
        return
    missing = sum(file.size - bytes_here(path, file) for path, file in todo.items())
    announce(request, reporter, n_files=len(todo), fetched=missing, needed=missing)
    if request.dry_run:
        return
    servers, paths = list(request.lfs_urls), list(todo)
    with Meter("Fetching", sum(file.size for file in todo.values()), reporter) as meter, with_way_out(by_hand):
        for start in range(0, len(paths), owners.LFS_FILES_A_REQUEST):
            batch = paths[start : start + owners.LFS_FILES_A_REQUEST]
            fetch_batch({path: todo[path] for path in batch}, servers, meter, reporter)
    reporter.say(f"Done: {counted(len(todo), 'file')} fetched and checked. CREMA-D lies in {folder}.")


def read_index(folder: Path, request: DownloadRequest, reporter: Reporter) -> CremadIndex:
    """Returns what CREMA-D's repository lists, from an earlier call or from the owner."""
    note, table = folder / INDEX, folder / CREMAD_TABLE
    if table.exists() and note.exists():
        with contextlib.suppress(ValueError):
            return CremadIndex.from_json(note.read_text(encoding="utf-8"))
    reporter.say(f"Reading the list of recordings from {request.github_url} (some 20 MB) ...")
    index = owners.read_cremad_index(request.github_url, reporter=reporter)
    if not request.dry_run:
        make_folder(folder)
        with written_whole(table) as partial:
            partial.write_bytes(index.table)
        write_whole(note, index.to_json())
    return index


def fetch_batch(files: dict[Path, RemoteFile], servers: list[str], meter: Meter, reporter: Reporter) -> None:
    """Fetches files from the first server; where that one fails, it is struck off and the next one is asked."""
    while True:
        # Signed addresses live for minutes, so they are asked for just before they are used.
        missing = {path: file for path, file in files.items() if not is_right(path, file)}
        try:
            found = owners.ask_lfs(servers[0], missing.values(), reporter=reporter)
            fetch_all([(found[file.checksum], path) for path, file in missing.items()], tell=meter, reporter=reporter)
            return
        except FetchError as error:
            if len(servers) == 1:
                raise
            # GitHub stops for the month when the repository's quota for Git LFS is used up.
            reporter.warn(f"note: {error} Going on with {servers[1]}, which holds the same contents.")
            del servers[0]
