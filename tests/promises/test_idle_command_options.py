"""Every option of the commands beside train changes what the command does, or is refused there by name."""

import csv
import dataclasses
import functools
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from command_line import run, succeed, write_flowers

from fastff import ablate, export, predict
from fastff.evaluate import __main__ as evaluate
from fastff.report import __main__ as report
from fastff.tune import __main__ as tune

OPTIONS = {
    "evaluate": evaluate.Options,
    "predict": predict.Options,
    "export": export.Options,
    "report": report.Options,
    "ablate": ablate.Options,
    "tune": tune.Options,
}
SEARCH = "{npz} --trials 3 --epochs 1 --jobs 1 --out {out}"
IN_TABLE = SEARCH.replace("{npz}", "{csv} --target y")
RARE = SEARCH.replace("{npz}", "{csv} --target rare")
NAMED = SEARCH.replace("{npz}", "mnist --data-dir {idx}")
# Of each option two command lines that differ in it alone, and must not end in the same
CHANGES = {
    "evaluate": {
        "run_dir": ("{digits} digits", "{other} digits"),
        "dataset": ("{digits} digits", "{digits} {npz64}"),
        "data_dir": ("{digits} mnist --data-dir {idx}", "{digits} mnist --data-dir {idx2}"),
        "target": ("{table} {csv} --target y", "{table} {csv} --target z"),
        "split": ("{digits} digits", "{digits} digits --split val"),
        "tta": ("{digits} digits", "{digits} digits --tta"),
    },
    "predict": {
        "run_dir": ("{digits} {rows} --out {out}/a.csv", "{other} {rows} --out {out}/a.csv"),
        "input": ("{digits} {rows} --out {out}/a.csv", "{digits} {rows2} --out {out}/a.csv"),
        "out": ("{digits} {rows} --out {out}/a.csv", "{digits} {rows} --out {out}/a.npz"),
    },
    "export": {
        "run_dir": ("{digits} --out {out}/a.onnx", "{other} --out {out}/a.onnx"),
        "out": ("{digits} --out {out}/a.onnx", "{digits} --out {out}/b.onnx"),
    },
    "report": {
        "run_dir": ("{digits}", "{other}"),
        "answers": ("{digits}", "{digits} --answers {answers}"),
        "author": ("{digits}", "{digits} --author me"),
        "date": ("{digits}", "{digits} --date today"),
        "course": ("{digits}", "{digits} --course CS1"),
    },
    "ablate": {
        "run_dir": ("{digits} --seeds 1", "{other} --seeds 1"), "seeds": ("{digits} --seeds 1", "{digits} --seeds 2")
    },
    "tune": {
        "dataset": (SEARCH, SEARCH.replace("{npz}", "{npz2}")),
        "trials": (SEARCH, SEARCH.replace("3", "2")),
        "data_dir": (NAMED, NAMED.replace("{idx}", "{idx2}")),
        "target": (SEARCH.replace("{npz}", "{csv} --target y"), SEARCH.replace("{npz}", "{csv} --target z")),
        "drop": (IN_TABLE, IN_TABLE + " --drop a"),
        "categorical": (IN_TABLE, IN_TABLE + " --categorical z"),
        "weight_column": (IN_TABLE + " --drop w", IN_TABLE + " --weight-column w"),
        "class_weight": (RARE, RARE + " --class-weight balanced"),
        "test_share": (IN_TABLE, IN_TABLE + " --test-share 0.4"),
        "task": (IN_TABLE, IN_TABLE + " --task regress"),
        "preset": (SEARCH, SEARCH + " --preset course"),
        "config": (SEARCH, SEARCH + " --config {config}"),
        "epochs": (SEARCH, SEARCH.replace("--epochs 1", "--epochs 2")),
        "seed": (SEARCH, SEARCH + " --seed 1"),
        "storage": (SEARCH, SEARCH + " --storage {out}/other.log"),
        "out": (SEARCH, SEARCH + "/below"),
    },
}  # fmt: skip
# What means nothing beside the rest of the line, and the option that the error names
REFUSED = {
    "evaluate": {
        "{digits} digits --data-dir {idx}": "--data-dir: ",
        "{digits} {npz64} --data-dir {idx}": "--data-dir: ",
        "{digits} digits --target y": "--target: ",
        "{digits} {npz64} --target y": "--target: ",
        "{digits} mnist --data-dir {idx} --target y": "--target: ",
        "{digits} {npz64} --split val": "--split",
        "{table} {csv} --split train --target y --tta": "--tta",
    },
    "predict": {"{digits} {rows} --out {out}/a.txt": "--out"},
    "export": {"{digits} --out {out}/a.txt": "--out"},
    "ablate": {"{digits} --jobs 0": "--jobs: ", "{digits} --seeds 0": "--seeds: "},
    "tune": {
        SEARCH + " --data-dir {idx}": "--data-dir: ",
        SEARCH.replace("{npz}", "digits") + " --data-dir {idx}": "--data-dir: ",
        SEARCH + " --target y": "--target: ",
        SEARCH + " --test-share 0.1": "--test-share: ",
        SEARCH + " --drop a": "--drop: ",
        SEARCH + " --preset none": "--preset: ",
        SEARCH + " --seed -1": "--seed: ",
        SEARCH.replace("--jobs 1", "--jobs 0"): "--jobs: ",
        SEARCH.replace("--trials 3", "--trials 0"): "--trials: ",
    },
}


