"""Trains the ears and eyes of each design that can begin from scratch, on the same data and alike, and scores them.

Ears learn RAVDESS speech, judged over five folds with speakers apart; eyes learn FER+ pictures, judged on FER+'s own
validation side. Nothing is chosen by what is tested: epochs, learning rates and sizes are fixed beforehand.

python -m benchmarks.designs --data_dir DIR
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from emotion.config import RunConfig, TrainConfig
from emotion.console import Reporter, quiet_import, run_program
from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS
from emotion.places import CACHE_DIR

N_FOLDS, SEED = 5, 0
VOICES_AT_ONCE, PICTURES_AT_ONCE = 16, 64
N_VARIANTS = 8  # augmented copies of each voice, made once and drawn from
WEIGHT_DECAY = 0.05
MODEL_NAMES = ("mfcc_cnn_3d", "logmel_cnn", "resnet18_ast", "mobilefacenet_lstm")
# The published transformer takes half a second for a window on two cores and is made to begin with pretrained weights;
# from scratch, on some hundred clips a speaker, a small one is what can be trained.
SETTINGS: dict[str, dict[str, Any]] = {
    "resnet18_ast": {"ast_width": 128, "ast_heads": 2, "ast_blocks": 3, "ast_stride": 16},
}
LEARNING_RATES = {"resnet18_ast": 1e-3}  # transformers from scratch diverge at the convolutions' rate
LEARNING_RATE = 2e-3
# Depthwise convolutions are slower in 16 bits than in 32.
EXACT_DESIGNS = ("mobilefacenet_lstm",)
# FER+ pictures have 48 pixels. Two designs halve what they are shown; the others are shown the pictures as they are.
SIDES = {"mfcc_cnn_3d": 112, "logmel_cnn": 112, "resnet18_ast": 48, "mobilefacenet_lstm": 48}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.designs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, metavar="DIR", help="folder that holds ravdess/ and ferplus/")
    add("--models", nargs="+", choices=MODEL_NAMES, default=MODEL_NAMES, help="the designs (default: all)")
    add("--parts", nargs="+", choices=("ears", "eyes"), default=("ears", "eyes"), help="what to train (default: both)")
    add("--voice_epochs", type=int, default=40, help="passes over the voices (default: %(default)s)")
    add("--face_epochs", type=int, default=3, help="passes over the faces (default: %(default)s)")
    add("--output", type=Path, default=CACHE_DIR / "designs", help="folder to write; the same command goes on where it "
        "was stopped (default: %(default)s)")  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = build_parser().parse_args(arguments)
    needed = {"ears": ("ravdess",), "eyes": ("ferplus/ferplus_train.npz", "ferplus/ferplus_valid.npz")}
    for path in (args.data_dir / name for part in args.parts for name in needed[part]):
        if not path.exists():
            raise DatasetError(f"{path}: is not there. Name the folder that holds it with --data_dir.")
    with quiet_import():
        import keras  # noqa: F401  (what it writes while it loads would stand between the scores)
    args.output.mkdir(parents=True, exist_ok=True)
    reports: dict[str, dict[str, Any]] = {}
    makers = {"ears": (score_ears, args.voice_epochs), "eyes": (score_eyes, args.face_epochs)}
    for part in args.parts:
        score, epochs = makers[part]
        for name in args.models:
            path = args.output / f"{part}_{name}_{fingerprint(name, epochs)}.json"
            if not path.is_file():
                Reporter().say(f"{name}, {part}: {epochs} epochs")
                report = score(name, args.data_dir, epochs, args.output)
                path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            reports.setdefault(name, {})[part] = json.loads(path.read_text(encoding="utf-8"))
            Reporter().say(format_scores(reports))
    (args.output / "table.md").write_text(format_scores(reports) + "\n", encoding="utf-8")
    return 0


def fingerprint(name: str, epochs: int) -> str:
    """A short hash of all that a design is trained by here, so that results of other settings never pass for these."""
    settings = (
        design_config(name, "audio", EIGHT_EMOTIONS), epochs, N_FOLDS, SEED, VOICES_AT_ONCE, PICTURES_AT_ONCE,
        N_VARIANTS, WEIGHT_DECAY, LEARNING_RATES.get(name, LEARNING_RATE), SIDES[name], best_policy(name),
    )  # fmt: skip
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:10]


@functools.cache
def best_policy(name: str) -> str:
    """The arithmetic that this machine trains a design faster by; measured once, so that all folds have the same."""
    from emotion.training.loop import fastest_policy

    return "float32" if name in EXACT_DESIGNS else fastest_policy()


def design_config(name: str, modality: str, class_names: tuple[str, ...], **video: Any) -> RunConfig:
    """Returns the settings of one modality of a design, at the size it is trained at here."""
    from emotion.models import ARCHITECTURES

    config = ARCHITECTURES[name].default_config()
    return dataclasses.replace(
        config, architecture=name, modalities=(modality,), class_names=class_names, model=SETTINGS.get(name, {}),
        video=dataclasses.replace(config.video, **video),
    )  # fmt: skip


def score_ears(name: str, data_dir: Path, epochs: int, output: Path) -> dict[str, Any]:
    """Trains and tests a design's sound on five folds of RAVDESS; see ``build_report`` for the result."""
    from emotion.datasets import ravdess
    from emotion.datasets.cache import ClipCache
    from emotion.datasets.protocols import split_folds
    from emotion.evaluation.judging import build_report
    from emotion.training.recipes.voice_bank import make_bank

    config = design_config(name, "audio", EIGHT_EMOTIONS)
    clips = ravdess.load(data_dir / "ravdess")
    heard_as = hashlib.sha256(repr((config.audio, config.window, N_VARIANTS)).encode()).hexdigest()[:12]
    cache = ClipCache(output / "clips", config)
    bank = make_bank(clips, cache, config, n_variants=N_VARIANTS, seed=SEED, folder=output / f"voices-{heard_as}")
    settings = TrainConfig()
    splits = split_folds(
        clips, "kfold", n_folds=N_FOLDS, validation_fraction=settings.validation_fraction, seed=settings.seed
    )
    judgements = []
    for number, split in enumerate(splits, start=1):
        folder = output / f"ears_{name}_{fingerprint(name, epochs)}_fold{number}"
        judged = judge_fold(bank, split, config, epochs, folder)
        Reporter().say(f"  fold {number}: UAR {build_report(judged, config.class_names)['uar']:.1%}, n {len(judged)}")
        judgements += judged
    return build_report(judgements, config.class_names)


