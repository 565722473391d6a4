"""The windows of clips as a model sees them, for what must look at real ones: eight bits and exports."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from emotion.inputs.window_cutter import MediaScanner
from emotion.media.reading import iterate_media, probe_media
from emotion.models.run_folder import Run


def iterate_windows(run: Run, clips: Sequence[Path]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the model's inputs, by name, for each window of the clips that holds any evidence.

    Raises:
        MediaError: if a clip cannot be read; of all clips, whatever can be known of that is known at once.
    """
    for info in [probe_media(clip) for clip in clips]:  # whatever is wrong is said before the work begins
        scanner = MediaScanner(run.config, has_video=info.has_video, has_audio=info.has_audio)
        media = iterate_media(info.path, sample_rate=run.config.audio.sample_rate)
        yield from (window.inputs for stretch in scanner.scan(media) for window in stretch if window.evidence != "none")
