"""A stopwatch counts every second once, for the innermost part."""

import time

import pytest

from emotion.parallel import Stopwatch


def test_seconds_add_up_over_several_times():
    stopwatch = Stopwatch()
    for _ in range(2):
        with stopwatch("sleep"):
            time.sleep(0.02)
    assert stopwatch.seconds["sleep"] == pytest.approx(0.04, abs=0.1)
    assert stopwatch.seconds["sleep"] >= 0.04


def test_the_time_of_an_inner_part_counts_for_it_alone():
    stopwatch = Stopwatch()
    start = time.perf_counter()
    with stopwatch("outer"), stopwatch("inner"):
        time.sleep(0.05)
    total = time.perf_counter() - start
    assert stopwatch.seconds["inner"] >= 0.05
    assert stopwatch.seconds["outer"] < 0.05
    assert sum(stopwatch.seconds.values()) <= total


def test_waiting_for_items_is_counted_and_working_on_them_is_not():
    def items():
        for i in range(3):
            time.sleep(0.02)
            yield i

    stopwatch, seen = Stopwatch(), []
    for item in stopwatch.watch("wait", items()):
        time.sleep(0.2)
        seen.append(item)
    assert seen == [0, 1, 2]
    assert 0.06 <= stopwatch.seconds["wait"] < 0.4


def test_a_part_that_fails_is_counted_too():
    stopwatch = Stopwatch()
    with pytest.raises(ValueError), stopwatch("part"):
        raise ValueError
    assert "part" in stopwatch.seconds
