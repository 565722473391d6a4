"""The default design: a 2D-CNN on MFCCs and a 3D-CNN on frames, concatenated into dense layers.

The video branch is a small residual network (He et al. 2016) whose first convolution of each stage also reaches over
time. ``build_frame_network`` is the same branch for single pictures; ``inflate`` carries its weights over to three
dimensions (Carreira & Zisserman 2017), so that a network can learn faces from stills, many times faster.
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models.layers import (
    NORM_MOMENTUM,
    EvidencePresent,
    FaceStandardization,
    ModalityDropout,
    convolution_block,
)

DESCRIPTION = "2D-CNN on MFCCs and 3D-CNN on frames, concatenated into dense layers (the default)"


def default_config() -> dict[str, Any]:
    """Returns the design's own settings: channels of each stage, units of the dense layers, dropout rates."""
    return {
        "audio_filters": [32, 64, 128],
        "audio_units": 128,
        "audio_dropout": 0.3,
        "video_filters": [24, 48, 96, 192],
        "video_units": 128,
        "video_dropout": 0.3,
        "fusion_units": 128,
        "fusion_dropout": 0.3,
    }


# ---------------------------------------------------------------------------------------------------------- branches


def audio_branch(mfcc, settings: dict[str, Any]):
    """2D convolutions over an MFCC picture, then mean and maximum over time.

    The picture's height is kept apart until the dense layer: which coefficient a pattern stands at matters, when it
    stands there does not. Averaging over both, as is usual for pictures, loses ten points of recall.

    Shape:
        ``(batch, n_mfcc, n_steps, 1)`` to ``(batch, audio_units)``.
    """
    # Each coefficient has a level and a spread of its own; this brings them to one scale.
    x = layers.BatchNormalization(axis=1, momentum=NORM_MOMENTUM, name="audio_scale")(mfcc)
    for i, filters in enumerate(settings["audio_filters"], start=1):
        x = convolution_block(x, filters, 3, name=f"audio_conv{i}a")
        x = convolution_block(x, filters, 3, name=f"audio_conv{i}b")
        pool = (2, 2) if i <= 2 else (2, 1)  # in the end a step is a quarter of a second; coarser costs recall
        x = layers.MaxPooling2D(pool, padding="same", name=f"audio_pool{i}")(x)
        x = layers.SpatialDropout2D(settings["audio_dropout"] / 2, name=f"audio_drop{i}")(x)
    x = layers.Permute((2, 1, 3), name="audio_time_first")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="audio_steps")(x)
    x = layers.Dense(settings["audio_units"], use_bias=False, name="audio_dense")(x)
    x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="audio_dense_norm")(x)
    x = layers.ReLU(name="audio_dense_relu")(x)
    mean = layers.GlobalAveragePooling1D(name="audio_mean")(x)
    peak = layers.GlobalMaxPooling1D(name="audio_peak")(x)
    x = layers.Concatenate(name="audio_pool")([mean, peak])
    x = layers.Dropout(settings["audio_dropout"], name="audio_drop")(x)
    return layers.Dense(settings["audio_units"], activation="relu", name="audio_features")(x)


def video_branch(frames, settings: dict[str, Any]):
    """A small residual network over frames, in space and time.

    Shape:
        ``(batch, n_frames, size, size, 3)`` to ``(batch, video_units)``; without the frames' axis it is the network for
        single pictures, with layers of the same names.
    """
    over_time = len(frames.shape) == 5
    pooling = layers.AveragePooling3D if over_time else layers.AveragePooling2D
    global_pooling = layers.GlobalAveragePooling3D if over_time else layers.GlobalAveragePooling2D

    def sizes(time: int, space: int):
        return (time, space, space) if over_time else space

    first, *stages = settings["video_filters"]
    x = FaceStandardization(name="video_standard")(frames)
    # Halving by averages takes away the sharpness in which cameras, and the faces learned from, differ most.
    x = pooling(sizes(1, 2), name="video_half")(x)
    x = convolution_block(x, first, sizes(1, 3), name="video_stem")
    for i, filters in enumerate(stages, start=1):
        # The first two stages also halve time: 20 frames become 5.
        strides = sizes(2 if i <= 2 else 1, 2)
        x = convolution_block(x, filters, sizes(3, 3), strides=strides, name=f"video_stage{i}_down")
        y = convolution_block(x, filters, sizes(1, 3), name=f"video_stage{i}_a")
        y = convolution_block(y, filters, sizes(1, 3), activation=False, name=f"video_stage{i}_b")
        x = layers.ReLU(name=f"video_stage{i}_relu")(layers.Add(name=f"video_stage{i}_add")([x, y]))
    x = global_pooling(name="video_pool")(x)
    x = layers.Dropout(settings["video_dropout"], name="video_drop")(x)
    return layers.Dense(settings["video_units"], activation="relu", name="video_features")(x)


