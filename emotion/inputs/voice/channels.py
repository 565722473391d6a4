"""Tells whether the channels of a sound hold one person each, as recorders of calls write them."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk

ALONE_DB = 10.0  # by which a channel must be louder than the other to be the only one that speaks
LOUD_DB = 25.0  # below a channel's loudest block, at which a block still counts as loud
QUIETEST_DB = -50.0  # of full scale; a channel that never exceeds it holds nobody
MIN_ALONE_SECONDS = 0.75  # for which each channel must be the only one
MAX_TOGETHER_SHARE = 0.3  # of the loud time in which neither is


class ChannelWatch:
    """Watches the levels of two channels as the sound passes by."""

    def __init__(self):
        self._levels = array("f")  # of both channels, and the seconds, block by block

    def watch(self, items: Iterable[VideoFrame | AudioChunk]) -> Iterator[VideoFrame | AudioChunk]:
        """Yields the items unchanged."""
        try:
            last = None
            for item in items:
                if isinstance(item, AudioChunk) and item.levels is not None and len(item.levels) == 2:
                    seconds = 0.0 if last is None else item.time_seconds - last
                    last = item.time_seconds
                    self._levels.extend((*item.levels, seconds))
                yield item
        finally:
            if hasattr(items, "close"):
                items.close()

    @property
    def hold_two_people(self) -> bool:
        """Whether each of two channels is loud for a while in which the other is not, and both together rarely."""
        blocks = np.array(self._levels, np.float64).reshape(-1, 3)
        if len(blocks) < 2:
            return False
        levels = 20 * np.log10(np.maximum(blocks[:, :2], 1e-9))
        seconds = np.append(blocks[1:, 2], 0.0)  # a block lasts until the next one begins
        loudest = levels.max(axis=0)
        if loudest.min() < QUIETEST_DB:
            return False
        is_loud = levels >= np.maximum(loudest - LOUD_DB, QUIETEST_DB)
        lead = levels[:, 0] - levels[:, 1]
        alone = is_loud[:, 0] & (lead >= ALONE_DB), is_loud[:, 1] & (lead <= -ALONE_DB)
        total = float(seconds @ is_loud.any(axis=1))
        together = total - sum(float(seconds @ each) for each in alone)
        return all(seconds @ each >= MIN_ALONE_SECONDS for each in alone) and together <= MAX_TOGETHER_SHARE * total
