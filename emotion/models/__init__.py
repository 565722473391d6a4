"""The architectures, one file each. Importing this package imports no Keras: each design is loaded when it is built."""

import importlib

from emotion.errors import ConfigError

ARCHITECTURES = {"mfcc_cnn_3d": "emotion.models.mfcc_cnn_3d"}


def load_architecture(name: str):
    """Returns the module of an architecture, which holds ``build_model`` and ``default_config``.

    Raises:
        ConfigError: if there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"Unknown model {name!r}. Known: {', '.join(ARCHITECTURES)}.")
    return importlib.import_module(ARCHITECTURES[name])


def build_model(config):
    """Builds the Keras model that a ``RunConfig`` describes."""
    return load_architecture(config.architecture).build_model(config)
