"""Runs whose loss or weights are no longer finite: they stop, or go back and halve the step size when asked to."""

import signal

import numpy as np
import pytest
from command_line import run, snapshot, succeed
from kill_and_resume import contents
from stopping import BACKOFF, GROWING, SMALL, at_epoch, go_on, one_line, send

from fastff import train
from fastff.system import checkpoint


def test_a_run_that_diverges_at_once_leaves_an_earlier_one_alone(flowers, old):
    before = snapshot(old)
    one_line(
        run("train", flowers, *SMALL, "--no-standardize", "--step-size", 1e30, "--epochs", 3, "--out", old),
        1,
        ("the loss is not finite at epoch 1, batch ", "step ", "largest |logit| ", "largest |weight| ", "Try a step"),
    )
    assert snapshot(old) == before


def test_the_checkpoint_before_a_divergence_can_be_gone_on_from(flowers, tmp_path):
    result = run("train", flowers, *GROWING, "--step-size", 0.05, "--epochs", 16, "--out", tmp_path / "run")
    one_line(result, 1, ("not finite", f"{tmp_path / 'run'} holds epoch "))
    succeed("train", "--resume", "--step-size", 0.001, "--epochs", 14, "--out", tmp_path / "run")
    assert len(contents(tmp_path / "run")["metrics"]) == 14


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_never_saved(flowers, tmp_path, monkeypatch, bad):
    trainers = []

    def spoil():
        layer = trainers[0].network.linear_layers[0]
        layer.weights = np.full(layer.weights.shape, bad)

    make = train.make_trainer
    monkeypatch.setattr(train, "make_trainer", lambda *given: trainers.append(make(*given)) or trainers[0])
    at_epoch(monkeypatch, 2, spoil)
    result = run("train", flowers, *SMALL, "--epochs", 3, "--checkpoint-epochs", 1, "--out", tmp_path / "run")
    one_line(result, 1, ("weight holds numbers that are not finite", "Try a step size", "holds epoch 1"))
    arrays, notes = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert len(notes["epochs"]) == 1


def test_backing_off_halves_the_step_size_and_says_so(flowers, tmp_path):
    result = run("train", flowers, *BACKOFF, "--out", tmp_path / "run")
    assert result.status == 0
    assert result.err.count("\n") == 1
    assert result.err.startswith("diverged: the loss is not finite at epoch ")
    assert "with step size 0.025 (1 of 5)" in result.err
    found = contents(tmp_path / "run")
    assert [line["epoch"] for line in found["metrics"]] == list(range(1, 17))
    assert found["checkpoint"][1]["step_size"] == 0.025
    assert found["config"]["step_size"] == 0.05


@pytest.mark.parametrize("epoch", [2, 8, 12])
def test_an_interrupted_run_backs_off_as_if_nothing_had_been(flowers, tmp_path, monkeypatch, epoch):
    run("train", flowers, *BACKOFF, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        at_epoch(patch, epoch, lambda: send(signal.SIGINT))
        assert run("train", flowers, *BACKOFF, "--out", tmp_path / "run").status == 130
    assert go_on(tmp_path / "run").status == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_backing_off_ends(flowers, tmp_path):
    options = ("--step-size", 1e30, "--no-standardize", "--on-divergence", "backoff")
    result = run("train", flowers, *SMALL, *options, "--out", tmp_path / "run")
    assert (result.status, result.out) == (1, "")
    assert [line[:9] for line in result.err.splitlines()] == ["diverged:"] * 5 + ["error: th"]
    assert "after 5 halvings" in result.err


def test_a_step_size_given_anew_is_not_halved(flowers, tmp_path):
    run("train", flowers, *BACKOFF, "--out", tmp_path / "run")
    succeed("train", "--resume", "--epochs", 17, "--step-size", 0.01, "--out", tmp_path / "run")
    assert contents(tmp_path / "run")["checkpoint"][1]["step_size"] == 0.01
