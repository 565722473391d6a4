"""Writes a trained model's network for ONNX Runtime, after comparing its answers with Keras's."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from emotion.config import RunConfig
from emotion.console import quiet_import
from emotion.errors import RunError, first_line
from emotion.half_precision import MIN_VALUES
from emotion.onnx_branches import skip_what_is_missing
from emotion.onnx_network import MADE_FROM, ONNX_FILE, OnnxNetwork, written_whole
from emotion.runs import MODEL_FILE, Run, load_run

logger = logging.getLogger(__name__)

MAX_DIFFERENCE = 1e-4  # of probabilities, between Keras and what is written
N_COMPARED = 6
LARGEST_UNASKED = 60_000_000  # bytes of model.keras


def export_onnx(run: Run) -> float:
    """Writes ``model.onnx`` beside a run's ``model.keras``.

    Kernels that 16 bits hold without loss are stored so, and turned back when the file is loaded.

    Args:
        run: loaded by Keras.

    Returns:
        The largest difference found between its probabilities and Keras's.

    Raises:
        RunError: if it cannot be written, or answers differently; nothing is written then.
    """
    path = run.path / ONNX_FILE
    with written_whole(path) as partial:
        convert_to_onnx(run, partial)
        skip_missing_modalities(run.config, partial)
        difference = compare(run, OnnxNetwork(partial))
        if not difference <= MAX_DIFFERENCE:
            raise RunError(
                f"{path}: not written, since its probabilities differ from Keras's by {difference:.1g}, more than "
                f"{MAX_DIFFERENCE:g}."
            )
    return difference


def write_onnx(folder: Path, say: Callable[[str], None]) -> None:
    """Exports a finished run, and says so; a network that cannot be exported is run by Keras, which loses nothing.

    A large one is left to who asks for it: the converter holds it many times over, 14 GB for 100 million weights.
    """
    if (folder / MODEL_FILE).stat().st_size > LARGEST_UNASKED:
        say(f"To have inference load this large model faster: python -m emotion.export {folder}")
        return
    try:
        difference = export_onnx(load_run(folder))
    except (RunError, OSError) as error:
        say(f"{error} Inference will use Keras.")
        return
    say(f"{folder / ONNX_FILE}: equal to {MODEL_FILE} within {difference:.1g}, and loaded in a tenth of the time.")


def convert_to_onnx(run: Run, path: Path) -> None:
    """Writes a run's network as an ONNX file, unchecked.

    Raises:
        RunError: if a package is missing, or the network cannot be converted.
    """
    try:
        with quiet_import():
            import onnx
            import onnxruntime  # noqa: F401  (what is written is tried out at once)
            import tf2onnx  # noqa: F401
    except ImportError as error:
        raise RunError(
            f"{path.parent}: cannot be written as ONNX ({error}). pip install -r requirements.txt"
        ) from error
    run.predict(draw_inputs(run.config, 1))  # Keras exports only what has been called
    try:
        with quiet_import(), _unmerged():
            run.model.export(path, format="onnx", verbose=False)
        network = onnx.load(path)
    except Exception as error:
        # The converter raises anything for an operation that it does not know.
        raise RunError(f"{run.path}: cannot be written as ONNX ({first_line(error)}).") from error
    for number, value in enumerate(network.graph.initializer):
        array = onnx.numpy_helper.to_array(value)
        if array.dtype != np.float32 or array.size < MIN_VALUES:
            continue
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if np.array_equal(half.astype(np.float32), array):
            name = value.name
            network.graph.initializer[number].CopyFrom(onnx.numpy_helper.from_array(half, f"{name}/half"))
            cast = onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=onnx.TensorProto.FLOAT)
            network.graph.node.insert(0, cast)
    onnx.helper.set_model_props(network, {MADE_FROM: run.sha256})
    onnx.save(network, path)


def skip_missing_modalities(config: RunConfig, path: Path) -> None:
    """Rewrites an ONNX file so that it works through no frames of a sound file, and no sound of a silent clip.

    One that cannot be rewritten, or answers otherwise then, stays as it is, which costs time and nothing else.
    """
    import onnx

    nothing = {name: values[:1] * 0 for name, values in draw_inputs(config, 1).items()}
    inputs = draw_inputs(config, N_COMPARED)
    rewritten = path.with_name(f"rewritten-{path.name}")
    try:
        network = onnx.load(path)
        skip_what_is_missing(network, nothing)
        onnx.checker.check_model(network)
        onnx.save(network, rewritten)
        np.testing.assert_allclose(OnnxNetwork(rewritten)(inputs), OnnxNetwork(path)(inputs), atol=MAX_DIFFERENCE)
        rewritten.replace(path)
    except Exception as error:
        # Both packages raise anything for what they cannot make sense of.
        logger.info("%s: is left as it is (%s).", path, first_line(error))
    finally:
        rewritten.unlink(missing_ok=True)


@contextlib.contextmanager
def _unmerged() -> Iterator[None]:
    """Keeps TensorFlow from multiplying the norms of a batch into the kernels before them.

    16 bits hold the kernels as they were trained, not such products. ONNX Runtime makes them when it loads the file.
    """
    from tf2onnx import tf_loader

    optimize = tf_loader.tf_optimize_grappler
    tf_loader.tf_optimize_grappler = lambda input_names, output_names, graph_def: graph_def
    try:
        yield
    finally:
        tf_loader.tf_optimize_grappler = optimize


def draw_inputs(config: RunConfig, n: int) -> dict[str, np.ndarray]:
    """Draws inputs of random content; where a model takes both, some lack the one or the other."""
    rng = np.random.default_rng(0)
    inputs = {
        "audio": rng.standard_normal((n, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(1, 256, (n, *config.video_shape), dtype=np.uint8),
    }
    inputs = {name: inputs[name] for name in config.modalities}
    for number, values in enumerate(inputs.values()):
        values[1 + number :: 3] = 0
    return inputs


def compare(run: Run, network: OnnxNetwork) -> float:
    """Returns the largest difference between the probabilities of a run and of its export, on random windows."""
    inputs = draw_inputs(run.config, N_COMPARED)
    expected = run.without_calibration().predict(inputs)
    one_by_one = [network({name: values[i : i + 1] for name, values in inputs.items()}) for i in range(N_COMPARED)]
    return max(float(np.abs(expected - answers).max()) for answers in (network(inputs), np.concatenate(one_by_one)))
