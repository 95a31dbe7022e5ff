"""A search finds options worth training with, goes on where it stopped, and loses no trial on the way."""

import gc
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import run, snapshot, succeed, write_flowers
from searches import parameters, search, states, table, workers

from fastff.data import load_dataset
from fastff.data.rows import Shard, Shards
from fastff.errors import DataError, DivergenceError
from fastff.runs.build import make_trainer
from fastff.runs.config import Config, start_from
from fastff.runs.presets import DEFAULTS
from fastff.system.shell import command_line
from fastff.training.trainer import Trainer

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
from fastff.tune.search import Search, finished, rows_of  # noqa: E402
from fastff.tune.space import near, start_parameters, suggest  # noqa: E402
from fastff.tune.workers import Outcome, Task  # noqa: E402

QUICK = ("--epochs", 2, "--jobs", 1)


# --- what is found


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a search on digits, what it printed, and its lines on standard error."""
    folder = tmp_path_factory.mktemp("runs") / "tune"
    return folder, *search("digits", "--trials", 4, *QUICK, "--out", folder, pictures=True)


def test_a_search_leaves_its_files_and_says_how_to_go_on(digits):
    folder, out, err = digits
    files = ["best.toml", "history.png", "trials.csv"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, "study.db"])
    best, command, written, missing = out.splitlines()
    assert re.fullmatch(r"digits: best validation accuracy \d+\.\d\d%, of trial \d at epoch [12]; 4 trials", best)
    assert command == f"train with it: python -m fastff.train --config {folder / 'best.toml'}"
    assert written == f"written to {folder}: {', '.join(files)}"
    assert missing.startswith("no importances.png yet: ")
    assert [line.split("  ")[0] for line in err] == ["1/4", "2/4", "3/4", "4/4"]


def test_the_table_holds_every_trial(digits):
    rows = table(digits[0])
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        assert row["state"] == "complete"
        assert 0 < float(row["val_accuracy"]) <= 1
        assert float(row["seconds"]) > 0
        assert (row["best_epoch"] in ("1", "2"), row["epochs"], row["note"]) == (True, "2", "")
        for i in range(1, 5):
            assert (row.get(f"width_{i}", "") != "") == (i <= int(row["layers"]))
        assert (row.get("weight_decay", "") == "") == (row["decay"] == "none")
        assert "mirror" not in row  # which would make other digits of them


def test_the_first_trial_is_what_training_starts_from(digits):
    row, start = table(digits[0])[0], DEFAULTS["digits"]
    assert (row["width_1"], row["width_2"]) == tuple(map(str, start["hidden"]))
    assert (row["dropout"], row["batch_size"]) == (str(start["dropout"]), str(start["batch_size"]))
    assert (row["decay"], row["shift"]) == ("none", "0")


def test_the_next_trials_stay_near_it():
    start = start_from("digits", None, {})
    tried = [near(start, (1, 8, 8), np.random.SeedSequence([0, number])) for number in range(50)]
    whole = start_parameters(start, (1, 8, 8))
    for found in tried:
        assert found.keys() == whole.keys()
        for name in ("layers", "schedule", "decay", "whiten"):
            assert found[name] == whole[name]
        for name in ("step_size", "batch_size", "width_1", "width_2"):
            assert whole[name] / 2 - 1 <= found[name] <= 2 * whole[name]
        assert abs(found["dropout"] - whole["dropout"]) <= 0.06
    assert len({found["step_size"] for found in tried}) > 15
    assert near(start, (1, 8, 8), np.random.SeedSequence([0, 7])) == tried[7]


def test_training_with_the_best_options_gives_the_accuracy_that_was_found(digits, tmp_path):
    folder = digits[0]
    succeed("train", "--config", folder / "best.toml", "--out", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["val_accuracy"] == max(float(row["val_accuracy"]) for row in table(folder))


@pytest.mark.parametrize(
    ("target", "said", "monitor"),
    [
        ("kind", None, "val_accuracy"),
        ("kind", "val_accuracy", "val_accuracy"),
        ("kind", "val_balanced_accuracy", "val_balanced_accuracy"),
        ("kind", "val_auc", "val_auc"),
        ("size", None, "val_r2"),
        ("size", "val_r2", "val_r2"),
    ],
)
def test_training_with_the_best_options_comes_to_the_epoch_that_was_found(tmp_path, target, said, monitor):
    """A table, whose preset would choose that by the loss."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(200, 3)), random.normal(size=200)
    size = x[:, 0] + noise
    rows = (f"{a:.4f},{b:.4f},{c:.4f},{v:.4f},{'ab'[int(v > 1)]}" for (a, b, c), v in zip(x, size, strict=True))
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,size,kind", *rows]))
    (tmp_path / "own.toml").write_text("epochs = 12\n" + (f'monitor = "{said}"\n' if said else ""))
    options = ("--target", target, "--drop", "size" if target == "kind" else "kind", "--config", tmp_path / "own.toml")
    out, _ = search(tmp_path / "t.csv", *options, "--trials", 3, "--jobs", 1, "--out", tmp_path / "s")
    assert f"best validation {monitor[4:].replace('_', ' ')} " in out
    best = max(
        (row for row in table(tmp_path / "s") if row["state"] == "complete"), key=lambda row: float(row[monitor])
    )
    succeed("train", "--config", tmp_path / "s" / "best.toml", "--out", tmp_path / "run")
    epochs = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["best_epoch"] == int(best["best_epoch"])
    assert max(record[monitor] for record in epochs) == float(best[monitor])


