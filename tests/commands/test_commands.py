"""The commands from end to end: from the digits to a run's files, its figures and its predictions."""

import contextlib
import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from command_line import PLAIN, run, succeed, write_flowers
from drawn import heading

import fastff
from fastff import FeedForwardNeuralNetwork, load_dataset, train
from fastff.engine.program import Program
from fastff.plots import canvas
from fastff.runs import build, seeds
from fastff.runs.config import Config
from fastff.runs.presets import PRESETS
from fastff.runs.progress import TrainingProgress
from fastff.system import checkpoint, clock
from fastff.system.shell import command_line

FILES = [
    "best.safetensors",
    "checkpoint.safetensors",
    "config.toml",
    "confusion.png",
    "curves.png",
    "examples.png",
    "metrics.jsonl",
    "summary.json",
    "weights.png",
]
SUMMARY = [
    "dataset",
    "task",
    "test_rows",
    "epochs",
    "best_epoch",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "test_loss",
    "majority_share",
    "val_balanced_accuracy",
    "val_auc",
    "test_balanced_accuracy",
    "test_auc",
    "train_seconds",
    "prepare_seconds",
    "compile_seconds",
    "examples_per_second",
    "parameters",
    "precision",
    "threads",
    "seed",
    "version",
]
SMALL = ("--hidden", 16, "--dropout", 0.2, "--batch-size", 16)  # a network for the flowers


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a run on digits, all options left alone, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, succeed("train", "--out", folder, pictures=True)


def weights(path):
    """The arrays of a file, as bytes."""
    return {name: array.tobytes() for name, array in checkpoint.load(path)[0].items()}


def records(folder):
    """The lines of metrics.jsonl without what depends on the clock."""
    timed = ("seconds", "examples_per_second")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


def assert_same_run(one, other):
    """Both runs hold the same weights, moments and history, bit for bit."""
    assert weights(one / "checkpoint.safetensors") == weights(other / "checkpoint.safetensors")
    assert weights(one / "best.safetensors") == weights(other / "best.safetensors")
    assert records(one) == records(other)


# --- train


def test_a_runs_pictures_give_one_validation_figure_and_say_why_the_losses_differ(tmp_path, monkeypatch):
    figures = {}
    monkeypatch.setattr(canvas, "write", lambda figure, path: figures.update({path.name: heading(figure)}))
    succeed("train", "--epochs", 3, "--hidden", 16, "--out", tmp_path / "run", pictures=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    curves = figures["curves.png"]
    assert curves.startswith(f"digits: test accuracy {summary['test_accuracy']:.1%} ")
    assert f"Best epoch {summary['best_epoch']} of 3: validation accuracy {summary['val_accuracy']:.1%}" in curves
    assert curves.count("validation accuracy") == 1
    assert curves.endswith(
        "Dropout and label smoothing, which only training has, lift its loss above that of validation."
    )
    assert figures["confusion.png"].startswith("digits: true and predicted classes of test rows")
    assert figures["examples.png"].startswith("digits: some test rows")
    assert figures["weights.png"].startswith("digits: weights of the first layer All 16 units.")


def test_a_run_leaves_its_files(digits):
    folder, _ = digits
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_summary_says_how_it_went(digits):
    folder, _ = digits
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary) == SUMMARY
    assert summary["dataset"] == "digits"
    assert summary["test_accuracy"] >= 0.95
    assert summary["train_accuracy"] >= summary["test_accuracy"]
    assert summary["parameters"] == 65 * 256 + 257 * 128 + 129 * 10
    assert (summary["precision"], summary["seed"], summary["version"]) == ("float32", 0, fastff.__version__)
    best = max(records(folder), key=lambda record: record["val_accuracy"])  # the first of equals
    assert (summary["best_epoch"], summary["val_accuracy"]) == (best["epoch"], best["val_accuracy"])


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train", "val")])
@pytest.mark.parametrize("task", ["classify", "regress"])
def test_after_training_every_row_goes_through_the_network_once(tmp_path, monkeypatch, task, splits):
    rng, rows, begun = np.random.default_rng(0), [], False
    arrays = {f"x_{split}": rng.normal(size=(150 + i, 12)).astype(np.float32) for i, split in enumerate(splits)}
    targets = {f"y_{split}": arrays[f"x_{split}"][:, 0] for split in splits}
    if task == "classify":
        targets = {name: (values > 0).astype(np.int64) for name, values in targets.items()}
    np.savez(tmp_path / "rows.npz", **arrays, **targets)
    through, summarise = Program.run, train.summarise

    def counted(self, index=None, **more):
        if begun:
            rows.append(self.rows if index is None else index.size)
        return through(self, index, **more)

    def begin(*given):
        nonlocal begun
        begun = True
        return summarise(*given)

    monkeypatch.setattr(Program, "run", counted)
    monkeypatch.setattr(train, "summarise", begin)
    options = ("--task", task, "--epochs", 1, "--hidden", 8, "--out", tmp_path / "run")
    succeed("train", tmp_path / "rows.npz", *options, pictures=True)
    assert sorted(rows) == sorted(len(array) for array in arrays.values())
    assert len(list((tmp_path / "run").glob("*.png"))) > 1


