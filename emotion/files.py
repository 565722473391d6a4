"""Files that are either whole or not there."""

import contextlib
import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from emotion.errors import ConfigError, EmotionError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None


def displayable(name: str | os.PathLike) -> str:
    """Returns a file's name as it can be written anywhere: what is no Unicode, and line breaks, by their codes.

    Names that differ still do: ``caf\\xe8`` is not ``caf\\xe9``.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Lends a path to write a file to, in the same folder; if the block ends well, it takes the place of ``path``.

    A kill or an error leaves the old file or the new one, never half of one. Every file that the program writes and
    reads again is written this way.

    Example:
        with written_whole("scores.npz") as partial:
            partial.write_bytes(content)
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Writes a text file whole; see ``written_whole``."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")  # names of files need not be Unicode


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keeps other programs that do the same out of a folder for a while; the lock ends with the program, too.

    Raises:
        ConfigError: if another program is in it.
    """
    if fcntl is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigError(
            f"{folder}: another program is writing its results there. Wait for it, or name another folder."
        ) from None
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked_names(paths: Iterable[Path]) -> Iterator[None]:
    """Keeps other programs that do the same from writing files for a while; the locks end with the program, too.

    Raises:
        ConfigError: if another program is writing one of them.
    """
    if fcntl is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        for path in paths:
            name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
            place = Path(tempfile.gettempdir()) / f"emotion-{name}.lock"
            try:
                file = stack.enter_context(open(place, "w", encoding="utf-8"))
            except OSError:  # another user's
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(f"{path}: another program is writing it. Wait, or give another name.") from None
            stack.callback(place.unlink, missing_ok=True)
        yield


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes JSON that people can read, whole or not at all.

    Raises:
        ValueError: if a number in it is not finite: JSON has no word for that.
    """
    write_whole(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


# ---- Files that come inside installed packages: found without importing the package, and known by their SHA-256 ----


def find_packaged_file(package: str, name: str, sha256: str, *, what: str) -> Path:
    """Returns where a file of an installed package lies, after checking that it is the expected one.

    Args:
        package: that carries it. It is not imported, which would cost time and bring nothing.
        name: of the file, beside the package's ``__init__.py``.
        sha256: of its content.
        what: it is, as an error is to call it.

    Raises:
        EmotionError: if it is not installed or is another file.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EmotionError(
            f"{what} {name} is not installed. It comes with the package {package.replace('_', '-')}: pip install -r "
            "requirements.txt"
        )
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise EmotionError(
                f"{path} is not {what[0].lower()}{what[1:]} that this program was tested with: pip install "
                "--force-reinstall -r requirements.txt"
            )
    return path
