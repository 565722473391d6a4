"""No field of a written table is a formula to a spreadsheet, and all are read back as they were."""

import csv
import io

import pytest

from emotion.csv_rows import restore, write_rows

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x", "-", "a\r=1"]


@pytest.mark.parametrize("field", FORMULAS)
def test_a_formula_is_written_as_text_and_read_back(field):
    file = io.StringIO()
    write_rows(file, [[field, "x"]])
    ((written, other),) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert written[0] in "'a" and other == "x" and restore(written) == field


@pytest.mark.parametrize("field", [-0.5, "-0.5", "+1e-3", "it's", "'", "", "a=b", None, 7])
def test_numbers_and_plain_text_stay_as_they_are(field):
    file = io.StringIO()
    write_rows(file, [["x", field]])
    assert file.getvalue() == f"x,{'' if field is None else field}\n"
    assert restore(str(field)) == str(field)
