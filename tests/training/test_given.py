"""The weights of rows in training: what they mean, that both ways of training agree, and what is refused."""

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, N, Through, X, Y, assert_same_history, assert_same_weights, make

from fastff import (
    SGD,
    AbsoluteError,
    ArgumentError,
    DataError,
    FeedForwardNeuralNetwork,
    Loss,
    PoissonLoss,
    SquaredError,
    Standardize,
    Trainer,
)
from fastff.data.rows import Shard, Shards
from fastff.training.given import r2, variation
from fastff.training.state import restore_trainer, trainer_state

WEIGHTS = np.random.default_rng(2).random(N) * 3
WEIGHTS[5:9] = 0


def fitted(weights, *, rows=X, labels=Y, epochs=3, layer=None, batch_size=16, **options):
    net = make(layer=layer, optimizer=SGD())
    trainer = Trainer(net, batch_size=batch_size, step_size=0.05, **options)
    return net, trainer.fit(rows, labels, X_VAL, Y_VAL, epochs=epochs, sample_weight=weights)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"monitor": "train_loss", "schedule": "cosine"}])
def test_weights_give_the_same_bits_layer_by_layer(options):
    (one, history), (other, again) = (fitted(WEIGHTS, layer=layer, **options) for layer in (None, Through()))
    assert_same_weights(one, other)
    assert_same_history(history, again)
    assert history.batch_losses != fitted(None, **options)[1].batch_losses


def test_equal_weights_are_no_weights():
    for value in (1, 0.25, 2.0**100):
        plain, weighted = fitted(None), fitted(np.full(N, value))
        assert_same_weights(plain[0], weighted[0])
        assert plain[1].batch_accuracies == weighted[1].batch_accuracies
        np.testing.assert_allclose(plain[1].batch_losses, weighted[1].batch_losses, rtol=1e-12)


def test_only_ratios_count():
    assert_same_weights(fitted(WEIGHTS)[0], fitted(WEIGHTS * 2.0**-90)[0])


