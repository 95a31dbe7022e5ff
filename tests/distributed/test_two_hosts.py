"""Two hosts, each with a rank: namespaces of one machine that only a virtual cable joins, which these tests cut.

The hosts are those of ../shared/platforms/two_hosts.sh, which needs root.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import succeed
from jobs import OPTIONS, assert_close, lines, needs_mpi, weights

fcntl = pytest.importorskip("fcntl")  # not on Windows
SCRIPT = Path(__file__).parents[3] / "shared" / "platforms" / "two_hosts.sh"
pytestmark = [
    pytest.mark.slow,
    needs_mpi,
    pytest.mark.skipif(not SCRIPT.exists(), reason="../shared/platforms is not there"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may make hosts"),
]


class Hosts:
    """h1 and h2; commands start on h1."""

    def __init__(self, folder):
        self.environment = {**os.environ, "HOSTS_DIR": str(folder)}
        self.folder = folder

    def __call__(self, what):
        command = ["bash", SCRIPT, what]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=200, check=False)

    def start(self, number, *arguments, cwd):
        """mpiexec of fastff.train on h1; the first rank is there, the second on h2."""
        launcher = [
            Path(sys.executable).parent / "mpiexec",
            "-launcher",
            "ssh",
            "-launcher-exec",
            self.folder / "ssh.sh",
        ]
        # UCX, which the wheel of MPICH uses, would find that both hosts are one machine, and share memory
        launcher += ["-f", self.folder / "hosts", "-ppn", 1, "-n", number, "-genv", "UCX_TLS", "tcp,self"]
        command = ["bash", SCRIPT, "run", *launcher, sys.executable, "-m", "fastff.train", *arguments]
        pipe = subprocess.PIPE
        words = [*map(str, command), "--distributed", "mpi"]
        return subprocess.Popen(
            words, env=self.environment, cwd=cwd, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def train(self, *arguments, cwd):
        with self.start(2, *arguments, cwd=cwd) as job:
            out, err = job.communicate(timeout=100)
        return job.returncode, out, lines(err)

    def on_h2(self, *command):
        """Run a command among the mounts of h2's ssh server."""
        server = subprocess.run(
            ["ip", "netns", "pids", "h2"], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        subprocess.run(["nsenter", "-m", "-t", server, *map(str, command)], check=True)

    def ranks(self, host):
        """The processes of a host that train."""
        listed = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True).stdout
        return [int(number) for number in listed.split() if _trains(number)]


def _trains(number):
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False
    return b"fastff.train" in words and words[0] == os.fsencode(sys.executable)


@pytest.fixture
def hosts(tmp_path):
    """The machine has two of that name at a time, so tests that run side by side take turns."""
    own = Hosts(tmp_path / "hosts")
    with (Path(tempfile.gettempdir()) / "two_hosts.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        up = own("up")
        if "h1 reaches h2" not in up.stdout:
            own("down")
            pytest.skip(f"only root may make hosts, and not everywhere: {up.stderr[-200:]}")
        yield own
        own("mend")
        own("down")


def until(happened):
    """Wait for something that happens soon; fails after a minute."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        os.sched_yield()


@pytest.fixture
def long_run(hosts, tmp_path):
    """A run that would take minutes, once it has saved; whatever is left of it is ended."""
    folder = tmp_path / "run"
    arguments = ["digits", "--epochs", 5000, "--hidden", 64, "--out", folder, "--checkpoint-epochs", 1]
    job = hosts.start(2, *arguments, "--distributed-timeout", 3, cwd=tmp_path)
    until(lambda: (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text()) > 0)
    yield job, folder
    hosts("mend")
    for host in ("h1", "h2"):
        for process in hosts.ranks(host):
            os.kill(process, signal.SIGKILL)
    job.kill()
    job.communicate()


def epochs(folder):
    return len((folder / "metrics.jsonl").read_text().splitlines())


def test_two_hosts_train_what_one_process_trains_and_another_number_goes_on(hosts, flowers, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    succeed("train", flowers, *OPTIONS, "--epochs", 4, "--out", alone)
    status, out, errors = hosts.train(flowers, *OPTIONS, "--epochs", 2, "--out", shared, cwd=tmp_path)
    assert (status, errors) == (0, [])
    assert out.count("accuracy test") == 1
    succeed("train", "--resume", "--out", shared, "--epochs", 3)
    status, _, errors = hosts.train("--resume", "--out", shared, "--epochs", 4, "--shard-optimizer", cwd=tmp_path)
    assert (status, errors) == (0, [])
    assert_close(shared, alone)


def test_a_cut_cable_ends_both_ranks_and_what_was_saved_stays(hosts, long_run):
    job, folder = long_run
    hosts("cut")
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 1
    (line,) = lines(errors)
    assert line == (
        "rank 0 of 2: error: rank 1 on h2 has not answered h1 for 3 s (--distributed-timeout), want the network "
        "between them mended; --resume goes on from the last checkpoint"
    )
    until(lambda: not hosts.ranks("h1") and not hosts.ranks("h2"))
    hosts("mend")
    done = epochs(folder)
    succeed("train", "--resume", "--out", folder, "--epochs", done + 1)
    assert all(np.isfinite(array).all() for array in weights(folder).values())


def test_a_cable_that_is_mended_in_time_is_forgotten(hosts, long_run):
    job, folder = long_run
    hosts("cut")
    before = epochs(folder)
    hosts("mend")
    until(lambda: epochs(folder) > before + 3)
    assert job.poll() is None


def test_a_rank_that_is_killed_on_the_other_host_ends_the_job(hosts, long_run):
    job, _ = long_run
    (process,) = hosts.ranks("h2")
    os.kill(process, signal.SIGKILL)
    job.communicate(timeout=20)
    assert job.returncode != 0
    until(lambda: not hosts.ranks("h1"))


def test_data_that_one_host_lacks_end_both_with_one_line(hosts, flowers, tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copy(flowers, tmp_path / "data" / "rows.npz")
    hosts.on_h2("mount", "-t", "tmpfs", "none", tmp_path / "data")  # each host has mounts of its own
    try:
        status, _, errors = hosts.train(tmp_path / "data" / "rows.npz", "--out", tmp_path / "run", cwd=tmp_path)
    finally:
        hosts.on_h2("umount", tmp_path / "data")
    assert status == 1
    (line,) = errors
    assert line.startswith("rank 1 of 2: error:")
    assert "rows.npz: no such file" in line
    until(lambda: not hosts.ranks("h1") and not hosts.ranks("h2"))
