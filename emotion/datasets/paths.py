"""What the data set adapters share: walking folders in order, and reading tables of labels."""

import codecs
import contextlib
import csv
import io
import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import DatasetError
from emotion.media import kinds

SPLIT_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
SEX_WORDS = {"f": "female", "female": "female", "m": "male", "male": "male"}

N_SHOWN = 5
N_ROWS_SHOWN = 20
RARE_DELIMITERS = "|:"  # which stand in the names of columns, too
DELIMITERS = f",;\t{RARE_DELIMITERS}"
N_HEAD = 200  # bytes that tell UTF-16
SAVE_IT = "Save the table as CSV in UTF-8."
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # of today (a zip archive), and of before 2007
# Of tables that are no Unicode, by how common: of Western Europe, Cyrillic, Japanese, Chinese, Korean, Central Europe,
# Greek, Turkish, Hebrew, Arabic; and those of older systems.
OLD_ENCODINGS = (
    "cp1252", "cp1251", "cp932", "gb18030", "cp949", "cp950", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256",
    "koi8_r", "cp866", "cp850", "mac_roman",
)  # fmt: skip
N_NAMES = 100  # of files, by which an encoding is told
_CELL_ENDS = re.compile(r'[,;\t|"\r\n]')

# Windows' punctuation (code page 1252) read as Latin-1 becomes control characters, which no text needs.
_WRONG_CODE_PAGE = {
    code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}

_SEPARATOR = re.compile(r'"?sep=([^\w\s"]|\t)"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)  # Excel's first line

logger = logging.getLogger(__name__)


# ---- Files ----


def walk_dataset(root: str | os.PathLike, *, warn: bool = True) -> Iterator[Path]:
    """Yields the files below a folder as ``media.kinds.walk_files``.

    With ``warn``, folders that cannot be read are logged as a warning.
    """
    return kinds.walk_files(root, onerror=_warn_unreadable if warn else None)


class FileFinder:
    """Finds files by names as tables write them: with backslashes, and accents composed or not (Unicode NFC, NFD)."""

    def __init__(self):
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, folder: Path, written: str) -> Path:
        """Returns the path of a file below a folder; as written, but for backslashes, if there is none."""
        path = folder / written
        if os.path.exists(path):
            return path
        way = folder / (written.replace("\\", "/") if os.sep == "/" else written)
        return self._match(path) or self._match(way) or way

    def _match(self, path: Path) -> Path | None:
        """Returns the existing path whose parts have these names, however their accents are encoded."""
        found = Path(path.anchor)
        for part in path.parts[1:] if path.anchor else path.parts:
            if os.path.lexists(found / part):
                found /= part
                continue
            there = self._names(found).get(unicodedata.normalize("NFC", part))
            if there is None:
                return None
            found /= there
        return found

    def _names(self, folder: Path) -> dict[str, str]:
        """Returns the names in a folder by their composed form."""
        if folder not in self._listed:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            self._listed[folder] = {unicodedata.normalize("NFC", name): name for name in names}
        return self._listed[folder]


def list_folders(root: str | os.PathLike) -> list[Path]:
    """Returns the folders in a folder, sorted, without hidden ones; none if it cannot be read."""
    folders = next(os.walk(root), (root, [], []))[1]
    return [Path(root, name) for name in sorted(folders) if not name.startswith(".")]


