"""Balanced accuracy and AUC are those of scikit-learn, and a trainer can keep the epoch that is best in them."""

import numpy as np
import pytest

from fastff import ArgumentError, FeedForwardNeuralNetwork, Trainer
from fastff.training.figures import auc, balanced_accuracy, class_figures, majority_share

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("digits", [1, 2, 9])
def test_figures_are_those_of_scikit_learn(classes, digits):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    labels = np.concatenate([np.arange(classes), RNG.choice(classes, 300, p=RNG.dirichlet(np.ones(classes)))])
    probabilities = RNG.dirichlet(np.ones(classes), len(labels)).round(digits)  # so that some are equal
    probabilities[:, -1] = 1 - probabilities[:, :-1].sum(1)
    guesses = probabilities.argmax(1)
    assert balanced_accuracy(labels, guesses) == pytest.approx(metrics.balanced_accuracy_score(labels, guesses))
    score = probabilities[:, 1] if classes == 2 else probabilities
    expected = metrics.roc_auc_score(labels, score, multi_class="ovr", average="macro")
    assert auc(labels, probabilities) == pytest.approx(expected, rel=1e-12)


def test_without_a_class_there_is_no_auc_and_balanced_accuracy_is_of_the_others():
    labels, probabilities = np.array([0, 0, 2]), np.eye(3)[[0, 1, 2]]
    assert class_figures(labels, probabilities) == {"balanced_accuracy": 0.75, "auc": None}
    assert class_figures(np.array([0, 1]), np.eye(2)) == {"balanced_accuracy": 1.0, "auc": 1.0}
    assert majority_share(labels) == pytest.approx(2 / 3)


def rows(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=count) > 1.5).astype(np.int64)


@pytest.mark.parametrize("name", ["balanced_accuracy", "auc"])
def test_the_best_epoch_is_chosen_by_it(name):
    x, y = rows(400, 0)
    x_val, y_val = rows(200, 1)
    network = FeedForwardNeuralNetwork(4, 2, (16,), seed=0)
    trainer = Trainer(network, step_size=0.05, monitor=f"val_{name}", seed=0)
    history = trainer.fit(x, y, x_val, y_val, epochs=6)
    values = [getattr(record, f"val_{name}") for record in history.epochs]
    assert values[-1] == class_figures(y_val, network.predict_proba(x_val))[name]
    trainer.restore_best()
    assert (trainer.best.value, trainer.best.epoch) == (max(values), 1 + values.index(max(values)))
    assert class_figures(y_val, network.predict_proba(x_val))[name] == max(values)
    plain = Trainer(FeedForwardNeuralNetwork(4, 2, (16,), seed=0), step_size=0.05, seed=0)
    records = plain.fit(x, y, x_val, y_val, epochs=6).epochs
    assert [record.val_loss for record in records] == [record.val_loss for record in history.epochs]
    assert records[0].val_auc is records[0].val_balanced_accuracy is None


def test_an_auc_that_cannot_be_is_refused_before_training():
    x, y = rows(100, 0)
    trainer = Trainer(FeedForwardNeuralNetwork(4, 2, (8,), seed=0), monitor="val_auc")
    with pytest.raises(ArgumentError, match=r"^monitor: val_auc, but no row of X_val is of class 1"):
        trainer.fit(x, y, x, np.zeros(100, np.int64), epochs=1)
    with pytest.raises(ArgumentError, match=r"^monitor: val_auc, want X_val and Y_val in fit"):
        trainer.fit(x, y, epochs=1)
    with pytest.raises(ArgumentError, match=r"^monitor: 'val_auc', want one of"):
        Trainer(FeedForwardNeuralNetwork(4, 1, (8,), seed=0), loss="squared_error", monitor="val_auc")
