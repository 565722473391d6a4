"""Fetches RAVDESS or CREMA-D from their owners, checks every file, and unpacks it where the programs look for it.

Says first how much it will take. Can be stopped at any time: the same command goes on from there, and does nothing once
all is there.
"""

import argparse
import contextlib
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from emotion.console import ProgressBar
from emotion.datasets.download import owners as sources
from emotion.datasets.download.archives import Ledger, unpack
from emotion.datasets.download.owners import LFS_URLS, MODALITIES, SOURCES, CremadIndex
from emotion.datasets.download.transfer import RemoteFile, bytes_here, fetch, fetch_all, is_right
from emotion.datasets.download.web import DownloadError
from emotion.errors import ConfigError
from emotion.places import DATASET_DIR

# ---- Messages ----

SPARE_BYTES = 100_000_000  # left free on the disk


def say(message: str) -> None:
    """Prints to the output stream."""
    print(message, flush=True)


def warn(message: str) -> None:
    """Prints a note to the error stream, above a bar if one stands there."""
    from tqdm import tqdm

    tqdm.write(f"note: {message}", file=sys.stderr)


class Meter:
    """A progress bar in megabytes that several threads may move."""

    def __init__(self, what: str, total_bytes: int, *, shown: bool):
        self._bar, self._total, self._done = ProgressBar(what, "MB", shown=shown), total_bytes, 0
        self._lock = threading.Lock()

    def __call__(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            # Never quite full: a file that must be fetched again would move a bar that has closed.
            self._bar(min(self._done, self._total - 1) / 1e6, self._total / 1e6)

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_) -> None:
        self._bar(self._total / 1e6, self._total / 1e6)


def announce(output: Path, *, n_files: int, fetched: int, needed: int, refuse: bool) -> None:
    """Says what the download takes and what the disk has; refuses, if it is to, what does not fit."""
    folder = output.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    say(
        f"To fetch: {n_files} files, {show(fetched)}. Disk: up to {show(needed)} needed, {show(free)} free at {folder}."
    )
    if refuse and needed + SPARE_BYTES > free:
        raise DownloadError(
            f"It needs {show(needed)} of disk, and {folder} has {show(free)} free. Make room, or choose another "
            "--output, fewer --actors or one --modality."
        )


def show(n_bytes: float) -> str:
    """Returns a number of bytes in words: ``0.52 GB``, ``3.1 MB``."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


@contextlib.contextmanager
def advice(way_out: str) -> Iterator[None]:
    """Adds the way out to whatever goes wrong on the line."""
    try:
        yield
    except DownloadError as error:
        raise DownloadError(f"{error} {way_out}") from None


CREMAD_FOLDER = "CREMA-D"
INDEX = ".index.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data_set", choices=sorted(SOURCES), help="the data set to fetch")
    add("--actors", metavar="LIST", help="the actors to fetch, such as 1-4,7 (default: all; 1 is CREMA-D's 1001)")
    add("--output", type=Path, default=DATASET_DIR, metavar="DIR", help="where it goes (default: %(default)s)")
    add("--modality", choices=MODALITIES, default="both", help="sound files, video files or both (default: both)")
    add("--song", action="store_true", help="RAVDESS: the sung recordings as well")
    add("--dry_run", action="store_true", help="only say what would be fetched, and how much it is")
    add("--keep_archives", action="store_true", help="RAVDESS: keep the zip files when they are unpacked")
    add("--no_progress", action="store_true", help="no progress bar")
    mirrors = parser.add_argument_group("for mirrors", "https, or http on this machine; the checksums still decide")
    mirrors.add_argument("--zenodo_url", default=sources.ZENODO_URL, help="RAVDESS's record (default: %(default)s)")
    mirrors.add_argument("--github_url", default=sources.GITHUB_URL, help="CREMA-D's repository (default: %(default)s)")
    mirrors.add_argument("--lfs_url", action="append", help="CREMA-D's Git LFS servers, tried in the order given "
        f"(default: {' and then '.join(LFS_URLS)})")  # fmt: skip
    parser.epilog = "Exit codes: 0 all is there; 1 it could not be fetched; 2 wrong settings or archive; 130 stopped."


def run(args: argparse.Namespace) -> int:
    """Fetches what the arguments name; returns the exit code.

    Raises:
        EmotionError: with one line that says what is wrong and what to do.
    """
    source = SOURCES[args.data_set]
    actors = read_actors(args.actors, source.n_actors, first=1001 if args.data_set == "cremad" else 1)
    if args.song and args.data_set != "ravdess":
        raise ConfigError("--song is for RAVDESS: CREMA-D has no sung recordings.")
    say(f"{source.title}\nLicence: {source.licence}\nPlease cite: {source.citation}")
    try:
        return FETCHERS[args.data_set](args, actors)
    except KeyboardInterrupt:
        say("What has arrived is kept: give the same command again to go on.")
        raise
    except OSError as error:
        raise DownloadError(
            f"{error.filename or args.output}: {error.strerror or error}. Mend that or choose another --output; what "
            "has arrived is kept."
        ) from None


def read_actors(text: str | None, n_actors: int, *, first: int = 1) -> list[int]:
    """Reads a list such as ``1-4,7``; None stands for all.

    Args:
        text: the list.
        n_actors: how many there are.
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


