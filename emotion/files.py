"""Files that are either whole or not there."""

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Writes a text file under another name first, so that a kill leaves the old file or the new one, never half."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes JSON that people can read, whole or not at all.

    Raises:
        ValueError: if a number in it is not finite: JSON has no word for that.
    """
    write_whole(path, json.dumps(values, indent=2, allow_nan=False) + "\n")
