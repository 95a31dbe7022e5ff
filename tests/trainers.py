"""What the tests of the trainer share: small data, a network to train, and comparing what was trained."""

import numpy as np

from fastff import Dropout, FeedForwardNeuralNetwork, Trainer

N, D, C = 103, 7, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, C, N)
X_VAL, Y_VAL = X[::-1].copy() + 1, Y[::-1].copy()


class Through:
    """A user's layer that changes nothing and remembers the batches: with it, training goes layer by layer."""

    def __init__(self, at_call=None, error=None):
        self.batches, self.calls, self.at_call, self.error = [], 0, at_call, error

    def forward(self, rows):
        self.calls += 1
        if self.calls == self.at_call:
            raise self.error
        self.batches.append(np.array(rows))
        return rows

    def backward(self, grad):
        return grad

    def step(self, step_size):
        pass


def make(*, dropout=None, optimizer=None, layer=None, widths=(16, 9)):
    net = FeedForwardNeuralNetwork(D, C, widths, optimizer=optimizer, seed=0)
    if dropout is not None:
        net.layers.insert(2, Dropout(dropout, seed=5))
    if layer is not None:
        net.layers.insert(0, layer)
    return net


def weights_of(net):
    return [array.copy() for layer in net.linear_layers for array in (layer.weights, layer.bias)]


def assert_same_weights(one, two):
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_history(one, two):
    """All but the clock's figures."""
    assert one.batch_losses == two.batch_losses
    assert one.batch_accuracies == two.batch_accuracies
    for a, b in zip(one.epochs, two.epochs, strict=True):
        for name in ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert getattr(a, name) == getattr(b, name)


def trained(epochs=2, *, rows=X, labels=Y, batch_size=16, **options):
    """(network, trainer) after some epochs; what make knows goes there, the rest to the trainer."""
    net = make(**{k: options.pop(k) for k in ("dropout", "optimizer", "layer", "widths") if k in options})
    trainer = Trainer(net, batch_size=batch_size, step_size=0.01, **options)
    trainer.fit(rows, labels, epochs=epochs)
    return net, trainer
