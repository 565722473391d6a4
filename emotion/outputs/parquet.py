"""A result as a Parquet file, for data frames and data bases."""

import json
import os
from typing import Any

from emotion.errors import EmotionError
from emotion.files import displayable, written_whole
from emotion.outputs.rows import By, columns_by, rows_by
from emotion.outputs.tables import plain_json
from emotion.results import MediaPrediction

TEXT_COLUMNS = ("face", "emotion", "most_probable", "evidence", "text")
WHOLE_COLUMNS = ("x1", "y1", "x2", "y2")


def write_parquet(prediction: MediaPrediction, path: str | os.PathLike, by: By = "window") -> None:
    """Writes what ``format_parquet`` returns; raises also if the file cannot be written."""
    content = format_parquet(prediction, by)
    with written_whole(path) as partial:
        partial.write_bytes(content)


def format_parquet(prediction: MediaPrediction, by: By = "window", settings: dict[str, Any] | None = None) -> bytes:
    """Returns a table, by ``rows_by``, as a Parquet file, with one type for each column.

    Args:
        settings: kept in the file's metadata with the clip's name, as JSON.

    Raises:
        EmotionError: if pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise EmotionError("Parquet needs pyarrow: pip install pyarrow. Or choose CSV.") from None
    kinds = dict.fromkeys(TEXT_COLUMNS, pyarrow.string()) | dict.fromkeys(WHOLE_COLUMNS, pyarrow.int32())
    fields = [pyarrow.field(name, kinds.get(name, pyarrow.float64())) for name in columns_by(prediction, by)]
    told = {"file": displayable(prediction.path), "settings": json.dumps(plain_json(settings))}
    table = pyarrow.Table.from_pylist(rows_by(prediction, by), schema=pyarrow.schema(fields, told))
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()
