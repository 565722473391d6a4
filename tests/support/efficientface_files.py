"""Files like EfficientFace's published checkpoint, of a small network."""

import numpy as np
from checkpoints import make_checkpoint
from small_models import SMALL_EFFICIENTFACE

CHANNELS, REPEATS = SMALL_EFFICIENTFACE["efficientface_channels"], SMALL_EFFICIENTFACE["efficientface_repeats"]


def make_arrays(channels=CHANNELS, repeats=REPEATS) -> dict[str, np.ndarray]:
    """Random weights of a small network under the published names."""
    rng, arrays = np.random.default_rng(0), {}

    def add(name: str, *shape: int, bias: bool = False) -> None:
        arrays[f"{name}.weight"] = rng.normal(size=shape) / np.prod(shape[1:]) ** 0.5
        if bias:
            arrays[f"{name}.bias"] = rng.normal(size=shape[:1])

    def norm(name: str, n: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{name}.{part}"] = rng.uniform(0.5, 1.5, size=n)
        arrays[f"{name}.num_batches_tracked"] = np.array(5)

    def convolution(name: str, norm_name: str, *shape: int, bias: bool = False) -> None:
        add(name, *shape, bias=bias)
        norm(norm_name, shape[0])

    first, *stages, last = channels
    convolution("conv1.0", "conv1.1", first, 3, 3, 3)
    before = first
    for number, (after, n_blocks) in enumerate(zip(stages, repeats, strict=True), start=2):
        for block in range(n_blocks):
            half, place = after // 2, f"stage{number}.{block}"
            if block == 0:
                convolution(f"{place}.branch1.0", f"{place}.branch1.1", before, 1, 3, 3)
                convolution(f"{place}.branch1.2", f"{place}.branch1.3", half, before, 1, 1)
            convolution(f"{place}.branch2.0", f"{place}.branch2.1", half, before if block == 0 else half, 1, 1)
            convolution(f"{place}.branch2.3", f"{place}.branch2.4", half, 1, 3, 3)
            convolution(f"{place}.branch2.5", f"{place}.branch2.6", half, half, 1, 1)
        before = after
    for quarter in range(1, 5):
        for part in (1, 2):
            convolution(f"local.conv{quarter}_{part}", f"local.bn{quarter}_{part}", stages[0], 1, 3, 3)
    few, gate = max(1, stages[0] // 16), "modulator.channel_att.gate_c.gate_c"
    convolution(f"{gate}_fc_0", f"{gate}_bn_1", few, stages[0], bias=True)
    add(f"{gate}_fc_final", stages[0], few, bias=True)
    gate = "modulator.spatial_att.gate_s.gate_s"
    convolution(f"{gate}_conv_reduce0", f"{gate}_bn_reduce0", few, stages[0], 1, 1, bias=True)
    for number in range(2):
        convolution(f"{gate}_conv_di_{number}", f"{gate}_bn_di_{number}", few, few, 3, 3, bias=True)
    add(f"{gate}_conv_final", 1, few, 1, 1, bias=True)
    convolution("conv5.0", "conv5.1", last, before, 1, 1)
    add("fc", 7, last, bias=True)
    return {name: np.asarray(array, np.int64 if array.ndim == 0 else np.float32) for name, array in arrays.items()}


def write_checkpoint(path, arrays=None, *, old: bool = False):
    """A file like the published one."""
    arrays = make_arrays() if arrays is None else arrays
    state = {f"module.{name}": array for name, array in arrays.items()}
    path.write_bytes(make_checkpoint({"state_dict": state}, old=old))
    return path
