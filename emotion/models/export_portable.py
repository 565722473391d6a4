"""Writes a trained model as a folder that runs without this package: ONNX, TensorFlow SavedModel or LiteRT.

Beside the network the folder holds its settings (``config.json``), a description of its inputs and outputs
(``model.json``), inputs with their expected answers (``test_vectors.npz``) and a short program that runs it
(``example.py``). It is written only if the network answers as Keras does on windows of a real clip.
"""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config import INPUT_DTYPES
from emotion.config_files import write_config
from emotion.console import quiet_import
from emotion.errors import EmotionError, MediaError, RunError, first_line
from emotion.files import folder_written_whole, write_json
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.preprocessing import Preprocessor, SoundBuffer
from emotion.inputs.voice.features import has_sound
from emotion.inputs.window_cutter import cut_recordings
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media
from emotion.media.recordings import Recording
from emotion.models.portable_formats import FORMATS, PortableFormat
from emotion.models.run_folder import CARD_FILE, CONFIG_FILE
from emotion.models.trained_model import Run
from emotion.places import sample_clip

MAX_DIFFERENCE = 1e-3  # of a probability, between Keras and the export
N_CHECKED, N_KEPT = 12, 4  # windows that are compared, and those that go into the test vectors
ABOUT_FILE, VECTORS_FILE, EXAMPLE_FILE = "model.json", "test_vectors.npz", "example.py"
PICTURE_SIDE = 400  # pixels, at most, of the picture in the test vectors
ABOUT_VERSION = 1
EVIDENCE = {"audio": "voice", "video": "face"}


def export_portable(run: Run, name: str, folder: Path, *, check_on: Path | None = None) -> float:
    """Writes a run that Keras loaded as a folder that runs without this package.

    Args:
        name: of the format, a key of ``FORMATS``.
        folder: to write; an earlier export there is replaced.
        check_on: a clip with a face and a voice, on whose windows the answers are compared; the sample by default.

    Returns:
        The largest difference between its probabilities and Keras's.

    Raises:
        MediaError: if the clip cannot be read, or holds no window that the model can judge.
        RunError: if the network cannot be written so, or answers differently; nothing is written then.
    """
    if folder.exists() and not _is_export(folder):
        raise RunError(f"{folder}: exists and is not an export. Name another folder with --output.")
    kind, check_on = FORMATS[name], check_on or sample_clip()
    windows = collect_checked(run, check_on)
    with folder_written_whole(folder) as partial:
        kind.write(run, partial / kind.file)
        expected = run.without_calibration().predict(windows)
        answers = _answer(kind, partial / kind.file, windows, run)
        difference = float(np.abs(expected - answers).max())
        if not difference <= MAX_DIFFERENCE:
            raise RunError(
                f"{folder}: not written, because its probabilities differ from Keras's by {difference:.2g}; at most "
                f"{MAX_DIFFERENCE:g} is allowed."
            )
        write_config(run.config, partial / CONFIG_FILE)
        about = describe(run, kind, difference=difference, n_checked=len(expected))
        write_json(partial / ABOUT_FILE, about)
        np.savez_compressed(partial / VECTORS_FILE, **make_vectors(run, windows, check_on))
        (partial / EXAMPLE_FILE).write_text(kind.example, encoding="utf-8")
        for path in _terms(run.path):
            shutil.copy(path, partial / path.name)
    return difference


def _terms(folder: Path) -> list[Path]:
    """A run's licences and model card: they hold for its weights in any format."""
    return [path for path in sorted(folder.glob("LICENCE*.txt")) + [folder / CARD_FILE] if path.is_file()]


def _is_export(folder: Path) -> bool:
    """Whether a folder holds what an export wrote, and nothing else."""
    if not folder.is_dir():
        return False
    own = {CONFIG_FILE, ABOUT_FILE, VECTORS_FILE, EXAMPLE_FILE, CARD_FILE, "__pycache__"}
    own |= {kind.file for kind in FORMATS.values()}
    if not {path.name for path in folder.iterdir() if not path.match("LICENCE*.txt")} <= own:
        return False
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and {"keras_sha256", "format_version", "class_names"} <= set(about)


def collect_checked(run: Run, clip: Path) -> dict[str, np.ndarray]:
    """Returns the model's inputs for windows of a clip, by name.

    For a model of both modalities the first three rows are a voice with a face, the voice alone and the face alone.

    Raises:
        MediaError: if the clip cannot be read, or lacks evidence of a modality that the model takes.
    """
    found = list(itertools.islice(cut_recordings([Recording.of_file(clip)], run.config), N_CHECKED))
    if not found:
        raise MediaError(f"{clip}: no face and no voice that the model can judge. Give another clip: --check_on CLIP.")
    windows = {name: np.stack([inputs[name] for inputs in found]) for name in run.config.modalities}
    held = {name: next((row for row in values if row.any()), None) for name, values in windows.items()}
    for name in [name for name, row in held.items() if row is None]:
        raise MediaError(
            f"{clip}: no {EVIDENCE[name]} that the model can judge, so it cannot check the {name} branch. Give "
            "another clip: --check_on CLIP."
        )
    if len(windows) == 1:
        return windows
    shown = {"audio": (1, 1, 0), "video": (1, 0, 1)}
    drawn = {name: np.stack([row * np.array(is_there, row.dtype) for is_there in shown[name]])
             for name, row in held.items()}  # fmt: skip
    return {name: np.concatenate([drawn[name], values]) for name, values in windows.items()}


def describe(run: Run, kind: PortableFormat, *, difference: float, n_checked: int) -> dict[str, Any]:
    """Returns the content of ``model.json``: what a program that uses the network must know."""
    config = run.config
    what = {
        "audio": f"{config.audio.features} of {config.window.window_seconds:g} s of mono sound at "
        f"{config.audio.sample_rate} Hz; zeros where there is no sound",
        "video": f"{config.video.n_frames} {'aligned faces' if config.looks_for_faces else 'frames'}, RGB 0 to 255, "
        f"{config.frame_interval_seconds:g} s apart; zeros where there is none",
    }
    has_card = (run.path / CARD_FILE).is_file()
    return {
        "format_version": ABOUT_VERSION,
        "file": kind.file,
        "class_names": list(config.class_names),
        "inputs": {
            name: {"shape": list(shape), "dtype": INPUT_DTYPES[name], "what": what[name]}
            for name, shape in config.input_shapes.items()
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
        "a sound and a picture with the inputs made from them",
        "licences": {source.name: source.licence for source in config.data},
        **({"terms": f"{CARD_FILE} says what the model is for and how you may use its weights"} if has_card else {}),
    }  # fmt: skip


def _answer(kind: PortableFormat, path: Path, windows: dict[str, np.ndarray], run: Run) -> np.ndarray:
    try:
        with quiet_import():
            return kind.load(path)(windows)
    except EmotionError:
        raise
    except Exception as error:  # the runtimes raise anything for an operation they lack
        words = first_line(error)
        raise RunError(f"{run.path}: {path.name} is not written, because it cannot be run ({words}).") from error


def make_vectors(run: Run, windows: dict[str, np.ndarray], clip: Path) -> dict[str, np.ndarray]:
    """Returns test vectors: windows with their answers, and a sound and a picture with the inputs made from them."""
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
        face = crop_face(image, landmarks, run.config.video.image_size, run.config.video.crop)
        vectors |= {"picture": image, "picture_landmarks": landmarks.astype(np.float32), "picture_face": face}
    return vectors
