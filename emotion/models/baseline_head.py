"""Reads and writes ``baseline.npz`` of a model folder, by which people are compared with themselves; NumPy alone.

Resting faces and voices differ more between people than emotions do. So a person's answers are judged relative to what
is usual for that person; see ``emotion.inference.person_baseline``. A model folder without the file judges everybody
alike.

The arrays, without pickle; numbers are 0-dimensional, classes in the order of ``config.json``::

    own_seconds               from so many seconds of a person on, their own mean counts
    shrink_seconds            evidence that speaks for the mean of other people
    full_variety              spread of a person's answers, in nats, from which their own mean counts in full
    temperature_both, temperature_face, temperature_voice    of relative answers

    face_neutral              (n_classes,) mean answer for neutral faces of other people, sum 1
    face_prior                (n_classes,) what a person's own mean is restored to, sum 1
    face_reference_exponent, face_reference_floor    for a neutral reference
    face_own_exponent, face_own_floor                for the person's own mean

    voice_kernel              (n_values, n_classes), for ``audio_vector`` minus the person's
    voice_bias                (n_classes,); logits weighted as the voice's are in the whole network

The six arrays that begin with ``face_`` may all be absent, and so may the two of the voice, but not both.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion.config import RECIPE_NAMES, RunConfig
from emotion.errors import ConfigError, RunError, first_line
from emotion.files import written_whole
from emotion.places import find_model

BASELINE_FILE = "baseline.npz"
NEUTRAL = "neutral"
SMALLEST = 1e-6  # lower probabilities are raised to this before their logarithm is taken


@dataclass(frozen=True)
class FaceHead:
    """How a person's face is compared with itself; see the module for the attributes."""

    neutral: np.ndarray
    prior: np.ndarray
    reference_exponent: float
    reference_floor: float
    own_exponent: float
    own_floor: float


@dataclass(frozen=True)
class VoiceHead:
    """A linear layer on a voice's vector minus the person's own."""

    kernel: np.ndarray
    bias: np.ndarray

    def judge(self, differences: np.ndarray) -> np.ndarray:
        """Returns logits ``(..., n_classes)`` for vectors minus their baseline, ``(..., n_values)``."""
        return differences @ self.kernel + self.bias


@dataclass(frozen=True)
class BaselineHead:
    """The content of ``baseline.npz``; see the module.

    Attributes:
        neutral_index: the class ``neutral``.
    """

    own_seconds: float
    shrink_seconds: float
    full_variety: float
    temperature_both: float
    temperature_face: float
    temperature_voice: float
    neutral_index: int
    face: FaceHead | None = None
    voice: VoiceHead | None = None

    def temperature(self, evidence: str) -> float:
        """Returns the temperature for relative answers by some evidence, as ``WindowPrediction`` names it."""
        parts = evidence.split("+")
        kind = "both" if len(parts) > 1 else "voice" if parts == ["voice"] else "face"
        return getattr(self, f"temperature_{kind}")


def has_baseline(folder: str | os.PathLike) -> bool:
    """Whether the model in a folder can compare a person with themselves."""
    return (Path(folder) / BASELINE_FILE).is_file()


def check_has_baseline(folder: str | os.PathLike, option: str) -> None:
    """Makes sure that a model can do what an option asks for.

    Raises:
        ConfigError: if not; it names the models that can.
    """
    if has_baseline(folder):
        return
    able = [name for name in RECIPE_NAMES if has_baseline(find_model(name))]
    way_out = f"Use --model {' or --model '.join(able)}." if able else f"Leave out {option}."
    raise ConfigError(f"{option}: {folder} has no {BASELINE_FILE} to compare people with themselves. {way_out}")