def judge_fold(bank, split, config: RunConfig, epochs: int, folder: Path) -> list:
    """Trains on the training and validation sides of a fold, and returns the judgements of its test side."""
    import keras
    import numpy as np

    from emotion.evaluation.judging import Judgement, load_predictions, write_predictions
    from emotion.training.loop import fit_annealed
    from emotion.training.recipes.voice_bank import BankBatches, balanced_targets, categorical_loss, merge_windows

    done = folder / "predictions.csv"
    if done.is_file():
        return load_predictions(done)[0]
    classes = bank.classes(config.class_names)
    ids = np.array([clip.clip_id for clip in bank.clips])
    learned = np.flatnonzero(np.isin(ids, [*split.train, *split.validation]))
    tested = np.flatnonzero(np.isin(ids, split.test))
    targets = balanced_targets(bank, learned, config.class_names, vote_share=0.0)[bank.owners]
    batches = BankBatches(bank, learned, targets, batch_size=VOICES_AT_ONCE, seed=SEED)
    keras.utils.set_random_seed(SEED)
    network = build_fast(config)
    fit_annealed(
        network, batches, categorical_loss, epochs=epochs, weight_decay=WEIGHT_DECAY, seed=SEED,
        learning_rate=LEARNING_RATES.get(config.architecture, LEARNING_RATE), folder=folder,
    )  # fmt: skip
    rows = bank.rows_of(tested, plain=True)
    probabilities = predict(network, {"audio": bank.inputs(rows)}, config)
    answers = merge_windows(probabilities, bank.owners[rows], tested)
    judgements = [
        Judgement(clip.clip_id, int(index), answer, "audio_only", clip.speaker, clip.sex)
        for clip, index, answer in zip([bank.clips[i] for i in tested], classes[tested], answers, strict=True)
    ]
    write_predictions(judgements, config.class_names, done)
    return judgements


