"""python -m fastff.train --seeds N: each run is as if it were alone; the mean, the spread, and an ensemble of all."""

import json
import shutil
import statistics

import pytest
from command_line import run, snapshot, succeed

from fastff import DivergenceError, Ensemble, evaluate, load_dataset
from fastff.system import checkpoint
from fastff.system.signals import Stopped
from fastff.training.trainer import Trainer

SMALL = ("--hidden", 8, "--dropout", 0.2, "--batch-size", 16, "--epochs", 3)


def seeds(*arguments):
    """Run the command, which says a line about each seed on standard error; returns what it printed."""
    result = run("train", *arguments)
    assert result.status == 0, result
    return result.out


def weights(folder):
    arrays = checkpoint.load(folder / "checkpoint.safetensors")[0]
    return {name: array.tobytes() for name, array in arrays.items()}


def test_each_seed_is_the_run_that_it_would_be_alone(flowers, tmp_path):
    seeds(flowers, *SMALL, "--seed", 3, "--seeds", 3, "--out", tmp_path / "all")
    for seed in (3, 4, 5):
        succeed("train", flowers, *SMALL, "--seed", seed, "--out", tmp_path / str(seed))
        assert weights(tmp_path / "all" / f"seed-{seed}") == weights(tmp_path / str(seed))
        own, alone = (
            {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
            for folder in (tmp_path / "all" / f"seed-{seed}", tmp_path / str(seed))
        )
        assert own.keys() == alone.keys()
        assert own["config.toml"].read_bytes() == alone["config.toml"].read_bytes()


def test_mean_spread_and_the_ensemble_are_those_of_the_runs(flowers, tmp_path):
    folder = tmp_path / "all"
    said = seeds(flowers, *SMALL, "--seeds", 3, "--out", folder)
    summaries = [json.loads((folder / f"seed-{seed}" / "summary.json").read_text()) for seed in range(3)]
    figures = json.loads((folder / "seeds.json").read_text())
    assert figures["seeds"] == [0, 1, 2]
    for name in ("val_accuracy", "test_accuracy", "test_loss"):
        values = [summary[name] for summary in summaries]
        assert figures[name]["values"] == values
        assert figures[name]["mean"] == pytest.approx(statistics.fmean(values))
        assert figures[name]["std"] == pytest.approx(statistics.stdev(values))
    data = load_dataset(flowers)
    loss, accuracy = evaluate(Ensemble.load(folder / "ensemble.safetensors"), data.x_test, data.y_test)
    assert (figures["ensemble"]["test_loss"], figures["ensemble"]["test_accuracy"]) == (loss, accuracy)
    assert json.loads(succeed("evaluate", folder, flowers))["accuracy"] == accuracy
    assert f"test {figures['test_accuracy']['mean']:.2%} ± {figures['test_accuracy']['std']:.2%}" in said


def test_resume_goes_on_with_what_is_not_finished_and_adds_seeds(flowers, tmp_path, monkeypatch):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    seeds(flowers, *SMALL, "--seeds", 3, "--out", whole)
    fit, fits = Trainer.fit, []

    def interrupted(self, *arguments, on_epoch, **options):
        fits.append(self.seed)

        def stop(record):
            on_epoch(record)
            if len(fits) == 2 and record.epoch == 2:
                raise Stopped(2)

        return fit(self, *arguments, on_epoch=stop, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", interrupted)
        result = run("train", flowers, *SMALL, "--seeds", 2, "--out", folder)
    assert result.status == 130
    assert f"--seeds 2 --resume --out {folder} goes on" in result.err
    seeds("--seeds", 3, "--resume", "--out", folder)
    for seed in range(3):
        assert weights(folder / f"seed-{seed}") == weights(whole / f"seed-{seed}")
    assert json.loads((folder / "seeds.json").read_text())["seeds"] == [0, 1, 2]


@pytest.mark.parametrize("missing", [[], [0], [2]])
def test_fewer_seeds_than_a_folder_holds_are_refused(flowers, tmp_path, missing):
    """The ensemble and seeds.json of all would give way to those of some."""
    folder = tmp_path / "run"
    seeds(flowers, *SMALL, "--seeds", 4, "--out", folder)
    for seed in missing:
        shutil.rmtree(folder / f"seed-{seed}")
    before = snapshot(folder)
    result = run("train", "--seeds", 2, "--resume", "--out", folder)
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith(f"--seeds: 2, but {folder} holds other runs, want all of them, or another --out\n")
    assert snapshot(folder) == before


def test_a_seed_that_fails_costs_the_others_nothing(flowers, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "fit", _diverging(1))
    result = run("train", flowers, *SMALL, "--seeds", 3, "--out", tmp_path / "all")
    assert result.status == 1
    assert "error: seed 1: the loss is not finite" in result.err
    assert json.loads((tmp_path / "all" / "seeds.json").read_text())["seeds"] == [0, 2]


def _diverging(seed):
    fit = Trainer.fit

    def fails(self, *arguments, **options):
        if self.seed == seed:
            raise DivergenceError("the loss is not finite")
        return fit(self, *arguments, **options)

    return fails


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--seeds", 0), 2, "--seeds: 0, want a whole number of at least 1"),
        (("--seeds", 2, "--log", "tensorboard"), 2, "--seeds: does not go with --log tensorboard"),
        (("--seeds", 2, "--batch-size", 0), 2, "--batch-size: 0, want a whole number of at least 1"),
        (("--seeds", 2, "--resume"), 1, "want a folder that --seeds has filled"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(flowers, tmp_path, arguments, status, message):
    result = run("train", flowers, *SMALL, *arguments, "--out", tmp_path / "run")
    assert result.status == status
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_folder_of_another_run_is_left_alone(flowers, tmp_path):
    succeed("train", flowers, *SMALL, "--out", tmp_path / "run")
    result = run("train", flowers, *SMALL, "--seeds", 2, "--out", tmp_path / "run")
    assert (result.status, "holds a run of one seed" in result.err) == (1, True)
    assert not (tmp_path / "run" / "seed-0").exists()
