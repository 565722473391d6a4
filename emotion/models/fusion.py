"""Joins an audio branch and a video branch to one network."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from emotion.config import INPUT_DTYPES, MODALITIES, RunConfig
from emotion.errors import ConfigError
from emotion.models.frame_layers import AnyPresent, ByKind, FrameSigns, StillTrack
from emotion.models.layers import EXACT, EvidencePresent, ModalityDropout

HEAD = "logits"  # the last dense layer of every design
# ``fusion_still``: whether the classifier has weights of its own for photographs, where people pose: it gets the
# features of a picture that does not move in other places than those of one that does.
DEFAULTS = {"fusion_units": 128, "fusion_dropout": 0.3, "fusion_still": False}


def concatenate(features: list, presences: list, settings: dict[str, Any]):
    """Concatenates the features ``(batch, units)`` of sound and pictures; absent ones become zeros."""
    gated = [
        layers.Multiply(name=f"{name}_evidence")([feature, presence])
        for name, feature, presence in zip(MODALITIES, features, presences, strict=True)
    ]
    return layers.Concatenate(name="branches")(gated)


def take_as_it_is(modality: str, features, settings: dict[str, Any]):
    """Returns the features of the only branch unchanged."""
    return features


def build_fused_model(
    config: RunConfig,
    settings: dict[str, Any],
    *,
    audio_branch: Callable,
    video_branch: Callable,
    join: Callable = concatenate,
    pool: Callable = take_as_it_is,
    any_length: bool = False,
) -> keras.Model:
    """Builds the network for the modalities that ``config`` names.

    Args:
        settings: complete, of the branches and of the layers that join them.
        audio_branch: called with the input and the settings; returns features.
        video_branch: called with the frames, their ``FrameSigns`` and the settings; returns features.
        join: called with lists of both features and of both presences (``(batch, 1)``, 1 or 0), and the settings;
            returns ``(batch, units)`` for the classifier, in which an absent modality must have no influence.
        pool: for a network of one modality; called with its name, its features and the settings; returns
            ``(batch, units)`` for the classifier.
        any_length: whether the video branch takes any number of frames (``Design.context_frames``).

    Shape:
        inputs ``audio (batch, *config.audio_shape)`` float32 and ``video (batch, *config.video_shape)`` uint8; output
        ``probabilities (batch, n_classes)``. All zeros mean that a modality is absent.
    """
    inputs, features, presences = {}, [], []
    if "audio" in config.modalities:
        inputs["audio"] = sound = keras.Input(config.audio_shape, dtype=INPUT_DTYPES["audio"], name="audio")
        features.append(audio_branch(sound, settings))
        presences.append(EvidencePresent(name="audio_present")(sound))
    signs = None
    if "video" in config.modalities:
        n_frames, *picture = config.video_shape
        shape = (None if any_length else n_frames, *picture)
        inputs["video"] = frames = keras.Input(shape, dtype=INPUT_DTYPES["video"], name="video")
        signs = FrameSigns(dtype=EXACT, name="video_signs")(frames)
        features.append(video_branch(frames, signs, settings))
        presences.append(AnyPresent(name="video_present")(signs))
    if len(features) == 2:
        rate = config.training.modality_dropout
        presences = ModalityDropout(rate, seed=config.training.seed, name="modality_dropout")(presences)
        # The classifier also gets the presences: zeros alone could be a weak response.
        told = list(presences)
        if settings["fusion_still"]:
            still = StillTrack(name="still")(signs)
            told.append(layers.Multiply(name="still_evidence")([still, presences[-1]]))
            features[-1] = ByKind(name="video_by_kind")([features[-1], still])
        joined = join(features, presences, settings)
        features = layers.Concatenate(name="fusion")([joined, *told])
    else:
        features = pool(*inputs, *features, settings)
    probabilities = classifier(features, len(config.class_names), settings)
    return keras.Model(inputs, probabilities, name=config.architecture)


def classifier(features, n_classes: int, settings: dict[str, Any]):
    """The dense layers after the branches: ``(batch, n_features)`` to probabilities ``(batch, n_classes)``.

    With ``fusion_units`` 0 there is only the last one: the branches' logits are added, as in late fusion.
    """
    x = features
    if settings["fusion_units"]:
        x = layers.Dense(settings["fusion_units"], activation="relu", name="fusion_dense")(x)
        x = layers.Dropout(settings["fusion_dropout"], name="fusion_drop")(x)
    x = layers.Dense(n_classes, dtype=EXACT, name=HEAD)(x)
    return layers.Softmax(dtype=EXACT, name="probabilities")(x)


def build_audio_network(config: RunConfig, settings: dict[str, Any], *, audio_branch: Callable) -> keras.Model:
    """Builds an audio branch with its own output: ``(batch, *config.audio_shape)`` to logits ``(batch, n_classes)``."""
    sound = keras.Input(config.audio_shape, name="audio")
    logits = layers.Dense(len(config.class_names), name=HEAD)(audio_branch(sound, settings))
    return keras.Model({"audio": sound}, logits, name="voice_network")


def copy_branch(source: keras.Model, model: keras.Model, modality: str) -> None:
    """Copies the weights of one branch, ``audio`` or ``video``, to another model with the same settings."""
    for layer in branch_layers(source, modality):
        model.get_layer(layer.name).set_weights(layer.get_weights())


def branch_layers(model: keras.Model, modality: str) -> list[keras.layers.Layer]:
    """Returns a branch's layers that have weights."""
    return [layer for layer in model.layers if layer.weights and layer.name.startswith(f"{modality}_")]


def complete_settings(settings: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Completes a model's settings with the design's defaults, ``known``.

    Raises:
        ConfigError: for a name that the design does not know.
    """
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"model settings hold unknown names: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return {**known, **settings}
