"""Stages work at the same time, hand on errors, and end when nobody takes their items any more."""

import threading
import time
from collections.abc import Iterator

import pytest

from emotion.pipelines import N_WAITING, work_ahead
from emotion.timing import Stopwatch


def test_the_items_come_in_their_order_and_all_of_them():
    assert list(work_ahead(range(100))) == list(range(100))
    assert list(work_ahead([])) == []


def test_two_stages_take_as_long_as_the_slower_one():
    def slow(items) -> Iterator[int]:
        for item in items:
            time.sleep(0.02)
            yield item

    start = time.perf_counter()
    assert list(slow(work_ahead(slow(range(20))))) == list(range(20))
    assert time.perf_counter() - start < 0.65  # one after the other: 0.8 s


def test_no_more_is_fetched_ahead_than_may_wait():
    fetched = []

    def source() -> Iterator[int]:
        for i in range(100):
            fetched.append(i)
            yield i

    items = work_ahead(source())
    next(items)
    time.sleep(0.2)
    # What was taken, what waits, and what is held until there is room.
    assert len(fetched) <= N_WAITING + 2
    items.close()


def test_an_error_is_raised_where_its_item_would_have_come():
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("gone")

    items = work_ahead(source())
    assert next(items) == 1
    with pytest.raises(KeyError, match="gone"):
        next(items)


def test_who_stops_taking_closes_the_source_in_its_own_thread():
    closed_in = []

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed_in.append(threading.current_thread())

    items = work_ahead(source())
    next(items)
    items.close()
    assert len(closed_in) == 1 and closed_in[0] is not threading.main_thread()
    assert not closed_in[0].is_alive()


def test_closing_the_last_of_several_stages_ends_all_of_them():
    n_before = threading.active_count()
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    items = work_ahead(item + 1 for item in work_ahead(source()))
    assert next(items) == 1
    items.close()
    assert closed == [True]
    assert threading.active_count() == n_before


def test_a_stopwatch_adds_up_what_several_threads_spend():
    stopwatch = Stopwatch()

    def work(part: str) -> None:
        with stopwatch(part), stopwatch("inner"):
            time.sleep(0.05)

    threads = [threading.Thread(target=work, args=("outer",)) for _ in range(3)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stopwatch.seconds["inner"] >= 0.15 > time.perf_counter() - start
    assert stopwatch.seconds["outer"] < 0.05
