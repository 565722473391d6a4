"""ResNet-18 on frames and an Audio Spectrogram Transformer on filter banks, joined by cross-attention.

The tokens of each modality attend to those of the other (Lu et al. 2019, "ViLBERT"); the means of both go into the
classifier. The heavy design, meant to start from pretrained weights: ``python -m emotion.weights resnet18`` (``ast``).
"""

from typing import Any

import keras
from keras import layers

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import fusion
from emotion.models.attention import CrossAttention, gelu
from emotion.models.encoders import N_GATHERING, PATCH_SIZE, STAGES, STRIDE, ast_encoder, resnet18
from emotion.models.frame_layers import FoldFrames, UnfoldFrames
from emotion.models.layers import NORM_MOMENTUM

DESCRIPTION = "ResNet-18 on frames and Audio Spectrogram Transformer on sound, joined by cross-attention"
AUDIO_ENCODER, VIDEO_ENCODER = "audio_ast", "video_resnet"
NORM_EPSILON = 1e-6
PRETRAINED = {"ast": AUDIO_ENCODER, "resnet18": VIDEO_ENCODER}


def default_config() -> dict[str, Any]:
    """Returns the design's own settings.

    ``ast_width``, ``ast_heads``, ``ast_blocks``, ``ast_stride``: the transformer's size; the published one by default.
    ``resnet_stages``: channels of the four stages.
    ``fusion_width``, ``fusion_heads``: of the tokens in cross-attention.
    """
    return {
        "ast_width": 768,
        "ast_heads": 12,
        "ast_blocks": 12,
        "ast_stride": STRIDE,
        "audio_dropout": 0.1,
        "resnet_stages": list(STAGES),
        "video_dropout": 0.1,
        "fusion_width": 256,
        "fusion_heads": 4,
        **fusion.DEFAULTS,
    }


def audio_branch(picture, settings: dict[str, Any]):
    """AST's tokens, projected for the fusion: filter banks to ``(batch, n_patches + 2, fusion_width)``."""
    x = ast_encoder(
        picture, width=settings["ast_width"], n_heads=settings["ast_heads"], n_blocks=settings["ast_blocks"],
        stride=settings["ast_stride"], name=AUDIO_ENCODER,
    )  # fmt: skip
    return _to_tokens(x, settings, "audio")


def video_branch(frames, signs, settings: dict[str, Any]):
    """ResNet-18's features of each frame as tokens: frames to ``(batch, n_frames, fusion_width)``."""
    x = FoldFrames(name="video_fold")(frames)
    x = resnet18(x, stages=settings["resnet_stages"], norm_momentum=NORM_MOMENTUM, name=VIDEO_ENCODER)
    x = UnfoldFrames(frames.shape[1], name="video_unfold")(x)
    return _to_tokens(x, settings, "video")


def _to_tokens(x, settings: dict[str, Any], name: str):
    x = layers.Dropout(settings[f"{name}_dropout"], name=f"{name}_drop")(x)
    return layers.Dense(settings["fusion_width"], name=f"{name}_tokens")(x)


def join_by_attention(features: list, presences: list, settings: dict[str, Any]):
    """Lets the tokens of each modality attend to the other's, and averages both; see ``fusion.build_fused_model``.

    Nothing attends to an absent modality, and it adds nothing.

    Shape:
        two times tokens ``(batch, n, fusion_width)`` to ``(batch, 2 * fusion_width)``.
    """
    audio, video = features
    has_audio, has_video = presences
    heard = _attend(audio, video, has_video, settings, "cross_audio")
    seen = _attend(video, audio, has_audio, settings, "cross_video")
    means = [pool_tokens("audio", heard, settings), pool_tokens("video", seen, settings)]
    return fusion.concatenate(means, presences, settings)


def pool_tokens(modality: str, tokens, settings: dict[str, Any]):
    """Averages all tokens of pictures, or the two gathering tokens of sound, as AST's own classifier does."""
    if modality == "audio":
        tokens = layers.Cropping1D((0, tokens.shape[1] - N_GATHERING), name="audio_gathering")(tokens)
    return layers.GlobalAveragePooling1D(name=f"{modality}_mean")(tokens)


def _attend(x, context, presence, settings: dict[str, Any], name: str):
    """One block of cross-attention; ``presence`` is 0 where the context is absent."""
    width = settings["fusion_width"]
    asking = layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm")(x)
    asked = layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_context_norm")(context)
    y = CrossAttention(settings["fusion_heads"], key_bias=True, name=f"{name}_attention")([asking, asked])
    gate = layers.Reshape((1, 1), name=f"{name}_presence")(presence)
    y = layers.Multiply(name=f"{name}_gate")([y, gate])
    x = layers.Add(name=f"{name}_heard")([x, y])
    y = layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_dense_norm")(x)
    y = layers.Dense(2 * width, activation=gelu, name=f"{name}_dense1")(y)
    y = layers.Dropout(settings["fusion_dropout"], name=f"{name}_drop")(y)
    y = layers.Dense(width, name=f"{name}_dense2")(y)
    return layers.Add(name=f"{name}_out")([x, y])


def build_model(config: RunConfig) -> keras.Model:
    """Builds the network for the modalities that ``config`` names; see ``build_fused_model``.

    Raises:
        ConfigError: if a number of heads does not divide its width, or a window is shorter than a patch.
    """
    settings = fusion.complete_settings(config.model, default_config())
    for width, heads in (("ast_width", "ast_heads"), ("fusion_width", "fusion_heads")):
        if settings[heads] < 1 or settings[width] % settings[heads]:
            raise ConfigError(f"{width} must be divisible by {heads} ({settings[heads]}), got {settings[width]}.")
    if "audio" in config.modalities and min(config.audio_shape[:2]) < PATCH_SIZE:
        raise ConfigError(
            f"resnet18_ast needs at least {PATCH_SIZE} bands and steps of sound, got {config.audio_shape[:2]}. Choose "
            "a longer window."
        )
    return fusion.build_fused_model(
        config, settings, audio_branch=audio_branch, video_branch=video_branch, join=join_by_attention,
        pool=pool_tokens,
    )  # fmt: skip
