"""A design of a few layers, for tests of how networks are trained and kept, not of what they can do."""

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.models import fusion
from emotion.models.layers import NORM_MOMENTUM

DESCRIPTION = "Means of sound and pictures, and dense layers: for tests of everything but networks"


def default_config() -> dict:
    return {"units": 4, **fusion.DEFAULTS, "fusion_units": 4}


def audio_branch(sound, settings):
    x = layers.BatchNormalization(axis=1, momentum=NORM_MOMENTUM, name="audio_scale")(sound)
    return layers.Dense(settings["units"], name="audio_features")(layers.Flatten(name="audio_flat")(x))


def video_branch(frames, signs, settings):
    x = layers.GlobalAveragePooling3D(name="video_mean")(layers.Rescaling(1 / 255, name="video_scale")(frames))
    return layers.Dense(settings["units"], name="video_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    settings = fusion.complete_settings(config.model, default_config())
    return fusion.build_fused_model(config, settings, audio_branch=audio_branch, video_branch=video_branch)
