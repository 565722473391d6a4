"""What tests of the documents share: their commands, and a folder in which these can be followed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

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
    """The commands in a document's blocks, without what follows a #, in one line each."""
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


def python_blocks(path: Path) -> list[str]:
    return [block for language, block in BLOCK.findall(path.read_text(encoding="utf-8")) if language == "python"]


def make_place(place: Path) -> Path:
    """Makes a folder that looks like the project's to whoever follows the documents in it."""
    # Copies: a link would lead the programs to write into the project itself.
    for name in ("run_inference.py", "train_model.py"):
        shutil.copy(ROOT / name, place / name)
    shutil.copytree(ROOT / "emotion", place / "emotion", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "samples").symlink_to(ROOT / "samples")
    (place / "saved_models").mkdir()
    (place / "saved_models" / "default").symlink_to(ROOT / "saved_models" / "default")
    shutil.copy(ROOT / "samples" / "astronaut.mp4", place / "clip.mp4")
    (place / "clips").mkdir()
    shutil.copy(ROOT / "samples" / "astronaut.mp4", place / "clips" / "one.mp4")
    write_synthetic_dataset(place / "dataset", emotions=("happy", "sad"), n_speakers=3, n_repetitions=1)
    clip = next((place / "dataset").rglob("01-01-03-*.mp4")).relative_to(place)
    (place / "clips.csv").write_text(f"path,emotion,speaker\nclip.mp4,happy,eileen\n{clip},happy,drawn\n")
    return place


def follow(place: Path, command: str, **variables: str) -> subprocess.CompletedProcess:
    words = shlex.split(command.replace("--epochs 20", "--epochs 1"))
    env = {**os.environ, "PYTHONPATH": str(place), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    return subprocess.run(
        [sys.executable, *words[1:]], cwd=place, env=env, capture_output=True, text=True, timeout=600, check=False
    )


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
    "python train_model.py --dataset_dir my_clips --protocol random --epochs 20 --output saved_models/mine",
    "python train_model.py --manifest clean/manifest.csv --epochs 20 --output saved_models/mine_apart",
)
