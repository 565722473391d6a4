"""Networks, one module for each design; their formats; and the folder that a trained one lives in.

Importing this package does not import Keras; a design is loaded when it is built.
"""

import dataclasses
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from emotion.config import (
    AST_AUDIO,
    LOG_MEL_AUDIO,
    WAVEFORM_AUDIO,
    WHISPER_AUDIO,
    AudioConfig,
    RunConfig,
    TrainConfig,
    VideoConfig,
)
from emotion.errors import ConfigError


@dataclass(frozen=True)
class Design:
    """An architecture and its default settings.

    Attributes:
        module: has ``DESCRIPTION``, ``default_config()`` and ``build_model(config)``.
        fixed_audio: settings that must be as in ``audio``, because the first layers were made for them.
        context_frames: frames before and after a moment that the video branch looks at, so that it can run along a
            track; None if it takes whole windows only.
        with_weights: other defaults for pretrained weights that need them: by their name, fields of ``RunConfig``.
    """

    module: str
    audio: AudioConfig = field(default_factory=AudioConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    fixed_audio: tuple[str, ...] = ()
    context_frames: int | None = None
    with_weights: dict[str, dict[str, Any]] = field(default_factory=dict)

    def default_config(self, pretrained: Iterable[str] = ()) -> RunConfig:
        """Returns the default settings; of the architecture's own model settings only those that weights need."""
        config = RunConfig(audio=self.audio, video=self.video, training=self.training)
        for name in pretrained:
            changes = self.with_weights.get(name, {})
            model = {**config.model, **changes.get("model", {})}
            config = dataclasses.replace(config, **{**changes, "model": model})
        return config


ARCHITECTURES = {
    "mfcc_cnn_3d": Design("emotion.models.mfcc_cnn_3d", video=VideoConfig(fill="none"), context_frames=1),
    "whisper_cnn_3d": Design(
        "emotion.models.whisper_cnn_3d",
        audio=WHISPER_AUDIO,
        video=VideoConfig(fill="none"),
        context_frames=1,
        fixed_audio=("features", "sample_rate", "min_frequency_hz", "max_frequency_hz", "top_db"),
    ),
    "whisper_mobilenet": Design(
        "emotion.models.whisper_mobilenet",
        audio=WHISPER_AUDIO,
        video=VideoConfig(image_size=224, crop="box", fill="none"),
        context_frames=1,
        fixed_audio=("features", "sample_rate", "min_frequency_hz", "max_frequency_hz", "top_db"),
    ),
    "resnet18_ast": Design(
        "emotion.models.resnet18_ast",
        audio=AST_AUDIO,
        video=VideoConfig(n_frames=8),
        training=TrainConfig(learning_rate=3e-4, weight_decay=0.01),
        fixed_audio=("features", "sample_rate", "min_frequency_hz", "max_frequency_hz"),
    ),
    "mobilefacenet_lstm": Design(
        "emotion.models.mobilefacenet_lstm",
        audio=LOG_MEL_AUDIO,
        video=VideoConfig(n_frames=10, fill="none"),
        fixed_audio=("features",),
    ),
    "logmel_cnn": Design(
        "emotion.models.logmel_cnn",
        audio=LOG_MEL_AUDIO,
        video=VideoConfig(n_frames=15),
        fixed_audio=("features",),
        with_weights={
            "efficientface": {
                "video": VideoConfig(n_frames=15, image_size=224, crop="box"),
                "model": {"video_encoder": "efficientface"},
            }
        },
    ),
    "wav2vec2": Design(
        "emotion.models.wav2vec2",
        audio=WAVEFORM_AUDIO,
        video=VideoConfig(fill="none"),
        training=TrainConfig(learning_rate=1e-4, weight_decay=0.01),
        context_frames=1,
        fixed_audio=("features", "sample_rate"),
        with_weights={
            "wav2vec2_large": {
                "model": {
                    **{"wav2vec2_width": 1024, "wav2vec2_heads": 16, "wav2vec2_blocks": 24},
                    **{"wav2vec2_conv_norm": "layer", "wav2vec2_conv_bias": True, "wav2vec2_pre_norm": True},
                }
            },
            "wavlm": {"model": {"wav2vec2_distances": True}},
        },
    ),
}
# Joins two trained models: built by ``python -m emotion.fuse``, not trained by itself.
LATE_FUSION = "late_fusion"


def find_design(name: str) -> Design:
    """Returns the design called ``name``.

    Raises:
        ConfigError: if there is no such design.
    """
    if name == LATE_FUSION:
        return Design("emotion.models.late_fusion")
    if name not in ARCHITECTURES:
        raise ConfigError(f"Unknown model {name!r}. Known: {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def load_design(name: str):
    """Imports and returns a design's module.

    Raises:
        ConfigError: if there is no such design.
    """
    return importlib.import_module(find_design(name).module)


def load_layers(config: RunConfig) -> None:
    """Imports the modules of a model's design and of its experts, so that Keras knows the layers in its file.

    Raises:
        ConfigError: if there is no such design.
    """
    load_design(config.architecture)
    for expert in ("audio_expert", "video_expert"):
        if config.architecture == LATE_FUSION and expert in config.model:
            load_design(str(config.model[expert].get("architecture")))


def check_audio(config: RunConfig) -> None:
    """Makes sure that a design gets the audio features it was made for.

    Raises:
        ConfigError: if not.
    """
    design = find_design(config.architecture)
    if "audio" not in config.modalities:
        return
    for name in design.fixed_audio:
        wanted, given = getattr(design.audio, name), getattr(config.audio, name)
        if given != wanted:
            raise ConfigError(
                f"{config.architecture} needs audio.{name} {wanted!r}, got {given!r}. Leave it out of the settings."
            )


def build_model(config: RunConfig):
    """Builds the Keras model that a ``RunConfig`` describes."""
    design = load_design(config.architecture)
    check_audio(config)
    if config.architecture == LATE_FUSION:
        return design.build_model(config, build_model)
    return design.build_model(config)
