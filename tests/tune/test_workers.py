"""The processes that train a search's trials: two at once, and what happens when one is killed or Ctrl-C ends all."""

import os
import signal
import subprocess
import sys

import pytest
from command_line import PLAIN
from searches import parameters, search, states, table, workers

from fastff.data import load_dataset
from fastff.system.shell import command_line

pytest.importorskip("optuna", reason="optuna is not installed")
from fastff.tune import presence
from fastff.tune.search import Search


def test_two_jobs_train_what_is_asked_for(flowers, tmp_path):
    out, err = search(flowers, "--trials", 5, "--epochs", 2, "--jobs", 2, "--out", tmp_path / "s")
    assert "; 5 trials" in out
    assert len(err) == 5
    assert states(tmp_path / "s") == ["complete"] * 5
    assert workers() == []


def test_a_killed_workers_trial_is_not_lost(flowers, tmp_path, monkeypatch):
    give, handed_out = Search.next, []

    def kill(self):
        handed_out.append(give(self))
        if len(handed_out) == 2:  # the first trial's worker has it, and is not yet done with its imports
            (worker,) = workers()
            worker.kill()
            worker.join()
        return handed_out[-1]

    monkeypatch.setattr(Search, "next", kill)
    out, err = search(flowers, "--trials", 3, "--epochs", 2, "--jobs", 2, "--out", tmp_path / "s")
    assert "; 3 trials" in out
    assert "0/3  trial 0: its process ended with status -9, queued again" in err
    rows = table(tmp_path / "s")
    assert (rows[0]["state"], rows[0]["note"]) == ("fail", "its process ended with status -9")
    assert [row["state"] for row in rows[1:]] == ["complete"] * 3
    assert parameters(rows[0]) in [parameters(row) for row in rows[1:]]


def test_what_a_worker_cannot_read_is_one_line(flowers, tmp_path, monkeypatch):
    def load_once(*arguments, **how):
        data = load_dataset(*arguments, **how)
        flowers.unlink()
        return data

    monkeypatch.setattr("fastff.tune.__main__.load_dataset", load_once)
    _, err = search(flowers, "--trials", 2, "--jobs", 2, "--out", tmp_path / "s", status=1)
    assert len(err) == 1
    assert err[0].startswith(f"error: {flowers}: no such file")
    assert workers() == []


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: processes send one another no signals")
def test_a_terminal_sees_ctrl_c_end_all_processes(tmp_path):
    arguments = ["digits", "--trials", "500", "--jobs", "2", "--epochs", "2", "--out", "s"]
    command = [sys.executable, "-m", "fastff.tune", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, **PLAIN}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, env=environment, **pipes) as process:
        while not process.stderr.readline().startswith("3/500"):
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate()  # returns when no process has the pipes open any more
    assert (process.returncode, out) == (130, "")
    last = err.splitlines()[-1]
    assert last == f"interrupted: finished trials are kept; python -m fastff.tune {command_line(arguments)} goes on"
    assert "Traceback" not in err
    assert len([state for state in states(tmp_path / "s") if state != "waiting"]) >= 3
    assert (tmp_path / "s" / "history.png").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: nobody tells a process that its parent has ended")
def test_workers_leave_when_their_parent_is_killed_and_its_trials_come_again(tmp_path, monkeypatch):
    arguments = ["digits", "--epochs", "200", "--out", str(tmp_path / "s")]
    command = [sys.executable, "-m", "fastff.tune", *arguments, "--trials", "50", "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **PLAIN}) as process:
        while not process.stderr.readline().startswith("1/50"):
            assert process.poll() is None
        process.kill()
        process.communicate()
    monkeypatch.setattr(presence, "GRACE", 0.1)
    search(*arguments, "--trials", 2, "--jobs", 1)
    rows = table(tmp_path / "s")
    lost = [row for row in rows if row["state"] == "fail"]
    assert lost
    assert sum(row["state"] in ("complete", "pruned") for row in rows) == 2
