"""The architectures, one file each. Importing this package imports no Keras: each design is loaded when it is built."""

import importlib

from emotion.config import WHISPER_AUDIO, AudioConfig, RunConfig
from emotion.errors import ConfigError

ARCHITECTURES = {"mfcc_cnn_3d": "emotion.models.mfcc_cnn_3d", "whisper_cnn_3d": "emotion.models.whisper_cnn_3d"}

# Designs that take no other sound than what their first layers were made for.
_FIXED_AUDIO = {"whisper_cnn_3d": WHISPER_AUDIO}
_FIXED_NAMES = ("features", "sample_rate", "min_frequency_hz", "max_frequency_hz", "top_db")


def load_architecture(name: str):
    """Returns the module of an architecture, which holds ``build_model`` and ``default_config``.

    Raises:
        ConfigError: if there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"Unknown model {name!r}. Known: {', '.join(ARCHITECTURES)}.")
    return importlib.import_module(ARCHITECTURES[name])


def default_audio(architecture: str) -> AudioConfig:
    """Returns the picture of sound that an architecture takes unless told otherwise."""
    return _FIXED_AUDIO.get(architecture, AudioConfig())


def check_audio(config: RunConfig) -> None:
    """Makes sure that an architecture gets the picture of sound that it was made for.

    Raises:
        ConfigError: if not.
    """
    needed = _FIXED_AUDIO.get(config.architecture)
    if needed is None or "audio" not in config.modalities:
        return
    for name in _FIXED_NAMES:
        wanted, given = getattr(needed, name), getattr(config.audio, name)
        if given != wanted:
            raise ConfigError(
                f"{config.architecture} needs audio.{name} {wanted!r}, got {given!r}. Leave it out of the settings."
            )


def build_model(config: RunConfig):
    """Builds the Keras model that a ``RunConfig`` describes."""
    architecture = load_architecture(config.architecture)
    check_audio(config)
    return architecture.build_model(config)
