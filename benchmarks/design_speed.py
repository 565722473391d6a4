"""How much of this machine's computing speed each design reaches, compared with a large matrix product."""

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.measures import Measure

SIDE = 2048
N_PRODUCTS = 5


def measure_machine() -> float:
    """Returns the speed of a large float32 matrix product on all cores, in GFLOP/s."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    left, right = (tf.constant(rng.standard_normal((SIDE, SIDE)).astype(np.float32)) for _ in range(2))
    product = tf.function(tf.matmul)
    product(left, right)
    seconds = []
    for _ in range(N_PRODUCTS):
        start = time.perf_counter()
        product(left, right).numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds) / 1e9


def measure() -> Iterator[Measure]:
    """Measures the machine, then every design."""
    from emotion.models import ARCHITECTURES
    from emotion.models.catalogue import measure_design

    limit = measure_machine()
    yield Measure("matrix product, float32", limit, "GFLOP/s")
    for name in ARCHITECTURES:
        design = measure_design(name)
        reached = design.n_operations / 1e6 / design.milliseconds
        yield Measure(f"{name}: a window", design.milliseconds, "ms")
        yield Measure(f"{name}: part of the machine's limit", reached / limit, "")
