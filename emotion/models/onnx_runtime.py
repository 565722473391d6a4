"""A run's network in ONNX Runtime: the same answers as Keras's without TensorFlow, which takes seconds to load.

``model.onnx`` lies beside ``model.keras`` and names the one it was made from by its SHA-256, so that a folder whose
network was replaced is never judged by the old one. Its own SHA-256 stands in ``model.onnx.sha256``, as ``sha256sum``
writes it, since a damaged weight would be used like any other. Both are made by ``emotion.export``.

``model.int8.onnx``, if there is one, computes in eight bits, faster and not quite alike; see
``emotion.models.export_int8``.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emotion.errors import ConfigError, RunError, first_line
from emotion.files import written_whole

logger = logging.getLogger(__name__)

ONNX_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
HASH_SUFFIX = ".sha256"
RUNTIMES = ("auto", "onnx", "int8", "keras")
MADE_FROM = "keras_sha256"


class OnnxNetwork:
    """A network from a dict of inputs to probabilities.

    Attributes:
        runtime: ``onnx``, or ``int8`` if it computes in eight bits.
        input_shapes: by the input's name, without the axis of the batch.
        n_outputs: classes told apart.
        made_from: SHA-256 of the ``model.keras`` that it is equal to.
    """

    def __init__(self, path: str | os.PathLike, *, n_threads: int = 0):
        """Loads a file.

        Args:
            path: of the ``.onnx`` file.
            n_threads: that one call may use; 0 for one a core.

        Raises:
            RunError: if it cannot be loaded, or ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise RunError(f"{path}: cannot be run ({error}). pip install -r requirements.txt") from error

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.log_severity_level = 3  # of what it logs, errors alone
        # Threads that wait for work by spinning take the time that decoding and encoding need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            self.input_shapes = {each.name: tuple(each.shape[1:]) for each in inputs}
            self.n_outputs = outputs[0].shape[-1]
        except Exception as error:
            # ONNX Runtime's errors have no base but Exception; for a file they all mean the same.
            words = first_line(error)
            raise RunError(f"{path}: not a loadable ONNX model ({words}). {_way_out(Path(path))}") from error
        self.runtime = "int8" if Path(path).name.endswith(INT8_FILE) else "onnx"
        self.made_from = self._session.get_modelmeta().custom_metadata_map.get(MADE_FROM)

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns probabilities ``(n, n_outputs)`` for a batch of inputs.

        Windows that lack the same modality go together, since the network leaves out what none of a batch holds.
        """
        inputs = {name: np.asarray(inputs[name]) for name in self.input_shapes}
        n = len(next(iter(inputs.values())))
        held = np.stack([find_held(values) for values in inputs.values()], axis=1)
        kinds = np.unique(held, axis=0)
        if len(kinds) < 2:
            return self._session.run(None, inputs)[0]
        answers = np.empty((n, self.n_outputs), np.float32)
        for kind in kinds:
            (rows,) = np.nonzero((held == kind).all(axis=1))
            answers[rows] = self._session.run(None, {name: values[rows] for name, values in inputs.items()})[0]
        return answers


def find_held(values: np.ndarray) -> np.ndarray:
    """Returns which rows of an input ``(n, ...)`` hold anything: zeros are the sign for evidence that is not there."""
    return values.any(axis=tuple(range(1, values.ndim)))


def find_network(folder: Path, keras_sha256: str, runtime: str) -> tuple[OnnxNetwork | None, str]:
    """Returns a run's network in ONNX Runtime, or None if Keras is to be used, and why.

    Args:
        folder: of the run.
        keras_sha256: of its ``model.keras``.
        runtime: ``onnx`` insists on it, ``int8`` on the one in eight bits, ``keras`` never takes either, ``auto``
            takes the former where there is one.

    Raises:
        ConfigError: if there is no such runtime.
        RunError: if it is insisted on and not there, made from another network, or damaged.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}.")
    if runtime == "keras":
        return None, "--runtime keras was asked for."
    path = folder / (INT8_FILE if runtime == "int8" else ONNX_FILE)
    try:
        return _open_network(path, keras_sha256), ""
    except RunError as error:
        if runtime != "auto":
            raise
        if path.is_file():
            logger.warning("Keras is used instead, since %s", error)
        return None, str(error)


def _open_network(path: Path, keras_sha256: str) -> OnnxNetwork:
    make, hash_path = _way_out(path), path.with_name(path.name + HASH_SUFFIX)
    if not path.is_file():
        raise RunError(f"{path}: no such file. {make}")
    try:
        wanted = hash_path.read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError) as error:
        raise RunError(f"{hash_path}: missing or unreadable, so {path.name} is not trusted. {make}") from error
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
            raise RunError(f"{path}: is damaged, or another file than {hash_path.name} says. {make}")
    network = OnnxNetwork(path)
    if network.made_from != keras_sha256:
        raise RunError(f"{path}: was made from another network. {make}")
    return network


def _way_out(path: Path) -> str:
    precision = " --precision int8 --calibrate_on CLIP" if path.name.endswith(INT8_FILE) else ""
    return f"Make it with: python -m emotion.export {path.parent}{precision}"


@contextlib.contextmanager
def written_with_hash(path: Path) -> Iterator[Path]:
    """As ``files.written_whole``, for an ONNX file that gets its hash beside it."""
    with written_whole(path) as partial:
        yield partial
        # Between the two the hash is that of no file there, and Keras is used.
        write_hash(partial, path)


def write_hash(content: Path, target: Path) -> None:
    """Writes, beside ``target``, the SHA-256 of the file that is to become it."""
    with open(content, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    partial = target.with_name(f"partial-{target.name}{HASH_SUFFIX}")
    partial.write_text(f"{digest}  {target.name}\n", encoding="ascii")
    partial.replace(target.with_name(target.name + HASH_SUFFIX))


# ---- Which processor the model runs on, and by which runtime ----

DEVICES = ("auto", "cpu", "gpu")


def choose_device(name: str) -> None:
    """Chooses the processor for all models of this process, before any is loaded.

    Args:
        name: ``auto`` takes a GPU if TensorFlow finds one, ``cpu`` never does, ``gpu`` insists on one.

    Raises:
        ConfigError: if there is no such choice, or no GPU where one is asked for.
    """
    if name not in DEVICES:
        raise ConfigError(f"device must be one of {', '.join(DEVICES)}, got {name!r}.")
    if name == "auto":
        return
    if name == "cpu":
        # Before TensorFlow is loaded, which it may be later or never, it looks for GPUs here and nowhere else.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ConfigError(f"--device gpu needs TensorFlow ({error}): pip install -r requirements.txt") from error
    if not tf.config.list_physical_devices("GPU"):
        raise ConfigError(
            "--device gpu: TensorFlow finds no GPU. Use --device auto or cpu, or install TensorFlow's GPU build: pip "
            'uninstall tensorflow-cpu && pip install "tensorflow[and-cuda]>=2.20,<2.22"'
        )


def choose_runtime(runtime: str, device: str) -> str:
    """Chooses the runtime that goes with a processor, and the processor.

    Args:
        runtime: ``auto``, ``onnx``, ``int8`` or ``keras``; ONNX Runtime computes on the CPU here.
        device: as for ``choose_device``.

    Returns:
        The runtime to load the model with.

    Raises:
        ConfigError: if the two contradict each other, or as ``choose_device``.
    """
    if device == "gpu" and runtime in ("onnx", "int8"):
        raise ConfigError(
            f"--runtime {runtime} computes on the CPU and --device gpu asks for a GPU. Leave one of them out."
        )
    choose_device(device)
    return "keras" if device == "gpu" else runtime
