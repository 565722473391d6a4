"""Stages in threads end when nobody takes their items; a crash in a process costs one item; a stopwatch adds up."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emotion.errors import EmotionError
from emotion.parallel import CRASHED, N_WAITING, Stages, Stopwatch, run_in_processes, run_on_cores

ROOT = Path(__file__).resolve().parents[2]

# ---- Stages in threads ----


def test_the_items_come_in_their_order_and_all_of_them(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)  # may be missing
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


def count_blas_threads(code: str, **environment: str) -> int:
    """The threads that NumPy's products may use after some code, in a program of its own."""
    ask = "from threadpoolctl import threadpool_info; print(max(x['num_threads'] for x in threadpool_info()))"
    limits = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in limits}
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


# ---- Items in processes ----

DEADLY = 3


def double_or_die(number):
    if number == DEADLY:
        os._exit(9)
    if number < 0:
        raise EmotionError("negative")
    return 2 * number


def test_one_core_works_in_this_process_and_two_in_others():
    assert [list(run_on_cores(lambda item: 2 * item, range(3), n)) for n in (0, 1)] == [[(0, 0), (1, 2), (2, 4)]] * 2
    assert {pid for _, pid in run_on_cores(_find_process, range(3), 2)}.isdisjoint({os.getpid()})


def _find_process(_):
    return os.getpid()


def test_the_guilty_item_is_named_and_the_others_are_done():
    results = dict(run_in_processes(double_or_die, range(8), 2))
    assert results == {number: CRASHED if number == DEADLY else 2 * number for number in range(8)}


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(EmotionError, match="negative"):
        list(run_in_processes(double_or_die, [1, -1], 1))


PROGRAM = """
import signal
import time
from emotion.parallel import run_in_processes

if __name__ == "__main__":
    # What runs the tests may have told its children not to heed it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in run_in_processes(time.sleep, [0.2] * 500, 2):
            print("begun", flush=True)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # on a busy machine the second may come late
        print("stopped", flush=True)
"""


@contextlib.contextmanager
def started(source, folder):
    """Runs a program in a folder; it and its processes form a group, which is killed if it has not ended."""
    (folder / "program.py").write_text(source)
    program = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        yield program
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)


def test_two_interruptions_in_a_row_end_it_as_one_does(tmp_path):
    with started(PROGRAM, tmp_path) as program:
        assert program.stdout.readline() == "begun\n"
        # To all processes, as a terminal sends it.
        for _ in range(2):
            os.killpg(program.pid, signal.SIGINT)
            time.sleep(0.05)
        said, _ = program.communicate(timeout=30)
    assert program.returncode == 0
    assert said.splitlines()[-1] == "stopped"


WRITING = """
import signal
import time
from pathlib import Path
from emotion.parallel import run_in_processes

def hold(path):
    path.touch()
    try:
        time.sleep(60)
    finally:
        path.unlink()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        list(run_in_processes(hold, [Path("a"), Path("b")], 2))
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


def test_what_is_half_written_is_taken_back_when_the_program_is_stopped(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    with started(WRITING, tmp_path) as program:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not all(file.exists() for file in files):
            time.sleep(0.05)
        assert all(file.exists() for file in files)
        os.killpg(program.pid, signal.SIGINT)
        said, _ = program.communicate(timeout=40)
    assert said == "stopped\n"
    assert not any(file.exists() for file in files)


def test_processes_end_with_a_program_that_is_killed(tmp_path):
    with started(PROGRAM, tmp_path) as program:
        assert program.stdout.readline() == "begun\n"
        program.kill()
        # They inherited its output, which ends with the last of them; 500 sleeps would last for 50 s.
        began = time.monotonic()
        program.communicate(timeout=30)
    assert time.monotonic() - began < 20


# ---- Stopwatch ----


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
