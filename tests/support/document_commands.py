"""The commands in the documents, the table of what runs each, and a folder in which they can run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from emotion.config import RECIPE_NAMES
from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.places import project_dir

ROOT = project_dir()

DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"),
                      *ROOT.glob("saved_models/*/MODEL_CARD.md")]
    if "<!-- The site shows" not in path.read_text(encoding="utf-8")
)  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = re.compile(r"^(\.venv/bin/|)(python3?|make|pip|hf|docker|git|emotion-\w+|cd|peer/bin/\w+) ")


def commands_of(path: Path) -> list[str]:
    """Returns the commands in a document's code blocks, without comments, one string each."""
    found = []
    for language, block in BLOCK.findall(path.read_text(encoding="utf-8")):
        if language not in ("", "sh", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s+#|&&", line)[:1] if "&&" not in line else [line]:
                if PROGRAMS.match(part.strip() + " "):
                    found.append(re.sub(r"^(\.venv/bin/|peer/bin/)", "", part.split("  #")[0].strip()))
    return found


COMMANDS = sorted({(path.relative_to(ROOT).as_posix(), command) for path in DOCUMENTS for command in commands_of(path)})


class Row(NamedTuple):
    """A row of a table that says what does here what something else does elsewhere, by its pieces of code.

    ``section`` is the heading above, ``program`` ours that the table's second column names, or none.
    """

    section: str
    program: str
    there: tuple[str, ...]
    here: tuple[str, ...]
    text: str

    @property
    def commands(self) -> list[str]:
        """Our commands in this row; options alone become a command of the table's program."""
        options = [f"{self.program} {code}" for code in self.here if self.program and code.startswith("--")]
        return [code for code in self.here if PROGRAMS.match(f"{code} ")] + options


def rows_of(path: Path) -> list[Row]:
    """Returns the rows of a document's tables with two columns."""
    found, section, program = [], "", None
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            section = line[3:]
        if not line.startswith("|") or len(cells) != 2:
            program = None  # the next row is a table's head
        elif program is None:
            code = "".join(re.findall(r"`([^`]+)`", cells[1]))
            program = f"python {code}" if code.endswith(".py") else code
        elif not line.startswith("|--"):
            there, here = (tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells)
            found.append(Row(section, program, there, here, cells[1]))
    return found


def python_blocks(path: Path) -> list[str]:
    return [block for language, block in BLOCK.findall(path.read_text(encoding="utf-8")) if language == "python"]


def make_place(place: Path) -> Path:
    """Makes a folder in which the documents' commands work as in the project's own."""
    # Copies: with links, the programs would write into the project itself.
    for name in ("run_inference.py", "train_model.py"):
        shutil.copy(ROOT / name, place / name)
    shutil.copytree(ROOT / "emotion", place / "emotion", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "samples").symlink_to(ROOT / "samples")
    (place / "saved_models").mkdir()
    for name in RECIPE_NAMES:
        (place / "saved_models" / name).symlink_to(ROOT / "saved_models" / name)
    shutil.copy(ROOT / "samples" / "astronaut.mp4", place / "clip.mp4")
    (place / "clips").mkdir()
    shutil.copy(ROOT / "samples" / "astronaut.mp4", place / "clips" / "one.mp4")
    write_synthetic_dataset(place / "dataset", emotions=("happy", "sad"), n_speakers=3, n_repetitions=1)
    clip = next((place / "dataset").rglob("01-01-03-*.mp4")).relative_to(place)
    (place / "clips.csv").write_text(f"path,emotion,speaker\nclip.mp4,happy,eileen\n{clip},happy,drawn\n")
    return place


def follow(place: Path, command: str, **variables: str) -> subprocess.CompletedProcess:
    words = shlex.split(command)
    env = {**os.environ, "PYTHONPATH": str(place), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    return subprocess.run(
        [sys.executable, *words[1:]], cwd=place, env=env, capture_output=True, text=True, timeout=600, check=False
    )


# Run by test_documents.py, in this order, in one folder.
RUN_HERE = (
    "python run_inference.py --video_path clip.mp4",
    "python run_inference.py clips/ --json --csv --srt",
    "python run_inference.py clip.mp4 --blur_faces --notice",
    "python -m emotion.datasets check dataset/",
    "python -m emotion.datasets clean dataset/ --output clean/",
    "python -m emotion.datasets check my_clips",
    "python -m emotion.datasets clean my_clips --output clean",
    "python -m emotion.evaluate --manifest clips.csv",
    "python -m emotion.evaluate --model saved_models/default --manifest clips.csv --json scores.json --plots plots/",
    "python train_model.py --init accurate --dataset_dir my_clips --protocol random --output saved_models/mine",
    "python train_model.py --init accurate --manifest clean/manifest.csv --output saved_models/mine_apart",
)

# Run by documents/test_every_command.py, in this order; each with what makes it take seconds, or find what the ones
# before it wrote.
QUICK, RAVDESS = "--epochs 1 --no_progress", "--dataset ravdess --dataset_dir dataset"
RUN_IN_MINUTES = {
    "python run_inference.py clip.mp4 --model saved_models/accurate": "",
    "python train_model.py --list_models": "",
    "python train_model.py --demo": QUICK,
    "python train_model.py": f"{QUICK} --output saved_models/RUN",
    "python train_model.py --manifest clips.csv": QUICK,
    "python train_model.py --model NAME": f"{QUICK} --modality video --output saved_models/FACES",
    "python train_model.py --model NAME --modality audio": f"{QUICK} --output saved_models/VOICES",
    "python -m emotion.fuse --audio saved_models/VOICES --video saved_models/FACES --out saved_models/FUSED": "",
    "python train_model.py --fusion late --audio_model logmel_cnn --video_model mfcc_cnn_3d --method product":
        f"{QUICK} --output saved_models/mine",
    "python run_inference.py --video_path clip.mp4 --model saved_models/RUN": "--overwrite",
    "python run_inference.py --video_path clip.mp4 --model saved_models/mine": "--overwrite",
    "python -m emotion.export saved_models/RUN": "",
    "python -m emotion.export saved_models/RUN --format litert": "",
    "python -m emotion.export saved_models/RUN --precision int8 --calibrate_on CLIP [CLIP ...]": "",
    "python -m emotion.export saved_models/default --format onnx": "",
    "cd saved_models/default/export/onnx && python example.py": "",
    "python -m emotion.export saved_models/default --format savedmodel": "",
    "python -m emotion.export saved_models/default --format litert": "",
    "python -m emotion.export saved_models/default --precision int8 --calibrate_on clip.mp4 another.mp4": "",
    "python run_inference.py --video_path clip.mp4 --runtime int8": "--overwrite",
    "python -m emotion.hub push saved_models/RUN USER/NAME": "--license mit",
    "python -m emotion.hub push saved_models/mine USER/NAME --license cc-by-nc-sa-4.0": "",
    "python -m emotion.hub pull USER/NAME": "",
    "python run_inference.py --video_path clip.mp4 --model hf://USER/NAME": "--overwrite",
    f"python -m emotion.evaluate --model saved_models/RUN {RAVDESS} --modality audio": "",
    f"python -m emotion.evaluate folds {RAVDESS} --folds 5 --output saved_models/folds": QUICK,
    f"python -m emotion.evaluate protocols {RAVDESS} --folds 5 --output saved_models/protocols": QUICK,
    "python -m emotion.evaluate folds --protocol kfold --dataset_dir DIR --output FOLDER/kfold": f"{QUICK} --folds 5",
    "python -m emotion.evaluate folds --protocol random --dataset_dir DIR --output FOLDER/random": f"{QUICK} --folds 5",
    "python benchmarks/baselines.py --dataset_dir DIR": "--systems mfcc_svm",
    "python benchmarks/baselines.py --dataset_dir DIR --compare FOLDER": "--systems mfcc_svm",
    "python -m emotion.datasets convert-labels train_sent_emo.csv --output labels/": "",
    "python -m benchmarks.designs --data_dir DIR": "--models logmel_cnn --parts ears --voice_epochs 1",
    "python -m benchmarks.precision --data_dir DATA --faces 3000 --calibrate_on CLIPS": "--faces 10",
}  # fmt: skip

# Not run from the documents: patterns, with the test that runs the same in small, or the reason.
NOT_RUN = {
    r"make (demo|test|docs|lint)$": ".ci/run",
    r"make test-fast$": "part of make test",
    r"make test-thorough$": "make test and more",
    r"make (demo-web|test-browser)$|python -m emotion.web_demo": "tests/browser/test_page.py",
    r"python -m emotion.serve": "tests/journeys/test_service.py",
    r"docker |pip |python -m pip |python3 -m venv|hf auth login": "needs the network or an account",
    r"python -m emotion.datasets download": "tests/datasets/test_download.py",
    r"python -m emotion.weights |.*--pretrained": "tests/models/test_pretrained.py",
    r"python -m emotion.fuse --audio saved_models/best_wav2vec2": "tests/journeys/test_pretrained_experts.py",
    r"python -m emotion.calibrate ": "tests/training/test_recalibrating.py",
    r"python train_model.py --init accurate (--labels auto )?--protocol": "tests/training/test_starting.py",
    r"python -m benchmarks( |$)": "tests/benchmarks/test_speed.py",
    r"python train_model.py --recipe|python -m emotion.evaluate corpora": "tests/training/test_recipes.py",
    r"python run_inference.py clips/ --(workers|shard|cluster)": "tests/inference/test_workers.py",
    r"python run_inference.py s3://": "tests/inference/test_addresses.py",
    r"python train_model.py --strategy mirrored|.*tests/training/test_devices.py": "tests/training/test_devices.py",
    r"python run_inference.py 0 ": "tests/inference/test_live.py",
    r"make (fuzz|crash|flood|load)": "as long as you ask for",
    r"make release": "needs the network",
    r"python samples/make_astronaut_clip.py": "needs scikit-image, and replaces the sample",
}
