"""Late fusion: joins the answers of two trained networks, one for sound and one for frames.

Each expert's answer is calibrated with its own temperature (Guo et al. 2017); one of three rules joins the two (Kittler
et al. 1998, "On combining classifiers"; stacking: Wolpert 1992). Where only one expert has evidence, its calibrated
answer is taken. ``python -m emotion.fuse`` builds such a model and fits the weights.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from emotion.config import FUSION_METHODS, INPUT_DTYPES, MODALITIES, RunConfig
from emotion.config_files import from_dict, upgrade_settings
from emotion.errors import ConfigError
from emotion.models import fusion
from emotion.models.layers import PACKAGE, EvidencePresent

DESCRIPTION = "two experts trained apart, their calibrated answers averaged, multiplied or stacked"
SMALLEST = 1e-7  # lower probabilities are raised to this


def default_config() -> dict[str, Any]:
    """Returns the design's own settings.

    ``method``: one of ``FUSION_METHODS``.
    ``audio_expert``, ``video_expert``: each one's settings, as in its own ``config.json``.
    """
    return {"method": "average", "audio_expert": {}, "video_expert": {}}


@keras.saving.register_keras_serializable(package=PACKAGE)
class JoinedAnswers(layers.Layer):
    """Calibrates and joins the answers of two experts.

    ``average`` is the mean of the probabilities with a weight for each expert and class; ``product`` multiplies them,
    each raised to such a weight; ``stacking`` is a linear classifier on the logarithms of all.

    Args:
        video_order: for each class of the audio expert, its index in the video expert.

    Shape:
        probabilities of both experts ``(batch, n_classes)`` and two presences ``(batch, 1)``, 1 or 0, to
        ``(batch, n_classes)``.
    """

    def __init__(self, method: str, video_order: list[int], **kwargs):
        super().__init__(**kwargs)
        if method not in FUSION_METHODS:
            raise ValueError(f"JoinedAnswers: method must be one of {', '.join(FUSION_METHODS)}, got {method!r}.")
        self.method = method
        self.video_order = [int(place) for place in video_order]

    def build(self, input_shape):
        n_classes = input_shape[0][-1]
        square = (2, n_classes, n_classes) if self.method == "stacking" else (2, n_classes)
        start = 0.5 if self.method == "average" else 1.0
        first = np.full(square, start, np.float32)
        if self.method == "stacking":
            first = np.stack([np.eye(n_classes, dtype=np.float32)] * 2)
        self.temperatures = self.add_weight(shape=(2,), initializer="ones", trainable=False, name="temperatures")
        self.weights_of_experts = self.add_weight(
            shape=square, initializer=lambda shape, dtype=None: ops.convert_to_tensor(first, dtype=dtype),
            trainable=False, name="weights",
        )  # fmt: skip
        self.bias = self.add_weight(shape=(n_classes,), initializer="zeros", trainable=False, name="bias")

    def call(self, inputs):
        audio, video, has_audio, has_video = inputs
        audio = self._calibrated(audio, 0)
        video = self._calibrated(ops.take(video, ops.convert_to_tensor(self.video_order, dtype="int32"), axis=-1), 1)
        both, alone = has_audio * has_video, has_audio * ops.exp(audio) * (1 - has_video)
        alone = alone + has_video * ops.exp(video) * (1 - has_audio)
        none = (1 - has_audio) * (1 - has_video)
        return both * self._joined(audio, video) + alone + none / audio.shape[-1]

    def _calibrated(self, probabilities, expert: int):
        logits = ops.log(ops.maximum(probabilities, SMALLEST)) / self.temperatures[expert]
        return ops.log_softmax(logits, axis=-1)

    def _joined(self, audio, video):
        first, second = self.weights_of_experts[0], self.weights_of_experts[1]
        if self.method == "average":
            mixed = first * ops.exp(audio) + second * ops.exp(video)
            return mixed / ops.sum(mixed, axis=-1, keepdims=True)
        if self.method == "product":
            return ops.softmax(first * audio + second * video, axis=-1)
        return ops.softmax(ops.matmul(audio, first) + ops.matmul(video, second) + self.bias, axis=-1)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "method": self.method, "video_order": self.video_order}


def expert_config(config: RunConfig, modality: str) -> RunConfig:
    """Returns an expert's configuration.

    Raises:
        ConfigError: if it is missing or invalid.
    """
    values = config.model.get(f"{modality}_expert")
    if not values:
        raise ConfigError(f"late_fusion needs model.{modality}_expert. Make such a model with: python -m emotion.fuse")
    return from_dict(RunConfig, upgrade_settings(values), where=f"model.{modality}_expert")


def build_model(config: RunConfig, build_expert: Callable[[RunConfig], keras.Model]) -> keras.Model:
    """Builds the network. Both experts are layers of it, ``audio_expert`` and ``video_expert``.

    Raises:
        ConfigError: if an expert's settings contradict those of the whole.
    """
    settings = fusion.complete_settings(config.model, default_config())
    if set(config.modalities) != set(MODALITIES):
        raise ConfigError("late_fusion joins a voice and a face: both modalities are needed. Use an expert alone.")
    experts = {modality: expert_config(config, modality) for modality in MODALITIES}
    for modality, expert in experts.items():
        if sorted(expert.class_names) != sorted(config.class_names):
            raise ConfigError(f"model.{modality}_expert has other classes than the whole: {list(expert.class_names)}.")
    inputs = {
        name: keras.Input(shape, dtype=INPUT_DTYPES[name], name=name) for name, shape in config.input_shapes.items()
    }
    answers, presences = [], []
    for modality, expert in experts.items():
        network = build_expert(expert)
        network.name = f"{modality}_expert"
        answers.append(network({modality: inputs[modality]}))
        presences.append(EvidencePresent(name=f"{modality}_present")(inputs[modality]))
    order = [experts["video"].class_names.index(name) for name in experts["audio"].class_names]
    joined = JoinedAnswers(settings["method"], order, name="joined")([*answers, *presences])
    return keras.Model(inputs, joined, name=config.architecture)