def test_importances_are_drawn_from_ten_trials_on(flowers, tmp_path):
    out, _ = search(flowers, "--trials", 10, "--epochs", 1, "--jobs", 1, "--out", tmp_path / "s", pictures=True)
    assert (tmp_path / "s" / "importances.png").read_bytes().startswith(b"\x89PNG")
    assert "importances.png" in out.splitlines()[-1]


def test_a_preset_and_a_file_of_options_are_where_the_search_starts(flowers, tmp_path):
    (tmp_path / "own.toml").write_text('hidden = [5]\noptimizer = "sgd"\nepochs = 1\nstep_size = 5.0\n')
    options = ("--trials", 2, "--jobs", 1, "--preset", "course", "--config", tmp_path / "own.toml")
    search(flowers, *options, "--out", tmp_path / "s")
    row = table(tmp_path / "s")[0]
    assert (row["layers"], row["width_1"], row["step_size"], row["decay"]) == ("1", "5", "5.0", "l2")
    assert 'optimizer = "sgd"' in (tmp_path / "s" / "best.toml").read_text()


@pytest.mark.parametrize("name", [*DEFAULTS, "flowers", "flowers.csv", "course"])
def test_every_start_is_within_the_limits(name):
    start = start_from("digits" if name == "course" else name, name if name == "course" else None, {})
    shape = None if name.startswith("flowers") else (3, 32, 32)
    study = optuna.create_study()
    study.enqueue_trial(start_parameters(start, shape))
    assert suggest(study.ask(), start, shape) == start  # a value beyond its limits would warn


def test_the_search_is_as_wide_as_it_says():
    sampler = optuna.samplers.RandomSampler(seed=0)
    for optimizer, shape in (("adam", (1, 8, 8)), ("sgd", None)):
        start = Config(dataset="own.npz", optimizer=optimizer)
        study = optuna.create_study(sampler=sampler)
        tried = [suggest(study.ask(), start, shape) for _ in range(200)]
        assert {len(config.hidden) for config in tried} == {1, 2, 3, 4}
        assert {config.decay for config in tried} == ({"l2", "decoupled"} if optimizer == "adam" else {"l2"})
        assert {config.mirror for config in tried} == ({False} if shape is None else {False, True})
        assert {config.shift for config in tried} == ({0} if shape is None else {0, 1})
        assert 0 < sum(config.weight_decay == 0 for config in tried) < 200


@pytest.mark.parametrize(
    "options", [{"bins": 4}, {"hidden": ()}, {"whiten": 5}, {"optimizer": "sgd"}, {"standardize": False}]
)
def test_all_that_is_tried_can_be_trained(options):
    data = load_dataset("digits")
    start = Config(**options)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(start_parameters(start, data.image_shape))
    tried = [suggest(study.ask(), start, data.image_shape) for _ in range(40)]
    assert tried[0] == start
    assert len({len(config.hidden) for config in tried}) > 3
    for config in tried:
        make_trainer(config, data)


# --- which trials are stopped


def tasks(start, total=20):
    study = optuna.create_study(direction="maximize")
    return study, Search(study, start, None, rows="", total=total, seed=0)


def test_a_trial_that_falls_behind_is_stopped_but_never_the_start(capsys):
    start = Config(epochs=8)
    _, trials = tasks(start)
    first = trials.next()
    assert first.config == start
    for _ in range(6):
        task = trials.next()
        assert not any(trials.report(task, epoch, 0.9) for epoch in range(1, 9))
        trials.finish(task, Outcome(0.9, 1))
    behind = trials.next()
    assert [trials.report(behind, epoch, 0.1) for epoch in range(1, 5)] == [False, True, True, True]
    trials.finish(behind, Outcome(0.1, 1, stopped=True))
    assert "not promising" in capsys.readouterr().err
    assert not any(trials.report(first, epoch, 0.1) for epoch in range(1, 9))


