"""A run's network in ONNX Runtime: Keras's answers without TensorFlow, which takes seconds to load.

``emotion.export`` writes ``model.onnx`` beside ``model.keras``, and for a network that runs along tracks ``head.onnx``;
see ``emotion.models.tracks``. Each file names, by SHA-256, the ``model.keras`` it was made from, so that an outdated
one is never used. ``model.onnx.sha256`` holds its own hash in ``sha256sum``'s format, so that a damaged one is never
used either.

``model.int8.onnx`` is an optional faster network in eight bits, whose answers differ a little; see
``emotion.models.export_int8``.
"""

import contextlib
import functools
import hashlib
import logging
import math
import os
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emotion.errors import ConfigError, RunError, first_line
from emotion.files import named_errors, write_whole, written_whole
from emotion.models.onnx_files import has_external_data

logger = logging.getLogger(__name__)

ONNX_FILE = "model.onnx"
HEAD_FILE = "head.onnx"
INT8_FILE = "model.int8.onnx"
HASH_SUFFIX = ".sha256"
RUNTIMES = ("auto", "onnx", "int8", "keras")
DEVICES = ("auto", "cpu", "gpu")
# A network must answer within the first, and the second for each window: a hundred times what large ones take.
LIMIT_SECONDS, WINDOW_SECONDS, TERMINATION_SECONDS = 20.0, 2.0, 5.0
WAIT_SECONDS = 0.1
MAX_BYTES = 2 << 30  # of all networks together
OUT_OF_MEMORY = "BFCArena"  # in ONNX Runtime's words
MADE_FROM = "keras_sha256"  # key in the file's metadata
# Outputs: of the whole network, and what a network that runs along tracks also hands out for its head.
PROBABILITIES, ENCODED = "probabilities", ("audio_vector", "video_moments", "video_signs")
PRESENT = "audio_present"  # which the head also takes


_n_threads = 0  # of networks that are loaded from now on; 0: one for each core


def limit_threads(n: int) -> None:
    """Sets how many threads each network of this process computes with, if it is loaded from now on."""
    global _n_threads  # noqa: PLW0603  (as ONNX Runtime would have it for all sessions)
    _n_threads = n


class OutOfMemory(RunError):
    """A network that asks for more memory than networks may have."""


