"""The memory and the CPUs that this process may use.

Training takes the data and four times its parameters and no more. What needs more memory than there is is refused
before it is allocated. Control groups and affinity limit the number of threads.
"""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from command_line import run, write_flowers
from elsewhere import cpus_here

from fastff import FeedForwardNeuralNetwork, LinearLayer, Trainer
from fastff.errors import NoRoom
from fastff.system import limits

MEASURE = """
import resource, sys
import numpy as np
from fastff import FeedForwardNeuralNetwork, Trainer

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def data(rows, width):
    return np.random.default_rng(0).random((rows, width), np.float32), np.arange(rows) % 10

x, y = data(64, 64)
Trainer(FeedForwardNeuralNetwork(64, 10, [32], seed=0)).fit(x, y, epochs=1)  # what the machinery takes
before = peak()
x, y = data(1024, 2048)
network = FeedForwardNeuralNetwork(2048, 10, [4096, 2048], seed=0)
Trainer(network, batch_size=64, threads=2, monitor="val_accuracy").fit(x, y, x[:256], y[:256], epochs=2)
network.predict(x)
print(peak() - before, x.nbytes, 4 * network.parameter_count)
"""


def test_training_takes_data_and_four_times_the_parameters():
    pytest.importorskip("resource", reason="on Windows: there are no such figures")
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=300)
    took, data, parameters = map(int, done.stdout.split())
    assert parameters > 64 << 20
    # The epoch's order, batches of 64 to 1,024 rows through all layers, and what the allocator keeps
    assert took <= data + 4 * parameters + (48 << 20)


MEASURE_RUN = """
import os, resource, sys
import numpy as np
from fastff import train

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def writable():
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1])

options = "--batch-size", "64", "--threads", "2", "--checkpoint-epochs", "1"
for name, rows, width in ("small", 64, 48), ("large", 512, 3072):
    x, y = np.random.default_rng(0).integers(0, 256, (rows, width), np.uint8), np.arange(rows) % 3
    np.savez(f"{name}.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
train.main(["small.npz", "--hidden", "32", "32", "--epochs", "1", "--out", "small", *options])
train.main(["--resume", "--epochs", "2", "--out", "small"])
before, parameters = peak(), 3073 * 4096 + 4097 * 2048 + 2049 * 3
most = 3 * x.nbytes + 4 * 4 * parameters + (48 << 20)
if sys.argv[1] == "save":
    train.main(["large.npz", "--hidden", "4096", "2048", "--epochs", "2", "--out", "large", *options])
    print(peak() - before, most)
else:
    resource.setrlimit(resource.RLIMIT_DATA, (writable() + most, resource.RLIM_INFINITY))
    train.main(["--resume", "--epochs", "3", "--out", "large"])
"""


@pytest.mark.slow
def test_a_run_that_saves_and_goes_on_takes_no_more(tmp_path):
    pytest.importorskip("resource", reason="on Windows: there are no such figures")

    def measure(what):
        command = [sys.executable, "-c", MEASURE_RUN, what]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    took, most = map(int, measure("save").split())
    assert took <= most  # of which 48 MB as above; one more copy of the weights would be 84
    # A checkpoint that is read counts in that figure, though it is but mapped and the system takes its pages back; so
    # here the system itself refuses memory beyond the promise
    if sys.platform == "linux":
        measure("resume")


@pytest.fixture
def little(monkeypatch):
    """There are 100 MB."""
    monkeypatch.setattr(limits, "available", lambda: 100_000_000)


