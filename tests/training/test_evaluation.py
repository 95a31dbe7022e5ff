"""evaluate is exact over all rows, whatever the batch size, the kind of array and the kind of model."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from reference import U

from fastff import (
    ArgumentError,
    CrossEntropySoftmax,
    DataError,
    Dropout,
    FeedForwardNeuralNetwork,
    Standardize,
    TargetScale,
    Trainer,
    evaluate,
)
from fastff.nn.preprocessing import Augment, Whiten
from fastff.training.evaluation import behind_whitening

N = 103  # a prime: no batch size but 1 and itself fits
X = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, N)


class Foreign:
    """A model of somebody else's: forward and nothing more."""

    def __init__(self, weights):
        self.weights = weights

    def forward(self, rows):
        return rows @ self.weights


@pytest.fixture
def net():
    return FeedForwardNeuralNetwork(6, 3, 8, 2, seed=0)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "holds object values"),
        ("text", "holds <U4 values"),
        (Y, "shape .*, want two dimensions"),
        (X[:5], "5 rows for 103"),
        ([[1, 2], [1]], "list that is not an array of numbers"),
    ],
)
def test_a_forward_that_gives_no_logits_is_named(net, result, message):
    foreign = Foreign(None)
    foreign.forward = lambda rows: result
    with pytest.raises(DataError, match=rf"^Foreign.forward: {message}"):
        evaluate(foreign, X, Y)
    foreign.forward = lambda rows: net.forward(rows).tolist()
    assert evaluate(foreign, X, Y) == pytest.approx(evaluate(net, X, Y))
    with pytest.raises(ArgumentError, match=r"^model: int, want one with forward"):
        evaluate(5, X, Y)


@given(batch_size=st.integers(1, 2 * N))
def test_exact_whatever_the_batch_size(batch_size):
    net = FeedForwardNeuralNetwork(6, 3, 8, 2, seed=0)
    logits = net.forward(X)
    losses = reference.cross_entropy(logits.astype(np.float64), Y)
    loss, accuracy = evaluate(net, X, Y, batch_size)
    assert accuracy == (logits.argmax(1) == Y).mean()
    # each row's loss is off by what subtracting its maximum and summing three exponentials round
    assert loss == pytest.approx(losses.mean(), abs=float(U * (2 * np.abs(logits).max() + 6)))
    # and only the float64 sum over rows depends on the batches
    assert loss == pytest.approx(evaluate(net, X, Y, N)[0], rel=N * 2.0**-53)


def test_a_duplicated_row_does_not_count_more_for_a_ragged_batch(net):
    """The mean of batch means would weigh the last row, alone in its batch, as much as the 102 others."""
    each = [evaluate(net, X[i : i + 1], Y[i : i + 1], 1) for i in range(N)]
    loss, accuracy = evaluate(net, X, Y, N - 1)
    assert loss == pytest.approx(np.mean([loss for loss, _ in each]), rel=1e-12)
    assert accuracy == np.mean([accuracy for _, accuracy in each])


def test_what_comes_back(net):
    result = evaluate(model=net, X_val=X, Y_val=Y, batch_size=32)
    assert type(result) is tuple
    assert [type(value) for value in result] == [float, float]
    assert result == evaluate(net, X, Y[:, None], 32) == evaluate(net, X.tolist(), Y.tolist(), 32)
    assert evaluate(net, X, net.predict(X), 32)[1] == 1.0


@pytest.mark.parametrize("batch_size", [1, 10, N, 1000])
def test_models_of_somebody_elses(batch_size):
    weights = np.random.default_rng(0).normal(size=(6, 3))
    logits = X @ weights
    loss, accuracy = evaluate(Foreign(weights), X, Y, batch_size)
    assert accuracy == (logits.argmax(1) == Y).mean()
    assert loss == pytest.approx(
        reference.cross_entropy(logits, Y).mean(), abs=float(U * (4 * np.abs(logits).max() + 6))
    )


def test_a_network_with_a_foreign_layer_gives_the_same(net):
    class Same:
        def forward(self, rows):
            return rows

    expected = evaluate(net, X, Y, 20)
    net.layers.insert(1, Same())
    assert evaluate(net, X, Y, 20) == pytest.approx(expected, rel=N * 2.0**-53)


