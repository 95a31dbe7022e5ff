"""What a run keeps in its folder while it trains, and what is read back from it: the model and the state."""

import dataclasses

import numpy as np
import pytest

from fastff import FeedForwardNeuralNetwork, Trainer, load_dataset
from fastff.errors import ArgumentError, DataError
from fastff.runs.config import Config
from fastff.runs.model import load_model
from fastff.runs.run import Run
from fastff.training.state import restore_trainer, trainer_state

DIGITS = load_dataset("digits")


def trainer(**options):
    network = FeedForwardNeuralNetwork(64, 10, (16,), seed=1)
    return Trainer(network, **{"batch_size": 200, "monitor": "val_accuracy", **options})


def fit(one, epochs):
    one.fit(DIGITS.x_train, DIGITS.y_train, DIGITS.x_val, DIGITS.y_val, epochs=epochs)


def saying(**options):
    return dataclasses.replace(Config(), **options)


def test_the_model_is_the_best_network_and_its_classes(tmp_path):
    one = trainer()
    run = Run(saying(out=str(tmp_path / "deep" / "run")), one, DIGITS)
    with run.start(resume=False):
        fit(one, 3)
        run.save()
    one.restore_best()
    model = load_model(run.folder)
    np.testing.assert_array_equal(model.network.predict_proba(DIGITS.x_test), one.network.predict_proba(DIGITS.x_test))
    assert (model.class_names, model.image_shape) == (DIGITS.class_names, (1, 8, 8))


def test_a_run_is_saved_before_its_first_epoch_has_ended(tmp_path):
    one = trainer()
    with Run(saying(out=str(tmp_path)), one, DIGITS).start(resume=False):
        pass
    again = trainer()
    with Run(saying(out=str(tmp_path)), again, DIGITS).start(resume=True):
        pass
    fit(one, 2)
    fit(again, 2)
    np.testing.assert_array_equal(one.network.logits(DIGITS.x_test), again.network.logits(DIGITS.x_test))


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    run = Run(saying(out=str(tmp_path)), trainer(), DIGITS)
    now, saved = [0.0], []
    monkeypatch.setattr("fastff.runs.run.time.monotonic", lambda: now[0])

    def save(*_):
        saved.append(now[0])
        now[0] += 1

    monkeypatch.setattr("fastff.runs.run.checkpoint.save", save)
    with run.start(resume=False):
        for _ in range(1000):
            run.save_now_and_then()
            now[0] += 1
    assert 10 <= len(saved) <= 25


def test_a_refused_state_changes_nothing():
    one, other = trainer(), trainer(seed=3)
    fit(one, 1)
    before, _ = trainer_state(other)
    before = {name: np.array(array) for name, array in before.items()}
    with pytest.raises(DataError, match=r"^there: was trained with seed 0, want 3"):
        restore_trainer(other, *trainer_state(one), "there")
    after, _ = trainer_state(other)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_a_state_says_all_that_training_depends_on():
    one, other = trainer(), trainer()
    fit(one, 2)
    restore_trainer(other, *trainer_state(one), "memory")
    assert other.history == one.history
    fit(one, 1)
    fit(other, 1)
    arrays, notes = trainer_state(one)
    others, _ = trainer_state(other)
    assert notes["best"] is not None
    for name, array in arrays.items():
        np.testing.assert_array_equal(others[name], array)


def test_networks_with_own_layers_cannot_be_kept():
    class Doubling:
        def forward(self, x):
            return 2 * x

    one = trainer()
    one.network.layers.insert(0, Doubling())
    with pytest.raises(ArgumentError, match="Doubling"):
        trainer_state(one)