def save_pictures(folder, seed):
    """IDX files of 8 x 8 pictures, as of MNIST, with the values of digits."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for name, count in (("train", 60), ("t10k", 20)):
        images, labels = rng.integers(0, 17, (count, 8, 8), np.uint8), np.arange(count, dtype=np.uint8) % 10
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the command lines name: runs, data sets and files of rows."""
    folder = tmp_path_factory.mktemp("idle")
    rng = np.random.default_rng(0)
    found = {name: folder / name for name in ("digits", "other", "table")}
    found |= {"idx": save_pictures(folder / "idx", 1), "idx2": save_pictures(folder / "idx2", 2)}
    found |= {"csv": folder / "table.csv", "config": folder / "start.toml", "npz64": folder / "npz64.npz"}
    with found["csv"].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "y", "z", "w", "rare"])
        writer.writerows([*rng.normal(size=2), i % 3, i // 2 % 3, 1 + i % 4 * 5, i % 5 == 0] for i in range(90))
    found["config"].write_text("hidden = [7]\n")
    found["answers"] = folder / "answers.toml"
    found["answers"].write_text("discussion = 'x'\n")
    np.savez(found["npz64"], **{
        f"{a}_{split}": rng.random((30, 64), np.float32) if a == "x" else np.arange(30) % 10
        for split in ("train", "test") for a in "xy"
    })  # fmt: skip
    for name, seed in (("rows", 3), ("rows2", 4)):
        found[name] = folder / f"{name}.npy"
        np.save(found[name], np.random.default_rng(seed).random((5, 64)) * 16)
    for name in ("npz", "npz2"):
        (folder / name).mkdir()
        changes = {} if name == "npz" else {"y_val": np.arange(15) // 5}
        found[name] = write_flowers(folder / name, **changes)
    small = ("--hidden", 8, "--epochs", 2)
    succeed("train", "digits", *small, "--out", found["digits"], pictures=True)
    succeed("train", "digits", *small, "--seed", 1, "--out", found["other"], pictures=True)
    succeed("train", found["csv"], "--target", "y", *small, "--out", found["table"])
    return found


def line(text, places, out):
    return text.format(**places, out=out).split(" ")


def trials(path):
    """A search's table but for times."""
    with path.open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def ended(command, text, places, out):
    """What a command line shows: what it prints, and the files that it leaves, without times."""
    out.mkdir()
    inside = command in ("report", "ablate")
    folder = Path(places["digits" if "{digits}" in text else "other"]) if inside else out
    for old in folder.glob("ablation.*" if command == "ablate" else "report.*"):
        old.unlink()
    said = run(command, *line(text, places, out))
    assert said.status == 0, said
    if command == "ablate":
        trainings = json.loads((folder / "ablation.json").read_text())["trainings"]
        return sorted(str({**training, "seconds": 0}) for training in trainings)
    if command == "evaluate":
        return json.loads(said.out)
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    if command == "tune":
        return [(str(name), trials(path) if name.suffix == ".csv" else None) for name, path in sorted(files.items())]
    return {name: path.read_bytes() for name, path in files.items() if command != "report" or "report" in name.name}


@pytest.fixture(scope="module")
def shown(places, tmp_path_factory):
    """What a command line shows, as shown(command, text); one that several options are compared with is run once."""
    return functools.cache(lambda *line: ended(*line, places, tmp_path_factory.mktemp("shown") / "out"))


def test_every_option_is_tried():
    for command, options in OPTIONS.items():
        names = {field.name for field in dataclasses.fields(options)}
        assert names - {"jobs"} == set(CHANGES[command]), command


@pytest.mark.parametrize(("command", "name"), [(command, name) for command in CHANGES for name in CHANGES[command]])
def test_an_option_changes_something(command, name, shown):
    for needed in {"export": ["onnx"], "report": ["typst"], "tune": ["optuna"]}.get(command, []):
        pytest.importorskip(needed)
    one, other = (shown(command, text) for text in CHANGES[command][name])
    assert one != other


@pytest.mark.parametrize(("command", "text"), [(command, text) for command in REFUSED for text in REFUSED[command]])
def test_what_would_change_nothing_is_refused(command, text, places, tmp_path):
    if command == "tune":
        pytest.importorskip("optuna")
    result = run(command, *line(text, places, tmp_path / "out"))
    assert result.status in (1, 2), result
    assert result.err.startswith("error: ")
    assert REFUSED[command][text] in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_are_how_many_trials_are_trained_at_once(jobs, places, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    wanted, run_here = [], tune.run_here

    def recorded(search, *, jobs, source):
        wanted.append(jobs)
        run_here(search, data=tune.load_dataset(source.dataset))

    monkeypatch.setattr(tune, "run_in_workers", recorded)
    result = run("tune", *line(SEARCH.replace("--jobs 1", f"--jobs {jobs}"), places, tmp_path / "out"))
    assert result.status == 0, result
    assert set(wanted) == {jobs}