def test_what_a_worker_cannot_survive_is_tried_twice_only(capsys):
    study, trials = tasks(Config(), total=2)
    lost = [trials.next() for _ in range(2)]
    assert trials.next() is None
    for task in lost:
        trials.lost(task, "its process ended")
    again = [trials.next() for _ in range(2)]
    assert [task.config for task in again] == [task.config for task in lost]
    for task in again:
        trials.lost(task, "its process ended")
    assert trials.next() is None
    assert len(finished(study.get_trials())) == 2
    assert capsys.readouterr().err.count("given up") == 2


def test_a_trial_that_diverges_ends_there_and_is_named(flowers, tmp_path, monkeypatch):
    fit = Trainer.fit

    def diverge(self, *arguments, **how):
        if self.seed == 0 and len(self.network.linear_layers) != 3:
            raise DivergenceError("the loss is not finite")
        return fit(self, *arguments, **how)

    monkeypatch.setattr(Trainer, "fit", diverge)
    _, err = search(flowers, "--trials", 8, *QUICK, "--out", tmp_path / "s")
    bad = [row for row in table(tmp_path / "s") if row["layers"] != "2"]
    assert bad
    assert {(row["state"], row["note"]) for row in bad} == {("pruned", "the loss is not finite")}
    assert sum("diverged" in line for line in err) == len(bad)


@pytest.mark.parametrize(
    ("name", "value", "jobs"), [("bins", -1, 1), ("shift", 3, 1), ("clip_norm", 0.0, 1), ("beta1", 2.0, 2)]
)
def test_a_trial_that_cannot_be_trained_ends_there_and_says_why(flowers, tmp_path, monkeypatch, name, value, jobs):
    give = Search.next

    def spoil(self):
        task = give(self)
        return task and (Task(task.trial, replace(task.config, **{name: value})) if task.trial.number == 2 else task)

    monkeypatch.setattr(Search, "next", spoil)
    out, err = search(flowers, "--trials", 4, "--epochs", 2, "--jobs", jobs, "--out", tmp_path / "s")
    assert "; 4 trials" in out
    bad = table(tmp_path / "s")[2]
    assert bad["note"].startswith(f"{name}: {value}, want ")
    assert states(tmp_path / "s") == ["complete", "complete", "pruned", "complete"]
    assert [line for line in err if f"trial 2: failed: {bad['note']}" in line]
    assert workers() == []


