"""The ranks of a native call, and what happens when one of them fails or somebody presses Ctrl-C."""

import signal
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from fastff.engine import panels, threads
from fastff.engine import run as engine_run
from fastff.engine.program import Program
from fastff.errors import ArgumentError, FastffError, StalledError
from fastff.kernels import run as driver
from fastff.kernels.cpu import NR
from fastff.system.threads import Event, Thread


@pytest.mark.parametrize("value", [None, 1, 7])
def test_good_numbers_of_threads(value):
    assert threads.check_threads(value) == value


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_bad_numbers_of_threads_are_one_line(value):
    with pytest.raises(ArgumentError) as caught:
        threads.check_threads(value)
    message = str(caught.value)
    assert message.startswith(f"threads: {value!r}, want")
    assert "\n" not in message


# --- running threads ---


class Waiting:
    """Threads that wait, as at a barrier, until somebody stops them; `stops` is what they were told."""

    def __init__(self):
        self.stops, self.finished, self.released = [], [], threading.Event()

    def stop(self, abandon):
        self.stops.append(abandon)
        self.released.set()

    def wait(self, number):
        assert self.released.wait(60)
        self.finished.append(number)


def test_every_thread_runs_once_and_at_the_same_time():
    together, seen = threading.Barrier(5), []

    def call(number):
        together.wait(60)  # breaks unless all five are there
        seen.append(number)

    threads.run_threads(call, 5, lambda abandon: None)
    assert sorted(seen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("culprit", [0, 1, 2])
def test_an_error_in_a_thread_is_raised_and_releases_the_others(culprit):
    waiting = Waiting()

    def call(number):
        if number == culprit:
            raise MemoryError("no room")
        waiting.wait(number)

    with pytest.raises(MemoryError, match="no room"):
        threads.run_threads(call, 3, waiting.stop)
    assert waiting.stops == [True]
    assert sorted(waiting.finished) == sorted({0, 1, 2} - {culprit})


@pytest.mark.parametrize("error", [FastffError("threads: the system starts no more"), KeyboardInterrupt()])
def test_threads_that_started_are_released_when_another_could_not(monkeypatch, error):
    waiting, start = Waiting(), Thread.start
    began = []

    def failing(thread):
        if len(began) == 2:
            raise error
        began.append(thread)
        start(thread)

    monkeypatch.setattr(Thread, "start", failing)
    try:
        with pytest.raises(type(error)):
            threads.run_threads(waiting.wait, 4, waiting.stop)
        for thread in began:
            thread.join(10)  # it has ended its work, but may not have left yet
        left = [thread for thread in began if thread.is_alive()]
    finally:
        waiting.released.set()  # whatever happened: no thread stays behind
    assert left == []


def test_ctrl_c_stops_at_a_step_and_is_raised_when_all_threads_have_ended():
    waiting = Waiting()

    def call(number):
        if number == 2:
            signal.raise_signal(signal.SIGINT)
        waiting.wait(number)

    with pytest.raises(KeyboardInterrupt):
        threads.run_threads(call, 3, waiting.stop)
    assert waiting.stops == [False]  # not abandoned: each finishes its step
    assert sorted(waiting.finished) == [0, 1, 2]


class PressAt:
    """A trace function that presses Ctrl-C when the traced thread comes to its line number `when` in run_threads."""

    def __init__(self, when):
        self.when, self.lines = when, 0

    def __call__(self, frame, event, argument):
        if frame.f_code is not threads.run_threads.__code__:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.when:
                signal.raise_signal(signal.SIGINT)
        return self


def test_ctrl_c_at_any_line_leaves_no_thread_behind():
    before, when, pressed = sys.gettrace(), 0, True
    while pressed:
        when += 1
        stopped, entered, finished = threading.Event(), [], []

        def call(number, stopped=stopped, entered=entered, finished=finished):
            entered.append(number)
            stopped.wait(0.05)  # work that ends by itself, though late for who does not wait for it
            finished.append(number)

        press, interrupted = PressAt(when), False
        sys.settrace(press)
        try:
            threads.run_threads(call, 2, lambda abandon, stopped=stopped: stopped.set())
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(before)
        assert entered == [] or sorted(finished) == sorted(entered), f"threads still run: pressed at line {when}"
        pressed = press.lines >= when
        assert interrupted == pressed
    assert when > 5


# --- a program of kernels ---


@contextmanager
def ctrl_c_once(condition):
    """Press Ctrl-C, from another thread, as soon as the condition holds, or never if it does not come to that."""
    over = threading.Event()

    def watch():
        while not over.wait(0.0005):
            if condition():
                signal.raise_signal(signal.SIGINT)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def slow_copy(rows, total):
    """A program of one row a step: some work, and the first column copied to show that it was done."""
    program, width = Program(1), rows.shape[1]
    x = program.gather(rows)
    weights = panels.aligned(panels.panel_size((width, width)))
    panels.pack(np.eye(width, dtype=np.float32), weights)
    for _ in range(4):
        x = program.linear(x, weights, panels.aligned(panels.round_up(width, NR)), width)
    out = program.scatter(program.linear(x, weights, panels.aligned(NR), 1), total)
    out[:] = -1
    program.flops = 10**9  # enough to be given threads of its own
    program.compile()
    return program, out


def test_a_failing_thread_releases_those_that_wait_at_a_barrier(monkeypatch):
    rows = np.random.default_rng(0).uniform(0, 1, (8, 40)).astype(np.float32)
    program, out = slow_copy(rows, 8)
    run = driver.run

    def failing(number, *rest):
        if number == 1:
            raise MemoryError("no room")
        run(number, *rest)

    monkeypatch.setattr(driver, "run", failing)
    with pytest.raises(MemoryError, match="no room"):
        program.run(np.arange(8, dtype=np.int64), threads=3)
    assert program.outcome.done == 0
    monkeypatch.setattr(driver, "run", run)
    assert program.run(np.arange(8, dtype=np.int64), threads=3).done == 8  # and the program works on
    np.testing.assert_array_equal(out, rows[:, :1])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ctrl_c_during_a_run_leaves_whole_steps_and_the_rest_can_follow(size):
    rows = np.random.default_rng(0).uniform(0, 1, (40, 256)).astype(np.float32)
    total = 1 << 16  # steps of some microseconds: far more than are done by the time the signal is here
    program, out = slow_copy(rows, total)
    index = np.arange(total, dtype=np.int64) % len(rows)
    with (
        ctrl_c_once(lambda: program.outcome is not None and program.outcome.done > 0),
        pytest.raises(KeyboardInterrupt),
    ):
        program.run(index, threads=size)
    done = program.outcome.done
    assert 0 < done < total
    np.testing.assert_array_equal(out[:done], rows[index[:done], :1])
    assert (out[done + 1 :] == -1).all()  # step `done` may have begun, none after it has
    rest = min(done + 10, total)
    program.run(index[:rest], first_step=done, threads=size)
    np.testing.assert_array_equal(out[:rest], rows[index[:rest], :1])


@pytest.mark.parametrize("size", [1, 3])
def test_ctrl_c_during_a_short_run_is_raised_after_it(monkeypatch, size):
    rows = np.random.default_rng(0).uniform(0, 1, (40, 16)).astype(np.float32)
    program, out = slow_copy(rows, 40)
    program.flops = 1
    run = driver.run

    def pressing(number, *rest):
        run(number, *rest)
        if number == 0:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(driver, "run", pressing)
    with pytest.raises(KeyboardInterrupt):
        program.run(np.arange(40, dtype=np.int64), threads=size)
    assert program.outcome.done == 40
    np.testing.assert_array_equal(out, rows[:, :1])


# --- threads that will not come


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(threads, "POLL", 0.005)
    monkeypatch.setattr(threads, "LOOKS", 3)


@pytest.mark.skipif(sys.platform != "linux", reason="on Windows: nobody says what a thread does")
def test_a_thread_that_sleeps_elsewhere_is_named_and_the_others_are_released(monkeypatch, impatient):
    rows = np.random.default_rng(0).uniform(0, 1, (8, 40)).astype(np.float32)
    program, out = slow_copy(rows, 8)
    run, left, locked, ended = driver.run, [], threading.Event(), threading.Event()

    def stuck(number, *rest):
        if number == 1:
            assert locked.wait(60)
        run(number, *rest)
        left.append(number)
        if number == 1:
            ended.set()

    monkeypatch.setattr(driver, "run", stuck)
    try:
        with pytest.raises(StalledError, match=r"^thread 1 of 3 has not come to where the other threads have waited"):
            program.run(np.arange(8, dtype=np.int64), threads=3)
        assert sorted(left) == [0, 2]
    finally:
        locked.set()
    assert ended.wait(60)  # it finds that the run was abandoned
    monkeypatch.setattr(driver, "run", run)
    assert program.run(np.arange(8, dtype=np.int64), threads=3).done == 8
    np.testing.assert_array_equal(out, rows[:, :1])


@pytest.mark.parametrize("team", [2, 1])
def test_a_thread_that_left_early_is_named(monkeypatch, impatient, team):
    """Also where the other one takes no part."""
    monkeypatch.setattr(engine_run, "_account", np.array([team, 0, 0]))
    rows = np.random.default_rng(0).uniform(0, 1, (8, 40)).astype(np.float32)
    program, _ = slow_copy(rows, 8)
    run = driver.run
    monkeypatch.setattr(driver, "run", lambda number, *rest: None if number == 0 else run(number, *rest))
    with pytest.raises(StalledError, match=r"^thread 0 of 2 "):
        program.run(np.arange(8, dtype=np.int64), threads=2)


def test_a_thread_that_is_slow_is_waited_for(monkeypatch, impatient):
    arrivals, looks, enough = np.zeros(2), [], threading.Event()

    def call(number):
        if number == 0:
            arrivals[0] = 1  # waits for the other
        assert enough.wait(60)

    def awake(thread):  # it computes, or has no core to compute on
        looks.append(thread)
        if len(looks) > 50:
            enough.set()
        return False

    monkeypatch.setattr(threads, "_idle", awake)
    threads.run_threads(call, 2, lambda abandon: None, arrivals)
    assert len(looks) > 50


def test_progress_starts_the_count_again(impatient):
    done, arrivals = [Event(), Event()], np.array([1, 0])
    gone = Thread(lambda: None)
    watch = threads._Watch([gone, gone], done, arrivals)
    for _ in range(20):
        assert not watch.stalled()
        assert not watch.stalled()
        arrivals += 1
    assert [watch.stalled() for _ in range(5)] == [False, False, False, True, False]
    assert watch.lost == {1}
