"""What 8-bit quantization gains and costs: a model's answers for FER+ faces and its speed in each runtime.

The faces are FER+'s validation side, which no shipped model learned from. Each becomes a clip of one repeated picture
with camera noise. The 8-bit network is calibrated on the clips given, which are not from FER+.

python -m benchmarks.precision --data_dir DIR --calibrate_on CLIP [CLIP ...]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.designs import load_faces
from emotion.config import RunConfig
from emotion.config_files import load_config
from emotion.console import Reporter, quiet_import, run_program
from emotion.errors import ConfigError, DatasetError
from emotion.labels import SEVEN_EMOTIONS
from emotion.outputs.score_tables import format_table
from emotion.places import CACHE_DIR, default_run, find_model

RUNTIMES = ("keras", "onnx", "int8")
FACES_AT_ONCE = 8
NOISE_LEVELS = 1  # grey levels of camera noise: without it, every clip is a photograph
N_FACES = 1500


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, metavar="DIR", help="folder with ferplus/")
    add(
        "--calibrate_on",
        nargs="+",
        type=Path,
        required=True,
        metavar="CLIP",
        help="media to calibrate eight bits on",
    )
    add("--model", type=find_model, default=default_run(), metavar="FOLDER", help="default: saved_models/default")
    add("--faces", type=int, default=N_FACES, help="number of faces, drawn at random (default: %(default)s)")
    add("--output", type=Path, default=CACHE_DIR / "designs", help="for aligned faces (default: %(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = build_parser().parse_args(arguments)
    path = args.data_dir / "ferplus" / "ferplus_valid.npz"
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. Name its folder with --data_dir.")
    with quiet_import():
        from emotion.models.export_int8 import export_int8
        from emotion.models.run_folder import CONFIG_FILE, load_run
        from emotion.models.trained_model import time_window
    config = load_config(args.model / CONFIG_FILE)
    if sorted(config.class_names) != sorted(SEVEN_EMOTIONS) or "video" not in config.modalities:
        raise ConfigError(f"{args.model}: this needs a model with FER+'s seven emotions that takes faces.")
    if config.video.image_size != RunConfig().video.image_size:
        raise ConfigError(f"{args.model}: takes faces of another size than FER+'s are stored in.")
    args.output.mkdir(parents=True, exist_ok=True)
    stills = load_faces(path, args.output)
    clear = np.flatnonzero(stills.majority >= 0)
    chosen = np.random.default_rng(0).permutation(clear)[: args.faces]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(args.model, Path(folder) / args.model.name))
        Reporter().say(str(export_int8(load_run(copy), args.calibrate_on)))
        answers, milliseconds = {}, {}
        for name in RUNTIMES:
            run = load_run(copy, runtime=name)
            milliseconds[name] = 1000 * time_window(run)
            columns = [config.class_names.index(emotion) for emotion in SEVEN_EMOTIONS]
            answers[name] = judge_faces(run, stills.images[chosen])[:, columns]
    print(format_answers(answers, milliseconds, stills.majority[chosen]))
    print(f"\n{len(chosen)} faces of FER+'s validation side, {args.model.name}")
    return 0


def judge_faces(run, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities ``(n, n_classes)`` for grey faces ``(n, size, size)`` uint8, one clip each."""
    config, numbers = run.config, np.random.default_rng(0)
    answers = []
    for first in range(0, len(images), FACES_AT_ONCE):
        part = images[first : first + FACES_AT_ONCE]
        clips = np.repeat(np.repeat(part[:, None, :, :, None], config.video.n_frames, axis=1), 3, axis=-1)
        noise = numbers.integers(-NOISE_LEVELS, NOISE_LEVELS + 1, clips.shape)
        inputs = {
            "audio": np.zeros((len(part), *config.audio_shape), np.float32),
            "video": np.clip(clips + noise, 1, 255).astype(np.uint8),
        }
        answers.append(run.predict({name: inputs[name] for name in config.modalities}))
    return np.concatenate(answers)


def format_answers(answers: dict[str, np.ndarray], milliseconds: dict[str, float], truths: np.ndarray) -> str:
    """Returns a Markdown table of each runtime's scores, and its differences from the first runtime."""
    from sklearn.metrics import recall_score

    exact, rows = answers[RUNTIMES[0]], []
    for name, given in answers.items():
        chosen = given.argmax(axis=1)
        rows.append((
            name,
            f"{milliseconds[name]:.1f}",
            f"{100 * np.mean(chosen == truths):.1f}",
            f"{100 * recall_score(truths, chosen, average='macro', zero_division=0):.1f}",
            f"{100 * np.mean(chosen == exact.argmax(axis=1)):.1f}",
            f"{np.abs(given - exact).mean():.4f}",
            f"{np.abs(given - exact).max():.4f}",
        ))  # fmt: skip
    header = ("runtime", "ms a window", "accuracy %", "UAR %", "same as Keras %", "mean difference", "largest")
    return format_table(header, rows)


if __name__ == "__main__":
    sys.exit(run_program(main))
