"""Sliding windows over a clip, and means of their probabilities. Pure arithmetic; times in seconds."""

from collections.abc import Sequence

import numpy as np

# A remainder no longer than this after the last whole step gets no window of its own.
SHORTEST_TAIL_SECONDS = 0.1


def count_steps(spare_seconds: float, step_seconds: float) -> int:
    """Returns the number of steps from the first window to the last.

    Args:
        spare_seconds: duration of the clip minus that of a window.
    """
    if spare_seconds <= 0:
        return 0
    n_whole = int(np.floor(spare_seconds / step_seconds + 1e-6))
    tail = spare_seconds - n_whole * step_seconds
    return n_whole + (tail > min(SHORTEST_TAIL_SECONDS, step_seconds / 2))


def sliding_windows(
    duration_seconds: float, window_seconds: float, step_seconds: float, start_seconds: float = 0.0
) -> list[tuple[float, float]]:
    """Returns ``(start, end)`` of windows of one length, in order, that cover a duration.

    The last window ends at the end, or up to 0.1 s before it; the last step may be shorter than the others. A duration
    no longer than a window gives one window, which may reach past the end.
    """
    spare = duration_seconds - window_seconds
    n_steps = count_steps(spare, step_seconds)
    if not n_steps:
        return [(start_seconds, start_seconds + window_seconds)]
    starts = [start_seconds + min(i * step_seconds, spare) for i in range(n_steps + 1)]
    return [(start, start + window_seconds) for start in starts]


def merge_probabilities(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean ``(n_classes,)`` of probabilities ``(n, n_classes)``, scaled to sum 1.

    Raises:
        ValueError: if there are no rows.
    """
    stacked = np.asarray(probabilities, dtype=np.float64)
    if stacked.ndim != 2 or not len(stacked):
        raise ValueError(f"merge_probabilities needs at least one row of probabilities, got shape {stacked.shape}.")
    mean = stacked.mean(axis=0)
    return mean / mean.sum()


def merge_by_clip(probabilities: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Merges many clips' windows at once; returns ``(n_clips, n_classes)``.

    Args:
        probabilities: ``(n_windows, n_classes)``, clip after clip.
        lengths: how many of them each clip has, one or more.
    """
    starts = np.cumsum([0, *lengths[:-1]])
    sums = np.add.reduceat(np.asarray(probabilities, np.float64), starts, axis=0)
    return sums / sums.sum(axis=1, keepdims=True)


def probabilities_at(
    time_seconds: float, middles_seconds: Sequence[float], probabilities: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns probabilities at a time, interpolated linearly between the middles of the windows around it.

    Before the first middle and after the last, the first or last window's probabilities are returned.

    Args:
        middles_seconds: of the windows, rising.
        probabilities: ``(n_windows, n_classes)``.
    """
    right = int(np.clip(np.searchsorted(middles_seconds, time_seconds), 0, len(middles_seconds) - 1))
    left = max(0, right - 1)
    before, after = middles_seconds[left], middles_seconds[right]
    share = 1.0 if after <= before else float(np.clip((time_seconds - before) / (after - before), 0, 1))
    return (1 - share) * np.asarray(probabilities[left]) + share * np.asarray(probabilities[right])
