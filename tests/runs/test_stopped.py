"""Runs that are killed, interrupted or out of disk: nothing is lost, and going on gives the same bits."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run, snapshot, succeed
from kill_and_resume import contents
from stopping import BACKOFF, SMALL, at_epoch, go_on, one_line, send

from fastff.system import checkpoint, files
from fastff.training.trainer import Trainer

RHYTHMS = {
    "often": (*SMALL, "--epochs", 3, "--checkpoint-epochs", 1),
    "seldom": (*SMALL, "--epochs", 3, "--checkpoint-epochs", 2, "--schedule", "cosine"),
    "patience": (*SMALL, "--epochs", 9, "--checkpoint-epochs", 1, "--patience", 2, "--step-size", 1e-9),
    "backoff": (*BACKOFF, "--checkpoint-epochs", 3),
}
STOPS = [
    (getattr(signal, name), said)
    for name, said in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGBREAK", "interrupted"))
    if hasattr(signal, name)  # the last is Windows's
]


# --- killed


class Killed(BaseException):
    """Stands for SIGKILL: nothing in fastff catches it."""


def killed_at(monkeypatch, number, *arguments):
    """Run a command that is killed when it has written its file `number` beside its target; False if it ended first."""
    written, really = [], os.replace

    def replace(source, target):
        written.append(target)
        if len(written) == number:
            shutil.copy(source, f"{source}-copy")  # what clears up behind an exception does not behind a kill
            raise Killed
        return really(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace)
        try:
            assert run("train", *arguments).status == 0
        except Killed:
            for copy in Path(written[-1]).parent.glob(".*-copy"):
                copy.rename(str(copy).removesuffix("-copy"))
            return True
        return False


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_a_kill_before_any_write_of_a_file_loses_nothing(flowers, tmp_path, monkeypatch, rhythm):
    options = (flowers, *RHYTHMS[rhythm])
    run("train", *options, "--out", tmp_path / "whole")
    whole, number = contents(tmp_path / "whole"), 1
    while killed_at(monkeypatch, number, *options, "--out", tmp_path / str(number)):
        resumed = go_on(tmp_path / str(number))
        if number == 1:  # nothing was there yet: the only moment to begin anew
            one_line(resumed, 1, "has no checkpoint.safetensors")
            resumed = run("train", *options, "--out", tmp_path / str(number))
        assert resumed.status == 0, resumed
        assert contents(tmp_path / str(number)) == whole
        assert not list((tmp_path / str(number)).glob(".*"))  # no lock, no temporary file
        number += 1
    assert number > 8


def test_a_kill_while_an_earlier_run_is_replaced_leaves_one_of_the_two(flowers, tmp_path, monkeypatch, old):
    options = (flowers, *SMALL, "--seed", 1, "--epochs", 3, "--checkpoint-epochs", 1)
    succeed("train", *options, "--out", tmp_path / "whole")
    shutil.copytree(old, tmp_path / "kept")
    number, seeds = 1, []
    while killed_at(monkeypatch, number, *options, "--out", old):
        assert go_on(old).status == 0
        expected = "kept" if number == 1 else "whole"
        assert contents(old) == contents(tmp_path / expected)
        seeds.append(contents(old)["summary"]["seed"])
        shutil.rmtree(old)
        shutil.copytree(tmp_path / "kept", old)
        number += 1
    assert seeds == [0] + [1] * (number - 2)


def test_what_killed_writers_left_is_cleared_away(old):
    kept = (".gitignore", ".report.pdf.0123456789abcdef.tmp")  # not a run's: somebody may be writing it
    for name in (".checkpoint.safetensors.0123456789abcdef.tmp", ".curves.png.0123456789abcdef.tmp", *kept):
        (old / name).write_text("half")
    succeed("train", "--resume", "--out", old)
    assert sorted(path.name for path in old.glob(".*")) == sorted(kept)


@pytest.mark.slow
def test_runs_that_are_killed_at_random_end_with_the_same_bits():
    script = Path(__file__).parents[1] / "promises" / "kill_and_resume.py"
    done = subprocess.run([sys.executable, script, "--runs", "6"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("6 of 6 ends are bitwise equal to those of undisturbed runs\n")


# --- resumed


def test_the_checkpoint_is_the_truth(flowers, tmp_path, old):
    whole = contents(old)
    for name in ("config.toml", "metrics.jsonl", "best.safetensors", "summary.json"):
        (old / name).unlink()
        succeed("train", "--resume", "--out", old)
        assert contents(old) == whole
        (old / name).write_text("garbage")
        succeed("train", "--resume", "--out", old)
        assert contents(old) == whole


def test_a_summary_is_there_only_when_it_is_of_this_checkpoint(flowers, tmp_path, monkeypatch, old):
    at_epoch(monkeypatch, 3, lambda: send(signal.SIGINT))
    run("train", "--resume", "--out", old, "--epochs", 4)
    assert (old / "checkpoint.safetensors").exists()
    assert not (old / "summary.json").exists()


def test_more_patience_goes_on_where_patience_was_at_its_end(flowers, tmp_path):
    options = (flowers, *SMALL, "--step-size", 1e-9, "--epochs", 9)
    succeed("train", *options, "--patience", 2, "--out", tmp_path / "run")
    succeed("train", "--resume", "--patience", 4, "--out", tmp_path / "run")
    succeed("train", *options, "--patience", 4, "--out", tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "run")["metrics"]) == 5


def test_a_long_epoch_is_saved_in_its_middle(tmp_path, monkeypatch):
    options = ("digits", "--hidden", 1024, 512, "--batch-size", 2, "--epochs", 1)
    succeed("train", *options, "--checkpoint-minutes", 100, "--out", tmp_path / "whole")
    save, batches = checkpoint.save, []

    def noted(path, arrays, notes):
        batches.append(notes.get("progress", {}).get("batch", 0))
        save(path, arrays, notes)

    monkeypatch.setattr("fastff.runs.run.checkpoint.save", noted)
    succeed("train", *options, "--checkpoint-minutes", 0.001, "--out", tmp_path / "often")
    assert any(batches)
    one, other = contents(tmp_path / "often"), contents(tmp_path / "whole")
    for found in (one, other):
        found["checkpoint"][1]["options"].pop("checkpoint_minutes")
        found["config"].pop("checkpoint_minutes")
    assert one == other


# --- signals


@pytest.mark.parametrize(("number", "said"), STOPS)
def test_a_signal_saves_and_going_on_gives_the_same_bits(flowers, tmp_path, monkeypatch, number, said):
    options = (flowers, *SMALL, "--epochs", 4)
    succeed("train", *options, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        at_epoch(patch, 2, lambda: send(number))
        result = run("train", *options, "--out", tmp_path / "run")
    one_line(result, 128 + number, (f"{said}: saved in ", "--resume --out"))
    assert len(checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["epochs"]) == 2
    assert go_on(tmp_path / "run").status == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_second_signal_gives_up_the_save_and_the_file_before_it_stays(flowers, tmp_path, monkeypatch):
    options = (flowers, *SMALL, "--epochs", 3, "--checkpoint-epochs", 1)
    succeed("train", *options, "--out", tmp_path / "whole")
    write, saves = checkpoint._write, []

    def interrupted(file, arrays, text):
        saves.append(file)
        write(file, arrays, text)
        if (
            len(saves) == 4
        ):  # the checkpoint of the second epoch, after those of the start and of the first, and its best
            file.truncate(file.tell() // 2)
            send(signal.SIGINT)
            send(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", interrupted)
        result = run("train", *options, "--out", tmp_path / "run")
    assert (result.status, result.err) == (130, "interrupted\n")
    assert len(checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["epochs"]) == 1
    assert not list((tmp_path / "run").glob(".*"))
    assert go_on(tmp_path / "run").status == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_after_the_run_signals_are_what_they_were(flowers, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    succeed("train", flowers, *SMALL, "--epochs", 1, "--out", tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_before_the_first_batch_leaves_an_earlier_run_alone(flowers, monkeypatch, old):
    before = snapshot(old)
    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: send(signal.SIGINT))
    one_line(run("train", flowers, *SMALL, "--out", old), 130, "nothing was trained yet")
    assert snapshot(old) == before


# --- the disk


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_disk_that_fails_is_one_line_and_the_last_checkpoint_stays(flowers, monkeypatch, old, call, reason):
    before = snapshot(old)
    real, training = getattr(os, call), []

    def failing(*arguments, **options):
        if training:
            raise OSError(reason, os.strerror(reason))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, failing)
        at_epoch(patch, 3, lambda: training.append(True))
        result = run("train", "--resume", "--epochs", 5, "--checkpoint-epochs", 1, "--out", old)
    one_line(result, 1, (f"error: cannot write {old / 'checkpoint.safetensors'}: {os.strerror(reason)}",))
    assert snapshot(old)[Path("checkpoint.safetensors")] == before[Path("checkpoint.safetensors")]
    assert not list(old.glob(".*"))
    assert go_on(old).status == 0


def test_a_limit_on_the_size_of_files_is_one_line(flowers, tmp_path):
    resource = pytest.importorskip("resource", reason="on Windows: files have no such limit")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        result = run("train", flowers, "--hidden", 64, "--epochs", 2, "--out", tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    one_line(result, 1, ("checkpoint.safetensors", "File too large"))


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a small disk of one's own is for root")
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(flowers, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk of one's own is for root, and not for every root")
    try:
        options = ("--hidden", 64, "--epochs", 3, "--checkpoint-epochs", 1, "--batch-size", 16)
        with monkeypatch.context() as patch:
            at_epoch(patch, 2, lambda: (disk / "other").write_bytes(bytes(disk_free(disk) - 8192)))
            result = run("train", flowers, *options, "--out", disk / "run")
        one_line(result, 1, ("checkpoint.safetensors", "No space left on device"))
        assert len(checkpoint.load(disk / "run" / "checkpoint.safetensors")[1]["epochs"]) == 1
        (disk / "other").unlink()
        assert go_on(disk / "run").status == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def disk_free(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: no folder vanishes that has an open file")
def test_a_folder_that_vanishes_is_one_line(flowers, monkeypatch, old):
    at_epoch(monkeypatch, 3, lambda: shutil.rmtree(old))
    result = run("train", "--resume", "--epochs", 4, "--out", old)
    one_line(result, 1, (f"cannot write {old / 'checkpoint.safetensors'}: No such file or directory",))
