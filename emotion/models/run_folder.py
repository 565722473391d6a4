"""A run folder: a model that describes itself.

``config.json``   architecture, class names in order, sizes, training settings, data and licences
``model.keras``   the network, without the optimizer's state
``model.onnx``    the same for ONNX Runtime, and its hash, see ``emotion.models.onnx_runtime``
``splits.csv``    which clip stood on which side
``history.csv``   losses and scores by epoch
``metrics.json``  scores, with the protocol they were measured by
``predictions.csv``  the answer for every test clip
and the plots. While a training is under way, ``checkpoint/`` holds what it needs to go on.
"""

import dataclasses
import hashlib
import os
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config import CalibrationConfig, RunConfig
from emotion.config_files import load_config, write_config
from emotion.console import quiet_import
from emotion.errors import ConfigError, RunError, first_line
from emotion.files import write_json
from emotion.models import build_model, load_layers
from emotion.models.calibration import apply_temperature
from emotion.models.half_precision import round_to_half, store_halves
from emotion.models.onnx_runtime import OnnxNetwork, find_held, find_network

CONFIG_FILE = "config.json"
MODEL_FILE = "model.keras"
SPLITS_FILE = "splits.csv"
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
CARD_FILE = "MODEL_CARD.md"
CHECKPOINT_DIR = "checkpoint"
N_WARMING = 5  # calls before those that are timed
LFS_MARK = b"version https://git-lfs"


def check_resumable(path: Path) -> None:
    """Makes sure that a folder holds a training that was stopped.

    Raises:
        RunError: if it holds none, or a finished one.
    """
    if not (path / CONFIG_FILE).is_file():
        raise RunError(f"{path}: holds no training to resume. Start one without --resume.")
    if (path / MODEL_FILE).is_file():
        raise RunError(f"{path}: its training is finished; there is nothing to resume.")


def check_run(path: str | os.PathLike) -> RunConfig:
    """Makes sure that a folder holds a finished run, without loading the network, and returns its configuration.

    Raises:
        RunError: if the folder is missing, incomplete, or its configuration is not understood.
    """
    path = Path(path)
    if path.is_file():
        raise RunError(f"{path}: is a file. Give the model's folder.")
    if not path.is_dir():
        raise RunError(
            f"{path}: no such model folder, here or in saved_models/. Train one with train_model.py, or name another."
        )
    if not (path / CONFIG_FILE).is_file():
        folds = sorted(folder.name for folder in path.glob("fold_*") if (folder / MODEL_FILE).is_file())
        if folds:
            raise RunError(f"{path}: is a cross-validation. Give the model of one of its folds: {path / folds[0]}")
        raise RunError(
            f"{path}: {CONFIG_FILE} is missing, so this is no model folder, or not a whole one. "
            "Copy it again, or train a model with train_model.py."
        )
    if not (path / MODEL_FILE).is_file():
        way_out = "Finish its training with: train_model.py --resume --output " + str(path)
        if not (path / CHECKPOINT_DIR).is_dir():
            way_out = "Copy the whole folder, or train the model again."
        raise RunError(f"{path}: {MODEL_FILE} is missing. {way_out}")
    try:
        return load_config(path / CONFIG_FILE)
    except ConfigError as error:
        raise RunError(str(error)) from error


