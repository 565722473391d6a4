"""The table that ``train_model.py --list_models`` prints: each design's size, operations and speed on this machine."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from emotion.config import MODALITIES
from emotion.console import SILENT, Reporter
from emotion.models import ARCHITECTURES, build_model, load_design
from emotion.models.attention import CrossAttention, SelfAttention
from emotion.models.speech_encoder import GroupedConvolution
from emotion.models.trained_model import Run, time_window

N_TIMED = 10


@dataclass(frozen=True)
class Measured:
    """A design's size and speed, for a window with face and voice.

    Attributes:
        n_parameters: including those that are not trained.
        n_operations: multiplications and additions.
        milliseconds: median time on this machine.
        by_modality: operations of the design built for one modality alone.
    """

    name: str
    description: str
    n_parameters: int
    n_operations: int
    milliseconds: float
    by_modality: dict[str, int]


def measure_design(name: str) -> Measured:
    """Builds a design with its default settings and measures it.

    Raises:
        ConfigError: if there is no such design.
    """
    module = load_design(name)
    config = dataclasses.replace(ARCHITECTURES[name].default_config(), architecture=name)
    model = build_model(config)
    alone = {
        modality: count_operations(build_model(dataclasses.replace(config, modalities=(modality,))))
        for modality in MODALITIES
    }
    seconds = time_window(Run(Path(), config, model, sha256=""), n_timed=N_TIMED)
    return Measured(name, module.DESCRIPTION, model.count_params(), count_operations(model), 1000 * seconds, alone)


def measure_designs(reporter: Reporter = SILENT) -> str:
    """Measures all designs, one after the other, and returns a table of them."""
    designs = []
    bar = reporter.bar("Measuring", "models")
    for number, name in enumerate(ARCHITECTURES):
        bar(number, len(ARCHITECTURES))
        designs.append(measure_design(name))
    bar(len(ARCHITECTURES), len(ARCHITECTURES))
    return format_designs(designs)


def format_designs(designs: Sequence[Measured]) -> str:
    """Returns a table of designs, and a line on each."""
    rows = [("model", "parameters", "GFLOP a window", "sound alone", "faces alone", "ms a window")]
    rows += [
        (
            design.name,
            f"{design.n_parameters / 1e6:.2f} M",
            *(f"{n / 1e9:.2f}" for n in (design.n_operations, *design.by_modality.values())),
            f"{design.milliseconds:.0f}",
        )
        for design in designs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]))
    lines += ["", *(f"{design.name}: {design.description}" for design in designs), ""]
    lines.append("GFLOP: 10^9 multiplications and additions. Windows: 3 s of sound and faces. Times: on this machine.")
    return "\n".join(lines)


# ---- Counting multiplications and additions while a network answers once ----

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, GroupedConvolution)


def count_operations(model: keras.Model) -> int:
    """Counts a model's operations for one window; inner layers and every folded frame count, too."""
    counted = 0

    def count(layer, inputs, output) -> None:
        nonlocal counted
        counted += _operations(layer, inputs, output)

    inputs = {x.name: np.ones((1, *x.shape[1:]), x.dtype) for x in model.inputs}
    with _watched(count):
        model(inputs, training=False)
    return counted


@contextlib.contextmanager
def _watched(tell) -> Iterator[None]:
    """Calls ``tell`` with the layer, its input and its output whenever a layer is called."""
    original = layers.Layer.__call__

    @functools.wraps(original)
    def call(layer, *args, **kwargs):
        output = original(layer, *args, **kwargs)
        if args:
            tell(layer, args[0], output)
        return output

    layers.Layer.__call__ = call
    try:
        yield
    finally:
        layers.Layer.__call__ = original


def _operations(layer, inputs, output) -> int:
    if isinstance(layer, layers.DepthwiseConv2D):
        return 2 * math.prod(output.shape) * math.prod(layer.kernel_size)
    if isinstance(layer, _CONVOLUTIONS):
        return 2 * math.prod(output.shape) * math.prod(layer.kernel.shape[:-1])
    if isinstance(layer, layers.Dense):
        return 2 * math.prod(output.shape) * inputs.shape[-1]
    if isinstance(layer, SelfAttention):
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        queries, keys = given[0], given[1] if isinstance(layer, CrossAttention) else given[0]
        # Each query meets each key, then takes its share of each value.
        return 2 * 2 * math.prod(queries.shape) * keys.shape[1]
    if isinstance(layer, layers.LSTM):
        batch, n_steps, n_features = inputs.shape
        return 2 * batch * n_steps * 4 * layer.units * (n_features + layer.units)
    return 0
