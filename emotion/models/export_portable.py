"""A trained model as a folder that runs anywhere: ONNX, TensorFlow SavedModel or LiteRT, with all it takes to use it.

Beside the network lie its settings (``config.json``), what its inputs and outputs are (``model.json``), inputs with the
answers that belong to them (``test_vectors.npz``), and a short program that runs it without this package
(``example.py``). Nothing is written unless the network answers as Keras does on windows of a real clip.
"""

import dataclasses
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config_files import write_config
from emotion.console import quiet_import
from emotion.errors import EmotionError, MediaError, RunError, first_line
from emotion.files import write_json
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.preprocessing import Preprocessor, SoundBuffer
from emotion.inputs.voice.features import has_sound
from emotion.inputs.window_cutter import cut_recordings
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media
from emotion.media.recordings import Recording
from emotion.models.export_onnx import convert_to_onnx
from emotion.models.onnx_runtime import OnnxNetwork
from emotion.models.run_folder import CARD_FILE, CONFIG_FILE, Run
from emotion.places import sample_clip

MAX_DIFFERENCE = 1e-3  # of a probability, between Keras and what is written
N_CHECKED, N_KEPT = 12, 4  # windows of the clip that are compared, and rows that go into the test vectors
ABOUT_FILE, VECTORS_FILE, EXAMPLE_FILE = "model.json", "test_vectors.npz", "example.py"
PICTURE_SIDE = 400  # pixels of the picture in the test vectors, at most: a face and its surroundings
ABOUT_VERSION = 1
EVIDENCE = {"audio": "voice", "video": "face"}

Answer = Callable[[dict[str, np.ndarray]], np.ndarray]

# What follows is the same for all three; it gives calibrated probabilities.
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
        file: the network's file, or folder, within the export.
        write: makes it.
        load: returns a function from inputs to the network's probabilities.
        needs, imports, lines: of the example; ``lines`` set ``raw`` from ``inputs``.
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


def export_portable(run: Run, name: str, folder: Path, *, check_on: Path | None = None) -> float:
    """Writes a model as a folder that runs without this package.

    Args:
        run: loaded by Keras.
        name: of the format, a key of ``FORMATS``.
        folder: to write; one that an earlier export wrote is replaced.
        check_on: a clip with a face and a voice, on whose windows the answers are compared; by default the sample.

    Returns:
        The largest difference found between its probabilities and Keras's.

    Raises:
        MediaError: if the clip cannot be read, or holds no window that the model could judge.
        RunError: if the network cannot be written so, or answers differently; nothing is written then.
    """
    if folder.exists() and not _is_export(folder):
        raise RunError(f"{folder}: is there already, and no export. Name another folder with --output.")
    kind = FORMATS[name]
    check_on = check_on or sample_clip()
    windows = collect_checked(run, check_on)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        partial = Path(place) / "export"
        partial.mkdir()
        kind.write(run, partial / kind.file)
        expected = run.without_calibration().predict(windows)
        answers = _answer(kind, partial / kind.file, windows, run)
        difference = float(np.abs(expected - answers).max())
        if not difference <= MAX_DIFFERENCE:
            raise RunError(
                f"{folder}: not written, since its probabilities differ from Keras's by {difference:.2g}, more than "
                f"{MAX_DIFFERENCE:g}."
            )
        write_config(run.config, partial / CONFIG_FILE)
        about = describe(run, kind, difference=difference, n_checked=len(expected))
        write_json(partial / ABOUT_FILE, about)
        np.savez_compressed(partial / VECTORS_FILE, **_make_vectors(run, windows, check_on))
        (partial / EXAMPLE_FILE).write_text(kind.example, encoding="utf-8")
        for path in _terms(run.path):
            shutil.copy(path, partial / path.name)
        before = Path(place) / "before"  # it goes with the temporary folder, once the new one is in its place
        if folder.exists():
            folder.rename(before)
        try:
            partial.rename(folder)
        except BaseException:
            if before.exists():
                before.rename(folder)
            raise
    return difference


def _terms(folder: Path) -> list[Path]:
    """What of a run says how its weights may be used, which holds for them in any format."""
    return [path for path in sorted(folder.glob("LICENCE*.txt")) + [folder / CARD_FILE] if path.is_file()]


