"""The video branch of two designs: a small residual network (He et al. 2016) whose last stage also convolves over time.

The stages before look at each frame by itself. Convolving over time late costs less than doing so early and is as
accurate (Xie et al. 2018, "Rethinking spatiotemporal feature learning"). Time is never thinned out: each frame has its
moment, which depends on one frame before and one after it (``Design.context_frames``). So the branch can run along a
whole track of a face, and any window is a mean over its moments. Frames without a picture count as the end of the
track.
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.models.frame_layers import FoldFrames, FrameSigns, HideAbsent, PresentMoments, UnfoldFrames
from emotion.models.layers import EXACT, FaceStandardization, MomentAttention, convolution_block

DEFAULTS = {"video_filters": [24, 48, 96, 192], "video_units": 128, "video_dropout": 0.3}


def video_branch(frames, signs, settings: dict[str, Any]):
    """A small residual network over frames, then attention over its moments.

    Args:
        signs: ``FrameSigns`` of the frames.

    Shape:
        ``(batch, n_frames, size, size, 3)``, any number of frames, to ``(batch, video_units)``.
    """
    first, *stages, last = settings["video_filters"]
    x = FoldFrames(dtype=EXACT, name="video_fold")(frames)
    # Averaging to half the size removes sharpness, in which cameras and data sets differ most.
    x = FaceStandardization(shrink=2, dtype=EXACT, name="video_standard")(x)
    x = convolution_block(x, first, 3, name="video_stem")
    for i, filters in enumerate(stages, start=1):
        x = convolution_block(x, filters, 3, strides=2, name=f"video_stage{i}_down")
        y = convolution_block(x, filters, 3, name=f"video_stage{i}_a")
        y = convolution_block(y, filters, 3, activation=False, name=f"video_stage{i}_b")
        x = layers.ReLU(name=f"video_stage{i}_relu")(layers.Add(name=f"video_stage{i}_add")([x, y]))
    x = UnfoldFrames(name="video_unfold")([x, frames])
    x = HideAbsent(name="video_hide")([x, signs])
    x = convolution_block(x, last, (3, 3, 3), strides=(1, 2, 2), name="video_time_down")
    y = convolution_block(x, last, (1, 3, 3), name="video_time_a")
    y = convolution_block(y, last, (1, 3, 3), activation=False, name="video_time_b")
    x = layers.ReLU(name="video_time_relu")(layers.Add(name="video_time_add")([x, y]))
    x = layers.AveragePooling3D((1, *x.shape[2:4]), name="video_pool")(x)
    moments = layers.Reshape((-1, last), name="video_moments")(x)
    # An expression may fill only part of a window; attention finds that part.
    x = MomentAttention(name="video_attention")([moments, PresentMoments(name="video_present_moments")(signs)])
    x = layers.Dropout(settings["video_dropout"], name="video_drop")(x)
    return layers.Dense(settings["video_units"], activation="relu", name="video_features")(x)


def build_face_network(config: RunConfig, *, size: int | None = None) -> keras.Model:
    """Builds the video branch with its own output.

    Args:
        size: side of the frames in pixels; by default the model's.

    Shape:
        ``(batch, n_frames, size, size, 3)`` uint8, any number of frames, to logits ``(batch, n_classes)``.
    """
    side = size or config.video.image_size
    frames = keras.Input((None, side, side, 3), dtype="uint8", name="video")
    settings = {name: config.model.get(name, value) for name, value in DEFAULTS.items()}
    features = video_branch(frames, FrameSigns(dtype=EXACT, name="video_signs")(frames), settings)
    return keras.Model(frames, layers.Dense(len(config.class_names), name="logits")(features), name="face_network")
