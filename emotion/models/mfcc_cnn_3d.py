"""The default design: a 2D-CNN on MFCCs and a 3D-CNN on frames, concatenated into dense layers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import scipy.linalg
from keras import layers

from emotion.config import RunConfig
from emotion.models import fusion, video_cnn_3d
from emotion.models.layers import NORM_MOMENTUM, convolution_block
from emotion.models.video_cnn_3d import video_branch

DESCRIPTION = "2D-CNN on MFCCs and 3D-CNN on frames, concatenated into dense layers (the default)"


def default_config() -> dict[str, Any]:
    """Returns the design's own settings: channels of each stage, units of dense layers, dropout rates."""
    return {
        "audio_filters": [32, 64, 128],
        "audio_towers": 1,
        "audio_units": 128,
        "audio_dropout": 0.3,
        **video_cnn_3d.DEFAULTS,
        **fusion.DEFAULTS,
    }


def audio_branch(mfcc, settings: dict[str, Any]):
    """2D convolutions over MFCCs, then mean and maximum over time.

    ``audio_towers`` stacks of convolutions stand beside each other; see ``join_towers``.

    Shape:
        ``(batch, n_mfcc, n_steps, 1)`` to ``(batch, audio_towers * audio_units)``.
    """
    n_towers = settings["audio_towers"]
    vectors = [vector for number in range(n_towers) for vector in _tower(mfcc, settings, tower_name(number))]
    x = layers.Concatenate(name="audio_vector")(vectors)
    x = layers.Dropout(settings["audio_dropout"], name="audio_drop")(x)
    return layers.Dense(n_towers * settings["audio_units"], activation="relu", name="audio_features")(x)


def tower_name(number: int) -> str:
    """Returns what the names of a tower's layers begin with."""
    return f"audio_tower{number + 1}" if number else "audio"


def _tower(mfcc, settings: dict[str, Any], name: str) -> tuple:
    """Returns mean and maximum over time, ``(batch, audio_units)`` each.

    Only time is averaged: at which coefficient a pattern is matters, when it is does not. Averaging over both, as is
    usual for pictures, costs ten points of recall.
    """
    # Normalise each coefficient by itself: their levels and spreads differ.
    x = layers.BatchNormalization(axis=1, momentum=NORM_MOMENTUM, name=f"{name}_scale")(mfcc)
    for i, filters in enumerate(settings["audio_filters"], start=1):
        x = convolution_block(x, filters, 3, name=f"{name}_conv{i}a")
        x = convolution_block(x, filters, 3, name=f"{name}_conv{i}b")
        pool = (2, 2) if i <= 2 else (2, 1)  # the last steps are a quarter of a second; coarser ones cost recall
        x = layers.MaxPooling2D(pool, padding="same", name=f"{name}_pool{i}")(x)
        x = layers.SpatialDropout2D(settings["audio_dropout"] / 2, name=f"{name}_drop{i}")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_time_first")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{name}_steps")(x)
    x = layers.Dense(settings["audio_units"], use_bias=False, name=f"{name}_dense")(x)
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_dense_norm")(x)
    x = layers.ReLU(name=f"{name}_dense_relu")(x)
    return layers.GlobalAveragePooling1D(name=f"{name}_mean")(x), layers.GlobalMaxPooling1D(name=f"{name}_peak")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``."""
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_fused_model(
        config, settings, audio_branch=audio_branch, video_branch=video_branch, any_length=True
    )


def build_voice_network(config: RunConfig) -> keras.Model:
    """Builds the audio branch with its own output; see ``fusion.build_audio_network``."""
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_audio_network(config, settings, audio_branch=audio_branch)


def join_towers(config: RunConfig, networks: Sequence[keras.Model], shares: Sequence[float]) -> keras.Model:
    """Sets voice networks of one tower each beside each other, as one network that adds their logits by shares.

    Networks that learned from different voices err differently, so that together they are wrong less often.

    Args:
        config: of the joined network; its ``audio_towers`` are as many as ``networks``.
        networks: from ``build_voice_network``, with the same settings but for one tower.
    """
    joined = build_voice_network(config)
    kernels, biases, outputs, offset = [], [], [], 0.0
    for number, (network, share) in enumerate(zip(networks, shares, strict=True)):
        for layer in fusion.branch_layers(network, "audio"):
            if layer.name == "audio_features":
                continue
            name = layer.name.replace("audio", tower_name(number), 1)
            joined.get_layer(name).set_weights(layer.get_weights())
        kernel, bias = network.get_layer("audio_features").get_weights()
        to_logits, logit_bias = network.get_layer("logits").get_weights()
        kernels.append(kernel)
        biases.append(bias)
        outputs.append(share * to_logits)
        offset = offset + share * logit_bias
    # Each tower's features come from its own vector.
    joined.get_layer("audio_features").set_weights([scipy.linalg.block_diag(*kernels), np.concatenate(biases)])
    joined.get_layer("logits").set_weights([np.concatenate(outputs), offset])
    return joined