def test_networks_that_do_not_fit_are_refused_in_numbers(little):
    with pytest.raises(
        NoRoom, match=r"^a network of 100,020,001 parameters: needs 1.2 GB of memory, 100.0 MB are free$"
    ):
        FeedForwardNeuralNetwork(10_000, 1, [10_000])
    with pytest.raises(NoRoom, match=r"^a layer of 10000 x 10000 weights: needs 1.2 GB of memory"):
        LinearLayer(10_000, 10_000)
    FeedForwardNeuralNetwork(1000, 10, [1000])


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ((10**12, 3, 4, 2), "needs 48.0 TB"),
        ((4, 3, 10**40, 2), r"needs 10\^42 bytes"),
        ((4, 3, 4, 10**15), "layers: needs"),
    ],
)
def test_absurd_networks_are_refused_on_every_machine(widths, said):
    with pytest.raises(NoRoom, match=said):
        FeedForwardNeuralNetwork(*widths)


def test_batches_that_do_not_fit_are_refused_before_training(little):
    network = FeedForwardNeuralNetwork(4, 2, [2000], seed=0)
    before = network.parameters()
    rows = np.zeros((20_000, 4), np.float32)
    with pytest.raises(NoRoom, match=r"^a batch of 20,000 rows: needs 160.\d MB of memory, 100.0 MB are free$"):
        Trainer(network, batch_size=10**12).fit(rows, np.zeros(20_000, int), epochs=1)
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_result_that_does_not_fit_is_refused(little):
    with pytest.raises(NoRoom, match="an array of 60,000 x 500 values"):
        FeedForwardNeuralNetwork(1, 500, [2], seed=0).predict(np.zeros((60_000, 1), np.uint8))


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: memory is counted when it is allocated")
def test_the_command_says_it_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_flowers(tmp_path)
    result = run("train", "flowers.npz", "--hidden", 10**7, 10**7, "--out", "run")
    assert result.status == 1
    assert result.err.startswith("error: a network of 100,000,090,000,003 parameters: needs 1,200.0 TB of memory, ")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


# --- how much there is


def test_available_is_the_machines_within_the_groups(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   4000000 kB\n")
    monkeypatch.setattr(limits, "MEMINFO", tmp_path / "meminfo")
    for name, numbers in {"a": ("3000000000", "1000000000"), "a/b": ("max", "999")}.items():
        (tmp_path / name).mkdir()
        for file, text in zip(("memory.max", "memory.current"), numbers, strict=True):
            (tmp_path / name / file).write_text(text)
    monkeypatch.setattr(limits, "folders", lambda controller: [tmp_path / "a/b", tmp_path / "a", tmp_path])
    assert limits.available() == 2_000_000_000
    (tmp_path / "a" / "memory.stat").write_text("anon 5\ninactive_file 500000000\n")
    assert limits.available() == 2_500_000_000
    (tmp_path / "a" / "memory.max").write_text("max")
    assert limits.available() == 4_096_000_000
    (tmp_path / "a" / "memory.limit_in_bytes").write_text("9223372036854771712")  # version 1's word for none
    (tmp_path / "a" / "memory.usage_in_bytes").write_text("5")
    assert limits.available() == 4_096_000_000


def test_where_nobody_knows_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MEMINFO", tmp_path / "missing")
    monkeypatch.setattr(limits, "folders", lambda controller: [])
    assert limits.available() is None
    limits.check_room("all", 1 << 60)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (999, "999 bytes"),
        (1_500_000, "1.5 MB"),
        (32 << 30, "34.4 GB"),
        (5 * 10**15, "5,000.0 TB"),
        (10**20, "10^20 bytes"),
    ],
)
def test_sizes_in_words(size, said):
    assert limits.say(size) == said


# --- CPUs ---


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("max 100000\n", math.inf),
        ("200000 100000\n", 2.0),
        ("150000 100000\n", 1.5),
        ("50000 100000\n", 0.5),
        ("", math.inf),
        ("nonsense\n", math.inf),
        ("100000 0\n", math.inf),
    ],
)
def test_quota_of_cgroup_version_2(tmp_path, text, quota):
    (tmp_path / "cpu.max").write_text(text)
    assert limits._cgroup_quota(tmp_path) == quota