# ---- RAVDESS ----


def fetch_ravdess(args: argparse.Namespace, actors: Sequence[int]) -> int:
    ledger, output = Ledger(args.output), args.output
    names = sources.name_archives(actors, modality=args.modality, song=args.song)
    parts = {name: its for name in names if (its := sources.actors_within(name, actors))}
    todo = [name for name in parts if not ledger.holds(name, map(str, parts[name]))]
    if not todo:
        say(f"All of it lies in {output} already; nothing to do.")
        return 0
    by_hand = (
        f"Or fetch {', '.join(todo[:2])}{' and so on' if todo[2:] else ''} by hand from {SOURCES['ravdess'].page} into "
        f"{output}, and unpack each into a folder of its own there."
    )
    with advice(by_hand):
        files = sources.read_zenodo_record(args.zenodo_url, todo, say=warn)
    here = {name: bytes_here(output / name, files[name]) for name in todo}
    for name in todo:
        say(f"  {name}  {show(files[name].size)}" + (f", {show(here[name])} of it here" if here[name] else ""))
    missing = [files[name].size - here[name] for name in todo]
    # An archive goes once it is unpacked, so that no two lie there at the same time.
    archives = sum(missing) if args.keep_archives else max(missing)
    unpacked = sum(files[name].size * sources.growth(name, parts[name]) for name in todo)
    announce(output, n_files=len(todo), fetched=sum(missing), needed=int(unpacked + archives), refuse=not args.dry_run)
    if args.dry_run:
        return 0
    with Meter("Fetching", sum(files[name].size for name in todo), shown=not args.no_progress) as meter:
        for name in todo:
            was_here = is_right(output / name, files[name])
            with advice(by_hand):
                fetch(files[name], output / name, say=warn, advance=meter)
            ledger.add(name, files[name].checksum, unpack_ravdess(output, name, parts[name]))
            if was_here and not args.keep_archives:
                warn(f"{output / name} lay there before and is kept; it is no longer needed.")
            elif not args.keep_archives:
                (output / name).unlink()
    say(f"Done: {len(todo)} files fetched, checked and unpacked into {output}.")
    say(f"To train on them: python train_model.py --dataset_dir {shlex.quote(str(output))}")
    return 0


