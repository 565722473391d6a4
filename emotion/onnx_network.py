"""A run's network in ONNX Runtime: the same answers as Keras's without TensorFlow, which takes seconds to load.

``model.onnx`` lies beside ``model.keras`` and names the one it was made from by its SHA-256, so that a folder whose
network was replaced is never judged by the old one. Its own SHA-256 stands in ``model.onnx.sha256``, as ``sha256sum``
writes it, since a damaged weight would be used like any other. Both are made by ``emotion.export``.
"""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np

from emotion.errors import ConfigError, RunError

logger = logging.getLogger(__name__)

ONNX_FILE = "model.onnx"
HASH_FILE = "model.onnx.sha256"
RUNTIMES = ("auto", "onnx", "keras")
MADE_FROM = "keras_sha256"


class OnnxNetwork:
    """A network from a dict of inputs to probabilities.

    Attributes:
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
            words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            make = f"Make it anew: python -m emotion.export {Path(path).parent}"
            raise RunError(f"{path}: not a loadable ONNX model ({words}). {make}") from error
        self.made_from = self._session.get_modelmeta().custom_metadata_map.get(MADE_FROM)

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns probabilities ``(n, n_outputs)`` for a batch of inputs."""
        return self._session.run(None, {name: inputs[name] for name in self.input_shapes})[0]


def find_network(folder: Path, keras_sha256: str, runtime: str) -> tuple[OnnxNetwork | None, str]:
    """Returns a run's network in ONNX Runtime, or None if Keras is to be used, and why.

    Args:
        folder: of the run.
        keras_sha256: of its ``model.keras``.
        runtime: ``onnx`` insists on it, ``keras`` never takes it, ``auto`` takes it where there is one.

    Raises:
        ConfigError: if there is no such runtime.
        RunError: if it is insisted on and not there, made from another network, or damaged.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}.")
    if runtime == "keras":
        return None, "--runtime keras was asked for."
    path = folder / ONNX_FILE
    try:
        return _open_network(path, keras_sha256), ""
    except RunError as error:
        if runtime == "onnx":
            raise
        if path.is_file():
            logger.warning("%s Keras is used instead.", error)
        return None, str(error)


def _open_network(path: Path, keras_sha256: str) -> OnnxNetwork:
    make = f"Make it with: python -m emotion.export {path.parent}"
    if not path.is_file():
        raise RunError(f"{path}: no such file. {make}")
    try:
        wanted = path.with_name(HASH_FILE).read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError) as error:
        raise RunError(
            f"{path.with_name(HASH_FILE)}: missing or unreadable, so {ONNX_FILE} is not trusted. {make}"
        ) from error
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
            raise RunError(f"{path}: is damaged, or another file than {HASH_FILE} says. {make}")
    network = OnnxNetwork(path)
    if network.made_from != keras_sha256:
        raise RunError(f"{path}: was made from another network. {make}")
    return network


def write_hash(path: Path, folder: Path) -> None:
    """Writes the SHA-256 of an ONNX file as that of a folder's ``model.onnx``."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    partial = folder / f"partial-{HASH_FILE}"
    partial.write_text(f"{digest}  {ONNX_FILE}\n", encoding="ascii")
    partial.replace(folder / HASH_FILE)