def _is_export(folder: Path) -> bool:
    """Whether a folder holds what an export wrote, and nothing else."""
    if not folder.is_dir():
        return False
    own = {
        CONFIG_FILE,
        ABOUT_FILE,
        VECTORS_FILE,
        EXAMPLE_FILE,
        CARD_FILE,
        "__pycache__",
        *(kind.file for kind in FORMATS.values()),
    }
    if not {path.name for path in folder.iterdir() if not path.match("LICENCE*.txt")} <= own:
        return False
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and {"keras_sha256", "format_version", "class_names"} <= set(about)


def collect_checked(run: Run, clip: Path) -> dict[str, np.ndarray]:
    """Returns the model's inputs for windows of a clip, by name.

    Where a model takes both, the first three rows are a voice and a face of the clip together, the voice alone and the
    face alone.

    Raises:
        MediaError: if the clip cannot be read, or has no window with evidence of a kind that the model takes.
    """
    windows = cut_recordings([Recording.of_file(clip)], run.config)
    found = list(itertools.islice(windows, N_CHECKED))
    if not found:
        raise MediaError(f"{clip}: has no face and no voice that could be judged. Give another clip: --check_on CLIP.")
    windows = {name: np.stack([inputs[name] for inputs in found]) for name in run.config.modalities}
    held = {name: next((row for row in values if row.any()), None) for name, values in windows.items()}
    for name in [name for name, row in held.items() if row is None]:
        raise MediaError(
            f"{clip}: holds no {EVIDENCE[name]} that is judged, so it cannot check a network that takes one. Give "
            "another clip: --check_on CLIP."
        )
    if len(windows) == 1:
        return windows
    shown = {"audio": (1, 1, 0), "video": (1, 0, 1)}
    drawn = {name: np.stack([row * np.array(is_there, row.dtype) for is_there in shown[name]])
             for name, row in held.items()}  # fmt: skip
    return {name: np.concatenate([drawn[name], values]) for name, values in windows.items()}


def describe(run: Run, kind: PortableFormat, *, difference: float, n_checked: int) -> dict[str, Any]:
    """Returns what a program that uses the network must know, as plain JSON types."""
    config = run.config
    shapes = {"audio": config.audio_shape, "video": config.video_shape}
    what = {
        "audio": f"{config.audio.features} of {config.window.window_seconds:g} s of mono sound at "
        f"{config.audio.sample_rate} Hz; zeros where nothing is heard",
        "video": f"{config.video.n_frames} {'aligned faces' if config.looks_for_faces else 'frames'}, RGB 0 to 255, "
        f"{config.frame_interval_seconds:g} s apart; zeros where none is seen",
    }
    types = {"audio": "float32", "video": "uint8"}
    has_card = (run.path / CARD_FILE).is_file()
    return {
        "format_version": ABOUT_VERSION,
        "file": kind.file,
        "class_names": list(config.class_names),
        "inputs": {
            name: {"shape": list(shapes[name]), "dtype": types[name], "what": what[name]} for name in config.modalities
        },
        "output": f"probabilities of the {len(config.class_names)} classes before the temperature: divide their "
        "logarithms by it, and scale to sum 1",
        "temperatures": {
            "both": config.calibration.both, "face": config.calibration.face, "voice": config.calibration.voice,
        },
        "unsure_below": config.calibration.unsure_below,
        "keras_sha256": run.sha256,
        "max_abs_difference": difference,
        "n_windows_checked": n_checked,
        "preprocessing": f"docs/preprocessing.md of Audio-visual emotion recognition, with code; {VECTORS_FILE} holds "
        "a second of each kind of media with what becomes of it",
        "licences": {source.name: source.licence for source in config.data},
        **({"terms": f"{CARD_FILE} says what the model is for, and how its weights may be used"} if has_card else {}),
    }  # fmt: skip


def _answer(kind: PortableFormat, path: Path, windows: dict[str, np.ndarray], run: Run) -> np.ndarray:
    try:
        with quiet_import():
            return kind.load(path)(windows)
    except EmotionError:
        raise
    except Exception as error:
        # The runtimes raise anything for an operation that they lack.
        words = first_line(error)
        raise RunError(f"{run.path}: {path.name} is not written, since it cannot be run ({words}).") from error