def test_an_error_that_all_trials_would_meet_ends_the_search_which_can_go_on(flowers, tmp_path, monkeypatch):
    report = Search.report

    def lose(self, task, epoch, accuracy):
        if task.trial.number == 2:
            raise DataError(f"{flowers}: cannot be read")
        return report(self, task, epoch, accuracy)

    arguments = (flowers, "--trials", 4, *QUICK, "--out", tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setattr(Search, "report", lose)
        _, err = search(*arguments, status=1)
    assert err[-1] == f"error: {flowers}: cannot be read"
    assert states(tmp_path / "s") == ["complete", "complete", "fail", "waiting"]
    assert (tmp_path / "s" / "best.toml").exists()
    search(*arguments)
    assert states(tmp_path / "s") == ["complete", "complete", "fail", "complete", "complete"]


# --- going on


def test_a_second_call_goes_on_and_counts_what_is_there(flowers, tmp_path):
    folder = tmp_path / "s"
    search(flowers, "--trials", 3, *QUICK, "--out", folder)
    before = table(folder)
    out, err = search(flowers, "--trials", 5, *QUICK, "--out", folder)
    after = table(folder)
    assert [parameters(row) for row in after[:3]] == [parameters(row) for row in before]
    assert len({tuple(parameters(row).items()) for row in after}) == 5  # the same seed does not draw the same again
    assert len(err) == 2
    assert "; 5 trials" in out
    out, err = search(flowers, "--trials", 4, *QUICK, "--out", folder)
    assert (len(table(folder)), err) == (5, [])
    assert "; 5 trials" in out


def test_the_same_seed_tries_the_same_with_one_job(flowers, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        search(flowers, "--trials", 3, *QUICK, "--seed", seed, "--out", tmp_path / name)
    a, b, c = ([parameters(row) for row in table(tmp_path / name)] for name in "abc")
    assert a == b
    assert a[0] == c[0]
    assert a[1:] != c[1:]


def test_a_journal_file_and_an_url_are_storages_too(flowers, tmp_path):
    for storage in (str(tmp_path / "trials.log"), f"sqlite:///{tmp_path / 'own.db'}"):
        search(flowers, "--trials", 1, *QUICK, "--storage", storage, "--out", tmp_path / "s")
        search(flowers, "--trials", 2, *QUICK, "--storage", storage, "--out", tmp_path / "s")
        assert states(tmp_path / "s") == ["complete"] * 2
    assert not (tmp_path / "s" / "study.db").exists()


def test_a_search_does_not_go_on_with_other_options(flowers, tmp_path):
    search(flowers, "--trials", 1, *QUICK, "--out", tmp_path / "s")
    _, err = search(flowers, "--trials", 2, "--epochs", 3, "--jobs", 1, "--out", tmp_path / "s", status=1)
    assert err == [
        "error: --epochs: 3, but the search in this storage has 2; want the same, or another --out or --storage"
    ]


@pytest.mark.parametrize("changed", ["x_train", "y_train", "x_val", "y_val"])
def test_a_search_does_not_go_on_with_other_rows_in_the_same_file(flowers, tmp_path, changed):
    line = (flowers, *QUICK, "--out", tmp_path / "s")
    search(*line, "--trials", 1)
    with np.load(flowers) as file:
        arrays = dict(file)
    arrays[changed] = arrays[changed][::-1]
    np.savez(flowers, **arrays)
    before = snapshot(tmp_path)
    _, err = search(*line, "--trials", 2, status=1)
    size = "60 to train and 15 to validate, hash [-0-9a-f]+"
    found, wanted = re.fullmatch(
        f"error: rows: '({size})', but the search in this storage has '({size})'; "
        "want the same, or another --out or --storage",
        *err,
    ).groups()
    assert found != wanted
    assert snapshot(tmp_path) == before


def test_rows_are_told_apart_by_their_values_however_they_are_kept(tmp_path):
    data = load_dataset("digits")
    data.x_train.tofile(tmp_path / "rows")
    shards = Shards([Shard(tmp_path / "rows", 0, len(data.x_train))], 64, data.x_train.dtype, name="x_train")
    for same in (shards, np.asfortranarray(data.x_train)):
        assert rows_of(replace(data, x_train=same)) == rows_of(data)
    weights = np.ones(len(data.y_train))
    others = [replace(data, y_val=data.y_val[::-1]), replace(data, weights=weights), replace(data, weights=2 * weights)]
    assert len({rows_of(other) for other in (data, *others)}) == 4


def test_ctrl_c_keeps_what_is_finished_and_the_trial_under_way_comes_again(flowers, tmp_path, monkeypatch):
    report = Search.report

    def interrupt(self, task, epoch, accuracy):
        if task.trial.number == 2 and epoch == 2:
            raise KeyboardInterrupt
        return report(self, task, epoch, accuracy)

    folder = tmp_path / "s"
    arguments = (flowers, "--trials", 4, *QUICK, "--out", folder)
    with monkeypatch.context() as patch:
        patch.setattr(Search, "report", interrupt)
        out, err = search(*arguments, status=130)
    assert out == ""
    line = [flowers, "--trials", 4, "--jobs", 1, "--epochs", 2, "--out", folder]  # in the order of the options
    again = command_line(["python", "-m", "fastff.tune", *map(str, line)])
    assert err[-1] == f"interrupted: finished trials are kept; {again} goes on"
    assert states(folder) == ["complete", "complete", "fail", "waiting"]
    assert (folder / "best.toml").exists()
    search(*arguments)
    rows = table(folder)
    assert states(folder) == ["complete", "complete", "fail", "complete", "complete"]
    assert parameters(rows[3]) == parameters(rows[2])


# --- what goes wrong


def test_help_names_every_option():
    result = run("tune", "--help")
    assert result.status == 0
    names = ["data-dir", "target", "task", "drop", "categorical", "weight-column", "class-weight", "test-share"]
    names += ["trials", "jobs", "preset", "config", "epochs", "seed", "out", "storage"]
    assert re.findall(r"^[^\w-]+--([a-z][a-z-]+) ", result.out, re.MULTILINE) == names


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere.npz", "--trials", 1], 1, "nowhere.npz: no such file or folder"),
        (["digits", "--trials", 0], 2, "--trials: 0, want a whole number of at least 1"),
        (["digits", "--trials", 1, "--jobs", 0], 2, "--jobs: 0, want a whole number of at least 1"),
        (["digits", "--trials", 1, "--epochs", 0], 2, "--epochs: 0, want a whole number of at least 1"),
        (["digits", "--trials", 1, "--seed", -1], 2, "--seed: -1, want a whole number of at least 0"),
        (["digits", "--trials", 1, "--preset", "none"], 2, "--preset: 'none', want one of course"),
        (["digits", "--trials", 1, "--storage", "nonsense"], 2, "--storage: 'nonsense', want a database's URL"),
        (["digits", "--trials", 1, "--storage", "no://a:b@c"], 2, "--storage: 'no://a:***@c', want a database's URL"),
        (
            ["digits", "--trials", 1, "--storage", "sqlite:////no/a.db"],
            1,
            "sqlite:////no/a.db: cannot be the storage: ",
        ),
        (["digits", "--trials", 1, "--storage", "no/trials.log"], 1, "no/trials.log: cannot be the storage: "),
    ],
)
def test_errors_are_one_line(arguments, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("tune", *arguments)
    assert (result.status, result.out, result.err.count("\n")) == (status, "", 1)
    assert result.err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("task", "line", "message"),
    [
        ("classify", 'monitor = "train_accuracy"', "monitor: 'train_accuracy', want val_accuracy or "),
        ("classify", 'monitor = "val_r2"', "monitor: 'val_r2', want val_accuracy or "),
        ("regress", 'monitor = "val_accuracy"', "monitor: 'val_accuracy', want val_r2, by which trials are compared"),
        ("classify", 'on_divergence = "backoff"', "on_divergence: 'backoff' is for the command fastff.train, want it "),
    ],
)
def test_options_that_no_trial_would_follow_are_refused(flowers, tmp_path, task, line, message):
    (tmp_path / "own.toml").write_text(line)
    options = ("--task", task, "--config", tmp_path / "own.toml", "--trials", 1, *QUICK, "--out", tmp_path / "s")
    _, err = search(flowers, *options, status=2)
    assert len(err) == 1
    assert err[0].startswith(f"error: {tmp_path / 'own.toml'}: {message}")
    assert not (tmp_path / "s").exists()


