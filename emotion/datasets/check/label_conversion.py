"""Adds two columns to tables of labels: emotion, in this project's words, and class_index.

The tables themselves are not changed; copies are written beside them, or into --output.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.csv_rows import join_row
from emotion.datasets.paths import N_SHOWN, Table, check_rows, mend_code_page, read_table
from emotion.errors import ConfigError, DatasetError
from emotion.files import make_folder, written_whole
from emotion.labels import class_index, read_emotion

EMOTION, CLASS_INDEX, AS_WRITTEN = "emotion", "class_index", "emotion_as_written"
LABEL_COLUMNS = (EMOTION, "label")
ENDING = "_classes"


@dataclass(frozen=True)
class Conversion:
    """A table with class indices.

    Attributes:
        columns, rows: the table's own, and the two columns added.
        counts: rows by class index.
        unknown: words without a class, with their numbers of rows.
        n_mended: fields whose punctuation was written in the wrong code page.
    """

    table: Table
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    counts: Counter
    unknown: Counter
    n_mended: int


def convert_tables(
    tables: Sequence[Path], class_names: Sequence[str], *, folder: Path | None = None, column: str | None = None
) -> None:
    """Converts tables, writes the copies, and prints what became of the labels; words without a class are counted.

    Args:
        folder: for the copies; None for the folders of the tables.
        column: as for ``convert``.

    Raises:
        DatasetError: if a table cannot be converted or a copy would replace a file; then nothing is written.
    """
    outputs = _choose_outputs(tables, folder)
    conversions = [convert(read_table(path), class_names, column=column) for path in tables]
    for conversion, output in zip(conversions, outputs, strict=True):
        _write(conversion, output)
    print(_summarize(conversions, class_names))
    for conversion, output in zip(conversions, outputs, strict=True):
        table = conversion.table
        mended = f", {conversion.n_mended} fields with punctuation of another code page mended" * bool(
            conversion.n_mended
        )
        print(f"{table.path}: read as {table.encoding}{mended}; wrote {output}")
        if conversion.unknown:
            words = conversion.unknown.most_common()
            shown = ", ".join(f"{word!r} ({count})" for word, count in words[:N_SHOWN])
            more = f" and {len(words) - N_SHOWN} more words" if len(words) > N_SHOWN else ""
            print(f"  no class_index for {conversion.unknown.total()} rows: {shown}{more}")


def convert(table: Table, class_names: Sequence[str], *, column: str | None = None) -> Conversion:
    """Adds the canonical emotion and the class index to each row of a table.

    If the table's own column is called ``emotion``, the canonical word takes its place, and the word as written goes to
    ``emotion_as_written``. Calm joins neutral if there is no class for it.

    Args:
        column: the column with the emotions; None for ``emotion`` or ``label``, in upper or lower case.

    Raises:
        DatasetError: if there is no such column, the table has class indices already, or rows are too long.
    """
    index = table.find(column, column.lower()) if column else table.find(*LABEL_COLUMNS)
    if index is None:
        what = f"no column {column}" if column else "none of the columns Emotion, emotion and label"
        raise DatasetError(f"{table.path}: has {what}. Name one with --column: {', '.join(table.columns)}.")
    replaced = table.columns[index] == EMOTION
    added = (AS_WRITTEN if replaced else EMOTION, CLASS_INDEX)
    for name in added:
        if name in table.columns:
            raise DatasetError(f"{table.path}: has a column {name} already. Rename it, or take the table as it was.")
    long = [f"{row.where}: has {row.n_fields} fields for {len(table.columns)} columns" for row in table.rows
            if row.n_fields > len(table.columns)]  # fmt: skip
    check_rows(table.path, long, len(table.rows))
    rows, counts, unknown, n_mended = [], Counter(), Counter(), 0
    for row in table.rows:
        fields = [mend_code_page(text) for text in row.fields]
        n_mended += sum(mended != text for mended, text in zip(fields, row.fields, strict=True))
        written = fields[index]
        emotion = read_emotion(written)
        number = class_index(emotion, class_names)
        if number is None:
            unknown[written.strip()] += 1
        else:
            counts[number] += 1
        if replaced:
            fields[index] = emotion
        rows.append((*fields, written if replaced else emotion, "" if number is None else str(number)))
    return Conversion(table, (*table.columns, *added), tuple(rows), counts, unknown, n_mended)


def _choose_outputs(tables: Sequence[Path], folder: Path | None) -> list[Path]:
    """Returns where the copies go, and refuses what would be replaced."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"--output {folder}: is a file. Name a folder for the copies.")
    outputs = [folder / path.name if folder else path.with_name(f"{path.stem}{ENDING}.csv") for path in tables]
    for output in outputs:
        if outputs.count(output) > 1:
            raise DatasetError(f"{output}: would be written twice. Convert tables of the same name one by one.")
        if output.exists():
            raise DatasetError(f"{output}: is there already and is not replaced. Move it, or choose another --output.")
    return outputs


def _write(conversion: Conversion, output: Path) -> None:
    table = conversion.table
    # Spreadsheets know UTF-8 by the mark at its beginning, so a table that had one keeps it.
    encoding = "utf-8-sig" if table.encoding == "utf-8-sig" else "utf-8"
    make_folder(output.parent)
    with written_whole(output) as partial, open(partial, "w", encoding=encoding, newline="") as file:
        for row in (conversion.columns, *conversion.rows):
            file.write(join_row(row, table.delimiter, table.newline))


def _summarize(conversions: Sequence[Conversion], class_names: Sequence[str]) -> str:
    """Returns the table of class indices, emotions and rows, with a column for each file."""
    heads = [conversion.table.path.name for conversion in conversions]
    lines = [["index", "emotion", *heads]]
    lines += [[str(i), name, *(str(c.counts[i]) for c in conversions)] for i, name in enumerate(class_names)]
    lines.append(["-", "(no class)", *(str(c.unknown.total()) for c in conversions)])
    lines.append(["", "total", *(str(len(c.rows)) for c in conversions)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place == 1 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
