"""Pairs of least total cost are found, as SciPy finds them."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from emotion.inputs.faces.assignment import assign_least_cost


@pytest.mark.parametrize("seed", range(40))
def test_pairs_cost_as_little_as_those_that_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 2)
    costs = [rng.random(shape), rng.integers(-2, 3, shape).astype(float), np.minimum(3 * rng.random(shape), 1.6)][
        seed % 3
    ]
    pairs = assign_least_cost(costs)
    rows, columns = zip(*pairs, strict=True)
    assert len(pairs) == min(shape) and len(set(rows)) == len(set(columns)) == len(pairs)
    assert sum(costs[pair] for pair in pairs) == pytest.approx(costs[linear_sum_assignment(costs)].sum())
