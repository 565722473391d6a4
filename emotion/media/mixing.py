"""Mixes channels to mono without losing sound that the channels hold with opposite signs.

A plug wired wrongly, or a microphone's balanced output recorded as stereo, gives two channels that are each other's
negative: their mean is silence. Where two channels cancel each other, the weaker one is left out of the mix.
"""

from collections.abc import Iterator

import numpy as np

BLOCK_SECONDS = 0.25  # for which the weights are chosen
RAMP_SECONDS = 0.02  # from one block's weights to the next one's
MEMORY = 0.9  # of the blocks before, a block
# Channels whose correlation lies below the first cancel each other, until it lies above the second.
CANCELS, AGREES = -0.6, -0.3
STICKS = 4.0  # how much more power a channel needs to take another one's place
# FFmpeg's weights in a mix to mono; other channels have weight 1.
WEIGHTS = {"FL": 0.5**0.5, "FR": 0.5**0.5, "LFE": 0.0, "LFE2": 0.0} | dict.fromkeys(
    ("BL", "BR", "SL", "SR", "BC", "FLC", "FRC", "TFL", "TFR", "TBL", "TBR", "TC", "TFC", "TBC"), 0.5
)


class MonoMixer:
    """Mixes blocks of channels to mono.

    Args:
        sample_rate: in Hz.
        channel: the one channel to take, counted from 1; None mixes all.
    """

    def __init__(self, sample_rate: int, channel: int | None = None):
        self._block = round(BLOCK_SECONDS * sample_rate)
        self._ramp = round(RAMP_SECONDS * sample_rate)
        self._channel = channel
        self._names: tuple[str, ...] | None = None
        self._waiting = np.zeros((0, 0), np.float32)
        self._gains = np.zeros(0)  # of the last sample given
        self._left_out = np.zeros(0, bool)
        self._products = np.zeros((0, 0))  # of the channels' changes, a decaying mean

    def push(self, samples: np.ndarray, names: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Takes the next samples ``(n_channels, n_samples)`` and the channels' names, as FFmpeg calls them.

        Yields mono ``(n_samples,)`` and each channel's level, its root mean square ``(n_channels,)``, block by block.
        """
        if names != self._names:
            yield from self.flush()
            self._start(names)
        self._waiting = np.concatenate([self._waiting, samples], axis=1)
        while self._waiting.shape[1] >= self._block:
            block, self._waiting = np.split(self._waiting, [self._block], axis=1)
            yield self._mix(block)

    def flush(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the rest, as ``push`` does."""
        if self._waiting.shape[1]:
            block, self._waiting = self._waiting, self._waiting[:, :0]
            yield self._mix(block)

    def _start(self, names: tuple[str, ...]) -> None:
        n_channels = len(names)
        self._names = names
        self._waiting = np.zeros((n_channels, 0), np.float32)
        self._weights = np.array([WEIGHTS.get(name, 1.0) for name in names])
        if not self._weights.any():
            self._weights[:] = 1.0
        self._gains = np.zeros(0)
        self._left_out = np.zeros(n_channels, bool)
        self._products = np.zeros((n_channels, n_channels))

    def _mix(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        levels = np.sqrt(np.mean(np.square(block, dtype=np.float64), axis=1))
        if self._channel is not None:
            is_there = self._channel <= len(block)  # the layout may change midway
            return block[self._channel - 1] if is_there else np.zeros(block.shape[1], np.float32), levels
        if len(block) == 1:
            return block[0], levels
        gains = self._choose(block)
        before = gains if not self._gains.size else self._gains
        self._gains = gains
        if np.array_equal(gains, before):
            return (gains @ block).astype(np.float32), levels
        share = np.minimum(np.arange(1, block.shape[1] + 1) / self._ramp, 1.0)
        mixed = (1 - share) * (before @ block) + share * (gains @ block)
        return mixed.astype(np.float32), levels

    def _choose(self, block: np.ndarray) -> np.ndarray:
        """Returns the channels' weights in the mix."""
        # Changes from sample to sample hold little of hum and nothing of a constant, which may be in step.
        changes = np.diff(block.astype(np.float64), axis=1)
        self._products = MEMORY * self._products + changes @ changes.T
        power = np.diag(self._products)
        counts = (power > 0) & (self._weights > 0)
        scale = np.sqrt(np.outer(power, power))
        correlation = np.divide(self._products, scale, out=np.zeros_like(scale), where=scale > 0)
        rank = power * np.where(self._left_out, 1 / STICKS, 1.0)
        left_out = np.zeros_like(self._left_out)
        kept: list[int] = []
        for channel in np.argsort(-rank, kind="stable"):
            limit = AGREES if self._left_out[channel] else CANCELS
            if counts[channel] and any(correlation[channel, other] < limit for other in kept):
                left_out[channel] = True
            elif counts[channel]:
                kept.append(channel)
        self._left_out = left_out
        weights = np.where(left_out, 0.0, self._weights)
        return weights / weights.sum()