@pytest.mark.parametrize(
    ("quota_us", "period_us", "quota"),
    [
        ("-1\n", "100000\n", math.inf),
        ("300000\n", "100000\n", 3.0),
        ("25000\n", "100000\n", 0.25),
        ("100000\n", "0\n", math.inf),
        ("nonsense\n", "100000\n", math.inf),
    ],
)
def test_quota_of_cgroup_version_1(tmp_path, quota_us, period_us, quota):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota_us)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text(period_us)
    assert limits._cgroup_quota(tmp_path) == quota


def cpu_tree(tmp_path, own, **quotas):
    """A tree of groups with these limits, "" the root's, and the process's own place in it."""
    for folder, text in quotas.items():
        place = tmp_path / "tree" / folder.replace("_", "/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(text)
    (tmp_path / "own").write_text(own)
    return tmp_path / "tree", tmp_path / "own"


@pytest.mark.parametrize(
    ("quotas", "quota"),
    [
        ({"a_b": "200000 100000"}, 2.0),
        ({"a_b": "max 100000", "a": "150000 100000"}, 1.5),
        ({"a_b": "400000 100000", "a": "300000 100000"}, 3.0),  # the tighter of the two
        ({"a_c": "100000 100000"}, math.inf),  # a neighbour's
        ({"a_b_c": "100000 100000"}, math.inf),  # a child's
        ({}, math.inf),
    ],
)
def test_quota_of_the_process_own_group_and_those_above(tmp_path, quotas, quota):
    assert limits._cgroup_quota(*cpu_tree(tmp_path, "0::/a/b\n", **quotas)) == quota


def test_quota_of_a_container_that_is_told_a_path_it_cannot_see(tmp_path):
    root, own = cpu_tree(tmp_path, "0::/system.slice/docker-0.scope\n")
    root.mkdir()
    (root / "cpu.max").write_text("200000 100000")
    assert limits._cgroup_quota(root, own) == 2.0
    own.write_text("0::/../neighbour\n")
    limits._cgroup_quota.cache_clear()
    assert limits._cgroup_quota(root, own) == 2.0


def test_quota_of_version_1s_own_tree(tmp_path):
    place = tmp_path / "cpu" / "job" / "7"
    place.mkdir(parents=True)
    (place.parent / "cpu.cfs_quota_us").write_text("250000")
    (place.parent / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "own").write_text("12:memory:/job/7\n4:cpu,cpuacct:/job/7\n1:name=systemd:/\nnonsense\n")
    assert limits._cgroup_quota(tmp_path, tmp_path / "own") == 2.5


def test_no_cgroup_is_no_limit(tmp_path):
    assert limits._cgroup_quota(tmp_path / "nothing") == math.inf


@pytest.mark.parametrize(
    ("cpus", "quota", "usable"),
    [(8, math.inf, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.25, 1), (2, 7.5, 2), (1, math.inf, 1)],
)
def test_usable_cpus_is_the_affinity_within_the_quota(monkeypatch, cpus, quota, usable):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
    monkeypatch.setattr(limits, "_cgroup_quota", lambda: quota)
    assert limits.usable_cpus() == usable


FOUR_CORES = ["0,4", "1,5", "2,6", "3,7"] * 2  # as Linux lists two hyperthreads each


@pytest.mark.parametrize(
    ("siblings", "cpus", "quota", "threads"),
    [
        (FOUR_CORES, range(8), math.inf, 4),
        (FOUR_CORES, (0, 4, 1), math.inf, 2),
        (FOUR_CORES, range(8), 3.0, 3),
        (["0-1", "0-1", "2-3", "2-3", "4", "5"], range(6), math.inf, 4),  # two of the cores have one
        ([], range(8), math.inf, 8),  # the system does not say
        (["", ""], range(2), math.inf, 2),
    ],
)
def test_a_core_with_two_hyperthreads_takes_one_thread(monkeypatch, tmp_path, siblings, cpus, quota, threads):
    for cpu, listed in enumerate(siblings):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{listed}\n")
    monkeypatch.setattr(limits, "CPUS", tmp_path)
    monkeypatch.setattr(limits, "_core_of", limits._core_of.__wrapped__)  # what it has kept is of this machine
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(cpus), raising=False)
    monkeypatch.setattr(limits, "_cgroup_quota", lambda: quota)
    for variable in limits.THREADS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert limits.usable_cores() == threads


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(limits, "granted_cpus", lambda: 8)
    for variable in limits.THREADS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"])