def load_baseline(folder: str | os.PathLike, config: RunConfig) -> BaselineHead | None:
    """Reads a model's ``baseline.npz``; None if it has none.

    Raises:
        RunError: if the file is no such file, or does not fit the model.
    """
    path = Path(folder) / BASELINE_FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], np.float64) for name in archive.files}
    except Exception as error:  # NumPy raises anything from OSError to BadZipFile for a damaged or foreign file
        raise RunError(f"{path}: not a readable NumPy archive ({first_line(error)}). Copy it again.") from error
    if NEUTRAL not in config.class_names:
        raise RunError(f"{path}: needs the class {NEUTRAL}, the model has {', '.join(config.class_names)}. Remove it.")
    n_classes = len(config.class_names)
    known = {field.name for field in dataclasses.fields(BaselineHead)} - {"neutral_index", "face", "voice"}
    kinds = {"face": FaceHead, "voice": VoiceHead}
    names = {kind: [f"{kind}_{field.name}" for field in dataclasses.fields(of)] for kind, of in kinds.items()}
    there = {kind: [name for name in of if name in arrays] for kind, of in names.items()}
    wanted = known.union(*(names[kind] for kind in kinds if there[kind]))
    if set(arrays) != wanted or not any(there.values()):
        lacking, more = sorted(wanted - set(arrays)), sorted(set(arrays) - wanted)
        words = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"holds unknown {', '.join(more)}"] * bool(more)
        raise RunError(f"{path}: {' and '.join(words) or 'holds neither face nor voice'}. Copy it again.")
    _check(path, arrays, n_classes)
    numbers = {name: values.item() if values.ndim == 0 else values for name, values in arrays.items()}
    parts = {
        kind: of(**{name.removeprefix(f"{kind}_"): numbers[name] for name in names[kind]}) if there[kind] else None
        for kind, of in kinds.items()
    }
    index = config.class_names.index(NEUTRAL)
    return BaselineHead(**{name: numbers[name] for name in known}, neutral_index=index, **parts)


def write_baseline(folder: str | os.PathLike, head: BaselineHead) -> None:
    """Writes a ``baseline.npz`` that ``load_baseline`` reads."""
    arrays = {}
    for name, value in vars(head).items():
        if name in ("face", "voice"):
            arrays |= {f"{name}_{inner}": values for inner, values in vars(value).items()} if value else {}
        elif name != "neutral_index":
            arrays[name] = value
    arrays = {name: np.asarray(values, np.float32) for name, values in arrays.items()}
    with written_whole(Path(folder) / BASELINE_FILE) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def _check(path: Path, arrays: dict[str, np.ndarray], n_classes: int) -> None:
    shapes = dict.fromkeys(("face_neutral", "face_prior", "voice_bias"), (n_classes,))
    if "voice_kernel" in arrays:
        shapes["voice_kernel"] = (*arrays["voice_kernel"].shape[:1], n_classes)
    for name, values in arrays.items():
        if values.shape != shapes.get(name, ()):
            raise RunError(
                f"{path}: {name} is of shape {values.shape}, expected {shapes.get(name, ())}. Copy it again."
            )
        if not np.isfinite(values).all():
            raise RunError(f"{path}: {name} holds values that are not finite. Copy it again.")
    must_be_positive = [name for name in arrays if name.startswith("temperature_") or name.endswith("_floor")]
    for name in (*must_be_positive, "full_variety", "shrink_seconds"):
        if not arrays[name] > 0:
            raise RunError(f"{path}: {name} must be above 0, got {arrays[name]:g}.")
    for name in ("own_seconds", "face_reference_exponent", "face_own_exponent"):
        if name in arrays and arrays[name] < 0:
            raise RunError(f"{path}: {name} must not be below 0, got {arrays[name]:g}.")
    for name in ("face_neutral", "face_prior"):
        if name in arrays and not ((arrays[name] > 0).all() and abs(arrays[name].sum() - 1) < 1e-3):
            raise RunError(
                f"{path}: {name} must hold probabilities above 0 that sum to 1, got {arrays[name].tolist()}."
            )