# ------------------------------------------------------------------------------------------------------------- models


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names.

    Shape:
        inputs ``audio (batch, n_mfcc, n_steps, 1)`` float32 and ``video (batch, n_frames, size, size, 3)`` uint8;
        output ``probabilities (batch, n_classes)``. An input of zeros means that there is no such evidence.
    """
    settings = complete_settings(config.model)
    inputs, features, presences = {}, [], []
    if "audio" in config.modalities:
        inputs["audio"] = keras.Input((config.audio.n_mfcc, config.audio.n_steps, 1), name="audio")
        features.append(audio_branch(inputs["audio"], settings))
        presences.append(EvidencePresent(name="audio_present")(inputs["audio"]))
    if "video" in config.modalities:
        side = config.video.image_size
        inputs["video"] = keras.Input((config.video.n_frames, side, side, 3), dtype="uint8", name="video")
        features.append(video_branch(inputs["video"], settings))
        presences.append(EvidencePresent(name="video_present")(inputs["video"]))
    if len(features) == 2:
        rate = config.training.modality_dropout
        presences = ModalityDropout(rate, seed=config.training.seed, name="modality_dropout")(presences)
        features = [
            layers.Multiply(name=f"{name}_evidence")([feature, presence])
            for name, feature, presence in zip(inputs, features, presences, strict=True)
        ]
        # The network is told what is missing: zeros alone could also be a weak response.
        features = layers.Concatenate(name="fusion")([*features, *presences])
    else:
        (features,) = features
    probabilities = classifier(features, len(config.class_names), settings)
    return keras.Model(inputs, probabilities, name=config.architecture)


def classifier(features, n_classes: int, settings: dict[str, Any]):
    """The dense layers behind the branches: ``(batch, n_features)`` to probabilities ``(batch, n_classes)``."""
    x = layers.Dense(settings["fusion_units"], activation="relu", name="fusion_dense")(features)
    x = layers.Dropout(settings["fusion_dropout"], name="fusion_drop")(x)
    x = layers.Dense(n_classes, name="logits")(x)
    return layers.Softmax(name="probabilities")(x)


def build_frame_network(config: RunConfig, *, over_time: bool = False) -> keras.Model:
    """Builds the video branch with an output of its own, for single pictures or for clips.

    Shape:
        input ``(batch, size, size, 3)`` uint8, or with ``over_time`` ``(batch, n_frames, size, size, 3)``; output
        ``logits (batch, n_classes)``.
    """
    side = config.video.image_size
    shape = (config.video.n_frames, side, side, 3) if over_time else (side, side, 3)
    frames = keras.Input(shape, dtype="uint8", name="video")
    features = video_branch(frames, complete_settings(config.model))
    name = "clip_network" if over_time else "frame_network"
    return keras.Model(frames, layers.Dense(len(config.class_names), name="logits")(features), name=name)


def build_voice_network(config: RunConfig) -> keras.Model:
    """Builds the audio branch with an output of its own.

    Shape:
        input ``(batch, n_mfcc, n_steps, 1)``; output ``logits (batch, n_classes)``.
    """
    mfcc = keras.Input((config.audio.n_mfcc, config.audio.n_steps, 1), name="audio")
    features = audio_branch(mfcc, complete_settings(config.model))
    logits = layers.Dense(len(config.class_names), name="logits")(features)
    return keras.Model({"audio": mfcc}, logits, name="voice_network")


def inflate(frame_network: keras.Model, model: keras.Model) -> None:
    """Carries the video branch's weights from single pictures to clips.

    A kernel over time starts as the picture's kernel in its middle and zeros before and after, so a clip of one still
    gives just the features of that still, at the clip's ends too.

    Args:
        frame_network: from ``build_frame_network``.
        model: a model of the same settings from ``build_model``, changed in place.
    """
    for layer in _branch_layers(frame_network, "video"):
        target = model.get_layer(layer.name)
        weights = layer.get_weights()
        if isinstance(layer, layers.Conv2D):
            inflated = target.get_weights()[0] * 0
            inflated[inflated.shape[0] // 2] = weights[0]
            weights = [inflated, *weights[1:]]
        target.set_weights(weights)


def copy_branch(source: keras.Model, model: keras.Model, modality: str) -> None:
    """Carries the weights of one branch, ``audio`` or ``video``, over to another model of the same settings."""
    for layer in _branch_layers(source, modality):
        model.get_layer(layer.name).set_weights(layer.get_weights())


def _branch_layers(model: keras.Model, modality: str) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.weights and layer.name.startswith(f"{modality}_")]


def complete_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Fills in the defaults of ``default_config``.

    Raises:
        ConfigError: for a name the design does not know.
    """
    known = default_config()
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"model settings hold unknown names: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return {**known, **settings}
