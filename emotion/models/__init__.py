"""The architectures, one file each. Importing this package imports no Keras: each design is loaded when it is built."""

import importlib
from dataclasses import dataclass, field

from emotion.config import AST_AUDIO, LOG_MEL_AUDIO, WHISPER_AUDIO, AudioConfig, RunConfig, TrainConfig, VideoConfig
from emotion.errors import ConfigError


@dataclass(frozen=True)
class Design:
    """An architecture, and the settings it takes unless told otherwise.

    Attributes:
        module: which holds ``DESCRIPTION``, ``default_config`` and ``build_model``.
        audio, video: how its inputs are made.
        training: how it is trained.
        fixed_audio: settings of the sound that must be as in ``audio``, since its first layers were made for them.
    """

    module: str
    audio: AudioConfig = field(default_factory=AudioConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    fixed_audio: tuple[str, ...] = ()

    def default_config(self) -> RunConfig:
        """Returns settings that say nothing of the architecture's name and of its own layers."""
        return RunConfig(audio=self.audio, video=self.video, training=self.training)


ARCHITECTURES = {
    "mfcc_cnn_3d": Design("emotion.models.mfcc_cnn_3d"),
    "whisper_cnn_3d": Design(
        "emotion.models.whisper_cnn_3d",
        audio=WHISPER_AUDIO,
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
        "emotion.models.logmel_cnn", audio=LOG_MEL_AUDIO, video=VideoConfig(n_frames=15), fixed_audio=("features",)
    ),
}
# Made of two models that were trained before, by ``python -m emotion.fuse``; not to be trained by itself.
LATE_FUSION = "late_fusion"


def find_design(name: str) -> Design:
    """Returns an architecture's entry.

    Raises:
        ConfigError: if there is no such architecture.
    """
    if name == LATE_FUSION:
        return Design("emotion.models.late_fusion")
    if name not in ARCHITECTURES:
        raise ConfigError(f"Unknown model {name!r}. Known: {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def load_architecture(name: str):
    """Returns the module of an architecture, which holds ``build_model`` and ``default_config``.

    Raises:
        ConfigError: if there is no such architecture.
    """
    return importlib.import_module(find_design(name).module)


def load_layers(config: RunConfig) -> None:
    """Imports all designs that a model consists of, so that a file of it can be loaded.

    Raises:
        ConfigError: if one of them is not known.
    """
    load_architecture(config.architecture)
    for expert in ("audio_expert", "video_expert"):
        if config.architecture == LATE_FUSION and expert in config.model:
            load_architecture(str(config.model[expert].get("architecture")))


def check_audio(config: RunConfig) -> None:
    """Makes sure that an architecture gets the picture of sound that it was made for.

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
    architecture = load_architecture(config.architecture)
    check_audio(config)
    if config.architecture == LATE_FUSION:
        return architecture.build_model(config, build_model)
    return architecture.build_model(config)