def test_a_weight_of_two_is_a_row_twice():
    weights = np.random.default_rng(3).integers(0, 3, N)
    twice = np.repeat(np.arange(N), weights)
    one, history = fitted(weights, batch_size=500)
    other, again = fitted(None, rows=X[twice], labels=Y[twice], batch_size=500)
    np.testing.assert_allclose(history.batch_losses, again.batch_losses, rtol=1e-5)
    for a, b in zip(one.linear_layers, other.linear_layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_the_loss_of_an_epoch_is_the_weighted_mean(loss):
    net = make()
    targets = Y if loss == "cross_entropy" else np.eye(3)[Y]
    trainer = Trainer(net, batch_size=500, step_size=1e-9, loss=loss)
    record = trainer.fit(X, targets, epochs=1, sample_weight=WEIGHTS).epochs[0]
    each = [type(trainer.criterion)().forward(net.forward(X[i : i + 1]), targets[i : i + 1]) for i in range(N)]
    assert record.train_loss == pytest.approx(np.average(each, weights=WEIGHTS), rel=1e-5)


def test_batches_without_weight_change_nothing_but_what_decays():
    weights = np.zeros(N)
    weights[3] = 1
    (one, history), (other, again) = (fitted(weights, layer=layer) for layer in (None, Through()))
    assert_same_weights(one, other)
    assert_same_history(history, again)
    assert history.batch_losses.count(0.0) == 3 * (len(history.batch_losses) // 3 - 1)
    assert history.epochs[0].train_loss == max(history.batch_losses[:7])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(N - 1), rf"^sample_weight: shape \({N - 1},\), want \({N},\): one weight a row$"),
        (np.ones((N, 2)), r"^sample_weight: shape"),
        (-WEIGHTS, r"^sample_weight: -.* at row 0, want finite weights of 0 or more$"),
        (np.where(np.arange(N) == 4, np.nan, 1), r"^sample_weight: nan at row 4, want finite weights of 0 or more$"),
        (np.where(np.arange(N) == 4, 1e-40, 1), r"^sample_weight: 1e-40 at row 4 beside 1.0, want 0 or at least 1e-25"),
        (np.zeros(N), r"^sample_weight: 0 for every row, want a positive one$"),
        (["a"] * N, r"^sample_weight: holds <U1 values, want the weight of each row$"),
        ("balanced", r"^sample_weight: "),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        fitted(weights)


def test_a_loss_of_ones_own_takes_weights_if_its_forward_does():
    class Own(Loss):
        def forward(self, outputs, targets):
            self.inner = SquaredError()
            return self.inner.forward(outputs, targets)

        def backward(self):
            return self.inner.backward()

    class Weighted(Own):
        def forward(self, outputs, targets, weights=None):
            self.inner = SquaredError()
            return self.inner.forward(outputs, targets, weights)

    for own in (Own(), Weighted()):
        nets, histories = [make(), make()], []
        for net, loss in zip(nets, (own, "squared_error"), strict=True):
            histories.append(Trainer(net, loss=loss).fit(X, np.eye(3)[Y], X_VAL, np.eye(3)[Y_VAL], epochs=3))
        assert_same_weights(*nets)
        assert histories[0].batch_losses == histories[1].batch_losses
        assert histories[0].epochs[-1].val_r2 == pytest.approx(histories[1].epochs[-1].val_r2, abs=1e-5)
    Trainer(make(), loss=Weighted()).fit(X, np.eye(3)[Y], epochs=1, sample_weight=WEIGHTS)
    with pytest.raises(ArgumentError, match=r"^sample_weight: Own takes none, want one with forward\(outputs, targets"):
        Trainer(make(), loss=Own()).fit(X, np.eye(3)[Y], epochs=1, sample_weight=WEIGHTS)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_rows_on_disk_have_weights_and_numbers_too(loss, tmp_path):
    targets = Y if loss == "cross_entropy" else X[:, :3].astype(np.float64)
    np.save(tmp_path / "a.npy", X[:60])
    np.save(tmp_path / "b.npy", X[60:])
    files = [Shard(tmp_path / name, 128, rows) for name, rows in (("a.npy", 60), ("b.npy", N - 60))]
    nets, histories = [make(), make()], []
    for net, rows in zip(nets, (X, Shards(files, X.shape[1], np.float32, name="x")), strict=True):
        trainer = Trainer(net, loss=loss, batch_size=16)
        histories.append(trainer.fit(rows, targets, epochs=2, sample_weight=WEIGHTS))
    assert_same_weights(*nets)
    assert_same_history(*histories)


def test_r2_is_the_share_of_the_variation():
    rng = np.random.default_rng(0)
    targets, weights = rng.normal(5, 3, (50, 2)), rng.random(50)
    mean = np.average(targets, axis=0, weights=weights)
    assert variation(targets, weights) == pytest.approx((weights[:, None] * (targets - mean) ** 2).sum())
    assert variation(targets) == pytest.approx(targets.var(0).sum() * 50)
    assert (r2(1.0, 4.0), r2(0.0, 0.0), r2(1.0, 0.0)) == (0.75, 1.0, 0.0)


@pytest.mark.parametrize("kind", [SquaredError, AbsoluteError, PoissonLoss])
def test_an_interrupted_epoch_goes_on_with_the_same_bits(kind):
    class Interrupted(kind):
        def forward(self, outputs, targets, weights=None):
            calls.append(1)
            if len(calls) == 11:
                raise KeyboardInterrupt
            return super().forward(outputs, targets, weights)

    Interrupted.__name__ = kind.__name__  # checkpoints say which loss it was
    targets, calls, options = np.abs(X[:, :3]), [], {"batch_size": 16, "monitor": "val_r2"}

    def fit(trainer, epochs):
        return trainer.fit(X, targets, X_VAL, targets, epochs=epochs, sample_weight=WEIGHTS)

    whole = Trainer(make(), loss=kind(), **options)
    history = fit(whole, 3)
    first, second = Trainer(make(), loss=Interrupted(), **options), Trainer(make(), loss=kind(), **options)
    with pytest.raises(KeyboardInterrupt):
        fit(first, 3)
    assert (first.progress.epoch, first.progress.batch) == (1, 2)
    assert first.progress.squares > 0
    other = Trainer(make(), loss="poisson" if kind is SquaredError else "squared_error", **options)
    with pytest.raises(DataError, match=rf"^a file: was trained with the loss {kind.__name__}, want .* to go on$"):
        restore_trainer(other, *trainer_state(first), "a file")
    restore_trainer(second, *trainer_state(first), "a file")
    again = fit(second, 2)
    assert_same_weights(whole.network, second.network)
    assert_same_history(history, again)
    assert [(r.train_r2, r.val_r2) for r in history.epochs] == [(r.train_r2, r.val_r2) for r in again.epochs]
    assert again.batch_accuracies == []
    assert second.best.value == whole.best.value


def test_raw_pixels_without_a_standardize_are_warned_of():
    pixels, labels = np.random.default_rng(0).integers(0, 256, (40, 6)).astype(np.uint8), np.arange(40) % 3
    network = FeedForwardNeuralNetwork(6, 3, [4], seed=0)
    with pytest.warns(UserWarning, match=r"^X: whole numbers of up to 25\d go .*Standardize\.fit\(X\)\) before"):
        Trainer(network).fit(pixels, labels, epochs=1)
    Trainer(network).fit(pixels // 64, labels, epochs=1)  # small numbers may be counts
    network.layers.insert(0, Standardize.fit(pixels))
    Trainer(network).fit(pixels, labels, epochs=1)