def check_new_folder(output: Path) -> None:
    """Makes sure that a training would overwrite nothing.

    Raises:
        RunError: if there is a file, or a folder that is not empty.
    """
    if output.exists() and not output.is_dir():
        raise RunError(f"{output}: is a file. Name a new or empty folder with --output.")
    # A split alone is what a kill left of a training that had not begun.
    if output.exists() and any(path.name != SPLITS_FILE for path in output.iterdir()):
        raise RunError(f"{output}: is not empty. Choose another --output, or go on with it: --resume.")


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration.

    Attributes:
        path: the folder.
        config: sizes, class names and all other settings.
        model: the Keras model, or an ``OnnxNetwork``.
        sha256: of ``model.keras``.
    """

    path: Path
    config: RunConfig
    model: Any
    sha256: str

    def predict(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns calibrated probabilities ``(n, n_classes)`` for a batch of the model's inputs.

        Each row has the temperature of the evidence that its inputs hold. Where that is 1, the probabilities are what
        the network says, to the last bit.
        """
        return apply_temperature(np.asarray(self._forward(inputs)), self._temperatures(inputs))

    def without_calibration(self) -> "Run":
        """Returns the same run with all temperatures at 1, whose probabilities a calibration is to be fitted to."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, calibration=CalibrationConfig()))

    def _temperatures(self, inputs: dict[str, np.ndarray]) -> float | np.ndarray:
        """Returns the temperature of each row, or one for all where the evidence makes no difference."""
        calibration = self.config.calibration
        if calibration.both == calibration.face == calibration.voice:
            return calibration.both
        held = {name: find_held(np.asarray(inputs[name])) for name in self.config.modalities}
        absent = np.zeros(len(next(iter(held.values()))), bool)
        seen, heard = held.get("video", absent), held.get("audio", absent)
        cases, temperatures = [seen & heard, seen, heard], [calibration.both, calibration.face, calibration.voice]
        return np.select(cases, temperatures, default=1.0)

    @property
    def runtime(self) -> str:
        """What computes: ``onnx``, ``int8`` or ``keras``."""
        return self.model.runtime if isinstance(self.model, OnnxNetwork) else "keras"

    def __post_init__(self):
        model = self.model
        if self.runtime != "keras":
            object.__setattr__(self, "_forward", model)
            return
        import keras

        def forward(inputs):
            return model(inputs, training=False)

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # A traced call takes a third of the time of model.predict on one window.
            signature = {x.name: tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in model.inputs}
            forward = tf.function(forward, input_signature=[signature])
        object.__setattr__(self, "_forward", forward)


def time_window(run: Run, *, n_timed: int = 30) -> float:
    """Returns the median time, in seconds, in which a run judges one window, after some that do not count."""
    rng = np.random.default_rng(0)
    inputs = {
        "audio": rng.standard_normal((1, *run.config.audio_shape)).astype(np.float32),
        "video": rng.integers(1, 256, (1, *run.config.video_shape), dtype=np.uint8),
    }
    inputs = {name: inputs[name] for name in run.config.modalities}
    seconds = []
    for _ in range(n_timed + N_WARMING):
        start = time.perf_counter()
        run.predict(inputs)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[N_WARMING:]))


def load_run(path: str | os.PathLike, *, runtime: str = "keras") -> Run:
    """Loads a model folder.

    Nothing in the folder is executed: Keras's safe mode refuses code, and the layers come from this package.

    Args:
        path: the folder.
        runtime: ``keras``, which can be trained further; ``onnx`` for ONNX Runtime, which loads faster; ``int8`` for
            the same in eight bits; ``auto`` for ``onnx`` where the folder holds a ``model.onnx`` made from its
            ``model.keras``, else ``keras``.

    Raises:
        ConfigError: if there is no such runtime.
        RunError: if the folder is missing, incomplete, or disagrees with itself.
    """
    config = check_run(path)
    path = Path(path)
    digest = _check_file(path / MODEL_FILE)
    network, reason = find_network(path, digest, runtime)
    if network is not None:
        _check_fit(path, config, network.input_shapes, network.n_outputs)
        return Run(path, config, network, digest)
    model = _load_keras(path, config, reason)
    shapes = {x.name: tuple(x.shape[1:]) for x in model.inputs}
    _check_fit(path, config, shapes, model.output_shape[-1])
    return Run(path, config, model, digest)


def _check_file(path: Path) -> str:
    """Makes sure that a file looks like a Keras model, and returns its SHA-256."""
    with open(path, "rb") as file:
        if file.read(len(LFS_MARK)) == LFS_MARK:
            raise RunError(f"{path}: is a Git LFS pointer, not the model. Fetch it with: git lfs pull")
    if not zipfile.is_zipfile(path):
        raise RunError(f"{path}: is damaged or no Keras model. Copy it again, or train the model again.")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_keras(path: Path, config: RunConfig, reason: str):
    """Loads a run's network; ``reason`` says why it is to be run by Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_import():
            import keras

            keras.backend.backend()
    except ImportError as error:
        raise RunError(
            f"{reason} So {path / MODEL_FILE} is to be run by Keras, which cannot be imported ({error}). Install it: "
            "pip install -r requirements.txt"
        ) from error
    try:
        load_layers(config)  # registers the layers that the file names
    except ConfigError as error:
        raise RunError(f"{path / CONFIG_FILE}: {error}") from error
    try:
        return keras.saving.load_model(path / MODEL_FILE, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises anything from OSError to KeyError for a damaged or foreign file; all mean the same to a user.
        words = first_line(error)
        raise RunError(f"{path / MODEL_FILE}: not a loadable Keras model ({words}). Copy it again.") from error


def _check_fit(path: Path, config: RunConfig, shapes: dict[str, tuple[int, ...]], n_outputs: int) -> None:
    """Makes sure that a network takes and gives what its configuration says.

    Raises:
        RunError: if not.
    """
    if set(shapes) != set(config.modalities):
        raise RunError(f"{path}: the model takes {sorted(shapes)}, {CONFIG_FILE} says {sorted(config.modalities)}.")
    for name, shape in {"audio": config.audio_shape, "video": config.video_shape}.items():
        if name in shapes and shapes[name] != shape:
            raise RunError(
                f"{path}: the model takes {name} of shape {shapes[name]}, {CONFIG_FILE} says {shape}. Bring back the "
                "configuration it was trained with."
            )
    if n_outputs != len(config.class_names):
        raise RunError(
            f"{path}: the model tells {n_outputs} classes apart, {CONFIG_FILE} names {len(config.class_names)}."
        )


def write_run(path: str | os.PathLike, config: RunConfig, model, *, half_precision: bool = False) -> None:
    """Writes a model and its configuration. The model comes last: a folder with a model is whole.

    Args:
        path: the folder; made if it is not there.
        config: of the model.
        model: the Keras model; left as it is.
        half_precision: whether to store its kernels as 16-bit numbers, which halves the file and rounds them. Scores
            are those of the stored network only if the model was rounded before it was scored, by ``round_to_half``.

    Raises:
        RunError: with ``half_precision``, if a kernel holds what 16 bits cannot. Nothing is written then.
    """
    path = Path(path)
    # A fresh network with the same weights has no optimizer, whose state would triple the file.
    bare = build_model(config)
    bare.set_weights(model.get_weights())
    if half_precision:
        round_to_half(bare)
    path.mkdir(parents=True, exist_ok=True)
    write_config(config, path / CONFIG_FILE)
    temporary = path / f"partial-{MODEL_FILE}"
    bare.save(temporary)
    if half_precision:
        store_halves(temporary)
    os.replace(temporary, path / MODEL_FILE)


def write_metrics(path: str | os.PathLike, metrics: dict[str, Any]) -> None:
    """Writes a run's scores as JSON."""
    write_json(Path(path) / METRICS_FILE, metrics)
