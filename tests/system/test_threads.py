"""Threads of the operating system, whatever another package has put in the place of Python's."""

import _thread
import importlib.util
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastff
from fastff.engine.threads import run_threads
from fastff.errors import FastffError
from fastff.system import threads

GREEN = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
WORK = """
import numpy as np, fastff
network = fastff.FeedForwardNeuralNetwork(512, 10, (1024, 1024))
X, Y = np.random.default_rng(0).normal(size=(4000, 512)), np.arange(4000) % 10
assert network.predict(X).shape == (4000,)
fastff.Trainer(network, threads=2).fit(X, Y, epochs=1)
found = fastff.fit_many([fastff.Config(epochs=1, seed=seed) for seed in range(3)], "digits", jobs=2)
assert not any(item.error for item in found)
fastff.Trainer(network, threads=2).fit(X, Y, epochs=1)
"""


def green(*_, **__):
    raise AssertionError("a thread of the package that has patched Python's")


@pytest.fixture
def patched(monkeypatch):
    """Python's threads are replaced, as gevent and eventlet do: names in its modules are somebody else's."""
    for module in (_thread, threading):
        for name in ("start_new_thread", "start_joinable_thread", "_start_new_thread"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, green)
    for name in ("Thread", "Event", "Lock", "Semaphore", "Condition"):
        monkeypatch.setattr(threading, name, green)


def test_nothing_is_run_by_threads_that_others_have_put_in_place(patched):
    # what is imported now takes what Python has now
    spec = importlib.util.spec_from_file_location("late", threads.__file__)
    late = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(late)
    for kind in (threads, late):
        seen, event = [], kind.Event()
        thread = kind.Thread(lambda: (event.wait(60), seen.append(kind.native_id())))  # noqa: B023
        thread.start()
        assert thread.is_alive()
        assert not thread.join(0)
        event.set()
        assert thread.join(60)
        assert seen == [thread.native_id]
        assert seen != [kind.native_id()]
    together = []
    run_threads(together.append, 3, lambda abandon: None)
    assert sorted(together) == [0, 1, 2]


def test_networks_predict_and_train_where_threads_are_patched(patched):
    network = fastff.FeedForwardNeuralNetwork(16, 3, (32,))
    X, Y = np.random.default_rng(0).normal(size=(4000, 16)), np.arange(4000) % 3
    fastff.Trainer(network, threads=2).fit(X, Y, epochs=1)
    assert network.predict(X).shape == (4000,)


@pytest.mark.parametrize("package", sorted(GREEN))
@pytest.mark.parametrize("order", ["before", "after"])
def test_beside_the_packages_that_patch(package, order):
    pytest.importorskip(package)
    lines = [GREEN[package], "import fastff"]
    code = "\n".join(lines if order == "before" else lines[::-1]) + WORK
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)


def cannot_start(*_):
    raise RuntimeError("can't start new thread")


def test_threads_that_cannot_start_are_one_line(monkeypatch):
    monkeypatch.setattr(threads._thread, "start_new_thread", cannot_start)
    network = fastff.FeedForwardNeuralNetwork(64, 10, (16,))
    data = fastff.load_dataset("digits")
    calls = [
        lambda: fastff.Trainer(network, threads=2).fit(data.x_train, data.y_train, epochs=1),
        lambda: fastff.fit_many([fastff.Config(epochs=1)] * 2, data, jobs=2),
    ]
    for call in calls:
        with pytest.raises(FastffError, match=r"^threads: the system starts no more of them.*want fewer"):
            call()


def test_an_event_that_happened_is_seen_at_once_and_twice():
    event = threads.Event()
    assert not event.wait(0)
    event.set()
    event.set()
    assert event.wait()
    assert event.is_set()


@pytest.mark.skipif(sys.platform != "linux", reason="on Windows: no /proc says which threads there are")
def test_the_systems_number_of_a_thread_is_known():
    over = threads.Event()
    running = threads.Event()
    thread = threads.Thread(lambda: (running.set(), over.wait(60)))
    thread.start()
    assert running.wait(60)
    assert os.path.exists(f"/proc/self/task/{thread.native_id}")
    over.set()
    assert thread.join(60)
