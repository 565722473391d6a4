"""The video branch of two designs: a small residual network (He et al. 2016) that also convolves over time.

``build_frame_network`` builds the same branch for single pictures, and ``inflate`` copies its weights to the 3D branch
(Carreira & Zisserman 2017). So a network can learn faces from stills, many times faster than from clips.
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.models.fusion import branch_layers
from emotion.models.layers import EXACT, FaceStandardization, MomentAttention, convolution_block

DEFAULTS = {"video_filters": [24, 48, 96, 192], "video_units": 128, "video_dropout": 0.3}


def video_branch(frames, settings: dict[str, Any]):
    """A small residual network over frames, in space and time; for single pictures with layers of the same names.

    Shape:
        ``(batch, n_frames, size, size, 3)``, or ``(batch, size, size, 3)``, to ``(batch, video_units)``.
    """
    over_time = len(frames.shape) == 5

    def sizes(time: int, space: int):
        return (time, space, space) if over_time else space

    first, *stages = settings["video_filters"]
    # Averaging to half the size removes sharpness, in which cameras and data sets differ most.
    x = FaceStandardization(shrink=2, dtype=EXACT, name="video_standard")(frames)
    x = convolution_block(x, first, sizes(1, 3), name="video_stem")
    for i, filters in enumerate(stages, start=1):
        # The first two stages also halve time: 20 frames become 5.
        strides = sizes(2 if i <= 2 else 1, 2)
        x = convolution_block(x, filters, sizes(3, 3), strides=strides, name=f"video_stage{i}_down")
        y = convolution_block(x, filters, sizes(1, 3), name=f"video_stage{i}_a")
        y = convolution_block(y, filters, sizes(1, 3), activation=False, name=f"video_stage{i}_b")
        x = layers.ReLU(name=f"video_stage{i}_relu")(layers.Add(name=f"video_stage{i}_add")([x, y]))
    if over_time:
        # An expression may fill only part of the window; attention finds that part.
        x = layers.AveragePooling3D((1, *x.shape[2:4]), name="video_pool")(x)
        x = layers.Reshape((x.shape[1], x.shape[4]), name="video_moments")(x)
        x = MomentAttention(name="video_attention")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="video_pool")(x)
    x = layers.Dropout(settings["video_dropout"], name="video_drop")(x)
    return layers.Dense(settings["video_units"], activation="relu", name="video_features")(x)


def build_frame_network(config: RunConfig, *, over_time: bool = False, size: int | None = None) -> keras.Model:
    """Builds the video branch with its own output, for single pictures or, with ``over_time``, for clips.

    Shape:
        ``(batch, size, size, 3)`` or ``(batch, n_frames, size, size, 3)`` uint8 to logits ``(batch, n_classes)``.
    """
    side = size or config.video.image_size
    shape = (config.video.n_frames, side, side, 3) if over_time else (side, side, 3)
    frames = keras.Input(shape, dtype="uint8", name="video")
    settings = {name: config.model.get(name, value) for name, value in DEFAULTS.items()}
    features = video_branch(frames, settings)
    name = "clip_network" if over_time else "frame_network"
    return keras.Model(frames, layers.Dense(len(config.class_names), name="logits")(features), name=name)


def inflate(frame_network: keras.Model, model: keras.Model) -> None:
    """Copies the video branch's weights from single pictures to a model with the same settings.

    A kernel over time becomes the picture's kernel in its middle and zeros around it, so that a motionless clip gives
    exactly the features of its still, even at the clip's ends.
    """
    for layer in branch_layers(frame_network, "video"):
        target = model.get_layer(layer.name)
        weights = layer.get_weights()
        if isinstance(layer, layers.Conv2D):
            inflated = target.get_weights()[0] * 0
            inflated[inflated.shape[0] // 2] = weights[0]
            weights = [inflated, *weights[1:]]
        target.set_weights(weights)