def score_eyes(name: str, data_dir: Path, epochs: int, output: Path) -> dict[str, Any]:
    """Trains a design's pictures on FER+'s training side and tests it on the clear faces of its validation side."""
    import keras
    import numpy as np

    from emotion.evaluation.judging import Judgement, build_report
    from emotion.training.loop import fit_annealed

    side, folder = SIDES[name], output / f"eyes_{name}_{fingerprint(name, epochs)}"
    config = design_config(name, "video", SEVEN_EMOTIONS, n_frames=1, image_size=side)
    train, test = (load_faces(data_dir / "ferplus" / f"ferplus_{part}.npz", output) for part in ("train", "valid"))
    batches = build_picture_batches(train, side)
    keras.utils.set_random_seed(SEED)
    network = build_fast(config)
    fit_annealed(
        network, batches, soft_loss, epochs=epochs, weight_decay=WEIGHT_DECAY, seed=SEED,
        learning_rate=LEARNING_RATES.get(name, LEARNING_RATE), folder=folder,
        reporter=Reporter(shows_bars=False),
    )  # fmt: skip
    clear = np.flatnonzero(test.majority >= 0)
    probabilities = predict(network, {"video": show(test.images[clear], side)}, config)
    judgements = [
        Judgement(str(i), int(test.majority[i]), answer, "video_only", None, None)
        for i, answer in zip(clear, probabilities, strict=True)
    ]
    return build_report(judgements, config.class_names)


def load_faces(path: Path, output: Path):
    """Returns the aligned faces of a FER+ file, kept in ``output`` once they are aligned."""
    from emotion.training.recipes.stills import Look, load_ferplus, read_stills, save_stills

    kept = output / f"aligned_{path.name}"
    if not kept.is_file():
        Reporter().say(f"Aligning the faces of {path.name}")
        save_stills(load_ferplus(path, SEVEN_EMOTIONS, Look(RunConfig().video)), kept)
    return read_stills(kept)


def build_picture_batches(stills, side: int):
    """Returns batches of varied pictures as clips of one frame, with the shares of FER+'s raters as targets."""
    import numpy as np

    from emotion.training.recipes.face_branch import StillBatches
    from emotion.training.recipes.stills import LABEL_SETS

    class PictureBatches(StillBatches):
        def __getitem__(self, batch: int):
            clips, targets = super().__getitem__(batch)
            start = LABEL_SETS.index("ferplus") * len(SEVEN_EMOTIONS)
            return {"video": clips}, targets[:, start : start + len(SEVEN_EMOTIONS)]

    nothing = np.zeros((len(stills), 0), np.float32)  # no teacher
    return PictureBatches(
        stills, nothing, size=side, batch_size=PICTURES_AT_ONCE, n_batches=len(stills) // PICTURES_AT_ONCE, seed=SEED
    )


def show(images, side: int):
    """Makes clips of one frame, ``(n, 1, side, side, 3)``, of grey pictures ``(n, size, size)``."""
    import cv2
    import numpy as np

    scaled = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])
    return np.repeat(scaled[:, None, :, :, None], 3, axis=-1)


def soft_loss(targets, logits):
    """Cross-entropy of targets that are shares, ``(batch, n_classes)``."""
    from keras import ops

    return -ops.sum(targets * ops.log_softmax(ops.cast(logits, "float32"), axis=-1), axis=-1)


def logits_of(config: RunConfig):
    """Builds a design up to its logits."""
    import keras

    from emotion.models import build_model

    model = build_model(config)
    return keras.Model(model.input, model.get_layer("logits").output)


def build_fast(config: RunConfig):
    """Builds a design up to its logits, in the arithmetic that this machine trains it faster by."""
    from emotion.models.layers import dtype_policy

    with dtype_policy(best_policy(config.architecture)):
        return logits_of(config)


def predict(network, inputs: dict[str, Any], config: RunConfig):
    """Returns probabilities ``(n, n_classes)``, computed in 32 bits."""
    from emotion.models.calibration import softmax

    exact = logits_of(config)
    exact.set_weights(network.get_weights())
    return softmax(exact.predict(inputs, batch_size=PICTURES_AT_ONCE, verbose=0))


def format_scores(reports: dict[str, dict[str, Any]]) -> str:
    """Returns the scores as a Markdown table."""
    from emotion.outputs.score_tables import MISSING, format_table

    columns = (("ears", "uar"), ("ears", "accuracy"), ("eyes", "accuracy"), ("eyes", "uar"))
    rows = []
    for name, parts in reports.items():
        cells = []
        for part, score in columns:
            report = parts.get(part)
            if report is None:
                cells.append(MISSING)
                continue
            low, high = report["intervals"][score]
            cells.append(f"{report[score]:.1%} ({low:.1%} to {high:.1%})")
        rows.append((name, *cells))
    header = ("design", "voice, UAR", "voice, accuracy", "face, accuracy", "face, UAR")
    return format_table(header, rows)


if __name__ == "__main__":
    sys.exit(run_program(main))
