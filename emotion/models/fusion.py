"""Two branches, one for sound and one for pictures, concatenated into dense layers."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from emotion.config import MODALITIES, RunConfig
from emotion.errors import ConfigError
from emotion.models.layers import EvidencePresent, ModalityDropout, StillPicture

# ``fusion_still``: whether the network is told that it sees a photograph, whose expressions are otherwise distributed.
DEFAULTS = {"fusion_units": 128, "fusion_dropout": 0.3, "fusion_still": False}


def concatenate(features: list, presences: list, settings: dict[str, Any]):
    """Puts the features ``(batch, units)`` of sound and of pictures side by side, each only where it is present."""
    gated = [
        layers.Multiply(name=f"{name}_evidence")([feature, presence])
        for name, feature, presence in zip(MODALITIES, features, presences, strict=True)
    ]
    return layers.Concatenate(name="branches")(gated)


def take_as_it_is(modality: str, features, settings: dict[str, Any]):
    """The features of a branch that is the only one."""
    return features


def build_fused_model(
    config: RunConfig,
    settings: dict[str, Any],
    *,
    audio_branch: Callable,
    video_branch: Callable,
    join: Callable = concatenate,
    pool: Callable = take_as_it_is,
) -> keras.Model:
    """Builds the network for the modalities that ``config`` names.

    Args:
        config: sizes, classes and modalities.
        settings: complete, of both branches and of the layers that join them.
        audio_branch, video_branch: called with an input and the settings; each returns features.
        join: called with the features of sound and of pictures, with their presences, each ``(batch, 1)`` 1 or 0, and
            with the settings; returns what the classifier takes, ``(batch, units)``. What is not present must have no
            influence on it.
        pool: called with the name of a modality that is the only one, its features, and the settings; returns what
            the classifier takes.

    Shape:
        inputs ``audio (batch, *config.audio_shape)`` float32 and ``video (batch, *config.video_shape)`` uint8; output
        ``probabilities (batch, n_classes)``. An input of zeros means that there is no such evidence.
    """
    inputs, features, presences = {}, [], []
    if "audio" in config.modalities:
        inputs["audio"] = keras.Input(config.audio_shape, name="audio")
        features.append(audio_branch(inputs["audio"], settings))
        presences.append(EvidencePresent(name="audio_present")(inputs["audio"]))
    if "video" in config.modalities:
        inputs["video"] = keras.Input(config.video_shape, dtype="uint8", name="video")
        features.append(video_branch(inputs["video"], settings))
        presences.append(EvidencePresent(name="video_present")(inputs["video"]))
    if len(features) == 2:
        rate = config.training.modality_dropout
        presences = ModalityDropout(rate, seed=config.training.seed, name="modality_dropout")(presences)
        joined = join(features, presences, settings)
        # The network is told what is missing: zeros alone could also be a weak response.
        told = list(presences)
        if settings["fusion_still"]:
            still = StillPicture(name="still")(inputs["video"])
            told.append(layers.Multiply(name="still_evidence")([still, presences[-1]]))
        features = layers.Concatenate(name="fusion")([joined, *told])
    else:
        features = pool(*inputs, *features, settings)
    probabilities = classifier(features, len(config.class_names), settings)
    return keras.Model(inputs, probabilities, name=config.architecture)


def classifier(features, n_classes: int, settings: dict[str, Any]):
    """The dense layers behind the branches: ``(batch, n_features)`` to probabilities ``(batch, n_classes)``.

    With ``fusion_units`` 0 there is but the last one: the branches' logits add up, which is late fusion.
    """
    x = features
    if settings["fusion_units"]:
        x = layers.Dense(settings["fusion_units"], activation="relu", name="fusion_dense")(x)
        x = layers.Dropout(settings["fusion_dropout"], name="fusion_drop")(x)
    # In float32 under every policy: the loss is a matter of small differences.
    x = layers.Dense(n_classes, dtype="float32", name="logits")(x)
    return layers.Softmax(dtype="float32", name="probabilities")(x)


def build_voice_network(config: RunConfig, settings: dict[str, Any], *, audio_branch: Callable) -> keras.Model:
    """Builds an audio branch with an output of its own.

    Shape:
        input ``(batch, *config.audio_shape)``; output ``logits (batch, n_classes)``.
    """
    sound = keras.Input(config.audio_shape, name="audio")
    logits = layers.Dense(len(config.class_names), name="logits")(audio_branch(sound, settings))
    return keras.Model({"audio": sound}, logits, name="voice_network")


def copy_branch(source: keras.Model, model: keras.Model, modality: str) -> None:
    """Carries the weights of one branch, ``audio`` or ``video``, over to another model of the same settings."""
    for layer in branch_layers(source, modality):
        model.get_layer(layer.name).set_weights(layer.get_weights())


def branch_layers(model: keras.Model, modality: str) -> list[keras.layers.Layer]:
    """Returns the layers of a branch that hold weights."""
    return [layer for layer in model.layers if layer.weights and layer.name.startswith(f"{modality}_")]


def complete_settings(settings: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Fills in a design's own settings, ``known``.

    Raises:
        ConfigError: for a name the design does not know.
    """
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"model settings hold unknown names: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return {**known, **settings}
