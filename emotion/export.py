"""Writes a trained model in a format that runs without Keras, after comparing its answers with Keras's.

python -m emotion.export saved_models/RUN
python -m emotion.export saved_models/RUN --precision int8 --calibrate_on CLIP [CLIP ...]
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from emotion.config import RunConfig, find_model
from emotion.console import quiet_import, run_program
from emotion.errors import RunError
from emotion.finding import find_sources
from emotion.half_precision import MIN_VALUES
from emotion.onnx_network import INT8_FILE, MADE_FROM, ONNX_FILE, OnnxNetwork, written_whole
from emotion.options import say_now
from emotion.runs import MODEL_FILE, Run, load_run

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
        _convert(run, partial)
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


def _convert(run: Run, path: Path) -> None:
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
        raise RunError(f"{run.path}: cannot be written as ONNX ({error}).") from error
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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=find_model, metavar="RUN", help="the model folder")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="default: %(default)s, as model.onnx in "
                        "the model folder, where run_inference.py finds it")  # fmt: skip
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32", help="int8: faster on "
                        "processors that know such sums, and not quite alike; run_inference.py --runtime int8 takes it "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--calibrate_on", nargs="+", metavar="CLIP", help="for int8: media of the kind that the model "
                        "will judge, some minutes in all; also folders and patterns")  # fmt: skip
    return parser


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if (args.precision == "int8") != bool(args.calibrate_on):
        parser.error("--precision int8 and --calibrate_on CLIP go together")
    if args.precision == "int8":
        from emotion.quantization import export_int8

        sources = find_sources(args.calibrate_on)
        clips = [Path(args.calibrate_on[0])] if sources is None else [source.path for source in sources]
        say_now(
            f"Looking at {len(clips)} clip(s), then turning the network: this takes about as long as the clips last."
        )
        report = export_int8(load_run(args.model), clips)
        path = args.model / INT8_FILE
        say_now(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB; on {report.n_windows} windows of these clips probabilities "
            f"differ from float32's by {report.mean_difference:.2g} on average, {report.max_difference:.2g} at most; "
            f"{report.n_same} have the same most probable emotion. To use it: run_inference.py --runtime int8"
        )
        return 0
    difference = export_onnx(load_run(args.model))
    size = (args.model / ONNX_FILE).stat().st_size / 1e6
    say_now(f"{args.model / ONNX_FILE}: {size:.1f} MB, max abs difference {difference:.2g}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
