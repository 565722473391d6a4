"""Tells which designs take which pretrained weights, and how such layers are trained.

The layers after a pretrained encoder start at random; their first errors would damage it. So it may be frozen for some
epochs, and then learns the slower the nearer a layer is to the input (discriminative learning rates, Howard & Ruder
2018; layer-wise decay, Clark et al. 2020).
"""

import re
from collections.abc import Callable

import keras
from keras import ops

from emotion.config import RunConfig
from emotion.errors import ConfigError
from emotion.models import conversion, load_design
from emotion.models.layers import PACKAGE
from emotion.weights import find_weights

# Weights without weight decay.
NOT_DECAYED = ("bias", "gamma", "beta", "alpha", "positions", "gathering", "gate_bias", "gate_scale")
SETTERS: dict[str, Callable] = {
    "resnet18": conversion.set_resnet18_weights,
    "ast": conversion.set_ast_weights,
    "mobilefacenet": conversion.set_mobilefacenet_weights,
    "affectnet_mobilenet": conversion.set_mobilenet_weights,
    "efficientface": conversion.set_efficientface_weights,
    **dict.fromkeys(("wav2vec2", "wav2vec2_large", "hubert", "wavlm"), conversion.set_speech_weights),
}


def known_weights(architecture: str) -> dict[str, str]:
    """Returns the pretrained weights that a design can take: by name, the prefix of the layers that take them."""
    return getattr(load_design(architecture), "PRETRAINED", {})


def check_pretrained(config: RunConfig) -> None:
    """Makes sure that a design takes the weights that ``config`` names, and that they were fetched.

    Raises:
        ConfigError: if the design does not take them.
        WeightsError: if they were not fetched, or are damaged.
    """
    known = known_weights(config.architecture)
    for name in config.training.pretrained:
        if name not in known:
            choices = f"It takes: {', '.join(known)}." if known else "It takes none."
            raise ConfigError(f"{config.architecture} does not take the weights {name!r}. {choices}")
        find_weights(name)


def set_pretrained(model: keras.Model, config: RunConfig) -> None:
    """Loads the pretrained weights that ``config`` names into a network.

    Raises:
        WeightsError: if they were not fetched or do not fit the network.
    """
    known = known_weights(config.architecture)
    for name in config.training.pretrained:
        if any(layer.name.startswith(f"{known[name]}_") for layer in model.layers):
            SETTERS[name](model, conversion.load_safetensors(find_weights(name)), name=known[name])


def encoder_layers(model: keras.Model, config: RunConfig) -> dict[str, list[keras.layers.Layer]]:
    """Returns, for each pretrained encoder in a network, its layers with weights, from the input on."""
    known = known_weights(config.architecture)
    prefixes = {name: f"{known[name]}_" for name in config.training.pretrained}
    found = {
        name: [layer for layer in model.layers if layer.weights and layer.name.startswith(prefix)]
        for name, prefix in prefixes.items()
    }
    return {name: layers for name, layers in found.items() if layers}


def freeze_encoders(model: keras.Model, config: RunConfig, *, frozen: bool) -> None:
    """Freezes a network's pretrained encoders, batch statistics included, or thaws them."""
    for layers in encoder_layers(model, config).values():
        for layer in layers:
            layer.trainable = not frozen


def layer_rates(model: keras.Model, config: RunConfig) -> dict[str, float]:
    """Returns factors of the learning rate for the layers of pretrained encoders, by layer name.

    The last block has ``layer_decay``, the one before it its square, and so on.
    """
    rates = {}
    for layers in encoder_layers(model, config).values():
        blocks = list(dict.fromkeys(_block_of(layer.name) for layer in layers))
        for layer in layers:
            depth = len(blocks) - blocks.index(_block_of(layer.name))
            rates[layer.name] = config.training.layer_decay**depth
    return rates


def _block_of(name: str) -> str:
    """A layer's name up to its block's number: ``audio_ast_block3`` for ``audio_ast_block3_dense1``."""
    name = re.sub(r"_(norm|prelu)$", "", name).replace("bn1", "conv1").replace("_positions", "_patches")
    found = re.match(r".*?(block\d+|layer\d+_\d+|conv\d+|local|modulator)", name)
    return found.group() if found else name


@keras.saving.register_keras_serializable(package=PACKAGE)
class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019) with a factor of the learning rate for each layer.

    Args:
        rates: the factors, by layer name; 1 for the others.
    """

    def __init__(self, *args, rates: dict[str, float] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.rates = dict(rates or {})

    def _rate(self, variable) -> float:
        # TensorFlow passes its own variable, which does not know its layer.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        return self.rates.get(path.partition("/")[0], 1.0)

    def _use_weight_decay(self, variable):
        # Not by ``exclude_from_weight_decay``, which is lost when an optimizer is saved.
        return variable.path.rpartition("/")[2] not in NOT_DECAYED

    def _apply_weight_decay(self, variables):
        # As in PyTorch's parameter groups: slow layers also decay slowly.
        for variable in variables if self.weight_decay else ():
            if self._use_weight_decay(variable):
                factor = self.rates.get(variable.path.partition("/")[0], 1.0) * self.weight_decay
                variable.assign(variable - variable * factor * ops.cast(self.learning_rate, variable.dtype))

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self._rate(variable))

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}


def build_optimizer(model: keras.Model, config: RunConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer that a training's settings ask for: plain Adam unless rates or weight decay are set."""
    settings = config.training
    rates = layer_rates(model, config) if settings.layer_decay < 1 else {}
    options = {"learning_rate": settings.learning_rate, "clipnorm": settings.clip_norm}
    if not rates and not settings.weight_decay:
        return keras.optimizers.Adam(**options)
    return LayerwiseAdamW(rates=rates, weight_decay=settings.weight_decay, **options)