def check_dataset_folder(root: str | os.PathLike, how_to_get_it: str) -> Path:
    """Returns a data set's folder as a path.

    Raises:
        DatasetError: if there is no such folder; it ends with ``how_to_get_it``.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DatasetError(f"The data set folder {root} {what}. {how_to_get_it}")
    return root


def warn_left_out(root: str | os.PathLike, names: Sequence[str], what: str) -> None:
    """Logs one warning that counts what was left out and names the first ones, if there are any.

    ``what`` says what these are, such as ``picture or sound files that are not named like RAVDESS``.
    """
    if names:
        logger.warning("%s: left out %d %s: %s", root, len(names), what, show_first(names))


def show_first(names: Sequence[str]) -> str:
    """Returns the first names as one line, with an ellipsis if there are more."""
    return ", ".join(names[:N_SHOWN]) + (", ..." if len(names) > N_SHOWN else "")


def _warn_unreadable(error: OSError) -> None:
    logger.warning("Folder left out, it cannot be read: %s", error)


# ---- Tables ----


@dataclass(frozen=True)
class Row:
    """A table's row.

    Attributes:
        where: its line in the file, such as ``line 7``, or ``lines 7-9`` if a quoted field spans several.
        fields: as written, one for each column.
        n_fields: how many were written.
    """

    where: str
    fields: tuple[str, ...]
    n_fields: int


@dataclass(frozen=True)
class Table:
    """A CSV file with a header.

    Attributes:
        columns: the header as written, without blanks at the ends of the names.
        rows: each padded to the length of the header; blank ones are left out.
        encoding: as Python names it: ``utf-8``, ``utf-8-sig``, ``utf-16``, ``utf-32`` or one of ``OLD_ENCODINGS``.
        newline: as the header's line ends.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    encoding: str
    delimiter: str
    newline: str

    def find(self, *names: str) -> int | None:
        """Returns the index of the first of these columns that is there, or None; the exact spelling comes first.

        Raises:
            DatasetError: if two columns have that name.
        """
        for name in names:
            for columns in (self.columns, [column.lower() for column in self.columns]):
                if columns.count(name) > 1:
                    raise DatasetError(f"{self.path}: the column {name} stands there twice. Rename one of them.")
                if name in columns:
                    return columns.index(name)
        return None


def read_table(path: str | os.PathLike, folder: str | os.PathLike | None = None) -> Table:
    """Reads a CSV file: UTF-8, UTF-16, or else the code page in which the files that it names exist.

    Excel names the delimiter in a first line such as ``sep=;``. Otherwise, of comma, semicolon and tab, it is the one
    that gives the header the most columns; if none gives several, bar or colon.

    Args:
        path: the table.
        folder: where the files are that it names; by default its own.

    Raises:
        DatasetError: if the file is missing, is no such table, or has no header.
    """
    path = Path(path)
    text, encoding = _read_text(path, path.parent if folder is None else Path(folder))
    delimiter, _ = _read_header(path, text)
    rows = list(_split_rows(path, text, delimiter))
    if not rows:
        raise DatasetError(f"{path}: is empty. Its first line must name the columns.")
    columns = tuple(name.strip() for name in rows[0].fields)
    padded = (Row(row.where, (*row.fields, *("",) * len(columns))[: len(columns)], row.n_fields) for row in rows[1:])
    newline = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
    return Table(path, columns, tuple(padded), encoding, delimiter, newline)


def read_columns(path: str | os.PathLike) -> tuple[str, ...]:
    """Returns a CSV file's column names in lower case; none if it is not one."""
    try:
        return tuple(name.strip().lower() for name in _read_header(Path(path), _read_text(Path(path))[0])[1])
    except DatasetError:
        return ()


def is_table(path: str | os.PathLike) -> bool:
    """Whether this is a file named like a table of labels."""
    return Path(path).suffix.lower() in (".csv", ".tsv", ".txt") and os.path.isfile(path)


def mend_code_page(text: str) -> str:
    """Puts quotation marks and dashes back that some program turned into control characters."""
    return text.translate(_WRONG_CODE_PAGE)


def check_rows(path: str | os.PathLike, faults: Sequence[str], n_rows: int) -> None:
    """Raises one DatasetError that counts a table's wrong rows and shows the first few, if there are any.

    ``faults`` say what is wrong, one for each row, beginning with its line.
    """
    if faults:
        more = f"; and {len(faults) - N_ROWS_SHOWN} more" if len(faults) > N_ROWS_SHOWN else ""
        shown = "; ".join(faults[:N_ROWS_SHOWN])
        raise DatasetError(f"{path}: {len(faults)} of {n_rows} rows cannot be used. Mend them: {shown}{more}.")


def read_number(written: str, delimiter: str) -> float:
    """Returns a number that may have a decimal comma, as half the world writes it.

    Raises:
        ValueError: if it is none; or if the comma may as well separate thousands, in a table that has commas between
            its columns.
    """
    if re.fullmatch(r"[+-]?\d*,\d+", written) and not (delimiter == "," and re.fullmatch(r"[+-]?\d+,\d{3}", written)):
        written = written.replace(",", ".")
    return float(written)


