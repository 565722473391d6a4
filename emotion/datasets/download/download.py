"""Fetches RAVDESS or CREMA-D from their owners, checks every file, and unpacks it where the programs look for it.

It first says how much it will take. You can stop it at any time: the same command goes on from there, and does nothing
once all is there.
"""

import argparse
import contextlib
import shlex
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.console import Reporter
from emotion.datasets.download import owners
from emotion.datasets.download.archives import Ledger, unpack
from emotion.datasets.download.owners import CREMAD_MIRROR, CREMAD_TABLE, LFS_URLS, MODALITIES, SOURCES, CremadIndex
from emotion.errors import ConfigError
from emotion.fetching import RemoteFile, bytes_here, fetch, fetch_all, is_right
from emotion.files import make_folder
from emotion.https import FetchError, with_way_out
from emotion.places import DATASET_DIR

SPARE_BYTES = 100_000_000  # left free on the disk
CREMAD_FOLDER = "CREMA-D"
INDEX = ".index.json"


@dataclass(frozen=True)
class DownloadRequest:
    """What to fetch, from where, and where it goes.

    Attributes:
        actors: their numbers, from 1.
        modality: one of ``MODALITIES``.
        song: whether RAVDESS's sung recordings are wanted, too.
        output: the folder to write.
        keep_archives: whether RAVDESS's zip files stay after unpacking.
        dry_run: whether only to say what would be fetched.
        zenodo_url, github_url: RAVDESS's record, CREMA-D's repository.
        lfs_urls: CREMA-D's Git LFS servers, in the order to try.
    """

    actors: Sequence[int]
    modality: str
    song: bool
    output: Path
    keep_archives: bool
    dry_run: bool
    zenodo_url: str
    github_url: str
    lfs_urls: Sequence[str]


# ---- The command ----


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to fetch").add_argument
    add("data_set", choices=sorted(SOURCES), help="the data set")
    add("--actors", metavar="LIST", help="the actors to fetch, such as 1-4,7 (default: all; 1 is CREMA-D's 1001)")
    add("--modality", choices=MODALITIES, default="both", help="sound files, video files or both (default: both)")
    add("--song", action="store_true", help="RAVDESS: the sung recordings as well")
    add = parser.add_argument_group("where it goes, and how").add_argument
    add("--output", type=Path, default=DATASET_DIR, metavar="DIR", help="folder to write (default: %(default)s)")
    add("--keep_archives", action="store_true", help="RAVDESS: keep the zip files after unpacking")
    add("--dry_run", action="store_true", help="only say what would be fetched, and how much it is")
    add("--no_progress", action="store_true", help="no progress bar")
    add = parser.add_argument_group(
        "mirrors", "https, or http on this machine; the checksums still decide"
    ).add_argument
    add("--zenodo_url", default=owners.ZENODO_URL, help="RAVDESS's record (default: %(default)s)")
    add("--github_url", default=owners.GITHUB_URL, help="CREMA-D's repository (default: %(default)s)")
    add("--lfs_url", action="append", help="CREMA-D's Git LFS servers, tried in the order given "
        f"(default: {' and then '.join(LFS_URLS)})")  # fmt: skip
    parser.epilog = "Exit codes: 0 all is there; 1 it could not be fetched; 2 wrong settings or archive; 130 stopped."


def run(args: argparse.Namespace) -> int:
    """Fetches what the arguments name; returns the exit code."""
    source, reporter = SOURCES[args.data_set], Reporter(shows_bars=not args.no_progress)
    actors = read_actors(args.actors, source.n_actors, first=1001 if args.data_set == "cremad" else 1)
    if args.song and args.data_set != "ravdess":
        raise ConfigError("--song is for RAVDESS: CREMA-D has no sung recordings.")
    request = DownloadRequest(
        actors, args.modality, args.song, args.output, args.keep_archives, args.dry_run, args.zenodo_url,
        args.github_url, args.lfs_url or LFS_URLS,
    )  # fmt: skip
    reporter.say(f"{source.title}\nLicence: {source.licence}\nPlease cite: {source.citation}")
    try:
        {"ravdess": fetch_ravdess, "cremad": fetch_cremad}[args.data_set](request, reporter)
        return 0
    except KeyboardInterrupt:
        reporter.say("What has arrived is kept: give the same command again to go on.")
        raise
    except OSError as error:
        raise FetchError(
            f"{error.filename or args.output}: {error.strerror or error}. Mend that or choose another --output; what "
            "has arrived is kept."
        ) from None


def read_actors(text: str | None, n_actors: int, *, first: int = 1) -> list[int]:
    """Reads a list such as ``1-4,7``; None stands for all.

    Args:
        first: the data set's own number for the first actor, understood as well.

    Returns:
        Numbers from 1 to ``n_actors``, sorted, each once.
    """
    if text is None:
        return list(range(1, n_actors + 1))
    actors = set()
    for piece in text.split(","):
        ends = [end.strip() for end in piece.split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() for end in ends):
            raise ConfigError(f"--actors must be a list such as 1-4,7, got {text!r}.")
        low, high = (number - first + 1 if number >= first else number for number in (int(ends[0]), int(ends[-1])))
        if not 1 <= low <= high <= n_actors:
            raise ConfigError(f"--actors must lie between 1 and {n_actors}, the smaller number first, got {piece!r}.")
        actors.update(range(low, high + 1))
    return sorted(actors)


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
        f"To fetch: {n_files} files, {show(fetched)}. Disk: up to {show(needed)} needed, {show(free)} free at {folder}."
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
    reporter.say(f"Done: {len(todo)} files fetched, checked and unpacked into {output}.")
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
    reporter.say(f"Done: {len(todo)} files fetched and checked. CREMA-D lies in {folder}.")


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
        table.write_bytes(index.table)
        note.write_text(index.to_json(), encoding="utf-8")
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