def test_the_summarys_seconds_of_preparation_are_those_of_fitting_the_first_layers(flowers, tmp_path, monkeypatch):
    now, prepare = [0.0], build.preprocessing

    def slowly(*given):
        now[0] += 3.0
        return prepare(*given)

    for module in (build, seeds):
        monkeypatch.setattr(module, "preprocessing", slowly)
    monkeypatch.setattr(clock, "now", lambda: now[0])
    succeed("train", flowers, *SMALL, "--epochs", 1, "--out", tmp_path / "one")
    run("train", flowers, *SMALL, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "two")
    for folder in ("one", "two/seed-0", "two/seed-1"):
        summary = json.loads((tmp_path / folder / "summary.json").read_text())
        assert (summary["prepare_seconds"], summary["train_seconds"]) == (3.0, 0.0)


def test_the_metrics_have_a_line_an_epoch(digits):
    folder, _ = digits
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 41))
    assert all(line["seconds"] > 0 for line in lines)
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]


def test_only_the_closing_lines_are_printed(digits):
    folder, printed = digits
    summary = json.loads((folder / "summary.json").read_text())
    first, second, third, fourth, fifth = printed.splitlines()
    assert first.startswith(f"digits: accuracy test {summary['test_accuracy']:.2%}, ")
    balanced, area = summary["test_balanced_accuracy"], summary["test_auc"]
    assert second == f"test: balanced accuracy {balanced:.2%}, AUC {area:.4f}, majority class 10.3%"
    assert third.startswith(f"epoch {summary['best_epoch']} of 40, the best in val_accuracy; training ")
    assert re.search(r"training \d+\.\d\d s, this command \d+\.\d s$", third)
    assert fourth.endswith(f" rows/s, 50,826 parameters; written to {folder}")
    assert fifth == f"next: python -m fastff.report {folder}, or python -m fastff.predict {folder} ..."


def test_runs_are_numbered_where_no_folder_is_named(flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        succeed("train", flowers, *SMALL, "--epochs", 1)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["flowers", "flowers-2", "flowers-3"]
    succeed("train", flowers, "--resume", "--epochs", 2)
    assert [len(records(tmp_path / "runs" / name)) for name in ("flowers", "flowers-2", "flowers-3")] == [1, 1, 2]


def test_options_decide_the_network(flowers, tmp_path):
    options = ["--hidden", 7, 5, "--epochs", 2, "--activation", "tanh", "--no-standardize", "--optimizer", "sgd"]
    succeed("train", flowers, *options, "--out", tmp_path / "run")
    arrays, notes = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert [layer["layer"] for layer in notes["layers"]] == ["linear", "tanh", "linear", "tanh", "linear"]
    assert [array.shape for name, array in arrays.items() if name.endswith("weight")] == [(4, 7), (7, 5), (5, 3)]
    assert len(records(tmp_path / "run")) == 2


def test_the_course_preset_gives_the_courses_network(flowers, tmp_path):
    succeed("train", flowers, "--preset", "course", "--epochs", 1, "--out", tmp_path / "run")
    layers = [layer["layer"] for layer in checkpoint.load(tmp_path / "run" / "best.safetensors")[1]["layers"]]
    assert layers == ["standardize", "linear", "relu", "linear", "relu", "linear"]
    config = (tmp_path / "run" / "config.toml").read_text()
    assert 'bias_correction = "constant"' in config
    assert "beta2 = 0.9\n" in config


def test_a_table_is_trained_with_what_suits_tables(flowers, tmp_path):
    arrays = np.load(flowers)
    table = np.column_stack([arrays["x_train"], arrays["y_train"]])
    np.savetxt(tmp_path / "flowers.csv", table, delimiter=",", header="a,b,c,d,kind", comments="")
    succeed("train", tmp_path / "flowers.csv", "--target", "kind", "--out", tmp_path / "run")
    assert 'monitor = "val_loss"' in (tmp_path / "run" / "config.toml").read_text()
    assert len(records(tmp_path / "run")) == PRESETS["tabular"]["epochs"]
    network = FeedForwardNeuralNetwork.load(tmp_path / "run" / "best.safetensors")
    assert (network.predict(arrays["x_test"]) == arrays["y_test"]).mean() > 0.9


def test_patience_stops_early(flowers, tmp_path):
    succeed("train", flowers, "--step-size", 1e-9, "--patience", 2, "--epochs", 9, "--out", tmp_path / "run")
    assert len(records(tmp_path / "run")) == 3


def test_data_without_validation_and_test_is_enough(tmp_path):
    data = write_flowers(tmp_path, x_val=None, y_val=None, x_test=None, y_test=None)
    succeed("train", data, *SMALL, "--epochs", 2, "--out", tmp_path / "run", pictures=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["test_accuracy"], summary["test_loss"]) == (None, None)
    assert summary["val_accuracy"] is not None


# --- the same again


def test_a_runs_config_gives_the_same_run(flowers, tmp_path):
    options = [*SMALL, "--epochs", 3, "--weight-decay", 0.01, "--decay", "decoupled", "--seed", 5]
    succeed("train", flowers, *options, "--out", tmp_path / "one")
    succeed("train", "--config", tmp_path / "one" / "config.toml", "--out", tmp_path / "two")
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "one" / "config.toml").read_bytes() == (tmp_path / "two" / "config.toml").read_bytes()


