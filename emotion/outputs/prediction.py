"""A result that can be shown and written: the record with a method for each form it takes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emotion.errors import EmotionError, MediaError
from emotion.files import write_whole
from emotion.outputs.rows import By, columns_by, rows_by
from emotion.results import MediaPrediction, in_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Library = Literal["pandas", "polars"]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(MediaPrediction):
    """What was found in a clip, and every form to show it in.

    Example:
        prediction = EmotionPredictor().predict("clip.mp4")
        prediction.to_dataframe(by="utterance")
        prediction.annotate("clip_emotion.mp4")
    """

    def to_dict(self, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Returns the result as plain JSON types, as ``emotion/outputs/tables.py`` describes them.

        Args:
            settings: kept with it, such as the model's name.
        """
        from emotion.outputs.tables import to_json

        return to_json(self, settings=settings)

    def to_json(self, path: str | os.PathLike[str] | None = None, settings: dict[str, Any] | None = None) -> str:
        """Returns the same as the text of a JSON file, and writes it if a path is given.

        Raises:
            EmotionError: if it cannot be written.
        """
        from emotion.outputs.tables import format_json

        text = format_json(self, settings)
        if path is not None:
            write_whole(Path(path), text)
        return text

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the windows as the text of a CSV file, and writes it if a path is given; errors as ``to_json``."""
        from emotion.outputs.tables import format_csv

        text = format_csv(self)
        if path is not None:
            write_whole(Path(path), text)
        return text

    def to_rows(self, by: By = "window") -> list[dict[str, Any]]:
        """Returns the rows of a table; see ``emotion.outputs.rows.rows_by``."""
        return rows_by(self, by)

    def to_dataframe(self, by: By = "window", library: Library | None = None) -> Any:
        """Returns a table as a data frame; see ``emotion.outputs.rows.rows_by`` for its columns.

        Args:
            by: what a row is: ``window``, ``face``, ``utterance`` or ``frame``.
            library: ``pandas`` or ``polars``; by default the one that is installed, pandas first.

        Raises:
            EmotionError: if the library is not installed, or ``by`` is another word.
        """
        columns, rows = columns_by(self, by), rows_by(self, by)
        for name in (library,) if library else ("pandas", "polars"):
            if name == "pandas":
                try:
                    import pandas
                except ImportError:
                    continue
                return pandas.DataFrame(rows, columns=columns)
            if name == "polars":
                try:
                    import polars
                except ImportError:
                    continue
                return polars.DataFrame({column: [row[column] for row in rows] for column in columns}, strict=False)
            raise EmotionError(f"library={name!r}: choose pandas or polars.")
        raise EmotionError(
            f"{library or 'pandas'} is not installed: pip install {library or 'pandas'}. Without it, to_rows() gives "
            "the same as a list of dicts."
        )

    def to_parquet(self, path: str | os.PathLike[str], by: By = "window") -> None:
        """Writes a table as a Parquet file; see ``emotion.outputs.rows.rows_by`` for its columns.

        Raises:
            EmotionError: if pyarrow is not installed, the file cannot be written, or ``by`` is another word.
        """
        from emotion.outputs.parquet import write_parquet

        write_parquet(self, path, by)

    def annotate(
        self, path: str | os.PathLike[str], *, source: str | os.PathLike[str] | None = None, **drawing: Any
    ) -> Path:
        """Draws the result onto the clip: a video (.mp4) with its sound, or an image for a still; returns ``path``.

        Args:
            path: the file to write.
            source: the clip; by default the file that was judged. Needed where you gave no file.
            drawing: see ``emotion.outputs.video.annotator.Annotator``.

        Raises:
            MediaError: if the clip is missing or has no picture.
            EmotionError: if the file cannot be written.
        """
        from dataclasses import replace

        from emotion.media.reading import probe_media
        from emotion.outputs.video.annotator import Annotator
        from emotion.outputs.video.writing import write_annotated_image, write_annotated_video

        shown = self if source is None else replace(self, path=os.fspath(source))
        if not os.path.exists(shown.path):
            raise MediaError(
                f"{shown.path}: is no file, so it cannot be drawn on. Name the clip: annotate(..., source=)."
            )
        annotator = Annotator(shown, **drawing)
        write = write_annotated_image if probe_media(shown.path).is_still else write_annotated_video
        write(shown, path, annotator=annotator)
        return Path(path)

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Figure":
        """Returns the plot of the emotions over time as a matplotlib figure, and writes it if a path is given.

        Raises:
            EmotionError: if the path does not end in .png, .svg or .pdf, or cannot be written.
        """
        from emotion.outputs.plots.figures import write_figure
        from emotion.outputs.plots.timeline import build_timeline

        figure: Figure = build_timeline(self)
        if path is not None:
            write_figure(figure, path)
        return figure

    @property
    def headline(self) -> str:
        """What the face most in sight shows, one after the other, such as ``sad, then happy (0:00 to 0:06, ...)``."""
        from emotion.outputs.story import tell_story, write_headline

        return write_headline(self, tell_story(self)) or (self.overall.emotion or "no evidence")

    def __repr__(self) -> str:
        answer = self.overall
        words = "no evidence"
        if answer.emotion is not None:
            words = f"{answer.emotion} {in_percent(answer.confidence)} by {answer.evidence}"
        n = len(self.tracks)
        return f"Prediction({self.path!r}: {words}, {n} face{'' if n == 1 else 's'}, {self.duration_seconds:.1f} s)"

    def _repr_html_(self) -> str:
        from emotion.outputs.card import render_card

        return render_card(self)
