"""What the programs show on the console does not depend on what files promise."""

import io
import sys

import pytest

from emotion.console import ProgressBar


@pytest.mark.parametrize(
    "calls",
    [[(1, 10), (10, 10)], [(3, 2), (9, 2)], [(1, None), (2, None)], [(1, None), (2, 5), (7, 5)], [(0, 0), (1, 0)]],
)
def test_a_bar_takes_more_than_was_promised_and_totals_that_are_not_known(monkeypatch, calls):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = ProgressBar("Watching", "s")
    for done, total in calls:
        bar(done, total)
    assert ("Watching" in stream.getvalue()) == (calls[0][1] != 0)
    ProgressBar("Watching", "s", shown=False)(1, 2)


def test_a_bar_can_be_used_for_another_pass(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = ProgressBar("Decoding", "clip")
    bar(2, 2)
    stream.truncate(0)
    bar(1, 2)
    assert "Decoding" in stream.getvalue()
