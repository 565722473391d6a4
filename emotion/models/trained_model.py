"""A trained model in use: from arrays to calibrated probabilities, in whichever runtime computes it."""

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config import CalibrationConfig, RunConfig
from emotion.errors import RunError
from emotion.models import find_design
from emotion.models.baseline_head import BaselineHead
from emotion.models.calibration import apply_temperature
from emotion.models.emotion_places import Places
from emotion.models.onnx_runtime import PROBABILITIES, OnnxNetwork, find_held

N_WARMING = 5  # untimed calls before the timed ones


@dataclass(frozen=True)
class WindowParts:
    """A window's answers before any temperature, and what they rest on; None where there is no such evidence.

    Attributes:
        joint: ``(n_classes,)`` by all evidence.
        face, voice: ``(n_classes,)`` by the face or the voice alone.
        voice_vector: ``(n_values,)``; None where the baseline compares faces alone, too.
    """

    joint: np.ndarray
    face: np.ndarray | None
    voice: np.ndarray | None
    voice_vector: np.ndarray | None


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration.

    Attributes:
        path: of the folder.
        model: the Keras model, or an ``OnnxNetwork``.
        sha256: of ``model.keras``.
        baseline: compares a person with themselves; None if the model cannot.
        places: valence and arousal of each class, if they were learned; else None.
    """

    path: Path
    config: RunConfig
    model: Any
    sha256: str
    baseline: BaselineHead | None = None
    places: Places | None = None

    def predict(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns calibrated probabilities ``(n, n_classes)`` for a batch of the model's inputs.

        Each row gets the temperature of its evidence: face and voice, face or voice. Temperature 1 changes no bit.
        """
        held = {name: find_held(np.asarray(inputs[name])) for name in self.config.modalities}
        absent = np.zeros(len(next(iter(held.values()))), bool)
        temperatures = self._temperatures(held.get("video", absent), held.get("audio", absent))
        return apply_temperature(self._checked(self._forward(inputs), len(absent)), temperatures)

    def without_calibration(self) -> "Run":
        """Returns the run with all temperatures at 1, as a calibration is fitted to it."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, calibration=CalibrationConfig()))

    @property
    def context_frames(self) -> int | None:
        """Frames before and after a moment that it depends on; None if the network judges whole windows only."""
        is_split = self._split is not None if self.runtime == "keras" else self.model.head is not None
        return find_design(self.config.architecture).context_frames if is_split else None

    def encode(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Encodes windows of sound, or stretches of tracks, once for all windows that they will be judged in.

        Args:
            inputs: ``audio (n, *audio_shape)``, or ``video (n, n_frames, size, size, 3)`` of any number of frames, of
                which those within ``context_frames`` of an end are encoded as the ends of a track.

        Returns:
            ``audio_vector (n, n_values)`` and ``audio_present (n, 1)``; or ``video_moments (n, n_frames, n_features)``
            and ``video_signs (n, n_frames, 2)``.

        Raises:
            RunError: if the network hands out anything else.
        """
        (modality, values), *_ = inputs.items()
        if self.runtime == "keras":
            encoded = {name: np.asarray(value) for name, value in self._encoders[modality](inputs).items()}
        else:
            encoded = self.model.encode(inputs)
        # A network of a fixed number of frames hands out more moments than it was given.
        n_axes = 2 if modality == "audio" else 3
        if any(
            value.ndim != n_axes
            or len(value) != len(values)
            or (modality == "video" and value.shape[1] < values.shape[1])
            or not np.isfinite(value).all()
            for value in encoded.values()
        ):
            raise RunError(f"{self.path}: the model encodes {modality} wrongly, so it is damaged. Use another.")
        if modality == "audio":
            encoded["audio_present"] = find_held(values).astype(np.float32)[:, None]
        return encoded

    def predict_encoded(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """Returns calibrated probabilities ``(n, n_classes)`` of windows by what ``encode`` returned for them.

        Args:
            encoded: by name, ``(n, ...)``. Zeros stand for absent sound and absent moments.
        """
        probabilities = self._judge(encoded)
        absent = np.zeros(len(probabilities), bool)
        heard = encoded["audio_present"][:, 0] > 0 if "audio_present" in encoded else absent
        seen = encoded["video_signs"][:, :, 0].any(axis=1) if "video_signs" in encoded else absent
        return apply_temperature(probabilities, self._temperatures(seen, heard))

    def take_apart(self, encoded: dict[str, np.ndarray]) -> list[WindowParts]:
        """Returns what a comparison with the person's baseline needs of each of some windows.

        Args:
            encoded: as for ``predict_encoded``.
        """
        joint = self._judge(encoded)
        # Of a long recording all vectors are kept, so where no head compares voices there are none.
        keeps_vectors = self.baseline is None or self.baseline.voice is not None
        sound = {name: values for name, values in encoded.items() if name.startswith("audio")}
        pictures = {name: values for name, values in encoded.items() if name.startswith("video")}
        silence = {name: np.zeros_like(values) for name, values in sound.items()}
        darkness = {name: np.zeros_like(values) for name, values in pictures.items()}
        faces = self._judge(pictures | silence) if pictures else joint
        voices = self._judge(sound | darkness) if sound else joint
        parts = []
        for row, answer in enumerate(joint):
            is_seen = bool(pictures) and pictures["video_signs"][row, :, 0].any()
            is_heard = bool(sound) and sound["audio_present"][row, 0] > 0
            parts.append(
                WindowParts(
                    joint=answer,
                    face=faces[row] if is_seen else None,
                    voice=voices[row] if is_heard else None,
                    voice_vector=sound["audio_vector"][row] if is_heard and keeps_vectors else None,
                )
            )
        return parts

    def _judge(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the head's own probabilities ``(n, n_classes)``."""
        answers = self._head(encoded) if self.runtime == "keras" else self.model.head(encoded)
        return self._checked(answers, len(next(iter(encoded.values()))))

    def _checked(self, answers, n: int) -> np.ndarray:
        """Returns a network's answers as an array.

        Raises:
            RunError: if they are not finite numbers ``(n, n_classes)``.
        """
        answers, wanted = np.asarray(answers), (n, len(self.config.class_names))
        if answers.shape != wanted or not np.issubdtype(answers.dtype, np.floating) or not np.isfinite(answers).all():
            raise RunError(
                f"{self.path}: the model does not answer with finite numbers of shape {wanted}, so it is damaged. "
                "Use another, or train it again."
            )
        return answers

    def _temperatures(self, seen: np.ndarray, heard: np.ndarray) -> float | np.ndarray:
        """Returns the temperature of each row, or one for all if they are equal."""
        calibration = self.config.calibration
        if calibration.both == calibration.face == calibration.voice:
            return calibration.both
        cases, temperatures = [seen & heard, seen, heard], [calibration.both, calibration.face, calibration.voice]
        return np.select(cases, temperatures, default=1.0)

    @property
    def runtime(self) -> str:
        """``onnx``, ``int8`` or ``keras``."""
        return self.model.runtime if isinstance(self.model, OnnxNetwork) else "keras"

    @functools.cached_property
    def _forward(self):
        return self.model if self.runtime != "keras" else _traced(self.model)

    @functools.cached_property
    def _split(self):
        from emotion.models.tracks import split_network

        return split_network(self.model)

    @functools.cached_property
    def _encoders(self):
        return {name: _traced(encoder) for name, encoder in self._split.encoders.items()}

    @functools.cached_property
    def _head(self):
        head = _traced(self._split.head)
        return lambda encoded: head(encoded)[PROBABILITIES]


def _traced(model):
    """Returns a Keras model as a function of a dict of arrays, in a third of ``predict``'s time for one window."""
    import keras

    def forward(inputs):
        return model(inputs, training=False)

    if keras.backend.backend() != "tensorflow":
        return forward
    import tensorflow as tf

    signature = {x.name: tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in model.inputs}
    return tf.function(forward, input_signature=[signature])


def draw_inputs(config: RunConfig, n: int) -> dict[str, np.ndarray]:
    """Draws random inputs for ``n`` windows. From the second window on, some lack a modality."""
    rng = np.random.default_rng(0)
    inputs = {
        "audio": rng.standard_normal((n, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(1, 256, (n, *config.video_shape), dtype=np.uint8),
    }
    inputs = {name: inputs[name] for name in config.modalities}
    for number, values in enumerate(inputs.values()):
        values[1 + number :: 3] = 0
    return inputs


def time_window(run: Run, *, n_timed: int = 30) -> float:
    """Returns the median time, in seconds, in which a run judges one window."""
    inputs, seconds = draw_inputs(run.config, 1), []
    for _ in range(n_timed + N_WARMING):
        start = time.perf_counter()
        run.predict(inputs)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[N_WARMING:]))
