"""Errors are known by their class and by the names and values in them, not by their sentences."""

import contextlib

import pytest


@contextlib.contextmanager
def refused(error: type[Exception], *facts):
    """The block must end in this error, whose message holds each of these names and values as they are written."""
    with pytest.raises(error) as caught:
        yield caught
    for fact in facts:
        assert str(fact) in str(caught.value)
