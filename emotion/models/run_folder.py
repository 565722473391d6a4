"""Reads and writes run folders: a trained model with everything needed to use it.

``config.json``      architecture, class names in order, sizes, training settings, data and licences
``model.keras``      the network, without the optimizer's state
``model.onnx``       the same for ONNX Runtime, with its hash; see ``emotion.models.onnx_runtime``
``head.onnx``        the part of it that judges what was encoded along a track; see ``emotion.models.tracks``
``splits.csv``       which clip is in which split
``earlier_splits.csv``  what the model learned from that it was started from, and so on back
``history.csv``      losses and scores by epoch
``metrics.json``     scores, and the protocol behind them
``predictions.csv``  the answer for every test clip
``baseline.npz``     optional: how a person is compared with themselves; see ``emotion.models.baseline_head``
``valence_arousal.json``  optional: where each class lies; see ``emotion.models.emotion_places``
``checkpoint/``      only during training: what ``--resume`` needs

There are plots, too.
"""

import hashlib
import os
import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config import RECIPE_NAMES, RunConfig
from emotion.config_files import load_config, write_config
from emotion.console import quiet_import
from emotion.errors import ConfigError, RunError, first_line
from emotion.files import make_folder, named_errors, write_json, written_whole
from emotion.models import build_model, load_layers
from emotion.models.baseline_head import BASELINE_FILE, load_baseline
from emotion.models.emotion_places import load_places
from emotion.models.half_precision import round_to_half, store_halves
from emotion.models.onnx_runtime import find_network
from emotion.models.trained_model import Run

CONFIG_FILE = "config.json"
MODEL_FILE = "model.keras"
SPLITS_FILE = "splits.csv"
EARLIER_SPLITS_FILE = "earlier_splits.csv"
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
CARD_FILE = "MODEL_CARD.md"
CHECKPOINT_DIR = "checkpoint"
LFS_MARK = b"version https://git-lfs"


def check_resumable(path: Path) -> None:
    """Makes sure that a folder holds an unfinished training.

    Raises:
        RunError: if not.
    """
    if not (path / CONFIG_FILE).is_file():
        raise RunError(f"{path}: holds no training to resume. Start one without --resume.")
    if (path / MODEL_FILE).is_file():
        raise RunError(f"{path}: its training is finished; there is nothing to resume.")


def check_run(path: str | os.PathLike) -> RunConfig:
    """Returns the configuration of a finished run, without loading the network.

    Raises:
        RunError: if the folder is missing or incomplete, or its configuration is invalid.
    """
    with named_errors(path):
        return _check_run(Path(path))


def _check_run(path: Path) -> RunConfig:
    if path.is_file():
        raise RunError(f"{path}: is a file. Give the model's folder.")
    if not path.is_dir():
        raise RunError(
            f"{path}: no such model folder, here or in saved_models/. Name another, such as "
            f"{' or '.join(RECIPE_NAMES)}, or train one with train_model.py."
        )
    for item in path.iterdir():
        if not (item.is_file() or item.is_dir() or item.is_symlink()):
            raise RunError(f"{item}: is a device or a pipe. Copy the model folder again, or choose another model.")
    if not (path / CONFIG_FILE).is_file():
        folds = sorted(folder.name for folder in path.glob("fold_*") if (folder / MODEL_FILE).is_file())
        if folds:
            raise RunError(f"{path}: is a cross-validation. Give one of its folds: {path / folds[0]}")
        raise RunError(
            f"{path}: {CONFIG_FILE} is missing, so this is not a complete model folder. Copy it again, or train a "
            "model with train_model.py."
        )
    if not (path / MODEL_FILE).is_file():
        way_out = f"Finish its training with: train_model.py --resume --output {shlex.quote(str(path))}"
        if not (path / CHECKPOINT_DIR).is_dir():
            way_out = "Copy the whole folder, or train the model again."
        raise RunError(f"{path}: {MODEL_FILE} is missing. {way_out}")
    try:
        return load_config(path / CONFIG_FILE)
    except ConfigError as error:
        raise RunError(f"{error} Copy the model folder again, or choose another model.") from error


def check_new_folder(output: Path) -> None:
    """Makes sure that a training would overwrite nothing.

    Raises:
        RunError: if ``output`` is a file or a folder that is not empty.
    """
    if output.exists() and not output.is_dir():
        raise RunError(f"{output}: is a file. Name a new or empty folder with --output.")
    # A split alone is left by a training that was killed before its first epoch.
    if output.exists() and any(path.name not in (SPLITS_FILE, EARLIER_SPLITS_FILE) for path in output.iterdir()):
        raise RunError(f"{output}: is not empty. Choose another --output, or continue its training with --resume.")


