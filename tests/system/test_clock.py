"""A clock that stands still or goes back, as in a test that freezes time: no crash, and no figure below 0."""

import itertools
import json
import time

import pytest
from command_line import run, write_flowers

import fastff
from fastff.system import clock

CLOCKS = {"still": lambda: itertools.repeat(1e6), "back": lambda: itertools.count(1e6, -1.0)}


@pytest.fixture(params=sorted(CLOCKS))
def strange(request, monkeypatch):
    for name in ("time", "monotonic", "perf_counter"):
        ticks = CLOCKS[request.param]()
        monkeypatch.setattr(time, name, lambda ticks=ticks: next(ticks))


def figures(record):
    return [value for value in record.values() if isinstance(value, (int, float))]


def test_a_trainer_has_no_negative_figures(strange):
    data = fastff.load_dataset("digits")
    trainer = fastff.Trainer(fastff.FeedForwardNeuralNetwork(64, 10, (16,)), monitor="val_loss", patience=2)
    history = trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=3)
    assert [(record.seconds, record.examples_per_second) for record in history.epochs] == [(0, 0)] * 3
    assert trainer.compile_seconds >= 0


@pytest.mark.parametrize("more", [(), ("--checkpoint-minutes", 0.001), ("--seeds", 2)])
def test_a_run_has_no_negative_figures(strange, tmp_path, more):
    result = run("train", write_flowers(tmp_path), "--epochs", 2, "--hidden", 8, "--out", tmp_path / "run", *more)
    assert result.status == 0
    folder = tmp_path / "run" / ("seed-0" if "--seeds" in more else "")
    lines = [(folder / "summary.json").read_text(), *(folder / "metrics.jsonl").read_text().splitlines()]
    assert all(value >= 0 for line in lines for value in figures(json.loads(line)))


def test_an_estimator_with_a_time_limit_ends(strange):
    pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    from fastff import sklearn as estimators

    data = fastff.load_dataset("digits")
    estimator = estimators.MLPClassifier((32,), max_iter=3, max_seconds=5.0, tol=0)
    with pytest.warns(match="Maximum iterations"):
        estimator.fit(data.x_train, data.y_train)
    assert estimator.n_iter_ == 3


def test_rates_and_times():
    assert clock.per_second(10, 2.0) == 5
    assert clock.per_second(10, 0.0) == 0
    assert clock.since(clock.now() + 1e6) == 0
    assert clock.since(clock.now() - 1.0) >= 1
