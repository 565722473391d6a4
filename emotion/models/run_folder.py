"""A run folder: a trained model with everything needed to use it.

``config.json``      architecture, class names in order, sizes, training settings, data and licences
``model.keras``      the network, without the optimizer's state
``model.onnx``       the same for ONNX Runtime, with its hash; see ``emotion.models.onnx_runtime``
``head.onnx``        the part of it that judges what was encoded along a track; see ``emotion.models.tracks``
``splits.csv``       which clip is in which split
``history.csv``      losses and scores by epoch
``metrics.json``     scores, and the protocol behind them
``predictions.csv``  the answer for every test clip
``baseline.npz``     optional: how a person is compared with themselves; see ``emotion.models.baseline_head``
``checkpoint/``      only during training: what ``--resume`` needs

There are plots, too.
"""

import dataclasses
import functools
import hashlib
import os
import shlex
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
from emotion.files import make_folder, named_errors, write_json, written_whole
from emotion.models import build_model, find_design, load_layers
from emotion.models.baseline_head import BASELINE_FILE, BaselineHead, load_baseline
from emotion.models.calibration import apply_temperature
from emotion.models.half_precision import round_to_half, store_halves
from emotion.models.onnx_runtime import PROBABILITIES, OnnxNetwork, find_held, find_network

CONFIG_FILE = "config.json"
MODEL_FILE = "model.keras"
SPLITS_FILE = "splits.csv"
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
CARD_FILE = "MODEL_CARD.md"
CHECKPOINT_DIR = "checkpoint"
N_WARMING = 5  # untimed calls before the timed ones
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
            f"{path}: no such model folder, here or in saved_models/. Train one with train_model.py, or name another."
        )
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
        raise RunError(str(error)) from error


def check_new_folder(output: Path) -> None:
    """Makes sure that a training would overwrite nothing.

    Raises:
        RunError: if ``output`` is a file or a folder that is not empty.
    """
    if output.exists() and not output.is_dir():
        raise RunError(f"{output}: is a file. Name a new or empty folder with --output.")
    # A split alone is left by a training that was killed before its first epoch.
    if output.exists() and any(path.name != SPLITS_FILE for path in output.iterdir()):
        raise RunError(f"{output}: is not empty. Choose another --output, or continue its training with --resume.")