def load_run(path: str | os.PathLike, *, runtime: str = "keras") -> Run:
    """Loads a model folder.

    No code in the folder is run: Keras's safe mode refuses it, and the layers come from this package.

    Args:
        runtime: ``keras``, which can be trained further; ``onnx`` for ONNX Runtime, which loads faster; ``int8`` for
            the network in eight bits; ``auto`` for ``onnx`` if there is a valid ``model.onnx``, else ``keras``.

    Raises:
        ConfigError: if there is no such runtime.
        RunError: if the folder is missing or incomplete, or its files contradict each other.
    """
    config = check_run(path)
    path = Path(path)
    digest = _check_file(path / MODEL_FILE)
    baseline, places = load_baseline(path, config), load_places(path, config)
    network, reason = find_network(path, digest, runtime)
    if network is not None:
        _check_fit(path, config, network.input_shapes, network.n_outputs)
        run = Run(path, config, network, digest, baseline, places)
    else:
        model = _load_keras(path, config, reason)
        shapes = {x.name: tuple(x.shape[1:]) for x in model.inputs}
        _check_fit(path, config, shapes, model.output_shape[-1])
        run = Run(path, config, model, digest, baseline, places)
    if baseline is not None:
        _check_baseline(run)
    return run


def _check_file(path: Path) -> str:
    """Makes sure that a file looks like a Keras model; returns its SHA-256."""
    with named_errors(path), open(path, "rb") as file:
        if file.read(len(LFS_MARK)) == LFS_MARK:
            raise RunError(f"{path}: is a Git LFS pointer, not the model. Fetch the model with: git lfs pull")
        if not zipfile.is_zipfile(file):
            raise RunError(f"{path}: is damaged or not a Keras model. Copy it again, or train the model again.")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_keras(path: Path, config: RunConfig, reason: str):
    """Loads a run's network in Keras; ``reason`` says why ONNX Runtime is not used."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_import():
            import keras

            keras.backend.backend()
    except ImportError as error:
        raise RunError(
            f"{reason} So {path / MODEL_FILE} needs Keras, which cannot be imported ({error}). Install it: pip install "
            "-r requirements.txt"
        ) from error
    try:
        load_layers(config)  # registers the layers that the file names
    except ConfigError as error:
        raise RunError(f"{path / CONFIG_FILE}: {error}") from error
    try:
        return keras.saving.load_model(path / MODEL_FILE, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything from OSError to KeyError for a damaged or foreign file
        words = first_line(error)
        raise RunError(f"{path / MODEL_FILE}: not a loadable Keras model ({words}). Copy it again.") from error


def _check_fit(path: Path, config: RunConfig, shapes: dict[str, tuple[int, ...]], n_outputs: int) -> None:
    """Makes sure that a network's inputs and outputs are those that its configuration describes."""
    if set(shapes) != set(config.modalities):
        raise RunError(f"{path}: the model takes {sorted(shapes)}, {CONFIG_FILE} says {sorted(config.modalities)}.")
    for name, shape in config.input_shapes.items():
        fits = [found in (None, side) for found, side in zip(shapes[name], shape, strict=False)]
        if not all(fits) or len(shapes[name]) != len(shape):
            raise RunError(
                f"{path}: the model takes {name} of shape {shapes[name]}, {CONFIG_FILE} says {shape}. Restore the "
                "configuration it was trained with."
            )
    if n_outputs != len(config.class_names):
        raise RunError(f"{path}: the model has {n_outputs} classes, {CONFIG_FILE} names {len(config.class_names)}.")


def _check_baseline(run: Run) -> None:
    """Makes sure that a run can be compared as its ``baseline.npz`` says."""
    path, voice = run.path / BASELINE_FILE, run.baseline.voice
    if run.context_frames is None:
        raise RunError(f"{path}: the network judges whole windows only, so it cannot be used with it. Remove it.")
    for modality, head in (("video", run.baseline.face), ("audio", voice)):
        if head is not None and modality not in run.config.modalities:
            raise RunError(f"{path}: is for {modality}, which the model does not take. Remove it.")
    if voice is None:
        return
    encoded = run.encode({"audio": np.zeros((1, *run.config.audio_shape), np.float32)})
    n_values = encoded["audio_vector"].shape[-1]
    if len(voice.kernel) != n_values:
        raise RunError(
            f"{path}: voice_kernel takes {len(voice.kernel)} values, the model's voices have {n_values}. Copy the "
            "model's own again."
        )


def write_run(path: str | os.PathLike, config: RunConfig, model, *, half_precision: bool = False) -> None:
    """Writes a model and its configuration. The model comes last, so a folder with a model is complete.

    Args:
        model: the Keras model; not changed.
        half_precision: whether to store its kernels as 16-bit numbers, which rounds them and halves the file. For
            scores of exactly the stored network, call ``round_to_half`` before scoring.

    Raises:
        RunError: with ``half_precision``, if a kernel does not fit 16 bits. Nothing is written then.
    """
    path = Path(path)
    # A new network with the same weights has no optimizer, whose state would triple the file.
    bare = build_model(config)
    bare.set_weights(model.get_weights())
    if half_precision:
        round_to_half(bare)
    make_folder(path)
    write_config(config, path / CONFIG_FILE)
    with written_whole(path / MODEL_FILE) as partial:
        bare.save(partial)
        if half_precision:
            store_halves(partial)


def write_metrics(path: str | os.PathLike, metrics: dict[str, Any]) -> None:
    """Writes a run's scores as JSON."""
    write_json(Path(path) / METRICS_FILE, metrics)