def unpack_ravdess(output: Path, name: str, actors: Sequence[int]) -> dict[str, dict[str, int]]:
    """Unpacks these actors' files into a folder with the archive's name; returns actor -> path -> size in bytes."""
    folder = name.removesuffix(".zip")
    unpacked = unpack(output / name, output / folder, wanted=lambda member: sources.actor_of_member(member) in actors)
    parts = {str(actor): {} for actor in actors}
    for member, size in unpacked.items():
        parts[str(sources.actor_of_member(member))][f"{folder}/{member}"] = size
    without = [actor for actor, files in parts.items() if not files]
    if without:
        raise DownloadError(f"{output / name} holds no recordings of actor {without[0]}.")
    return parts


# ---- CREMA-D ----


def fetch_cremad(args: argparse.Namespace, actors: Sequence[int]) -> int:
    folder = args.output / CREMAD_FOLDER
    by_hand = (
        f"Or clone {sources.CREMAD_MIRROR} with Git LFS, and put AudioWAV, VideoFlash and VideoDemographics.csv into "
        f"{folder}."
    )
    with advice(by_hand):
        index = read_index(folder, args)
    wanted = {folder / path: RemoteFile("", size, f"sha256:{oid}")
              for path, (oid, size) in index.select(actors, args.modality).items()}  # fmt: skip
    with Meter(
        "Checking what is here", sum(file.size for file in wanted.values()), shown=not args.no_progress
    ) as meter:
        todo = []
        for path, file in wanted.items():
            if not is_right(path, file):
                todo.append(path)
            meter(file.size)
    if not todo:
        say(f"All of it lies in {folder} already; nothing to do.")
        return 0
    missing = sum(wanted[path].size - bytes_here(path, wanted[path]) for path in todo)
    announce(args.output, n_files=len(todo), fetched=missing, needed=missing, refuse=not args.dry_run)
    if args.dry_run:
        return 0
    servers = list(args.lfs_url or LFS_URLS)
    with (
        Meter("Fetching", sum(wanted[path].size for path in todo), shown=not args.no_progress) as meter,
        advice(by_hand),
    ):
        for start in range(0, len(todo), sources.LFS_FILES_A_REQUEST):
            fetch_batch(
                {path: wanted[path] for path in todo[start : start + sources.LFS_FILES_A_REQUEST]}, servers, meter
            )
    say(f"Done: {len(todo)} files fetched and checked. CREMA-D lies in {folder}.")
    return 0


def read_index(folder: Path, args: argparse.Namespace) -> CremadIndex:
    """Returns what CREMA-D's repository lists, from an earlier call or from the owner."""
    note, table = folder / INDEX, folder / sources.CREMAD_TABLE
    if table.exists() and note.exists():
        with contextlib.suppress(ValueError):
            return CremadIndex.from_json(note.read_text(encoding="utf-8"))
    say(f"Reading the list of recordings from {args.github_url} (some 20 MB) ...")
    index = sources.read_cremad_index(args.github_url, say=warn)
    if not args.dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        table.write_bytes(index.table)
        note.write_text(index.to_json(), encoding="utf-8")
    return index


def fetch_batch(files: dict[Path, RemoteFile], servers: list[str], meter: Meter) -> None:
    """Fetches files from the first server, or from the next one from the moment on at which that one fails."""
    while True:
        # Signed addresses live for minutes, so they are asked for just before they are used.
        missing = {path: file for path, file in files.items() if not is_right(path, file)}
        try:
            contents = [(file.checksum.removeprefix("sha256:"), file.size) for file in missing.values()]
            found = sources.ask_lfs(servers[0], contents, say=warn)
            pairs = [(found[file.checksum.removeprefix("sha256:")], path) for path, file in missing.items()]
            fetch_all(pairs, say=warn, advance=meter)
            return
        except DownloadError as error:
            if len(servers) == 1:
                raise
            # GitHub stops for the month when the repository's quota for Git LFS is used up.
            warn(f"{error} Going on with {servers[1]}, which holds the same contents.")
            del servers[0]


FETCHERS = {"ravdess": fetch_ravdess, "cremad": fetch_cremad}