@pytest.mark.filterwarnings("default")
def test_a_search_from_the_file_of_a_run_says_what_it_is_scored_by_in_place_of_the_loss(flowers, tmp_path):
    (tmp_path / "own.toml").write_text('monitor = "val_loss"')
    options = ("--config", tmp_path / "own.toml", "--trials", 1, *QUICK, "--out", tmp_path / "s")
    _, err = search(flowers, *options)
    said = f"{tmp_path / 'own.toml'}: monitor = 'val_loss' is for one training, trials go by val_accuracy"
    assert any(said in line for line in err)
    assert 'monitor = "val_accuracy"' in (tmp_path / "s" / "best.toml").read_text()


def test_a_score_that_the_validation_rows_do_not_have_is_one_line(tmp_path):
    flowers = write_flowers(tmp_path, y_val=np.arange(15) % 2)
    (tmp_path / "own.toml").write_text('monitor = "val_auc"')
    options = ("--config", tmp_path / "own.toml", "--trials", 4, *QUICK, "--out", tmp_path / "s")
    _, err = search(flowers, *options, status=2)
    assert err == [
        f"error: {tmp_path / 'own.toml'}: monitor: val_auc, but no row of X_val is of class 2, want one of each class"
    ]


# Optuna leaves the connection open where its storage cannot be made, and nobody else has it; Python 3.13 minds.
@pytest.mark.filterwarnings("ignore:Exception ignored .* <sqlite3.Connection:pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_storage_is_one_line_and_stays_as_it_is(tmp_path):
    (tmp_path / "study.db").write_text("notes of mine, long enough to be read as a page of a database" * 20)
    before = snapshot(tmp_path)
    _, err = search("digits", "--trials", 1, "--out", tmp_path, status=1)
    assert err == [f"error: sqlite:///{tmp_path / 'study.db'}: cannot be the storage: file is not a database"]
    assert snapshot(tmp_path) == before
    gc.collect()  # here and not in a later test


def test_a_search_in_which_nothing_can_be_trained_says_so(flowers, tmp_path):
    Path(tmp_path / "wild.toml").write_text("step_size = 1e30\nstandardize = false\n")
    options = ("--config", tmp_path / "wild.toml", "--trials", 1, *QUICK, "--out", tmp_path / "s")
    _, err = search(flowers, *options, status=1)
    assert err[-1] == f"error: flowers: none of 1 trials trained to its end; {tmp_path / 's' / 'trials.csv'} says why"
    assert "the loss is not finite" in table(tmp_path / "s")[0]["note"]


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("search", "results"):
        monkeypatch.delitem(sys.modules, f"fastff.tune.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    _, err = search("digits", "--trials", 1, status=1)
    assert err == ['error: fastff.tune needs optuna: pip install "fastff[tune]"']
    assert list(tmp_path.iterdir()) == []