@dataclass(frozen=True)
class WindowParts:
    """A window's answers before any temperature, and what they rest on; None where there is no such evidence.

    Attributes:
        joint: ``(n_classes,)`` by all evidence.
        face, voice: ``(n_classes,)`` by the face or the voice alone.
        voice_vector: ``(n_values,)``; None where the baseline compares faces alone, too.
    """

    joint: np.ndarray
    face: np.ndarray | None
    voice: np.ndarray | None
    voice_vector: np.ndarray | None


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration.

    Attributes:
        path: of the folder.
        model: the Keras model, or an ``OnnxNetwork``.
        sha256: of ``model.keras``.
        baseline: compares a person with themselves; None if the model cannot.
    """

    path: Path
    config: RunConfig
    model: Any
    sha256: str
    baseline: BaselineHead | None = None

    def predict(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns calibrated probabilities ``(n, n_classes)`` for a batch of the model's inputs.

        Each row gets the temperature of its evidence: face and voice, face or voice. Temperature 1 changes no bit.
        """
        held = {name: find_held(np.asarray(inputs[name])) for name in self.config.modalities}
        absent = np.zeros(len(next(iter(held.values()))), bool)
        temperatures = self._temperatures(held.get("video", absent), held.get("audio", absent))
        return apply_temperature(np.asarray(self._forward(inputs)), temperatures)

    def without_calibration(self) -> "Run":
        """Returns the run with all temperatures at 1, as a calibration is fitted to it."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, calibration=CalibrationConfig()))

    @property
    def context_frames(self) -> int | None:
        """Frames before and after a moment that it depends on; None if the network judges whole windows only."""
        is_split = self._split is not None if self.runtime == "keras" else self.model.head is not None
        return find_design(self.config.architecture).context_frames if is_split else None

    def encode(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Encodes windows of sound, or stretches of tracks, once for all windows that they will be judged in.

        Args:
            inputs: ``audio (n, *audio_shape)``, or ``video (n, n_frames, size, size, 3)`` of any number of frames, of
                which those within ``context_frames`` of an end are encoded as the ends of a track.

        Returns:
            ``audio_vector (n, n_values)`` and ``audio_present (n, 1)``; or ``video_moments (n, n_frames, n_features)``
            and ``video_signs (n, n_frames, 2)``.
        """
        (modality, values), *_ = inputs.items()
        if self.runtime == "keras":
            encoded = {name: np.asarray(value) for name, value in self._encoders[modality](inputs).items()}
        else:
            encoded = self.model.encode(inputs)
        if modality == "audio":
            encoded["audio_present"] = find_held(values).astype(np.float32)[:, None]
        return encoded

    def predict_encoded(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """Returns calibrated probabilities ``(n, n_classes)`` of windows by what ``encode`` returned for them.

        Args:
            encoded: by name, ``(n, ...)``. Zeros stand for absent sound and absent moments.
        """
        probabilities = self._judge(encoded)
        absent = np.zeros(len(probabilities), bool)
        heard = encoded["audio_present"][:, 0] > 0 if "audio_present" in encoded else absent
        seen = encoded["video_signs"][:, :, 0].any(axis=1) if "video_signs" in encoded else absent
        return apply_temperature(probabilities, self._temperatures(seen, heard))

    def take_apart(self, encoded: dict[str, np.ndarray]) -> list[WindowParts]:
        """Returns what a comparison with the person's baseline needs of each of some windows.

        Args:
            encoded: as for ``predict_encoded``.
        """
        joint = self._judge(encoded)
        # Of a long recording all vectors are kept, so where no head compares voices there are none.
        keeps_vectors = self.baseline is None or self.baseline.voice is not None
        sound = {name: values for name, values in encoded.items() if name.startswith("audio")}
        pictures = {name: values for name, values in encoded.items() if name.startswith("video")}
        silence = {name: np.zeros_like(values) for name, values in sound.items()}
        darkness = {name: np.zeros_like(values) for name, values in pictures.items()}
        faces = self._judge(pictures | silence) if pictures else joint
        voices = self._judge(sound | darkness) if sound else joint
        parts = []
        for row, answer in enumerate(joint):
            is_seen = bool(pictures) and pictures["video_signs"][row, :, 0].any()
            is_heard = bool(sound) and sound["audio_present"][row, 0] > 0
            parts.append(
                WindowParts(
                    joint=answer,
                    face=faces[row] if is_seen else None,
                    voice=voices[row] if is_heard else None,
                    voice_vector=sound["audio_vector"][row] if is_heard and keeps_vectors else None,
                )
            )
        return parts

    def _judge(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the head's own probabilities ``(n, n_classes)``."""
        return np.asarray(self._head(encoded) if self.runtime == "keras" else self.model.head(encoded))

    def _temperatures(self, seen: np.ndarray, heard: np.ndarray) -> float | np.ndarray:
        """Returns the temperature of each row, or one for all if they are equal."""
        calibration = self.config.calibration
        if calibration.both == calibration.face == calibration.voice:
            return calibration.both
        cases, temperatures = [seen & heard, seen, heard], [calibration.both, calibration.face, calibration.voice]
        return np.select(cases, temperatures, default=1.0)

    @property
    def runtime(self) -> str:
        """``onnx``, ``int8`` or ``keras``."""
        return self.model.runtime if isinstance(self.model, OnnxNetwork) else "keras"

    @functools.cached_property
    def _forward(self):
        return self.model if self.runtime != "keras" else _traced(self.model)

    @functools.cached_property
    def _split(self):
        from emotion.models.tracks import split_network

        return split_network(self.model)

    @functools.cached_property
    def _encoders(self):
        return {name: _traced(encoder) for name, encoder in self._split.encoders.items()}

    @functools.cached_property
    def _head(self):
        head = _traced(self._split.head)
        return lambda encoded: head(encoded)[PROBABILITIES]


def _traced(model):
    """Returns a Keras model as a function of a dict of arrays, in a third of ``predict``'s time for one window."""
    import keras

    def forward(inputs):
        return model(inputs, training=False)

    if keras.backend.backend() != "tensorflow":
        return forward
    import tensorflow as tf

    signature = {x.name: tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in model.inputs}
    return tf.function(forward, input_signature=[signature])


def draw_inputs(config: RunConfig, n: int) -> dict[str, np.ndarray]:
    """Draws random inputs for ``n`` windows. From the second window on, some lack a modality."""
    rng = np.random.default_rng(0)
    inputs = {
        "audio": rng.standard_normal((n, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(1, 256, (n, *config.video_shape), dtype=np.uint8),
    }
    inputs = {name: inputs[name] for name in config.modalities}
    for number, values in enumerate(inputs.values()):
        values[1 + number :: 3] = 0
    return inputs


def time_window(run: Run, *, n_timed: int = 30) -> float:
    """Returns the median time, in seconds, in which a run judges one window."""
    inputs, seconds = draw_inputs(run.config, 1), []
    for _ in range(n_timed + N_WARMING):
        start = time.perf_counter()
        run.predict(inputs)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[N_WARMING:]))


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
    baseline = load_baseline(path, config)
    network, reason = find_network(path, digest, runtime)
    if network is not None:
        _check_fit(path, config, network.input_shapes, network.n_outputs)
        run = Run(path, config, network, digest, baseline)
    else:
        model = _load_keras(path, config, reason)
        shapes = {x.name: tuple(x.shape[1:]) for x in model.inputs}
        _check_fit(path, config, shapes, model.output_shape[-1])
        run = Run(path, config, model, digest, baseline)
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
