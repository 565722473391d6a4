"""An item that brings its process down costs itself, and nothing else."""

import os

import pytest

from emotion.errors import EmotionError
from emotion.processes import CRASHED, run_in_processes

DEADLY = 3


def double_or_die(number):
    if number == DEADLY:
        os._exit(9)
    if number < 0:
        raise EmotionError("negative")
    return 2 * number


def test_the_guilty_item_is_named_and_the_others_are_done():
    results = dict(run_in_processes(double_or_die, range(8), 2))
    assert results == {number: CRASHED if number == DEADLY else 2 * number for number in range(8)}


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(EmotionError, match="negative"):
        list(run_in_processes(double_or_die, [1, -1], 1))