def test_the_number_of_threads_changes_no_bit(tmp_path):
    for threads in (1, 3):
        succeed("train", "digits", "--epochs", 2, "--threads", threads, "--out", tmp_path / str(threads))
    assert_same_run(tmp_path / "1", tmp_path / "3")


def test_another_seed_is_another_run(flowers, tmp_path):
    for seed in (1, 2):
        succeed("train", flowers, *SMALL, "--epochs", 1, "--seed", seed, "--out", tmp_path / str(seed))
    assert weights(tmp_path / "1" / "best.safetensors") != weights(tmp_path / "2" / "best.safetensors")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_resumed_run_is_the_run_at_once(flowers, tmp_path, optimizer):
    options = [flowers, *SMALL, "--optimizer", optimizer]
    succeed("train", *options, "--epochs", 6, "--out", tmp_path / "once")
    succeed("train", *options, "--epochs", 3, "--out", tmp_path / "twice")
    succeed("train", "--resume", "--epochs", 6, "--out", tmp_path / "twice")
    assert_same_run(tmp_path / "once", tmp_path / "twice")
    assert len(records(tmp_path / "twice")) == 6


def test_resuming_a_finished_run_changes_nothing(flowers, tmp_path):
    succeed("train", flowers, *SMALL, "--epochs", 2, "--out", tmp_path / "run")
    before = weights(tmp_path / "run" / "checkpoint.safetensors"), records(tmp_path / "run")
    succeed("train", "--resume", "--out", tmp_path / "run")
    assert (weights(tmp_path / "run" / "checkpoint.safetensors"), records(tmp_path / "run")) == before


def test_resuming_a_finished_run_says_what_would_go_on(flowers, tmp_path):
    succeed("train", flowers, *SMALL, "--epochs", 2, "--out", tmp_path / "run")
    told = succeed("train", "--resume", "--out", tmp_path / "run")
    assert told == f"{tmp_path / 'run'}: all 2 epochs are done (--epochs 4 trains on), nothing was trained\n"
    patient = ["--step-size", 1e-9, "--patience", 1, "--epochs", 9, "--out", tmp_path / "patient"]
    succeed("train", flowers, *patient)
    told = succeed("train", "--resume", "--out", tmp_path / "patient")
    assert "stopped after 2 epochs, 1 without a better one" in told
    assert told.count("\n") == 1
    run("train", flowers, *SMALL, "--epochs", 2, "--seeds", 2, "--out", tmp_path / "several")
    told = run("train", "--resume", "--seeds", 2, "--out", tmp_path / "several").out
    assert "nothing was trained" in told
    assert told.count("\n") == 1
    assert (
        "nothing was trained"
        not in run("train", "--resume", "--seeds", 2, "--epochs", 3, "--out", tmp_path / "several").out
    )


