"""A result as a Parquet file, for data frames and data bases."""

import os

from emotion.errors import EmotionError
from emotion.files import displayable, written_whole
from emotion.outputs.rows import By, columns_by, rows_by
from emotion.results import MediaPrediction

TEXT_COLUMNS = ("face", "emotion", "most_probable", "evidence", "text")
WHOLE_COLUMNS = ("x1", "y1", "x2", "y2")


def write_parquet(prediction: MediaPrediction, path: str | os.PathLike, by: By = "window") -> None:
    """Writes a table, by ``rows_by``, with one type for each column and the clip's name as its metadata.

    Raises:
        EmotionError: if pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise EmotionError(f"{path}: Parquet needs pyarrow: pip install pyarrow. Or choose CSV.") from None
    kinds = dict.fromkeys(TEXT_COLUMNS, pyarrow.string()) | dict.fromkeys(WHOLE_COLUMNS, pyarrow.int32())
    fields = [pyarrow.field(name, kinds.get(name, pyarrow.float64())) for name in columns_by(prediction, by)]
    schema = pyarrow.schema(fields, {"file": displayable(prediction.path)})
    with written_whole(path) as partial:
        parquet.write_table(pyarrow.Table.from_pylist(rows_by(prediction, by), schema=schema), partial)
