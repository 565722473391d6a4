"""The design of ``accurate``: the first blocks of Whisper's encoder on sound, AffectNet's MobileNetV1 on each face.

Each frame is encoded by itself, so a face is looked at once however many windows it is judged in. The network starts
from random weights; ``--pretrained affectnet_mobilenet`` loads HSEmotion's.
"""

from typing import Any

import keras

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import fusion, whisper_cnn_3d
from emotion.models.frame_layers import FoldFrames, FrameSigns, PresentMoments, UnfoldFrames
from emotion.models.layers import EXACT, MomentAttention
from emotion.models.mobilenet_v1 import FILTERS, N_FEATURES, STRIDES, mobilenet_features, mobilenet_v1
from emotion.models.whisper_cnn_3d import audio_branch

DESCRIPTION = "first blocks of Whisper tiny.en on sound and AffectNet's MobileNetV1 on faces, concatenated"

ENCODER, STILL = "video_mobilenet", "video_still"
PRETRAINED = {"affectnet_mobilenet": ENCODER}


def default_config() -> dict[str, Any]:
    """Returns the design's own settings: those of Whisper, see ``whisper_cnn_3d``, and of MobileNetV1.

    ``mobilenet_filters``: channels of the first convolution and of each block; the published ones by default.
    ``video_units``: width of the layer after it.
    ``still_units``: width of a second such layer, which recipes train for photographs; 0 for none.
    """
    return {
        **whisper_cnn_3d.AUDIO_DEFAULTS,
        "mobilenet_filters": list(FILTERS),
        "video_units": N_FEATURES,
        "still_units": 0,
        "video_dropout": 0.3,
        **fusion.DEFAULTS,
    }


def video_branch(frames, signs, settings: dict[str, Any]):
    """MobileNetV1 on every frame, then attention over its moments.

    Args:
        signs: ``FrameSigns`` of the frames.

    Shape:
        ``(batch, n_frames, size, size, 3)``, any number of frames, to ``(batch, video_units + still_units)``.
    """
    x = FoldFrames(dtype=EXACT, name="video_fold")(frames)
    x = mobilenet_v1(x, filters=settings["mobilenet_filters"], name=ENCODER)
    moments = UnfoldFrames(name="video_moments")([x, frames])
    x = mobilenet_features(moments, n_features=settings["video_units"], name=ENCODER)
    if settings["still_units"]:
        of_stills = keras.layers.Dense(settings["still_units"], activation="relu", name=STILL)(moments)
        x = keras.layers.Concatenate(name="video_both_features")([x, of_stills])
    x = MomentAttention(name="video_attention")([x, PresentMoments(name="video_present_moments")(signs)])
    x = keras.layers.Dropout(settings["video_dropout"], name="video_drop")(x)
    return keras.layers.Identity(name="video_features")(x)


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``.

    Raises:
        ConfigError: for an unknown setting, or sizes that are not possible.
    """
    settings = fusion.complete_settings(config.model, default_config())
    whisper_cnn_3d.check_whisper(settings)
    n_blocks = len(settings["mobilenet_filters"]) - 1
    if not 1 <= n_blocks <= len(STRIDES):
        raise ConfigError(
            f"mobilenet_filters must hold the channels of the first convolution and of 1 to {len(STRIDES)} blocks, got "
            f"{settings['mobilenet_filters']}."
        )
    return fusion.build_fused_model(
        config, settings, audio_branch=audio_branch, video_branch=video_branch, any_length=True
    )


def build_face_network(config: RunConfig) -> keras.Model:
    """Builds the video branch alone: frames, any number of them, to its features."""
    settings = fusion.complete_settings(config.model, default_config())
    frames = keras.Input((None, *config.video_shape[1:]), dtype="uint8", name="video")
    features = video_branch(frames, FrameSigns(dtype=EXACT, name="video_signs")(frames), settings)
    return keras.Model(frames, features, name="face_network")
