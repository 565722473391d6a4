"""Telling copies of one recording: the same sound in another file, as wav and as mp4, say, and under other names."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from emotion.datasets.cache import ClipCache
from emotion.datasets.check.copies import MAX_LENGTH_DIFFERENCE_SECONDS
from emotion.datasets.check.fingerprints import (
    MIN_PRINT_LIKENESS,
    MIN_WAVE_LIKENESS,
    compare_waveforms,
    compute_sound_print,
    find_alike,
)
from emotion.datasets.clips import Clip
from emotion.errors import MediaError
from emotion.inputs.voice.features import has_sound

MAX_COMPARISONS = 5_000  # of waveforms, the likeliest first

_logger = logging.getLogger(__name__)


def name_recordings(clips: Sequence[Clip], cache: ClipCache, contents: Mapping[str, str]) -> dict[str, str]:
    """Gives the recording in each file a name, the same to copies of one sound that are said to be different people's.

    Two takes of a sentence are no copies: their waveforms differ; ``datasets.fingerprints`` says by how much.
    Copies under the same speaker do no harm where speakers are kept apart, so they are not looked for.

    Args:
        clips: what ``cache`` holds.
        cache: decoded clips.
        contents: hashes of their files by path.

    Returns:
        By path: the file's hash, or that of the file that it is a copy of.
    """
    names = dict(contents)
    heard, prints = [], []
    for clip in clips:
        if clip.audio_path is None or clip.start_seconds is not None or clip.end_seconds is not None:
            continue
        media = cache.load(clip)
        if has_sound(media.samples, cache.config.audio):
            sound_print = compute_sound_print(np.asarray(media.samples), cache.config.audio.sample_rate)
            if sound_print is not None:
                heard.append((clip, media.duration_seconds))
                prints.append(np.frombuffer(sound_print, np.float16))
    if len(prints) < 2:
        return names
    pairs = [
        (likeness, heard[one][0], heard[other][0])
        for one, other, likeness in find_alike(np.stack(prints).astype(np.float32), MIN_PRINT_LIKENESS)
        if heard[one][0].speaker != heard[other][0].speaker
        and abs(heard[one][1] - heard[other][1]) <= MAX_LENGTH_DIFFERENCE_SECONDS
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1].clip_id, pair[2].clip_id))
    if len(pairs) > MAX_COMPARISONS:
        _logger.warning("%d pairs of sounds are alike; the %d likeliest are compared.", len(pairs), MAX_COMPARISONS)
    for _, one, other in pairs[:MAX_COMPARISONS]:
        first, second = names[one.audio_path], names[other.audio_path]
        if first == second:
            continue
        try:
            is_copy = compare_waveforms(one.audio_path, other.audio_path) >= MIN_WAVE_LIKENESS
        except MediaError as error:
            _logger.warning("Not compared: %s", error)
            continue
        if is_copy:
            names |= {path: first for path, name in names.items() if name == second}
    return names
