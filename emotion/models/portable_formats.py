"""The formats of a portable export: ONNX, TensorFlow SavedModel and LiteRT; how each is written, loaded and run."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion.console import quiet_import
from emotion.errors import EmotionError, RunError, first_line
from emotion.models.export_onnx import convert_to_onnx
from emotion.models.onnx_runtime import OnnxNetwork
from emotion.models.trained_model import Run, draw_inputs

Answer = Callable[[dict[str, np.ndarray]], np.ndarray]

# The program that runs an export. Only the imports and the lines that set ``raw`` differ between formats.
EXAMPLE = '''"""Runs {file} without the package that made it: pip install numpy {needs}"""
import json
import numpy as np
{imports}
about, vectors = json.load(open("model.json")), np.load("test_vectors.npz")
inputs = {{name: vectors[name] for name in about["inputs"]}}
{lines}
held = {{name: values.reshape(len(raw), -1).any(axis=1) for name, values in inputs.items()}}
seen, heard, warm = held.get("video", False), held.get("audio", False), about["temperatures"]
temperature = np.where(seen & heard, warm["both"], np.where(seen, warm["face"], warm["voice"]))
powers = raw ** (1 / np.atleast_1d(temperature)[:, None])
p = powers / powers.sum(axis=1, keepdims=True)  # calibrated
print([about["class_names"][i] for i in p.argmax(1)], "max abs difference:", abs(p - vectors["probabilities"]).max())
'''


@dataclass(frozen=True)
class PortableFormat:
    """One format.

    Attributes:
        file: the network's file or folder within the export.
        write: writes it.
        load: returns a function from inputs to the network's probabilities.
        needs: the package that runs it.
        imports, lines: of the example; ``lines`` set ``raw`` from ``inputs``.
    """

    file: str
    write: Callable[[Run, Path], None]
    load: Callable[[Path], Answer]
    needs: str
    imports: str
    lines: str

    @property
    def example(self) -> str:
        """The program that runs the export."""
        return EXAMPLE.format(file=self.file, needs=self.needs, imports=self.imports, lines=self.lines)


def _write_onnx(run: Run, path: Path) -> None:
    import onnx

    convert_to_onnx(run, path)
    network = onnx.load(path)
    # The file may travel alone, so it says itself what its outputs mean.
    kept = {entry.key: entry.value for entry in network.metadata_props}
    onnx.helper.set_model_props(network, {**kept, "class_names": json.dumps(list(run.config.class_names))})
    onnx.save(network, path)


def _write_saved_model(run: Run, path: Path) -> None:
    from emotion.models.export_folding import fix_length

    _export(dataclasses.replace(run, model=fix_length(run.model, run.config.input_shapes)), path, "tf_saved_model")


def _load_saved_model(path: Path) -> Answer:
    import tensorflow as tf

    network = tf.saved_model.load(str(path))
    return lambda inputs: np.asarray(network.serve(inputs))


def _write_litert(run: Run, path: Path) -> None:
    import tensorflow as tf

    # One window at a time: LiteRT needs fixed shapes to plan its memory.
    shapes = run.config.input_shapes
    signature = {x.name: tf.TensorSpec((1, *shapes[x.name]), x.dtype, x.name) for x in run.model.inputs}
    _export(dataclasses.replace(run, model=_without_time(run)), path, "litert", input_signature=[signature])


def _without_time(run: Run):
    """Returns a run's network without operations over time, some of which LiteRT lacks; with them if that fails."""
    from emotion.models.export_folding import fix_length, fold_time

    try:
        return fold_time(run.model, run.config.input_shapes)
    except ValueError:
        return fix_length(run.model, run.config.input_shapes)


def _load_litert(path: Path) -> Answer:
    import tensorflow as tf

    network = tf.lite.Interpreter(str(path)).get_signature_runner()

    def answer(inputs: dict[str, np.ndarray]) -> np.ndarray:
        n = len(next(iter(inputs.values())))
        rows = [network(**{name: values[i : i + 1] for name, values in inputs.items()}) for i in range(n)]
        return np.concatenate([next(iter(row.values())) for row in rows])

    return answer


def _export(run: Run, path: Path, name: str, **options) -> None:
    run.predict(draw_inputs(run.config, 1))  # Keras exports only networks that were called
    try:
        with quiet_import():
            run.model.export(str(path), format=name, verbose=False, **options)
    except EmotionError:
        raise
    except Exception as error:  # the converters raise anything for an operation they do not know
        raise RunError(f"{run.path}: cannot be written as {name} ({first_line(error)}).") from error


FORMATS = {
    "onnx": PortableFormat(
        "model.onnx", _write_onnx, OnnxNetwork, "onnxruntime", "import onnxruntime",
        'raw = onnxruntime.InferenceSession("model.onnx").run(None, inputs)[0]',
    ),
    "savedmodel": PortableFormat(
        "saved_model", _write_saved_model, _load_saved_model, "tensorflow", "import tensorflow as tf",
        'network = tf.saved_model.load("saved_model")\nraw = network.serve(inputs).numpy()',
    ),
    "litert": PortableFormat(
        "model.tflite", _write_litert, _load_litert, "ai-edge-litert",
        "from ai_edge_litert.interpreter import Interpreter",
        'run = Interpreter("model.tflite").get_signature_runner()  # takes one window at a time\n'
        'rows = [{k: v[i : i + 1] for k, v in inputs.items()} for i in range(len(vectors["network"]))]\n'
        "raw = np.concatenate([next(iter(run(**row).values())) for row in rows])",
    ),
}  # fmt: skip