def _read_text(path: Path, folder: Path | None = None) -> tuple[str, str]:
    """Returns a table's text and its encoding.

    Where it is no Unicode, and ``folder`` is given, it is read so that most of the files that it names exist there.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if content.startswith(WORKBOOKS):
        raise DatasetError(
            f"{path}: is a workbook, not a table as text. Open it in Excel or LibreOffice, and save it there as CSV "
            "UTF-8."
        )
    texts = _decode(content)
    if not texts:
        raise DatasetError(f"{path}: is not text in UTF-8 or Windows-1252. {SAVE_IT}")
    encoding, text = next(iter(texts.items()))
    if "\0" in text.partition("\n")[0]:
        raise DatasetError(f"{path}: is not text, for it holds NUL characters. {SAVE_IT}")
    if len(texts) > 1 and folder is not None:
        encoding = _choose_encoding(path, texts, folder)
    return texts[encoding], encoding


def _decode(content: bytes) -> dict[str, str]:
    """Returns the text by each encoding that it may have, the likeliest first."""
    encodings = ("utf-8", *OLD_ENCODINGS)
    if content.startswith(b"\xef\xbb\xbf"):
        encodings = ("utf-8-sig", *OLD_ENCODINGS)
    elif content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # the first begins as UTF-16's does
        encodings = ("utf-32",)
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ("utf-16",)
    elif (zeros := _zeros(content[:N_HEAD])) is not None:  # UTF-16 without its mark
        encodings = ("utf-16-be",) if zeros == 0 else ("utf-16-le",)
    texts = {}
    for encoding in encodings:
        with contextlib.suppress(UnicodeDecodeError):
            texts[encoding] = content.decode(encoding)
            if encoding.startswith("utf"):  # which nothing else happens to be
                break
    return texts


def _choose_encoding(path: Path, texts: dict[str, str], folder: Path) -> str:
    finder = FileFinder()

    def count_files(text: str) -> tuple[int, int]:
        """Returns how many media files with other than ASCII letters are named, and how many of these exist."""
        cells = (cell.strip() for cell in _CELL_ENDS.split(text))
        names = [cell for cell in cells if not cell.isascii() and kinds.kind_by_name(cell) is not None][:N_NAMES]
        return len(names), sum(os.path.exists(finder.find(folder, name)) for name in names)

    counts = {encoding: count_files(text) for encoding, text in texts.items()}
    best = max(counts, key=lambda encoding: counts[encoding][1])  # the first of several
    n_named, n_there = counts[best]
    if n_named and not n_there:
        if best != OLD_ENCODINGS[0]:
            raise DatasetError(f"{path}: is not text in UTF-8, and no other encoding gives names of files. {SAVE_IT}")
        logger.warning("%s: is not UTF-8, and was read as Windows-1252. If names in it look wrong: %s", path, SAVE_IT)
    return best


def _zeros(head: bytes) -> int | None:
    """Returns whether the even (0) or the odd (1) bytes are mostly zeros, as of plain letters in UTF-16; else None."""
    shares = [head[start::2].count(0) / max(1, len(head[start::2])) for start in (0, 1)]
    return shares.index(max(shares)) if max(shares) > 0.6 and min(shares) < 0.2 else None


def _read_header(path: Path, text: str) -> tuple[str, tuple[str, ...]]:
    """Returns the delimiter and the names of the columns.

    Raises:
        DatasetError: if the header cannot be read with any delimiter.
    """
    headers, errors = [], []
    named = _SEPARATOR.match(text)
    for delimiter in named[1] if named else DELIMITERS:
        try:
            row = next(_split_rows(path, text, delimiter), None)
        except DatasetError as error:  # names in quotes end only where the right delimiter follows
            errors.append(error)
        else:
            headers.append((delimiter, row.fields if row else ()))
    if not headers:
        raise errors[0]
    usual = [header for header in headers if header[0] not in RARE_DELIMITERS]
    if named or max((len(columns) for _, columns in usual), default=0) > 1:
        headers = usual or headers
    return max(headers, key=lambda header: len(header[1]))


def _split_rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    named = _SEPARATOR.match(text)
    reader = csv.reader(
        io.StringIO(text[named.end() :] if named else text, newline=""), delimiter=delimiter, strict=True
    )
    n_before = 1 if named else 0
    first = 1 + n_before
    try:
        for fields in reader:
            last = reader.line_num + n_before
            if any(field.strip() for field in fields):
                where = f"line {last}" if first == last else f"lines {first}-{last}"
                yield Row(where, tuple(fields), len(fields))
            first = last + 1
    except csv.Error as error:
        raise DatasetError(
            f"{path}: line {first}: is not readable as CSV ({error}). Save the table as CSV in UTF-8."
        ) from error
