"""Rows of the CSV files that this program writes: no field is a formula to a spreadsheet.

Spreadsheets compute a field that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return, so the name of a
stranger's file could run a command. Such a field gets an apostrophe before it, unless it is a number, such as ``-0.5``.
``restore`` takes it off again. Source of the rule: OWASP, CSV Injection.
"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

# Apostrophes before it count, too, so that what had one of its own keeps it.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def defuse(field: Any) -> Any:
    """Returns a field as it is written: with an apostrophe before what a spreadsheet would compute."""
    if not isinstance(field, str) or not _FORMULA.match(field):
        return field
    try:
        float(field)
    except ValueError:
        return f"'{field}"
    return field


def restore(field: str) -> str:
    """Returns what ``defuse`` was given."""
    return field[1:] if field.startswith("'") and _FORMULA.match(field) else field


def write_rows(file, rows: Iterable[Iterable[Any]]) -> None:
    """Writes rows of fields, defused, to a text file; lines end with ``\\n``."""
    file.writelines(join_row(map(defuse, row)) for row in rows)


def join_row(fields: Iterable[str], delimiter: str = ",", newline: str = "\n") -> str:
    """Returns a row of a CSV file with its line end; what stands in quotation marks is read back as it was."""
    line = io.StringIO(newline="")
    # The writer quotes a field only for the characters of its own line end.
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n") + newline
