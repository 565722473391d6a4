"""Reads part of a media file as if it were a file of its own."""

import math
import os
from collections.abc import Iterator

from emotion.errors import MediaError
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media, probe_media
from emotion.media.tracks import ANY_TRACKS, TrackChoice


def iterate_stretch(
    path: str | os.PathLike,
    *,
    sample_rate: int,
    with_video: bool = True,
    with_audio: bool = True,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    choice: TrackChoice = ANY_TRACKS,
) -> Iterator[VideoFrame | AudioChunk]:
    """Reads part of a media file as ``iterate_media`` reads a whole one; times count from its start.

    ``start_seconds`` and ``end_seconds`` are on the file's own clock; None reads to the end. Yields the frames
    whose times lie between them, and the sound, cut to the sample.

    Raises:
        MediaError: as ``iterate_media``; and if the file ends before ``start_seconds``.
    """
    info = probe_media(path, choice)
    # The file may hold more of the part until each of its streams has passed the end.
    running = {VideoFrame} if with_video and info.has_video else set()
    running |= {AudioChunk} if with_audio and info.has_audio else set()
    has_streams, is_empty, reached = bool(running), True, 0.0
    end = math.inf if end_seconds is None else end_seconds
    for item in iterate_media(
        path, sample_rate=sample_rate, with_video=with_video, with_audio=with_audio, start_seconds=start_seconds,
        choice=info.choice,
    ):  # fmt: skip
        reached = max(reached, item.time_seconds)
        if item.time_seconds >= end:
            running.discard(type(item))
            if not running:
                break
        elif isinstance(item, VideoFrame):
            if item.time_seconds >= start_seconds:
                is_empty = False
                duration = min(item.duration_seconds, end - item.time_seconds)
                yield item.at(item.time_seconds - start_seconds, duration)
        else:
            first = max(0, round((start_seconds - item.time_seconds) * sample_rate))
            stop = len(item.samples) if end == math.inf else round((end - item.time_seconds) * sample_rate)
            samples = item.samples[first:stop]
            if len(samples):
                is_empty = False
                yield AudioChunk(max(0.0, item.time_seconds - start_seconds), samples, item.levels)
    if has_streams and is_empty:
        to = "its end" if end == math.inf else f"second {end:g}"
        raise MediaError(
            f"{path}: holds nothing from second {start_seconds:g} to {to}; it ends at about second {reached:.1f}. "
            "Correct the start and end given for it."
        )
