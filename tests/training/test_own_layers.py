"""Networks with layers of the user's own, trained layer by layer."""

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, C, D, N, Through, X, Y, assert_same_weights, make

from fastff import FeedForwardNeuralNetwork, LinearLayer, Sigmoid, Trainer, evaluate


class NumpyReLU:
    def forward(self, rows):
        self.mask = rows > 0
        return rows * self.mask

    def backward(self, grad):
        return grad * self.mask

    def step(self, step_size):
        pass


class Wrapped:
    """A trained layer of the user's own: forward, backward, step and nothing of fastff's to be seen."""

    def __init__(self, inputs, outputs):
        self.inner = LinearLayer(inputs, outputs, seed=1)

    def forward(self, rows):
        return self.inner.forward(rows)

    def backward(self, grad):
        return self.inner.backward(grad)

    def step(self, step_size):
        self.inner.step(step_size)


def test_a_custom_layer_gives_what_the_built_in_gives():
    net = make()
    net.layers = [layer if isinstance(layer, LinearLayer) else NumpyReLU() for layer in net.layers]
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    trainer.fit(X, Y, X_VAL, Y_VAL, epochs=2)
    expected_net = make()
    expected = Trainer(expected_net, batch_size=16, step_size=0.01).fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert_same_weights(net, expected_net)
    assert trainer.history.batch_losses == expected.batch_losses
    assert trainer.history.epochs[-1].val_loss == pytest.approx(expected.epochs[-1].val_loss, rel=1e-12)
    np.testing.assert_array_equal(net.predict(X), expected_net.predict(X))


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_custom_layer_that_changes_the_width_may_stand_anywhere(where):
    """Wider than its neighbours, so nobody may take a neighbour's width for the network's."""
    net = FeedForwardNeuralNetwork(5, 2, [2], seed=0)
    layers = {
        "first": [Wrapped(D, 4), LinearLayer(4, C, seed=0)],
        "middle": [LinearLayer(D, 2, seed=0), Wrapped(2, 5), LinearLayer(5, C, seed=0)],
        "last": [LinearLayer(D, 2, seed=0), Sigmoid(), Wrapped(2, C)],
    }
    net.layers = layers[where]
    history = Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, X_VAL, Y_VAL, epochs=20)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert evaluate(net, X_VAL, Y_VAL, 20) == pytest.approx(
        (history.epochs[-1].val_loss, history.epochs[-1].val_accuracy)
    )
    assert net.predict(X).shape == (N,)


def test_an_error_in_a_custom_layer_comes_through_as_it_is():
    net = make(layer=Through(at_call=3, error=RuntimeError("mine")))
    with pytest.raises(RuntimeError, match="mine"):
        Trainer(net, batch_size=16).fit(X, Y, epochs=1)
