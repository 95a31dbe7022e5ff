"""Commands where standard streams are closed, full or None: they do their work, and their status is right."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from command_line import COMMANDS, succeed, write_flowers

from fastff import command, plots
from fastff.runs.progress import TrainingProgress
from fastff.system.streams import Lossy, say

FULL = "/dev/full" if sys.platform != "win32" else "none"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="on Windows: no /dev/full")


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
        pytest.param(">&-", 0, marks=pytest.mark.slow),
        pytest.param("2>&-", 0, marks=pytest.mark.slow),
        (">&- 2>&- <&-", 0),
        pytest.param("2>/dev/full", 0, marks=pytest.mark.slow),
        (">/dev/full", 1),
        pytest.param(">/dev/full 2>/dev/full", 1, marks=pytest.mark.slow),
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
        pytest.param("fastff.train --help >&-", 0, marks=pytest.mark.slow),
        pytest.param("fastff.train --nonsense 2>/dev/full", 2, marks=pytest.mark.slow),
        ("fastff.train --nonsense >&- 2>&-", 2),
        pytest.param("fastff.train nothing.npz 2>/dev/full", 1, marks=pytest.mark.slow),
        pytest.param("PYTHONUNBUFFERED=1 fastff.train --help >/dev/full", 1, marks=pytest.mark.slow),
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


# --- encodings that lack characters

NEEDS = {"export": "onnx", "report": "typst", "tune": "optuna"}


@pytest.fixture
def strange(tmp_path):
    """A folder, whose name is in no small encoding, with data, a run of it and new rows."""
    folder = tmp_path / "größe 終"
    folder.mkdir()
    labels = np.array(["é", "終", "z"])[np.arange(60) % 3]
    lines = ["höhe,b,c", *(f"{i % 7},{i % 3},{label}" for i, label in enumerate(labels))]
    (folder / "表.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "neu.csv").write_text("höhe,b\n1,2\n", encoding="utf-8")
    succeed("train", folder / "表.csv", "--target", "c", "--epochs", 1, "--hidden", 8, "--out", folder / "run")
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("train", ["表.csv", "--target", "c", "--epochs", "1", "--hidden", "8", "--seeds", "2"]),
        ("train", ["表.csv", "--target", "終"]),
        ("evaluate", ["run", "表.csv", "--target", "c", "--split", "train"]),
        ("evaluate", ["終", "表.csv"]),
        ("predict", ["run", "neu.csv", "--out", "schätzung 終.csv"]),
        ("predict", ["run", "neu.csv", "--out", "終"]),
        ("export", ["run", "--out", "終.onnx"]),
        ("export", ["終", "--out", "model.onnx"]),
        ("report", ["run", "--answers", "終.toml"]),
        ("tune", ["表.csv", "--target", "c", "--trials", "1", "--jobs", "1", "--epochs", "1", "--out", "終"]),
        ("tune", ["終.csv", "--trials", "終"]),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_what_an_encoding_lacks_is_written_in_another_way(strange, monkeypatch, encoding, name, arguments):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    monkeypatch.chdir(strange)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    for drawn in plots.__all__:  # whose font lacks some of these characters
        monkeypatch.setattr(plots, drawn, lambda *_, **__: None)
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding, newline="") for _ in range(2))
    errors.reconfigure(errors="backslashreplace")  # as Python has it
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    with pytest.raises(SystemExit) as end:
        command.run(COMMANDS[name])
    said, complaints = (stream.buffer.getvalue().decode(encoding) for stream in (out, errors))
    assert "Unicode" not in complaints
    assert (said != "") == (end.value.code == 0)
    assert "\\u7d42" in said + complaints or "終" not in "".join(arguments)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_process_writes_every_character(strange, encoding):
    command = [sys.executable, "-m", "fastff.train", "--resume", "--epochs", "2", "--out", str(strange / "run")]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert b"\\u7d42" in done.stdout