def _make_vectors(run: Run, windows: dict[str, np.ndarray], clip: Path) -> dict[str, np.ndarray]:
    """Inputs with their answers; and a second of each kind of media with what becomes of it."""
    kept = {name: values[:N_KEPT] for name, values in windows.items()}
    vectors = {
        **kept,
        "network": run.without_calibration().predict(kept).astype(np.float32),
        "probabilities": run.predict(kept).astype(np.float32),
    }
    preprocessor, rate = Preprocessor(run.config), run.config.audio.sample_rate
    sound, picture, detector = SoundBuffer(rate), None, YuNetDetector() if run.config.looks_for_faces else None
    for item in iterate_media(clip, sample_rate=rate):
        if not isinstance(item, VideoFrame):
            sound.add(item)
        elif detector is not None and picture is None:
            faces = detector.detect(item.image)
            picture = (item.image, faces[0].landmarks) if faces else None
    if "audio" in kept:
        waveform = sound.cut(0.0, run.config.window_samples)
        if has_sound(waveform, run.config.audio):
            vectors |= {"waveform": waveform, "waveform_audio": preprocessor.audio_input(waveform)}
    if picture is not None and "video" in kept:
        image, landmarks = picture
        corner = np.maximum(0, landmarks.mean(axis=0) - PICTURE_SIDE / 2).astype(int)
        image = image[corner[1] : corner[1] + PICTURE_SIDE, corner[0] : corner[0] + PICTURE_SIDE]
        landmarks = landmarks - corner
        face = crop_face(image, landmarks, run.config.video.image_size)
        vectors |= {"picture": image, "picture_landmarks": landmarks.astype(np.float32), "picture_face": face}
    return vectors


# ---- The formats ----


def _write_onnx(run: Run, path: Path) -> None:
    import onnx

    convert_to_onnx(run, path)
    network = onnx.load(path)
    # It travels alone, too: whoever finds the file can read what its outputs mean.
    kept = {entry.key: entry.value for entry in network.metadata_props}
    onnx.helper.set_model_props(network, {**kept, "class_names": json.dumps(list(run.config.class_names))})
    onnx.save(network, path)


def _load_onnx(path: Path) -> Answer:
    return OnnxNetwork(path)


def _write_saved_model(run: Run, path: Path) -> None:
    _export(run, path, "tf_saved_model")


def _load_saved_model(path: Path) -> Answer:
    import tensorflow as tf

    network = tf.saved_model.load(str(path))
    return lambda inputs: np.asarray(network.serve(inputs))


def _write_litert(run: Run, path: Path) -> None:
    import tensorflow as tf

    # One window at a time: LiteRT plans its memory for shapes that are known.
    signature = {x.name: tf.TensorSpec((1, *x.shape[1:]), x.dtype, x.name) for x in run.model.inputs}
    _export(dataclasses.replace(run, model=_without_time(run.model)), path, "litert", input_signature=[signature])


def _without_time(model):
    """Returns the network without operations over time, some of which LiteRT does not have; as it is, if need be."""
    from emotion.models.export_folding import fold_time

    try:
        return fold_time(model)
    except ValueError:
        return model


def _load_litert(path: Path) -> Answer:
    import tensorflow as tf

    network = tf.lite.Interpreter(str(path)).get_signature_runner()

    def answer(inputs: dict[str, np.ndarray]) -> np.ndarray:
        n = len(next(iter(inputs.values())))
        rows = [network(**{name: values[i : i + 1] for name, values in inputs.items()}) for i in range(n)]
        return np.concatenate([next(iter(row.values())) for row in rows])

    return answer


def _export(run: Run, path: Path, name: str, **options) -> None:
    shapes = {"audio": run.config.audio_shape, "video": run.config.video_shape}
    # Keras exports only what has been called.
    run.predict({each.name: np.zeros((1, *shapes[each.name]), each.dtype) for each in run.model.inputs})
    try:
        with quiet_import():
            run.model.export(str(path), format=name, verbose=False, **options)
    except EmotionError:
        raise
    except Exception as error:
        # The converters raise anything for an operation that they do not know.
        raise RunError(f"{run.path}: cannot be written as {name} ({first_line(error)}).") from error


FORMATS = {
    "onnx": PortableFormat(
        "model.onnx", _write_onnx, _load_onnx, "onnxruntime", "import onnxruntime",
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
