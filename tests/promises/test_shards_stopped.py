"""Runs from shards that are interrupted, or whose files change meanwhile: one clear line, and the same bits at the end.

kill_and_resume.py has the runs that are killed, and test_distributed.py those of several processes.
"""

import os
import signal
import subprocess
import sys
import threading

import pytest
from command_line import run, succeed
from kill_and_resume import contents, write_shards

from fastff import FeedForwardNeuralNetwork, Trainer, load_dataset
from fastff.engine import readahead
from fastff.runs.progress import TrainingProgress
from fastff.system import checkpoint

SMALL = ("--hidden", 16, "--batch-size", 32, "--epochs", 4, "--checkpoint-epochs", 1)


@pytest.fixture
def digits(tmp_path):
    write_shards(tmp_path / "shards")
    return tmp_path / "shards"


def cut_short(path):
    os.truncate(path, path.stat().st_size - 100)


def write_nothing(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (os.unlink, "cannot read {}: No such file or directory"),
        (cut_short, "{}: ends where row "),
        (write_nothing, "{}: ends where row "),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_file_that_changes_under_a_run_is_one_line_and_resume_goes_on(
    digits, tmp_path, monkeypatch, what, said, split
):
    path = digits / f"x_{split}-00003.npy"
    whole, show = path.read_bytes(), TrainingProgress.show

    def shown(self, record):
        show(self, record)
        if record.epoch == 2:
            what(path)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "show", shown)
        result = run("train", digits, *SMALL, "--out", tmp_path / "run")
    assert (result.status, result.err.count("\n")) == (1, 1), result
    assert said.format(path) in result.err
    path.write_bytes(whole)
    succeed("train", "--resume", "--out", tmp_path / "run")
    succeed("train", digits, *SMALL, "--out", tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: processes send one another no signals")
def test_ctrl_c_in_the_middle_of_an_epoch_over_shards_loses_nothing(digits, tmp_path):
    # after the line that is printed comes an epoch of some 100 ms in the kernels
    script = (
        "from fastff import command, train\n"
        "train.Run.save_now_and_then = lambda self: print('trained', flush=True)\n"
        "command.run(train.main)"
    )
    options = [str(digits), "--hidden", "512", "512", "--batch-size", "2"]
    arguments = [sys.executable, "-c", script, *options, "--epochs", "1000", "--out", str(tmp_path / "run")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "trained\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)  # no thread is left to wait for
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("interrupted: saved in ")
    epochs = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["progress"]["epoch"] + 1
    succeed("train", "--resume", "--epochs", epochs, "--out", tmp_path / "run")
    succeed("train", *options, "--epochs", epochs, "--out", tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_the_thread_that_asks_ahead_ends_with_its_run(digits, monkeypatch):
    monkeypatch.setattr(readahead, "_cached", lambda *_: False)  # so that it asks
    data, before = load_dataset(digits), set(threading.enumerate())
    network = FeedForwardNeuralNetwork(64, 10, [16], seed=0)
    Trainer(network, batch_size=32).fit(data.x_train, data.y_train, epochs=1)
    assert before.issuperset(threading.enumerate())