def test_nothing_is_dropped_and_nothing_changes(net):
    expected = evaluate(net, X, Y, 20)
    net.layers.insert(1, Dropout(0.9, seed=0))
    before = net.layers[0].weights.copy(), X.copy(), Y.copy()
    assert evaluate(net, X, Y, 20) == expected
    assert net.layers[1].training
    for now, then in zip((net.layers[0].weights, X, Y), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_an_error_midway_leaves_dropout_on(net):
    class Fails:
        def forward(self, rows):
            raise RuntimeError("mine")

    net.layers[1:1] = [Dropout(0.5), Fails()]
    with pytest.raises(RuntimeError, match="mine"):
        evaluate(net, X, Y, 20)
    assert net.layers[1].training


@pytest.mark.parametrize("kind", ["float64", "fortran", "strided", "reversed", "read-only"])
def test_rows_of_every_kind(net, kind):
    wide = np.zeros((2 * N, 12), np.float32)
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    rows = {"float64": X.astype(np.float64), "fortran": np.asfortranarray(X), "strided": wide[::2, ::2],
            "reversed": X[::-1].copy()[::-1], "read-only": read_only}[kind]  # fmt: skip
    assert evaluate(net, rows, Y, 20) == evaluate(net, X, Y, 20)


def test_labels_that_are_a_column_of_a_table(net):
    table = np.stack([Y, Y[::-1], Y], axis=1)
    expected = evaluate(net, X, Y, 20)
    assert evaluate(net, X, table[:, 0], 20) == expected
    assert evaluate(net, X, table[:, :1], 20) == expected
    assert evaluate(net, X, np.repeat(Y, 2)[::2], 20) == expected


def test_raw_bytes_through_standardize():
    rows = np.random.default_rng(0).integers(0, 256, (N, 6), dtype=np.uint8)
    first = Standardize.fit(rows)
    net = FeedForwardNeuralNetwork(6, 3, 8, 2, seed=0)
    expected = evaluate(net, first.forward(rows), Y, 20)
    net.layers.insert(0, first)
    assert evaluate(net, rows, Y, 20) == expected


def test_it_agrees_with_the_loss_class_and_with_training(net):
    assert evaluate(net, X, Y, N)[0] == pytest.approx(CrossEntropySoftmax().forward(net.forward(X), Y), rel=1e-12)
    record = Trainer(net, batch_size=16).fit(X, Y, X, Y, epochs=1).epochs[-1]
    assert (record.val_loss, record.val_accuracy) == pytest.approx(evaluate(net, X, Y, 50), rel=1e-12)


def test_a_loss_that_is_not_finite_is_seen(net):
    bad = X.copy()
    bad[50, 2] = np.nan
    assert np.isnan(evaluate(net, bad, Y, 20)[0])


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "20", None, True])
def test_batch_sizes_that_are_refused(net, batch_size):
    with pytest.raises(ArgumentError, match=rf"^batch_size: {batch_size!r}, want a whole number of at least 1$"):
        evaluate(net, X, Y, batch_size)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (X[:, :5], Y, r"^X_val: rows of 5 values, want 6$"),
        (X[0], Y, r"^X_val: shape \(6,\), want two dimensions[^\n]*$"),
        (X[:0], Y[:0], r"^X_val: empty"),
        (X, Y[:9], r"^Y_val: 9 labels for 103 rows, want one a row$"),
        (X, Y + 1, r"^Y_val: 3 at row \d+, want a whole number from 0 to 2$"),
        (X, Y - 1, r"^Y_val: -1 at row \d+, want a whole number from 0 to 2$"),
        (X, np.eye(3)[Y], r"^Y_val: shape \(103, 3\), want \(rows,\) or \(rows, 1\)"),
    ],
)
def test_data_that_is_refused(net, rows, labels, message):
    with pytest.raises(DataError, match=message) as caught:
        evaluate(net, rows, labels, 20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [5, N])
@pytest.mark.parametrize("way", ["one program", "layer by layer"])
def test_one_pass_gives_the_figures_and_the_logits(net, way, rows):
    trainer = Trainer(net)
    net.lowers = lambda: way == "one program"
    loss, accuracy, logits = trainer.evaluate_rows(X[:rows], Y[:rows])
    assert (loss, accuracy) == trainer.evaluate(X[:rows], Y[:rows])
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, net.logits(X[:rows]))


def test_one_pass_gives_the_figures_and_the_numbers_in_the_units_of_the_loss():
    targets = 1000 + 50 * X[:, :2].astype(np.float64)
    net = FeedForwardNeuralNetwork(6, 2, 8, 2, seed=0)
    net.layers.append(TargetScale.fit(targets))
    trainer = Trainer(net, loss="squared_error")
    loss, r2, outputs = trainer.evaluate_rows(X, targets)
    assert (loss, r2) == trainer.evaluate(X, targets)
    np.testing.assert_allclose(net.layers[-1].outer(outputs), net.predict(X), rtol=1e-7)


@pytest.mark.parametrize("way", ["one call", "on_epoch"])
def test_validation_of_whitened_rows_is_that_of_the_network(way):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (90, 12), np.uint8), rng.integers(0, 3, 90)
    scale = Standardize.fit(x)
    front = [Augment((3, 2, 2), mirror=True), scale, Whiten.fit(x, 5, after=scale)]
    network = FeedForwardNeuralNetwork(5, 3, [7], seed=0)
    network.layers[:0] = front
    trainer = Trainer(network, seed=0, batch_size=16)
    found = []
    watch = {"on_epoch": lambda record: found.append(trainer.evaluate(x[:40], y[:40]))} if way == "on_epoch" else {}
    history = trainer.fit(x, y, x[:40], y[:40], epochs=3, **watch)
    assert (history.epochs[-1].val_loss, history.epochs[-1].val_accuracy) == trainer.evaluate(x[:40], y[:40])
    assert found in ([], [(record.val_loss, record.val_accuracy) for record in history.epochs])


def test_rows_are_whitened_once_for_all_evaluations():
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    network = FeedForwardNeuralNetwork(3, 2, [4], seed=0)
    network.layers.insert(0, Whiten.fit(x, 3))
    behind, rows = behind_whitening(network, x)
    assert behind.layers == network.layers[1:]
    assert rows.shape == (50, 3)
    np.testing.assert_array_equal(behind.logits(rows), network.logits(x))
    assert behind_whitening(behind, rows) == (behind, rows)