def test_a_finished_run_without_its_summary_gets_one(flowers, tmp_path):
    succeed("train", flowers, *SMALL, "--epochs", 2, "--out", tmp_path / "run", pictures=True)
    (tmp_path / "run" / "summary.json").unlink()  # as if it had been killed before that was written
    assert "accuracy" in succeed("train", "--resume", "--out", tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").exists()


def test_plain_resume_takes_the_latest_run_that_can_be_resumed(flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed("train", flowers, *SMALL, "--epochs", 1)
    assert run("train", flowers, *SMALL, "--epochs", 1, "--seeds", 2).status == 0
    succeed("train", flowers, "--resume", "--epochs", 2)
    assert len(records(tmp_path / "runs" / "flowers")) == 2
    assert run("train", flowers, *SMALL, "--resume", "--seeds", 2, "--epochs", 2).status == 0
    assert len(records(tmp_path / "runs" / "flowers-2" / "seed-0")) == 2
    only = run("train", "--resume", "--out", "runs/flowers-2")
    assert (only.status, only.err.count("\n")) == (1, 1)
    assert "--seeds N --resume" in only.err


@pytest.mark.parametrize("named", ["path", "folder"])
def test_resuming_from_another_folder_finds_the_data(flowers, tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    data = ["flowers.npz"]
    if named == "folder":
        arrays = np.load(flowers)
        (tmp_path / "data").mkdir()
        for name, array in arrays.items():
            np.save(tmp_path / "data" / f"{name}.npy", array)
        data = ["data"]
    succeed("train", *data, *SMALL, "--epochs", 1, "--out", tmp_path / "run")
    before = (tmp_path / "run" / "config.toml").read_text()
    assert f'dataset = "{data[0]}"' in before  # as it was written, for others
    for place, epochs in (("elsewhere", 2), (".", 3)):
        monkeypatch.chdir(tmp_path / place)
        succeed("train", "--resume", "--epochs", epochs, "--out", tmp_path / "run")
        text = (tmp_path / "run" / "config.toml").read_text()
        assert text == before.replace("epochs = 1", f"epochs = {epochs}")
    monkeypatch.chdir(tmp_path.parent)  # Windows moves no folder that a process works in
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))  # all of it: as written is right then
    monkeypatch.chdir(moved)
    succeed("train", "--resume", "--epochs", 4, "--out", moved / "run")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="on Windows: there is no SIGHUP")
@pytest.mark.parametrize("more", [(), ("--seeds", 2)])
def test_sighup_saves_as_sigterm_does(flowers, tmp_path, monkeypatch, more):
    def show(self, record):
        if record.epoch == 2:
            signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(TrainingProgress, "show", show)
    folder = tmp_path / "stopped by a terminal"
    options = [flowers, *SMALL, "--epochs", 20_000, *more, "--out", folder]
    stopped = run("train", *options)
    assert (stopped.status, stopped.out) == (129, "")
    assert stopped.err.startswith("hung up: saved in ")
    assert f"--resume --out {command_line([str(folder)])} goes on" in stopped.err
    kept = folder / ("seed-0" if more else "")
    assert 1 <= len(records(kept)) < 20_000


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_ctrl_c_saves_and_resuming_goes_on(flowers, tmp_path, monkeypatch, schedule):
    def show(self, record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    options = [flowers, *SMALL, "--schedule", schedule, "--epochs", 4]
    succeed("train", *options, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "show", show)
        stopped = run("train", *options, "--out", tmp_path / "stopped")
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err.count("\n") == 1
    assert "--resume" in stopped.err
    assert len(records(tmp_path / "stopped")) == 2
    succeed("train", "--resume", "--out", tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


# --- evaluate and predict


@pytest.mark.parametrize("split", ["test", "val"])
def test_evaluate_agrees_with_the_summary(digits, split):
    folder, _ = digits
    figures = json.loads(succeed("evaluate", folder, "digits", "--split", split))
    assert list(figures) == ["loss", "accuracy", "balanced_accuracy", "auc", "n"]
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert figures[name] == summary[f"{split}_{name}"]
    assert figures["n"] == len(getattr(load_dataset("digits"), f"y_{split}"))
    if split == "test":
        assert figures["loss"] == pytest.approx(summary["test_loss"], rel=1e-5)


def test_evaluate_averages_a_picture_and_its_mirror_image(digits):
    folder, _ = digits
    figures = json.loads(succeed("evaluate", folder, "digits", "--tta"))
    network = fastff.FeedForwardNeuralNetwork.load(folder / "best.safetensors")
    x, y = load_dataset("digits").x_test, load_dataset("digits").y_test
    mirrored = x.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)
    mean = (network.predict_proba(x) + network.predict_proba(mirrored)) / 2
    assert figures["accuracy"] == (mean.argmax(1) == y).mean()


def test_predict_reads_and_writes_every_form(digits, tmp_path):
    folder, _ = digits
    x = load_dataset("digits").x_test[:20]
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", anything=x)
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(20))
    lines = [",".join(f"p{i}" for i in range(64)), *(",".join(map(str, row)) for row in x)]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    expected = fastff.FeedForwardNeuralNetwork.load(folder / "best.safetensors").predict_proba(x)
    for name in ("x.npy", "one.npz", "x.npz", "x.csv"):
        printed = succeed("predict", folder, tmp_path / name, "--out", tmp_path / "guesses.npz")
        assert printed == f"20 rows written to {tmp_path / 'guesses.npz'}\n"
        with np.load(tmp_path / "guesses.npz") as guesses:
            np.testing.assert_array_equal(guesses["probabilities"], expected)
            np.testing.assert_array_equal(guesses["classes"], expected.argmax(1))
    succeed("predict", folder, tmp_path / "x.npy", "--out", tmp_path / "guesses.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "guesses.npy"), expected.argmax(1))
    succeed("predict", folder, tmp_path / "x.npy", "--out", tmp_path / "guesses.csv")
    with (tmp_path / "guesses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(20))
    assert [int(row["class"]) for row in rows] == expected.argmax(1).tolist()
    assert [row["name"] for row in rows] == [str(i) for i in expected.argmax(1)]
    written = [[float(row[f"p_{i}"]) for i in range(10)] for row in rows]
    np.testing.assert_allclose(written, expected, rtol=1e-5)


# --- as a shell sees them


def shell(*arguments, **how):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **PLAIN, "COLUMNS": "100"},
        **how,
    )


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "report"])
def test_help_names_every_option(monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "100")
    out = succeed(name, "--help")
    options = {
        "train": [field.name for field in dataclasses.fields(Config)][1:],
        "evaluate": ["data_dir", "target", "split", "tta"],
        "predict": ["out"],
        "report": [],
    }[name]
    for option in options:
        assert re.search(rf"[│ ,] --{option.replace('_', '-')}[ ,]", out), option
    words = {"train": "DATASET", "evaluate": "RUN_DIR DATASET", "predict": "RUN_DIR INPUT", "report": "RUN_DIR"}
    for word in words[name].split():
        assert word in out


