"""Stages work at the same time, hand on errors, and end when nobody takes their items any more."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emotion.parallel import N_WAITING, Stages, Stopwatch

ROOT = Path(__file__).resolve().parents[2]


def test_the_items_come_in_their_order_and_all_of_them():
    with Stages() as stages:
        assert list(stages.ahead(range(100))) == list(range(100))
        assert list(stages.ahead([])) == []


def test_two_stages_take_as_long_as_the_slower_one():
    def slow(items) -> Iterator[int]:
        for item in items:
            time.sleep(0.05)
            yield item

    start = time.perf_counter()
    with Stages() as stages:
        assert list(slow(stages.ahead(slow(range(20))))) == list(range(20))
    assert time.perf_counter() - start < 1.8  # one after the other: 2 s


def test_no_more_is_fetched_ahead_than_may_wait():
    fetched = []

    def source() -> Iterator[int]:
        for i in range(100):
            fetched.append(i)
            yield i

    with Stages() as stages:
        next(stages.ahead(source()))
        time.sleep(0.2)
        # What was taken, what waits, and what is held until there is room.
        assert len(fetched) <= N_WAITING + 2


def test_an_error_is_raised_where_its_item_would_have_come():
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("gone")

    with Stages() as stages:
        items = stages.ahead(number + 1 for number in stages.ahead(source()))
        assert next(items) == 2
        with pytest.raises(KeyError, match="gone"):
            next(items)


def test_what_cannot_be_iterated_is_an_error_and_no_wait_for_ever():
    with Stages() as stages, pytest.raises(TypeError):
        next(stages.ahead(None))


def test_leaving_ends_all_stages_and_closes_their_sources_in_their_own_threads():
    n_before, closed_in = threading.active_count(), []

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed_in.append(threading.current_thread())

    with pytest.raises(ValueError), Stages() as stages:
        numbers = stages.ahead(Stopwatch().watch("numbers", source()))
        more = stages.ahead(number + 1 for number in numbers)
        assert next(more) == 1
        raise ValueError
    assert len(closed_in) == 1 and closed_in[0] is not threading.main_thread()
    assert threading.active_count() == n_before


def test_a_stage_that_never_yields_ends_at_its_next_item():
    def endless() -> Iterator[int]:
        while True:
            time.sleep(0.01)
            yield 0

    def never(items) -> Iterator[int]:
        for _ in items:
            pass
        yield 1

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), Stages() as stages:
        stages.ahead(never(stages.ahead(endless())))
        time.sleep(0.1)
        raise KeyboardInterrupt
    assert time.perf_counter() - start < 5


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


def count_blas_threads(code: str, **environment: str) -> int:
    """The threads that NumPy's products may use after some code, in a program of its own."""
    ask = "from threadpoolctl import threadpool_info; print(max(x['num_threads'] for x in threadpool_info()))"
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", f"import numpy\n{code}\n{ask}"], cwd=ROOT, env={**kept, **environment},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is but one core")
def test_products_of_matrices_use_one_thread_unless_more_are_asked_for():
    stages = "from emotion.parallel import Stages\nwith Stages(): pass"
    program = "from emotion.console import run_program\nrun_program(lambda: 0)"
    assert count_blas_threads("") > 1
    assert count_blas_threads(stages) == count_blas_threads(program) == 1
    assert count_blas_threads(stages, OPENBLAS_NUM_THREADS="2") == 2
    assert count_blas_threads(program, OPENBLAS_NUM_THREADS="2") == 2


def test_without_threadpoolctl_all_goes_on(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with Stages() as stages:
        assert list(stages.ahead(range(3))) == [0, 1, 2]
