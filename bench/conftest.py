"""Fails the benchmarks when fastff is not enough times as fast as its NumPy twin, which each group also measures.

Both times are the fastest round's of one run, so that their ratio means the same on any machine. The least allowed
ratios, FLOORS, are about half of the lowest that two cores with AVX-512 gave: a slower kernel fails, a busy machine
does not. `tox -e bench` also compares with the last run on the same machine.
"""

from collections import defaultdict
from pathlib import Path

import pytest
from pytest_benchmark.utils import parse_compare_fail

FLOORS = {  # epochs, of bench_epoch.py
    "hst": 1.6,
    "fmnist": 1.4,
    "tab": 1.0,
    "digits": 1.2,
    "digits32": 2.5,
    # kernels, of bench_kernels.py
    "gather": 1.1,
    "forward": 0.6,
    "backward": 0.6,
    "update": 1.5,
    "sigmoid": 1.2,
    "tanh": 0.35,  # NumPy's own vector code is faster
    "softmax, by hand": 0.2,  # mostly checks and copies of a small array
}
ratios = pytest.StashKey[dict[str, float]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # pytest-benchmark refuses to compare while there is nothing to compare with
    saved = Path(config.getoption("benchmark_storage").removeprefix("file://"))
    if config.getoption("benchmark_autosave") and any(saved.rglob("*.json")):
        config.option.benchmark_compare = True
        config.option.benchmark_compare_fail = [parse_compare_fail("min:50%")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    found: dict[str, dict[bool, float]] = defaultdict(dict)
    for benchmark in session.config._benchmarksession.benchmarks:
        if benchmark.stats.data:
            found[benchmark.group]["numpy" in benchmark.name] = benchmark.stats.min
    both = {group: times[True] / times[False] for group, times in found.items() if len(times) == 2}
    session.config.stash[ratios] = both
    if any(ratio < FLOORS[group] for group, ratio in both.items()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for group, ratio in config.stash.get(ratios, {}).items():
        floor = FLOORS[group]
        verdict = "ok" if ratio >= floor else "TOO SLOW"
        terminalreporter.write_line(f"{group:20}{ratio:8.2f} times NumPy's speed, want {floor:.1f}: {verdict}")
