"""Several processes train one network with the result of a single process, and when one ends they all do.

Each process (rank) is started by mpiexec; tests/distributed/ranks.py says what it runs.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import run, succeed, write_flowers
from jobs import OPTIONS, assert_close, lines, needs_mpi, weights, write_shards

from fastff.errors import DataError
from fastff.system import checkpoint
from fastff.system.files import locked


def ranks(number, *command, cwd):
    """What `number` processes of tests/distributed/ranks.py leave. The launcher is the one of the mpich wheel."""
    launcher = [Path(sys.executable).parent / "mpiexec", "-n", number, sys.executable]
    words = map(str, [*launcher, Path(__file__).with_name("ranks.py"), *command])
    # in a session of its own: a launcher that is interrupted must not interrupt the tests
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=100, start_new_session=True)


def train(number, what, *arguments, cwd):
    return ranks(number, what, *arguments, "--distributed", "mpi", cwd=cwd)


def until_nobody_writes(folder):
    """Wait for the end of ranks that the launcher has told to end, and not waited for."""
    for _ in range(100_000):
        with contextlib.suppress(DataError), locked(folder):
            return


@needs_mpi
@pytest.mark.parametrize("number", [2, 3])
def test_ranks_train_what_one_process_trains(tmp_path, number):
    result = ranks(number, "same", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(records) == 9
    for record in records:
        assert record["apart"] < 1e-5, record  # float32's rounding, through 200 steps of Adam
        assert record["validation"] < 1e-5, record
        assert record["orders"] == 0, record
        assert len(set(record["checksums"])) == 1, record  # every rank has the same bits
        own, usable = record["threads"]
        assert own == max(1, usable // number)


@needs_mpi
def test_the_command_leaves_the_same_files_and_another_number_of_ranks_goes_on(flowers, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    succeed("train", flowers, *OPTIONS, "--epochs", 4, "--out", alone)
    result = train(2, "train", flowers, *OPTIONS, "--epochs", 2, "--out", shared, cwd=tmp_path)
    assert (result.returncode, lines(result.stderr)) == (0, []), result
    assert "of 2, the best in" in result.stdout
    assert result.stdout.count("accuracy test") == 1  # rank 0 alone speaks
    succeed("train", "--resume", "--out", shared, "--epochs", 3)
    result = train(3, "train", "--resume", "--out", shared, "--epochs", 4, "--shard-optimizer", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_close(shared, alone)
    assert (shared / "config.toml").read_text() == (alone / "config.toml").read_text()
    assert "distributed" not in (shared / "config.toml").read_text()


@needs_mpi
@pytest.mark.parametrize("what", ["killed", "failing"])
def test_a_rank_that_ends_ends_them_all_and_one_process_goes_on(flowers, tmp_path, what):
    options = (flowers, *OPTIONS, "--epochs", 4, "--out", tmp_path / "run", "--checkpoint-epochs", 1)
    start = time.monotonic()
    result = train(2, what, *options, cwd=tmp_path)
    assert time.monotonic() - start < 60  # no hang; how soon, docs/scaling.md says
    assert result.returncode != 0
    if what == "failing":
        assert "rank 1 of 2: error:" in result.stderr
        assert "ZeroDivisionError" in result.stderr
    else:
        assert "Killed (signal 9)" in result.stdout + result.stderr  # so says the launcher
    until_nobody_writes(tmp_path / "run")
    succeed("train", "--resume", "--out", tmp_path / "run")
    succeed("train", *options[:-4], "--out", tmp_path / "whole")
    assert_close(tmp_path / "run", tmp_path / "whole")


@needs_mpi
def test_ranks_read_shards_to_the_bits_of_the_rows_in_memory(flowers, tmp_path):
    shards = write_shards(tmp_path / "shards", flowers)
    for source in (flowers, shards):
        options = (source, *OPTIONS, "--epochs", 2, "--out", tmp_path / f"run-{source.name}")
        result = train(2, "train", *options, cwd=tmp_path)
        assert (result.returncode, lines(result.stderr)) == (0, []), result
    held = {name: array.tobytes() for name, array in weights(tmp_path / "run-flowers.npz").items()}
    assert held == {name: array.tobytes() for name, array in weights(tmp_path / "run-shards").items()}


@needs_mpi
def test_a_shard_that_is_cut_short_ends_all_ranks_with_one_line_each(flowers, tmp_path):
    shards = write_shards(tmp_path / "shards", flowers)
    whole = (shards / "x_train-00001.npy").read_bytes()
    options = (shards, *OPTIONS, "--epochs", 4, "--out", tmp_path / "run", "--checkpoint-epochs", 1)
    result = train(2, "cut", *options, cwd=tmp_path)
    assert result.returncode == 1
    for line in lines(result.stderr):
        assert re.fullmatch(r"rank [01] of 2: error: .*x_train-00001\.npy: ends where row \d+ should.*", line)
    assert lines(result.stderr)
    (shards / "x_train-00001.npy").write_bytes(whole)
    until_nobody_writes(tmp_path / "run")
    succeed("train", "--resume", "--out", tmp_path / "run")
    succeed("train", *options[:-4], "--out", tmp_path / "whole")
    assert_close(tmp_path / "run", tmp_path / "whole")


@needs_mpi
def test_a_rank_that_cannot_read_its_data_says_so_in_one_line(flowers, tmp_path):
    result = train(2, "elsewhere", flowers.name, *OPTIONS, cwd=tmp_path)
    assert result.returncode == 1
    assert lines(result.stderr)[0].startswith("rank 1 of 2: error: flowers.npz: no such file")
    assert "Traceback" not in result.stderr


@needs_mpi
@pytest.mark.parametrize("change", ["values", "labels", "shards", "classes", "columns"])
def test_a_rank_with_other_data_than_rank_0_ends_the_job_with_one_line(tmp_path, change):
    """Of the same shapes and types: they would train together, and to no good."""
    here, there = tmp_path, tmp_path / "another"
    there.mkdir()
    if change in ("classes", "columns"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        table = [(f"{i % 7},{i * i % 11}", ("no", "yes")[i % 2]) for i in range(60)]
        names = ("good", "bad") if change == "classes" else ("no", "yes")
        order = -1 if change == "columns" else 1
        (here / "t.csv").write_text("a,b,y\n" + "".join(f"{x},{y}\n" for x, y in table))
        rows = [f"{','.join(x.split(',')[::order])},{names[y == 'yes']}\n" for x, y in table]
        (there / "t.csv").write_text(f"{','.join('ab'[::order])},y\n" + "".join(rows))
        words = "t.csv", "--target", "y"
    else:
        path, words = write_flowers(here), ("flowers.npz",)
        with np.load(path) as arrays:
            x, y = arrays["x_train"], arrays["y_train"]
        if change == "labels":
            write_flowers(there, y_train=2 - y)
        else:
            x = x.copy()
            x[5, 1] += 1
            other = write_flowers(there, x_train=x)
        if change == "shards":
            write_shards(here / "shards", path)
            write_shards(there / "shards", other)
            words = ("shards",)
    result = train(2, "another", *words, *OPTIONS, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = [line for line in lines(result.stderr) if "error" in line]
    found = "classes ['bad', 'good']" if change == "classes" else "values with the hash "
    assert line.startswith(f"rank 1 of 2: error: {words[0]}: holds {found}")
    assert line.endswith(" as on rank 0")


@needs_mpi
def test_ctrl_c_stops_all_ranks_at_one_step(flowers, tmp_path):
    options = (flowers, *OPTIONS, "--epochs", 3, "--threads", 2)
    result = train(2, "interrupted", *options, "--out", tmp_path / "run", cwd=tmp_path)
    assert result.returncode == 128 + signal.SIGINT, result
    (line,) = lines(result.stderr)
    assert line.startswith("interrupted: saved in ")
    progress = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["progress"]
    assert (progress["epoch"], progress["batch"]) == (1, 1)
    succeed("train", "--resume", "--out", tmp_path / "run")
    succeed("train", *options, "--out", tmp_path / "whole")
    assert_close(tmp_path / "run", tmp_path / "whole")


@needs_mpi
@pytest.mark.parametrize(
    ("options", "status", "saying"),
    [
        (("nowhere.npz",), 1, "nowhere.npz: no such file"),
        (("digits", "--epochs", 0), 2, "epochs: 0, want"),
        (("digits", "--step-size", 1e20, "--hidden", 8), 1, "the loss is not finite at epoch 1, batch 1"),
    ],
)
def test_rank_0_alone_says_what_is_wrong(tmp_path, options, status, saying):
    result = train(2, "train", *options, cwd=tmp_path)
    assert result.returncode == status
    (line,) = lines(result.stderr)
    assert line.startswith("error: ")
    assert saying in line


def test_without_mpi4py_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    result = run("train", "--distributed", "mpi")
    assert (result.status, result.out) == (1, "")
    assert result.err == 'error: --distributed mpi needs mpi4py: pip install "fastff[mpi]"\n'


def test_one_process_has_nothing_to_shard():
    result = run("train", "--shard-optimizer")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert "want --distributed mpi with it" in result.err