@pytest.mark.parametrize(
    ("value", "usable"),
    [("3", 3), ("1", 1), ("16", 8), ("2,4", 2), ("", 8), ("0", 8), ("-1", 8), ("many", 8), ("²", 8)],
)
def test_other_libraries_numbers_of_threads_are_upper_bounds(eight_cpus, monkeypatch, variable, value, usable):
    monkeypatch.setenv(variable, value)
    assert limits.usable_cpus() == usable


def test_the_smaller_of_two_bounds_counts(eight_cpus, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert limits.usable_cpus() == 3


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_a_worker_of_joblib_has_one_cpu(eight_cpus, backend):
    joblib = pytest.importorskip("joblib")
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(cpus_here)(i) for i in range(2))
    assert [usable for _, usable in found] == [1, 1]
    assert limits.usable_cpus() == 8


def test_a_worker_of_loky_has_one_cpu(eight_cpus):
    loky = pytest.importorskip("joblib.externals.loky")
    with loky.ProcessPoolExecutor(1) as executor:
        assert executor.submit(cpus_here, 0).result(120)[1] == 1


LIMITED = """
import resource, sys
import numpy as np
from fastff import FeedForwardNeuralNetwork, NoRoom, Trainer
from fastff.system import limits
used = int(limits.STATM.read_text().split()[{column}]) * resource.getpagesize()
resource.setrlimit(resource.{kind}, (used + ({megabytes} << 20),) * 2)
assert limits.available() <= {megabytes} << 20
try:
    network = FeedForwardNeuralNetwork(64, 10, ({width},))
    Trainer(network, threads=1).fit(np.zeros((100, 64), np.uint8), np.arange(100) % 10, epochs=1)
except NoRoom as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="on Windows: processes have no such limits")
@pytest.mark.parametrize(("kind", "column"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
@pytest.mark.parametrize(("megabytes", "width"), [(8, 16), (40, 1 << 20)])
def test_the_limits_of_the_process_are_part_of_what_there_is(kind, column, megabytes, width):
    code = LIMITED.format(kind=kind, column=column, megabytes=megabytes, width=width)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "MB" in done.stdout
    assert done.stdout.count("\n") == 1


def test_without_its_compiler_nothing_runs_and_one_line_says_so(tmp_path):
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "fastff.train", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: NUMBA_DISABLE_JIT is set")
    assert "Traceback" not in done.stderr


def test_without_affinity_the_machine_is_counted(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(limits, "_cgroup_quota", lambda: math.inf)
    for count, usable in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert limits.usable_cpus() == usable


class Mac:
    """A C library that knows some numbers of the machine by name, as macOS's does."""

    def __init__(self, **numbers):
        self.numbers = numbers

    def __call__(self, name):
        return self

    def sysctlbyname(self, name, value, size, new, new_size):
        key = name.decode().replace(".", "_")
        if key not in self.numbers:
            return -1
        value._obj.value = self.numbers[key]
        return 0


@pytest.mark.parametrize(("numbers", "usable"), [({"hw_perflevel0_physicalcpu": 4}, 4), ({}, 8)])
def test_of_a_mac_the_performance_cores_are_counted(monkeypatch, numbers, usable):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(limits, "_cgroup_quota", lambda: math.inf)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(limits.ctypes, "CDLL", Mac(**numbers))
    assert limits.usable_cpus() == usable
