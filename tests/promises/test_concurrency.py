"""Training beside other training: in threads, under joblib, in forked and spawned processes, with too few cores."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import elsewhere
import numpy as np
import pytest
from elsewhere import X, fit

from fastff import FeedForwardNeuralNetwork

# From 3.12 on Python says that a process with threads should not fork; joblib's and NumPy's are what it sees. eventlet,
# which some libraries import where it is there, says so of every fork.
forking = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning", r"ignore:Using fork\(\) is:DeprecationWarning"
)


@pytest.fixture(scope="module")
def expected():
    return [fit(seed, threads=1) for seed in range(4)]


def test_trainers_in_threads_do_not_disturb_one_another(expected):
    together = threading.Barrier(4)

    def work(seed):
        together.wait(60)
        return [fit(seed, threads) for threads in (1, 3, None)]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert results == [[weights] * 3 for weights in expected]


def test_one_network_predicts_in_many_threads_while_others_train(expected):
    network = FeedForwardNeuralNetwork(20, 4, [40], seed=0)
    truth = network.predict_proba(X), network.predict_proba(X[:3])
    over = threading.Event()

    def ask(_):
        while not over.is_set():
            np.testing.assert_array_equal(network.predict_proba(X), truth[0])
            np.testing.assert_array_equal(network.predict_proba(X[:3]), truth[1])
        return True

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, i) for i in range(3)]
        trained = [fit(seed) for seed in range(4)]
        over.set()
        assert all(asked.result(60) for asked in asking)
    assert trained == expected


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@forking
def test_fits_under_joblib(expected, backend):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(fit)(seed) for seed in range(4))
    assert found == expected


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@forking
def test_processes_of_one_that_has_trained(expected, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(fit, range(4)).get(120) == expected
    assert fit(0) == expected[0]  # and the parent goes on


@forking
def test_a_fork_while_others_train(expected):
    """A child has none of its parent's threads, and needs none of them."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    over = threading.Event()

    def busy():
        while not over.is_set():
            fit(0)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map_async(fit, range(4)).get(120) == expected
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("count", [5, 16])
def test_more_threads_than_cores(expected, count):
    assert fit(1, threads=count) == expected[1]


def test_a_process_bound_to_one_core(expected):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity here")
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import elsewhere as t;"
        "from fastff.system.limits import usable_cpus; assert usable_cpus() == 1;"
        "sys.stdout.buffer.write(t.fit(2, 4) + t.fit(2, None))"
    )
    here = os.path.dirname(elsewhere.__file__)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=here, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == expected[2] * 2
