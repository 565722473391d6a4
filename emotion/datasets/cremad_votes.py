"""What people heard and saw in CREMA-D's clips: the tables in its folder ``processedResults``.

``summaryTable.csv`` has the emotion that most raters named, with several letters (``A:D``) where they were as many;
``tabulatedVotes.csv`` has all votes. Raters heard the voice, saw the face, or both.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.paths import Table, read_table
from emotion.datasets.votes import write_votes
from emotion.errors import DatasetError
from emotion.labels import CREMAD_EMOTIONS, UNDECIDED

SUMMARY = "summarytable.csv"
VOTES = "tabulatedvotes.csv"
VOTE_TABLES = (SUMMARY, VOTES)
RATERS = ("voice", "face", "both")

_SUMMARY_COLUMNS = {"voice": "VoiceVote", "face": "FaceVote", "both": "MultiModalVote"}
_LETTERS = {code[0]: emotion for code, emotion in CREMAD_EMOTIONS.items()}
_ROWS_OF_ONE_KIND = 100_000  # a row is numbered by what raters got (1 voice, 2 face, 3 both) times this, plus the clip

logger = logging.getLogger(__name__)


@dataclass
class Ratings:
    """What raters answered, by what they got and the clip's name.

    Attributes:
        labels: the emotion that most named, or ``undecided``.
        votes: as ``emotion.datasets.votes`` writes them.
    """

    labels: dict[tuple[str, str], str] = field(default_factory=dict)
    votes: dict[tuple[str, str], str] = field(default_factory=dict)


def read_ratings(tables: Mapping[str, Path]) -> Ratings:
    """Reads the tables that are there, by their names in lower case; what cannot be read is left out with a warning."""
    ratings = Ratings()
    for name, read in ((VOTES, _read_votes), (SUMMARY, _read_summary)):
        if path := tables.get(name):
            try:
                read(read_table(path), ratings)
            except (DatasetError, ValueError) as error:
                logger.warning("Going on without the raters' answers in %s: %s", path, error)
    return ratings


def _read_votes(table: Table, ratings: Ratings) -> None:
    name, *letters = (_column(table, column) for column in ("fileName", *_LETTERS))
    for row in table.rows:
        kind = int(float(row.fields[0])) // _ROWS_OF_ONE_KIND
        if not 1 <= kind <= len(RATERS):
            raise DatasetError(f"{row.where}: its first field must be a number such as 100001, got {row.fields[0]}.")
        counts = [int(float(row.fields[column] or 0)) for column in letters]
        key = (RATERS[kind - 1], row.fields[name].strip().upper())
        ratings.votes[key] = write_votes(dict(zip(_LETTERS.values(), counts, strict=True)))
        most = [emotion for emotion, count in zip(_LETTERS.values(), counts, strict=True) if count == max(counts)]
        ratings.labels[key] = most[0] if len(most) == 1 else UNDECIDED


def _read_summary(table: Table, ratings: Ratings) -> None:
    name = _column(table, "FileName")
    columns = {raters: _column(table, column) for raters, column in _SUMMARY_COLUMNS.items()}
    for row in table.rows:
        for raters, column in columns.items():
            key = (raters, row.fields[name].strip().upper())
            ratings.labels[key] = _LETTERS.get(row.fields[column].strip().upper(), UNDECIDED)


def _column(table: Table, name: str) -> int:
    column = table.find(name, name.lower())
    if column is None:
        raise DatasetError(f"it has no column {name}.")
    return column
