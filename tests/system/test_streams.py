"""Commands where standard streams are closed, full or None: they do their work, and their status is right."""

import io
import os
import subprocess
import sys

import pytest
from command_line import COMMANDS, write_flowers

from fastff import command
from fastff.runs.progress import TrainingProgress
from fastff.system.streams import Lossy, say

FULL = "/dev/full"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="the system has no /dev/full")


def shell(line, folder):
    """Run a command line of a shell; (status, standard output, standard error)."""
    line = line.replace("fastff", f"{sys.executable} -m fastff")
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=300)
    said = (line for line in done.stderr.splitlines(True) if line.strip() and "compiling" not in line)
    return done.returncode, done.stdout, "".join(said)


@needs_full
@pytest.mark.parametrize(
    ("streams", "status"),
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&- <&-", 0),
        ("2>/dev/full", 0),
        (">/dev/full", 1),
        (">/dev/full 2>/dev/full", 1),
    ],
)
def test_train_writes_its_run_whatever_the_streams_are(tmp_path, streams, status):
    write_flowers(tmp_path)
    found, _, errors = shell(f"fastff.train flowers.npz --epochs 1 --hidden 8 --out run {streams}", tmp_path)
    assert found == status
    full = streams == ">/dev/full"
    assert errors == ("error: standard output: No space left on device\n" if full else "")
    assert {"summary.json", "curves.png", "best.safetensors"} <= set(os.listdir(tmp_path / "run"))


@needs_full
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("fastff.train --help >/dev/full", 1),
        ("fastff.train --help >&-", 0),
        ("fastff.train --nonsense 2>/dev/full", 2),
        ("fastff.train --nonsense >&- 2>&-", 2),
        ("fastff.train nothing.npz 2>/dev/full", 1),
        ("PYTHONUNBUFFERED=1 fastff.train --help >/dev/full", 1),
        ("fastff.train --help | true", 0),
    ],
)
def test_help_and_errors_have_their_status_whatever_the_streams_are(tmp_path, line, status):
    found, out, errors = shell(line, tmp_path)
    assert (found, out) == (status, "")
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("kind", ["None", "closed"])
def test_every_command_ends_with_its_status_without_streams(monkeypatch, name, kind):
    for stream in ("stdin", "stdout", "stderr"):
        there = io.StringIO()
        there.close()
        monkeypatch.setattr(sys, stream, None if kind == "None" else there)
    for arguments, status in ((["--help"], 0), (["--nonsense", "a", "b"], 2)):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as end:
            command.run(COMMANDS[name])
        assert end.value.code == status
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


@pytest.mark.parametrize("stream", [None, io.StringIO(), "closed", "full"])
def test_what_cannot_be_said_is_lost_and_nothing_else(monkeypatch, stream):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

        def isatty(self):
            return True

    if stream == "full":
        stream = Full()
    elif stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    say("hello")
    assert not isinstance(stream, io.StringIO) or stream.closed or stream.getvalue() in ("hello\n", "")
    assert Lossy(stream).isatty() is isinstance(stream, Full)
    with TrainingProgress(3, 0):
        pass
