"""Sliding windows over a clip, and the merging of their probabilities. Pure arithmetic; times in seconds."""

from collections.abc import Sequence

import numpy as np

# What is left behind the last whole step is no longer than this: not worth a window of its own.
SHORTEST_TAIL_SECONDS = 0.1


def count_steps(spare_seconds: float, step_seconds: float) -> int:
    """Returns how many steps it takes from the first window to the one that ends with a stretch of time.

    Args:
        spare_seconds: by how much the stretch is longer than a window.
        step_seconds: from one window to the next.
    """
    if spare_seconds <= 0:
        return 0
    n_whole = int(np.floor(spare_seconds / step_seconds + 1e-6))
    tail = spare_seconds - n_whole * step_seconds
    return n_whole + (tail > min(SHORTEST_TAIL_SECONDS, step_seconds / 2))


def sliding_windows(
    duration_seconds: float, window_seconds: float, step_seconds: float, start_seconds: float = 0.0
) -> list[tuple[float, float]]:
    """Cuts a stretch of time into windows of one length.

    The first window begins at ``start_seconds``, the last one ends at the end of the stretch, or at most a tenth of a
    second before it (so the last step may be shorter). A stretch no longer than a window gives one window, which may
    reach past the end.

    Returns:
        ``(start, end)`` pairs, rising.
    """
    spare = duration_seconds - window_seconds
    n_steps = count_steps(spare, step_seconds)
    if not n_steps:
        return [(start_seconds, start_seconds + window_seconds)]
    starts = [start_seconds + min(i * step_seconds, spare) for i in range(n_steps + 1)]
    return [(start, start + window_seconds) for start in starts]


def merge_probabilities(probabilities: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Averages probabilities ``(n, n_classes)`` to ``(n_classes,)``, weighted, and scales them to sum 1.

    Raises:
        ValueError: if there is nothing to average.
    """
    stacked = np.asarray(probabilities, dtype=np.float64)
    if stacked.ndim != 2 or not len(stacked):
        raise ValueError(f"merge_probabilities needs at least one row of probabilities, got shape {stacked.shape}.")
    mean = np.average(stacked, axis=0, weights=weights)
    return mean / mean.sum()


def probabilities_at(
    time_seconds: float, middles_seconds: Sequence[float], probabilities: Sequence[np.ndarray]
) -> np.ndarray:
    """Probabilities at a moment, interpolated linearly between the middles of the windows around it.

    Before the first middle and after the last, the first and the last window hold.

    Args:
        time_seconds: the moment.
        middles_seconds: the windows' middles, rising.
        probabilities: ``(n_windows, n_classes)``.
    """
    # Of hours of windows only the two around the moment count.
    right = int(np.clip(np.searchsorted(middles_seconds, time_seconds), 0, len(middles_seconds) - 1))
    left = max(0, right - 1)
    before, after = middles_seconds[left], middles_seconds[right]
    share = 1.0 if after <= before else float(np.clip((time_seconds - before) / (after - before), 0, 1))
    return (1 - share) * np.asarray(probabilities[left]) + share * np.asarray(probabilities[right])
