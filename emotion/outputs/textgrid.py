"""A result as a TextGrid of Praat (https://www.fon.hum.uva.nl/praat): a tier for each face and one for the voice.

An interval for each stretch of one answer has a label as in ``emotion.outputs.annotations``; between them are empty
ones. Times are seconds on the file's own clock. A clip without answers gets one empty tier. The format links no media:
a reader finds them by the name.
"""

import tempfile
from pathlib import Path

from emotion.outputs.annotations import LEAST_SECONDS, lane_name, load_package, write_label
from emotion.outputs.stretches import stretches_by_row
from emotion.results import MediaPrediction

NOTHING = "clip"  # the tier of a clip without answers


def format_textgrid(prediction: MediaPrediction, target: Path | None = None) -> str:
    """Returns a result as the text of a TextGrid; ``target`` is not used.

    Raises:
        ConfigError: if the package ``praatio`` is not installed.
    """
    textgrid = load_package("praatio.textgrid")
    first = min(0.0, prediction.start_seconds)
    last = max(prediction.start_seconds + prediction.duration_seconds, first + LEAST_SECONDS)
    grid = textgrid.Textgrid(first, last)
    rows = stretches_by_row(prediction) or {NOTHING: []}
    for name, stretches in rows.items():
        entries = [
            (stretch.start_seconds, min(stretch.end_seconds, last), write_label(stretch))
            for stretch in stretches
            if stretch.end_seconds - stretch.start_seconds >= LEAST_SECONDS
        ]
        grid.addTier(textgrid.IntervalTier(lane_name(name), entries, first, last))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.TextGrid")
        grid.save(str(path), "long_textgrid", includeBlankSpaces=True)
        return path.read_text(encoding="utf-8")