def test_a_shell_sees_status_and_streams(flowers, tmp_path):
    trained = shell("fastff.train", flowers, *SMALL, "--epochs", 1, "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0
    assert len(trained.stdout.splitlines()) == 5
    evaluated = shell("fastff.evaluate", "run", flowers, cwd=tmp_path)
    assert evaluated.returncode == 0
    assert json.loads(evaluated.stdout)["n"] == 15
    failed = shell("fastff.evaluate", "nowhere", flowers, cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "error: nowhere: no such folder, want the folder of a run\n"


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: processes send one another no signals")
@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_in_the_middle_of_an_epoch_loses_nothing(tmp_path, number, said):
    # After the line that is printed comes an epoch of some 100 ms in the kernels.
    script = (
        "from fastff import command, train\n"
        "train.Run.save_now_and_then = lambda self: print('trained', flush=True)\n"
        "command.run(train.main)"
    )
    options = ["digits", "--hidden", "512", "512", "--batch-size", "2", "--out", str(tmp_path / "stopped")]
    arguments = [sys.executable, "-c", script, *options, "--epochs", "1000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "trained\n"
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1].startswith(f"{said}: saved in ")
    epochs = checkpoint.load(tmp_path / "stopped" / "checkpoint.safetensors")[1]["progress"]["epoch"] + 1
    succeed("train", "--resume", "--epochs", epochs, "--out", tmp_path / "stopped")
    succeed("train", *options[:-1], tmp_path / "whole", "--epochs", epochs)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: there are no terminals of this kind")
def test_a_terminal_of_80_columns_sees_whitening_epochs_and_lines_that_fit(flowers, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    terminal, end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    words = ["train", str(flowers), "--hidden", "16", "--whiten", "2", "--epochs", "3", "--out", "run"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "fastff", *words], stdin=end, stdout=end, stderr=end, cwd=tmp_path, env=environment
    )
    os.close(end)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal goes with the process
        while part := os.read(terminal, 1 << 16):
            seen += part
    os.close(terminal)
    assert process.wait() == 0
    lines = [
        line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())) if line.strip()
    ]
    assert any("whitening ..." in line for line in lines)
    assert any(line.startswith("epoch 3/3 ") and line.rstrip().endswith(" left") for line in lines)
    assert max(map(len, lines[:-1])) <= 80  # the last says what to type next
