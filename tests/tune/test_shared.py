"""Several commands share one search: every trial is trained once, and what one leaves unfinished the others finish."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from command_line import PLAIN, run, write_flowers
from searches import choice, ended

from fastff.runs.config import Config
from fastff.tune.workers import Outcome

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
from fastff.tune import presence, storage  # noqa: E402
from fastff.tune.search import Search, finished  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="on Windows: processes send one another no signals")

# A command with a short grace, which never comes to the end of trial 2.
STUCK = """
import threading
from fastff import command
from fastff.tune import __main__, presence
from fastff.tune.search import Search
report = Search.report
def stick(self, task, epoch, accuracy):
    if task.trial.number == 2:
        print("stuck", flush=True)
        while not threading.Event().wait(0.1):  # not signal.pause: the signal may come just before it
            pass
    return report(self, task, epoch, accuracy)
Search.report, presence.GRACE = stick, 1.0
command.run(__main__.main)
"""


@pytest.fixture(params=["sqlite", "journal"])
def line(request, tmp_path):
    """A search of 10 trials that is kept in one file, as arguments."""
    url = f"sqlite:///{tmp_path / 'trials.db'}" if request.param == "sqlite" else str(tmp_path / "trials.log")
    flowers = write_flowers(tmp_path)
    options = ["--trials", "10", "--epochs", "20", "--jobs", "1", "--storage", url, "--out", str(tmp_path / "out")]
    return [str(flowers), *options]


def start(*command):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], env={**os.environ, **PLAIN}, **pipes)


def table(line):
    with open(os.path.join(line[-1], "trials.csv"), newline="") as file:
        return list(csv.DictReader(file))


def test_two_at_once_train_each_trial_once(line):
    with start("-m", "fastff.tune", *line) as other:
        while not (first := other.stderr.readline()).startswith("1/10"):
            assert other.poll() is None
        ours = run("tune", *line)
        out, rest = other.communicate()
    assert (ours.status, other.returncode) == (0, 0), rest
    assert ours.out == out
    assert "; 10 trials" in out
    theirs = ended(first + rest)
    rows = [row for row in table(line) if row["note"] != "superfluous"]
    assert sorted(theirs + ended(ours.err)) == [int(row["trial"]) for row in rows]
    assert ended(ours.err)
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert len({tuple(choice(row)) for row in rows}) == 10


def test_what_a_killed_one_was_training_another_trains(line, monkeypatch):
    monkeypatch.setattr(presence, "GRACE", 1.0)
    say = Search._print
    with start("-c", STUCK, *line) as other:
        assert other.stdout.readline() == "stuck\n"

        def kill(self, what):
            if what == "waiting for trial 2 of other processes":  # until then it is left alone
                other.kill()
            say(self, what)

        monkeypatch.setattr(Search, "_print", kill)
        try:
            ours = run("tune", *line)
        finally:
            other.kill()
    assert other.returncode == -signal.SIGKILL
    assert "9/10  waiting for trial 2 of other processes" in ours.err
    assert "; 10 trials" in ours.out
    rows = table(line)
    assert [row["trial"] for row in rows if row["state"] not in ("complete", "pruned")] == ["2"]
    assert (rows[2]["state"], len(rows)) == ("fail", 11)
    assert choice(rows[-1]) == choice(rows[2])


@pytest.mark.parametrize("line", ["journal"], indirect=True)
@pytest.mark.parametrize(("name", "word"), [("SIGTERM", "terminated"), ("SIGHUP", "hung up")])
def test_what_a_scheduler_or_a_terminal_ends_comes_again_at_once(line, name, word):
    number = getattr(signal, name)
    with start("-c", STUCK, *line) as other:
        assert other.stdout.readline() == "stuck\n"
        other.send_signal(number)
        try:
            out, err = other.communicate(timeout=120)
        finally:
            other.kill()
    assert (other.returncode, out) == (128 + number, "")
    assert err.splitlines()[-1].startswith(f"{word}: finished trials are kept; python -m fastff.tune ")
    rows = table(line)
    assert [row["state"] for row in rows[2:]] == ["fail", "waiting"]
    ours = run("tune", *line)
    assert (ours.status, "waiting" in ours.err) == (0, False)
    assert choice(table(line)[3]) == choice(rows[2])


# --- what can happen between two looks at the storage


def two(total=3):
    study = optuna.create_study(direction="maximize")
    return study, *(Search(study, Config(epochs=4), None, rows="", total=total, seed=0) for _ in range(2))


def test_one_that_only_seemed_lost_gives_way(monkeypatch, capsys):
    monkeypatch.setattr(presence, "GRACE", -1.0)  # who does nothing between two looks is lost
    study, slow, quick = two(total=1)
    late, again = slow.next(), quick.next()
    assert again.config == late.config
    assert slow.report(late, 1, 0.9)  # it need not go on
    slow.finish(late, Outcome(0.9, 1))
    assert "trial 0: taken over by another process, which missed its heartbeat" in capsys.readouterr().err
    quick.finish(again, Outcome(0.8, 1))
    assert [trial.value for trial in finished(study.get_trials())] == [0.8]
    assert not slow.wait()
    assert slow.next() is None


def test_of_two_that_take_the_last_trial_at_once_one_is_superfluous(monkeypatch):
    study, a, b = two(total=1)
    ask, taken = study.ask, []

    def meanwhile():
        monkeypatch.setattr(study, "ask", ask)
        taken.append(b.next())
        return ask()

    monkeypatch.setattr(study, "ask", meanwhile)
    assert a.next() is None
    b.finish(taken[0], Outcome(0.8, 1))
    assert [trial.number for trial in finished(study.get_trials())] == [0]
    assert [trial.user_attrs.get("note") for trial in study.trials] == [None, "superfluous"]
    assert not a.wait()


def test_two_that_start_at_once_train_the_start_once(monkeypatch):
    study = optuna.create_study(direction="maximize")
    queue, searches = study.enqueue_trial, []

    def meanwhile(*arguments, **how):
        monkeypatch.setattr(study, "enqueue_trial", queue)
        searches.append(Search(study, Config(epochs=4), None, rows="", total=3, seed=0))
        queue(*arguments, **how)

    monkeypatch.setattr(study, "enqueue_trial", meanwhile)
    searches.append(Search(study, Config(epochs=4), None, rows="", total=3, seed=0))
    tasks = [search.next() for search in (*searches, *searches)]
    assert [task and task.trial.number for task in tasks] == [0, 2, 3, None]
    assert [task.config == Config(epochs=4) for task in tasks[:3]] == [True, False, False]


def test_a_trial_whose_finder_was_killed_before_queueing_it_comes_again_once(monkeypatch):
    monkeypatch.setattr(presence, "GRACE", -1.0)
    study, a, b = two(total=1)
    study.tell(a.next().trial, state=optuna.trial.TrialState.FAIL)
    a._mine.clear()  # as a new process
    queue = study.enqueue_trial

    def meanwhile(*arguments, **how):
        queue(*arguments, **how)
        queue(*arguments, **how)  # another has found it too

    monkeypatch.setattr(study, "enqueue_trial", meanwhile)
    task = a.next()
    assert task.config == a.start
    a.finish(task, Outcome(0.8, 1))
    assert (a.next(), b.wait()) == (None, False)
    b.total = 2
    task = b.next()
    assert task.config != b.start
    assert [trial.user_attrs.get("note") for trial in study.trials] == [None, None, "superfluous", None]


def test_a_file_that_somebody_keeps_locked_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE", 0.1)
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    line = ("digits", "--epochs", 1, "--jobs", 1, "--storage", url, "--out", tmp_path / "out")
    run("tune", *line, "--trials", 1)
    holder = sqlite3.connect(tmp_path / "trials.db")
    holder.execute("BEGIN EXCLUSIVE")
    result = run("tune", *line, "--trials", 2)
    holder.close()
    assert result == (1, "", f"error: {url}: cannot be the storage: database is locked\n")


@pytest.mark.parametrize(
    ("url", "limits"),
    [
        ("postgresql+psycopg2://me@h/d", {"tcp_user_timeout": 60_000, "connect_timeout": 60}),
        ("postgresql+psycopg://me@h/d?connect_timeout=5", {"tcp_user_timeout": 60_000, "connect_timeout": None}),
        ("mysql+pymysql://me@h/d", {"read_timeout": 60, "init_command": "SET SESSION wait_timeout = 30"}),
        ("mysql+mysqldb://me@h/d?read_timeout=9", {"write_timeout": 60, "read_timeout": None}),
    ],
)
def test_drivers_are_told_how_long_to_wait_unless_the_url_says_so(url, limits, monkeypatch):
    told = {}

    def opened(self, url, engine_kwargs):
        told.update(engine_kwargs["connect_args"])
        raise ImportError("no such driver")

    monkeypatch.setattr(optuna.storages.RDBStorage, "__init__", opened)
    with pytest.raises(storage.DataError), storage.open_study(url, "digits"):
        pass
    assert {name: told.get(name) for name in limits} == limits
