"""Which folder a run takes or goes on in, and that no two runs write to one folder at a time."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run, snapshot, succeed
from stopping import go_on, one_line

from fastff.errors import DataError
from fastff.runs.config import Config
from fastff.runs.folder import choose_folder, find_run
from fastff.system import checkpoint, files


def saying(**options):
    return dataclasses.replace(Config(), **options)


def test_a_new_run_takes_the_first_free_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/digits", "runs/digits-2", "runs/digits-4"):
        assert str(choose_folder(saying(out="mine"))) == "mine"
        (tmp_path / folder).mkdir(parents=True)
    assert choose_folder(saying()) == Path("runs/digits-3")


def test_the_folder_to_resume_is_the_latest_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in ("", "-2"):
        folder = tmp_path / "runs" / f"flowers{number}"
        folder.mkdir(parents=True)
        checkpoint.save(folder / "checkpoint.safetensors", {}, {"options": {"seed": 3}})
    folder, saved = find_run(saying(dataset="data/flowers.npz"))
    assert (folder.name, saved) == ("flowers-2", {"seed": 3})
    with pytest.raises(DataError, match=r"digits has no checkpoint\.safetensors"):
        find_run(saying())


# --- two runs


def test_a_folder_takes_one_run_at_a_time(flowers, old):
    with files.locked(old):
        before = snapshot(old)
        for arguments in ((flowers, "--out", old), ("--resume", "--out", old)):
            one_line(run("train", *arguments), 1, (f"{old}: another run is writing to this folder",))
        assert snapshot(old) == before
    succeed("train", "--resume", "--out", old)


def test_the_lock_goes_with_its_owner(tmp_path, old):
    script = "import sys; from pathlib import Path; from fastff.system.files import locked\n"
    script += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, old], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline().rstrip() == b"held"
        assert go_on(old).status == 1
        owner.kill()
        owner.wait()
        assert (old / ".lock").exists()
        assert go_on(old).status == 0
    assert not (old / ".lock").exists()


def test_runs_that_start_at_once_take_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mkdir, others = Path.mkdir, []

    def beaten(self, *arguments, **options):
        if not others:
            others.append(self)
            mkdir(self, *arguments, **options)
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", beaten)
    assert choose_folder(Config()) == Path("runs/digits-2")
