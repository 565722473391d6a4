"""Writes a run's network in eight bits: faster on processors with 8-bit instructions, and nearly as accurate.

Quantization needs the range of every layer's values. It is measured on clips like those that the model will judge, some
minutes of them; so is how far the answers change.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion.console import quiet_import
from emotion.errors import EmotionError, MediaError, RunError, first_line
from emotion.inputs.window_cutter import cut_recordings
from emotion.media.recordings import Recording
from emotion.models.export_onnx import convert_to_onnx, halve_exact_kernels, skip_missing_modalities
from emotion.models.onnx_runtime import HEAD_FILE, INT8_FILE, MADE_FROM, OnnxNetwork, written_with_hash
from emotion.models.trained_model import Run

MIN_WINDOWS, MAX_WINDOWS = 8, 96
# Operations of the video branch between its convolutions; quantized too, so that values stay in eight bits.
BETWEEN, VIDEO_LAYERS = ("Concat", "Pad", "Slice", "Reshape", "Transpose", "Add"), ("/video_", "/neighbouring_frames")
FEWEST_CHANNELS = 4  # convolutions over fewer input channels stay in float: they gain little and lose the most
MAX_DIFFERENCE = 0.25  # of a probability


@dataclass(frozen=True)
class Int8Report:
    """How far eight bits changed a network's answers.

    Attributes:
        mean_difference, max_difference: of a probability.
        n_same: windows whose most probable emotion stayed the same.
    """

    n_windows: int
    mean_difference: float
    max_difference: float
    n_same: int


def export_int8(run: Run, clips: Sequence[Path]) -> Int8Report:
    """Writes ``model.int8.onnx``, and ``head.onnx`` if there is a head, beside the ``model.keras`` that Keras loaded.

    Args:
        clips: media like those that the model will judge.

    Raises:
        EmotionError: if a clip cannot be read, the clips hold too few windows, or the network cannot be quantized.
    """
    windows = collect_windows(run, clips)
    path = run.path / INT8_FILE
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(written_with_hash(path))
        with tempfile.TemporaryDirectory() as folder:
            _quantize(run, windows, Path(folder), partial)
        skip_missing_modalities(run.config, partial)
        network = OnnxNetwork(partial)
        if network.encodes:
            from emotion.models.tracks import split_network

            head = stack.enter_context(written_with_hash(run.path / HEAD_FILE))
            convert_to_onnx(run, head, split_network(run.model).head)
        report = _compare(run, network, windows)
        if not report.max_difference <= MAX_DIFFERENCE:
            raise RunError(
                f"{path}: not written, because a probability differs from Keras's by {report.max_difference:.2g}; at "
                f"most {MAX_DIFFERENCE:g} is allowed. Give more clips, of the kind that the model will judge."
            )
    return report


def collect_windows(run: Run, clips: Sequence[Path]) -> dict[str, np.ndarray]:
    """Returns the model's inputs for at most ``MAX_WINDOWS`` windows, spread evenly over all clips.

    Raises:
        MediaError: if a clip cannot be read, or the clips hold fewer than ``MIN_WINDOWS`` windows with evidence.
    """
    found: list[dict[str, np.ndarray]] = []
    step = 1  # only every ``step``-th window is kept: an hour of them would fill the memory
    for number, inputs in enumerate(cut_recordings([Recording.of_file(clip) for clip in clips], run.config)):
        if number % step == 0:
            found.append(inputs)
        if len(found) > 2 * MAX_WINDOWS:
            found, step = found[::2], 2 * step
    if len(found) < MIN_WINDOWS:
        raise MediaError(
            f"{', '.join(map(str, clips))}: {len(found)} windows with a face or a voice; at least {MIN_WINDOWS} are "
            "needed. Give more or longer clips."
        )
    chosen = np.linspace(0, len(found) - 1, min(len(found), MAX_WINDOWS)).astype(int)
    return {name: np.stack([found[i][name] for i in chosen]) for name in found[0]}


def _quantize(run: Run, windows: dict[str, np.ndarray], folder: Path, target: Path) -> None:
    try:
        with quiet_import():
            import onnx
            import tf2onnx  # noqa: F401
            from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
            from onnxruntime.quantization.shape_inference import quant_pre_process

            from emotion.models.export_folding import fold_time
            from emotion.models.tracks import split_network
    except ImportError as error:
        raise RunError(f"{run.path}: cannot be quantized ({error}). pip install -r requirements.txt") from error

    class Reader(CalibrationDataReader):
        def __init__(self):
            n_windows = len(next(iter(windows.values())))
            self._rows = ({name: values[i : i + 1] for name, values in windows.items()} for i in range(n_windows))

        def get_next(self):
            return next(self._rows, None)

    try:
        with quiet_import():
            open_shapes = {each.name: each.shape[1:] for each in run.model.inputs}
            folded = fold_time(run.model, open_shapes if split_network(run.model) else run.config.input_shapes)
            split = split_network(folded)
            convert_to_onnx(run, folder / "folded.onnx", split.encoder if split else folded)
            quant_pre_process(folder / "folded.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)
            network = onnx.load(folder / "prepared.onnx")
            shapes = {value.name: tuple(value.dims) for value in network.graph.initializer}
            chosen = [node.name for node in network.graph.node if _is_worth_it(node, shapes)]
            quantize_static(
                folder / "prepared.onnx", target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                nodes_to_quantize=chosen, op_types_to_quantize=("Conv", *BETWEEN),
            )  # fmt: skip
        network = onnx.load(target)
        halve_exact_kernels(network)
        onnx.helper.set_model_props(network, {MADE_FROM: run.sha256})
        onnx.save(network, target)
    except EmotionError:
        raise
    except Exception as error:  # the converters raise anything for an operation they do not know
        raise RunError(f"{run.path}: cannot be quantized to eight bits ({first_line(error)}).") from error


def _is_worth_it(node, shapes: dict[str, tuple[int, ...]]) -> bool:
    if node.op_type == "Conv":
        shape = shapes.get(node.input[1], ())
        return len(shape) == 4 and shape[1] >= FEWEST_CHANNELS
    return node.op_type in BETWEEN and any(layer in f"/{node.name}" for layer in VIDEO_LAYERS)


def _compare(run: Run, network: OnnxNetwork, windows: dict[str, np.ndarray]) -> Int8Report:
    n_windows = len(next(iter(windows.values())))
    parts = [{name: values[i : i + 8] for name, values in windows.items()} for i in range(0, n_windows, 8)]
    plain = run.without_calibration()
    expected = np.concatenate([plain.predict(part) for part in parts])
    answers = np.concatenate([network(part) for part in parts])
    differences = np.abs(expected - answers)
    n_same = int((expected.argmax(axis=1) == answers.argmax(axis=1)).sum())
    return Int8Report(n_windows, float(differences.mean()), float(differences.max()), n_same)
