"""The figures of a regression are scikit-learn's, in the targets' units; its options are those of its task."""

import dataclasses

import numpy as np
import pytest

from fastff import ArgumentError, Config, Ensemble, FeedForwardNeuralNetwork, TargetExp, TargetScale, evaluate, fit_many
from fastff.data.dataset import make_dataset
from fastff.runs.build import for_data, make_trainer
from fastff.runs.config import start_from
from fastff.runs.regression import figures_of, loss_of, output_names

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
ONE = 1000 + 50 * X[:, 0] + RNG.normal(size=120)
TWO = np.column_stack([ONE, X[:, 1] * 3])


def data(targets=ONE, rows=100):
    splits = {"train": (X[:rows], targets[:rows]), "val": (X[rows:], targets[rows:])}
    return make_dataset("numbers", splits, source="numbers", task="regress")


@pytest.mark.parametrize("targets", [ONE, TWO], ids=["one", "two"])
def test_figures_are_scikit_learns(targets):
    metrics = pytest.importorskip("sklearn.metrics")
    guesses = targets + RNG.normal(size=targets.shape)
    found = figures_of(targets, guesses)
    assert found["r2"] == pytest.approx(metrics.r2_score(targets, guesses), rel=1e-12)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, guesses), rel=1e-12)
    squares = metrics.mean_squared_error(targets, guesses, multioutput="raw_values")
    assert found["rmse"] == pytest.approx(np.sqrt(squares).mean(), rel=1e-12)


def test_the_r2_of_a_constant_target_is_scikit_learns():
    assert figures_of([2.0, 2.0], [2.0, 2.0])["r2"] == 1.0
    assert figures_of([2.0, 2.0], [2.0, 2.5])["r2"] == 0.0


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "poisson"])
@pytest.mark.parametrize("targets", [ONE, TWO], ids=["one", "two"])
def test_the_loss_is_that_of_training(loss, targets):
    targets = np.abs(targets) / 100 if loss == "poisson" else targets
    own = data(targets)
    trainer = make_trainer(Config(hidden=(8,), epochs=5, loss=loss), own)
    trainer.fit(own.x_train, own.y_train, own.x_val, own.y_val, epochs=5)
    net = trainer.network
    assert isinstance(net.layers[-1], TargetExp if loss == "poisson" else TargetScale)
    expected, _ = trainer.evaluate(own.x_val, own.y_val)
    assert loss_of(net, loss, own.y_val, net.predict(own.x_val)) == pytest.approx(expected, rel=1e-4)
    both = Ensemble([net, net])
    assert loss_of(both, loss, own.y_val, both.predict(own.x_val)) == pytest.approx(expected, rel=1e-4)
    assert evaluate(net, own.x_val, own.y_val, loss=loss)[0] == expected


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_network_starts_at_about_the_mean(loss):
    trainer = make_trainer(Config(hidden=(64, 64), loss=loss), data())
    guesses = trainer.network.predict(X)
    assert np.abs(np.log(guesses / ONE.mean())).max() < 1.5


def test_the_options_say_what_their_defaults_mean_for_numbers():
    found = for_data(Config(), data())
    assert (found.loss, found.monitor) == ("squared_error", "val_loss")
    assert for_data(found, data()) == found
    assert make_trainer(Config(), data()).monitor == "val_loss"
    assert for_data(Config(loss="poisson", monitor="val_r2"), data()).monitor == "val_r2"
    classes, numbers = (start_from("t.csv", None, {}, task) for task in ("classify", "regress"))
    assert (classes.dropout, classes.label_smoothing, classes.monitor) == (0.2, 0.05, "val_loss")
    assert (numbers.dropout, numbers.label_smoothing, numbers.monitor) == (0.0, 0.0, "val_loss")
    classes = dataclasses.replace(data(), task="classify", class_names=("a", "b"))
    assert for_data(Config(), classes) == Config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cross_entropy"}, "loss: cross_entropy for the numbers of numbers, want another, or task classify"),
        ({"label_smoothing": 0.2}, "label_smoothing: 0.2 beside the loss SquaredError, want 0"),
        ({"monitor": "train_accuracy"}, "monitor: 'train_accuracy', want one of"),
        ({"class_weight": "balanced"}, "class_weight: 'balanced' for numbers to predict, want it left out"),
    ],
)
def test_options_of_classes_are_refused(options, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        make_trainer(Config(**options), data())


def test_losses_of_numbers_are_refused_for_classes():
    classes = make_dataset("few", {"train": (X, np.arange(120) % 3)}, source="few")
    with pytest.raises(ArgumentError, match=r"^loss: poisson for the classes of few, want cross_entropy, or task regr"):
        make_trainer(Config(loss="poisson"), classes)


def test_many_networks_are_fitted_to_numbers():
    fitted = fit_many([Config(hidden=(8,), epochs=4, seed=seed) for seed in range(2)], data(), jobs=2)
    alone = make_trainer(Config(hidden=(8,), epochs=4, seed=1), data())
    own = data()
    alone.fit(own.x_train, own.y_train, own.x_val, own.y_val, epochs=4)
    alone.restore_best()
    np.testing.assert_array_equal(fitted[1].network.predict(X), alone.network.predict(X))
    assert repr(fitted[0]).endswith(f"val_loss {fitted[0].best:.3f} in epoch {fitted[0].best_epoch})")
    assert fitted[0].history.epochs[-1].val_r2 is not None


def test_predictions_are_called_by_their_targets():
    assert output_names(("price", "rent"), 2) == ("price", "rent")
    assert output_names(None, 1) == ("prediction",)
    assert output_names(None, 2) == ("prediction_0", "prediction_1")


def test_a_network_of_ones_own_is_evaluated_by_the_squared_error():
    net = FeedForwardNeuralNetwork(4, 1, 3, 2, seed=0)
    net.task = "regress"
    loss, share = evaluate(net, X, ONE)
    assert loss == pytest.approx(np.square(net.predict(X) - ONE).mean(), rel=1e-5)
    assert share == pytest.approx(figures_of(ONE, net.predict(X))["r2"], rel=1e-5)