class OnnxNetwork:
    """A network in ONNX Runtime, called with a dict of inputs.

    Attributes:
        runtime: ``onnx``, or ``int8`` if it computes in eight bits.
        input_shapes: by the input's name, without the batch axis; None where any length is taken.
        n_outputs: number of classes.
        made_from: SHA-256 of the ``model.keras`` it was made from.
        head: judges what this network encodes; None if it judges whole windows only.
    """

    def __init__(self, path: str | os.PathLike):
        """Loads an ``.onnx`` file.

        Raises:
            RunError: if the file cannot be loaded, or ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise RunError(f"{path}: cannot be run ({error}). pip install -r requirements.txt") from error

        _limit_memory()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is said in the error, once
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.intra_op_num_threads = _n_threads
        # Threads that spin while waiting for work would slow down decoding and encoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._path = Path(path)
        with named_errors(path):
            content = self._path.read_bytes()
        try:
            if has_external_data(content):
                raise RunError(f"{path}: keeps weights in other files, which is not allowed. {_way_out(self._path)}")
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            # Names stand for numbers that may vary.
            self.input_shapes = {
                each.name: tuple(side if isinstance(side, int) else None for side in each.shape[1:]) for each in inputs
            }
            self._dtypes = {each.name: np.uint8 if "uint8" in each.type else np.float32 for each in inputs}
            self._outputs = [each.name for each in outputs]
            self.n_outputs = outputs[0].shape[-1]
        except RunError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base
            words = first_line(error)
            raise RunError(f"{path}: not a loadable ONNX model ({words}). {_way_out(Path(path))}") from error
        self.runtime = "int8" if Path(path).name.endswith(INT8_FILE) else "onnx"
        self.made_from = self._session.get_modelmeta().custom_metadata_map.get(MADE_FROM)
        self.head: OnnxNetwork | None = None

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns probabilities ``(n, n_outputs)`` for a batch of inputs.

        Windows are run in groups that lack the same modality: the network skips a branch only if the whole batch has
        no evidence for it.
        """
        inputs = {name: np.asarray(inputs[name]) for name in self.input_shapes}
        n = len(next(iter(inputs.values())))
        held = np.stack([find_held(values) for values in inputs.values()], axis=1)
        kinds = np.unique(held, axis=0)
        if len(kinds) < 2:
            return self._run(inputs)
        answers = np.empty((n, self.n_outputs), np.float32)
        for kind in kinds:
            (rows,) = np.nonzero((held == kind).all(axis=1))
            answers[rows] = self._run({name: values[rows] for name, values in inputs.items()})
        return answers

    @property
    def encodes(self) -> bool:
        """Whether it also hands out what a head needs."""
        return "video_moments" in self._outputs

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        n = len(next(iter(inputs.values())))
        try:
            (answer,) = self._compute(self._outputs[:1], inputs)
        except OutOfMemory:
            if n < 2:
                raise
            halves = (slice(n // 2), slice(n // 2, n))
            return np.concatenate([self._run({name: each[half] for name, each in inputs.items()}) for half in halves])
        wanted = (n, self.n_outputs)
        if not isinstance(answer, np.ndarray) or answer.shape != wanted:  # what a file says of its outputs may be wrong
            raise RunError(f"{self._path}: its answers are not of shape {wanted}. {_way_out(self._path)}")
        return answer

    def _compute(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the network in a thread, so that signals are heard meanwhile, and ends it after a while.

        Raises:
            OutOfMemory: if it asks for more memory than it may have.
            RunError: if it fails, or does not answer in time: a file from a stranger may loop for ever.
        """
        import onnxruntime

        options, answers, done = onnxruntime.RunOptions(), [], threading.Event()

        def run() -> None:
            try:
                answers.append(self._session.run(names, inputs, options))
            except Exception as error:  # ONNX Runtime's errors have no common base
                answers.append(error)
            finally:
                done.set()

        seconds = LIMIT_SECONDS + WINDOW_SECONDS * len(next(iter(inputs.values())))
        threading.Thread(target=run, name="network", daemon=True).start()
        try:
            # Many short waits: a time for which the whole program is stopped, as by Ctrl-Z, is only one of them.
            is_done = any(done.wait(WAIT_SECONDS) for _ in range(math.ceil(seconds / WAIT_SECONDS)))
        finally:
            if not done.is_set():
                options.terminate = True
                done.wait(TERMINATION_SECONDS)
        if not is_done:
            raise RunError(f"{self._path}: did not answer within {seconds:.0f} s. {_way_out(self._path)}")
        (answer,) = answers
        if isinstance(answer, Exception):
            words, way_out = first_line(answer), _way_out(self._path)
            if OUT_OF_MEMORY in words:
                raise OutOfMemory(f"{self._path}: needs more than {MAX_BYTES >> 30} GiB of memory. {way_out}")
            raise RunError(f"{self._path}: fails ({words}). {way_out}") from answer
        return answer

    def encode(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns what the head needs of the inputs of one modality, by the names in ``ENCODED``."""
        (modality, values), *_ = inputs.items()
        others = {
            name: np.zeros((len(values), *(side or 1 for side in shape)), self._dtypes[name])
            for name, shape in self.input_shapes.items()
            if name != modality
        }
        names = [name for name in self._outputs if name in ENCODED and name.startswith(modality)]
        return dict(zip(names, self._compute(names, {modality: values, **others}), strict=True))


@functools.cache
def _limit_memory() -> None:
    """Sets how much memory the networks of this process may ask for; what asks for more fails."""
    import onnxruntime

    kind, arena = onnxruntime.OrtMemType.DEFAULT, onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    limit = onnxruntime.OrtArenaCfg({"max_mem": MAX_BYTES})
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", arena, 0, kind), limit)


def find_held(values: np.ndarray) -> np.ndarray:
    """Returns ``(n,)`` bool: which rows of an input ``(n, ...)`` hold evidence, that is, are not all zeros."""
    return values.any(axis=tuple(range(1, values.ndim)))


def find_network(folder: Path, keras_sha256: str, runtime: str) -> tuple[OnnxNetwork | None, str]:
    """Returns a run's network in ONNX Runtime; or None, and why Keras must be used.

    Args:
        keras_sha256: of its ``model.keras``.
        runtime: ``onnx`` or ``int8`` require that file, ``auto`` takes ``model.onnx`` if it is there and valid,
            ``keras`` takes neither.

    Raises:
        ConfigError: if there is no such runtime.
        RunError: if the required file is missing, damaged, or was made from another network.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}.")
    if runtime == "keras":
        return None, "--runtime keras was asked for."
    path = folder / (INT8_FILE if runtime == "int8" else ONNX_FILE)
    try:
        network = _open_network(path, keras_sha256)
        if network.encodes:
            head = network.head = _open_network(folder / HEAD_FILE, keras_sha256)
            if not set(head.input_shapes) <= {*ENCODED, PRESENT}:
                raise RunError(f"{folder / HEAD_FILE}: is not a head. {_way_out(folder / HEAD_FILE)}")
        return network, ""
    except RunError as error:
        if runtime != "auto":
            raise
        if path.is_file():
            logger.warning("Using Keras instead: %s", error)
        return None, str(error)


def _open_network(path: Path, keras_sha256: str) -> OnnxNetwork:
    make, hash_path = _way_out(path), _hash_path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such file. {make}")
    try:
        wanted = hash_path.read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError) as error:
        raise RunError(f"{hash_path}: missing or unreadable, so {path.name} is not used. {make}") from error
    if _hash_of(path) != wanted:
        raise RunError(f"{path}: is damaged, or not the file that {hash_path.name} belongs to. {make}")
    network = OnnxNetwork(path)
    if network.made_from != keras_sha256:
        raise RunError(f"{path}: was made from another network. {make}")
    return network


def _way_out(path: Path) -> str:
    precision = " --precision int8 --calibrate_on CLIP" if path.name.endswith(INT8_FILE) else ""
    return f"Make it with: python -m emotion.export {shlex.quote(str(path.parent))}{precision}"


@contextlib.contextmanager
def written_with_hash(path: Path) -> Iterator[Path]:
    """As ``files.written_whole``, for an ONNX file; writes its hash beside it."""
    with written_whole(path) as partial:
        yield partial
        # Between the two replacements the hash fits no file, and Keras is used.
        write_hash(partial, path)


def write_hash(content: Path, target: Path) -> None:
    """Writes, beside ``target``, the SHA-256 of the file that is to become it."""
    write_whole(_hash_path(target), f"{_hash_of(content)}  {target.name}\n")


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + HASH_SUFFIX)


def _hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose_device(name: str) -> None:
    """Sets the processor for all models of this process; call it before any is loaded.

    Args:
        name: ``auto`` uses a GPU if TensorFlow finds one, ``cpu`` never does, ``gpu`` requires one.

    Raises:
        ConfigError: if there is no such device, or no GPU where one is required.
    """
    if name not in DEVICES:
        raise ConfigError(f"device must be one of {', '.join(DEVICES)}, got {name!r}.")
    if name == "auto":
        return
    if name == "cpu":
        # TensorFlow reads this when it is imported, which may be later or never.
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
    """Sets the processor and returns the runtime to load the model with. ONNX Runtime computes on the CPU here.

    Raises:
        ConfigError: if the two contradict each other, or as ``choose_device``.
    """
    if device == "gpu" and runtime in ("onnx", "int8"):
        raise ConfigError(f"--runtime {runtime} runs on the CPU, --device gpu asks for a GPU. Leave one of them out.")
    choose_device(device)
    return "keras" if device == "gpu" else runtime
